"""Set the latent route beside plain ridge to pixels: ``python benchmarks/plain_ridge.py --data FIGURES.npz``.

Same trials, same folds, same ridge: once from betas to the 10 x 10 cells of the figures, once from betas to z, decoded
into a picture and averaged over the same cells. Prints two-way identification of single trials, whole figures held out,
both ways round, and the same with decoders fitted on shuffled figures.

``centred`` takes each fold's training mean away first. Without it a decoder that knows nothing scores *below* one half:
it predicts the mean of the other figures, which resembles every figure but the one left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from figures import figure, write

import reseen
from reseen import Features, decode, extract
from reseen.metrics import identification
from reseen.recipe import Recipe, load_recipe, with_settings

GOAL = "plain ridge in the same run"


def to_cells(pictures: np.ndarray, n_cells: int = 10) -> np.ndarray:
    """Average pictures (n, 64, 64, 3) over the cells of a figure that fills their middle 60 pixels, (n, 100)."""
    side = pictures.shape[1] // n_cells
    rim = (pictures.shape[1] - n_cells * side) // 2
    inner = pictures[:, rim : rim + n_cells * side, rim : rim + n_cells * side].mean(axis=3)
    return inner.reshape(len(pictures), n_cells, side, n_cells, side).mean(axis=(2, 4)).reshape(len(pictures), -1)


def compare(recipe: Recipe) -> list[dict[str, object]]:
    """Decode by both routes and score them, one row a figure."""
    trials, stimuli, split = reseen.load_data(recipe.data, recipe.data.subjects[0])
    ids = np.unique(trials.stimulus_id)
    ldm = reseen.load_ldm(recipe.model.name)
    shown = to_cells(stimuli.images(ids) / 255)
    z = extract.extract(stimuli, ids, ldm, recipe=recipe.extract)["z"]
    routes = {"pixels": Features("pixels", shown.astype(np.float32), ids), "z": z}
    rows: list[dict[str, object]] = []
    for shuffle in (False, True):
        for name, feature in routes.items():
            _, decoded = decode.decode(
                trials,
                split,
                feature,
                rois=recipe.decode.z_rois,
                recipe=recipe.decode,
                seed=recipe.seed,
                train_trials=recipe.data.train_trials,
                test_trials=recipe.data.test_trials,
                shuffle=shuffle,
            )
            cells = decoded.flat if name == "pixels" else to_cells(as_pictures(ldm, decoded.array))
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
                    label = f"two_way_{name}_{direction}_fixed{kind}" + ("_shuffled" if shuffle else "")
                    rows.append(figure(label, round(float(score), 4), "share", GOAL))
    return rows


def as_pictures(ldm: reseen.LatentDiffusion, z: np.ndarray) -> np.ndarray:
    """Decode latents to pictures of the model's size, in 0...1."""
    import torch

    small = torch.from_numpy(ldm.latent_to_image(z)).permute(0, 3, 1, 2)
    size = (ldm.image_size, ldm.image_size)
    return torch.nn.functional.interpolate(small, size=size, mode="bicubic").permute(0, 2, 3, 1).numpy()


def main() -> None:
    """Run, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the figures; left out: nothing to do")
    parser.add_argument("--recipe", default="miyawaki2008")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.data is None:
        print("skipped: real fMRI does not come with reseen; name yours with --data.")
        return
    recipe = with_settings(load_recipe(arguments.recipe), [f"data.path={arguments.data.resolve()}", *arguments.set])
    figures = compare(recipe)
    for row in figures:
        print(f"{row['name']:45s} {row['value']}")
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
