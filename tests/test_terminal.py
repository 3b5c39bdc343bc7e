import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from reseen.cli import terminal
from reseen.errors import ResultsError
from reseen.pipeline.log import Lines


@pytest.fixture
def narrow(monkeypatch):
    """Standard output in an encoding of few letters that the user chose; returns what was printed."""

    def make(encoding):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        monkeypatch.setattr(sys, "stdout", stream)
        terminal.prepare()
        return lambda: stream.buffer.getvalue().decode(encoding)

    return make


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_letter_is_printed_in_any_encoding(narrow, encoding):
    printed = narrow(encoding)
    terminal.say("0.5–0.7 × 3… naïve 猫 \udcff")
    table = Table("a", title="Scores between floor and ceiling")
    table.add_row("0.50–0.70")
    terminal.say_table(table)
    assert "?" not in printed() or encoding != "utf-8" or "\udcff" not in printed()
    assert "0.5" in printed()
    if encoding == "ascii":
        assert printed().startswith("0.5-0.7 x 3... naive ? ")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_that_nobody_chose_is_replaced_by_utf_8(monkeypatch, encoding):
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.prepare()
    terminal.say("0.5–0.7 × 3… naïve 猫 \udcff")
    assert stream.buffer.getvalue().decode("utf-8") == "0.5–0.7 × 3… naïve 猫 \\udcff\n"


def test_control_characters_are_spelled_out_but_lines_stay_lines(narrow):
    printed = narrow("utf-8")
    terminal.say("a\x1b[2Jb\nc\x07")
    table = Table("name")
    table.add_row("d\x1b]0;title\x07e")
    terminal.say_table(table)
    assert "\x1b[2J" not in printed()
    assert "\x1b]" not in printed()
    assert printed().splitlines()[:2] == ["a\\x1b[2Jb", "c\\x07"]


def test_a_reader_that_has_gone_ends_the_printing_not_the_work(monkeypatch):
    for name, err in (("stdout", False), ("stderr", True)):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stream:
            monkeypatch.setattr(sys, name, stream)
            terminal.say("one", err=err)
            terminal.say("two", err=err)
        monkeypatch.undo()


def test_a_full_disk_behind_standard_output_is_an_error_with_a_message(monkeypatch):
    with open("/dev/full", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(ResultsError, match="cannot write to standard output: No space left"):
            terminal.say("text")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_exit_code(closed):
    def run(words):
        line = f"{sys.executable} -m reseen {words} {closed}"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)

    done = run("recipe tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("[reconstruct]" in done.stdout) == (closed == "2>&-")
    failed = run("recipe nosuch")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    if closed == "2>&-":
        assert "cannot read the recipe nosuch" in failed.stdout


def test_lines_come_at_the_start_the_end_and_at_times_in_between():
    now, written = [0.0], []
    lines = Lines(lambda line: written.append(line.partition(" ")[2]), clock=lambda: now[0])
    for done in range(101):
        lines("extract", done, 100)
        now[0] += 1
    assert written == [
        "extract: 0 of 100",
        "extract: 30 of 100, about 70 s left",
        "extract: 60 of 100, about 40 s left",
        "extract: 90 of 100, about 10 s left",
        "extract: 100 of 100",
    ]
    lines("extract", 100, 100)
    assert len(written) == 5
    lines("extract", 0, 50)
    assert written[-1] == "extract: 0 of 50"
