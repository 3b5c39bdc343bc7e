"""Log: what is being done as dated lines of text, on standard error where that is no terminal and in ``log.txt``."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reseen.check.inputs import Progress

LOG = "log.txt"
"""Name of the log of a results folder; it is appended to by every run, and is no part of the results."""

SECONDS_BETWEEN = 30.0
"""Seconds between two lines about the same piece of work, at least."""


@dataclass
class Lines:
    """Turn calls ``(doing, done, total)`` into lines: at the start and the end of each piece of work, and in between.

    Parameters
    ----------
    write
        Called with each line.
    clock
        Returns seconds that never run backwards.
    """

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _began: dict[str, tuple[float, int]] = field(default_factory=dict, repr=False)
    _said: dict[str, float] = field(default_factory=dict, repr=False)
    _ended: set[str] = field(default_factory=set, repr=False)

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Write a line if one is due."""
        now = self.clock()
        ended = done >= total
        if doing not in self._began or (doing in self._ended and not ended):  # again, such as another block of it
            self._began[doing] = now, done
            self._ended.discard(doing)
        elif doing in self._ended or (not ended and now - self._said[doing] < SECONDS_BETWEEN):
            return
        self._said[doing] = now
        if ended:
            self._ended.add(doing)
        began, before = self._began[doing]
        self.write(dated(f"{doing}: {done:,} of {total:,}{_remaining(now - began, done - before, total - done)}"))


def dated(text: str) -> str:
    """Return a text behind the local time, ``2026-01-31T12:00:00+01:00``."""
    return f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}"


def _remaining(spent: float, done: int, left: int) -> str:
    if done <= 0 or left <= 0:
        return ""
    seconds = spent / done * left
    unit, size = ("s", 1) if seconds < 120 else ("min", 60) if seconds < 7200 else ("h", 3600)
    return f", about {seconds / size:.0f} {unit} left"


@contextmanager
def logging(folder: Path, what: str, progress: Progress | None) -> Iterator[Progress]:
    """Append what a run does to the log of its results folder, and yield what is to be told of its progress.

    Parameters
    ----------
    folder
        The results folder.
    what
        What is run.
    progress
        Called with the same as the log, if anybody else wants to know.
    """

    def write(line: str) -> None:
        path = folder / LOG
        if os.path.lexists(path) and not path.is_file():
            return
        with suppress(OSError), path.open("a", encoding="utf-8", errors="backslashreplace") as file:  # of a full disk
            file.write(" ".join(line.splitlines()) + "\n")

    lines = Lines(write)

    def tell(doing: str, done: int, total: int) -> None:
        lines(doing, done, total)
        if progress is not None:
            progress(doing, done, total)

    write(dated(f"begin {what}, process {os.getpid()} on {socket.gethostname()}"))
    try:
        yield tell
    except BaseException as error:
        write(dated(f"stopped by {type(error).__name__}: {error}"))
        raise
    write(dated(f"end {what}"))
