"""Where maps of voxels are drawn and written: one choice by the place of the voxels.

NSD's voxels are mapped to fsaverage by NSD's own transforms. Vertices of a standard surface stay where they are. Voxels
in MNI152 space are mapped to fsaverage5 by millimetres. Other volumes have no known surface and are drawn as slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import FS_LR, SIDES, SURFACES, load_points
from reseen.datasets.surface import Surface, read_affine
from reseen.datasets.vertices import OwnVertices, Vertices, way_to_fsaverage
from reseen.datasets.volumes import Affine, Shape
from reseen.errors import DataError
from reseen.recipe import DataRecipe

MNI152 = "MNI152"
VOLUME = "volume"
"""The only part of a volume, as ``"lh"`` and ``"rh"`` are those of a surface."""
MNI305_TO_MNI152 = np.array(
    [[0.9975, -0.0073, 0.0176, -0.0429], [0.0146, 1.0009, -0.0024, 1.5496], [-0.0130, -0.0093, 0.9971, 1.1840]]
)
"""From millimetres of fsaverage to those of MNI152, ``(3, 4)``: FreeSurfer's mni152.register.dat."""
DEPTHS = (0.25, 0.5, 0.75)
"""Depths in the cortex, as a proportion of the way from the pial to the white surface."""


class Placed(Protocol):
    """Place of voxels, as `reseen.Trials` have it."""

    @property
    def volume_shape(self) -> Shape | None:
        """Shape of the volume."""

    @property
    def space(self) -> str:
        """Name of the space."""

    @property
    def affine(self) -> Affine | None:
        """From voxels to millimetres, ``(4, 4)``."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of a volume without a surface, with the methods of `Surface`.

    Parameters
    ----------
    shape
        (X, Y, Z).
    affine
        From voxels to millimetres, ``(4, 4)``; None if it is unknown.
    space
        Name of the space.
    """

    shape: Shape
    affine: Affine | None
    space: str = ""

    def coarse(self) -> Volume:
        """Keep all voxels."""
        return self

    def values(self, values: NDArray[np.floating[Any]], voxel_index: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Put a quantity in its voxels: ``"volume"`` -> ``(X * Y * Z,)`` float32, NaN without a value."""
        return self._put(values, voxel_index, np.float32(np.nan))

    def labels(
        self, labels: NDArray[np.integer[Any]], voxel_index: NDArray[np.int64], missing: int = -1
    ) -> dict[str, NDArray[Any]]:
        """Put labels in their voxels: ``"volume"`` -> ``(X * Y * Z,)`` int64, ``missing`` elsewhere."""
        return self._put(labels, voxel_index, np.int64(missing))

    def _put(self, values: NDArray[Any], voxel_index: NDArray[np.int64], empty: Any) -> dict[str, NDArray[Any]]:
        volume = np.full(int(np.prod(self.shape)), empty)
        volume[voxel_index] = values
        return {VOLUME: volume}


def map_target(data: DataRecipe, subject: str, placed: Placed) -> Surface | Vertices | OwnVertices | Volume:
    """Return what a subject's maps are drawn on.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject.
    placed
        The subject's trials, or its outline.

    Raises
    ------
    DataError
        If the voxels have no place in a volume, or a transform file of NSD is missing or damaged.
    """
    if placed.volume_shape is None:
        raise DataError(f"the voxels of {subject} have no place in a volume. Name a brain mask: data.mask.")
    if data.is_nsd:
        return way_to_fsaverage(data, subject, placed.volume_shape)
    if placed.space in SURFACES:
        return Vertices(SURFACES[placed.space], placed.space)
    if placed.space.startswith(MNI152) and placed.affine is not None:
        return mni_surface(subject, placed.volume_shape, placed.affine)
    return Volume(placed.volume_shape, placed.affine, placed.space)


def map_surface(data: DataRecipe, subject: str, placed: Placed) -> Surface | Vertices | OwnVertices:
    """Return the surface on which a subject's maps are written.

    Raises
    ------
    DataError
        As `map_target`, and if the voxels are in a volume without a known surface.
    """
    target = map_target(data, subject, placed)
    if isinstance(target, Volume):
        raise DataError(
            f"the voxels of {subject} are in the volume {placed.space or 'native'}, for which no surface is known, so "
            'encode.export can write "nifti" alone. For surfaces, use responses in MNI152 space or on a surface.',
            where="encode.export",
            expected=("nifti",),
        )
    return target


def map_fs_lr(subject: str, placed: Placed) -> int:
    """Return the number of vertices of a hemisphere of fsLR, on which CIFTI files are written.

    Raises
    ------
    DataError
        If the voxels are elsewhere.
    """
    if placed.space != FS_LR:
        raise DataError(
            f'encode.export: "cifti" needs responses on {FS_LR}; those of {subject} are in '
            f"{placed.space or 'another space'}. Use nifti or gifti.",
            where="encode.export",
            expected=FS_LR,
            found=placed.space,
        )
    return SURFACES[FS_LR]


def map_grid(data: DataRecipe, subject: str, placed: Placed) -> tuple[str, Affine]:
    """Return name and affine of the volume in which a subject's maps are written as NIfTI.

    Raises
    ------
    DataError
        If the voxels are no volume, or have no position in millimetres; or an atlas of NSD is missing or damaged.
    """
    if placed.volume_shape is not None and data.is_nsd:
        return data.space, read_affine(data, subject, placed.volume_shape)
    if placed.volume_shape is None or placed.space in SURFACES or placed.affine is None:
        what = f"are on {placed.space}" if placed.space in SURFACES else "have no position in millimetres"
        raise DataError(
            f"encode.export: the voxels of {subject} {what}, so there is no NIfTI. Use gifti for a surface, or name a "
            "brain mask (data.mask) with an affine.",
            where="encode.export",
        )
    return placed.space or "native", placed.affine


def mni_surface(subject: str, shape: Shape, affine: Affine) -> Surface:
    """Return the positions of the vertices of fsaverage5 in a volume in MNI152 space, at three depths.

    fsaverage's coordinates are those of MNI305, which an affine maps to MNI152. No nonlinear registration is used: the
    cortex of single subjects differs from fsaverage's by several millimetres.

    Parameters
    ----------
    subject
        Name of the subject.
    shape
        (X, Y, Z).
    affine
        From voxels to millimetres of MNI152, ``(4, 4)``.
    """
    to_voxels = np.linalg.inv(affine)
    coordinates = {}
    for side in SIDES:
        pial, white = load_points("pial", side), load_points("white", side)
        at = np.stack([pial + depth * (white - pial) for depth in DEPTHS])
        at = at @ MNI305_TO_MNI152[:, :3].T + MNI305_TO_MNI152[:, 3]
        voxels = at @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        outside = ((voxels < -0.5) | (voxels > np.array(shape) - 0.5)).any(axis=2, keepdims=True)
        coordinates[side] = np.where(outside, np.nan, voxels).astype(np.float32)
    return Surface(subject, shape, coordinates)
