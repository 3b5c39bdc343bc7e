"""Draw a scene from its description."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reseen.simulate.filters import SIDE
from reseen.simulate.scenes import FLYING, Scene
from reseen.simulate.things import Brush, Colour, draw_thing, ellipse_box

_OVERSAMPLE = 4


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """Draw a scene, ``(64, 64, 3)`` uint8, RGB; the same description gives the same bytes."""
    side = SIDE * _OVERSAMPLE
    canvas = _paint_background(scene, side)
    pen = ImageDraw.Draw(canvas)
    rng = np.random.default_rng(scene.texture)
    _DETAILS[scene.background](pen, scene, side, rng)
    for thing in sorted(scene.things, key=lambda t: t.y + t.size):
        brush = Brush(pen, thing, side)
        if thing.kind not in FLYING:
            brush.shadow()
        draw_thing(brush)
    small = canvas.reduce(_OVERSAMPLE)
    lit = np.asarray(small, dtype=np.float64) * scene.light
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


_GROUNDS: dict[str, tuple[Colour, Colour, Colour, Colour]] = {  # sky top, sky bottom, ground far, ground near
    "meadow": ((105, 175, 240), (190, 222, 246), (120, 185, 85), (70, 140, 50)),
    "beach": ((80, 165, 230), (170, 220, 245), (236, 214, 160), (222, 192, 128)),
    "snow": ((165, 185, 210), (212, 222, 232), (240, 245, 250), (222, 230, 242)),
    "night": ((8, 10, 40), (30, 36, 84), (24, 40, 40), (14, 26, 28)),
    "sunset": ((110, 50, 110), (250, 150, 60), (110, 60, 50), (62, 36, 40)),
    "sea": ((150, 200, 235), (205, 228, 240), (40, 120, 180), (18, 74, 134)),
    "street": ((175, 185, 195), (205, 210, 214), (120, 120, 124), (88, 88, 94)),
    "room": ((226, 204, 172), (216, 190, 156), (150, 100, 64), (118, 74, 44)),
}


def _paint_background(scene: Scene, side: int) -> Image.Image:
    top, bottom, far, near = (
        np.array(colour) + scene.tint * np.array([8.0, 0.0, -8.0]) for colour in _GROUNDS[scene.background]
    )
    y = (np.arange(side) / side)[:, None]
    sky = top + (bottom - top) * np.clip(y / scene.horizon, 0, 1)
    ground = far + (near - far) * np.clip((y - scene.horizon) / (1 - scene.horizon), 0, 1)
    rows = np.where(y < scene.horizon, sky, ground)
    column = Image.fromarray(np.clip(rows, 0, 255).astype(np.uint8)[:, None])
    return column.resize((side, side), Image.Resampling.NEAREST)


def _meadow(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    x, y, r = rng.uniform(0, 1), scene.horizon, rng.uniform(0.3, 0.5)
    pen.ellipse(ellipse_box(x, y + r * 0.75, r, r, side), fill=(104, 168, 76))
    pen.rectangle((0, int((y + 0.06) * side), side, int((y + 0.08) * side)), fill=(104, 168, 76))
    _cloud(pen, side, rng)


def _beach(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    pen.rectangle((0, int((scene.horizon - 0.1) * side), side, int(scene.horizon * side)), fill=(40, 130, 190))
    pen.ellipse(ellipse_box(rng.uniform(0.1, 0.9), 0.13, 0.07, 0.07, side), fill=(255, 240, 150))


def _snow(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    for _ in range(2):
        x, w = rng.uniform(0, 1), rng.uniform(0.2, 0.35)
        base = scene.horizon * side
        peak = (scene.horizon - w * 0.8) * side
        pen.polygon([((x - w) * side, base), (x * side, peak), ((x + w) * side, base)], fill=(190, 204, 222))


def _night(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    for _ in range(7):
        x, y = rng.uniform(0.03, 0.97), rng.uniform(0.03, scene.horizon - 0.08)
        pen.ellipse(ellipse_box(x, y, 0.013, 0.013, side), fill=(250, 250, 220))
    pen.ellipse(ellipse_box(rng.uniform(0.1, 0.9), 0.14, 0.075, 0.075, side), fill=(240, 238, 205))


def _sunset(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    x, r = rng.uniform(0.15, 0.85), rng.uniform(0.12, 0.18)
    pen.pieslice(ellipse_box(x, scene.horizon, r, r, side), 180, 360, fill=(255, 214, 90))


def _sea(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    for y in np.linspace(scene.horizon + 0.06, 0.96, 5):
        x = rng.uniform(0.05, 0.75)
        pen.rectangle(
            (int(x * side), int(y * side), int((x + 0.2) * side), int((y + 0.016) * side)), fill=(120, 180, 216)
        )
    _cloud(pen, side, rng)


def _street(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    left = -rng.uniform(0, 0.1)
    while left < 1:
        width, height, shade = rng.uniform(0.16, 0.28), rng.uniform(0.16, 0.34), rng.uniform(105, 165)
        box = (
            int(left * side),
            int((scene.horizon - height) * side),
            int((left + width) * side),
            int(scene.horizon * side),
        )
        pen.rectangle(box, fill=(int(shade), int(shade * 0.9), int(shade * 0.85)))
        left += width + 0.02
    y = 0.9
    for x in np.arange(-0.05 + rng.uniform(0, 0.1), 1, 0.3):
        pen.rectangle(
            (int(x * side), int(y * side), int((x + 0.16) * side), int((y + 0.03) * side)), fill=(226, 226, 216)
        )


def _room(pen: ImageDraw.ImageDraw, scene: Scene, side: int, rng: Generator) -> None:
    x = rng.uniform(0.05, 0.65)
    pen.rectangle((int(x * side), int(0.08 * side), int((x + 0.3) * side), int(0.3 * side)), fill=(120, 84, 54))
    pen.rectangle(
        (int((x + 0.03) * side), int(0.11 * side), int((x + 0.27) * side), int(0.27 * side)), fill=(176, 216, 240)
    )
    pen.rectangle(
        (0, int((scene.horizon - 0.02) * side), side, int((scene.horizon + 0.015) * side)), fill=(240, 230, 214)
    )


def _cloud(pen: ImageDraw.ImageDraw, side: int, rng: Generator) -> None:
    x, y = rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.2)
    for shift, r in ((-0.09, 0.05), (0.0, 0.07), (0.09, 0.05)):
        pen.ellipse(ellipse_box(x + shift, y, r * 1.4, r * 0.8, side), fill=(244, 248, 252))


_DETAILS: dict[str, Callable[[ImageDraw.ImageDraw, Scene, int, Generator], None]] = {
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "night": _night,
    "sunset": _sunset,
    "sea": _sea,
    "street": _street,
    "room": _room,
}
