"""Measure the built-in model: ``python tools/measure.py WORK MODEL``.

Draws scenes that no training saw (one thing, two things, held-out combinations) and plain figures, generates an image
from the mean of five captions of each, and asks the independent network what it finds in both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from classifier import LABELS, accuracy
from PIL import Image
from world import label

from reseen.features import Features
from reseen.ldm import load_model
from reseen.ldm.extraction import mean_conditioning
from reseen.networks import BuiltinNetwork, load_builtin_network
from reseen.recipe import ReconstructRecipe
from reseen.reconstruction import generate
from reseen.simulate.captions import write_captions
from reseen.simulate.figures import draw_figure, sample_figure
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import sample_scene


def sheet(real: np.ndarray, made: np.ndarray, path: Path) -> None:
    """Write real images above generated ones, twelve a row, at twice their size."""
    rows = []
    for start in range(0, len(real) - 11, 12):
        rows += [np.concatenate(list(x[start : start + 12]), axis=1) for x in (real, made)]
    Image.fromarray(np.concatenate(rows)).resize((12 * 128, len(rows) * 128)).save(path)


def main(work: Path, model: str, n: int, steps: int, guidance: float) -> None:
    """Measure and print, a line for each sort of image."""
    ldm = load_model(model)
    classifier: BuiltinNetwork = load_builtin_network("classifier")
    recipe = ReconstructRecipe(n_samples=1, n_steps=steps, guidance=guidance)
    for name, seed, options in (
        ("one thing", 910, {"n_things": 1}),
        ("two things", 911, {"n_things": 2}),
        ("held-out combination", 912, {"n_things": 1, "novel": True}),
        ("figure", 913, None),
    ):
        rng = np.random.default_rng(seed)
        images = [sample_figure(rng) if options is None else sample_scene(rng, **options) for _ in range(n)]
        real = np.stack([draw_figure(p) if options is None else draw_scene(p) for p in images])
        labels = np.stack([label(None if options is None else p) for p in images])
        c = mean_conditioning(ldm, [write_captions(p, rng) for p in images])
        made = np.zeros_like(real)

        def write(item: int, _draw: int, image: np.ndarray, made: np.ndarray = made) -> None:
            made[item] = image

        ids = np.arange(n)
        generate(ldm, "c", {"c": Features("c", c, ids)}, recipe=recipe, seed=0, subject="measure", write=write)
        found = [accuracy(classifier.network, x, labels) for x in (real, made)]
        error = ((ldm.latent_to_image(ldm.image_to_latent(real)) - real / 255) ** 2).mean(axis=(1, 2, 3))
        print(
            f"{name}: autoencoder {(-10 * np.log10(error)).mean():.2f} dB; "
            + "; ".join(f"{group} real {found[0][group]:.3f} generated {found[1][group]:.3f}" for group in found[0])
            + (
                f"; seen as a figure {(classifier.name_contents(made)[:, LABELS.index('figure')] > 0).mean():.3f}"
                if options is None
                else ""
            )
        )
        sheet(real[:24], made[:24], work / f"measure_{name.replace(' ', '_')}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("model", nargs="?", default="builtin")
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=5.0)
    torch.manual_seed(0)
    main(**vars(parser.parse_args()))
