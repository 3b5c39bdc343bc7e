"""Responses in NIfTI files: one 4-D file per run, or one 3-D file per trial; voxels in C order of the brain mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.data import Responses
from reseen.datasets.lab.place import Place
from reseen.datasets.volumes import read_grid, read_volume, read_voxels
from reseen.errors import DataError
from reseen.files.reading import shown

NATIVE = "native"
"""Space of a volume that no file or setting names."""


def space_of(path: Path, known: str) -> str:
    """Return the space that is known, or else the file name's, as in ``sub-01_space-T1w_desc-brain_mask.nii.gz``."""
    named = re.search(r"(?:^|_)space-([A-Za-z0-9]+)", path.name)
    return named[1] if named and known in ("", NATIVE) else known


def read_mask(path: Path, space: str = "") -> Place:
    """Return the voxels of a brain mask in C order of its volume; the space is `space_of` the file.

    Raises
    ------
    DataError
        If the file is missing, damaged or has no voxel.
    """
    volume, affine = read_volume(path)
    index = np.flatnonzero(volume.ravel() > 0)
    if volume.ndim != 3 or not len(index):
        raise DataError(
            f"{shown(path)} has shape {volume.shape} and {len(index)} voxels; a mask with three axes is expected.",
            where=path,
            expected=3,
            found=volume.ndim,
        )
    x, y, z = volume.shape
    return Place(space_of(path, space), (x, y, z), index, affine)


def all_voxels(path: Path, space: str = "") -> Place:
    """Return all voxels of a NIfTI file's grid, without a mask; the space is that of `read_mask`."""
    shape, affine = read_grid(path)
    x, y, z = shape[:3]
    return Place(space_of(path, space), (x, y, z), np.arange(x * y * z), affine)


def run_files(paths: Sequence[Path], place: Place) -> Responses:
    """Return the responses in NIfTI files, one file after the other; a 3-D file is one trial.

    Raises
    ------
    DataError
        If a file is missing, damaged, or has another grid than the mask.
    """
    counts = [count_volumes(path, place) for path in paths]

    def read(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        betas = np.empty((sum(counts), len(columns)), dtype=np.float32)
        first, voxels = 0, place.index[columns]
        for path, count in zip(paths, counts, strict=True):
            betas[first : first + count] = _read_file(path, voxels)
            first += count
        return betas

    return Responses(sum(counts), len(place.index), read, place)


def _read_file(path: Path, voxels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return some voxels of all trials of a file, ``(n_trials, n)``."""
    if len(read_grid(path)[0]) == 4:
        return np.asarray(read_voxels(path, voxels), dtype=np.float32)  # a few trials at a time
    return np.asarray(read_volume(path)[0].ravel()[voxels][None], dtype=np.float32)


def count_volumes(path: Path, place: Place) -> int:
    """Return the number of trials or time points of a NIfTI file; check that its grid is that of the mask.

    Raises
    ------
    DataError
        If the file is missing, damaged, or has another grid.
    """
    shape, affine = read_grid(path)
    same_place = affine is None or place.affine is None or np.allclose(affine, place.affine, atol=1e-3)
    if shape[:3] != place.shape or not same_place:
        what = f"shape {shape[:3]}" if shape[:3] != place.shape else "another position in millimetres"
        raise DataError(
            f"{shown(path)} has {what}; the mask has shape {place.shape}. Use a mask in the grid of the responses.",
            where=path,
            expected=place.shape,
            found=shape[:3],
        )
    return shape[3] if len(shape) > 3 else 1
