"""Exact ridge regression from many voxels to very many targets, with a penalty for each target.

`factor` calculates everything that needs no targets; `fit_block` fits a block of targets with it, to the same bytes
alone or among others. Targets belong to stimuli and rows to trials: repeated trials share one row of targets. Targets
may be on disk (a memory map, a zarr array): a block of columns is read when it is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reseen.errors import DataError, ShapeError
from reseen.ridge.cores import one_thread, side_by_side
from reseen.ridge.device import Array, Float32, Float64, Integers
from reseen.ridge.factored import Factored, ScoreOn, Scores, factor, score
from reseen.ridge.folds import grid_ends, warn_at_edge
from reseen.ridge.gram import check_finite
from reseen.ridge.maps import RidgeMap

BLOCK_VALUES = 2**22  # numbers in one block of targets or weights, 16 MiB; a fit needs about 12 times as much
EVEN_COUNT, LEAST_TARGETS = 4, 256  # blocks are shared among cores; a product of fewer columns is slow
PER_TARGET = ("weights", "intercept", "alpha", "cv_score", "noise_share")  # of a map; targets are the last axis
Targets = Any  # an array (n_stimuli, n_targets), or a table with a shape whose columns can be sliced, such as zarr


def fit_ridge(
    betas: ArrayLike,
    targets: Targets,
    *,
    target_row: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    alphas: Sequence[float] | None = None,
    n_folds: int = 5,
    share_alpha: bool = False,
    score_on: ScoreOn = "trials",
    intercept: bool = True,
    seed: int = 0,
    device: str = "numpy",
) -> RidgeMap:
    """Fit a ridge regression with the best penalty for each target.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``. Standardised inside; the means and scales become part of the map.
    targets
        Shape ``(n_stimuli, n_targets)``: an array, or anything whose columns can be sliced; read block by block.
    target_row
        Shape ``(n_trials,)``: which row of ``targets`` each trial belongs to; left out: the i-th.
    groups
        Shape ``(n_trials,)``: trials of one group are never on both sides of a fold. Left out: consecutive rows make
        the folds, which lets repetitions of a stimulus leak.
    alphas
        Grid of penalties; left out: `default_alphas`.
    n_folds
        Folds that choose the penalty by held-out squared error; the larger penalty wins a tie.
    share_alpha
        Choose one penalty for all targets, by their summed squared error. Better where a few dozen stimuli are too few
        to tell targets apart; targets should then share a unit.
    score_on
        Whether the squared error is that of held-out ``"trials"``, or of ``"stimuli"``: of predictions averaged over
        the held-out repetitions of a stimulus. Averages contain less noise and choose smaller penalties, right for a
        map that will predict from averages.
    intercept
        False fits no mean of the targets and does not centre within folds, like the script that Takagi and Nishimoto
        released.
    seed
        Decides which groups share a fold.
    device
        Where to calculate: ``"numpy"``, or torch's name of a device (``"cpu"``, ``"cuda"``).

    Raises
    ------
    ShapeError, DataError
        If arrays do not fit each other, or there is too little to fit or to hold out; if a number is not finite, a
        penalty not positive, or there is no such device.

    Warns
    -----
    EdgeWarning
        If many targets choose an edge of the grid that a further step could improve on.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> betas = rng.normal(size=(50, 20))
    >>> targets = betas @ rng.normal(size=(20, 3)) + rng.normal(size=(50, 3))
    >>> fitted = fit_ridge(betas[:40], targets[:40], groups=np.arange(40))
    >>> predicted = fitted.predict(betas[40:])
    >>> predicted.shape, bool(np.corrcoef(predicted[:, 0], targets[40:, 0])[0, 1] > 0.8)
    ((10, 3), True)
    """
    table = as_table(targets)
    factored = factor(
        betas,
        table.shape[0],
        target_row=target_row,
        groups=groups,
        alphas=alphas,
        n_folds=n_folds,
        score_on=score_on,
        intercept=intercept,
        seed=seed,
        device=device,
    )
    return assemble(table.shape[1], fit_blocks(factored, table, share_alpha=share_alpha))


def as_table(targets: Targets) -> Targets:
    """Return targets as they are where their columns can be sliced, else as an array; both have two dimensions."""
    table = targets if hasattr(targets, "shape") else np.asarray(targets)
    if len(table.shape) != 2:
        raise ShapeError(f"targets must be two-dimensional, (n_stimuli, n_targets); they have shape {table.shape}.")
    if not table.shape[1]:
        raise ShapeError(f"there is no target to fit; targets have shape {table.shape}.")
    return table


def target_blocks(factored: Factored, n_targets: int) -> list[slice]:
    """Cut targets into blocks of one size, by the shape of the problem alone."""
    most = max(1, BLOCK_VALUES // max(len(factored.used), len(factored.voxel_mean)))
    shared = EVEN_COUNT if n_targets >= EVEN_COUNT * LEAST_TARGETS else 1
    count = -(-n_targets // (most * shared)) * shared
    width = -(-n_targets // count)
    return [slice(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]


def fit_blocks(
    factored: Factored, targets: Targets, *, share_alpha: bool = False, use: Callable[[RidgeMap], Any] | None = None
) -> Iterator[tuple[slice, Any]]:
    """Fit block after block, side by side; yield the columns of each block and its map, or what ``use`` returns for it.

    A few blocks are fitted ahead. Targets are read twice where a penalty is shared: once to choose it, once to fit.
    Where ``use`` returns predictions, no weights are kept, and memory does not grow with the number of targets. After
    the last block an EdgeWarning is due if many targets chose an edge of the grid.
    """
    table = as_table(targets)
    blocks = target_blocks(factored, table.shape[1])
    alpha, chosen = None, []
    scores: list[Scores | None] = [None] * len(blocks)
    if share_alpha:
        read = (table[:, block] for block in blocks)
        scores = list(side_by_side(partial(score_block, factored), read, device=factored.device))
        alpha = shared_alpha(factored, scores)

    def fit(work: tuple[Any, Scores | None]) -> tuple[Float64, Any]:
        fitted = fit_block(factored, work[0], scores=work[1], alpha=alpha)
        return varying_alphas(fitted), fitted if use is None else use(fitted)

    work = ((table[:, block], known) for block, known in zip(blocks, scores, strict=True))
    results = side_by_side(fit, work, device=factored.device, item_bytes=12 * 4 * BLOCK_VALUES)
    for block, (alphas, result) in zip(blocks, results, strict=True):
        chosen.append(alphas)
        yield block, result
    warn_at_edge(np.concatenate(chosen), factored.alphas, grid_ends(factored.whole.eigenvalues))


def score_block(factored: Factored, targets: ArrayLike) -> Scores:
    """Score a block of targets, ``(n_stimuli, n_block)``, at every penalty; the first half of `fit_block`."""
    with one_thread():
        return score(factored, _centred(factored, targets)[0])


def shared_alpha(factored: Factored, scores: Iterable[Any]) -> float:
    """Return the one penalty with the least squared error summed over the targets of all blocks' scores."""
    error = sum((block.error.sum(axis=1) for block in scores), np.zeros(len(factored.alphas)))
    return float(factored.alphas[best_alphas(error)])


