"""Fit every U-Net layer to every voxel, reseen's way and himalaya's: the second half of ``benchmarks/encode.py``.

Feature spaces as wide as the built-in U-Net's (five layers at three shares of the denoising), one image in ten held
out, the same penalties and the same folds. reseen: kernels in blocks, one
eigendecomposition a fold, held-out predictions without weights. himalaya: ``StandardScaler`` and ``KernelRidgeCV``, one
layer after the other. Both end with the correlation of each voxel.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from reseen.encode.fits import fit_alone, make_design
from reseen.features import Features
from reseen.recipe import EncodeRecipe
from reseen.responses import correlation
from reseen.split import Split
from reseen.trials import Trials

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
    test = ids[-n_images // 10 :]
    return Trials(betas, ids), Split.fixed(np.setdiff1d(ids, test), test), spaces


def by_reseen(trials: Trials, split: Split, spaces: list[Features]) -> np.ndarray:
    """Give each layer's correlation with each voxel, (n_spaces, n_voxels)."""
    design = make_design(trials, split, RECIPE, 0)
    truth = design.responses[design.tested]
    return np.stack([correlation(truth, fit_alone(design, space, RECIPE, 0)[1].parts[0]) for space in spaces])


def by_himalaya(trials: Trials, split: Split, spaces: list[Features]) -> np.ndarray:
    """Give the same from himalaya, one layer after the other."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    design = make_design(trials, split, RECIPE, 0)
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


def compare(n_images: int, n_voxels: int, n_spaces: int, n_rounds: int) -> tuple[dict[str, float], float]:
    """Time both ways, round by round; give the medians in seconds, and how far the correlations differ at most."""
    data = draw(n_images, n_voxels, n_spaces)
    spent: dict[str, list[float]] = {"reseen": [], "himalaya": []}
    found = {}
    for _ in range(n_rounds):
        for name, way in (("reseen", by_reseen), ("himalaya", by_himalaya)):
            elapsed, found[name] = seconds(lambda way=way: way(*data))
            spent[name].append(elapsed)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    return medians, float(np.abs(found["reseen"] - found["himalaya"]).max())
