"""Alignment of simulated subjects: ``python benchmarks/alignment.py --out FOLDER [--json FILE]``.

Each seed has two subjects that share their test images; each one is the source and the target once. The source decoder
is fitted on all sessions of the source. The target has 1, 2 and all of its sessions. Its own images of ``N_TEST`` are
the test: two-way identification of decoded z (early ROI) and c (ventral ROI), features centred by their training mean.

- features, voxels: alignment by the two routes of `reseen.align`; combined: labels are the mean of decoded and true
- unshared: no shared stimuli. The labels of all trials are what the source decodes from its responses to the image, as
  an encoding model of the source predicts them
- own_shared: own data, the trials of the alignment; own_equal: own data, all trials of these sessions; own_full
- permuted; identity: the source decoder on the target's voxels, which are at the same place of one simulated anatomy

Differences are paired: a bootstrap over test images, within each pair of subjects.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen
from reseen import Decoder, Features, Trials, align, compare_alignment, statistics
from reseen.datasets import open_subject
from reseen.ldm import extraction
from reseen.metrics import identification
from reseen.recipe import load_recipe, with_settings
from reseen.ridge import fit_ridge
from reseen.simulate import write_data_set

ROIS = {"z": ["early"], "c": ["ventral"]}
N_TEST = 150
N_BOOTSTRAP = 2000
N_COMPONENTS = 80
"""Principal components of z, and of c, from which the encoding model of ``unshared`` predicts responses."""
COMPARED = (
    ("features", "own_shared"),
    ("voxels", "own_shared"),
    ("combined", "own_shared"),
    ("features", "voxels"),
    ("features", "own_equal"),
    ("unshared", "own_equal"),
)
"""Pairs of levels whose difference is printed."""
Scores = dict[tuple[str, int, str], list[np.ndarray]]
"""Feature, number of sessions (0: all), level -> accuracy of each test image, for each pair of subjects."""


def read(path: Path, names: list[str]) -> tuple[list[Trials], dict[str, Features]]:
    """Return the trials of two subjects, and the true features of all of their stimuli."""
    changes = [f"data.path={path}", "data.kind=simulated", "data.sessions=", f"data.subjects={names}".replace("'", '"')]
    recipe = with_settings(load_recipe("reseen"), changes)
    subjects = [open_subject(recipe.data, name) for name in names]
    model = reseen.load_model("builtin")
    parts = []
    for subject in subjects:
        ids = np.unique(subject.trials.stimulus_id)
        parts.append(extraction.extract(subject.stimuli, ids, model, names=("z", "c"), recipe=recipe.extract))
    features = {}
    for name in ROIS:
        both = np.concatenate([part[name].stimulus_id for part in parts])
        ids, first = np.unique(both, return_index=True)
        features[name] = Features(name, np.concatenate([part[name].array for part in parts])[first], ids)
    return [subject.trials for subject in subjects], features


def components(features: dict[str, Features]) -> Features:
    """Return the leading principal components of z and c together, each feature divided by its largest sd."""
    found = []
    for feature in features.values():
        centred = feature.flat - feature.flat.mean(axis=0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        found.append(u[:, :N_COMPONENTS] * s[:N_COMPONENTS] / s[0])
    return Features("components", np.concatenate(found, axis=1), features["z"].stimulus_id)


def noise_free(source: Decoder, trials: Trials, predictors: Features) -> Features:
    """Return what the source decodes from its predicted responses to every stimulus, also to those it did not see."""
    rows = trials.average()
    encoder = fit_ridge(predictors.rows(rows.stimulus_id), source.betas_of(rows))
    decoded = source.predict(encoder.predict(predictors.flat))
    return Features(decoded.name, decoded.array, predictors.stimulus_id)


def score_pair(source: Trials, target: Trials, features: dict[str, Features], seed: int, scores: Scores) -> None:
    """Append the accuracies of one pair of subjects."""
    shared = np.intersect1d(source.stimulus_id, target.stimulus_id)
    own = np.setdiff1d(target.stimulus_id, shared)
    test = np.sort(np.random.default_rng(seed).permutation(own)[: min(N_TEST, len(own) // 2)])
    items = target.select(test).average()
    predictors = components(features)
    sessions = np.unique(target.session)
    for name, rois in ROIS.items():
        feature = features[name]
        decoder = Decoder(rois).fit(source, feature)
        mean = feature.rows(np.unique(source.stimulus_id)).reshape(-1, feature.flat.shape[1]).mean(axis=0)
        true = feature.rows(test).reshape(len(test), -1) - mean
        labels = noise_free(decoder, source, predictors)
        for count in sorted({1, min(2, len(sessions)), len(sessions)}):
            now = target.take(np.flatnonzero(np.isin(target.session, sessions[:count])))
            levels = ("aligned", "combined", "own_shared", "own_equal", "own_full", "permuted", "identity")
            found = compare_alignment(
                decoder, source, now, feature, test=test, full_trials=target, rois=rois, levels=levels, seed=seed
            )
            found["features"] = found.pop("aligned")
            ids = np.intersect1d(now.stimulus_id, shared)
            found["voxels"] = align(decoder, source, now, through="voxels", stimuli=ids, rois=rois).predict(items)
            kept = now.select(np.setdiff1d(now.stimulus_id, test))
            found["unshared"] = Decoder(rois).fit(kept, labels).predict(items)
            for level, decoded in found.items():
                each = identification(true, decoded.flat - mean)
                scores.setdefault((name, count, level), []).append(each)


def difference(first: list[np.ndarray], second: list[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean difference of two levels with its 95 % interval; test images are resampled in each pair."""
    replicates = []
    for pair, (one, other) in enumerate(zip(first, second, strict=True)):
        weights = statistics.bootstrap_weights(np.arange(len(one)), N_BOOTSTRAP, seed=pair)
        replicates.append(statistics.bootstrap_mean(one - other, weights))
    low, high = statistics.interval(np.mean(replicates, axis=0))
    means = [float(np.mean(one - other)) for one, other in zip(first, second, strict=True)]
    return float(np.mean(means)), low, high