def best_alphas(error: Float64) -> Integers:
    """Return the index of the least error along the first axis; the larger penalty wins a tie."""
    return np.asarray(len(error) - 1 - error[::-1].argmin(axis=0))


def fit_block(
    factored: Factored, targets: ArrayLike, *, scores: Scores | None = None, alpha: float | None = None
) -> RidgeMap:
    """Fit one block of targets; the same bytes whatever else is fitted, where, and on how many cores.

    ``targets`` are ``targets[:, block]``, a block of `target_blocks`, ``(n_stimuli, n_block)``; ``scores`` what
    `score_block` returned for them, if it was called; ``alpha`` one penalty of the grid in place of each target's best.

    Raises a ShapeError if targets have too few rows, a DataError if a number is not finite or alpha not on the grid.
    """
    with one_thread():
        centred, mean = _centred(factored, targets)
        scores = scores or score(factored, centred)
        best = best_alphas(scores.error)
        if alpha is not None:
            if not np.isclose(factored.alphas, alpha).any():
                raise DataError(f"alpha {alpha:g} is not on this problem's grid, {factored.alphas}.")
            best[:] = np.abs(factored.alphas - alpha).argmin()
        chosen, whole, device = factored.alphas[best], factored.whole, factored.device
        component = (whole.moments @ centred) * whole.shrinkage(device, chosen)
        varies = scores.total > 0
        cv_score = np.where(varies, 1.0 - scores.error / np.where(varies, scores.total, 1.0), 0.0)
        return RidgeMap(
            weights=device.get(whole.rotation @ component),
            intercept=mean.astype(np.float32),
            voxel_mean=factored.voxel_mean,
            voxel_scale=factored.voxel_scale,
            alpha=chosen,
            alphas=factored.alphas,
            cv_score=cv_score if factored.folds else None,
            noise_share=scores.noise_share(factored, best),
        )


