"""Read chosen voxels or vertices of HDF5, NIfTI and MGH files in bounded memory; a damaged one becomes a DataError."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen import files
from reseen.datasets.hdf5 import open_dataset
from reseen.errors import DataError

BLOCK_BYTES = 64 * 2**20
"""Maximum memory for a block of a volume that is not chunked by voxel."""
MAX_BY_VOXEL = 16
"""Maximum number of voxels per HDF5 chunk of a session that counts as stored by voxel; NSD's chunks have one."""

VOLUME_BYTES = 2**31
"""Maximum decompressed size of a volume that is not a session; NSD's have some MB."""
_TRAILER = 8  # bytes at the end of a gzipped file: checksum and length

Shape = tuple[int, int, int]
Affine = NDArray[np.float64]
"""From voxels to millimetres, ``(4, 4)``."""

FETCH = "Fetch or write it again."
"""What to do about a damaged file of a data set."""


def reading(path: Path) -> AbstractContextManager[None]:
    """Return `reseen.files.reading` for a file of a data set: whatever a library raises becomes a DataError."""
    return files.reading(path, fix=FETCH)


def read_volume(path: Path) -> tuple[NDArray[Any], Affine | None]:
    """Read a small NIfTI or MGH file, such as an ROI atlas, to its end, so that the checksum of gzip is compared.

    Returns
    -------
    values
        Shape (X, Y, Z).
    affine
        From voxels to millimetres; None if the header has none.

    Raises
    ------
    DataError
        If the file is missing, truncated, damaged or neither of them.
    """
    image: Any
    if path.suffix == ".mgh":
        with reading(path), _open_mgh(path) as image:
            return np.asarray(image.dataobj), _affine(image)
    check_stream(path)
    with reading(path):
        image = _load(path)
        return np.asarray(image.dataobj), _affine(image)


def read_grid(path: Path) -> tuple[tuple[int, ...], Affine | None]:
    """Read the shape and the affine of a NIfTI file from its header, as `read_volume` returns them.

    Raises
    ------
    DataError
        If the file is missing or its header is damaged.
    """
    with reading(path):
        image = _load(path)
        return tuple(image.shape), _affine(image)


def read_header_affine(path: Path) -> Affine:
    """Read the affine that a NIfTI file has, or that nibabel assumes if the header has none.

    Raises
    ------
    DataError
        If the file is missing or its header is damaged.
    """
    with reading(path):
        image = _load(path)
        return np.asarray(image.affine, dtype=np.float64)


def read_header_times(path: Path) -> float:
    """Read the time between two volumes from the header of a NIfTI file, in seconds; 0 if it has none.

    Raises
    ------
    DataError
        If the file is missing or its header is damaged.
    """
    with reading(path):
        header = _load(path).header
        zooms, unit = header.get_zooms(), header.get_xyzt_units()[1]
        return float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if len(zooms) > 3 else 0.0


def check_stream(path: Path) -> None:
    """Decompress a gzipped file to its end, which compares its checksum; other files are not read.

    Raises
    ------
    DataError
        If the stream is damaged, ends early or is larger than any volume.
    """
    if path.suffix in (".gz", ".mgz"):
        with reading(path):
            _check_end(path)
            with gzip.open(path) as stream:
                _read_to_end(stream, VOLUME_BYTES)


def _check_end(path: Path) -> None:
    """Refuse a gzipped file that ends in zeros, which may be gigabytes: gzip skips them one by one."""
    with path.open("rb") as file:
        file.seek(-min(_TRAILER, path.stat().st_size), 2)
        if not file.read().strip(b"\0"):
            raise EOFError("it ends in zeros")


def _load(path: Path) -> Any:
    """Return an image of nibabel, of which only the header is read yet."""
    import nibabel

    if path.suffix in (".gz", ".mgz"):
        _check_end(path)
    return nibabel.load(path)


def _read_to_end(stream: Any, at_most: int) -> None:
    n_bytes = 0
    while block := stream.read(2**20):
        n_bytes += len(block)
        if n_bytes > at_most:
            raise ValueError(f"it continues for more than {at_most:,} bytes")


def _affine(image: Any) -> Affine | None:
    """Return an image's affine; None for a NIfTI without position (both codes 0) or with a singular affine."""
    header = image.header
    if "sform_code" in header and not header["sform_code"] and not header["qform_code"]:
        return None
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        return None
    return affine


