"""Attribute what separates the recipes: ``python benchmarks/attribution.py [--data SUBJECT] [--quick]``.

SUBJECT is a tree that ``reseen simulate`` wrote; left out, one is written to out/attribution. Starting from
``takagi2023_as_released`` one setting after another is changed to ours, and the decoded z and c are held against the
truth, without any sampling of images:

- error: mean squared error of the held-out images, in variances of the target (1 is what predicting its mean gets)
- image_r: correlation across targets, training mean removed, averaged over images
- two_way: identification by that correlation, original held fixed
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen
from reseen import Features, Recipe, decode
from reseen.datasets import open_subject
from reseen.ldm import extraction
from reseen.metrics import identification
from reseen.recipe import load_recipe, with_settings
from reseen.simulate import write_data_set

LADDER = (
    ("as released", ()),
    ("+ z-scored sessions", ("data.zscore_sessions=true",)),
    ("+ intercept", ("decode.intercept=true",)),
    ("+ posterior mean", ('extract.posterior="mean"',)),
    ("+ alphas from the data", ("decode.alphas=",)),
    ("+ folds by stimulus", ("decode.group_folds=true",)),
    ("+ rescaled averages", ("decode.rescale_averages=true",)),
)


def score(recipe: Recipe, true: dict[str, Features], of: dict[str, Features]) -> dict[str, float]:
    """Decode one subject and score z and c; ``true`` is trained on, ``of`` (posterior means) is scored against."""
    subject = recipe.data.subjects[0]
    found = open_subject(recipe.data, subject)
    trials, split = found.trials, found.split
    figures = {}
    for name, rois in (("z", recipe.decode.rois.z), ("c", recipe.decode.rois.c)):
        _, decoded = decode.decode(
            trials,
            split,
            true[name],
            rois=rois,
            recipe=recipe.decode,
            seed=recipe.seed,
            train_trials=recipe.data.train_trials,
            test_trials=recipe.data.test_trials,
        )
        truth = of[name].rows(decoded.stimulus_id).reshape(len(decoded), -1).astype(np.float64)
        training = of[name].rows(split.folds[0][0]).reshape(len(split.folds[0][0]), -1)
        mean, variance = training.mean(axis=0, dtype=np.float64), training.var(axis=0, dtype=np.float64).sum()
        a, b = truth - mean, decoded.flat - mean
        rs = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)]
        figures[f"{name} error"] = float(((a - b) ** 2).sum(axis=1).mean() / variance)
        figures[f"{name} image_r"] = float(np.mean(rs))
        figures[f"{name} two_way"] = float(identification(a, b).mean())
    return figures


def main() -> None:
    """Climb the ladder, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("out/attribution"))
    parser.add_argument("--subject", default="subj01")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="20 images, two settings: to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.data = arguments.data / "quick"
    if not arguments.data.exists():
        write_data_set(load_recipe("tiny" if arguments.quick else "demo"), arguments.data)
    changes = [f"data.path={arguments.data.resolve()}", f'data.subjects=["{arguments.subject}"]', "data.sessions="]
    ldm = reseen.load_model("builtin")
    features: dict[str, dict[str, Features]] = {}
    rows = []
    for name, change in LADDER[:2] if arguments.quick else LADDER:
        changes += change
        recipe = with_settings(load_recipe("takagi2023_as_released"), changes)
        stimuli = open_subject(recipe.data, arguments.subject).stimuli
        for posterior in {recipe.extract.posterior, "mean"} - set(features):
            how = recipe.extract.model_copy(update={"posterior": posterior})
            features[posterior] = extraction.extract(stimuli, stimuli.stimulus_id, ldm, recipe=how)
        figures = score(recipe, features[recipe.extract.posterior], features["mean"])
        if not rows:
            print(f"{'':24s}" + "".join(f"{key:>14s}" for key in figures))
        print(f"{name:24s}" + "".join(f"{value:14.3f}" for value in figures.values()), flush=True)
        rows += [figure(f"{name}: {key}", value) for key, value in figures.items()]
    write(arguments.json, rows)


if __name__ == "__main__":
    main()
