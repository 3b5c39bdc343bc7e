"""Images written behind the back of whoever makes them: in order, bounded, and never lost in silence."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reseen.errors import ResultsError
from reseen.pipeline.image_writer import Writer

IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


def paths(n: int) -> list[Path]:
    return [Path(str(number)) for number in range(n)]


def test_images_are_written_in_order_and_all_exist_at_the_end() -> None:
    written: list[Path] = []
    with Writer(lambda path, _image: written.append(path), 8) as writer:
        for path in paths(200):
            writer.put(path, IMAGE)
    assert written == paths(200)


def test_images_are_written_while_the_next_are_generated_and_the_queue_is_limited() -> None:
    written: list[Path] = []
    gate, put = threading.Event(), threading.Event()

    def save(path: Path, _image: np.ndarray) -> None:
        gate.wait(10)
        written.append(path)

    def make() -> None:
        with Writer(save, 3) as writer:
            for path in paths(8):
                writer.put(path, IMAGE)
                if path.name == "3":
                    put.set()

    maker = threading.Thread(target=make)
    maker.start()
    assert put.wait(10)  # one is being written and three wait: nobody had to wait for the disk
    maker.join(0.1)
    assert maker.is_alive()
    assert written == []
    gate.set()
    maker.join(10)
    assert written == paths(8)


def test_several_threads_write_every_image_before_the_end() -> None:
    written: list[Path] = []
    together = threading.Barrier(4, timeout=10)

    def save(path: Path, _image: np.ndarray) -> None:
        together.wait()  # passes only where four are being written at once
        written.append(path)

    with Writer(save, 8, n_threads=4) as writer:
        for path in paths(40):
            writer.put(path, IMAGE)
    assert sorted(written) == sorted(paths(40))


def full(path: Path, _image: np.ndarray) -> None:
    if path.name == "2":
        raise ResultsError(f"no space left to write {path}.")


def test_a_full_disk_is_reported_while_images_are_generated() -> None:
    def make() -> None:
        with Writer(full, 8) as writer:
            for path in paths(10_000):
                writer.put(path, IMAGE)

    with pytest.raises(ResultsError, match="no space left to write 2"):
        make()


def test_a_full_disk_is_reported_at_the_end_at_the_latest() -> None:
    def make() -> None:
        with Writer(full, 8) as writer:
            for path in paths(3):
                writer.put(path, IMAGE)

    with pytest.raises(ResultsError, match="no space left to write 2"):
        make()


def test_images_before_another_error_are_written_and_that_error_is_raised() -> None:
    written: list[Path] = []

    def make() -> None:
        with Writer(lambda path, _image: written.append(path), 8) as writer:
            for path in paths(5):
                writer.put(path, IMAGE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()
    assert written == paths(5)


LONG_RUN = """
import sys
from pathlib import Path
import numpy as np
from reseen.pipeline.image_writer import Writer
from reseen.recipe import Recipe
from reseen.results import ResultsFolder

results = ResultsFolder(Path(sys.argv[1]), Recipe())
with Writer(results.save_image, 16) as writer:
    for number in range(int(sys.argv[2])):
        path = results.path / f"{number:04d}.png"
        if not path.is_file():
            writer.put(path, np.full((64, 64, 3), number % 256, dtype=np.uint8))
"""


def test_a_kill_leaves_only_complete_images_and_the_next_start_writes_the_rest(tmp_path: Path) -> None:
    def start(n: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", LONG_RUN, str(tmp_path), str(n)])

    run = start(9999)
    while run.poll() is None and len(list(tmp_path.glob("*.png"))) < 50:
        time.sleep(0.01)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    assert sorted(made) == [f"{number:04d}.png" for number in range(len(made))]  # in order, none left out
    assert start(len(made) + 20).wait() == 0
    for number in range(len(made) + 20):
        with Image.open(tmp_path / f"{number:04d}.png") as image:
            assert (np.asarray(image) == number % 256).all()
    assert made == {name: (tmp_path / name).stat().st_mtime_ns for name in made}  # none is made twice
