"""Read ROI labels and ncsnr of NSD's betas on fsaverage, and map results there without a transform.

Most labels of NSD's atlases are on fsaverage. Labels that were drawn on a subject's own surface are mapped as NSD's
``nsd_mapdata`` maps them: each vertex of fsaverage gets the label of the subject's nearest vertex.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import N_COARSE, N_FINE, SIDES
from reseen.datasets.nsd_facts import DRAWN_ATLASES, ROI_LABELS, NsdFiles
from reseen.datasets.nsd_rois import read_table
from reseen.datasets.nsd_sessions import VERTEX_SHAPE
from reseen.datasets.surface import Surface, read_nearest, read_surface
from reseen.datasets.volumes import read_volume
from reseen.errors import DataError, ShapeError
from reseen.recipe import FSAVERAGE, DataRecipe


@dataclass(frozen=True)
class Vertices:
    """Map from some vertices to all vertices of fsaverage, with the methods of `Surface`.

    Parameters
    ----------
    n_vertices
        Number of vertices of each hemisphere that are kept, from the first.
    """

    n_vertices: int = N_FINE

    def coarse(self) -> Vertices:
        """Keep fsaverage5: the first 10,242 vertices of each hemisphere."""
        return Vertices(N_COARSE)

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
            If values and vertices do not fit each other or fsaverage.
        """
        return self._lay(values, voxel_index, np.full(VERTEX_SHAPE[:2], np.nan, dtype=np.float32))

    def labels(
        self, labels: NDArray[np.integer[Any]], voxel_index: NDArray[np.int64], missing: int = -1
    ) -> dict[str, NDArray[np.int64]]:
        """Put labels on their vertices; all others get ``missing``.

        Raises
        ------
        ShapeError
            If labels and vertices do not fit each other or fsaverage.
        """
        return self._lay(labels, voxel_index, np.full(VERTEX_SHAPE[:2], missing, dtype=np.int64))

    def _lay(self, values: NDArray[Any], voxel_index: NDArray[np.int64], onto: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if values.shape != voxel_index.shape or values.ndim != 1:
            raise ShapeError(
                f"{values.shape} values were given for {voxel_index.shape} vertices; one for each is needed."
            )
        if len(voxel_index) and not 0 <= voxel_index.min() <= voxel_index.max() < onto.size:
            raise ShapeError(
                f"vertices run from {voxel_index.min()} to {voxel_index.max()}; fsaverage has {onto.size} in both "
                "hemispheres. Take both from one space."
            )
        onto.ravel()[voxel_index] = values
        return {side: onto[row, : self.n_vertices] for row, side in enumerate(SIDES)}


def way_to_fsaverage(data: DataRecipe, subject: str, volume_shape: tuple[int, int, int]) -> Surface | Vertices:
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
    return read_surface(data, subject, volume_shape)


def label_files(files: NsdFiles, atlas: str) -> Sequence[Path]:
    """List the files of an atlas's labels on fsaverage."""
    labels = [files.vertex_labels(side, atlas) for side in SIDES]
    return [*labels, *(files.to_fsaverage(side) for side in SIDES if atlas in DRAWN_ATLASES)]


def read_labels(files: NsdFiles, atlas: str) -> NDArray[Any]:
    """Read the labels of an atlas on fsaverage, in the shape (hemisphere, vertex, 1).

    Raises
    ------
    DataError
        If a file is missing or damaged, has another number of vertices, or numbers its labels in another way than NSD.
    """
    sides = []
    for side in SIDES:
        path = files.vertex_labels(side, atlas)
        if atlas in DRAWN_ATLASES:
            own = read_volume(path)[0].ravel()
            sides.append(own[read_nearest(files, side, len(own))])
        else:
            sides.append(_read_hemisphere(path))
    _check_names(files.color_table(atlas), ROI_LABELS.get(atlas, {}))
    return np.stack(sides)[..., None]


def read_ncsnr(files: NsdFiles) -> NDArray[Any] | None:
    """Read the noise ceiling signal-to-noise ratio in the shape (hemisphere, vertex, 1); None if there is no file.

    Raises
    ------
    DataError
        If only one hemisphere is there, or a file is damaged or has another number of vertices.
    """
    paths = [files.vertex_ncsnr(side) for side in SIDES]
    if not any(map(os.path.lexists, paths)):
        return None
    return np.stack([_read_hemisphere(path) for path in paths])[..., None]


def _read_hemisphere(path: Path) -> NDArray[Any]:
    found = read_volume(path)[0].ravel()
    if len(found) != N_FINE:
        raise DataError(f"{path} has {len(found)} vertices; {N_FINE} of fsaverage are needed. Fetch it again.")
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
