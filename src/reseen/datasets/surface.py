"""Map a subject's voxels to the vertices of fsaverage with NSD's transform files.

For three depths of the cortex (25, 50 and 75 % of the way from the pial surface), NSD has the functional coordinates of
each vertex of the subject's own surface. For each vertex of fsaverage, it has the nearest vertex of the subject.
Coordinates and vertex numbers count from 1; 9999 is outside the scanned volume. Sources: the NSD data manual
and nsdcode, whose ``nsd_mapdata`` does the same with a complete volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import N_COARSE, N_FINE, SIDES
from reseen.datasets.grids import maps_affine
from reseen.datasets.nsd_facts import DEPTHS, NsdFiles
from reseen.datasets.nsd_rois import find_rois, mask_path
from reseen.datasets.volumes import read_volume
from reseen.errors import DataError, ShapeError
from reseen.recipe import FSAVERAGE, DataRecipe

Float32 = NDArray[np.float32]
OUTSIDE = 9999.0


@dataclass(frozen=True)
class Surface:
    """Positions of the vertices of fsaverage in one subject's volume.

    Parameters
    ----------
    subject
        Name, such as ``"subj01"``.
    volume_shape
        (X, Y, Z).
    coordinates
        Hemisphere (``"lh"``, ``"rh"``) -> ``(n_depths, n_vertices, 3)`` float32: position in voxels from 0, NaN
        outside the volume.
    """

    subject: str
    volume_shape: tuple[int, int, int]
    coordinates: Mapping[str, Float32]
    space: ClassVar[str] = FSAVERAGE

    def coarse(self) -> Surface:
        """Keep fsaverage5: the first 10,242 vertices of each hemisphere."""
        return replace(self, coordinates={side: at[:, :N_COARSE] for side, at in self.coordinates.items()})

    def values(self, values: NDArray[np.floating[Any]], voxel_index: NDArray[np.int64]) -> dict[str, Float32]:
        """Map a quantity, such as a correlation, to all vertices: cubic interpolation, then the mean over depths.

        Only some voxels have values. Zeros elsewhere would pull the borders of ROIs towards zero, so the volume is
        first extrapolated from the nearest voxel with a value. A vertex gets a value if, at any depth, its voxel has
        one.

        Parameters
        ----------
        values
            Shape ``(n_voxels,)``; NaN where a voxel has none.
        voxel_index
            Shape ``(n_voxels,)``: C-order index into the volume.

        Returns
        -------
        dict
            Hemisphere -> ``(n_vertices,)`` float32, NaN without a value.

        Raises
        ------
        ShapeError
            If values and voxels do not fit each other or the volume.
        """
        self._check(values, voxel_index)
        known = np.isfinite(values)
        if not known.any():
            return {side: np.full(at.shape[1], np.nan, dtype=np.float32) for side, at in self.coordinates.items()}
        kept = np.asarray(voxel_index[known])
        corner, block = _continue_outwards(np.asarray(values)[known], kept, self.volume_shape)
        inside = {side: np.isin(row, kept) for side, row in self._nearest().items()}
        return {
            side: _mean_over_depths(_interpolate(block, at - corner), inside[side])
            for side, at in self.coordinates.items()
        }

    def labels(
        self, labels: NDArray[np.integer[Any]], voxel_index: NDArray[np.int64], missing: int = -1
    ) -> dict[str, NDArray[np.int64]]:
        """Map labels, which have no mean, to all vertices: each gets its voxel's label half way through the cortex.

        If that voxel was not read, the voxels at the outer and then at the inner depth are used.

        Parameters
        ----------
        labels
            Shape ``(n_voxels,)``.
        voxel_index
            Shape ``(n_voxels,)``: C-order index into the volume.
        missing
            Value of vertices in none of these voxels.

        Returns
        -------
        dict
            Hemisphere -> ``(n_vertices,)``.

        Raises
        ------
        ShapeError
            If labels and voxels do not fit each other or the volume.
        """
        self._check(labels, voxel_index)
        volume = np.full(int(np.prod(self.volume_shape)) + 1, -1, dtype=np.int64)  # the last place is outside
        volume[voxel_index] = np.arange(len(labels))
        found = {}
        for side, nearest in self._nearest().items():
            row = np.full(nearest.shape[1], -1, dtype=np.int64)
            for depth in (1, 0, 2)[: len(nearest)]:
                row = np.where(row < 0, volume[nearest[depth]], row)
            found[side] = np.where(row >= 0, np.asarray(labels, dtype=np.int64)[row], missing)
        return found

    def _check(self, values: NDArray[Any], voxel_index: NDArray[np.int64]) -> None:
        if values.shape != voxel_index.shape or values.ndim != 1:
            raise ShapeError(
                f"{values.shape} values were given for {voxel_index.shape} voxels; one for each is needed."
            )
        n_places = int(np.prod(self.volume_shape))
        if len(voxel_index) and not 0 <= voxel_index.min() <= voxel_index.max() < n_places:
            raise ShapeError(
                f"voxels run from {voxel_index.min()} to {voxel_index.max()}; the volume {self.volume_shape} of "
                f"{self.subject} holds {n_places}. Take both from one space."
            )

    def _nearest(self) -> dict[str, NDArray[np.int64]]:
        """Return the voxel of each depth and vertex, ``(n_depths, n_vertices)``; -1 outside."""
        found = {}
        shape = np.array(self.volume_shape)
        for side, at in self.coordinates.items():
            cell = np.rint(np.nan_to_num(at, nan=-1.0)).astype(np.int64)
            ok = ((cell >= 0) & (cell < shape)).all(axis=2)
            flat = np.ravel_multi_index(tuple(np.moveaxis(np.clip(cell, 0, shape - 1), 2, 0)), self.volume_shape)
            found[side] = np.where(ok, flat, -1)
        return found


def read_surface(data: DataRecipe, subject: str, volume_shape: tuple[int, int, int]) -> Surface:
    """Read one subject's transform from the functional volume to fsaverage.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: path and space.
    subject
        Folder name, such as ``"subj01"``.
    volume_shape
        (X, Y, Z) of the betas.

    Raises
    ------
    DataError
        If a transform file is missing (the message says how to fetch it), damaged, or does not fit the others.
    """
    files = _files(data, subject)
    coordinates = {}
    for side in SIDES:
        layers = [_read(files, files.to_layer(side, depth), 3) for depth in DEPTHS]
        n_own = len(layers[0])
        if any(len(layer) != n_own for layer in layers):
            raise DataError(
                f"the {side} transforms of {subject} in {files.to_layer(side, 1).parent} have "
                f"{', '.join(str(len(layer)) for layer in layers)} vertices; the same number at {len(DEPTHS)} depths "
                "is needed. Fetch them again."
            )
        own = read_nearest(files, side, n_own)
        at = np.stack(layers)[:, own]
        coordinates[side] = np.where((at == OUTSIDE).any(axis=2, keepdims=True), np.nan, at - 1).astype(np.float32)
    return Surface(subject, volume_shape, coordinates)


def read_nearest(files: NsdFiles, hemisphere: str, n_own: int) -> NDArray[np.int64]:
    """Read the vertex of the subject's own surface that is nearest to each vertex of fsaverage.

    Parameters
    ----------
    files
        Paths of the subject's files.
    hemisphere
        ``"lh"`` or ``"rh"``.
    n_own
        Number of vertices of the subject's surface.

    Returns
    -------
    numpy.ndarray
        Shape ``(163842,)``, counted from 0.

    Raises
    ------
    DataError
        If the transform file is missing (the message says how to fetch it), damaged, or another surface's.
    """
    path = files.to_fsaverage(hemisphere)
    nearest = np.rint(_read(files, path, 1)[:, 0]).astype(np.int64) - 1
    if len(nearest) != N_FINE:
        raise DataError(f"{path} has {len(nearest)} vertices; {N_FINE} of fsaverage are needed. Fetch it again.")
    if nearest.min() < 0 or nearest.max() >= n_own:
        raise DataError(
            f"{path} names vertices {nearest.min() + 1} to {nearest.max() + 1}; the surface of {files.subject} has 1 "
            f"to {n_own}. Fetch the files of one subject."
        )
    return nearest


def read_affine(data: DataRecipe, subject: str, volume_shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Read the affine ``(4, 4)`` from voxels of the betas to millimetres: the atlas's, if it has the same axes.

    Raises
    ------
    DataError
        If the atlas is missing or damaged.
    RecipeError
        If no atlas has the first ROI.
    """
    files = _files(data, subject)
    first = find_rois(files, data.rois[:1])[0]
    return maps_affine(files, mask_path(files, first) if first.is_mask else files.roi(first.atlas), volume_shape)


