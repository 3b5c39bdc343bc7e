"""Values on the vertices of a surface in GIFTI and CIFTI files.

A vertex has its number on the surface: in GIFTI its position in the array, in CIFTI the number that the file's
BrainModelAxis lists. Both count from 0. `reseen.datasets.lab.place` counts the left hemisphere's vertices, then the
right's.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import SURFACES
from reseen.datasets.lab.place import Place
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown

SIDES = ("L", "R")
SPACES = {n_vertices: space for space, n_vertices in SURFACES.items()}
"""Standard surface by its number of vertices."""
_SIDE = re.compile(r"(?:^|[._])(?:hemi-)?([LRlr])h?(?=[._])")
"""Hemisphere in a file name: ``hemi-L``, ``lh.``, ``_L_`` or ``.L.``."""
_LARGEST = 2**31
"""Maximum number of bytes of a GIFTI file, which is read as a whole."""


def side_of(path: Path) -> str | None:
    """Return the hemisphere, ``"L"`` or ``"R"``, that a file's name says; None if it says none."""
    found = _SIDE.search(path.name)
    return found[1].upper() if found else None


def without_side(name: str) -> str:
    """Return a file name without its hemisphere."""
    return _SIDE.sub("", name, count=1).lstrip("._")


def read_gifti(path: Path) -> tuple[list[NDArray[Any]], Mapping[int, str]]:
    """Return the arrays of a GIFTI file, ``(n_vertices,)`` each, and the names of its labels.

    Raises
    ------
    DataError
        If the file is missing, damaged, is no GIFTI or has arrays of several lengths.
    """
    import nibabel

    check_regular(path)
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{shown(path)} has more than {_LARGEST:,} bytes. Save fewer trials in a file.", where=path)
    with reading(path):
        image: Any = nibabel.load(path)
        arrays = [np.asarray(array.data) for array in getattr(image, "darrays", [])]
        names = image.labeltable.get_labels_as_dict() if arrays else {}
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise DataError(
            f"{shown(path)} has arrays of the shapes {sorted(shapes)}; arrays with one value for each vertex are "
            "expected. Name files of responses (func.gii), not surfaces (surf.gii).",
            where=path,
            expected="(n_vertices,)",
            found=tuple(sorted(shapes)),
        )
    return arrays, {int(number): name for number, name in names.items() if number and name}


def surface_place(path: Path, n_vertices: int) -> Place:
    """Return the place of all vertices of both hemispheres of a standard surface.

    Raises
    ------
    DataError
        If no standard surface has this number of vertices in a hemisphere.
    """
    if n_vertices not in SPACES:
        known = ", ".join(f"{space} {count}" for space, count in SURFACES.items())
        raise DataError(
            f"{shown(path)} has {n_vertices} vertices; known surfaces have {known}. Resample the responses to one of "
            "these surfaces.",
            where=path,
            expected=tuple(SPACES),
            found=n_vertices,
        )
    return Place(SPACES[n_vertices], (2, n_vertices, 1), np.arange(2 * n_vertices))


def on_place(path: Path, values: NDArray[Any], place: Place) -> NDArray[Any]:
    """Return the labels of one hemisphere's file for all voxels of a place; 0 in the other hemisphere.

    The first vertices of fsaverage are those of fsaverage6 and fsaverage5, so a finer file is cut.

    Raises
    ------
    DataError
        If the file's name has no hemisphere, or the file is on another surface.
    """
    side, n_vertices = side_of(path), place.shape[1]
    if side is None:
        raise DataError(f"{shown(path)} names no hemisphere. Name it with hemi-L or hemi-R.", where=path)
    nested = "fsaverage" in place.space and "fsaverage" in SPACES.get(len(values), "")
    if not place.on_surface or (len(values) != n_vertices and not (nested and len(values) > n_vertices)):
        raise DataError(
            f"{shown(path)} has {len(values)} vertices; the responses are in {place.space or 'a volume'}, with shape "
            f"{place.shape}. Give ROIs on the surface of the responses.",
            where=path,
            expected=place.shape,
            found=len(values),
        )
    whole = np.zeros((2, n_vertices), dtype=values.dtype)
    whole[SIDES.index(side)] = values[:n_vertices]
    return np.asarray(whole.ravel()[place.index])


