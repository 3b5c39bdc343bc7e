"""Read chosen voxels of matrices in HDF5 and npy files, block by block in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.volumes import blocks
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown

Float32 = NDArray[np.float32]


def read_columns_of(matrix: Any, columns: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> Float32:
    """Return some columns of a matrix whose columns are voxels.

    Parameters
    ----------
    matrix
        Dataset or memory map ``(n_trials, n_columns)``.
    columns
        Shape ``(n,)``.
    rows
        Trials to keep, ascending, ``(n_rows,)``; all if None.

    Returns
    -------
    Shape ``(n_rows, n)``.
    """
    wanted = np.arange(len(matrix)) if rows is None else rows
    found = np.empty((len(wanted), len(columns)), dtype=np.float32)
    for block in _blocks(matrix):
        start, stop = np.searchsorted(wanted, [block.start, block.stop])
        if start < stop:
            found[start:stop] = _read_block(matrix, block)[wanted[start:stop] - block.start][:, columns]
    return found


def read_rows_of(matrix: Any, rows: NDArray[np.int64]) -> Float32:
    """Return some rows of a matrix whose rows are voxels, as trials by voxels.

    Parameters
    ----------
    matrix
        Dataset or memory map ``(n_voxels, n_trials)``.
    rows
        Voxels, ascending, ``(n,)``.

    Returns
    -------
    Shape ``(n_trials, n)``.
    """
    return _read_rows(matrix, rows).T


def _read_rows(matrix: Any, rows: NDArray[np.int64]) -> Float32:
    found = np.empty((len(rows), matrix.shape[1]), dtype=np.float32)
    for block in _blocks(matrix):
        start, stop = np.searchsorted(rows, [block.start, block.stop])
        if start < stop:  # a block without a wanted voxel is not read
            found[start:stop] = _read_block(matrix, block)[rows[start:stop] - block.start]
    return found


def _blocks(matrix: Any) -> Iterator[slice]:
    return blocks(len(matrix), matrix.dtype.itemsize * int(np.prod(matrix.shape[1:])))


def _read_block(matrix: Any, rows: slice) -> NDArray[Any]:
    """Return some rows of a dataset or of a map of `map_array`.

    Pages that were read stay in memory as long as their map exists, so that each block of a file has a map of its own.
    """
    if not isinstance(matrix, np.memmap):
        return np.asarray(matrix[rows])
    with reading(Path(str(matrix.filename))):
        own = np.load(str(matrix.filename), mmap_mode="r", allow_pickle=False)
    return np.asarray(own[rows])


def map_array(path: Path, n_axes: int, what: str) -> NDArray[Any]:
    """Map an npy file of real numbers into memory.

    Parameters
    ----------
    path
        The file. Pickled objects are refused.
    n_axes
        Number of axes that it must have.
    what
        Its shape, for messages, such as ``"(n_images, n_vertices)"``.

    Raises
    ------
    DataError
        If the file is missing, damaged, or has another number of axes or another type.
    """
    check_regular(path)
    with reading(path):
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim != n_axes or values.dtype.kind not in "fiub":
        raise DataError(
            f"{shown(path)} has shape {values.shape} and type {values.dtype}; real numbers {what} are expected.",
            where=path,
            expected=n_axes,
            found=values.ndim,
        )
    return values
