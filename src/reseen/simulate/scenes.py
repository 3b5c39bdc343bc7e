"""Descriptions of drawn scenes.

A scene is a background and one or two objects, each with a category (``kind``), colour, position, size and pose. One
in five combinations of background, category and colour is *held out*: no training image of any model contains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

BACKGROUNDS = ("meadow", "beach", "snow", "night", "sunset", "sea", "street", "room")
KINDS = ("house", "tree", "car", "boat", "cat", "dog", "person", "bird", "balloon", "flower", "chair", "ball")
COLOURS = {
    "red": (214, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (246, 216, 50),
    "green": (40, 150, 70),
    "blue": (40, 90, 215),
    "purple": (140, 60, 180),
    "pink": (244, 140, 190),
    "white": (242, 242, 238),
}
FLYING = ("bird", "balloon")
"""Objects in the air."""


@dataclass(frozen=True)
class Thing:
    """Description of one object: ``x`` and ``y`` are its centre and ``size`` its half height, in image widths."""

    kind: str
    colour: str
    x: float
    y: float
    size: float
    angle: float
    mirrored: bool
    variant: float


@dataclass(frozen=True)
class Scene:
    """Description of one image: ``horizon`` in image heights from the top, ``light`` a factor, ``texture`` a seed."""

    background: str
    horizon: float
    light: float
    tint: float
    texture: int
    things: tuple[Thing, ...]

    @property
    def is_novel(self) -> bool:
        """Whether any object is in a held-out combination."""
        return any(is_held_out(self.background, thing.kind, thing.colour) for thing in self.things)


def is_held_out(background: str, kind: str, colour: str) -> bool:
    """Return whether this combination is held out; training images contain every pair of the three properties."""
    code = BACKGROUNDS.index(background) + 2 * KINDS.index(kind) + 3 * tuple(COLOURS).index(colour)
    return code % 5 == 0


def sample_scene(rng: Generator, *, novel: bool = False, n_things: int | None = None) -> Scene:
    """Sample a scene; its first object is a held-out combination if ``novel``; otherwise no object is."""
    background = str(rng.choice(BACKGROUNDS))
    horizon = float(rng.uniform(0.42, 0.66))
    count = n_things or (1 if rng.random() < 0.65 else 2)
    centres = [rng.uniform(0.3, 0.7)] if count == 1 else [rng.uniform(0.22, 0.36), rng.uniform(0.64, 0.78)]
    if count == 2 and rng.random() < 0.5:
        centres.reverse()
    things = [_sample_thing(rng, background, horizon, x, count, i, novel) for i, x in enumerate(centres)]
    return Scene(
        background=background,
        horizon=horizon,
        light=float(rng.uniform(0.78, 1.12)),
        tint=float(rng.uniform(-1, 1)),
        texture=int(rng.integers(2**31)),
        things=tuple(things),
    )


def _sample_thing(
    rng: Generator, background: str, horizon: float, x: float, count: int, index: int, novel: bool
) -> Thing:
    while True:
        kind, colour = str(rng.choice(KINDS)), str(rng.choice(list(COLOURS)))
        if index > 0 and novel:
            break
        if is_held_out(background, kind, colour) == novel:
            break
    size = float(rng.uniform(0.2, 0.33) if count == 1 else rng.uniform(0.15, 0.22))
    y = (
        rng.uniform(0.26, 0.46)
        if kind in FLYING
        else max(horizon + rng.uniform(0.0, 0.22), size + 0.05) + 0.02 - size / 4
    )
    return Thing(
        kind=kind,
        colour=colour,
        x=float(x),
        y=float(min(y, 0.97 - size)),
        size=size,
        angle=float(rng.normal(0, 0.08)),
        mirrored=bool(rng.random() < 0.5),
        variant=float(rng.random()),
    )
