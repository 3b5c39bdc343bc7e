"""Set the latent route beside plain ridge to pixels: ``python benchmarks/plain_ridge.py --data FIGURES.npz``.

With ``--quick`` instead, four figures and responses that are made up.

Same trials, same folds, same ridge: once from betas to the 10 x 10 cells of the figures, once from betas to z, decoded
into an image and averaged over the same cells. Prints two-way identification of single trials, whole figures held out,
both ways round, and the same with decoders fitted on shuffled figures.

Leaving one figure out puts a decoder that knows nothing *below* one half: it predicts mixtures of the other figures,
which resemble every figure but the one left out. ``centred`` takes each fold's training mean away first, which is not
enough. ``pairs`` leaves out two figures at a time and tells only these two apart, less what the mean
of the others looks like; there the two are on an equal footing, and one half is chance.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen
from reseen import Features, decode
from reseen.datasets import open_subject
from reseen.ldm import extraction
from reseen.metrics import correlation_matrix, identification
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.split import Split

GOAL = "plain ridge in the same run"


def to_cells(images: np.ndarray, n_cells: int = 10) -> np.ndarray:
    """Average images (n, 64, 64, 3) over the cells of a figure that fills their middle 60 pixels, (n, 100)."""
    side = images.shape[1] // n_cells
    rim = (images.shape[1] - n_cells * side) // 2
    inner = images[:, rim : rim + n_cells * side, rim : rim + n_cells * side].mean(axis=3)
    return inner.reshape(len(images), n_cells, side, n_cells, side).mean(axis=(2, 4)).reshape(len(images), -1)


def compare(recipe: Recipe) -> list[dict[str, object]]:
    """Decode by both routes and score them, one row a figure."""
    subject = open_subject(recipe.data, recipe.data.subjects[0])
    trials, stimuli, split = subject.trials, subject.stimuli, subject.split
    ids = np.unique(trials.stimulus_id)
    ldm = reseen.load_model(recipe.model.name)
    shown = to_cells(stimuli.images(ids) / 255)
    z = extraction.extract(stimuli, ids, ldm, recipe=recipe.extract)["z"]
    routes = {"pixels": Features("pixels", shown.astype(np.float32), ids), "z": z}
    rows: list[dict[str, object]] = []
    for permutation in (None, 0):
        for name, feature in routes.items():
            _, decoded = decode.decode(
                trials,
                split,
                feature,
                rois=recipe.decode.rois.z,
                recipe=recipe.decode,
                seed=recipe.seed,
                train_trials=recipe.data.train_trials,
                test_trials=recipe.data.test_trials,
                permutation=permutation,
            )
            cells = decoded.flat if name == "pixels" else to_cells(as_images(ldm, decoded.array))
            truth = shown[np.searchsorted(ids, decoded.stimulus_id)]
            mean = np.zeros_like(truth)
            for train, test in split.folds:
                mean[np.isin(decoded.stimulus_id, test)] = shown[np.searchsorted(ids, train)].mean(axis=0)
            for kind, original, made in (
                ("", truth, cells),
                ("_centred", truth - shown.mean(axis=0), cells - mean),
            ):
                for direction in ("original", "reconstruction"):
                    score = identification(original, made, direction=direction, labels=decoded.stimulus_id).mean()
                    label = f"two_way_{name}_{direction}_fixed{kind}" + ("_shuffled" if permutation is not None else "")
                    rows.append(figure(label, round(float(score), 4), "share", GOAL))
    return rows


def tell_pairs_apart(recipe: Recipe, n_permutations: int) -> list[dict[str, object]]:
    """Leave every pair of figures out in turn and identify their trials, with true and with permuted labels."""
    subject = open_subject(recipe.data, recipe.data.subjects[0])
    trials, stimuli = subject.trials, subject.stimuli
    ids = np.unique(trials.stimulus_id)
    ldm = reseen.load_model(recipe.model.name)
    shown = to_cells(stimuli.images(ids) / 255)
    z = extraction.extract(stimuli, ids, ldm, recipe=recipe.extract)["z"]
    rows: list[dict[str, object]] = []
    for name, feature in {"pixels": Features("pixels", shown.astype(np.float32), ids), "z": z}.items():
        for permutations in ((None,), tuple(range(n_permutations))):
            won = {"original": [], "reconstruction": []}
            for permutation, pair in itertools.product(permutations, itertools.combinations(range(len(ids)), 2)):
                others = np.delete(ids, pair)
                _, decoded = decode.decode(
                    trials,
                    Split(((others, ids[list(pair)]),)),
                    feature,
                    rois=recipe.decode.rois.z,
                    recipe=recipe.decode,
                    seed=recipe.seed,
                    test_trials="single",
                    permutation=permutation,
                )
                known_nothing = feature.rows(others).mean(axis=0, keepdims=True)
                cells, nothing = (
                    features.reshape(len(features), -1) if name == "pixels" else to_cells(as_images(ldm, features))
                    for features in (decoded.array, known_nothing)
                )
                first = decoded.stimulus_id == ids[pair[0]]
                mean = np.delete(shown, pair, axis=0).mean(axis=0)
                r = correlation_matrix(shown[list(pair)] - mean, cells - nothing)
                for direction, score in won_of_pair(r, first).items():
                    won[direction].append(score)
            for direction, scores in won.items():
                label = f"pairs_{name}_{direction}_fixed" + ("" if permutations[0] is None else "_shuffled")
                rows.append(figure(label, round(float(np.mean(scores)), 4), "share", GOAL))
                if permutations[0] is not None:
                    spread = np.reshape(scores, (n_permutations, -1)).mean(axis=1).std(ddof=1)
                    rows.append(figure(f"{label}_sd", round(float(spread), 4), "share"))
    return rows


def won_of_pair(r: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """Score a pair of figures from correlations (2, n_trials), identified either way round; ``first``: whose trial."""
    across = (r[0, first][:, None] > r[0, ~first], r[1, ~first][:, None] > r[1, first])
    return {
        "original": float(np.mean([part.mean() for part in across])),
        "reconstruction": float(((r[0] - r[1]) * np.where(first, 1, -1) > 0).mean()),
    }


def as_images(ldm: reseen.LatentDiffusion, z: np.ndarray) -> np.ndarray:
    """Decode latents to images of the model's size, in 0...1."""
    import torch

    small = torch.from_numpy(ldm.latent_to_image(z)).permute(0, 3, 1, 2)
    size = (ldm.image_size, ldm.image_size)
    return torch.nn.functional.interpolate(small, size=size, mode="bicubic").permute(0, 2, 3, 1).numpy()


