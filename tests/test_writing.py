"""Pictures written behind the back of whoever makes them: in order, bounded, and never lost in silence."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from reseen.errors import ResultsError
from reseen.pipeline import writing
from reseen.pipeline.writing import Writer

PICTURE = np.zeros((2, 2, 3), dtype=np.uint8)


def paths(n: int) -> list[Path]:
    return [Path(str(number)) for number in range(n)]


def test_pictures_are_written_in_order_and_all_are_there_at_the_end() -> None:
    written: list[Path] = []
    with Writer(lambda path, _picture: written.append(path)) as writer:
        for path in paths(200):
            writer.put(path, PICTURE)
    assert written == paths(200)


def test_pictures_are_written_while_the_next_are_made_and_no_more_wait_than_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writing, "AT_MOST", 3)
    written: list[Path] = []
    gate, put = threading.Event(), threading.Event()

    def save(path: Path, _picture: np.ndarray) -> None:
        gate.wait(10)
        written.append(path)

    def make() -> None:
        with Writer(save) as writer:
            for path in paths(8):
                writer.put(path, PICTURE)
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


def full(path: Path, _picture: np.ndarray) -> None:
    if path.name == "2":
        raise ResultsError(f"no space left to write {path}.")


def test_a_full_disk_is_said_while_pictures_are_made() -> None:
    def make() -> None:
        with Writer(full) as writer:
            for path in paths(10_000):
                writer.put(path, PICTURE)

    with pytest.raises(ResultsError, match="no space left to write 2"):
        make()


def test_a_full_disk_is_said_at_the_end_at_the_latest() -> None:
    def make() -> None:
        with Writer(full) as writer:
            for path in paths(3):
                writer.put(path, PICTURE)

    with pytest.raises(ResultsError, match="no space left to write 2"):
        make()


def test_what_was_made_before_another_error_is_written_and_that_error_is_the_one_said() -> None:
    written: list[Path] = []

    def make() -> None:
        with Writer(lambda path, _picture: written.append(path)) as writer:
            for path in paths(5):
                writer.put(path, PICTURE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()
    assert written == paths(5)
