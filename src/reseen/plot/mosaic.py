"""Mosaic: paint a number for each voxel of a volume without a known surface, as axial slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.mapping import VOLUME, Volume
from reseen.plot.cortex_views import GAP, LINE, SMOOTH, View, find_edges, paint_view, place_names

Floats = NDArray[np.floating[Any]]

WIDTH, MAX_HEIGHT = 672, 420
"""Pixels of the whole mosaic; the height follows from the slices and is no larger than this."""
MAX_SLICES = 24
USED, AROUND = 0.82, 0.965
"""Grey of voxels without a colour, and of the rest of a slice."""
MARGIN = 1
"""Voxels around the used ones that are shown."""


class Mosaic:
    """Paint maps of one subject as axial slices from bottom to top, left on the left, the front at the top.

    The axes of the volume are flipped and exchanged to the nearest axes of the head, and nothing is interpolated.

    Parameters
    ----------
    regions
        ``"volume"`` -> ``(n,)`` integers, n = X * Y * Z: region number of each voxel, -1 outside the used voxels.
    names
        Names of the regions, by number.
    volume
        Shape, affine and space of the volume.
    """

    def __init__(self, regions: Mapping[str, NDArray[np.int64]], names: Sequence[str], volume: Volume) -> None:
        self.names = names
        index, sizes, self._millimetres = _upright(volume)
        used = regions[VOLUME] >= 0
        index, planes = _crop(index, used[index])
        chosen = planes[np.unique(np.linspace(0, len(planes) - 1, MAX_SLICES).round().astype(int))]
        parts = [f"axial slices of the volume {volume.space or 'native'}, for which no surface is known"]
        parts += [f"{len(chosen)} of {len(planes)} slices"] if len(chosen) < len(planes) else []
        parts += ["left is left" if volume.affine is not None else "orientation unknown"]
        self.caption = "; ".join([*parts, "grey: voxels used", "lines: borders of ROIs"])
        self._oriented = volume.affine is not None
        shape = (index.shape[0] * sizes[0], index.shape[1] * sizes[1])
        columns, scale = _layout(len(chosen), shape)
        self._tile = (int(shape[0] * scale), int(shape[1] * scale))
        rows = -(-len(chosen) // columns)
        self.size = (WIDTH, rows * (self._tile[1] + round(LINE) + GAP))
        self._corners: dict[int, tuple[int, int]] = {}
        voxels = np.full((self.size[1] * SMOOTH, WIDTH * SMOOTH), -1, dtype=np.int64)
        left = (WIDTH - columns * self._tile[0] - (columns - 1) * GAP) // 2
        for number, plane in enumerate(chosen.tolist()):
            x = left + (number % columns) * (self._tile[0] + GAP)
            y = (number // columns) * (self._tile[1] + round(LINE) + GAP)
            tile = _enlarge(index[:, :, plane].T[::-1], self._tile)  # rows from the front to the back
            voxels[y * SMOOTH : y * SMOOTH + len(tile), x * SMOOTH : x * SMOOTH + tile.shape[1]] = tile
            self._corners[plane] = (x, y)
        self._view = _view(voxels, used)
        self._regions = self._view.nearest(regions[VOLUME], -1)
        edges = find_edges(self._regions)
        outer = find_edges(np.minimum(self._regions, 0))  # of the used voxels: drawn around them, not over them
        self._edges = edges & ~(outer & (self._regions >= 0))

    def paint(self, colour: Callable[[View, str], Floats]) -> NDArray[np.uint8]:
        """Paint one map, ``(height, width, 4)`` uint8, transparent between slices; see `Cortex.paint`."""
        painted = np.array(paint_view(self._view, colour(self._view, VOLUME), self._edges))
        width, height = self._tile
        for x, y in self._corners.values():  # the slice's name is dark, so it is on light grey, on dark paper too
            painted[y + height : y + height + round(LINE), x : x + width] = (*[round(255 * AROUND)] * 3, 255)
        return painted

    def label_places(self) -> dict[str, tuple[float, float]]:
        """Return the position of each region's name, once, and of each slice's height in mm below it, in pixels."""
        width, height = self._tile
        places = place_names(self._regions, self.names)
        for plane, (x, y) in self._corners.items():
            places[self._name(plane)] = (x + width / 2, y + height + LINE / 2)
        if self._oriented:
            x, y = next(iter(self._corners.values()))
            places |= {"L": (x + 5, y + height / 2), "R": (x + width - 5, y + height / 2)}
        return places

    def _name(self, plane: int) -> str:
        if self._millimetres is None:
            return f"slice {plane}"
        return f"z = {self._millimetres[plane]:.0f} mm".replace("-", "\u2212")


def _upright(volume: Volume) -> tuple[NDArray[np.int64], tuple[float, ...], Floats | None]:
    """Return the volume's voxel numbers in the axes right, front, top; voxel sizes in mm; heights of planes in mm."""
    import nibabel

    orientations: Any = nibabel.orientations  # publishes no types
    index = np.arange(int(np.prod(volume.shape))).reshape(volume.shape)
    if volume.affine is None:
        return index, (1.0, 1.0, 1.0), None
    turn = orientations.io_orientation(volume.affine)
    upright = np.asarray(orientations.apply_orientation(index, turn))
    turned = volume.affine @ orientations.inv_ornt_aff(turn, volume.shape)
    middle = [(n - 1) / 2 for n in upright.shape[:2]]  # of an oblique volume, the height in the middle of the plane
    heights = [float(turned[2] @ [*middle, plane, 1]) for plane in range(upright.shape[2])]
    return upright, tuple(np.linalg.norm(turned[:3, :3], axis=0).tolist()), np.array(heights)


def _crop(index: NDArray[np.int64], used: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the columns and rows around the used voxels, and the planes that have some."""
    parts = []
    for axis in (0, 1):
        found = np.flatnonzero(used.any(axis=(1 - axis, 2)))
        parts.append(slice(max(found[0] - MARGIN, 0), found[-1] + 1 + MARGIN))
    return index[parts[0], parts[1]], np.flatnonzero(used.any(axis=(0, 1)))


def _layout(n_slices: int, shape: tuple[float, float]) -> tuple[int, float]:
    """Return the number of slices side by side, and pixels for each mm, for which slices are largest."""
    best = (1, 0.0)
    for columns in range(1, n_slices + 1):
        rows = -(-n_slices // columns)
        across = (WIDTH - GAP * (columns - 1)) / columns / shape[0]
        down = (MAX_HEIGHT / rows - LINE - GAP) / shape[1]
        if min(across, down) > best[1]:
            best = (columns, min(across, down))
    return best


def _enlarge(tile: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Repeat the voxels of a slice, ``(rows, columns)``, to a tile of ``size`` (width, height)."""
    rows, columns = (
        np.arange(pixels * SMOOTH) * count // (pixels * SMOOTH)
        for pixels, count in zip(reversed(size), tile.shape, strict=True)
    )
    return np.asarray(tile[rows[:, None], columns])


def _view(voxels: NDArray[np.int64], used: NDArray[np.bool_]) -> View:
    """Return the view whose pixels show one voxel each: a triangle with all of its corners there."""
    shown = np.maximum(voxels, 0)
    corners = np.repeat(shown[..., None], 3, axis=2).astype(np.int32)
    weights = np.zeros(corners.shape, dtype=np.float32)
    weights[..., 0] = 1
    grey = np.where(used[shown], USED, AROUND).astype(np.float32)
    return View(corners, weights, voxels >= 0, grey)
