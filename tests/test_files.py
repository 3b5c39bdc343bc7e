import errno
import json

import pytest

from reseen.errors import ResultsError
from reseen.files import lock, read_json, write_json, write_text, writing, writing_folder


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def write_half() -> None:
        with writing(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such(tmp_path, code):
    def write() -> None:
        with writing(tmp_path / "file"):
            raise OSError(code, "as the system says it")

    with pytest.raises(ResultsError, match="no space left to write"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_another_failure_is_told_in_the_words_of_the_system(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write"):
        write_text(tmp_path / "file" / "below", "text")


def test_a_mistake_of_our_own_is_not_hidden(tmp_path):
    def write() -> None:
        with writing(tmp_path / "file"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()


def test_json_reads_back_and_its_keys_are_sorted(tmp_path):
    write_json(tmp_path / "file", {"b": 1, "a": [2.5, "ü"]})
    assert read_json(tmp_path / "file") == {"a": [2.5, "ü"], "b": 1}
    assert list(json.loads((tmp_path / "file").read_text())) == ["a", "b"]
    assert read_json(tmp_path / "nosuch") == {}


def test_a_folder_is_held_once_and_can_be_held_again_when_let_go_of(tmp_path):
    held = lock(tmp_path)
    with pytest.raises(ResultsError, match=r"in use by process \d+ on "):
        lock(tmp_path)
    held.close()
    lock(tmp_path).close()


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    def write_half() -> None:
        with writing_folder(tmp_path / "new") as part:
            (part / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with writing_folder(tmp_path / "new") as part:
        (part / "file").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "file"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")

    def write() -> None:
        with writing_folder(tmp_path):
            pass

    with pytest.raises(ResultsError, match="is not empty"):
        write()
    assert (tmp_path / "mine.txt").read_text() == "keep me"
