"""Read ROI labels and ncsnr of NSD's betas on surfaces, and map results to fsaverage.

On fsaverage, most labels of NSD's atlases are given. Labels that were drawn on a subject's own surface are mapped as
NSD's ``nsd_mapdata`` maps them: each vertex of fsaverage gets the label of the subject's nearest vertex. On the
subject's own surface, all labels are given, and results are mapped to fsaverage in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import FS_LR, N_COARSE, N_FINE, SIDES, SURFACES
from reseen.datasets.nsd_facts import DRAWN_ATLASES, ROI_LABELS, NsdFiles
from reseen.datasets.nsd_rois import read_table
from reseen.datasets.nsd_sessions import list_sessions, session_paths
from reseen.datasets.surface import Surface, read_nearest, read_surface
from reseen.datasets.volumes import Shape, peek, read_volume
from reseen.errors import DataError, ShapeError
from reseen.recipe import FSAVERAGE, NATIVE, DataRecipe


@dataclass(frozen=True)
class Vertices:
    """Map from some vertices to all vertices of a standard surface, with the methods of `Surface`.

    Parameters
    ----------
    n_vertices
        Number of vertices of each hemisphere that are kept, from the first.
    space
        The surface, one of `SURFACES`.
    """

    n_vertices: int = N_FINE
    space: str = FSAVERAGE

    def coarse(self) -> Vertices:
        """Keep the vertices that figures show: of fsaverage the first 10,242 (fsaverage5), of fsLR all."""
        return self if self.space == FS_LR else Vertices(N_COARSE, self.space)

    def values(
        self, values: NDArray[np.floating[Any]], voxel_index: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Put a quantity, such as a correlation, on its vertices.

        Parameters
        ----------
        values
            Shape ``(n_voxels,)``; NaN where a vertex has none.
        voxel_index
            Shape ``(n_voxels,)``: index of each vertex into (hemisphere, vertex).

        Returns
        -------
        dict
            Hemisphere -> ``(n_vertices,)`` float32, NaN without a value.

        Raises
        ------
        ShapeError
            If values and vertices do not fit each other or the surface.
        """
        return self._cut(_scatter(values, voxel_index, np.full(self._shape, np.nan, dtype=np.float32), self.space))

    def labels(
        self, labels: NDArray[np.integer[Any]], voxel_index: NDArray[np.int64], missing: int = -1
    ) -> dict[str, NDArray[np.int64]]:
        """Put labels on their vertices; all others get ``missing``.

        Raises
        ------
        ShapeError
            If labels and vertices do not fit each other or the surface.
        """
        return self._cut(_scatter(labels, voxel_index, np.full(self._shape, missing, dtype=np.int64), self.space))

    @property
    def _shape(self) -> tuple[int, int]:
        return len(SIDES), SURFACES[self.space]

    def _cut(self, onto: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {side: onto[row, : self.n_vertices] for row, side in enumerate(SIDES)}


@dataclass(frozen=True, eq=False)
class OwnVertices:
    """Map from vertices of the subject's own surface to all vertices of fsaverage, with the methods of `Surface`.

    Parameters
    ----------
    nearest
        Hemisphere -> ``(n_vertices,)``: the subject's vertex that is nearest to each vertex of fsaverage, counted
        through both hemispheres, left first.
    n_own
        Number of the subject's vertices in both hemispheres.
    """

    nearest: Mapping[str, NDArray[np.int64]]
    n_own: int

    @property
    def space(self) -> str:
        """Name of the surface that values are mapped to."""
        return FSAVERAGE

    def coarse(self) -> OwnVertices:
        """Keep fsaverage5: the first 10,242 vertices of each hemisphere."""
        return OwnVertices({side: found[:N_COARSE] for side, found in self.nearest.items()}, self.n_own)

    def values(
        self, values: NDArray[np.floating[Any]], voxel_index: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the value of the nearest vertex; parameters and errors are those of `Vertices.values`."""
        own = _scatter(values, voxel_index, np.full(self.n_own, np.nan, dtype=np.float32), "the subject's surface")
        return {side: own[nearest] for side, nearest in self.nearest.items()}

    def labels(
        self, labels: NDArray[np.integer[Any]], voxel_index: NDArray[np.int64], missing: int = -1
    ) -> dict[str, NDArray[np.int64]]:
        """Return the label of the nearest vertex; parameters and errors are those of `Vertices.labels`."""
        own = _scatter(labels, voxel_index, np.full(self.n_own, missing, dtype=np.int64), "the subject's surface")
        return {side: own[nearest] for side, nearest in self.nearest.items()}


def _scatter(values: NDArray[Any], voxel_index: NDArray[np.int64], onto: NDArray[Any], where: str) -> NDArray[Any]:
    """Write values at their vertices into an array of all vertices, in place."""
    if values.shape != voxel_index.shape or values.ndim != 1:
        raise ShapeError(f"{values.shape} values were given for {voxel_index.shape} vertices; one for each is needed.")
    if len(voxel_index) and not 0 <= voxel_index.min() <= voxel_index.max() < onto.size:
        raise ShapeError(
            f"vertices run from {voxel_index.min()} to {voxel_index.max()}; {where} has {onto.size} in both "
            "hemispheres. Take both from one space."
        )
    onto.ravel()[voxel_index] = values
    return onto


def way_to_fsaverage(
    data: DataRecipe, subject: str, volume_shape: tuple[int, int, int]
) -> Surface | Vertices | OwnVertices:
    """Return the map of a subject's values to fsaverage; betas on fsaverage need no file.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: path and space.
    subject
        Folder name, such as ``"subj01"``.
    volume_shape
        Shape of the betas' volume, from the reader.

    Raises
    ------
    DataError
        If a transform file is needed and missing, damaged, or does not fit the others.
    """
    if data.space == FSAVERAGE and data.is_nsd:
        return Vertices()
    if data.space == NATIVE and data.is_nsd and data.path is not None:
        return _read_own_vertices(NsdFiles(data.path, subject, data.space, data.betas), volume_shape[0])
    return read_surface(data, subject, volume_shape)


def _read_own_vertices(files: NsdFiles, n_own: int) -> OwnVertices:
    sizes = count_vertices(files)
    if sum(sizes) != n_own:
        raise DataError(
            f"the first session in {files.betas_folder} has {sum(sizes)} vertices; the results have {n_own}. Use the "
            "betas of the run."
        )
    left, right = (read_nearest(files, side, n) for side, n in zip(SIDES, sizes, strict=True))
    return OwnVertices(dict(zip(SIDES, (left, sizes[0] + right), strict=True)), n_own)


def count_vertices(files: NsdFiles) -> list[int]:
    """Return the number of vertices of each hemisphere, left first, from the first session's betas.

    Raises
    ------
    DataError
        If there are no betas, or a header is damaged.
    """
    present = list_sessions(files)
    if not present:
        raise DataError(f"{files.betas_folder} has no betas, whose headers give the number of vertices. Fetch them.")
    return [peek(path)[1][0] for path in session_paths(files, present[0])]


def label_files(files: NsdFiles, atlas: str) -> Sequence[Path]:
    """List the files of an atlas's labels on the surface of the betas."""
    labels = [files.vertex_labels(side, atlas) for side in SIDES]
    mapped = atlas in DRAWN_ATLASES and not files.on_native
    return [*labels, *(files.to_fsaverage(side) for side in SIDES if mapped)]


def read_labels(files: NsdFiles, atlas: str, shape: Shape) -> NDArray[Any]:
    """Read the labels of an atlas on all vertices of the betas.

    Parameters
    ----------
    files
        Paths of the subject's files.
    atlas
        Name of the atlas.
    shape
        Shape of all vertices: (hemisphere, vertex, 1), or (n_left + n_right, 1, 1) on the subject's own surface.

    Raises
    ------
    DataError
        If a file is missing or damaged, has another number of vertices, or numbers its labels in another way than NSD.
    """
    sides = []
    for side, n_vertices in zip(SIDES, _sizes(files), strict=True):
        path = files.vertex_labels(side, atlas)
        if atlas in DRAWN_ATLASES and not files.on_native:
            own = read_volume(path)[0].ravel()
            sides.append(own[read_nearest(files, side, len(own))])
        else:
            sides.append(_read_hemisphere(files, path, n_vertices))
    _check_names(files.color_table(atlas), ROI_LABELS.get(atlas, {}))
    return np.concatenate(sides).reshape(shape)


def read_ncsnr(files: NsdFiles, shape: Shape) -> NDArray[Any] | None:
    """Read the noise ceiling signal-to-noise ratio of all vertices, in ``shape``; None if there is no file.

    Raises
    ------
    DataError
        If only one hemisphere is there, or a file is damaged or has another number of vertices.
    """
    paths = [files.vertex_ncsnr(side) for side in SIDES]
    if not any(map(os.path.lexists, paths)):
        return None
    pairs = zip(paths, _sizes(files), strict=True)
    return np.concatenate([_read_hemisphere(files, path, n) for path, n in pairs]).reshape(shape)


def _sizes(files: NsdFiles) -> Sequence[int]:
    """Return the number of vertices of each hemisphere, left first."""
    return count_vertices(files) if files.on_native else (N_FINE,) * len(SIDES)


def _read_hemisphere(files: NsdFiles, path: Path, n_vertices: int) -> NDArray[Any]:
    found = read_volume(path)[0].ravel()
    if len(found) != n_vertices:
        whose = f"{files.subject}'s own surface" if files.on_native else "fsaverage"
        raise DataError(
            f"{path} has {len(found)} vertices; {n_vertices} of {whose} are needed. Fetch it again.",
            where=path,
            expected=n_vertices,
            found=len(found),
        )
    return found


def _check_names(path: Path, expected: Mapping[str, int]) -> None:
    """Compare the names in a colour table, if there is one, with the known names."""
    if not os.path.lexists(path):
        return
    found = read_table(path)
    wrong = [name for name, number in expected.items() if found.get(name, number) != number]
    if wrong:
        raise DataError(
            f"{path} gives {wrong[0]} the label {found[wrong[0]]}; in NSD it is {expected[wrong[0]]}. Fetch the atlas "
            "again, or name labels by number in data.rois, such as streams:5, and take the table away."
        )
