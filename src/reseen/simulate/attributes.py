"""Compute the categories of a drawn scene to which the simulated cortex responds, whether captions name them or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS, Scene

_GROUPS = {
    "animal": ("cat", "dog", "bird"),
    "alive": ("cat", "dog", "bird", "person", "tree", "flower"),
    "vehicle": ("car", "boat", "balloon"),
    "made": ("house", "car", "boat", "balloon", "chair", "ball"),
    "toy_like": ("balloon", "ball", "flower"),
}
_PLACES = {
    "indoors": ("room",),
    "by_water": ("beach", "sea"),
    "dim": ("night", "sunset"),
    "open_country": ("meadow", "beach", "snow", "sea"),
    "warm_place": ("sunset", "room", "beach"),
}
NAMED = (*(f"kind:{k}" for k in KINDS), *(f"colour:{c}" for c in COLOURS), *(f"place:{b}" for b in BACKGROUNDS))
UNNAMED = (
    *(f"group:{g}" for g in _GROUPS),
    *(f"place_group:{p}" for p in _PLACES),
    *(f"type:{k}" for k in KINDS),
    *("facing", "leaning", "horizon", "light", "tint", "fullness"),
)
ATTRIBUTES = (*NAMED, *UNNAMED)
"""All attributes: first those that captions may name, then those that no caption names."""


def describe(scenes: Sequence[Scene]) -> NDArray[np.float32]:
    """Return the attributes of scenes, ``(n, len(ATTRIBUTES))`` float32; objects are weighted by size."""
    return np.array([_describe(scene) for scene in scenes], dtype=np.float32).reshape(-1, len(ATTRIBUTES))


def _describe(scene: Scene) -> list[float]:
    kind = dict.fromkeys(KINDS, 0.0)
    colour = dict.fromkeys(COLOURS, 0.0)
    subtype = dict.fromkeys(KINDS, 0.0)
    facing = leaning = 0.0
    for thing in scene.things:
        weight = float(np.sqrt(thing.size / 0.25))
        kind[thing.kind] += weight
        colour[thing.colour] += weight
        subtype[thing.kind] += weight if thing.variant < 0.5 else -weight
        facing += weight if thing.mirrored else -weight
        leaning += weight * thing.angle / 0.08
    place = [float(scene.background == b) for b in BACKGROUNDS]
    groups = [sum(map(kind.__getitem__, members)) for members in _GROUPS.values()]
    places = [float(scene.background in members) for members in _PLACES.values()]
    rest = [facing, leaning, scene.horizon, scene.light, scene.tint, float(len(scene.things))]
    return [*kind.values(), *colour.values(), *place, *groups, *places, *subtype.values(), *rest]
