"""Blocks of targets: the unit of work of a factored ridge problem.

A block's map is the same bytes whether it is fitted alone or among others, here or on another worker of the same kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError
from reseen.ridge.cores import one_thread
from reseen.ridge.device import Array, Float32, Float64, Integers
from reseen.ridge.factored import Factored
from reseen.ridge.gram import check_finite
from reseen.ridge.heldout import ByPrediction
from reseen.ridge.maps import RidgeMap

BLOCK_VALUES = 2**22  # numbers in one block of targets or weights, 16 MiB
BLOCK_BYTES = 12 * 4 * BLOCK_VALUES  # what fitting a block needs, about
EVEN_COUNT = 4  # so that the blocks can be shared among two or four cores
LEAST_TARGETS = 256  # a product of fewer columns is slow


@dataclass(frozen=True)
class BlockScores:
    """Errors of held-out predictions of a block of targets.

    Parameters
    ----------
    error
        Shape ``(n_alphas, n_targets)``: squared error over all held-out rows; 0 for a target that does not vary.
    total
        Shape ``(n_targets,)``: squared distance from the training mean of the fold; 0 for a target that does not vary.
    """

    error: Float64
    total: Float64


def target_blocks(factored: Factored, n_targets: int) -> list[slice]:
    """Cut targets into blocks of one size, by the shape of the problem alone: a block is read, fitted and let go."""
    most = max(1, BLOCK_VALUES // max(len(factored.used), len(factored.voxel_mean)))
    count = -(-n_targets // most)
    if (even := -(-count // EVEN_COUNT) * EVEN_COUNT) * LEAST_TARGETS <= n_targets:
        count = even
    width = -(-n_targets // count)
    return [slice(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]


def fit_block(
    factored: Factored, targets: ArrayLike, *, scores: BlockScores | None = None, alpha: float | None = None
) -> RidgeMap:
    """Fit one block of targets; the same bytes whatever else is fitted, where, and on how many cores.

    The bytes are those of one library of matrix products, which calculates with one thread here.

    Parameters
    ----------
    targets
        Shape ``(n_stimuli, n_block)``: ``targets[:, block]``, a block of `target_blocks`.
    scores
        What `score_block` gave for them; left out: calculated.
    alpha
        One penalty of the grid for the whole block, as `shared_alpha` gives it; left out: the best for each target.

    Raises
    ------
    ShapeError
        If targets have too few rows.
    DataError
        If a number is not finite, or alpha is not of the grid.
    """
    with one_thread():
        return _fit(factored, *_centred(factored, targets), scores, alpha)


def _fit(
    factored: Factored, centred: Array, mean: Float64, scores: BlockScores | None, alpha: float | None
) -> RidgeMap:
    scores = scores or _score(factored, centred)
    best = best_alphas(scores.error) if alpha is None else np.full(len(mean), _index(factored.alphas, alpha))
    chosen, varies = factored.alphas[best], scores.total > 0
    whole, device = factored.whole, factored.device
    component = whole.moments @ centred
    component *= device.put((1.0 / (whole.eigenvalues[:, None] + chosen)).astype(np.float32))
    score = np.where(varies, 1.0 - scores.error / np.where(varies, scores.total, 1.0), 0.0)
    return RidgeMap(
        weights=device.get(whole.rotation @ component),
        intercept=mean.astype(np.float32),
        voxel_mean=factored.voxel_mean,
        voxel_scale=factored.voxel_scale,
        alpha=chosen,
        alphas=factored.alphas,
        cv_score=None if factored.held_out is None else score,
        noise_share=_noise_share(factored, centred, best),
    )


def predict_held_out(factored: Factored, targets: ArrayLike, fitted: RidgeMap) -> tuple[Float32, Integers]:
    """Predict every stimulus by maps that were fitted on the other folds, at the penalties of the whole map.

    Parameters
    ----------
    factored
        With ``form="prediction"`` and groups that keep a stimulus in one fold.
    targets, fitted
        Shape ``(n_stimuli, n_block)``, and what `fit_block` made of them.

    Returns
    -------
    predicted
        Shape ``(n_stimuli, n_block)``: the mean over a stimulus's trials; NaN for stimuli without any.
    fold
        Shape ``(n_stimuli,)``: the fold that held each stimulus out, -1 for stimuli without trials.

    Raises
    ------
    DataError
        If the problem was factored in another form, or nothing was held out.
    """
    if not isinstance(factored.held_out, ByPrediction):
        raise DataError(
            "held-out predictions need a problem that is factored with form='prediction' and several folds."
        )
    with one_thread():
        centred, mean = _centred(factored, targets)
        best = np.searchsorted(factored.alphas, fitted.alpha)
        found, fold_of_used = factored.held_out.predictions(centred, best)
    predicted = np.full(np.shape(targets), np.nan, dtype=np.float32)
    fold = np.full(len(predicted), -1)
    predicted[factored.used] = factored.device.get(found) + mean.astype(np.float32)
    fold[factored.used] = fold_of_used
    return predicted, fold


def score_block(factored: Factored, targets: ArrayLike) -> BlockScores:
    """Score a block of targets at every penalty, ``(n_stimuli, n_block)``; the first half of `fit_block`."""
    with one_thread():
        return _score(factored, _centred(factored, targets)[0])


def shared_alpha(factored: Factored, scores: Iterable[BlockScores]) -> float:
    """Return the one penalty with the least squared error summed over all targets of all blocks, in order."""
    error = np.zeros(len(factored.alphas))
    for block in scores:
        error += block.error.sum(axis=1)
    return float(factored.alphas[best_alphas(error)])


def best_alphas(error: Float64) -> Integers:
    """Return the index of the least error along the first axis; the larger penalty wins a tie."""
    return np.asarray(len(error) - 1 - error[::-1].argmin(axis=0))


def _centred(factored: Factored, targets: ArrayLike) -> tuple[Array, Float64]:
    """Return checked targets of stimuli that have trials, less their mean over trials, and that mean."""
    block: NDArray[np.float32] = np.asarray(targets, dtype=np.float32)
    if block.ndim != 2 or len(block) <= factored.used.max():
        raise ShapeError(
            f"targets have shape {block.shape}; this problem needs (n > {factored.used.max()}, n_targets)."
        )
    check_finite("targets", block)
    block = block[factored.used]
    mean = np.zeros(block.shape[1])
    if factored.intercept:
        mean = factored.share @ block.astype(np.float64)
        constant = block.min(axis=0) == block.max(axis=0)
        mean[constant] = block[0, constant]
    return factored.device.put(block - mean.astype(np.float32)), mean


def _score(factored: Factored, centred: Array) -> BlockScores:
    n_targets = centred.shape[1]
    if factored.held_out is None:
        return BlockScores(np.zeros((len(factored.alphas), n_targets)), np.zeros(n_targets))
    error = factored.held_out.errors(centred)
    total = factored.held_out.scoring.distance(factored.held_out.sides, centred)
    varies = factored.device.get(centred != centred[:1]).any(axis=0)
    return BlockScores(np.where(varies, error, 0.0), np.where(varies, total, 0.0))


def _noise_share(factored: Factored, centred: Array, best: Integers) -> Float64 | None:
    """Return the proportion of variance of held-out single-trial predictions within stimuli, at the best penalty."""
    if factored.held_out is None or not factored.n_repeated:
        return None
    between, within = factored.held_out.spreads(centred, best)
    spread = between + within
    share = within / factored.n_repeated / np.where(spread > 0, spread / factored.n_rows, 1.0)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _index(alphas: Float64, alpha: float) -> int:
    index = int(np.abs(alphas - alpha).argmin())
    if not np.isclose(alphas[index], alpha):
        raise DataError(f"alpha {alpha:g} is not of this problem's grid, {alphas[0]:g} to {alphas[-1]:g}.")
    return index
