import subprocess

import pytest

from reseen.files.shell import shell_line

WORDS = [
    "plain",
    "two words",
    "it's",
    "$(touch x)",
    "`x`",
    'a"b',
    "a;b",
    "*",
    "",
    "new\nline",
    "\x1b[31m",
    "é",
    "a\\b\n'",
]


@pytest.mark.parametrize("word", WORDS)
def test_bash_reads_a_printed_word_unchanged(word):
    line = shell_line("printf", "%s", word)
    assert line.isprintable()
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout.decode() == word
