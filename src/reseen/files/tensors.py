"""Write and read arrays as safetensors files, with the settings they were computed by and a checksum of every byte."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from reseen.errors import ReseenError, ResultsError
from reseen.files.reading import check_regular, reading, shown
from reseen.files.writing import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIX = "Delete it and run the recipe again."
"""Advice for a damaged file of a results folder: its stage writes it again."""
CHECKSUM = "sha256"
"""Key of the checksum in the settings of a file."""
_BLANK = "0" * 64  # replaces the checksum in the header while it is computed
_MAX_HEADER = 100_000_000  # safetensors' own limit
_AT_ONCE = 2**20  # bytes

_verified: dict[str, tuple[int, int, int]] = {}  # path -> inode, size and time of change when it was verified
_lock = threading.Lock()


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]], computed_by: Mapping[str, str]) -> None:
    """Write named arrays as one safetensors file, complete or not at all.

    Parameters
    ----------
    path
        The file.
    arrays
        Name -> array of any shape.
    computed_by
        Settings that they were computed by. A checksum of the complete file is added.

    Raises
    ------
    ResultsError
        If it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # one entry of metadata, since the order of several entries is not fixed and equal runs write equal bytes
    metadata = {"computed_by": json.dumps({**computed_by, CHECKSUM: _BLANK}, sort_keys=True)}
    with writing(path) as part:
        save_file(contiguous, str(part), metadata=metadata)
        with part.open("rb+") as file:
            header, start = _read_header(file)
            place = header.index(_BLANK.encode())
            checksum = _checksum(file, header)
            file.seek(start + place)
            file.write(checksum.encode())


@contextmanager
def opening_tensors(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a file that `write_tensors` wrote, and yield it with the settings that its arrays were computed by.

    The checksum of all bytes is verified, once in a process unless the file changes.

    Raises
    ------
    ResultsError
        If it is missing or damaged, or changed after it was written. An error of a library within the block counts as
        damage.
    """
    from safetensors import safe_open

    with reading(path, ResultsError, FIX):
        computed_by = _verify(path)
        with safe_open(str(path), framework="numpy") as file:
            yield file, computed_by


def verify_tensors(path: Path) -> dict[str, str]:
    """Check a file against its checksum, and return the settings that its arrays were computed by.

    Raises
    ------
    ResultsError
        As `opening_tensors`.
    """
    with reading(path, ResultsError, FIX):
        return _verify(path)


def check_tensors(path: Path, error: type[ReseenError] = ResultsError, fix: str = FIX) -> None:
    """Check that a safetensors file has the length that its header declares; no tensor is read.

    Libraries may read all of a damaged file, which may be large, before they report it.

    Parameters
    ----------
    path
        The file, of any origin.
    error
        Type of the error.
    fix
        Advice for a damaged file.

    Raises
    ------
    ReseenError
        Of type ``error``: if the file is not regular, or its header and its length differ.
    """
    with reading(path, error, fix), path.open("rb") as file:
        _check_length(file, *_read_header(file))


def _verify(path: Path) -> dict[str, str]:
    check_regular(path, ResultsError)
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        header, start = _read_header(file)
        _check_length(file, header, start)
        computed_by = _settings(header)
        expected = computed_by.pop(CHECKSUM, None)
        if expected is None:
            message = f"{shown(path)} has no checksum: this version of reseen did not write it. {FIX}"
            raise ResultsError(message, where=path)
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        with _lock:
            known = _verified.get(str(path)) == state
        if not known:
            # a checksum of another length would change the length of the header
            found = _checksum(file, header.replace(expected.encode(), _BLANK.encode()))
            if len(expected) != len(_BLANK) or found != expected:
                message = f"{shown(path)} was changed or damaged after it was written: its checksum differs. {FIX}"
                raise ResultsError(message, where=path, expected=expected, found=found)
            with _lock:
                _verified[str(path)] = state
    return computed_by


def _read_header(file: BinaryIO) -> tuple[bytes, int]:
    """Return the JSON header of a safetensors file and its first byte, after a check of its size against the file."""
    size = int.from_bytes(file.read(8), "little")
    if size > min(_MAX_HEADER, os.fstat(file.fileno()).st_size - 8):
        raise EOFError("its header is longer than the file")
    return file.read(size), 8


def _check_length(file: BinaryIO, header: bytes, start: int) -> None:
    """Check that the tensors that a header declares end where the file does."""
    ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
    expected = start + len(header) + max(ends, default=0)
    if os.fstat(file.fileno()).st_size != expected:
        raise EOFError(f"its header declares {expected:,} bytes")


def _settings(header: bytes) -> dict[str, str]:
    from pydantic import TypeAdapter

    text = json.loads(header).get("__metadata__", {}).get("computed_by", "{}")
    return TypeAdapter(dict[str, str]).validate_json(text, strict=True)


def _checksum(file: BinaryIO, header: bytes) -> str:
    """Return the SHA-256 of a header, as it is given, and of all data after it in the file."""
    total = hashlib.sha256(header)
    file.seek(8 + len(header))
    while block := file.read(_AT_ONCE):
        total.update(block)
    return total.hexdigest()
