"""The fsaverage surfaces: nilearn's shipped fsaverage5 meshes, and how the finer fsaverage follows from them.

fsaverage is a ball of triangles, an icosahedron whose edges were halved seven times; fsaverage5 is the same ball after
five. Halving keeps the old vertices in front, so the first 10,242 of fsaverage's 163,842 vertices *are* fsaverage5. The
order of the new ones is not written down anywhere that nilearn ships, but fsaverage5 holds its own history: one rule
(`subdivide`) gives its faces from those of each of the five coarser balls, exactly, and is followed for two steps more.
"""

from __future__ import annotations

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


def load_points(mesh: Mesh, hemisphere: str) -> Points:
    """Return where each vertex of fsaverage5 lies on one of its surfaces, ``(10242, 3)`` in mm.

    Parameters
    ----------
    mesh
        ``"pial"`` and ``"white"`` bound the grey matter, ``"infl"`` is smoothed out, ``"sphere"`` a ball, and
        ``"flat"`` lies in the plane, cut open; there the third coordinate says nothing.
    hemisphere
        ``"lh"`` or ``"rh"``.
    """
    return np.asarray(_arrays(mesh, hemisphere)[0], dtype=np.float64)


def load_faces(mesh: Mesh, hemisphere: str) -> Faces:
    """Return the triangles of a surface as vertex numbers, ``(n_faces, 3)``; those of ``"flat"`` leave the cuts out."""
    return np.asarray(_arrays(mesh, hemisphere)[1], dtype=np.int64)


def load_sulci(hemisphere: str) -> NDArray[np.float64]:
    """Return how deep each vertex lies in a sulcus (above 0) or on a gyrus (below), ``(10242,)``."""
    return np.asarray(_arrays("sulc", hemisphere)[0], dtype=np.float64)


def subdivide(faces: Faces, n_vertices: int) -> tuple[Faces, Faces]:
    """Halve every edge of a ball of triangles, numbering vertices and faces as FreeSurfer does.

    Parameters
    ----------
    faces
        Shape ``(n_faces, 3)``.
    n_vertices
        How many vertices they join.

    Returns
    -------
    ends
        Shape ``(n_edges, 2)``: the two vertices between which new vertex ``n_vertices + i`` lies.
    finer
        Shape ``(4 * n_faces, 3)``: first the corner at each old face's first vertex, then its other three parts.
    """
    a, b, c = faces.T
    edges = np.sort(np.stack([np.stack(pair, axis=1) for pair in ((a, c), (b, c), (a, b))], axis=1).reshape(-1, 2))
    _, first, place = np.unique(edges[:, 0] * n_vertices + edges[:, 1], return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))  # new vertices are numbered as they are met
    ac, bc, ab = (n_vertices + turn[place]).reshape(-1, 3).T
    corner = np.stack([a, ab, ac], axis=1)
    others = np.stack([ac, bc, c, ab, bc, ac, ab, b, bc], axis=1).reshape(-1, 3)
    return edges[np.sort(first)], np.concatenate([corner, others])


def fine_sphere(hemisphere: str) -> Points:
    """Return the ball of fsaverage, ``(163842, 3)`` of length 1, by halving the edges of fsaverage5's twice."""
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
