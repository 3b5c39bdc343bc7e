"""Anatomy of simulated subjects: positions of voxels on nilearn's fsaverage5 surface, and in the visual field.

All simulated subjects share this template. Regions are defined by the distance to manually chosen coordinates and are
therefore *approximate*: the positions of areas are realistic, their borders are not. Coordinates are those of
fsaverage, in mm: x to the right, y to the front, z up. The hemispheres are mirror images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import SIDES, load_points
from reseen.datasets.nsd_facts import ROI_LABELS

Points = NDArray[np.float64]

VOXEL_MM = 3.5
"""Side of a voxel; NSD's is 1.8 mm."""

STREAMS = ROI_LABELS["streams"]
"""The labels of NSD's ``streams`` atlas."""

N_VOXELS = {
    "early": 650,
    "midventral": 170,
    "midlateral": 150,
    "midparietal": 150,
    "ventral": 820,
    "lateral": 240,
    "parietal": 220,
}
"""Number of voxels of each stream: 4.2 and 3.3 training trials per voxel in early and ventral, as in NSD."""

_SEEDS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "early": (
        *((8, -96, 0), (8, -84, 4), (11, -74, 6), (14, -94, 14)),
        *((18, -90, 20), (12, -82, -8), (18, -78, -10), (26, -94, 2)),
    ),
    "midventral": ((28, -76, -12), (26, -66, -10)),
    "midlateral": ((38, -84, 4), (36, -88, -6)),
    "midparietal": ((24, -86, 26), (26, -80, 34)),
    "ventral": ((38, -56, -18), (30, -48, -14), (40, -44, -20), (26, -38, -14), (42, -64, -14)),
    "lateral": ((46, -72, 4), (50, -66, 10), (48, -76, -6), (54, -58, 12)),
    "parietal": ((22, -70, 50), (28, -62, 54), (34, -50, 52), (18, -64, 60)),
}
_CALCARINE = np.array([(9.0, -97.0, -1.0), (9.0, -84.0, 3.0), (12.0, -74.0, 5.0), (16.0, -64.0, 7.0)])
_MAX_ECCENTRICITY = 5.5  # degrees of visual angle
_HALF_MAGNIFICATION = 0.75  # degrees: eccentricity at which cortical magnification is half of its maximum


@dataclass(frozen=True)
class Anatomy:
    """Voxels that all simulated subjects share.

    Parameters
    ----------
    stream
        Shape ``(n_voxels,)``: label of ``STREAMS``.
    area
        Shape ``(n_voxels,)``: 1, 2, 3 for V1, V2, V3 within early; 0 elsewhere.
    voxel_index
        Shape ``(n_voxels,)``, ascending: C-order index into ``volume_shape``.
    volume_shape
        Shape (X, Y, Z) of the cropped volume.
    affine
        Shape ``(4, 4)``: voxel indices to mm.
    cortex
        Shape ``volume_shape``, bool: voxels that the cortical surface crosses.
    position
        Shape ``(n_voxels, 3)``, mm: the voxels' centres.
    eccentricity, angle
        Shape ``(n_voxels,)``: the template's position in the visual field, in degrees of visual angle from the centre
        of gaze, and in radians anticlockwise from the right.
    """

    stream: NDArray[np.int64]
    area: NDArray[np.int64]
    voxel_index: NDArray[np.int64]
    volume_shape: tuple[int, int, int]
    affine: Points
    cortex: NDArray[np.bool_]
    position: Points
    eccentricity: Points
    angle: Points

    def __len__(self) -> int:
        """Return the number of voxels."""
        return len(self.stream)

    def where(self, name: str) -> NDArray[np.bool_]:
        """Return the voxels of a stream as a mask, ``(n_voxels,)``."""
        return np.asarray(self.stream == STREAMS[name])


def build_anatomy(voxel_fraction: float = 1.0) -> Anatomy:
    """Build the anatomy; a ``voxel_fraction`` below 1 keeps the voxels nearest to each region's centre."""
    cells = np.unique(np.floor(_cortical_points() / VOXEL_MM).astype(np.int64), axis=0)
    centres: Points = (cells.astype(np.float64) + 0.5) * VOXEL_MM
    stream = _assign_streams(centres, voxel_fraction)
    used = cells[stream > 0]
    first, last = used.min(axis=0) - 1, used.max(axis=0) + 1
    inside = np.all((cells >= first) & (cells <= last), axis=1)
    shape = tuple(int(n) for n in last - first + 1)
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = (first + 0.5) * VOXEL_MM
    cortex = np.zeros(shape, dtype=bool)
    cortex[tuple((cells[inside] - first).T)] = True
    voxel_index = np.ravel_multi_index(tuple((used - first).T), shape)
    order = np.argsort(voxel_index)
    position, label = centres[stream > 0][order], stream[stream > 0][order]
    area, eccentricity, angle = _retinotopy(position, label)
    return Anatomy(
        stream=label,
        area=area,
        voxel_index=np.asarray(voxel_index[order], dtype=np.int64),
        volume_shape=(shape[0], shape[1], shape[2]),
        affine=affine,
        cortex=cortex,
        position=position,
        eccentricity=eccentricity,
        angle=angle,
    )


