"""Exact ridge regression from many voxels to very many targets, with a penalty for each target.

`factor` calculates everything that needs no targets. `fit_block` fits a block of targets with it; the result has the
same bytes whatever other blocks are fitted. Targets belong to stimuli and betas to trials: repeated trials share one
row of targets. Targets may be on disk (a memory map, a zarr array): a block of columns is read when it is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from reseen.cores import map_parallel, one_thread
from reseen.errors import DataError, ShapeError
from reseen.ridge.device import Array, Float32, Float64, Integers
from reseen.ridge.factored import Factored, ScoreOn, Scores, factor, score
from reseen.ridge.folds import grid_ends, warn_at_edge
from reseen.ridge.gram import check_finite
from reseen.ridge.maps import RidgeMap

BLOCK_VALUES = 2**22  # numbers in one block of targets or weights, 16 MiB; a fit needs about 12 times as much
EVEN_COUNT, LEAST_TARGETS = 4, 256  # the number of blocks is a multiple of 4, for the cores; narrow products are slow
# arrays of a map with targets as last axis
PER_TARGET = ("weights", "intercept", "alpha", "cv_score", "noise_share", "residual_variance")
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
        Shape ``(n_trials, n_voxels)``. `fit_ridge` standardises each voxel; its mean and scale are part of the map.
    targets
        Shape ``(n_stimuli, n_targets)``: an array, or a table whose columns can be sliced. It is read block by block.
    target_row
        Shape ``(n_trials,)``: the row of ``targets`` that each trial belongs to. Left out: the i-th row for trial i.
    groups
        Shape ``(n_trials,)``: trials of one group are in the same fold. Left out: folds are consecutive rows, so that
        repetitions of a stimulus can be in the training and in the held-out rows (a leak).
    alphas
        Grid of penalties. Left out: `default_alphas`.
    n_folds
        Number of folds. The penalty has the least held-out squared error; of equal ones, the larger is chosen.
    share_alpha
        Choose one penalty for all targets, by their summed squared error. It is more stable with a few dozen stimuli.
        Targets should then have the same unit.
    score_on
        ``"trials"``: the squared error of held-out trials. ``"stimuli"``: the squared error of predictions averaged
        over the held-out repetitions of a stimulus. Averages contain less noise and choose smaller penalties, as a map
        that predicts from averages needs.
    intercept
        False fits no mean of the targets and does not centre within folds, like the script that Takagi and Nishimoto
        released.
    seed
        Determines which groups share a fold.
    device
        ``"numpy"``, or the name of a torch device (``"cpu"``, ``"cuda"``).

    Raises
    ------
    ShapeError
        If arrays do not fit each other, or if there are too few trials to fit or groups to hold out.
    DataError
        If a number is not finite, a penalty is not positive, no voxel varies, or the device does not exist.

    Warns
    -----
    EdgeWarning
        If many targets choose an edge of the grid beyond which the error may be smaller.

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
    """Return targets unchanged if their columns can be sliced, else as an array; both have two dimensions."""
    table = targets if hasattr(targets, "shape") else np.asarray(targets)
    if len(table.shape) != 2 or not table.shape[1]:
        raise ShapeError(
            f"targets must have shape (n_stimuli, n_targets), with at least one target; they have shape {table.shape}.",
            where="targets",
            expected=("n_stimuli", "n_targets"),
            found=tuple(table.shape),
        )
    return table


def target_blocks(factored: Factored, n_targets: int) -> list[slice]:
    """Return blocks of targets of equal width; they depend only on the shape of the problem."""
    most = max(1, BLOCK_VALUES // max(len(factored.used), len(factored.voxel_mean)))
    multiple = EVEN_COUNT if n_targets >= EVEN_COUNT * LEAST_TARGETS else 1
    count = math.ceil(n_targets / (most * multiple)) * multiple
    width = math.ceil(n_targets / count)
    return [slice(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]


def fit_blocks(
    factored: Factored, targets: Targets, *, share_alpha: bool = False, use: Callable[[RidgeMap], Any] | None = None
) -> Iterator[tuple[slice, Any]]:
    """Fit blocks in parallel; yield the columns of each block and its map, or the result of ``use`` for the map.

    A few blocks are fitted in advance. With ``share_alpha`` targets are read twice: to choose the penalty, and to fit.
    If ``use`` returns predictions, no weights are kept, and memory does not grow with the number of targets. After the
    last block, an EdgeWarning is issued if many targets chose an edge of the grid.
    """
    table = as_table(targets)
    blocks = target_blocks(factored, table.shape[1])
    alpha, chosen = None, []
    scores: list[Scores | None] = [None] * len(blocks)
    if share_alpha:
        columns = (table[:, block] for block in blocks)
        scores = list(map_parallel(partial(score_block, factored), columns, on_cores=factored.device.is_numpy))
        alpha = shared_alpha(factored, scores)

    def fit(task: tuple[Any, Scores | None]) -> tuple[Float64, Any]:
        block_targets, block_scores = task
        fitted = fit_block(factored, block_targets, scores=block_scores, alpha=alpha)
        return varying_alphas(fitted), fitted if use is None else use(fitted)

    tasks = ((table[:, block], known) for block, known in zip(blocks, scores, strict=True))
    results = map_parallel(fit, tasks, on_cores=factored.device.is_numpy, item_bytes=12 * 4 * BLOCK_VALUES)
    for block, (alphas, result) in zip(blocks, results, strict=True):
        chosen.append(alphas)
        yield block, result
    warn_at_edge(np.concatenate(chosen), factored.alphas, grid_ends(factored.all_rows.eigenvalues))


def score_block(factored: Factored, targets: ArrayLike) -> Scores:
    """Score a block of targets, ``(n_stimuli, n_block)``, at every penalty; the first step of `fit_block`."""
    with one_thread():
        return score(factored, _centred(factored, targets)[0])


def shared_alpha(factored: Factored, scores: Iterable[Any]) -> float:
    """Return the penalty with the least squared error, summed over the targets of all blocks."""
    error = np.zeros(len(factored.alphas))
    for block in scores:
        error += block.error.sum(axis=1)
    return float(factored.alphas[best_alphas(error)])


def best_alphas(error: Float64) -> Integers:
    """Return the index of the least error along the first axis; of equal errors, that of the larger penalty."""
    return np.asarray(len(error) - 1 - error[::-1].argmin(axis=0))


def fit_block(
    factored: Factored, targets: ArrayLike, *, scores: Scores | None = None, alpha: float | None = None
) -> RidgeMap:
    """Fit one block of targets; the result has the same bytes for any number of blocks and cores.

    Parameters
    ----------
    factored
        The problem without targets.
    targets
        Shape ``(n_stimuli, n_block)``: the columns of one block of `target_blocks`.
    scores
        Result of `score_block` for these targets, if it is known.
    alpha
        Penalty of the grid for all targets, instead of the best of each target.

    Raises
    ------
    ShapeError
        If targets have too few rows.
    DataError
        If a number is not finite, or alpha is not on the grid.
    """
    with one_thread():
        centred, mean = _centred(factored, targets)
        scores = scores or score(factored, centred)
        best = best_alphas(scores.error)
        if alpha is not None:
            if not np.isclose(factored.alphas, alpha).any():
                raise DataError(
                    f"alpha {alpha:g} is not on this problem's grid, {factored.alphas}.",
                    where="alpha",
                    expected=factored.alphas.tolist(),
                    found=alpha,
                )
            best[:] = np.abs(factored.alphas - alpha).argmin()
        chosen, train, device = factored.alphas[best], factored.all_rows, factored.device
        # W = V (L + alpha)^-1 V' X' Y in the eigenvectors V and eigenvalues L of X'X; (rank, n_block) before V
        component = (train.moments @ centred) * train.shrinkage(device, chosen)
        varies = scores.total > 0
        cv_score = np.where(varies, 1.0 - scores.error / np.where(varies, scores.total, 1.0), 0.0)
        return RidgeMap(
            weights=device.get(train.rotation @ component),
            intercept=mean.astype(np.float32),
            voxel_mean=factored.voxel_mean,
            voxel_scale=factored.voxel_scale,
            alpha=chosen,
            alphas=factored.alphas,
            cv_score=cv_score if factored.folds else None,
            noise_share=scores.noise_share(factored, best),
            residual_variance=scores.residual_variance(factored, best),
        )


def predict_held_out(factored: Factored, targets: ArrayLike, fitted: RidgeMap) -> tuple[Float32, Integers]:
    """Predict every stimulus from maps fitted on the other folds, at the penalties of the map of all rows.

    Parameters
    ----------
    factored
        A problem with folds. Groups must keep all trials of a stimulus in one fold.
    targets
        Shape ``(n_stimuli, n_block)``: the targets of the fitted map.
    fitted
        The map of all rows.

    Returns
    -------
    predicted
        Shape ``(n_stimuli, n_block)``: the mean prediction over the trials of each stimulus; NaN without trials.
    fold
        Shape ``(n_stimuli,)``: the fold that held each stimulus out; -1 without trials.

    Raises
    ------
    ShapeError
        If the problem has no folds.
    """
    if not factored.folds:
        raise ShapeError("held-out predictions need a problem that is factored with several folds.", where="factored")
    predicted = np.full(np.shape(targets), np.nan, dtype=np.float32)
    fold_of_stimulus = np.full(len(predicted), -1)
    with one_thread():
        centred, mean = _centred(factored, targets)
        for k, fold in enumerate(factored.folds):
            shrunken = (fold.moments @ centred[fold.seen]) * fold.shrinkage(factored.device, fitted.alpha)
            held_out = fold.between @ shrunken / fold.root + (fold.weight @ centred) * factored.intercept
            predicted[factored.used[fold.held]] = factored.device.get(held_out) + mean.astype(np.float32)
            fold_of_stimulus[factored.used[fold.held]] = k
    return predicted, fold_of_stimulus


def _centred(factored: Factored, targets: ArrayLike) -> tuple[Array, Float64]:
    """Return checked targets of stimuli that have trials, less their mean over trials, and that mean."""
    block: Float32 = np.asarray(targets, dtype=np.float32)
    n_rows = int(factored.used.max()) + 1
    if block.ndim != 2 or len(block) < n_rows:
        raise ShapeError(
            f"targets have shape {block.shape}; this problem needs at least {n_rows} rows, (n_stimuli, n_targets).",
            where="targets",
            expected=(n_rows, "n_targets"),
            found=block.shape,
        )
    check_finite("targets", block)
    block = block[factored.used]
    mean = np.zeros(block.shape[1])
    if factored.intercept:
        mean = factored.proportion @ block.astype(np.float64)
        constant = block.min(axis=0) == block.max(axis=0)
        mean[constant] = block[0, constant]  # exactly, so that a constant target is zero after centring
    return factored.device.put(block - mean.astype(np.float32)), mean


def assemble(n_targets: int, blocks: Iterable[tuple[slice, RidgeMap]]) -> RidgeMap:
    """Join the maps of blocks, in any order; at least one is needed."""
    joined = None
    for block, part in blocks:
        joined = add_block(joined, n_targets, block, part)
    if joined is None:
        raise ShapeError(f"a map of {n_targets} targets needs the maps of its blocks; there is none.", where="blocks")
    return joined


def add_block(joined: RidgeMap | None, n_targets: int, block: slice, part: RidgeMap) -> RidgeMap:
    """Copy the map of a block into the map of all targets and return the latter; the first block allocates it."""
    arrays = {name: array for name, array in part.arrays.items() if name in PER_TARGET}
    if joined is None:
        if len(part.alpha) == n_targets:
            return part
        empty = {name: np.empty((*array.shape[:-1], n_targets), array.dtype) for name, array in arrays.items()}
        joined = replace(part, **empty)
    for name, array in arrays.items():
        getattr(joined, name)[..., block] = array
    return joined


def varying_alphas(fitted: RidgeMap) -> Float64:
    """Return the penalties of the targets that vary; empty if penalties were not chosen on held-out trials."""
    return np.empty(0) if fitted.cv_score is None else fitted.alpha[fitted.cv_score.any(axis=0)]
