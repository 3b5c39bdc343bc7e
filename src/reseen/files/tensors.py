"""Write and read arrays as safetensors files that say what they were computed by and carry a checksum of every byte."""

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
"""What to do with a damaged file of a results folder: the stage that wrote it writes it again."""
CHECKSUM = "sha256"
"""Key of the checksum among what an array was computed by."""
_BLANK = "0" * 64  # in the place of the checksum while it is computed
_MAX_HEADER = 100_000_000  # safetensors' own limit
_AT_ONCE = 2**20

_verified: dict[str, tuple[int, int, int]] = {}
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
        What they were computed by. A checksum of the whole file is added to it.

    Raises
    ------
    ResultsError
        If it cannot be written.
    """
    import numpy as np
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # one entry of metadata, since the order of several is not fixed
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
    """Open a file that `write_tensors` wrote, and yield it with what its arrays were computed by.

    Every byte is compared with the checksum, once in a process unless the file changes.

    Raises
    ------
    ResultsError
        If it is missing or damaged, or changed after it was written. Whatever a library raises within the block counts
        as damage.
    """
    from safetensors import safe_open

    with reading(path, ResultsError, FIX):
        computed_by = _verify(path)
        with safe_open(str(path), framework="numpy") as file:
            yield file, computed_by


def verify_tensors(path: Path) -> dict[str, str]:
    """Compare a file with its checksum, and return what its arrays were computed by.

    Raises
    ------
    ResultsError
        As `opening_tensors`.
    """
    with reading(path, ResultsError, FIX):
        return _verify(path)


def check_tensors(path: Path, error: type[ReseenError] = ResultsError, fix: str = FIX) -> None:
    """Check that a safetensors file has the length that its header declares; no tensor is read.

    Libraries that load one which is damaged may read all of it, however large it is, to find out why.

    Parameters
    ----------
    path
        The file; anybody may have written it.
    error
        Type of the error.
    fix
        What to do if it is damaged.

    Raises
    ------
    ReseenError
        Of type ``error``: if it is no regular file, or its header and its length differ.
    """
    with reading(path, error, fix), path.open("rb") as file:
        _check_length(file, *_read_header(file))


def _verify(path: Path) -> dict[str, str]:
    check_regular(path, ResultsError)
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        header, start = _read_header(file)
        _check_length(file, header, start)
        computed_by = _made_by(header)
        claimed = computed_by.pop(CHECKSUM, None)
        if claimed is None:
            raise ResultsError(f"{shown(path)} has no checksum: this version of reseen did not write it. {FIX}")
        state = (found.st_ino, found.st_size, found.st_mtime_ns)
        with _lock:
            known = _verified.get(str(path)) == state
        if not known:
            blank = header.replace(claimed.encode(), _BLANK.encode())
            if len(claimed) != len(_BLANK) or _checksum(file, blank) != claimed:
                raise ResultsError(
                    f"{shown(path)} was changed or damaged after it was written: its checksum differs. {FIX}"
                )
            with _lock:
                _verified[str(path)] = state
    return computed_by


def _read_header(file: BinaryIO) -> tuple[bytes, int]:
    """Return the JSON header of a safetensors file and where it starts; its size is checked against the file."""
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


def _made_by(header: bytes) -> dict[str, str]:
    from pydantic import TypeAdapter

    text = json.loads(header).get("__metadata__", {}).get("computed_by", "{}")
    return TypeAdapter(dict[str, str]).validate_json(text, strict=True)


def _checksum(file: BinaryIO, header: bytes) -> str:
    """Return the SHA-256 of a header, as it is given, and of all data behind it in the file."""
    total = hashlib.sha256(header)
    file.seek(8 + len(header))
    while block := file.read(_AT_ONCE):
        total.update(block)
    return total.hexdigest()