def _files(data: DataRecipe, subject: str) -> NsdFiles:
    if data.path is None or not data.is_nsd:
        raise DataError("maps on fsaverage need a tree in NSD's layout; plain arrays say nothing of a surface.")
    return NsdFiles(data.path, subject, data.space, data.betas)


def _read(files: NsdFiles, path: Path, n_columns: int) -> NDArray[np.float64]:
    """Read a transform as ``(n_vertices, n_columns)``, whichever of its axes are of length 1."""
    if not path.is_file():
        raise DataError(
            f"{path} is missing: nothing gets to fsaverage without it. Fetch it: {files.fetch_command(path)}"
        )
    found = np.asarray(read_volume(path)[0], dtype=np.float64)
    found = found.reshape(found.shape[0], -1, order="F")
    if found.shape[1] != n_columns:
        raise DataError(
            f"{path} has {found.shape[1]} numbers for each vertex; {n_columns} are expected. Fetch it again."
        )
    return found


def _continue_outwards(
    values: NDArray[Any], voxel_index: NDArray[np.int64], shape: tuple[int, int, int]
) -> tuple[Float32, NDArray[np.float64]]:
    """Return the corner of the box around the voxels, and the box, filled with the nearest values."""
    from scipy.ndimage import distance_transform_edt

    at = np.stack(np.unravel_index(voxel_index, shape), axis=1)
    first, last = np.maximum(at.min(axis=0) - 2, 0), np.minimum(at.max(axis=0) + 3, shape)
    block = np.full(last - first, np.nan)
    block[tuple((at - first).T)] = values
    nearest = distance_transform_edt(np.isnan(block), return_distances=False, return_indices=True)
    return first.astype(np.float32), block[tuple(nearest)]


def _interpolate(block: NDArray[np.float64], at: Float32) -> Float32:
    from scipy.ndimage import map_coordinates

    where = np.nan_to_num(at).reshape(-1, 3).T
    found = map_coordinates(block, where, order=3, mode="nearest").astype(np.float32)
    return np.asarray(found.reshape(at.shape[:2]), dtype=np.float32)


def _mean_over_depths(found: Float32, inside: NDArray[np.bool_]) -> Float32:
    count = inside.sum(axis=0)
    total = np.where(inside, found, 0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
