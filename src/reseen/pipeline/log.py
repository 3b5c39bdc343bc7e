"""Log: dated lines of a run or another command, in ``log.txt`` and on a standard error that is no terminal."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reseen.check.costs import duration
from reseen.executor import Progress

LOG = "log.txt"
"""Name of the log of a folder; every command that writes the folder appends to it, and it is no part of the results."""

SECONDS_BETWEEN = 30.0
"""Minimum of the seconds between two lines about the same step."""


@dataclass
class Lines:
    """Progress callback ``(step, n_done, n_total)`` that writes lines: at the start and end of a step, and in between.

    Parameters
    ----------
    write
        Function that writes a line.
    clock
        Function that returns monotonic seconds.
    """

    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _started: dict[str, tuple[float, int]] = field(default_factory=dict, repr=False)
    _last: dict[str, float] = field(default_factory=dict, repr=False)
    _ended: set[str] = field(default_factory=set, repr=False)

    def __call__(self, step: str, n_done: int, n_total: int) -> None:
        """Write a line if one is due."""
        now = self.clock()
        ended = n_done >= n_total
        if step not in self._started or (step in self._ended and not ended):  # a step can start again
            self._started[step] = now, n_done
            self._ended.discard(step)
        elif step in self._ended or (not ended and now - self._last[step] < SECONDS_BETWEEN):
            return
        self._last[step] = now
        if ended:
            self._ended.add(step)
        started, n_before = self._started[step]
        remaining = _remaining(now - started, n_done - n_before, n_total - n_done)
        self.write(dated(f"{step}: {n_done:,} of {n_total:,}{remaining}"))


def dated(text: str) -> str:
    """Return a text after the local time, ``2026-01-31T12:00:00+01:00``."""
    return f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}"


def _remaining(seconds: float, n_done: int, n_left: int) -> str:
    if n_done <= 0 or n_left <= 0:
        return ""
    return f", about {duration(seconds / n_done * n_left)} left"


class LogFile:
    """Log of a folder. Lines are kept until the folder has files: one that is written at the end is empty before.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG
        self._waiting: list[str] = []

    def write(self, line: str) -> None:
        """Append a line."""
        self._waiting.append(" ".join(line.splitlines()) + "\n")
        if os.path.lexists(self._path) and not self._path.is_file():
            return
        with suppress(OSError):  # on a full disk a run continues without its log
            if not any(self._path.parent.iterdir()):
                return
            with self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(self._waiting)
            self._waiting.clear()

    def note(self, text: str) -> None:
        """Append a text after the time."""
        self.write(dated(text))


@contextmanager
def logging(folder: Path, what: str, progress: Progress | None) -> Iterator[Progress]:
    """Append lines about a command to the log of the folder that it writes, and yield its progress callback.

    Parameters
    ----------
    folder
        The folder.
    what
        Description of the command.
    progress
        Another progress callback, which gets the same calls.
    """
    log = LogFile(folder)
    lines = Lines(log.write)

    def both(step: str, n_done: int, n_total: int) -> None:
        lines(step, n_done, n_total)
        if progress is not None:
            progress(step, n_done, n_total)

    log.note(f"start: {what}, process {os.getpid()} on {socket.gethostname()}")
    try:
        yield both
    except BaseException as error:
        name = type(error).__name__
        # a signal is an exception of the command line, whose text is the name of the signal
        reason = str(error) if name == "Stopped" else f"{name}: {error}"
        log.note(f"stopped by {reason}")
        raise
    log.note(f"end: {what}")
