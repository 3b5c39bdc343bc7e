"""Cortex: paint a number for each vertex of a surface as an image of the cortex, flat and inflated, in milliseconds.

Every view is rasterised once: the front triangle of each pixel and the position in it. Painting a map is then an index
operation. A pixel is coloured if at least half of its triangle, by weight, has a value. Sulci are grey behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reseen.datasets.fsaverage import SIDES
from reseen.datasets.meshes import Meshes, fsaverage5

Floats = NDArray[np.floating[Any]]

FLAT_WIDTH, SMALL_WIDTH = 400, 132
"""Pixels of the two flat hemispheres together, and of each inflated view."""
GAP = 4
SMOOTH = 2
"""Factor by which images are painted larger and then reduced, for smooth edges."""
GYRUS, SULCUS = 0.93, 0.78
OUTLINE = 0.25
MARGIN_MM = 12.0
LETTER, LINE = 6.5, 13.0
"""Width of a letter and height of a line of the names of regions, in pixels of the map."""
NEARLY_ALL = 99.5
"""Percentile of the used vertices at which the flat cortex is cut; otherwise a single outlier would shrink the map."""
SMALL_VIEWS = ("lateral", "medial", "ventral")


@dataclass(frozen=True)
class View:
    """Triangle of the cortical surface at each pixel.

    Parameters
    ----------
    vertices
        Shape ``(height, width, 3)``: the corners of the triangle in front.
    weights
        Shape ``(height, width, 3)`` float32: barycentric weights; they add up to 1.
    there
        Shape ``(height, width)`` bool: whether the pixel shows cortex.
    grey
        Shape ``(height, width)``: brightness of the background, darker in sulci.
    """

    vertices: NDArray[np.int32]
    weights: NDArray[np.float32]
    there: NDArray[np.bool_]
    grey: NDArray[np.float32]

    def mean(self, values: Floats) -> Floats:
        """Interpolate a value for each pixel, NaN where less than half of the triangle has one."""
        return _interpolate(self.vertices, self.weights, self.there, values)

    def nearest(self, labels: NDArray[np.int64], missing: int) -> NDArray[np.int64]:
        """Return for each pixel the label of the vertex nearest to it."""
        corner = self.weights.argmax(axis=2)[..., None]
        found = labels[np.take_along_axis(self.vertices, corner, axis=2)[..., 0]]
        return np.where(self.there, found, missing)


class Cortex:
    """Paint maps of one subject: both hemispheres flat, back to back, and inflated views to the left and right.

    The flat cortex is cut off a little before the foremost region. Without a flat surface, the largest view is the
    lateral one.

    Parameters
    ----------
    regions
        Hemisphere -> ``(n_vertices,)`` integers: region number of each vertex, -1 outside the used voxels.
    names
        Names of the regions, by number.
    meshes
        Surfaces to paint on; left out: fsaverage5.
    """

    def __init__(
        self, regions: Mapping[str, NDArray[np.int64]], names: Sequence[str], meshes: Meshes | None = None
    ) -> None:
        meshes = fsaverage5() if meshes is None else meshes
        self.names = names
        self.caption = (
            f"surface: {meshes.name}; grey: {'sulci' if meshes.sulci else 'cortex'}; lines: borders of the voxels used"
        )
        reach = round(max(_reach(meshes, side, regions[side]) for side in SIDES) + MARGIN_MM) if meshes.flat else 0
        large, *small = ("flat", *SMALL_VIEWS) if meshes.flat else SMALL_VIEWS
        self._views, self._regions = {}, {}
        for side in SIDES:
            views = [_small_view(meshes, side, name) for name in small]
            views.insert(0, _large_view(meshes, side, large, reach))
            self._views[side] = views
            self._regions[side] = [view.nearest(regions[side], -1) for view in views]

    def paint(self, colour: Callable[[View, str], Floats]) -> NDArray[np.uint8]:
        """Paint one map.

        Parameters
        ----------
        colour
            Returns for a view and a hemisphere ``(height, width, 4)``: red, green, blue and opacity, in [0, 1].

        Returns
        -------
        ndarray
            Shape ``(height, width, 4)`` uint8, transparent around the cortex.
        """
        width, height = self.size
        canvas = Image.new("RGBA", (width, height))
        for side in SIDES:
            painted = [
                paint_view(view, colour(view, side), find_edges(regions))
                for view, regions in zip(self._views[side], self._regions[side], strict=True)
            ]
            left, small_left = (SMALL_WIDTH + GAP, 0) if side == "lh" else (width // 2 + GAP // 2, width - SMALL_WIDTH)
            canvas.paste(painted[0], (left, (height - painted[0].height) // 2))
            top = (height - sum(image.height for image in painted[1:]) - 2 * GAP * (len(painted) - 2)) // 2
            for image in painted[1:]:
                canvas.paste(image, (small_left, top))
                top += image.height + 2 * GAP
        return np.asarray(canvas)

    def label_places(self) -> dict[str, tuple[float, float]]:
        """Return the position of each region's name on the left large view, in pixels from the left and the top."""
        shown = self._regions["lh"][0]
        top = (self.size[1] - len(shown) // SMOOTH) // 2
        places = place_names(shown, self.names)
        return {name: (SMALL_WIDTH + GAP + x, top + y) for name, (x, y) in places.items()}

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of every map."""
        flat, *small = (len(view.there) // SMOOTH for view in self._views["lh"])
        right = len(self._views["rh"][0].there) // SMOOTH
        stack = sum(small) + 2 * GAP * (len(small) - 1)
        return FLAT_WIDTH + 2 * SMALL_WIDTH + 2 * GAP, max(stack, flat, right)


def place_names(shown: NDArray[np.int64], names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the position of each region's name on an image of regions, in pixels of the reduced image.

    It is the pixel farthest from the region's borders at which the name overlaps no name of a smaller region; where
    there is none in the region, the nearest one outside of it.

    Parameters
    ----------
    shown
        Shape ``(height, width)``: number of the region at each pixel, -1 outside.
    names
        Names of the regions, by number.
    """
    from scipy.ndimage import distance_transform_edt

    sizes = {number: np.count_nonzero(shown == number) for number in range(len(names))}
    places: dict[int, tuple[float, float]] = {}
    for number in sorted((number for number, size in sizes.items() if size), key=lambda number: sizes[number]):
        inside = np.pad(shown == number, 1)
        # in pixels: above 0 inside of the region, below 0 outside
        depth = (distance_transform_edt(inside) - distance_transform_edt(~inside))[1:-1, 1:-1]
        y, x = (axis / SMOOTH for axis in np.ogrid[: len(shown), : shown.shape[1]])
        for other, (other_x, other_y) in places.items():
            apart = LETTER * (len(names[number]) + len(names[other]) + 1) / 2
            depth[(abs(x - other_x) < apart) & (abs(y - other_y) < LINE)] = -np.inf
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        places[number] = (column / SMOOTH, row / SMOOTH)
    return {names[number]: place for number, place in sorted(places.items())}


def paint_view(view: View, over: Floats, edge: NDArray[np.bool_]) -> Image.Image:
    """Paint colours over the sulci, at the size that is shown."""
    opacity = over[..., 3:]
    painted = view.grey[..., None] * (1 - opacity) + over[..., :3] * opacity
    painted[edge] = OUTLINE
    image = np.concatenate([painted, view.there[..., None]], axis=2)
    return Image.fromarray(np.round(image.clip(0, 1) * 255).astype(np.uint8)).reduce(SMOOTH)


def _reach(meshes: Meshes, side: str, regions: NDArray[np.int64]) -> float:
    """Return how far the regions reach from the back end of the flat cortex, in mm."""
    used = np.unique(meshes.flat[side][1])
    back = _from_the_back(meshes, side)
    read = used[regions[used] >= 0]
    return float(np.percentile(back[read], NEARLY_ALL) if len(read) else back[used].max())


def _from_the_back(meshes: Meshes, side: str) -> Floats:
    points, faces = meshes.flat[side]
    across = points[:, 0] * (1 if side == "lh" else -1)  # the back is to the right in the left hemisphere
    used = np.unique(faces)
    return np.asarray(across[used].max() - across)


@lru_cache(maxsize=8)
def _large_view(meshes: Meshes, side: str, name: str, reach: int) -> View:
    """Draw the flat cortex up to ``reach`` mm from its back end, or the inflated cortex from one side."""
    width = (FLAT_WIDTH - GAP) // 2 * SMOOTH
    if name != "flat":
        return _inflated_view(meshes, side, name, width)
    points, faces = meshes.flat[side]
    faces = faces[(_from_the_back(meshes, side)[faces] <= reach).all(axis=1)]
    tall = np.ptp(points[np.unique(faces)][:, 1])
    flat = np.zeros(len(points))
    return _view(meshes, side, *_raster(points[:, 0], points[:, 1], flat, faces, width, round(width * tall / reach)))


@lru_cache(maxsize=12)
def _small_view(meshes: Meshes, side: str, name: str) -> View:
    return _inflated_view(meshes, side, name, SMALL_WIDTH * SMOOTH)


def _inflated_view(meshes: Meshes, side: str, name: str, width: int) -> View:
    """Draw the inflated cortex from one side; every view has the size that the longest one needs."""
    points, faces = meshes.inflated[side]
    x, y, z = points.T
    outer = -1 if side == "lh" else 1
    sides = {
        "lateral": (outer * y, z, outer * x),
        "medial": (-outer * y, z, -outer * x),
        "ventral": (-x, y, -z),
    }
    across, up, near = sides[name]
    long, tall = (np.ptp(up), np.ptp(across)) if name == "ventral" else (np.ptp(across), np.ptp(up))
    if name == "ventral":  # rotate it, anterior to the outside as in the other views
        across, up = outer * up, -outer * across
    return _view(meshes, side, *_raster(across, up, near, faces, width, round(width * tall / long)))


def _interpolate(
    vertices: NDArray[np.int32], weights: NDArray[np.float32], there: NDArray[np.bool_], values: Floats
) -> Floats:
    corner = values.astype(np.float32)[vertices]
    weight = np.where(np.isfinite(corner), weights, 0)
    total = _add(weight)
    sure = there & (total >= 0.5)
    mean = _add(np.where(weight > 0, corner, 0) * weight) / np.where(sure, total, 1)
    return np.where(sure, mean, np.nan)


def _add(corner: Floats) -> Floats:
    """Add up a short last axis; numpy's own sum is slow there."""
    return np.asarray(corner[..., 0] + corner[..., 1] + corner[..., 2])


def _view(
    meshes: Meshes,
    side: str,
    vertices: NDArray[np.int32],
    weights: NDArray[np.float32],
    there: NDArray[np.bool_],
) -> View:
    depth = meshes.sulci.get(side, np.full(len(meshes.inflated[side][0]), -1.0))  # unknown: all of it is light
    sulci = np.nan_to_num(_interpolate(vertices, weights, there, depth))
    grey = GYRUS + (SULCUS - GYRUS) / (1 + np.exp(-8 * sulci))
    return View(vertices, weights, there, grey.astype(np.float32))


def _raster(
    x: Floats, y: Floats, near: Floats, faces: NDArray[np.int64], width: int, height: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Find for each pixel the triangle in front, seen from where ``near`` is largest, and the place in it."""
    used = np.unique(faces)
    scale = min((width - 2) / np.ptp(x[used]), (height - 2) / np.ptp(y[used]))
    column = (x - x[used].min()) * scale + (width - np.ptp(x[used]) * scale) / 2
    row = (y[used].max() - y) * scale + (height - np.ptp(y[used]) * scale) / 2
    points = np.stack([column, row], axis=1)
    faces = faces[np.argsort(near[faces].mean(axis=1), kind="stable")]  # the nearest triangle is drawn last
    numbers = Image.new("I", (width, height), -1)
    pen = ImageDraw.Draw(numbers)
    for number, corners in enumerate(points[faces].reshape(-1, 6).tolist()):
        pen.polygon(corners, fill=number)
    found = np.asarray(numbers)
    vertices = faces[np.maximum(found, 0)].astype(np.int32)
    first, second, third = np.moveaxis(points[vertices], 2, 0)
    pixel = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=2)
    area = _cross(second - first, third - first)
    area = np.where(area == 0, 1, area)
    # barycentric weights; a pixel outside of an edge has the weights of a point on the edge
    weights = np.stack([_cross(third - second, pixel - second), _cross(first - third, pixel - third)], axis=2)
    weights = np.clip(weights / area[..., None], 0, 1)
    weights = np.concatenate([weights, np.clip(1 - weights.sum(axis=2, keepdims=True), 0, 1)], axis=2)
    return vertices, (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32), found >= 0


def _cross(one: Floats, other: Floats) -> Floats:
    """Return the third component of cross products of vectors in a plane, ``(..., 2)``."""
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])


def find_edges(regions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Find the pixels at which one region ends, two pixels wide."""
    edge = np.zeros(regions.shape, dtype=bool)
    for axis in (0, 1):
        differ = np.diff(regions, axis=axis) != 0
        before, after = [(slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None))]
        edge[before] |= differ
        edge[after] |= differ
    return edge
