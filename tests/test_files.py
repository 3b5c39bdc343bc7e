import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reseen.errors import DataError, ResultsError
from reseen.files import (
    check_regular,
    lock,
    read_image,
    read_json,
    read_text,
    reading,
    sweep,
    unreadable,
    write_json,
    write_text,
    writing,
    writing_folder,
)


def test_a_file_is_complete_or_absent(tmp_path):
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


def test_incomplete_files_of_a_killed_process_are_deleted_and_no_others(tmp_path):
    killed = writing(tmp_path / "subj01" / "images" / "00000_0.png")
    half = killed.__enter__()
    half.write_text("half")
    kept = [half.with_name("00001_0.png"), tmp_path / "a.1.part", tmp_path / ".b.part", tmp_path / ".lock"]
    for path in kept:
        path.write_text("mine")
    sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_as_such(tmp_path, code):
    def write() -> None:
        with writing(tmp_path / "file"):
            raise OSError(code, "as the system says it")

    with pytest.raises(ResultsError, match="no space left to write") as raised:
        write()
    assert raised.value.where == tmp_path / "file"
    assert list(tmp_path.iterdir()) == []


def test_another_failure_is_reported_in_the_words_of_the_system(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="cannot write") as raised:
        write_text(tmp_path / "file" / "below", "text")
    assert raised.value.where == tmp_path / "file" / "below"


def test_a_mistake_of_our_own_is_not_hidden(tmp_path):
    def write() -> None:
        with writing(tmp_path / "file"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()


def test_json_reads_back_and_its_keys_are_sorted(tmp_path):
    write_json(tmp_path / "file", {"b": 1, "a": [2.5, "ü"]})
    assert read_json(tmp_path / "file", dict[str, int | list[float | str]]) == {"a": [2.5, "ü"], "b": 1}
    assert list(json.loads((tmp_path / "file").read_text())) == ["a", "b"]
    with pytest.raises(DataError, match=r"nosuch is missing") as raised:
        read_json(tmp_path / "nosuch", dict)
    assert raised.value.where == tmp_path / "nosuch"


ME = f"process {os.getpid()} on {socket.gethostname()}"


def test_a_folder_is_held_once_and_can_be_held_again_after_its_release(tmp_path):
    held = lock(tmp_path)
    with pytest.raises(ResultsError, match="in use by") as raised:
        lock(tmp_path)
    assert (raised.value.where, raised.value.found) == (tmp_path, ME)
    held.close()
    lock(tmp_path).close()


def test_a_disk_without_locks_holds_a_folder_by_a_file(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    held = lock(tmp_path)
    with pytest.raises(ResultsError, match=r"delete .*\.lock\.held") as raised:
        lock(tmp_path)
    assert (raised.value.where, raised.value.found) == (tmp_path, ME)
    held.close()
    lock(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_without_locks_a_process_that_ended_holds_nothing_and_one_elsewhere_does(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "no flock")))
    claim = tmp_path / ".lock.held"
    code = "import filelock, os, sys; held = filelock.SoftFileLock(sys.argv[1]); held.acquire(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(claim)], check=True)
    number, host, *rest = claim.read_text().split()
    elsewhere = "\n".join([number, f"not-{host}", *rest, ""])
    lock(tmp_path).close()
    assert not claim.exists()
    claim.write_text(elsewhere)
    with pytest.raises(ResultsError, match="in use by") as raised:
        lock(tmp_path)
    assert raised.value.found == f"process {number} on not-{host}"


def test_a_system_without_the_locks_of_unix_imports_reseen_and_locks_folders(tmp_path):
    """Windows has no fcntl; there, filelock uses the locks of Windows, which cannot be tested here."""
    code = """
import sys
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = sys.modules["termios"] = None
from pathlib import Path
import reseen, reseen.cli, reseen.pipeline, reseen.executor, reseen.check, reseen.report, reseen.raters
from reseen.files import lock
held = lock(Path(sys.argv[1]))
try:
    lock(Path(sys.argv[1]))
except reseen.ReseenError as error:
    print(type(error).__name__)
held.close()
lock(Path(sys.argv[1])).close()
"""
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "ResultsError\n"), ran.stderr


def test_the_umask_sets_the_permissions_of_files_of_every_library(tmp_path):
    from safetensors.numpy import save_file

    before = os.umask(0o027)
    try:
        with writing(tmp_path / "a.safetensors") as part:
            save_file({"a": np.zeros(3)}, str(part))
        write_text(tmp_path / "b.txt", "text")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_files_are_on_the_disk_before_they_are_moved(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append(sorted(path.name for path in tmp_path.iterdir())))
    write_text(tmp_path / "file", "text")
    assert len(done) == 1
    assert done[0] != ["file"]


