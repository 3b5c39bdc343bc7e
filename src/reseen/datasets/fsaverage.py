"""The fsaverage surfaces: nilearn's shipped fsaverage5 meshes, and the finer fsaverage, which follows from them.

fsaverage is an icosahedron whose edges were halved seven times; fsaverage5 is the same sphere after five steps. Halving
keeps the old vertices first, so the first 10,242 of fsaverage's 163,842 vertices *are* fsaverage5. nilearn ships no
order of the new vertices, but one rule (`subdivide`) reproduces fsaverage5's faces exactly from each of the five
coarser spheres. Two more steps of this rule give fsaverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Faces = NDArray[np.int64]
Mesh = Literal["pial", "white", "infl", "flat", "sphere"]

SIDES = {"lh": "left", "rh": "right"}
"""FreeSurfer's name of each hemisphere -> nilearn's."""
N_COARSE = 10_242
"""Vertices of one hemisphere of fsaverage5."""
N_FINE = 163_842
"""Vertices of one hemisphere of fsaverage."""
FS_LR = "fsLR-32k"
SURFACES: Mapping[str, int] = {"fsaverage": N_FINE, "fsaverage6": 40_962, "fsaverage5": N_COARSE, FS_LR: 32_492}
"""Standard surfaces, and their number of vertices in each hemisphere."""


def load_points(mesh: Mesh, hemisphere: str) -> Points:
    """Return the position of each vertex of fsaverage5 on one of its surfaces, ``(10242, 3)`` in mm.

    Parameters
    ----------
    mesh
        ``"pial"`` and ``"white"`` bound the grey matter, ``"infl"`` is inflated, ``"sphere"`` is a sphere, and
        ``"flat"`` is cut and flattened; its third coordinate has no meaning.
    hemisphere
        ``"lh"`` or ``"rh"``.
    """
    return np.asarray(_arrays(mesh, hemisphere)[0], dtype=np.float64)


def load_faces(mesh: Mesh, hemisphere: str) -> Faces:
    """Return the triangles of a surface as vertex numbers, ``(n_faces, 3)``; ``"flat"`` has none over its cuts."""
    return np.asarray(_arrays(mesh, hemisphere)[1], dtype=np.int64)


def load_sulci(hemisphere: str) -> NDArray[np.float64]:
    """Return the sulcal depth of each vertex, above 0 in a sulcus and below on a gyrus, ``(10242,)``."""
    return np.asarray(_arrays("sulc", hemisphere)[0], dtype=np.float64)


def subdivide(faces: Faces, n_vertices: int) -> tuple[Faces, Faces]:
    """Halve every edge of a triangulated sphere, numbering vertices and faces as FreeSurfer does.

    Parameters
    ----------
    faces
        Shape ``(n_faces, 3)``.
    n_vertices
        Number of vertices.

    Returns
    -------
    ends
        Shape ``(n_edges, 2)``: the two vertices around new vertex ``n_vertices + i``.
    finer
        Shape ``(4 * n_faces, 3)``: first the corner at each old face's first vertex, then its other three parts.
    """
    a, b, c = faces.T
    edges = np.sort(np.stack([np.stack(pair, axis=1) for pair in ((a, c), (b, c), (a, b))], axis=1).reshape(-1, 2))
    _, first, place = np.unique(edges[:, 0] * n_vertices + edges[:, 1], return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))  # new vertices are numbered in order of appearance
    ac, bc, ab = (n_vertices + turn[place]).reshape(-1, 3).T
    corner = np.stack([a, ab, ac], axis=1)
    others = np.stack([ac, bc, c, ab, bc, ac, ab, b, bc], axis=1).reshape(-1, 3)
    return edges[np.sort(first)], np.concatenate([corner, others])


def fine_sphere(hemisphere: str) -> Points:
    """Return the unit sphere of fsaverage, ``(163842, 3)``, by halving the edges of fsaverage5's sphere twice."""
    points, faces = load_points("sphere", hemisphere), load_faces("sphere", hemisphere)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    while len(points) < N_FINE:
        ends, faces = subdivide(faces, len(points))
        middle = points[ends].sum(axis=1)
        points = np.concatenate([points, middle / np.linalg.norm(middle, axis=1, keepdims=True)])
    return points


def _arrays(name: str, hemisphere: str) -> list[Any]:
    import nibabel
    from nilearn.datasets import fetch_surf_fsaverage

    image: Any = nibabel.load(fetch_surf_fsaverage("fsaverage5")[f"{name}_{SIDES[hemisphere]}"])
    return [array.data for array in image.darrays]
