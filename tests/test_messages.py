"""Messages of errors: one snapshot has all of them, and each has at most three sentences."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import messages

EVERY = [(path.name, text) for path in sorted(messages.SOURCE.rglob("*.py")) for _, text in messages.messages(path)]


def test_the_snapshot_has_every_message():
    """`python tools/messages.py --write` updates it; read the difference before you commit it."""
    assert messages.SNAPSHOT.read_text(encoding="utf-8") == messages.listing()


def test_a_message_has_at_most_three_sentences():
    assert [(name, text) for name, text in EVERY if messages.n_sentences(text) > 3] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise DataError(f"{path} is {1 + 1}. Fix it.", where=path)', "{path} is {1 + 1}. Fix it."),
        ('message = "one" f" {two}"\n    raise DataError(message)', "one {two}"),
        ('raise error("a " + "b")', "a b"),
    ],
)
def test_messages_are_found_in_every_form_that_the_source_has(tmp_path, source, expected):
    path = tmp_path / "module.py"
    path.write_text(f"def check(path, two, error):\n    {source}\n")
    assert [text for _, text in messages.messages(path)] == [expected]
