"""Images of a simulated session of NSD-synthetic: noise, scenes, words and gratings, in the order of NSD-synthetic.

Numbers, classes and order are those of the NSD data manual; the images are drawn in the size of the simulated scenes.
Words are rows of invented letters, of which no reader of English knows any.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.simulate.attributes import describe
from reseen.simulate.filters import SIDE
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import sample_scene

Floats = NDArray[np.float64]

WIDTH = round(SIDE * 1360 / 714 / 2) * 2
"""Width of an image in pixels; its middle square has `SIDE`."""
GREY = 127 / 255
N_SCENES = 4
CONTRASTS = (1.0, 0.5, 0.1, 0.06, 0.04)
COHERENCES = (0.75, 0.5, 0.25, 0.0)
WORD_LENGTHS = (4, 6)
WORD_CENTRES = (12, 42, 61, 80, 110)
"""Column of the middle of a word, for the five positions; the first and the last are outside the middle square."""
_LETTER = (7, 3)  # pixels of an invented letter
CYCLES = (2, 3, 5, 8, 12, 16)
"""Cycles of a grating around its centre. NSD-synthetic has up to 128, which 64 pixels cannot show."""
_SHAPES = (("pinwheel", 0.0), ("forward spiral", np.pi / 4), ("annulus", np.pi / 2), ("reverse spiral", 3 * np.pi / 4))
N_HUES = 16


@dataclass(frozen=True)
class SyntheticImages:
    """Images of a simulated session, as a screen shows them, with values from 0 to 1.

    Parameters
    ----------
    shared
        Shape ``(220, SIDE, WIDTH, 3)``: images of all subjects.
    names, subclasses, classes
        Names of all 284 images.
    attributes
        Shape ``(284, n_attributes)`` float32: categories of the scenes; zero for other images.
    """

    shared: Floats
    names: tuple[str, ...]
    subclasses: tuple[str, ...]
    classes: tuple[str, ...]
    attributes: NDArray[np.float32]


def draw_synthetic(rng: Generator) -> SyntheticImages:
    """Draw the images that all subjects see, and name those of each subject."""
    scenes = [sample_scene(rng) for _ in range(N_SCENES)]
    grey = [draw_scene(scene).mean(axis=2) / 255 for scene in scenes]
    drawn: list[tuple[Floats, str, str]] = []

    def add(images: list[Floats], subclass: str, of_class: str) -> None:
        drawn.extend((_on_grey(image), subclass, of_class) for image in images)

    for subclass, block, power in (("white noise", 1, 0.0), ("large white noise", 8, 0.0), ("pink noise", 1, 1.0)):
        add([_noise(rng, block, power) for _ in range(4)], subclass, "Noise")
    add(grey, "natural scenes", "Natural scenes")
    add([image[::-1] for image in grey], "upside-down scenes", "Manipulated scenes")
    add([np.where(image > np.median(image), 0.9, 0.1) for image in grey], "mooney scenes", "Manipulated scenes")
    add([_lines(image) for image in grey], "line drawings", "Manipulated scenes")
    for contrast in CONTRASTS:
        of_class = "Natural scenes" if contrast == 1 else "Contrast modulation"
        add([GREY + contrast * (image - GREY) for image in grey], f"contrast {contrast:.0%}", of_class)
    for coherence in COHERENCES:
        images = [_scrambled(image, coherence, rng) for image in grey]
        add(images, f"coherence {coherence:.0%}", "Phase-coherence modulation")
    drawn += _draw_words(rng)
    drawn += _draw_gratings()
    add([_noise(rng, 2, 0.5) for _ in range(4)], "achromatic noise", "Noise")
    shared, subclasses, classes = zip(*drawn, strict=True)
    hues = [f"hue {number // 4 + 1}" for number in range(4 * N_HUES)]
    every = (*subclasses, *hues)
    return SyntheticImages(
        np.stack(shared),
        names=tuple(f"{subclass.replace(' ', '')}_{number % 4 + 1}" for number, subclass in enumerate(every)),
        subclasses=every,
        classes=(*classes, *["Chromatic noise"] * len(hues)),
        attributes=_attributes(describe(scenes), every),
    )


def draw_colours(rng: Generator) -> Floats:
    """Draw the chromatic noise of one subject, ``(64, SIDE, WIDTH, 3)``: 16 hues of four patterns."""
    patterns = [_noise(rng, 2, 0.5) for _ in range(4)]
    phase = rng.uniform(0, 2 * np.pi)  # colours of equal luminance differ between subjects
    images = []
    for hue in range(N_HUES):
        angle = phase + 2 * np.pi * hue / N_HUES
        # red against green, and blue against both; the mean of the three is that of the grey pattern
        direction = np.cos(angle) * np.array([1, -1, 0]) + np.sin(angle) * np.array([-0.5, -0.5, 1])
        images += [_on_grey(GREY + 0.5 * (pattern - GREY)[..., None] * direction) for pattern in patterns]
    return np.stack(images)


def _on_grey(image: Floats) -> Floats:
    """Return an image of the middle square, or of the complete width, on grey, ``(SIDE, WIDTH, 3)``."""
    colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    canvas = np.full((SIDE, WIDTH, 3), GREY)
    first = (WIDTH - colour.shape[1]) // 2
    canvas[:, first : first + colour.shape[1]] = np.clip(colour, 0, 1)
    return canvas


def _noise(rng: Generator, block: int, power: float) -> Floats:
    """Return noise of square blocks whose amplitude falls with the frequency to this power, ``(SIDE, SIDE)``."""
    small = rng.normal(size=(SIDE // block, SIDE // block))
    values = np.kron(small, np.ones((block, block))).astype(np.float64)
    if power:
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE), indexing="ij"))
        frequency[0, 0] = 1 / SIDE
        values = np.real(np.fft.ifft2(np.fft.fft2(values) / frequency**power)).astype(np.float64)
    noise: Floats = np.clip(GREY + 0.2 * (values - values.mean()) / values.std(), 0, 1)
    return noise


def _lines(image: Floats) -> Floats:
    """Return dark lines at the edges of an image."""
    down, right = np.gradient(image)
    strength = np.hypot(down, right)
    return np.where(strength > np.quantile(strength, 0.85), 0.1, 0.9)


def _scrambled(image: Floats, coherence: float, rng: Generator) -> Floats:
    """Return an image with a proportion of its phases, and random ones otherwise; amplitudes are kept."""
    spectrum = np.fft.fft2(image - GREY)
    random = np.angle(np.fft.fft2(rng.normal(size=image.shape)))
    kept = rng.random(image.shape) < coherence
    phase = np.where(kept, np.angle(spectrum), random)
    return np.clip(GREY + np.fft.ifft2(np.abs(spectrum) * np.exp(1j * phase)).real, 0, 1)


def _draw_words(rng: Generator) -> list[tuple[Floats, str, str]]:
    """Draw four words of each length at each position, dark on grey."""
    found = []
    for length in WORD_LENGTHS:
        words = [(rng.random((_LETTER[0], length, _LETTER[1])) < 0.6) for _ in range(4)]
        for position, centre in enumerate(WORD_CENTRES, start=1):
            for word in words:
                spaced = np.pad(word, ((0, 0), (0, 0), (0, 1))).reshape(_LETTER[0], -1)
                canvas = np.full((SIDE, WIDTH), GREY)
                first = centre - spaced.shape[1] // 2
                rows = slice((SIDE - _LETTER[0]) // 2, (SIDE - _LETTER[0]) // 2 + _LETTER[0])
                canvas[rows, first : first + spaced.shape[1]][spaced] = 0.05
                found.append((_on_grey(canvas), f"word{length} position {position}", "Single words"))
    return found


def _draw_gratings() -> list[tuple[Floats, str, str]]:
    """Draw gratings of four shapes and six frequencies, and of four shapes between them, in four phases."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    angle, distance = np.arctan2(y, x), np.log(np.hypot(y, x))
    kinds = [
        (f"grating {shape} frequency {k + 1}", turn, count)
        for (shape, turn), (k, count) in product(_SHAPES, enumerate(CYCLES))
    ]
    kinds += [(f"grating between {k + 1}", (2 * k + 1) * np.pi / 8, CYCLES[3]) for k in range(4)]
    found = []
    for name, turn, cycles in kinds:
        # a whole number of cycles around the centre, so that no edge is visible
        around, outwards = np.rint(cycles * np.cos(turn)), cycles * np.sin(turn)
        for phase in range(4):
            wave = np.cos(around * angle + outwards * distance + phase * np.pi / 2)
            image = np.where(np.hypot(y, x) > 2, GREY + 0.45 * wave, GREY)
            found.append((_on_grey(image), name, "Spiral gratings"))
    return found


def _attributes(scenes: NDArray[np.float32], subclasses: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the categories of each image: those of its scene, fewer the less of its phases is kept."""
    found = np.zeros((len(subclasses), scenes.shape[1]), dtype=np.float32)
    for number, subclass in enumerate(subclasses):
        word = subclass.partition(" ")[0]
        proportion = float(word in ("natural", "upside-down", "mooney", "line", "contrast"))
        if word == "coherence":
            proportion = float(subclass.partition(" ")[2].rstrip("%")) / 100
        found[number] = proportion * scenes[number % N_SCENES]
    return found
