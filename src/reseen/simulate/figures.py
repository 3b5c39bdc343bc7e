"""Draw plain white figures on black, as in classic reconstruction experiments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reseen.simulate.filters import SIDE

_OVERSAMPLE = 4
Stroke = tuple[tuple[float, float], ...]


def _arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Stroke:
    """Return points along an ellipse; angles in degrees, clockwise from the right."""
    turn = np.deg2rad(np.linspace(start, stop, 16))
    return tuple((float(x + rx * np.cos(a)), float(y + ry * np.sin(a))) for a in turn)


_SQUARE: Stroke = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))

STROKES: dict[str, tuple[Stroke, ...]] = {
    "letter a": (((-0.7, 1), (0, -1), (0.7, 1)), ((-0.4, 0.25), (0.4, 0.25))),
    "letter b": (((-0.6, -1), (-0.6, 1), (0.6, 1), (0.6, 0), (-0.6, 0)), ((-0.6, -1), (0.5, -1), (0.5, 0))),
    "letter c": (((0.7, -1), (-0.7, -1), (-0.7, 1), (0.7, 1)),),
    "letter d": (((-0.6, -1), (0.2, -1), (0.7, -0.4), (0.7, 0.4), (0.2, 1), (-0.6, 1), (-0.6, -1)),),
    "letter e": (((0.7, -1), (-0.7, -1), (-0.7, 1), (0.7, 1)), ((-0.7, 0), (0.6, 0))),
    "letter f": (((0.7, -1), (-0.6, -1), (-0.6, 1)), ((-0.6, 0), (0.5, 0))),
    "letter g": (((0.7, -1), (-0.7, -1), (-0.7, 1), (0.7, 1), (0.7, 0.1), (0.1, 0.1)),),
    "letter h": (((-0.7, -1), (-0.7, 1)), ((0.7, -1), (0.7, 1)), ((-0.7, 0), (0.7, 0))),
    "letter i": (((0, -1), (0, 1)), ((-0.5, -1), (0.5, -1)), ((-0.5, 1), (0.5, 1))),
    "letter j": (((0.5, -1), (0.5, 1), (-0.6, 1), (-0.6, 0.4)),),
    "letter k": (((-0.6, -1), (-0.6, 1)), ((0.7, -1), (-0.6, 0), (0.7, 1))),
    "letter l": (((-0.6, -1), (-0.6, 1), (0.7, 1)),),
    "letter m": (((-0.8, 1), (-0.8, -1), (0, 0.2), (0.8, -1), (0.8, 1)),),
    "letter n": (((-0.7, 1), (-0.7, -1), (0.7, -1), (0.7, 1)),),
    "letter o": (((-0.7, -1), (0.7, -1), (0.7, 1), (-0.7, 1), (-0.7, -1)),),
    "letter p": (((-0.6, 1), (-0.6, -1), (0.6, -1), (0.6, 0.1), (-0.6, 0.1)),),
    "letter r": (((-0.6, 1), (-0.6, -1), (0.6, -1), (0.6, 0), (-0.6, 0)), ((0.0, 0), (0.7, 1))),
    "letter s": (((0.7, -1), (-0.7, -1), (-0.7, 0), (0.7, 0), (0.7, 1), (-0.7, 1)),),
    "letter t": (((-0.8, -1), (0.8, -1)), ((0, -1), (0, 1))),
    "letter u": (((-0.7, -1), (-0.7, 1), (0.7, 1), (0.7, -1)),),
    "letter v": (((-0.7, -1), (0, 1), (0.7, -1)),),
    "letter w": (((-0.9, -1), (-0.5, 1), (0, -0.2), (0.5, 1), (0.9, -1)),),
    "letter y": (((-0.7, -1), (0, 0), (0.7, -1)), ((0, 0), (0, 1))),
    "letter z": (((-0.7, -1), (0.7, -1), (-0.7, 1), (0.7, 1)),),
    "number zero": (_arc(0, 0, 0.6, 1, 0, 360),),
    "number one": (((-0.35, -0.6), (0.1, -1), (0.1, 1)),),
    "number two": ((*_arc(0, -0.5, 0.6, 0.5, 180, 380), (-0.6, 1), (0.65, 1)),),
    "number three": (_arc(0, -0.5, 0.55, 0.5, 200, 450), _arc(0, 0.5, 0.6, 0.5, 270, 520)),
    "number four": (((0.3, 1), (0.3, -1), (-0.7, 0.4), (0.7, 0.4)),),
    "number five": (((0.6, -1), (-0.5, -1), (-0.55, -0.1), *_arc(0, 0.4, 0.6, 0.6, 230, 500)),),
    "number six": (_arc(0.2, 0.2, 0.8, 1.2, 270, 180) + _arc(0, 0.45, 0.6, 0.55, 180, 540),),
    "number seven": (((-0.65, -1), (0.65, -1), (-0.1, 1)),),
    "number eight": (_arc(0, -0.5, 0.5, 0.48, 0, 360), _arc(0, 0.5, 0.62, 0.5, 0, 360)),
    "number nine": (_arc(0, -0.45, 0.58, 0.55, 0, 360), ((0.58, -0.45), (0.35, 1))),
    "frame": (_SQUARE,),
    "cross": (((-1, 0), (1, 0)), ((0, -1), (0, 1))),
    "diagonal cross": (((-1, -1), (1, 1)), ((1, -1), (-1, 1))),
    "upright bar": (((0, -1), (0, 1)),),
    "level bar": (((-1, 0), (1, 0)),),
    "ring": (_arc(0, 0, 1, 1, 0, 360),),
    "square": (),
    "disc": (),
    "triangle": (((0, -1), (1, 0.9), (-1, 0.9), (0, -1)),),
    "corner": (((-1, -1), (-1, 1), (1, 1)),),
}
"""Figure name -> strokes in the figure's own coordinates, x right and y down, -1...1; square and disc are filled."""

