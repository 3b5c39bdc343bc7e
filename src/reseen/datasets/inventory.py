"""Check whether a needed file is there and complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from reseen.errors import DataError
from reseen.files import check_regular
from reseen.files.reading import is_blocked


class FileCheck(NamedTuple):
    """State of one needed file: whether it is there and complete.

    Parameters
    ----------
    path
        Where it lies or should lie.
    size
        Bytes on disk, or None where there is no such file.
    ok
        Whether it can be used.
    note
        What it holds, or what is wrong and how to fix it.
    expected
        Bytes that it has at least, or None where that is unknown.
    """

    path: Path
    size: int | None
    ok: bool
    note: str
    expected: int | None = None
    blocked: bool = False
    """Whether it may be whole and cannot be read now: it is locked, or there is no permission."""

    @property
    def needs(self) -> int:
        """Bytes that it takes when it is whole, as far as is known."""
        return (self.size or 0) if self.ok else max(self.size or 0, self.expected or 0)


def check_file(path: Path, describe: Callable[[], str], *, missing: str, expected: int | None = None) -> FileCheck:
    """Check one file.

    Parameters
    ----------
    path
        Where it should lie.
    describe
        Says what the file holds; a DataError it raises is the note of a damaged file.
    missing
        The note where there is no such file.
    expected
        Bytes that it has at least.
    """
    if not os.path.lexists(path):
        return FileCheck(path, None, False, missing, expected)
    size = None
    try:
        size = sum(map(check_regular, path.glob("*.npy"))) if path.is_dir() else check_regular(path)
        return FileCheck(path, size, True, describe(), expected)
    except DataError as error:
        return FileCheck(path, size or 0, False, str(error), expected, blocked=is_blocked(error))
