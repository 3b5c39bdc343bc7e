"""Measure the adapter of ``train_image_adapter.py`` with true features: ``python tools/measure_image_adapter.py WORK``.

Reconstructs the scenes of WORK/check and WORK/novel, which no training saw, from their true z, c and i in each
condition, with the same noise. Prints, for the classifier, two-way identification and the mean correlation at the late
layer, and the proportion of backgrounds, kinds and colours that it finds; then the mean of the paired differences from
zc, with 95 % intervals (bootstrap over images).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from classifier import GROUPS

from reseen.diffusion import denoise
from reseen.ldm import load_model
from reseen.ldm.extraction import extract
from reseen.ldm.sampling import begin, coarse_latents, draw_noise
from reseen.metrics.pairs import identification
from reseen.metrics.scores import correlation_matrix
from reseen.networks import load_builtin_network
from reseen.recipe import ExtractRecipe, ReconstructRecipe
from reseen.stimuli import Stimuli

CONDITIONS = ("c", "i", "ci", "zc", "zi", "zci")
SCORES = ("identification", "correlation", *GROUPS)


def reconstruct(ldm, features: dict[str, np.ndarray], condition: str, recipe: ReconstructRecipe, scale: float):
    """Return one image of each row of the features, uint8."""
    n = len(features["z"])
    noise = np.stack([draw_noise(0, "measure", i, 0, ldm.latent_shape) for i in range(n)])
    text = features["c"] if "c" in condition else np.repeat(ldm.unconditional[None], n, axis=0)
    empty = ldm.unconditional[None]
    if "i" in condition:
        text, empty = ldm.join_image(text, features["i"]), ldm.join_image(empty, None)
    if "z" in condition:
        coarse = coarse_latents(ldm, features["z"], recipe)
        latents, timesteps = begin(ldm, coarse, noise, recipe, recipe.strength)
    else:
        latents, timesteps = torch.from_numpy(noise), ldm.schedule.timesteps(recipe.n_steps)
    clean = denoise(
        lambda *rows: ldm.predict_noise(*rows, image_scale=scale),
        latents,
        torch.from_numpy(text),
        schedule=ldm.schedule,
        timesteps=timesteps,
        guidance=recipe.guidance,
        unconditional=torch.from_numpy(empty.copy()),
        order=2,
    )
    return np.round(ldm.latent_to_image(clean) * 255).astype(np.uint8)


def score(classifier, images: np.ndarray, made: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each image; a group without labels in an image is NaN."""
    true, found = (classifier.activations(x)["late"] for x in (images, made))
    scores = {
        "identification": identification(true, found),
        "correlation": np.diag(correlation_matrix(true, found)),
    }
    odds = classifier.name_contents(made)
    for group, columns in GROUPS.items():
        hits = []
        for own, truth in zip(odds[:, columns], labels[:, columns], strict=True):
            present = np.flatnonzero(truth)
            best = np.argsort(-own)[: len(present)]
            hits.append(np.isin(present, best).mean() if len(present) else np.nan)
        scores[group] = np.array(hits)
    return scores


def main(work: Path, n: int, steps: int, scale: float, conditions: str) -> None:
    """Measure and print."""
    ldm = load_model("builtin", image_adapter=str(work / "image_adapter/image_adapter.safetensors"))
    classifier = load_builtin_network("classifier")
    recipe = ReconstructRecipe(n_samples=1, n_steps=steps)
    rng = np.random.default_rng(0)
    for name in ("check", "novel"):
        labels = np.load(work / name / "labels.npy")
        scenes = np.flatnonzero(labels[:, -1] == 0)[:n]
        images, labels = np.load(work / name / "images.npy")[scenes], labels[scenes]
        features = load_features(ldm, work / name, scenes, images)
        print(f"{name}: {len(images)} images, {steps} steps, strength {recipe.strength}, guidance {recipe.guidance}")
        scores = {}
        for condition in conditions.split(","):
            made = reconstruct(ldm, features, condition, recipe, scale)
            scores[condition] = score(classifier, images, made, labels)
            means = "  ".join(f"{key} {np.nanmean(scores[condition][key]):.4f}" for key in SCORES)
            print(f"  {condition:4} {means}", flush=True)
        for condition in scores:
            if condition == "zc" or "zc" not in scores:
                continue
            parts = []
            for key in SCORES:
                difference = scores[condition][key] - scores["zc"][key]
                difference = difference[np.isfinite(difference)]
                draws = difference[rng.integers(0, len(difference), (2000, len(difference)))].mean(axis=1)
                low, high = np.quantile(draws, [0.025, 0.975])
                parts.append(f"{key} {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
            print(f"  {condition} - zc: {'  '.join(parts)}", flush=True)


def load_features(ldm, folder: Path, scenes: np.ndarray, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the true z, c and i of some images of a world."""
    captions = json.loads((folder / "captions.json").read_text())
    stimuli = Stimuli(images, [tuple(captions[i]) for i in scenes])
    found = extract(stimuli, np.arange(len(images)), ldm, ("z", "c"), recipe=ExtractRecipe())
    return {name: feature.array for name, feature in found.items()} | {"i": ldm.image_to_embedding(images)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--conditions", default=",".join(CONDITIONS))
    main(**vars(parser.parse_args()))