def _cortical_points() -> Points:
    """Return the points half way between white matter and pial surface of both hemispheres, ``(n, 3)`` mm."""
    return np.concatenate([(load_points("pial", side) + load_points("white", side)) / 2 for side in SIDES])


def _assign_streams(centres: Points, voxel_fraction: float) -> NDArray[np.int64]:
    """Assign each voxel to the stream of its nearest seed and keep the nearest, half of them in each hemisphere."""
    folded = centres.copy()
    folded[:, 0] = np.abs(folded[:, 0])
    gaps = [np.linalg.norm(folded[:, None] - np.array(seeds), axis=2) for seeds in _SEEDS.values()]
    distance = np.stack([gap.min(axis=1) for gap in gaps])
    nearest = distance.argmin(axis=0)
    stream = np.zeros(len(centres), dtype=np.int64)
    for row, name in enumerate(_SEEDS):
        count = max(4, round(N_VOXELS[name] * voxel_fraction))
        for side, wanted in ((centres[:, 0] < 0, count // 2), (centres[:, 0] >= 0, count - count // 2)):
            members = np.flatnonzero((nearest == row) & side)
            order = np.argsort(distance[row, members], kind="stable")
            stream[members[order[:wanted]]] = STREAMS[name]
    return stream


def _retinotopy(position: Points, stream: NDArray[np.int64]) -> tuple[NDArray[np.int64], Points, Points]:
    """Map the visual field onto the voxels: eccentricity grows to the front, and fields are contralateral.

    Cortical magnification falls as 1 / (eccentricity + 0.75 degrees). In early cortex, V1 is along the calcarine
    sulcus, V2 and V3 are on its flanks, and polar angle reverses at each border. Voxels below the sulcus have fields in
    the upper half.
    """
    n = len(position)
    area = np.zeros(n, dtype=np.int64)
    eccentricity, angle = np.zeros(n), np.zeros(n)
    for label in STREAMS.values():
        for left in (True, False):
            members = np.flatnonzero((stream == label) & ((position[:, 0] < 0) == left))
            if len(members) == 0:
                continue
            spot = position[members].copy()
            spot[:, 0] = np.abs(spot[:, 0])
            rank = _ranks(spot[:, 1])  # 0 at the occipital pole, 1 at the front
            # magnification M = 1 / (e + 0.75), integrated: distance on cortex = log(1 + e / 0.75)
            growth = np.log(1 + _MAX_ECCENTRICITY / _HALF_MAGNIFICATION)
            eccentricity[members] = _HALF_MAGNIFICATION * np.expm1(rank * growth)
            if label == STREAMS["early"]:
                part, area[members] = _early_angles(spot)
            else:
                part = np.pi * (_ranks(-spot[:, 2]) - 0.5)
            angle[members] = part if left else np.pi - part
    return area, eccentricity, angle


def _early_angles(spot: Points) -> tuple[Points, NDArray[np.int64]]:
    """Return the polar angle (-pi/2 straight down, pi/2 straight up) and the area of early voxels of one side."""
    distance, above = _from_calcarine(spot)
    rank = _ranks(distance)
    area = np.minimum(1 + (rank * 3).astype(np.int64), 3)
    within = rank * 3 - (area - 1)  # position within the area, 0 to 1
    tilt = np.where(area == 2, 1 - within, within) * np.pi / 2  # reversed in V2
    return np.where(above, -tilt, tilt), area


def _from_calcarine(spot: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return the distance in mm from the calcarine line, and whether a voxel is above it."""
    steps = np.linspace(0, len(_CALCARINE) - 1, 64)
    line = np.stack([np.interp(steps, np.arange(len(_CALCARINE)), _CALCARINE[:, axis]) for axis in range(3)], axis=1)
    gap = np.linalg.norm(spot[:, None] - line, axis=2)
    nearest = gap.argmin(axis=1)
    return gap.min(axis=1), spot[:, 2] > line[nearest, 2]


def _ranks(values: Points) -> Points:
    """Return the rank of each value as a proportion, between 0 and 1."""
    return (np.argsort(np.argsort(values, kind="stable")) + 0.5) / len(values)
