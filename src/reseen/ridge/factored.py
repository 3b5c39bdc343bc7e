"""Ridge problem: decomposed once, before it sees a target, and scored on held-out rows for each block of targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from reseen.errors import ShapeError
from reseen.ridge.cores import one_thread, side_by_side
from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.folds import assign_folds, check_alphas, default_alphas
from reseen.ridge.gram import Decomposition, check_rows, column_moments, decompose, eigenvectors, gram_matrix

ScoreOn = Literal["trials", "stimuli"]


@dataclass(frozen=True)
class Factored:
    """Ridge problem without targets: the decompositions that `fit_block` needs, and no betas."""

    used: Integers  # (n_used,) rows of targets that have trials
    share: Float64  # (n_used,) proportion of the trials that each has
    n_rows: int
    voxel_mean: Float32  # (n_voxels,)
    voxel_scale: Float32  # (n_voxels,)
    whole: Decomposition  # of all rows; its rotation is (n_voxels, rank)
    folds: tuple[Decomposition, ...]  # without the held-out rows of each fold; empty where nothing is held out
    alphas: Float64  # (n_alphas,) ascending
    on_trials: bool  # held-out trials are scored, not their averages by stimulus
    intercept: bool
    device: Device


def factor(
    betas: ArrayLike,
    n_stimuli: int,
    *,
    target_row: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    score_on: ScoreOn = "trials",
    intercept: bool = True,
    seed: int = 0,
    device: str = "numpy",
) -> Factored:
    """Calculate everything of `fit_ridge` that needs no targets, whose number of rows is ``n_stimuli``."""
    x, row = check_rows(betas, target_row, n_stimuli)
    grid = None if alphas is None else check_alphas(alphas)
    fold = _fold_of(groups, len(x), n_folds, seed, choice=grid is None or len(grid) > 1)
    here = Device(device)
    used, row = np.unique(row, return_inverse=True)
    order = np.argsort(row, kind="stable")
    mean, scale = column_moments(x)
    rows, basis = here.put((x[order] - mean) / scale), None
    if x.shape[1] > len(x):
        # K = X X' = U L U': the rows U sqrt(L) have the inner products of X, in as few columns as there are rows
        kernel = gram_matrix(here, rows.T)
        with one_thread():
            values, vectors = eigenvectors(here, kernel)
            root = here.put(np.sqrt(values))
            basis = rows.T @ here.single(vectors / root)
        rows = here.single(vectors * root)
    held_out = [np.zeros(len(x), dtype=bool), *(fold[order] == k for k in range(fold.max() + 1))]
    matrices = {"rows": rows, "stimulus": row[order], "gram": gram_matrix(here, rows)}
    part = partial(decompose, **matrices, intercept=intercept, device=here)
    whole, *folds = side_by_side(part, held_out, device=here, item_bytes=4 * 8 * rows.shape[1] ** 2)
    if basis is not None:
        with one_thread():
            whole = replace(whole, rotation=basis @ whole.rotation)
    return Factored(
        used=used,
        share=np.bincount(row) / len(x),
        n_rows=len(x),
        voxel_mean=mean,
        voxel_scale=scale,
        whole=whole,
        folds=tuple(folds),
        alphas=default_alphas(whole.eigenvalues) if grid is None else grid,
        on_trials=score_on == "trials",
        intercept=intercept,
        device=here,
    )


def _fold_of(groups: ArrayLike | None, n_rows: int, n_folds: int, seed: int, *, choice: bool) -> Integers:
    """Return the fold of each row; -1 where there is no choice of penalties and too little to hold out."""
    group = None if groups is None else np.asarray(groups)
    if group is not None and group.shape != (n_rows,):
        raise ShapeError(f"groups have shape {group.shape}; {n_rows} trials need ({n_rows},).")
    n_groups = n_rows if group is None else len(np.unique(group))
    if not choice and not 2 <= n_folds <= n_groups:
        return np.full(n_rows, -1)
    return assign_folds(group, n_rows, n_folds, seed)


@dataclass(frozen=True)
class Scores:
    """Sums of squares over all held-out rows for a block of targets; zeros where nothing is held out."""

    error: Float64  # (n_alphas, n_targets) squared error; 0 for a target that does not vary
    between: Float64  # (n_alphas, n_targets) squares of the predictions' means by stimulus, and
    within: Float64  # (n_alphas, n_targets) of their deviations from these means
    total: Float64  # (n_targets,) squared distance from the fold's training mean; 0 for a target that does not vary

    def noise_share(self, problem: Factored, best: Integers) -> Float64 | None:
        """Return the proportion of variance of single-trial predictions within stimuli, at the best penalties."""
        n_repeated = problem.n_rows - sum(len(fold.held) for fold in problem.folds)
        if not problem.folds or not n_repeated:
            return None
        target = np.arange(len(best))
        within = self.within[best, target]
        spread = self.between[best, target] + within
        share = within / n_repeated / np.where(spread > 0, spread / problem.n_rows, 1.0)
        return np.asarray(np.clip(share, 0.0, 1.0))


def score(problem: Factored, targets: Array) -> Scores:
    """Predict every held-out row at every penalty; targets are ``(n_used, n_targets)`` float32, centred."""
    device, n_targets = problem.device, targets.shape[1]
    error, between, within = np.zeros((3, len(problem.alphas), n_targets))
    total = np.zeros(n_targets)
    for fold in problem.folds:
        component, mean = fold.moments @ targets[fold.seen], fold.weight @ targets
        scale = fold.root if problem.on_trials else 1.0  # a stimulus counts as often as it has held-out rows, or once
        distance = (targets[fold.held] - mean) * scale
        total += device.dots(distance, distance)
        truth = distance if problem.intercept else targets[fold.held] * scale
        for a, alpha in enumerate(problem.alphas):
            shrunken = component * fold.shrinkage(device, alpha)
            predicted = fold.between @ shrunken
            between[a] += device.dots(predicted, predicted)
            residual = (predicted if problem.on_trials else predicted / fold.root) - truth
            error[a] += device.dots(residual, residual)
            if fold.within.shape[0]:
                contrast = fold.within @ shrunken
                within[a] += device.dots(contrast, contrast)
    if problem.on_trials:
        error += within  # rows of a stimulus have equal targets: whatever their predictions differ by is error
    varies = device.get(targets != targets[:1]).any(axis=0)
    return Scores(error * varies, between, within, total * varies)
