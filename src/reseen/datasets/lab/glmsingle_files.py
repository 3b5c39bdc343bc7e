"""Files of GLMsingle: betas of single trials, and designs, of its versions in Python and in MATLAB.

========  =========  =========================  ==========================
file      variable   axes                       ``stimorder`` counts from
========  =========  =========================  ==========================
.npy      betasmd    (X, Y, Z, trial)           0
.hdf5     betasmd    (X, Y, Z, trial)           0
.mat      modelmd    in HDF5 (trial, Z, Y, X)   1
========  =========  =========================  ==========================

Data that were given to GLMsingle as a matrix (voxel, time) have the axes (voxel, 1, 1, trial) or (voxel, trial). The
order of trials is chronological. The files of the MATLAB version were not opened: its names and axes are read from the
header of GLMestimatesingletrial.m and from public loaders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.hdf5 import open_dataset, read_all
from reseen.datasets.lab.pickled import read_pickled
from reseen.datasets.mat_files import check_mat
from reseen.datasets.volumes import blocks
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown

Float32 = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Betas:
    """Betas of one output of GLMsingle.

    Parameters
    ----------
    path
        The file.
    shape
        (X, Y, Z), or ``(n_voxels,)`` if GLMsingle was given a matrix.
    n_trials
        Number of trials.
    read
        Function of voxel numbers ``(n,)``, C-order index into ``shape``, that returns ``(n_trials, n)``.
    """

    path: Path
    shape: tuple[int, ...]
    n_trials: int
    read: Callable[[Index], Float32]


def open_betas(path: Path) -> Betas:
    """Open the betas of one output; values are read at first use.

    Raises
    ------
    DataError
        If the file is missing, damaged, or has no betas of single trials.
    """
    if path.suffix == ".npy":
        betas = _variable(path, read_pickled(path), "betasmd")
        return _checked(path, betas.shape, betas.dtype, partial(_read_array, betas))
    _check_version(path)
    trials_first = path.suffix == ".mat"  # MATLAB's axes are reversed in HDF5
    name = "modelmd" if trials_first else "betasmd"
    with reading(path), open_dataset(path, name) as dataset:
        shape, dtype = dataset.shape, dataset.dtype
    return _checked(path, shape[::-1] if trials_first else shape, dtype, partial(_read_hdf5, path, name))


def _checked(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], read: Callable[..., Float32]) -> Betas:
    """Return betas whose axes are (X, Y, Z, trial), (voxel, 1, 1, trial) or (voxel, trial)."""
    if len(shape) not in (2, 4) or dtype.kind not in "fiu":
        raise DataError(
            f"{shown(path)} has betas of shape {shape} and type {dtype}; (X, Y, Z, trial) or (voxel, trial) is "
            "expected.",
            where=path,
            expected=4,
            found=len(shape),
        )
    volume = shape[:-1]
    is_matrix = volume[1:] in ((), (1, 1))
    return Betas(path, volume[:1] if is_matrix else volume, shape[-1], partial(read, volume))


def _check_version(path: Path) -> None:
    """Refuse a MATLAB file that is no HDF5, which is what `save` writes without ``-v7.3``."""
    if path.suffix == ".mat" and not _is_hdf5(path):
        raise DataError(
            f"{shown(path)} is no MATLAB file of version 7.3. Load it in MATLAB and save it with the option -v7.3.",
            where=path,
            expected="-v7.3",
        )


def _is_hdf5(path: Path) -> bool:
    import h5py

    check_regular(path)
    return bool(h5py.is_hdf5(path))


def _read_array(betas: NDArray[Any], volume: tuple[int, ...], index: Index) -> Float32:
    """Return some voxels of an array that is mapped into memory; only their values are read."""
    if betas.flags.c_contiguous:
        # as bytes: a pickle does not align its arrays, and numpy copies the whole of an unaligned array to index it
        rows = betas.reshape(-1, betas.shape[-1]).view(np.uint8)[index].view(betas.dtype)
    else:
        rows = betas[np.unravel_index(index, volume)]
    found: Float32 = rows.astype(np.float32, copy=False).T
    return found


def _read_hdf5(path: Path, name: str, volume: tuple[int, ...], index: Index) -> Float32:
    """Return some voxels of a dataset, one box of voxels and trials at a time."""
    places = np.unravel_index(index, volume)
    with reading(path), open_dataset(path, name) as dataset:
        if path.suffix == ".mat":
            return _read_boxes(dataset, places[::-1], trials_axis=0)
        return _read_boxes(dataset, places, trials_axis=len(volume))


def _read_boxes(dataset: Any, places: tuple[NDArray[np.intp], ...], *, trials_axis: int) -> Float32:
    n_trials = dataset.shape[trials_axis]
    found = np.empty((n_trials, len(places[0])), dtype=np.float32)
    for voxels in _cells(dataset, places, trials_axis):
        start = [int(axis[voxels].min()) for axis in places]
        stop = [int(axis[voxels].max()) + 1 for axis in places]
        box = tuple(slice(first, last) for first, last in zip(start, stop, strict=True))
        inside = tuple(axis[voxels] - first for axis, first in zip(places, start, strict=True))
        n_bytes = dataset.dtype.itemsize * int(np.prod(np.subtract(stop, start)))
        for rows in blocks(n_trials, n_bytes):
            if trials_axis == 0:
                found[rows, voxels] = dataset[(rows, *box)][(slice(None), *inside)]
            else:
                found[rows, voxels] = dataset[(*box, rows)][inside].T
    return found


def _cells(dataset: Any, places: tuple[NDArray[np.intp], ...], trials_axis: int) -> Iterator[NDArray[np.intp]]:
    """Yield the voxels that are stored together: in one chunk of HDF5, or else next to each other."""
    if trials_axis == 0:
        yield np.arange(len(places[0]))  # the values of a trial are next to each other
        return
    size = dataset.chunks[:-1] if dataset.chunks else (1, 1, dataset.shape[-2])[: len(places)]
    grid = [-(-n // step) for n, step in zip(dataset.shape[:-1], size, strict=True)]
    cell = np.ravel_multi_index([axis // step for axis, step in zip(places, size, strict=True)], grid)
    order = np.argsort(cell, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(cell[order])) + 1)


@dataclass(frozen=True, eq=False)
class Design:
    """Design of one output of GLMsingle.

    Parameters
    ----------
    path
        The file.
    condition
        Shape ``(n_trials,)``: column of the design matrix of each trial, 0-based.
    run
        Shape ``(n_trials,)``: run of each trial, from 1.
    n_conditions
        Number of columns of the design matrix; None if the file does not say it.
    session
        Shape ``(n_trials,)``: session of each trial, if GLMsingle was given several (``sessionindicator``); else None.
    """

    path: Path
    condition: Index
    run: Index
    n_conditions: int | None = None
    session: Index | None = None


def read_design(path: Path) -> Design:
    """Read the order of conditions and the number of trials of each run: ``DESIGNINFO.npy`` or ``DESIGNINFO.mat``.

    Raises
    ------
    DataError
        If the file is missing or damaged, or its numbers do not fit each other.
    """
    variables = read_pickled(path) if path.suffix == ".npy" else _read_mat(path)
    order, counts = (_integers(path, variables, name) for name in ("stimorder", "numtrialrun"))
    condition = order if path.suffix == ".npy" else order - 1  # MATLAB counts from 1
    if counts.sum() != len(condition) or condition.min() < 0:
        raise DataError(
            f"{shown(path)}: numtrialrun counts {counts.sum()} trials, and stimorder has {len(condition)}, from "
            f"{order.min()}. Fetch the file again.",
            where=path,
            expected=len(condition),
            found=int(counts.sum()),
        )
    run = np.repeat(np.arange(1, len(counts) + 1), counts)
    matrices = variables.get("design")
    n_conditions = matrices[0].shape[1] if isinstance(matrices, list) and matrices else None
    return Design(path, condition, run, n_conditions, _sessions(variables.get("params"), run, len(counts)))


def _sessions(options: object, run: Index, n_runs: int) -> Index | None:
    """Return the session of each trial by GLMsingle's option ``sessionindicator``, one number for each run."""
    named = options.get("sessionindicator") if isinstance(options, dict) else None
    if named is None:
        return None
    session = np.ravel(named).astype(np.int64)
    return session[run - 1] if len(session) == n_runs and len(np.unique(session)) > 1 else None


def _read_mat(path: Path) -> dict[str, Any]:
    names = ("stimorder", "numtrialrun")
    if not _is_hdf5(path):
        from scipy.io import loadmat

        check_mat(path)
        with reading(path):
            return dict(loadmat(path, variable_names=list(names)))
    found = {}
    for name in names:
        with reading(path), open_dataset(path, name) as dataset:
            found[name] = read_all(path, dataset)
    return found


def _integers(path: Path, variables: Mapping[str, Any], name: str) -> Index:
    """Return a variable as a vector of integers."""
    values = np.ravel(_variable(path, variables, name))
    if not len(values) or values.dtype.kind not in "fiu" or not np.array_equal(values, np.rint(values)):
        raise DataError(
            f"{shown(path)}: {name} has values that are not integers. Fetch the file again.", where=path, expected=name
        )
    return values.astype(np.int64)


def _variable(path: Path, variables: Mapping[str, Any], name: str) -> NDArray[Any]:
    if name not in variables:
        raise DataError(
            f"{shown(path)} has no variable {name}; it has {', '.join(shown(str(key)) for key in variables)}. An "
            "output of GLMsingle is expected.",
            where=path,
            expected=name,
            found=tuple(variables),
        )
    return np.asarray(variables[name])
