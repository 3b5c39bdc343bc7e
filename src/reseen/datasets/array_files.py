"""Find and read the arrays of your own experiment: an npz file, or a folder of npy files."""

from __future__ import annotations

import difflib
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.recognise import recognise
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

ALIASES: Mapping[str, tuple[str, ...]] = {
    "betas": ("betas", "responses", "fmri"),
    "images": ("images", "pictures", "stimulus_images", "stimulus_pictures"),
    "stimulus_id": ("stimulus_id", "stimulus", "figure"),
    "run": ("run", "session"),
    "captions": ("captions", "figure_name"),
}
"""Names of the same array; only one of them is allowed."""
KNOWN = (*(alias for aliases in ALIASES.values() for alias in aliases), "category", "test_stimulus_id", "ncsnr")
"""Names of the arrays that are read, in addition to ``roi_<name>``."""
ROI = "roi_"

_AT_ONCE = 2**24  # bytes
_GUIDE = "docs/own_data.md says which arrays are read."
_Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


@dataclass(frozen=True)
class Arrays:
    """Arrays of one subject, as they were saved.

    Parameters
    ----------
    path
        The file or folder, for messages.
    arrays
        The arrays that are read, by name.
    unread
        Names of the other arrays.
    """

    path: Path
    arrays: Mapping[str, NDArray[Any]]
    unread: tuple[str, ...]

    def get(self, name: str) -> NDArray[Any] | None:
        """Return an array under any of its names, or None."""
        return next((self.arrays[alias] for alias in ALIASES.get(name, (name,)) if alias in self.arrays), None)

    def need(self, name: str) -> NDArray[Any]:
        """Return an array under any of its names.

        Raises
        ------
        DataError
            If it is not there.
        """
        found = self.get(name)
        if found is None:
            also = ", ".join(ALIASES[name][1:])
            there = ", ".join(map(shown, sorted([*self.arrays, *self.unread])))
            raise DataError(
                f"{shown(self.path)} contains no {name} (or {also}); it contains {there}. Save {name} there too."
            )
        return found

    @property
    def unread_with_advice(self) -> str:
        """Names that are not read, each with the most similar known name."""
        said = []
        for name in self.unread:
            alike = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.7)
            said.append(f"{shown(name)} (did you mean {alike[0]}?)" if alike else shown(name))
        return ", ".join(said)


def find_arrays(data: DataRecipe, subject: str) -> Path:
    """Return the file or folder with the arrays of a subject.

    Raises
    ------
    DataError
        If there is none, or only files of other subjects.
    """
    root = data.path
    if root is None:
        raise DataError("no data folder was given: set data.path in the recipe, or pass --data FOLDER or FILE.npz.")
    if not root.is_dir():
        check_regular(root, DataError)
        _refuse_several(data, root, subject)
        return root
    for own in (root / f"{subject}.npz", root / subject):
        if own.exists():
            return own
    _refuse_several(data, root, subject)
    if _visible(root, ".npy"):
        return root
    there = [file.name for file in _visible(root, ".npz")]
    there += [f"{folder.name}/" for folder in sorted(root.iterdir()) if folder.is_dir() and _visible(folder, ".npy")]
    if not there:
        raise DataError(f"{shown(root)} contains no arrays. An npz file, or a folder of npy files, is needed. {_GUIDE}")
    raise DataError(
        f"{shown(root)} contains no {subject}.npz and no {subject}/; it contains {', '.join(map(shown, there))}. Set "
        "data.subjects to a name that is there, or name the file itself with --data."
    )


def _refuse_several(data: DataRecipe, root: Path, subject: str) -> None:
    if len(data.subjects) > 1:
        raise DataError(
            f"{shown(root)} contains the arrays of one subject; data.subjects names {len(data.subjects)}. Give each "
            f"subject a file or folder of its own: {subject}.npz or {subject}/ in one folder."
        )


def _visible(folder: Path, suffix: str) -> list[Path]:
    """List files by suffix, without names that begin with a dot, which macOS writes next to each file."""
    return sorted(file for file in folder.glob(f"*{suffix}") if not file.name.startswith("."))


def read_arrays(path: Path, also: str = "") -> Arrays:
    """Read the arrays of known names; no pickle is loaded, and sizes are checked before memory is allocated.

    Parameters
    ----------
    path
        The file or folder.
    also
        Name of another array to read.

    Raises
    ------
    DataError
        If a file is missing, damaged, in another format or larger than memory, or if an array has two names.
    """

    def is_read(name: str) -> bool:
        return name == also or _is_read(name)

    arrays, unread = _read_folder(path, is_read) if path.is_dir() else read_npz(path, is_read)
    if not arrays and not unread:
        raise DataError(f"{shown(path)} contains no arrays. An npz file, or a folder of npy files, is needed. {_GUIDE}")
    for names in ALIASES.values():
        twice = [name for name in names if name in arrays]
        if len(twice) > 1:
            raise DataError(
                f"{shown(path)} has {' and '.join(twice)}, which are two names of one thing. Save only one of them."
            )
    if f"{ROI}all" in arrays:
        raise DataError(f"{shown(path)} has roi_all, but the ROI 'all' is every voxel. Give the mask another name.")
    return Arrays(path, arrays, tuple(sorted(unread)))


