"""Check whether a file is present and complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reseen.errors import DataError
from reseen.files import check_regular
from reseen.files.reading import is_blocked
from reseen.trials import Trials


class FileCheck(NamedTuple):
    """State of one file: whether it is present and complete.

    Parameters
    ----------
    path
        Path of the file.
    size
        Bytes on disk, or None if there is no such file.
    ok
        Whether it can be used.
    note
        Its content, or the error and how to fix it.
    expected
        Minimum number of bytes, or None if unknown.
    """

    path: Path
    size: int | None
    ok: bool
    note: str
    expected: int | None = None
    blocked: bool = False
    """Whether it may be complete but cannot be read now: it is locked, or permission is missing."""

    @property
    def needs(self) -> int:
        """Bytes of the complete file, as far as known."""
        return (self.size or 0) if self.ok else max(self.size or 0, self.expected or 0)


def check_file(path: Path, describe: Callable[[], str], *, missing: str, expected: int | None = None) -> FileCheck:
    """Check one file.

    Parameters
    ----------
    path
        Path of the file.
    describe
        Function that returns the file's content in words; if it raises a DataError, its message is the note.
    missing
        Note for a missing file.
    expected
        Minimum number of bytes.
    """
    if not os.path.lexists(path):
        return FileCheck(path, None, False, missing, expected)
    size = None
    try:
        size = _folder_size(path) if path.is_dir() else check_regular(path)
        return FileCheck(path, size, True, describe(), expected)
    except DataError as error:
        return FileCheck(path, size or 0, False, str(error), expected, blocked=is_blocked(error))


def _folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def describe_labels(trials: Trials) -> str:
    """Return a sentence that says whether the stimulus ids fit the betas."""
    checked = trials.check_labels()
    if checked.problem:
        return f"WARNING: {checked.problem}"
    if np.isnan(checked.value):
        return f"labels not checked ({checked.n_pairs} pairs of trials of one stimulus)"
    return f"labels fit the betas ({checked.value:.1f} permutation standard deviations)"
