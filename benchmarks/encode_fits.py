"""Fit every U-Net layer to every voxel, reseen's way and himalaya's: ``python benchmarks/encode_fits.py``.

Fifteen feature spaces as wide as the built-in U-Net's (five layers at three shares of the denoising), 1,000 pictures of
which 100 are held out, 2,500 voxels, the same penalties and the same folds. reseen: kernels in blocks, one
eigendecomposition a fold, held-out predictions without weights. himalaya: ``StandardScaler`` and ``KernelRidgeCV``, one
layer after the other. Both end with the correlation of each voxel. The median of several rounds in one run is printed,
and how far the two disagree. Extraction is not counted here.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reseen.encode.fits import fit_alone, lay_out
from reseen.features import Features
from reseen.recipe import EncodeRecipe
from reseen.responses import correlation
from reseen.trials import Split, Trials

WIDTHS = {"down_blocks.0": 64 * 16 * 16, "down_blocks.1": 128 * 8 * 8, "mid_block": 128 * 4 * 4}
WIDTHS |= {"up_blocks.1": 128 * 16 * 16, "up_blocks.2": 64 * 16 * 16}
STAGES = (0.2, 0.66, 1.0)
RECIPE = EncodeRecipe()


def draw(n_images: int, n_voxels: int, n_spaces: int, *, seed: int = 0) -> tuple[Trials, Split, list[Features]]:
    """Draw layers that share what they see, under noise of their own, and voxels that answer to it."""
    rng = np.random.default_rng(seed)
    ids = np.arange(n_images)
    seen = rng.standard_normal((n_images, 200), dtype=np.float32)
    betas = seen @ rng.standard_normal((200, n_voxels), dtype=np.float32)
    betas += 20 * rng.standard_normal(betas.shape, dtype=np.float32)
    names = [(f"unet/{layer}@progress={stage}", width) for stage in STAGES for layer, width in WIDTHS.items()]
    spaces = []
    for name, width in names[:n_spaces]:
        array = seen @ rng.standard_normal((200, width), dtype=np.float32)
        spaces.append(Features(name, array + 10 * rng.standard_normal(array.shape, dtype=np.float32), ids))
    zeros, ones = np.zeros(n_images, dtype=np.int64), np.ones(n_images, dtype=np.int64)
    test = ids[-n_images // 10 :]
    return Trials("subj01", betas, ids, zeros, {}, ones), Split.fixed(np.setdiff1d(ids, test), test), spaces


def by_reseen(trials: Trials, split: Split, spaces: list[Features]) -> np.ndarray:
    """Give each layer's correlation with each voxel, (n_spaces, n_voxels)."""
    design = lay_out(trials, split, RECIPE, 0)
    truth = design.responses[design.tested]
    return np.stack([correlation(truth, fit_alone(design, space, RECIPE, 0)[1].parts[0]) for space in spaces])


def by_himalaya(trials: Trials, split: Split, spaces: list[Features]) -> np.ndarray:
    """Give the same from himalaya, one layer after the other."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    design = lay_out(trials, split, RECIPE, 0)
    (fold,) = design.folds
    y, truth = design.responses[fold.train], design.responses[fold.test]
    found = []
    for space in spaces:
        ridge = KernelRidgeCV(
            alphas=design.alphas * space.flat.shape[1], cv=PredefinedSplit(fold.inner), fit_intercept=True, warn=False
        )
        model = make_pipeline(StandardScaler(), ridge).fit(space.flat[fold.train], y)
        found.append(correlation(truth, model.predict(space.flat[fold.test])))
    return np.stack(found)


def seconds(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Time one piece of work."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def compare(*, quick: bool = False) -> list[dict[str, object]]:
    """Time both ways, round by round, and give the figures."""
    data = draw(*((300, 500, 5) if quick else (1000, 2500, 15)))
    spent: dict[str, list[float]] = {"reseen": [], "himalaya": []}
    found = {}
    for _ in range(3):
        for name, way in (("reseen", by_reseen), ("himalaya", by_himalaya)):
            elapsed, found[name] = seconds(lambda way=way: way(*data))
            spent[name].append(elapsed)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    differ = float(np.abs(found["reseen"] - found["himalaya"]).max())
    return [
        {"name": "fit_seconds_reseen", "value": round(medians["reseen"], 3), "unit": "s", "goal": ""},
        {"name": "fit_seconds_himalaya", "value": round(medians["himalaya"], 3), "unit": "s", "goal": ""},
        {
            "name": "fit_speedup_vs_himalaya",
            "value": round(medians["himalaya"] / medians["reseen"], 2),
            "unit": "times",
            "goal": "at least 5 with extraction in one pass against one layer at a time",
        },
        {"name": "largest_difference_of_r", "value": round(differ, 5), "unit": "r", "goal": "rounding"},
    ]


def main() -> None:
    """Compare, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    arguments = parser.parse_args()
    figures = compare(quick=arguments.quick)
    for figure in figures:
        print(f"{figure['name']:26s} {figure['value']} {figure['unit']}")
    if arguments.json:
        about = {
            "machine": platform.processor() or platform.machine(),
            "versions": {"python": platform.python_version()},
        }
        arguments.json.write_text(json.dumps({**about, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