def _is_read(name: str) -> bool:
    return name in KNOWN or name.startswith(ROI)


def _read_folder(folder: Path, is_read: Callable[[str], bool]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    files = _visible(folder, ".npy")
    _check_memory(sum(check_regular(file) for file in files), folder)
    arrays, unread = {}, []
    for file in files:
        if not is_read(file.stem):
            unread.append(file.stem)
            continue
        with reading(file), file.open("rb") as opened:
            arrays[file.stem] = _read_array(opened, file.stat().st_size, file, file.stem)
    return arrays, unread


def read_npz(path: Path, is_read: Callable[[str], bool]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read some arrays of an npz file; sizes are checked before anything is allocated, and nothing is unpickled.

    Parameters
    ----------
    path
        The file.
    is_read
        Function of an array's name: whether it is read.

    Returns
    -------
    arrays, unread
        Arrays by name, and names of the other arrays.

    Raises
    ------
    DataError
        If it is not an npz file, is damaged, or is shorter than its header declares.
    """
    check_regular(path)
    _refuse_foreign(path)
    arrays, unread = {}, []
    with reading(path), zipfile.ZipFile(path) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        wanted = {name: member for name, member in members.items() if is_read(name)}
        _check_memory(sum(member.file_size for member in wanted.values()), path)
        unread = [name for name in members if name not in wanted]
        for name, member in wanted.items():
            with archive.open(member) as opened:
                arrays[name] = _read_array(opened, member.file_size, path, name)
                opened.read(1)  # zip compares its checksum at the end
    return arrays, unread


def _read_array(opened: IO[bytes], n_bytes: int, path: Path, name: str) -> NDArray[Any]:
    """Read one npy stream of a known size."""
    version = np.lib.format.read_magic(opened)
    shape, fortran, dtype = _read_header(opened, version)
    if dtype.hasobject:
        cure = f"{name}.astype(str)" if name in ("captions", "figure_name", "category") else f"{name}.astype(float)"
        raise DataError(
            f"{shown(path)}: {shown(name)} is an array of Python objects, which only pickle can store, and pickles are "
            f"not read. Save {cure} instead."
        )
    n_values = math.prod(shape)
    if opened.tell() + n_values * dtype.itemsize != n_bytes:
        raise DataError(
            f"{shown(path)}: {shown(name)} declares the shape {shape} of {dtype}, and has {n_bytes:,} bytes. It is "
            "truncated or damaged: save it again."
        )
    values = np.empty(n_values, dtype=dtype)
    if values.nbytes:
        _fill(opened, memoryview(values.view(np.uint8).data))
    return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)


def _fill(opened: Any, view: memoryview) -> None:
    """Read until a buffer is full; a stream may return fewer bytes than requested.

    A stream of zip reads into a copy as large as the request, so that each request is small.
    """
    while view:
        n_read = opened.readinto(view[:_AT_ONCE])
        if not n_read:
            raise EOFError("it ends too early")
        view = view[n_read:]


def _read_header(opened: IO[bytes], version: tuple[int, int]) -> _Header:
    if version == (1, 0):
        found: _Header = np.lib.format.read_array_header_1_0(opened)
    else:
        found = np.lib.format.read_array_header_2_0(opened)
    return found


def _check_memory(n_bytes: int, path: Path) -> None:
    """Refuse arrays that are larger than the machine's memory, before any is allocated."""
    if not hasattr(os, "sysconf"):  # Windows: numpy raises MemoryError
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > memory:
        raise DataError(
            f"{shown(path)} declares {n_bytes / 1e9:,.1f} GB of arrays, and this machine has {memory / 1e9:,.1f} GB of "
            "memory. Save only the voxels of your ROIs, or check that the file is complete."
        )


def _refuse_foreign(path: Path) -> None:
    with reading(path), path.open("rb") as file:
        head = file.read(4)
    if head in (b"PK\x03\x04", b"PK\x05\x06"):
        return
    found = recognise(path)
    if found is not None:
        raise DataError(f"{shown(path)} is {found.what}. An npz file, or a folder of npy files, is needed. {_GUIDE}")
    raise DataError(f"{shown(path)} is no npz file, or it is truncated or damaged. Save it again. {_GUIDE}")


def join_names(names: Iterable[str]) -> str:
    """Return names for a message, sorted."""
    return ", ".join(map(shown, sorted(names)))
