"""Voxel grids: align a volume, such as an ROI atlas, with the voxels of the betas by the affines in the headers.

One rule for all volumes of a subject. A volume with the voxels of the betas is reordered without loss: axes flipped or
permuted, planes removed or added. Any other grid is refused; the user has to resample labels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.nsd_facts import SUBJECTS, NsdFiles
from reseen.datasets.volumes import Affine, Shape, read_grid, read_header_affine, read_volume
from reseen.errors import DataError

TOLERANCE = 0.1
"""Maximum distance of equal voxels, in voxels."""


def read_on_grid(files: NsdFiles, path: Path, shape: Shape) -> NDArray[Any]:
    """Read a volume on the voxels of a subject's betas.

    Betas in NIfTI have their own affine. HDF5 betas get the affine of most of the subject's volumes in the same space.
    If the volume or the subject has no affine, voxels are matched by index.

    Parameters
    ----------
    files
        Files of the subject.
    path
        Path of the volume.
    shape
        Shape of the betas (X, Y, Z).

    Returns
    -------
    numpy.ndarray
        Array of ``shape``; 0 where the volume has no voxel.

    Raises
    ------
    DataError
        If the volume is missing, damaged, or on another grid than the betas.
    """
    volume, affine = read_volume(path)
    target = None if affine is None else betas_affine(files, shape)
    if affine is None or target is None or _is_same(files, path, volume.shape, affine, shape, target):
        if volume.shape != shape:
            raise _other_grid(files, path, volume.shape, shape)
        return volume
    return _reorder(files, path, volume, affine, shape, target)


def betas_affine(files: NsdFiles, shape: Shape) -> Affine | None:
    """Return the affine ``(4, 4)`` from voxels of the betas to millimetres; None if no header gives one.

    Raises
    ------
    DataError
        If a header is damaged, or the subject's volumes disagree without a majority.
    """
    nifti = files.session(1, "nii.gz")
    if nifti.exists() and not os.path.lexists(files.session(1)):
        return read_grid(nifti)[1]
    places = [files.ncsnr, files.brainmask, *sorted(files.brainmask.parent.glob("roi/[!.]*.nii.gz"))]
    groups: list[list[Affine]] = []
    for found_shape, affine in (read_grid(path) for path in places if path.is_file()):
        if affine is None or found_shape[:3] != shape:
            continue
        near = [group for group in groups if _offset(affine, group[0], shape) < TOLERANCE]
        if near:
            near[0].append(affine)
        else:
            groups.append([affine])
    groups.sort(key=len, reverse=True)
    alike = [group for group in groups if len(group) == len(groups[0])]
    if len(alike) > 1 and not _same_axes([group[0] for group in alike]):
        raise DataError(
            f"the volumes of {files.subject} in {files.brainmask.parent} and {files.betas_folder} give "
            f"{len(alike)} different places for the same voxels, and HDF5 betas give none. Write all of them on the "
            "grid of the betas."
        )
    return groups[0][0] if groups else None


def maps_affine(files: NsdFiles, atlas: Path, shape: Shape) -> Affine:
    """Return the affine ``(4, 4)`` for maps on the voxels of the betas: the atlas's, if it has the same axes.

    Raises
    ------
    DataError
        If the atlas is missing or damaged, or the subject's volumes disagree.
    """
    found, affine = read_grid(atlas)
    target = betas_affine(files, shape)
    if target is None or (affine is not None and found == shape and _same_axes([affine, target])):
        return read_header_affine(atlas)
    return target


def _is_same(files: NsdFiles, path: Path, found: tuple[int, ...], affine: Affine, shape: Shape, target: Affine) -> bool:
    """Return whether a volume has the voxels of the betas in the same order.

    NSD's volumes of one subject and space share one grid, so the origin of a volume of NSD's size with the same axes is
    not compared. It was not verified that all of NSD's headers have one origin; a difference is a warning.
    """
    if found != shape:
        return False
    if _offset(affine, target, shape) < TOLERANCE:
        return True
    known = SUBJECTS[files.subject].volume_shape.get(files.space) if files.subject in SUBJECTS else None
    if shape != known or not _same_axes([affine, target]):
        return False
    warnings.warn(
        f"{path} gives its voxels another origin than the other volumes of {files.subject} do. It has NSD's size and "
        "is read voxel by voxel.",
        stacklevel=4,
    )
    return True


def _same_axes(affines: Sequence[Affine]) -> bool:
    first = affines[0][:3, :3]
    return all(np.allclose(affine[:3, :3], first, atol=1e-3 * np.abs(first).max()) for affine in affines)


def _offset(affine: Affine, target: Affine, shape: Shape) -> float:
    """Return the largest distance between the corners of two grids of one shape, in voxels of the target."""
    corners = np.array(np.meshgrid(*((0, n - 1) for n in shape))).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    moved = np.linalg.solve(target, affine @ homogeneous)
    return float(np.abs(moved - homogeneous).max())


def _reorder(
    files: NsdFiles, path: Path, volume: NDArray[Any], affine: Affine, shape: Shape, target: Affine
) -> NDArray[Any]:
    """Move each voxel of a volume to the voxel of the betas at the same millimetres."""
    if volume.ndim != 3:
        raise _other_grid(files, path, volume.shape, shape)
    to_betas = np.linalg.solve(target, affine)
    nearest = np.rint(to_betas)
    nearest_axes = np.abs(nearest[:3, :3])
    drift = np.abs(to_betas - nearest)[:3] @ np.array([*volume.shape, 1.0])
    if not (np.isin(nearest_axes.sum(axis=0), 1).all() and np.isin(nearest_axes.sum(axis=1), 1).all()):
        raise _other_grid(files, path, volume.shape, shape)
    if drift.max() >= TOLERANCE:
        raise _other_grid(files, path, volume.shape, shape)
    places = np.indices(volume.shape).reshape(3, -1).T
    moved = (places @ nearest[:3, :3].T + nearest[:3, 3]).astype(np.int64)
    inside = ((moved >= 0) & (moved < np.array(shape))).all(axis=1)
    n_outside = np.sum(volume.ravel()[~inside] > 0)
    if n_outside:
        raise DataError(
            f"{path} has {n_outside} of its {np.sum(volume > 0)} labelled voxels outside of the betas in "
            f"{files.betas_folder}, by the millimetres in the headers. Correct its affine, or draw it on the betas."
        )
    found = np.zeros(shape, dtype=volume.dtype)
    found[tuple(moved[inside].T)] = volume.ravel()[inside]
    return found


def _other_grid(files: NsdFiles, path: Path, found: tuple[int, ...], shape: Shape) -> DataError:
    return DataError(
        f"{path} has shape {found}; the betas in {files.betas_folder} have {shape} (X, Y, Z), and by their headers the "
        "voxels of one are not voxels of the other. Fetch both from one space (data.space), or resample the volume to "
        "the grid of the betas by nearest neighbour."
    )
