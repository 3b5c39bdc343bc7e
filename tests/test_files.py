import errno
import json

import numpy as np
import pytest
from PIL import Image

from reseen.errors import DataError, ResultsError
from reseen.files import lock, read_json, read_picture, sweep, write_json, write_text, writing, writing_folder


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


def test_what_a_killed_process_left_of_a_file_is_swept_away_and_nothing_else(tmp_path):
    killed = writing(tmp_path / "subj01" / "pictures" / "00000_0.png")
    half = killed.__enter__()
    half.write_text("half")
    kept = [half.with_name("00001_0.png"), tmp_path / "a.1.part", tmp_path / ".b.part", tmp_path / ".lock"]
    for path in kept:
        path.write_text("mine")
    sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


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
    with pytest.raises(ResultsError, match=r"mine\.txt is a file"), writing_folder(tmp_path / "mine.txt"):
        pass
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # EXIF's orientation: the first row is seen on the right
    Image.fromarray(pixels).save(tmp_path / "photograph.png", exif=turned)
    np.testing.assert_array_equal(read_picture(tmp_path / "photograph.png"), np.rot90(pixels, k=-1))


def test_a_picture_too_large_to_be_one_is_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((30, 30), dtype=np.uint8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"cannot read the picture .*bomb\.png.*exceeds limit"):
        read_picture(tmp_path / "bomb.png")


@pytest.mark.parametrize("place", range(8, 200, 8))
def test_a_picture_damaged_anywhere_is_read_or_refused_with_its_name(tmp_path, place):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = tmp_path / "damaged.png"
    Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xff\x00\xff\x00"
    path.write_bytes(content)
    said = str(path)
    try:
        read_picture(path)
    except DataError as error:
        said = str(error)
    assert str(path) in said
