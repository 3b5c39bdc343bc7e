"""Compare z and pixels with scikit-learn's ridge to pixels: ``python benchmarks/pixel_route.py --data FIGURES.npz``.

With ``--quick`` instead, four figures and simulated responses.

Same trials and same folds, twice: runs are left out (``runs``: the figures are known) and figures are left out
(``folds``). Each single trial is decoded. Prints for each route two-way identification by the 10 x 10 cells of the
figures in both directions, correlation with the figure over cells, SSIM at the model's size, and mean |R - G| of the
images of z before and after they are made grey. ``encoding_r`` is the mean correlation over voxels of encoding models
from z, with true and with permuted labels.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from figures import figure, write
from PIL import Image
from plain_ridge import write_toy

import reseen
from reseen import Features, decode
from reseen.datasets import open_subject
from reseen.encode import encode
from reseen.ldm import extraction
from reseen.metrics import identification, ssim
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.split import Split
from reseen.trials import Trials

ALPHA = 100.0
"""Penalty of scikit-learn's ridge; voxels are standardised."""
GOAL = "scikit-learn's ridge in the same folds"
SPLITS = ("runs", "folds")
N_CELLS = 10
"""Cells along a side of a figure."""


def by_scikit_learn(trials: Trials, split: Split, pixels: Features) -> Features:
    """Predict the pixels of each held-out trial, in the order of reseen's items."""
    from sklearn.linear_model import Ridge

    ids, predicted = [], []
    for fold in range(len(split.folds)):
        train, test = (rows(fold, trials.stimulus_id) for rows in (split.train_rows, split.test_rows))
        known = pixels.rows(trials.stimulus_id[train]).reshape(len(train), -1)
        ids.append(trials.stimulus_id[test])
        predicted.append(Ridge(alpha=ALPHA).fit(trials.betas[train], known).predict(trials.betas[test]))
    every = np.concatenate(ids)
    order = np.argsort(every, kind="stable")
    array = np.concatenate(predicted)[order].reshape(len(every), *pixels.array.shape[1:])
    return Features("pixels", array.astype(np.float32), every[order])


def compare(recipe: Recipe, test: str, n_permutations: int) -> list[dict[str, object]]:
    """Decode by all routes in the folds of one split, and score the images."""
    data = recipe.data.model_copy(update={"test": test})
    subject = open_subject(data, data.subjects[0])
    trials, split, stimuli = subject.trials, subject.split, subject.stimuli
    model = reseen.load_model(recipe.model.name)
    ids = np.unique(trials.stimulus_id)
    true = extraction.extract(stimuli, ids, model, ["z", "pixels"], recipe=recipe.extract)
    settings = {"rois": recipe.decode.rois.z, "recipe": recipe.decode, "seed": recipe.seed, "test_trials": "single"}
    decoded = {name: decode.decode(trials, split, feature, **settings)[1] for name, feature in true.items()}
    images = {
        "z_coloured": reseen.reconstruct(model, z=decoded["z"])[:, 0],
        "z": reseen.reconstruct(model, z=decoded["z"], grey=True)[:, 0],
        "pixels": reseen.reconstruct(model, pixels=decoded["pixels"], grey=True)[:, 0],
        "oracle_z": reseen.reconstruct(model, z=true["z"].rows(decoded["z"].stimulus_id), grey=True)[:, 0],
        "scikit_learn": reseen.reconstruct(model, pixels=by_scikit_learn(trials, split, true["pixels"]))[:, 0],
    }
    labels = decoded["z"].stimulus_id
    shown = stimuli.images(labels)
    rows = []
    for route, made in images.items():
        scores = score(shown, made, labels)
        rows += [figure(f"{test}_{route}_{name}", round(value, 4), "", GOAL) for name, value in scores.items()]
    return [*rows, *encoding(recipe, trials, split, true["z"], test, n_permutations)]


def score(shown: np.ndarray, made: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Score images against the figures."""
    true, found = (to_cells(images) for images in (shown, made))
    directions = ("original", "reconstruction")
    scores = {
        f"two_way_{direction}_fixed": float(identification(true, found, direction=direction, labels=labels).mean())
        for direction in directions
    }
    scores["r"] = float(np.nanmean([np.corrcoef(one, other)[0, 1] for one, other in zip(true, found, strict=True)]))
    scores["ssim"] = float(ssim(resized(shown, made.shape[1], Image.Resampling.LANCZOS), made).mean())
    scores["red_minus_green"] = float(np.abs(made[..., 0].astype(int) - made[..., 1]).mean())
    return scores


def to_cells(images: np.ndarray) -> np.ndarray:
    """Average images (n, side, side, 3) over the cells of a figure, (n, 100)."""
    return resized(images, N_CELLS, Image.Resampling.BOX).mean(axis=3).reshape(len(images), -1)


def resized(images: np.ndarray, side: int, how: Image.Resampling) -> np.ndarray:
    """Resize square images, (n, side, side, 3) uint8."""
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side), how)) for image in images])


def encoding(
    recipe: Recipe, trials: Trials, split: Split, z: Features, test: str, n_permutations: int
) -> list[dict[str, object]]:
    """Return the mean correlation of encoding models from z with true labels and with permuted ones.

    With runs left out, labels of trials are permuted, since a voxel that responds to a figure in the same way in each
    run is predicted by any features that differ between figures.
    """
    section = recipe.encode.model_copy(update={"n_bootstrap": 10})
    _, voxels = encode(trials, split, [z], recipe=section, seed=recipe.seed)
    permuted = []
    for seed in range(n_permutations):
        order = np.random.default_rng(seed).permutation(len(z) if split.group is None else len(trials))
        other = Features("z", z.array[order], z.stimulus_id) if split.group is None else z
        own = trials.take(order) if split.group is not None else trials
        relabelled = Trials(own.betas, trials.stimulus_id)
        permuted.append(float(np.nanmean(encode(relabelled, split, [other], recipe=section, seed=seed)[1]["r/z"])))
    rows = {"encoding_r": np.nanmean(voxels["r/z"]), "encoding_r_permuted": np.mean(permuted)}
    rows["encoding_r_permuted_se"] = np.std(permuted, ddof=1) / np.sqrt(len(permuted))
    return [figure(f"{test}_{name}", round(float(value), 4), "") for name, value in rows.items()]


def main() -> None:
    """Run, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the figures; left out: nothing to do")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="made-up figures: to see that it runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = []
        if arguments.quick:
            arguments.data = Path(folder) / "figures.npz"
            write_toy(arguments.data)
            settings = ["data.n_folds=4", "decode.n_folds=2", "encode.n_folds=2", "extract.pixels_size=10"]
        if arguments.data is None:
            print("skipped: real fMRI does not come with reseen; name yours with --data.")
            return
        recipe = with_settings(load_recipe("miyawaki2008"), [f"data.path={arguments.data.resolve()}", *settings])
        figures = [row for test in SPLITS for row in compare(recipe, test, 2 if arguments.quick else 20)]
    for row in figures:
        print(f"{row['name']:45s} {row['value']}")
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
