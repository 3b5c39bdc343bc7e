"""Draw the objects of a scene, by category."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from reseen.simulate.scenes import COLOURS, Thing

Colour = tuple[float, float, float]
Points = NDArray[np.float64]

_TURN = np.linspace(0, 2 * np.pi, 40, endpoint=False)


class Brush:
    """Draw in a thing's own coordinates: x to the right and y down, both -1...1, rotated and scaled to its position."""

    def __init__(self, pen: ImageDraw.ImageDraw, thing: Thing, side: int) -> None:
        self.pen = pen
        self.thing = thing
        self.side = side
        self.main = np.array(COLOURS[thing.colour], dtype=float)
        self.dark = self.main * 0.62
        self.pale = self.main * 0.5 + 127
        cos, sin = np.cos(thing.angle), np.sin(thing.angle)
        self.turn = np.array([[cos, -sin], [sin, cos]]) * thing.size
        if thing.mirrored:
            self.turn = self.turn @ np.diag([-1.0, 1.0])

    def polygon(self, points: list[tuple[float, float]] | Points, colour: Points | Colour | None = None) -> None:
        """Fill a polygon with a darker outline; the default is the thing's colour."""
        placed = np.asarray(points, dtype=float) @ self.turn.T + (self.thing.x, self.thing.y)
        fill = self.main if colour is None else np.asarray(colour)
        outline = fill * 0.45
        self.pen.polygon(
            [(float(x), float(y)) for x, y in placed * self.side],
            fill=(int(fill[0]), int(fill[1]), int(fill[2])),
            outline=(int(outline[0]), int(outline[1]), int(outline[2])),
            width=3,
        )

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Points | Colour | None = None) -> None:
        """Fill an ellipse around (x, y)."""
        self.polygon(np.stack([x + rx * np.cos(_TURN), y + ry * np.sin(_TURN)], axis=1), colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Points | Colour | None = None) -> None:
        """Fill a box."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def shadow(self) -> None:
        """Darken the ground under the thing."""
        t, side = self.thing, self.side
        x, y = t.x, t.y + t.size
        self.pen.ellipse(ellipse_box(x, y, t.size * 0.8, t.size * 0.14, side), fill=(40, 40, 44))


_BROWN = (104, 66, 36)
_INK = (36, 34, 38)
_SKIN = (236, 190, 150)
_GLASS = (170, 214, 240)


def _house(b: Brush, variant: float) -> None:
    wide = 0.75 + 0.25 * variant
    b.box(-wide, -0.15, wide, 1)
    b.polygon([(-wide - 0.15, -0.15), (0, -1), (wide + 0.15, -0.15)], b.dark)
    b.box(-0.18, 0.4, 0.18, 1, _BROWN)
    b.box(-0.62, 0.1, -0.3, 0.4, _GLASS)
    b.box(0.3, 0.1, 0.62, 0.4, _GLASS)


def _tree(b: Brush, variant: float) -> None:
    b.box(-0.14, 0.2, 0.14, 1, _BROWN)
    if variant < 0.5:
        b.ellipse(0, -0.3, 0.75, 0.7)
    else:
        b.polygon([(-0.75, 0.45), (0, -0.3), (0.75, 0.45)])
        b.polygon([(-0.6, -0.1), (0, -1.0), (0.6, -0.1)])


def _car(b: Brush, variant: float) -> None:
    roof = -0.25 - 0.2 * variant
    b.polygon([(-0.6, 0.2), (-0.4, roof), (0.35, roof), (0.65, 0.2)])
    b.polygon([(-0.42, 0.12), (-0.3, roof + 0.12), (0.27, roof + 0.12), (0.45, 0.12)], _GLASS)
    b.polygon([(-1.15, 0.2), (0.95, 0.12), (1.15, 0.3), (1.15, 0.72), (-1.15, 0.72)])
    for x in (-0.62, 0.62):
        b.ellipse(x, 0.72, 0.28, 0.28, _INK)
        b.ellipse(x, 0.72, 0.1, 0.1, (190, 190, 190))


def _boat(b: Brush, variant: float) -> None:
    b.box(-0.06, -1, 0.06, 0.4, _BROWN)
    b.polygon([(0.1, -0.95), (0.1, 0.3), (0.85 - 0.2 * variant, 0.3)], (248, 246, 238))
    b.polygon([(-0.1, -0.7), (-0.1, 0.3), (-0.6, 0.3)], b.pale)
    b.polygon([(-1.1, 0.42), (1.1, 0.42), (0.7, 0.95), (-0.75, 0.95)])


def _cat(b: Brush, variant: float) -> None:
    b.polygon([(0.45, 0.8), (0.95, 0.3), (0.85, -0.3), (1.02, -0.3), (1.1, 0.35), (0.6, 0.98)], b.dark)
    b.ellipse(0.05, 0.5, 0.58, 0.5)
    b.polygon([(-0.72, -0.35), (-0.66, -1), (-0.3, -0.66)])
    b.polygon([(0.32, -0.35), (0.26, -1), (-0.1, -0.66)])
    b.ellipse(-0.2, -0.3, 0.56, 0.46)
    for x in (-0.4, 0.0):
        b.ellipse(x, -0.35, 0.09, 0.11, _INK)
    b.ellipse(-0.2, -0.14, 0.07, 0.05, (230, 120, 130))
    if variant < 0.5:
        b.ellipse(0.05, 0.6, 0.26, 0.3, b.pale)


def _dog(b: Brush, variant: float) -> None:
    for x in (-0.55, -0.25, 0.35, 0.65):
        b.box(x - 0.1, 0.4, x + 0.1, 1, b.dark)
    b.polygon([(0.7, 0.1), (1.15, -0.45), (1.22, -0.3), (0.85, 0.3)])
    b.polygon([(-0.7, 0.0), (0.8, 0.0), (0.8, 0.55), (-0.7, 0.55)])
    b.polygon([(-0.75, 0.5), (-0.95, -0.55), (-0.35, -0.55), (-0.25, 0.3)])
    b.polygon([(-1.3, -0.3), (-0.9, -0.6), (-0.4, -0.6), (-0.4, -0.1), (-1.25, -0.05)])
    b.polygon([(-0.5, -0.6), (-0.2, -0.5), (-0.2, 0.05 + 0.2 * variant), (-0.45, -0.1)], b.dark)
    b.ellipse(-1.26, -0.2, 0.1, 0.1, _INK)
    b.ellipse(-0.75, -0.42, 0.08, 0.08, _INK)


def _person(b: Brush, variant: float) -> None:
    lift = -0.55 * variant
    b.polygon([(-0.25, 0.25), (-0.02, 0.25), (-0.1, 1), (-0.34, 1)], (60, 64, 96))
    b.polygon([(0.25, 0.25), (0.02, 0.25), (0.1, 1), (0.34, 1)], (60, 64, 96))
    b.polygon([(-0.3, -0.4), (-0.7, 0.1 + lift), (-0.56, 0.2 + lift), (-0.2, -0.15)], b.dark)
    b.polygon([(0.3, -0.4), (0.7, 0.1), (0.56, 0.2), (0.2, -0.15)], b.dark)
    b.polygon([(-0.34, -0.45), (0.34, -0.45), (0.28, 0.35), (-0.28, 0.35)])
    b.ellipse(0, -0.72, 0.26, 0.28, _SKIN)
    b.polygon([(-0.27, -0.75), (-0.2, -1.02), (0.2, -1.02), (0.27, -0.75)], _BROWN)


def _bird(b: Brush, variant: float) -> None:
    b.polygon([(0.5, 0.05), (1.15, -0.2), (1.15, 0.3)], b.dark)
    b.ellipse(0, 0.1, 0.72, 0.36)
    b.ellipse(-0.65, -0.2, 0.3, 0.28)
    b.polygon([(-0.92, -0.25), (-1.25, -0.12), (-0.9, -0.05)], (250, 180, 40))
    up = 0.5 + 0.5 * variant
    b.polygon([(-0.25, 0.0), (0.1, -up), (0.55, -up), (0.35, 0.1)], b.dark)
    b.ellipse(-0.72, -0.25, 0.07, 0.07, _INK)


def _balloon(b: Brush, variant: float) -> None:
    b.polygon([(-0.16, 0.3), (0.16, 0.3), (0.12, 0.7), (-0.12, 0.7)], (200, 190, 170))
    b.ellipse(0, -0.3, 0.68, 0.72)
    if variant < 0.5:
        b.ellipse(0, -0.3, 0.26, 0.72, b.pale)
    b.box(-0.22, 0.68, 0.22, 1, _BROWN)


def _flower(b: Brush, variant: float) -> None:
    b.box(-0.06, -0.1, 0.06, 1, (50, 120, 50))
    b.ellipse(0.28, 0.6, 0.26, 0.12, (60, 140, 60))
    n_petals = 5 if variant < 0.5 else 7
    for turn in np.arange(n_petals) * 2 * np.pi / n_petals:
        b.ellipse(0.42 * np.sin(turn), -0.45 - 0.42 * np.cos(turn), 0.27, 0.27)
    b.ellipse(0, -0.45, 0.24, 0.24, (250, 226, 120) if b.thing.colour != "yellow" else (150, 90, 40))


def _chair(b: Brush, variant: float) -> None:
    for x in (-0.5, 0.5):
        b.box(x - 0.08, 0.2, x + 0.08, 1, b.dark)
    b.box(-0.58, -1, -0.4, 0.15, b.dark)
    if variant < 0.5:
        b.box(-0.6, -1, 0.5, -0.1)
    else:
        b.box(0.4, -1, 0.58, 0.15, b.dark)
        b.box(-0.58, -0.95, 0.58, -0.65)
        b.box(-0.58, -0.5, 0.58, -0.25)
    b.polygon([(-0.65, 0.1), (0.55, 0.1), (0.72, 0.36), (-0.65, 0.36)])


def _ball(b: Brush, variant: float) -> None:
    b.ellipse(0, 0.2, 0.8, 0.8)
    if variant < 0.5:
        b.polygon([(-0.78, 0.08), (0.78, 0.08), (0.78, 0.34), (-0.78, 0.34)], b.pale)
    else:
        b.ellipse(-0.25, -0.05, 0.2, 0.2, b.pale)
        b.ellipse(0.3, 0.35, 0.2, 0.2, b.pale)
        b.ellipse(-0.25, 0.6, 0.16, 0.16, b.pale)


_DRAWINGS: dict[str, Callable[[Brush, float], None]] = {
    "house": _house,
    "tree": _tree,
    "car": _car,
    "boat": _boat,
    "cat": _cat,
    "dog": _dog,
    "person": _person,
    "bird": _bird,
    "balloon": _balloon,
    "flower": _flower,
    "chair": _chair,
    "ball": _ball,
}


def draw_thing(brush: Brush) -> None:
    """Draw the brush's thing in its pose."""
    _DRAWINGS[brush.thing.kind](brush, brush.thing.variant)


def ellipse_box(x: float, y: float, rx: float, ry: float, side: int) -> tuple[float, float, float, float]:
    """Return the box of an ellipse in pixels; centre and radii in image widths, ``side`` the width in pixels."""
    return ((x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side)
