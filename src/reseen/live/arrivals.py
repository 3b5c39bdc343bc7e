"""Arrivals: what a source of trials reports, a new trial or a file that cannot be used."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from reseen.datasets.new_trials import NewTrials


@dataclass(frozen=True)
class FileState:
    """State of a file; while it is equal, the content is too.

    Parameters
    ----------
    inode, size, modified
        Inode, size in bytes, and time of change in ns.
    changed
        Time of the last change or renaming in seconds since 1970; it is not compared.
    """

    inode: int
    size: int
    modified: int
    changed: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Return the state of a file; raise an OSError if it is not there."""
        found = path.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns / 1e9)

    def landed(self, before: float | None, now: float) -> float:
        """Return the time of the last change or renaming, by `time.monotonic`.

        Clocks of other machines may differ, and an image may have been generated between two polls: the time is
        between the previous poll and this one.

        Parameters
        ----------
        before, now
            Times of the previous poll and of the one that found the file in this state. None: there was none, and the
            file was there before; ``now`` is returned.
        """
        if before is None:
            return now
        return min(max(now - (time.time() - self.changed), before), now)


@dataclass(frozen=True, eq=False)
class Arrival:
    """A trial that arrived.

    Parameters
    ----------
    name
        Name of its file, or of the trial of a series.
    trials
        The trial.
    seen
        Time of the last change of its file, by `time.monotonic`; see `FileState.landed`.
    state
        State of its file.
    """

    name: str
    trials: NewTrials
    seen: float
    state: FileState


@dataclass(frozen=True)
class BadFile:
    """A file that is not one trial; it stays where it is.

    Parameters
    ----------
    name
        Its name.
    error
        Sentences for a person.
    state
        State of the file. If it changes, the file is read again.
    """

    name: str
    error: str
    state: FileState


class Source(Protocol):
    """Source of trials."""

    def poll(self) -> Arrival | BadFile | None:
        """Return the next trial or bad file, or None if there is nothing new."""

    def reject(self, arrival: Arrival) -> None:
        """Mark a trial that the decoders refuse: it is bad."""