def test_of_two_that_write_one_folder_the_second_to_end_is_refused_and_nothing_is_lost(tmp_path):
    first, second = writing_folder(tmp_path / "data"), writing_folder(tmp_path / "data")
    parts = [first.__enter__(), second.__enter__()]
    for number, part in enumerate(parts):
        (part / "file").write_text(str(number))
    second.__exit__(None, None, None)
    with pytest.raises(ResultsError, match="is not empty") as raised:
        first.__exit__(None, None, None)
    assert raised.value.where == tmp_path / "data"
    assert (tmp_path / "data" / "file").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["file"]


def test_an_incomplete_folder_of_a_killed_process_is_deleted_by_the_next(tmp_path):
    left = tmp_path / f".data.{'0a' * 16}.part"
    left.mkdir()
    lock(left).close()
    with writing_folder(tmp_path / "data") as part:
        assert sorted(tmp_path.iterdir()) == [part]


def test_a_folder_is_complete_or_absent(tmp_path):
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


def test_a_folder_with_content_is_not_changed(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")

    def write() -> None:
        with writing_folder(tmp_path):
            pass

    with pytest.raises(ResultsError, match="is not empty"):
        write()
    assert (tmp_path / "mine.txt").read_text() == "keep me"
    with pytest.raises(ResultsError) as raised, writing_folder(tmp_path / "mine.txt"):
        pass
    error = raised.value
    assert (error.where, error.expected, error.found) == (tmp_path / "mine.txt", "folder", "file")
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_an_image_is_rotated_by_its_exif_orientation(tmp_path):
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # EXIF's orientation: the first row is seen on the right
    Image.fromarray(pixels).save(tmp_path / "photograph.png", exif=turned)
    np.testing.assert_array_equal(read_image(tmp_path / "photograph.png"), np.rot90(pixels, k=-1))


def test_an_image_too_large_to_be_one_is_refused(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((30, 30), dtype=np.uint8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr("reseen.files.images.MAX_PIXELS", 100)
    with pytest.raises(DataError, match="has 30 x 30 pixels") as raised:
        read_image(tmp_path / "bomb.png")
    error = raised.value
    assert (error.where, error.expected, error.found) == (tmp_path / "bomb.png", 100, 900)


@pytest.mark.parametrize("place", range(8, 200, 8))
def test_an_image_damaged_anywhere_is_read_or_refused_with_its_name(tmp_path, place):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = tmp_path / "damaged.png"
    Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xff\x00\xff\x00"
    path.write_bytes(content)
    found = (path, str(path))
    try:
        read_image(path)
    except DataError as error:
        found = (error.where, str(error))
    assert found[0] == path
    assert str(path) in found[1]


@pytest.fixture
def no_files(tmp_path):
    """What may be in place of a file: its type, or the words of the refusal -> path."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    types = {
        "pipe": tmp_path / "pipe",
        "folder": tmp_path / "folder",
        "socket": tmp_path / "socket",
        "device": Path("/dev/zero"),
    }
    words = {
        "leads back to itself": tmp_path / "loop",
        "is missing": tmp_path / "nosuch",
        "no path that this system can open": tmp_path / ("n" * 300),
    }
    return types, words


@pytest.mark.parametrize("read", [check_regular, read_text, read_image, lambda path: read_json(path, dict)])
def test_only_regular_files_are_opened(no_files, read):
    types, words = no_files
    for found, path in types.items():
        with pytest.raises(DataError) as raised:
            read(path)
        error = raised.value
        assert (error.where, error.expected, error.found) == (path, "regular file", found)
    for match, path in words.items():
        with pytest.raises(DataError, match=match) as raised:
            read(path)
        assert raised.value.where == path


def test_a_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match="no permission to read") as raised:
        check_regular(path)
    assert raised.value.where == path
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "another process has it open"),
        (OSError("Unable to open file (unable to lock file, errno = 11, ...)"), "HDF5_USE_FILE_LOCKING=FALSE"),
        (OSError("Unable to open file (unable to lock file, errno = 37, ...)"), "has no locks.*HDF5_USE_FILE_LOCKING"),
        (OSError("Unable to open file (unable to lock file, errno = 22, ...)"), "has no locks"),
        (PermissionError(errno.EACCES, "Permission denied"), "no permission to read"),
        (MemoryError(), "more data than fit in memory"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error.*may be intact"),
        (KeyError("of a library"), "seems truncated or damaged"),
        (RecursionError("maximum recursion depth exceeded"), "seems truncated or damaged"),
    ],
)
def test_the_advice_depends_on_the_cause(tmp_path, cause, words):
    path = tmp_path / "file"
    path.write_text("mine")

    def read():
        with reading(path, ResultsError):
            raise cause

    with pytest.raises(ResultsError, match=words) as raised:
        read()
    assert raised.value.where == path
    assert ("damaged" in str(raised.value)) == ("damaged" in words)
    assert "elete it" not in str(raised.value)


def test_advice_to_load_unsafely_is_never_passed_on(tmp_path):
    (tmp_path / "file").write_text("mine")
    said = str(unreadable(tmp_path / "file", ValueError("This file contains pickled data; set allow_pickle=True")))
    assert "(ValueError)" in said
    assert "pickle" not in said


def test_escape_sequences_in_names_are_spelled_out(tmp_path):
    with pytest.raises(DataError, match=r"x1b\[31mred is missing") as raised:
        check_regular(tmp_path / "\x1b[31mred")
    assert "\x1b" not in str(raised.value)


def test_text_is_utf8_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "file.txt"
    for content in ("ü\nb", "\ufeffü\r\nb", "ü\rb"):
        path.write_bytes(content.encode())
        assert read_text(path) == "ü\nb"


@pytest.mark.parametrize(
    ("content", "words", "expected", "found"),
    [
        ("ü".encode("latin-1"), "is not UTF-8: byte 0", "UTF-8", "another encoding"),
        ("a".encode("utf-16"), "is not UTF-8: byte 0", "UTF-8", "UTF-16"),
        (b"a\0b", "NUL bytes", None, None),
        (b"a" * 20, "has 20 bytes", 10, 20),
    ],
)
def test_a_file_that_is_not_text_is_refused(tmp_path, content, words, expected, found):
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_text(path, at_most=10)
    error = raised.value
    assert (error.where, error.expected, error.found) == (path, expected, found)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "[]",
        '{"a": "1"}',
        '{"a": 1.5}',
        '{"a": null}',
        '{"a": 1',
        "",
        '{"a": "\\ud800"}',
    ],
)
def test_json_of_another_shape_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(ResultsError, match="does not contain the expected JSON") as raised:
        read_json(tmp_path / "file.json", dict[str, int], ResultsError)
    assert raised.value.where == tmp_path / "file.json"


def _deep_png(values, colour):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = b""
    for tag, body in parts:
        packed += struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
    return b"\x89PNG\r\n\x1a\n" + packed


@pytest.mark.parametrize(("colour", "n_channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_an_image_of_more_than_8_bits_is_refused(tmp_path, colour, n_channels):
    values = np.random.default_rng(0).integers(0, 4096, (5, 6, n_channels))
    (tmp_path / "deep.png").write_bytes(_deep_png(values, colour))
    with pytest.raises(DataError, match="more than 8 bits") as raised:
        read_image(tmp_path / "deep.png")
    assert (raised.value.where, raised.value.expected) == (tmp_path / "deep.png", 8)


def test_colours_of_8_bits_stored_in_16_read_as_they_are(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 3))
    (tmp_path / "wide.png").write_bytes(_deep_png(values * 257, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png"), values)


def test_an_image_of_several_frames_is_refused(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for name in ("sequence.gif", "sequence.webp", "sequence.png", "pages.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match="frames") as raised:
            read_image(tmp_path / name)
        error = raised.value
        assert (error.where, error.expected, error.found) == (tmp_path / name, 1, 2)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_an_image_that_ends_in_zeros_or_early_is_refused(tmp_path, ending):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    path = tmp_path / f"half.{ending}"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    for kept in (0, len(content) // 2, len(content) - 4):
        zeros = [] if ending == "webp" else [b"\0" * (len(content) - kept)]  # no checksum and no end mark in WebP
        for tail in (b"", *zeros):
            path.write_bytes(content[:kept] + tail)
            with pytest.raises(DataError) as raised:
                read_image(path)
            assert raised.value.where == path


def test_a_flipped_bit_of_a_png_is_noticed(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = tmp_path / "damaged.png"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        with pytest.raises(DataError) as raised:
            read_image(path)
        assert raised.value.where == path