def write_toy(path: Path) -> None:
    """Write four figures of 10 x 10 cells and the responses of 30 voxels that see them, three trials each."""
    rng = np.random.default_rng(0)
    figures = rng.integers(0, 2, (4, 10, 10))
    figure_of_trial = np.tile(np.arange(4), 3)
    responses = figures.reshape(4, -1)[figure_of_trial] @ rng.standard_normal((100, 30))
    responses += rng.standard_normal(responses.shape)
    np.savez(
        path,
        betas=responses.astype(np.float32),
        images=figures[figure_of_trial].astype(bool),
        figure=figure_of_trial,
        figure_name=np.array(["a", "b", "c", "d"]),
        run=np.repeat(np.arange(3), 4),
    )


def main() -> None:
    """Run, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the figures; left out: nothing to do")
    parser.add_argument("--recipe", default="miyawaki2008")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--permutations", type=int, default=8, help="how many permutations of the pairs; 0: no pairs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="made-up figures, one permutation: to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        with tempfile.TemporaryDirectory() as folder:
            arguments.data, arguments.permutations = Path(folder) / "figures.npz", 2
            write_toy(arguments.data)
            arguments.set += ["data.n_folds=4", "decode.n_folds=2"]
            measure(arguments)
    elif arguments.data is None:
        print("skipped: real fMRI does not come with reseen; name yours with --data.")
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Decode by both routes, print a table and write JSON."""
    recipe = with_settings(load_recipe(arguments.recipe), [f"data.path={arguments.data.resolve()}", *arguments.set])
    figures = compare(recipe)
    if arguments.permutations:
        figures += tell_pairs_apart(recipe, arguments.permutations)
    for row in figures:
        print(f"{row['name']:45s} {row['value']}")
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
