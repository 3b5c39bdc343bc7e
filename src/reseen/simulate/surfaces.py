"""Compute the content of NSD's transform files: positions of fsaverage's vertices in the simulated volume.

A simulated subject's own surface is the template, fsaverage5. Its vertex nearest to a vertex of fsaverage is found on
the sphere that both share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import SIDES, fine_sphere, load_points
from reseen.datasets.nsd_facts import DEPTHS, DRAWN_ATLASES, NsdFiles
from reseen.datasets.surface import OUTSIDE
from reseen.simulate.anatomy import Anatomy

MIDDLE_DEPTH = 2
"""Depth of `DEPTHS` half way through the cortex."""


def surface_transforms(anatomy: Anatomy, files: NsdFiles) -> dict[str, NDArray[Any]]:
    """Return the content of each transform file of a subject.

    Parameters
    ----------
    anatomy
        Anatomy with the volume's affine.
    files
        Names of files; paths are relative to its root.

    Returns
    -------
    dict
        Path -> float32 ``(10242, 3)``: voxel coordinates from 1 of each vertex of the subject's surface at one depth,
        or 9999 outside the volume; or int32 ``(163842, 1)``: the subject's nearest vertex, from 1.
    """
    from scipy.spatial import cKDTree

    found: dict[str, NDArray[Any]] = {}
    for side in SIDES:
        pial, white = load_points("pial", side), load_points("white", side)
        for depth in DEPTHS:
            points = pial + depth / (len(DEPTHS) + 1) * (white - pial)
            found[str(files.to_layer(side, depth))] = _voxels_from_one(points, anatomy)
        ball = load_points("sphere", side)
        tree = cKDTree(ball / np.linalg.norm(ball, axis=1, keepdims=True))
        found[str(files.to_fsaverage(side))] = tree.query(fine_sphere(side))[1].astype(np.int32)[:, None] + 1
    return found


def surface_labels(
    atlases: Mapping[str, NDArray[np.integer[Any]]], transforms: Mapping[str, NDArray[Any]], files: NsdFiles
) -> dict[str, NDArray[np.int32]]:
    """Return the content of the label files of each atlas, one number per vertex; 0 is no label.

    A vertex of the subject's surface has the label of the voxel that it is in half way through the cortex; a vertex of
    fsaverage has the label of the subject's nearest vertex.

    Parameters
    ----------
    atlases
        Atlas -> labels of the volume (X, Y, Z).
    transforms
        From `surface_transforms`.
    files
        Names of files, as in `surface_transforms`.

    Returns
    -------
    dict
        Path -> ``(n_vertices, 1)``: of the subject's surface for `DRAWN_ATLASES`, else of fsaverage.
    """
    found = {}
    for side in SIDES:
        at = transforms[str(files.to_layer(side, MIDDLE_DEPTH))]
        nearest = transforms[str(files.to_fsaverage(side))][:, 0] - 1
        outside = (at == OUTSIDE).any(axis=1)
        voxel = np.where(outside[:, None], 0, np.rint(at - 1)).astype(np.int64)
        for atlas, volume in atlases.items():
            own = np.where(outside, 0, np.maximum(volume[tuple(voxel.T)], 0)).astype(np.int32)
            labels = own if atlas in DRAWN_ATLASES else own[nearest]
            found[str(files.vertex_labels(side, atlas))] = labels[:, None]
    return found


def _voxels_from_one(points: NDArray[np.float64], anatomy: Anatomy) -> NDArray[np.float32]:
    turn, shift = anatomy.affine[:3, :3], anatomy.affine[:3, 3]
    at = (points - shift) @ np.linalg.inv(turn).T
    outside = ((at < 0) | (at > np.array(anatomy.volume_shape) - 1)).any(axis=1)
    at[outside] = OUTSIDE - 1
    return (at + 1).astype(np.float32)