class Grayordinates:
    """Rows of a CIFTI file, cortex only, by the vertex numbers of its BrainModelAxis.

    Parameters
    ----------
    path
        A ``.dscalar.nii`` or ``.dlabel.nii`` file: (maps, grayordinates).

    Attributes
    ----------
    place
        Place of the cortical vertices, in ascending order.
    labels
        Number -> name of each row's labels; empty for scalars.
    n_other
        Number of grayordinates outside of the cortex, such as subcortical voxels.
    """

    def __init__(self, path: Path) -> None:
        import nibabel

        check_regular(path)
        with reading(path), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Dataobj shape", UserWarning)  # `_axes` refuses such a file
            image: Any = nibabel.load(path)
            rows, brain = self._axes(path, image)
            self._data = image.dataobj
            self.n_rows, n_columns = image.shape
            index, columns, n_vertices = _cortex(brain)
        if not len(index):
            raise DataError(f"{shown(path)} has no cortical vertices.", where=path)
        order = np.argsort(index)  # a file may list the right hemisphere first
        self.path, self._columns, self.n_other = path, columns[order], n_columns - len(index)
        whole = surface_place(path, n_vertices)
        self.place = whole.take(index[order])
        labels = getattr(rows, "label", [{}] * self.n_rows)
        self.labels: Sequence[Mapping[int, str]] = [_names(table) for table in labels]

    @staticmethod
    def _axes(path: Path, image: Any) -> tuple[Any, Any]:
        """Return the axis of the rows and the axis of the grayordinates; refuse files of another type."""
        from nibabel.cifti2 import cifti2_axes as axes

        if not hasattr(image.header, "get_axis"):
            raise DataError(
                f'{shown(path)} is a volume in NIfTI, not CIFTI. Read it with data.kind = "trials" or "bids".',
                where=path,
            )
        found = [image.header.get_axis(axis) for axis in range(len(image.shape))]
        # a damaged shape can declare more rows than fit in memory
        expected = tuple(len(axis) for axis in found)
        if image.shape != expected:
            raise DataError(
                f"{shown(path)} declares an array of shape {image.shape}, but its axes have {expected} elements. The "
                "file is damaged; copy it again.",
                where=path,
                expected=expected,
                found=image.shape,
            )
        if isinstance(found[0], axes.SeriesAxis):
            raise DataError(series_sentence(path), where=path, expected=".dscalar.nii", found=".dtseries.nii")
        if len(found) != 2 or not isinstance(found[1], axes.BrainModelAxis):
            kinds = ", ".join(type(axis).__name__ for axis in found)
            raise DataError(
                f"{shown(path)} is a CIFTI file with the axes {kinds}; rows of grayordinates (.dscalar.nii or "
                ".dlabel.nii) are expected.",
                where=path,
                expected="BrainModelAxis",
                found=kinds,
            )
        return found[0], found[1]

    def row(self, number: int, columns: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """Return one row of all cortical vertices, or of those of ``place`` with these numbers."""
        wanted = self._columns if columns is None else self._columns[columns]
        with reading(self.path):
            return np.asarray(np.asarray(self._data[number]).ravel()[wanted])


def series_sentence(path: Path) -> str:
    """Return the sentence about a dense time series that is given as responses."""
    return (
        f"{shown(path)} is a time series (one row a volume), and responses have one row for each trial. Fit a GLM with "
        "a regressor for each trial and save its betas as .dscalar.nii, for example with nilearn."
    )


def _cortex(brain: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return place and column of each cortical vertex, and the number of vertices of a hemisphere."""
    indices, columns, n_vertices = [], [], 0
    for structure, part, model in brain.iter_structures():
        if structure not in ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"):
            continue
        n_vertices = int(brain.nvertices[structure])
        indices.append(np.asarray(model.vertex, dtype=np.int64) + n_vertices * structure.endswith("RIGHT"))
        columns.append(np.arange(len(brain))[part])
    if not indices:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), 0
    return np.concatenate(indices), np.concatenate(columns), n_vertices


def _names(table: Mapping[int, Any]) -> dict[int, str]:
    """Return the names of a LabelAxis's table, whose entries are a name and a colour."""
    return {int(number): str(entry[0]) for number, entry in table.items() if number and entry[0]}
