"""Ablation of conditions on simulated subjects: ``python benchmarks/conditions.py --out FOLDER [--json FILE]``.

Two subjects at 4 sessions and one at 40 are decoded by the recipe ``reseen``, and their test images, half of them novel
combinations, are reconstructed in every condition with the built-in model and its image adapter. For each condition:

- early, late: two-way identification by the classifier, which shares no training with the adapter's image encoder
- pixcorr: pixel correlation
- background, kind, colour: proportion of what an image contains that the classifier finds in its reconstruction

each with the difference from zc, image by image, and its 95 % interval (bootstrap over images; images of two subjects
are two items of one image), for all images, and for seen and novel combinations (each still told from all images).
Chance is the level ``permuted``: decoders fitted on shuffled labels; of contents it is that of permuted labels too.
``oracle`` has the true features. ``presented`` is the classifier's own limit.

``--subjects validation --image-scale S`` is the subject on which the scale of i is chosen, other images and another
brain; only its results are printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from figures import figure, write
from tuning import SEED

from reseen import Results, pipeline, statistics
from reseen.datasets import open_subject
from reseen.networks import load_builtin_network
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.simulate import write_data_set
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS

LABELS = {"background": BACKGROUNDS, "kind": KINDS, "colour": tuple(COLOURS)}
"""Labels of the classifier, in its order."""
CONDITIONS = ("z", "c", "t", "i", "ci", "zt", "zi", "zc", "zci")
SCORES = ("early", "late", "pixcorr", *LABELS)
REFERENCE = "zc"
LEVELS = ("result", "permuted", "oracle")
SUBJECTS = {
    "4 sessions": ["simulate.n_subjects=2"],
    "40 sessions": ["simulate.n_subjects=1", "simulate.n_sessions=40", "simulate.n_train=9900"],
}
"""Name of a data set -> its settings; its seed is that of the recipe ``simulated``, on which nothing was chosen."""
VALIDATION = "validation"


def run(
    out: Path, settings: Sequence[str], conditions: Sequence[str], *, quick: bool, scale: float | None, n_permuted: int
) -> Results:
    """Simulate, decode, reconstruct and evaluate one data set; a run that was stopped goes on."""
    simulated = with_settings(load_recipe("tiny" if quick else "simulated"), [*settings][: 1 if quick else None])
    results = out / ("results" if scale is None else f"results_{scale}")
    if not (out / "data").exists():
        write_data_set(simulated, out / "data")
    subjects = [f"subj{1 + number:02d}" for number in range(simulated.simulate.n_subjects)]
    changes = [
        f"data.path={out / 'data'}",
        f"data.subjects={json.dumps(subjects)}",
        "data.sessions=",
        "model.name=builtin",
        "model.image_adapter=builtin",
        f"reconstruct.conditions={json.dumps([*conditions])}",
        'reconstruct.sampler="dpmpp"',
        f"reconstruct.n_steps={3 if quick else 15}",
        "reconstruct.n_samples=1",
        "reconstruct.batch_size=64",
        f"reconstruct.image_scale={'' if scale is None else scale}",
        f"evaluate.n_permutations={n_permuted}",
    ]
    if quick:
        changes += ["evaluate.n_bootstrap=5", "evaluate.n_derangements=5"]
    pipeline.run(with_settings(load_recipe("reseen"), changes), results, until="evaluate")
    return Results.read(results)


def contents(data: Path, ids: np.ndarray) -> np.ndarray:
    """Return what the images of a simulated data set contain, in the order of the classifier's labels."""
    names = [name for group in LABELS.values() for name in group]
    scenes = json.loads((data / "truth/images.json").read_text(encoding="utf-8"))
    present = np.zeros((len(ids), len(names)), dtype=bool)
    for row, stimulus in zip(present, ids, strict=True):
        scene = scenes[stimulus]
        parts = [scene["background"], *(thing[key] for thing in scene["things"] for key in ("kind", "colour"))]
        row[[names.index(part) for part in parts]] = True
    return present


def found_contents(images: np.ndarray, present: np.ndarray) -> dict[str, np.ndarray]:
    """Return the proportion of the present labels of each group that are among as many most probable ones, ``(n,)``."""
    odds = load_builtin_network("classifier").name_contents(images)
    found = {}
    end = 0
    for group, names in LABELS.items():
        columns, end = slice(end, end + len(names)), end + len(names)
        hits = []
        for own, truth in zip(odds[:, columns], present[:, columns], strict=True):
            best = np.argsort(-own)[: truth.sum()]
            hits.append(truth[best].mean())
        found[group] = np.array(hits)
    return found


