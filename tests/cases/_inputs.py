"""Small inputs that the cases share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reseen.recipe import DataRecipe


def arrays(n=24, reps=3, vox=40, side=64, seed=0, noise=0.5):
    """n images of 4 x 4 coloured squares, each shown `reps` times; voxels mix the colours at random, with noise."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    ids = np.concatenate([rng.permutation(n) for _ in range(reps)])
    drive = (squares.reshape(n, -1) / 255.0 - 0.5) @ rng.normal(size=(48, vox))
    betas = (drive[ids] + noise * rng.normal(size=(n * reps, vox))).astype(np.float32)
    colours, things = (
        ["red", "blue", "green", "yellow"],
        ["person", "bird", "chair", "sailboat", "automobile", "blossom"],
    )
    places = ["in the dark", "on the water", "under the stars"]
    words = np.array([f"a {colours[i % 4]} {things[i % 6]} {places[i % 3]}" for i in range(n)])
    return {
        "betas": betas,
        "stimulus_id": ids,
        "stimulus_images": squares.repeat(side // 4, 1).repeat(side // 4, 2),
        "captions": words,
        "run": np.repeat(np.arange(reps), n),
        "test_stimulus_id": np.arange(0, n, 4),
    }


def save(path: Path, **changes) -> Path:
    """Write the arrays as an npz; None takes one out."""
    content = {**arrays(), **changes}
    np.savez(path, **{name: values for name, values in content.items() if values is not None})
    return path


def data_recipe(path: Path, **more) -> DataRecipe:
    return DataRecipe(**{"kind": "arrays", "path": path, "subjects": ["subj01"], "rois": ["all"], **more})