def peek(path: Path) -> tuple[int, Shape]:
    """Read the number of trials of a session, and the shape ``(X, Y, Z)`` of its volume, from the header.

    The vertices of a surface are a volume of ``(n_vertices, 1, 1)``.

    Raises
    ------
    DataError
        If the file is missing, truncated or not a session of betas.
    """
    with reading(path), _open_betas(path) as betas:
        shape, dtype = betas.shape, betas.dtype
    if dtype.kind not in "iuf":
        raise DataError(f"{path} contains betas of type {dtype}; integers or real numbers are needed.")
    if path.suffix == ".hdf5" and len(shape) == 2:
        shape = (shape[0], 1, 1, shape[1])
    if len(shape) != 4:
        raise DataError(f"{path} contains betas of shape {shape}; four axes (trials and a volume) are needed.")
    if path.suffix == ".hdf5":
        n_trials, z, y, x = shape
    else:
        x, y, z, n_trials = shape
    return int(n_trials), (int(x), int(y), int(z))


def read_voxels(path: Path, voxel_index: NDArray[np.int64]) -> NDArray[Any]:
    """Read some voxels of a session, ``(n_trials, n_voxels)`` in the file's own data type.

    Parameters
    ----------
    path
        ``.hdf5``, dataset ``betas`` (trials, Z, Y, X) or (trials, vertices); or ``.nii.gz``, ``.nii`` or ``.mgh``
        (X, Y, Z, trials).
    voxel_index
        Shape ``(n_voxels,)``: C-order index into the volume (X, Y, Z).

    Raises
    ------
    DataError
        If the file is missing or truncated.
    """
    n_trials, shape = peek(path)
    x, y, z = np.unravel_index(voxel_index, shape)
    with reading(path), _open_betas(path) as betas:
        if path.suffix == ".mgh":
            return _read_mapped(betas, (x, y, z), n_trials)
        if path.suffix != ".hdf5":
            found = _read_nifti(betas, (x, y, z), n_trials)
            if path.suffix == ".gz":
                _read_to_end(betas.file_like, 0)  # gzip compares its checksum at the end
            return found
        places = (z, y, x) if len(betas.shape) == 4 else (x,)
        if betas.chunks is None or betas.chunks[0] < n_trials:
            return _read_trials(betas, places)
        if set(betas.chunks[1:]) == {1} and not betas.id.get_create_plist().get_nfilters():
            return _read_chunks(betas, places).T
        return _read_cells(betas, places).T


def is_stored_by_voxel(path: Path) -> bool:
    """Return whether some voxels of a session can be read without most of the others.

    Raises
    ------
    DataError
        As `peek`.
    """
    n_trials, _ = peek(path)
    if path.suffix != ".hdf5":
        return False
    with reading(path), _open_betas(path) as betas:
        chunks = betas.chunks
        return chunks is not None and chunks[0] >= n_trials and int(np.prod(chunks[1:])) <= MAX_BY_VOXEL


@contextmanager
def _open_betas(path: Path) -> Iterator[Any]:
    if path.suffix == ".hdf5":
        with open_dataset(path, "betas") as dataset:
            yield dataset
    elif path.suffix == ".mgh":
        with _open_mgh(path) as image:
            yield image.dataobj.get_unscaled()  # the file's memory map
    elif path.suffix == ".nii":
        yield _load(path).dataobj
    else:
        import nibabel

        _check_end(path)
        with gzip.open(path) as stream:
            yield nibabel.Nifti1Image.from_stream(stream).dataobj


@contextmanager
def _open_mgh(path: Path) -> Iterator[Any]:
    """Open an MGH image, and close it: nibabel alone keeps the file open."""
    import nibabel

    with path.open("rb") as stream:
        try:
            image: Any = nibabel.MGHImage.from_stream(stream)
        except TypeError as error:  # numpy raises it for a header that is too short
            raise EOFError("the header ends early") from error
        expected = int(image.dataobj.offset) + image.dataobj.dtype.itemsize * int(np.prod(image.shape))
        if path.stat().st_size < expected:  # nibabel would notice only after reading all of it
            raise EOFError(f"the header declares {expected:,} bytes")
        yield image