FIGURE_NAMES = tuple(STROKES)


@dataclass(frozen=True)
class Figure:
    """Description of one figure: position, half size and line thickness in image widths.

    ``cells`` is the side of a coarse grid, or 0; ``wobble`` is the seed of random deviations of the strokes.
    """

    name: str
    x: float
    y: float
    size: float
    thickness: float
    stretch: float
    angle: float
    cells: int
    wobble: int


def sample_figure(rng: Generator) -> Figure:
    """Sample a figure; letters and plain shapes are often drawn on a coarse grid, numbers with irregular strokes."""
    name = str(rng.choice(FIGURE_NAMES))
    cells = int(rng.integers(8, 13)) if not name.startswith("number") and rng.random() < 0.5 else 0
    size = float(rng.uniform(0.2, 0.45))
    room = 0.46 - size if cells else 0.5 - size
    return Figure(
        name=name,
        x=float(0.5 + rng.uniform(-1, 1) * max(room, 0)),
        y=float(0.5 + rng.uniform(-1, 1) * max(room, 0)),
        size=size,
        thickness=float(rng.uniform(0.05, 0.14)),
        stretch=float(rng.uniform(0.85, 1.15)),
        angle=0.0 if cells else float(rng.normal(0, 0.06)),
        cells=cells,
        wobble=int(rng.integers(2**31)),
    )


def draw_figure(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure, ``(64, 64, 3)`` uint8, white on black; the same description gives the same bytes."""
    side = SIDE * _OVERSAMPLE
    canvas = Image.new("L", (side, side), 0)
    _paint(ImageDraw.Draw(canvas), figure, side)
    if figure.cells:
        margin = side % figure.cells // 2
        grid = canvas.crop((margin, margin, side - margin, side - margin)).resize(
            (figure.cells, figure.cells), Image.Resampling.BOX
        )
        canvas = grid.point(lambda grey: 255 if grey > 110 else 0).resize((side, side), Image.Resampling.NEAREST)
    grey = np.asarray(canvas.reduce(_OVERSAMPLE))
    return np.repeat(grey[:, :, None], 3, axis=2)


def _paint(pen: ImageDraw.ImageDraw, figure: Figure, side: int) -> None:
    half = figure.size * side
    centre = (figure.x * side, figure.y * side)
    if figure.name in ("square", "disc"):
        box = (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
        (pen.rectangle if figure.name == "square" else pen.ellipse)(box, fill=255)
        return
    thickness = max(figure.thickness, 1.0 / figure.cells if figure.cells else 0.0) * side
    rng = np.random.default_rng(figure.wobble)
    cos, sin = np.cos(figure.angle), np.sin(figure.angle)
    turn = np.array([[cos, -sin], [sin, cos]]) * (half - thickness / 2)
    for stroke in STROKES[figure.name]:
        points = np.array(stroke) * (figure.stretch, 1.0) if not figure.cells else np.array(stroke)
        if figure.name.startswith("number"):
            points = points + rng.normal(0, 0.05, points.shape).cumsum(axis=0) / np.sqrt(len(points))
        placed = [(float(x), float(y)) for x, y in points @ turn.T + centre]
        pen.line(placed, fill=255, width=max(int(thickness), 1), joint="curve")
        for x, y in placed[:: len(placed) - 1]:
            r = thickness / 2
            (pen.rectangle if figure.cells else pen.ellipse)((x - r, y - r, x + r, y + r), fill=255)
