"""Watching: new files of a folder, read when they are complete.

A file is read when its size and its time of change are the same in two polls. If it cannot be read, it may be
half-written: it is read again at every poll until it has not changed for `PATIENCE` seconds, and is reported then. A
file that changes while it is read is not used, and one that changes after it was decoded is reported.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reseen.datasets.new_trials import VOLUMES, NewTrials
from reseen.errors import DataError, ReseenError
from reseen.files import shown
from reseen.live.arrivals import Arrival, BadFile, FileState

PATIENCE = 3.0
"""Seconds without a change after which a file that cannot be read is bad."""
ENDINGS = (".npz", *VOLUMES)
"""Endings of files of trials; other files, and names that begin with a dot, are ignored."""

Read = Callable[[Path], NewTrials]


@dataclass(frozen=True)
class _Candidate:
    """File that is not read yet: its state, and times by `time.monotonic`; ``since``: this state was first seen."""

    state: FileState
    since: float
    landed: float  # time of its last change


class FolderSource:
    """Files of single trials in a folder.

    Files that are found together are read in the order of their names, numbers in names by their value. A name is used
    once: a file is not decoded again, whatever is written to it later, but the change is reported.

    Parameters
    ----------
    folder
        The folder.
    read
        Reads one file.
    used
        Files that were decoded before, by name, with size and time of change at that time.
    bad
        Files that were reported as bad before, by name; they are read again if they changed.
    patience
        Seconds without a change after which a file that cannot be read is bad.

    Raises
    ------
    DataError
        If there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        read: Read,
        *,
        used: Mapping[str, tuple[int, int]] | None = None,
        bad: Mapping[str, FileState] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        if not folder.is_dir():
            raise DataError(f"there is no folder {shown(folder)}. Create it, or name another one.", where=folder)
        self._folder, self._read, self._patience = folder, read, patience
        self._used, self._bad = dict(used or {}), dict(bad or {})
        self._waiting: dict[str, _Candidate] = {}
        self._polled: float | None = None
        self._compared = 0.0

    def poll(self) -> Arrival | BadFile | None:
        """Return the next complete trial or bad file, or None."""
        now, unchanged = time.monotonic(), {}
        listed = self._listed()
        for name, state in listed or ():
            known = self._waiting.get(name)
            if known is None or known.state != state:
                self._waiting[name] = _Candidate(state, now, state.landed(self._polled, now))
            else:
                unchanged[name] = known
        if listed is not None:
            self._polled = now
        for name, known in unchanged.items():
            found = self._try(name, known, now)
            if found is not None:
                del self._waiting[name]
                return found
        return self._changed(now)

    def reject(self, arrival: Arrival) -> None:
        """Mark a file that was read, but is no trial of these decoders; it is read again if it changes."""
        self._used.pop(arrival.name, None)
        self._bad[arrival.name] = arrival.state

    def _listed(self) -> list[tuple[str, FileState]] | None:
        """Return the files that are not used and not bad, in the order of their names; None if the folder is away."""
        found = []
        try:
            names = [path.name for path in self._folder.iterdir()]
        except OSError:  # a disk of the network may be away for a moment
            return None
        for name in names:
            if name in self._used or name.startswith(".") or not name.endswith(ENDINGS):
                continue
            try:
                state = FileState.of(self._folder / name)
            except OSError:  # removed or renamed since
                continue
            if self._bad.get(name) != state:
                found.append((name, state))
        return sorted(found, key=lambda one: in_order(one[0]))

    def _try(self, name: str, known: _Candidate, now: float) -> Arrival | BadFile | None:
        """Read a file that did not change since the last poll; None if it changes meanwhile."""
        path = self._folder / name
        try:
            trials = self._read(path)
            if len(trials.trials) != 1:
                raise DataError(
                    f"{shown(name)} has {len(trials.trials)} trials. Write one file for each trial, or use reseen "
                    "apply for files of several trials.",
                    where=name,
                    expected=1,
                    found=len(trials.trials),
                )
        except ReseenError as error:
            if now - known.since < self._patience:
                return None
            self._bad[name] = known.state
            return BadFile(name, str(error), known.state)
        with suppress(OSError):  # it may be gone: what was read is complete
            if FileState.of(path) != known.state:
                return None
        self._used[name] = known.state.size, known.state.modified
        return Arrival(name, trials, known.landed, known.state)

    def _changed(self, now: float) -> BadFile | None:
        """Report a file that changed after it was decoded, if there is one."""
        if now - self._compared < PATIENCE:  # a disk of the network may be slow
            return None
        for name, decoded in self._used.items():
            try:
                state = FileState.of(self._folder / name)
            except OSError:  # moved away, as it may be
                continue
            if (state.size, state.modified) != decoded and self._bad.get(name) != state:
                self._bad[name] = state
                error = (
                    f"{shown(name)} changed after it was decoded. The recording keeps the trial as it was. If the new "
                    "content is another trial, write it under a new name."
                )
                return BadFile(name, error, state)
        self._compared = now
        return None


def in_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names by the value of the numbers in them.

    Examples
    --------
    >>> sorted(["trial10.npz", "trial9.npz"], key=in_order)
    ['trial9.npz', 'trial10.npz']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)