def show(scores: Scores) -> list[dict[str, object]]:
    """Print every level and every difference; return them as figures."""
    figures: list[dict[str, object]] = []
    for name, count in dict.fromkeys((name, count) for name, count, _ in scores):
        levels = {level: each for (n, c, level), each in scores.items() if (n, c) == (name, count)}
        head = f"{name}, {count} session{'s' * (count != 1)}"
        means = {level: float(np.mean([one.mean() for one in each])) for level, each in levels.items()}
        print(f"{head}: " + ", ".join(f"{level} {value:.3f}" for level, value in means.items()), flush=True)
        figures += [figure(f"{head}: {level}", round(value, 4)) for level, value in means.items()]
        for first, second in COMPARED:
            value, low, high = difference(levels[first], levels[second])
            print(f"    {first} - {second}: {value:+.3f} [{low:+.3f}, {high:+.3f}]")
            figures.append(figure(f"{head}: {first} - {second}", round(value, 4)))
            figures.append(figure(f"{head}: {first} - {second}, lowest", round(low, 4)))
            figures.append(figure(f"{head}: {first} - {second}, highest", round(high, 4)))
    return figures


def main() -> None:
    """Simulate pairs of subjects, compare the levels, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/alignment"))
    parser.add_argument("--seeds", default="1301,1302,1303", help="one data set of two subjects for each")
    parser.add_argument("--quick", action="store_true", help="one small data set: to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    scores: Scores = {}
    for seed in [1] if arguments.quick else map(int, arguments.seeds.split(",")):
        path = arguments.out.resolve() / ("quick" if arguments.quick else f"seed{seed}")
        size = load_recipe("tiny" if arguments.quick else "simulated")
        recipe = with_settings(size, [f"simulate.seed={seed}", "simulate.n_subjects=2"])
        if not path.exists():
            write_data_set(recipe, path)
        trials, features = read(path, ["subj01", "subj02"])
        for source, target in (trials, trials[::-1]):
            score_pair(source, target, features, seed, scores)
    write(arguments.json, show(scores))


if __name__ == "__main__":
    main()