def predict_held_out(factored: Factored, targets: ArrayLike, fitted: RidgeMap) -> tuple[Float32, Integers]:
    """Predict every stimulus by maps that were fitted on the other folds, at the penalties of the map of all rows.

    ``targets``, ``(n_stimuli, n_block)``, are those of the fitted map; groups keep a stimulus in one fold. Return the
    mean prediction over a stimulus's trials, ``(n_stimuli, n_block)``, and the fold that held it out, ``(n_stimuli,)``:
    NaN and -1 for stimuli without trials.
    """
    if not factored.folds:
        raise ShapeError("held-out predictions need a problem that is factored with several folds.")
    predicted, held_by = np.full(np.shape(targets), np.nan, dtype=np.float32), np.full(len(np.asarray(targets)), -1)
    with one_thread():
        centred, mean = _centred(factored, targets)
        for k, fold in enumerate(factored.folds):
            shrunken = (fold.moments @ centred[fold.seen]) * fold.shrinkage(factored.device, fitted.alpha)
            found = fold.between @ shrunken / fold.root + (fold.weight @ centred) * factored.intercept
            predicted[factored.used[fold.held]] = factored.device.get(found) + mean.astype(np.float32)
            held_by[factored.used[fold.held]] = k
    return predicted, held_by


def _centred(factored: Factored, targets: ArrayLike) -> tuple[Array, Float64]:
    """Return checked targets of stimuli that have trials, less their mean over trials, and that mean."""
    block: Float32 = np.asarray(targets, dtype=np.float32)
    if block.ndim != 2 or len(block) <= (last := factored.used.max()):
        raise ShapeError(f"targets have shape {block.shape}; this problem needs (n > {last}, n_targets).")
    check_finite("targets", block)
    block = block[factored.used]
    mean = np.zeros(block.shape[1])
    if factored.intercept:
        mean = factored.share @ block.astype(np.float64)
        constant = block.min(axis=0) == block.max(axis=0)
        mean[constant] = block[0, constant]
    return factored.device.put(block - mean.astype(np.float32)), mean


def assemble(n_targets: int, blocks: Iterable[tuple[slice, RidgeMap]]) -> RidgeMap:
    """Join the maps of blocks, at least one, which may come in any order."""
    whole = None
    for block, part in blocks:
        whole = add_block(whole, n_targets, block, part)
    if whole is None:
        raise ShapeError(f"a map of {n_targets} targets needs the maps of its blocks; there is none.")
    return whole


def add_block(whole: RidgeMap | None, n_targets: int, block: slice, part: RidgeMap) -> RidgeMap:
    """Copy the map of a block into the map of all targets, which is allocated at the first block, and return that."""
    own = {name: value for name in PER_TARGET if (value := getattr(part, name)) is not None}
    if whole is None:
        if len(part.alpha) == n_targets:
            return part
        whole = replace(part, **{name: np.empty((*of.shape[:-1], n_targets), of.dtype) for name, of in own.items()})
    for name, value in own.items():
        getattr(whole, name)[..., block] = value
    return whole


def varying_alphas(fitted: RidgeMap) -> Float64:
    """Return the penalties of targets that vary and were chosen on held-out trials; the others had no choice."""
    return np.empty(0) if fitted.cv_score is None else fitted.alpha[fitted.cv_score.any(axis=0)]