def _read_chunks(betas: Any, zyx: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
    """Read complete chunks of one voxel and all trials directly: ``(n_voxels, n_trials)``.

    HDF5 takes ten times as long to prepare a slice as to find a chunk.
    """
    found = np.empty((len(zyx[0]), betas.chunks[0]), dtype=betas.dtype)
    content = found.view(np.uint8)
    order = np.lexsort(zyx[::-1])  # the order of NSD's files, so that a disk is read in one direction
    places = np.stack([np.zeros_like(order), *zyx], axis=1)[order].tolist()
    for row, place in zip(order.tolist(), places, strict=True):
        try:
            betas.id.read_direct_chunk(place, out=content[row])
        except (RuntimeError, ValueError):  # not stored: zeros; or damaged: the slice raises HDF5's error
            found[row, : len(betas)] = betas[(slice(None), *place[1:])]
    return found[:, : len(betas)]


def _read_cells(betas: Any, zyx: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
    """Read each chunk of several voxels, or compressed chunk, with a requested voxel once: ``(n_voxels, n_trials)``."""
    found = np.empty((len(zyx[0]), len(betas)), dtype=betas.dtype)
    size = betas.chunks[1:]
    grid = tuple(-(-n // step) for n, step in zip(betas.shape[1:], size, strict=True))
    cell = np.ravel_multi_index([a // step for a, step in zip(zyx, size, strict=True)], grid)
    order = np.argsort(cell, kind="stable")
    for voxels in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
        start = [int(a[voxels[0]]) // step * step for a, step in zip(zyx, size, strict=True)]
        block = betas[(slice(None), *(slice(first, first + step) for first, step in zip(start, size, strict=True)))]
        inside = tuple(a[voxels] - first for a, first in zip(zyx, start, strict=True))
        found[voxels] = block[(slice(None), *inside)].T
    return found


def _read_trials(betas: Any, zyx: tuple[NDArray[np.intp], ...]) -> NDArray[Any]:
    """Read the box around the requested voxels, some trials at a time."""
    found = np.empty((len(betas), len(zyx[0])), dtype=betas.dtype)
    start = [int(a.min()) for a in zyx]
    box = tuple(slice(first, int(a.max()) + 1) for first, a in zip(start, zyx, strict=True))
    inside = tuple(a - first for a, first in zip(zyx, start, strict=True))
    n_bytes = betas.dtype.itemsize * int(np.prod([s.stop - s.start for s in box]))
    for rows in blocks(len(found), n_bytes):
        found[rows] = betas[(rows, *box)][(slice(None), *inside)]
    return found


def _read_nifti(betas: Any, xyz: tuple[NDArray[np.intp], ...], n_trials: int) -> NDArray[Any]:
    """Decompress a NIfTI from start to end, keeping only the requested voxels of each trial."""
    index = np.ravel_multi_index(xyz, betas.shape[:3], order="F")
    n_bytes = betas.dtype.itemsize * int(np.prod(betas.shape[:3]))
    found: NDArray[Any] | None = None
    for rows in blocks(n_trials, n_bytes):
        block = np.asarray(betas[..., rows])  # scaled if the header has a scale; the type then changes
        if found is None:
            found = np.empty((n_trials, len(index)), dtype=block.dtype)
        np.take(block.reshape((-1, block.shape[-1]), order="F").T, index, axis=1, out=found[rows], mode="clip")
    return found if found is not None else np.empty((0, len(index)), dtype=betas.dtype)


def _read_mapped(betas: Any, xyz: tuple[NDArray[np.intp], ...], n_trials: int) -> NDArray[Any]:
    """Copy the requested values from a memory map, trial by trial in the order of the file."""
    trials = betas.reshape((-1, n_trials), order="F").T
    index = np.ravel_multi_index(xyz, betas.shape[:3], order="F")
    found = np.empty((n_trials, len(index)), dtype=betas.dtype.newbyteorder("="))
    for row, trial in zip(found, trials, strict=True):
        row[:] = trial[index]
    return found


def blocks(n_trials: int, bytes_per_trial: int) -> Iterator[slice]:
    """Yield slices of trials that take at most `BLOCK_BYTES` each, and at least one trial."""
    step = max(1, BLOCK_BYTES // max(bytes_per_trial, 1))
    for first in range(0, n_trials, step):
        yield slice(first, min(first + step, n_trials))


def check_gzip(path: Path) -> None:
    """Check whether a gzipped NIfTI is complete, by the length at its end; this does not decompress it.

    Raises
    ------
    DataError
        If the file ends early.
    """
    with reading(path), _open_betas(path) as betas:
        expected = int(betas.offset) + betas.dtype.itemsize * int(np.prod(betas.shape))
    with reading(path), path.open("rb") as file:
        file.seek(-4, 2)
        found = int.from_bytes(file.read(4), "little")
    if found != expected % 2**32:
        raise DataError(f"{path} ends early: its header declares {expected:,} bytes. Delete it and fetch it again.")
