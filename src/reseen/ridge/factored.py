"""Ridge problem: decomposed once, without targets, then scored on held-out rows for each block of targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from reseen.cores import map_parallel, one_thread
from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.folds import assign_folds, check_alphas, default_alphas
from reseen.ridge.gram import (
    Decomposition,
    check_rows,
    check_rows_shape,
    column_moments,
    decompose,
    eigenvectors,
    gram_matrix,
)

ScoreOn = Literal["trials", "stimuli"]


@dataclass(frozen=True)
class Factored:
    """Ridge problem without targets: the decompositions that `fit_block` needs, and no betas."""

    used: Integers  # (n_used,) rows of targets that have trials
    proportion: Float64  # (n_used,) proportion of all trials that belong to each used row
    n_rows: int  # number of trials
    voxel_mean: Float32  # (n_voxels,)
    voxel_scale: Float32  # (n_voxels,)
    all_rows: Decomposition  # of all rows; its rotation is (n_voxels, rank)
    folds: tuple[Decomposition, ...]  # of the training rows of each fold; empty if nothing is held out
    alphas: Float64  # (n_alphas,) ascending
    on_trials: bool  # whether held-out trials are scored, or their averages by stimulus
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
    """Calculate everything of `fit_ridge` that needs no targets; targets will have ``n_stimuli`` rows."""
    x, row = check_rows(betas, target_row, n_stimuli)
    grid = None if alphas is None else check_alphas(alphas)
    fold = _fold_of(groups, len(x), n_folds, seed, choice=grid is None or len(grid) > 1)
    here = Device(device)
    used, row = np.unique(row, return_inverse=True)
    order = np.argsort(row, kind="stable")  # trials of a stimulus become consecutive rows
    mean, scale = column_moments(x)
    rows, basis = here.put((x[order] - mean) / scale), None
    if x.shape[1] > len(x):
        # K = X X' = U L U': the rows of U sqrt(L) have the inner products of X in only n_trials columns
        kernel = gram_matrix(here, rows.T)
        with one_thread():
            values, vectors = eigenvectors(here, kernel)
            root = here.put(np.sqrt(values))
            basis = rows.T @ here.single(vectors / root)
        rows = here.single(vectors * root)
    held_out = [np.zeros(len(x), dtype=bool), *(fold[order] == k for k in range(fold.max() + 1))]
    matrices = {"rows": rows, "stimulus": row[order], "gram": gram_matrix(here, rows)}
    part = partial(decompose, **matrices, intercept=intercept, device=here)
    # a decomposition needs about four float64 matrices of the Gram matrix's size
    all_rows, *folds = map_parallel(part, held_out, on_cores=here.is_numpy, item_bytes=4 * 8 * rows.shape[1] ** 2)
    if basis is not None:
        with one_thread():
            all_rows = replace(all_rows, rotation=basis @ all_rows.rotation)  # back to (n_voxels, rank)
    return Factored(
        used=used,
        proportion=np.bincount(row) / len(x),
        n_rows=len(x),
        voxel_mean=mean,
        voxel_scale=scale,
        all_rows=all_rows,
        folds=tuple(folds),
        alphas=default_alphas(all_rows.eigenvalues) if grid is None else grid,
        on_trials=score_on == "trials",
        intercept=intercept,
        device=here,
    )


def _fold_of(groups: ArrayLike | None, n_rows: int, n_folds: int, seed: int, *, choice: bool) -> Integers:
    """Return the fold of each row; -1 if there is one penalty only and there are too few groups to hold any out."""
    group, n_groups = None, n_rows
    if groups is not None:
        group = np.asarray(groups)
        check_rows_shape("groups", group, n_rows)
        n_groups = len(np.unique(group))
    if not choice and not 2 <= n_folds <= n_groups:
        return np.full(n_rows, -1)
    return assign_folds(group, n_rows, n_folds, seed)


@dataclass(frozen=True)
class Scores:
    """Sums of squares over all held-out rows for a block of targets; zeros if nothing is held out."""

    error: Float64  # (n_alphas, n_targets) squared error; 0 for a constant target
    between: Float64  # (n_alphas, n_targets) squares of the predictions' means by stimulus
    within: Float64  # (n_alphas, n_targets) squares of the predictions' deviations from these means
    total: Float64  # (n_targets,) squared distance from the fold's training mean; 0 for a constant target

    def noise_share(self, problem: Factored, best: Integers) -> Float64 | None:
        """Return the proportion of the variance of single-trial predictions within stimuli, at the best penalties.

        It is ``(within / n_repeated) / ((between + within) / n_rows)``; ``n_repeated``, the degrees of freedom within
        stimuli, is the number of rows less the number of held-out stimuli. Return None without repetitions.
        """
        n_repeated = problem.n_rows - sum(len(fold.held) for fold in problem.folds)
        if not problem.folds or not n_repeated:
            return None
        target = np.arange(len(best))
        within = self.within[best, target]
        spread = self.between[best, target] + within
        proportion = within / n_repeated / np.where(spread > 0, spread / problem.n_rows, 1.0)
        return np.asarray(np.clip(proportion, 0.0, 1.0))

    def residual_variance(self, problem: Factored, best: Integers) -> Float64 | None:
        """Return the mean squared error of held-out rows at the best penalties, ``(n_targets,)``; None without them."""
        if not problem.folds or not problem.on_trials:
            return None
        return np.asarray(self.error[best, np.arange(len(best))] / problem.n_rows)


def score(problem: Factored, targets: Array) -> Scores:
    """Predict every held-out row at every penalty; targets are ``(n_used, n_targets)`` float32, centred."""
    device, n_targets = problem.device, targets.shape[1]
    error, between, within = np.zeros((3, len(problem.alphas), n_targets))
    total = np.zeros(n_targets)
    for fold in problem.folds:
        component, mean = fold.moments @ targets[fold.seen], fold.weight @ targets
        scale = fold.root if problem.on_trials else 1.0  # a stimulus counts as often as it has held-out rows, or once
        distance = (targets[fold.held] - mean) * scale  # (n_held, n_targets)
        total += device.dots(distance, distance)
        # without an intercept, predictions are those of the targets, not of the distance from their mean
        true = distance if problem.intercept else targets[fold.held] * scale
        for a, alpha in enumerate(problem.alphas):
            shrunken = component * fold.shrinkage(device, alpha)
            predicted = fold.between @ shrunken
            between[a] += device.dots(predicted, predicted)
            if not problem.on_trials:
                predicted = predicted / fold.root  # from sum / sqrt(n) to the mean of a stimulus's n rows
            residual = predicted - true
            error[a] += device.dots(residual, residual)
            if fold.within.shape[0]:
                contrast = fold.within @ shrunken
                within[a] += device.dots(contrast, contrast)
    if problem.on_trials:
        error += within  # rows of a stimulus have the same targets, so all differences of their predictions are error
    varies = device.get(targets != targets[:1]).any(axis=0)
    return Scores(error * varies, between, within, total * varies)
