"""Draw the images the built-in model and its networks learn from: ``python tools/world.py OUT --seed S --n N``.

Writes images.npy (n, 64, 64, 3) uint8, captions.json (five an image) and labels.npy: for scenes, background, kind and
colour of each thing. No held-out combination is drawn unless --novel is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from reseen.simulate.captions import write_captions
from reseen.simulate.figures import draw_figure, sample_figure
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS, Scene, sample_scene

FIGURE_SHARE = 0.15
N_LABELS = len(BACKGROUNDS) + len(KINDS) + len(COLOURS) + 1


def label(scene: Scene | None) -> np.ndarray:
    """Mark background, kinds and colours that are there, (n_labels,) uint8; the last mark stands for a figure."""
    marks = np.zeros(N_LABELS, dtype=np.uint8)
    if scene is None:
        marks[-1] = 1
        return marks
    marks[BACKGROUNDS.index(scene.background)] = 1
    for thing in scene.things:
        marks[len(BACKGROUNDS) + KINDS.index(thing.kind)] = 1
        marks[len(BACKGROUNDS) + len(KINDS) + tuple(COLOURS).index(thing.colour)] = 1
    return marks


def draw_world(out: Path, *, seed: int, n: int, novel: bool, figure_share: float, n_things: int | None) -> None:
    """Draw ``n`` images; image i depends on (seed, i) alone."""
    out.mkdir(parents=True, exist_ok=True)
    images = open_memmap(out / "images.npy", mode="w+", dtype=np.uint8, shape=(n, 64, 64, 3))
    captions, labels = [], np.zeros((n, N_LABELS), dtype=np.uint8)
    for i in range(n):
        rng = np.random.default_rng((seed, i))
        if rng.random() < figure_share:
            image = sample_figure(rng)
            images[i], labels[i] = draw_figure(image), label(None)
        else:
            image = sample_scene(rng, novel=novel, n_things=n_things)
            images[i], labels[i] = draw_scene(image), label(image)
        captions.append(write_captions(image, rng))
    images.flush()
    np.save(out / "labels.npy", labels)
    (out / "captions.json").write_text(json.dumps(captions))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--novel", action="store_true", help="held-out combinations only, to measure by")
    parser.add_argument("--figure-share", type=float, default=FIGURE_SHARE)
    parser.add_argument("--n-things", type=int, default=None)
    arguments = parser.parse_args()
    draw_world(**vars(arguments))