def each_score(finished: Results, data: Path, level: str) -> pd.DataFrame:
    """Return the scores of each image: columns subject, condition, stimulus_id, score, value."""
    if level == "permuted":  # scored as a whole: one row stands for all images
        each = pd.read_csv(finished.path / "scores.csv", keep_default_na=False)
        each = each[each["subset"] == "all"].assign(stimulus_id=-1)
    else:
        each = pd.read_csv(finished.path / "images.csv", keep_default_na=False)
    each = each[(each["level"] == level) & each["direction"].isin(["", "original"])]
    identified = each[(each["metric"] == "identification") & (each["network"] == "classifier")]
    identified = identified[identified["layer"].isin(SCORES)].assign(score=lambda rows: rows["layer"])
    parts = [identified, each[each["metric"] == "pixcorr"].assign(score="pixcorr")]
    columns = ["subject", "condition", "stimulus_id", "score", "value"]
    for subject in finished.subjects:
        ids = np.unique(finished.decoded("z", subject).stimulus_id)
        present = contents(data, ids)
        for condition in finished.recipe.reconstruct.conditions:
            images = finished.images(condition, subject, level=level)[:, 0]
            for group, values in found_contents(images, present).items():
                row = {"subject": subject, "condition": condition, "stimulus_id": ids, "score": group, "value": values}
                parts.append(pd.DataFrame(row))
    return pd.concat(parts)[columns].astype({"value": float})


def print_table(
    name: str, each: pd.DataFrame, conditions: Sequence[str], *, differences: bool = False
) -> list[dict[str, object]]:
    """Print the means of some images, if asked for with the differences from zc; return them as figures."""
    figures: list[dict[str, object]] = []
    print(f"\n{name}\n{'':10s}" + "".join(f"{score:>32s}" for score in SCORES))
    tables = {}
    for score, rows in each.groupby("score"):
        tables[score] = rows.pivot_table("value", ["subject", "stimulus_id"], "condition")
    for condition in conditions:
        line = f"{condition:10s}"
        for score in SCORES:
            values = tables[score]
            mean = float(values[condition].mean())
            figures.append(figure(f"{name}, {condition}: {score}", round(mean, 4)))
            cell = f"{mean:.3f}"
            if differences and condition != REFERENCE:
                difference = (values[condition] - values[REFERENCE]).to_numpy(dtype=np.float64)
                weights = statistics.bootstrap_weights(values.index.get_level_values("stimulus_id"), 2000, seed=0)
                low, high = statistics.interval(statistics.bootstrap_mean(difference, weights))
                cell += f" {difference.mean():+.3f} ({low:+.3f} to {high:+.3f})"
                label = f"{name}, {condition} - {REFERENCE}: {score}"
                figures.append(figure(label, round(float(difference.mean()), 4)))
                figures.append(figure(f"{label}, lowest", round(low, 4)))
                figures.append(figure(f"{label}, highest", round(high, 4)))
            line += f"{cell:>32s}"
        print(line, flush=True)
    return figures


def presented(recipe: Recipe, data: Path) -> dict[str, float]:
    """Return the proportions of contents that the classifier finds in the presented images themselves."""
    subject = open_subject(recipe.data, recipe.data.subjects[0])
    ids = np.unique(subject.split.test_ids)
    found = found_contents(subject.stimuli.images(ids), contents(data, ids))
    return {group: float(values.mean()) for group, values in found.items()}


def main() -> None:
    """Run every data set, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/conditions"))
    parser.add_argument("--subjects", choices=[*SUBJECTS, VALIDATION], help="only one of the data sets")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="with zc among them")
    parser.add_argument("--image-scale", type=float, help="weight of i; left out: that of the recipe")
    parser.add_argument("--quick", action="store_true", help="a small subject, few steps: to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = [arguments.subjects] if arguments.subjects else [*SUBJECTS][: 1 if arguments.quick else None]
    conditions = ("z", "zc", "zci") if arguments.quick else tuple(arguments.conditions.split(","))
    figures: list[dict[str, object]] = []
    for name in names:
        out = arguments.out.resolve() / ("quick" if arguments.quick else name.replace(" ", "_"))
        settings, levels = SUBJECTS.get(name, [f"simulate.seed={SEED}", "simulate.n_subjects=1"]), LEVELS
        if name == VALIDATION:
            levels = ("result",)
        n_permuted = int("permuted" in levels)
        finished = run(
            out, settings, conditions, quick=arguments.quick, scale=arguments.image_scale, n_permuted=n_permuted
        )
        subsets = json.loads((out / "data/reseen_truth.json").read_text(encoding="utf-8"))["subsets"]
        for level in levels:
            each = each_score(finished, out / "data", level)
            figures += print_table(f"{name}, {level}", each, conditions, differences=level == "result")
            for subset, ids in subsets.items() if level == "result" else ():
                chosen = each[each["stimulus_id"].isin(ids)]
                figures += print_table(f"{name}, {level}, {subset}", chosen, conditions, differences=True)
        limits = presented(finished.recipe, out / "data")
        print("presented " + "  ".join(f"{group} {value:.3f}" for group, value in limits.items()))
        figures += [figure(f"{name}, presented: {group}", round(value, 4)) for group, value in limits.items()]
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
