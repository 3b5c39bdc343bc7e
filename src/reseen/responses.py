"""Scores of predicted responses, target by target, over the rows that were held out. Arrays in, arrays out.

``true`` and ``predicted`` have shape ``(n, n_targets)``. A joint model's prediction comes in parts, ``(n_parts, n,
n_targets)``: what each feature space says, which add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reseen.statistics import ratio

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]

BLOCK_TARGETS = 2048


def correlation(true: Float32, predicted: Float32) -> Floats:
    """Correlate column by column, ``(n_targets,)``; NaN where the truth does not vary, 0 where the prediction does not.

    See Also
    --------
    split_correlation : how much of it each part of the prediction brings.
    """
    r: Floats = split_correlation(true, predicted[None])[0]
    return r


def split_correlation(true: Float32, parts: Float32) -> Floats:
    """Split each target's correlation between the parts of its prediction, ``(n_parts, n_targets)``.

    The product measure: ``r_k = cov(true, part_k) / (sd(true) * sd(sum of parts))``. The shares add up to the
    correlation of the whole; one may be negative. It is himalaya's ``correlation_score_split``, which fits the paper's
    wording ("splitting accuracy values from the combined model").
    """
    a = true - true.mean(axis=0, dtype=np.float64)
    whole = _centred(parts.sum(axis=0))
    varies = (a**2).sum(axis=0) > 0
    below = np.sqrt((a**2).sum(axis=0) * (whole**2).sum(axis=0))
    shares = np.stack([(a * part).sum(axis=0) for part in parts]) / np.where(below > 0, below, 1.0)
    return np.where(varies, np.where(below > 0, shares, 0.0), np.nan)


def r_squared(true: Float32, predicted: Float32) -> Floats:
    """Give 1 - squared error / squared distance from the rows' mean, ``(n_targets,)``; NaN for constant targets."""
    missed = ((true - predicted.astype(np.float64)) ** 2).sum(axis=0)
    spread = ((true - true.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
    return 1.0 - ratio(missed, spread)


@dataclass(frozen=True)
class Replicates:
    """Hold means over groups of targets for each resampling of the rows.

    Parameters
    ----------
    r, r2
        Shape ``(n_bootstrap, n_groups)``.
    split
        Shape ``(n_parts, n_bootstrap, n_groups)``: see `split_correlation`.
    each_r
        Shape ``(n_bootstrap, n_targets)``: correlations of the targets themselves, -1 where a target does not vary;
        ``None`` where they were not asked for.
    """

    r: Floats
    r2: Floats
    split: Floats
    each_r: Float32 | None = None


def bootstrap_responses(
    true: Float32, parts: Float32, weights: Floats, groups: NDArray[np.bool_], *, each: bool = False
) -> Replicates:
    """Resample the rows, and average each resampling's scores over groups of targets.

    Parameters
    ----------
    true
        Shape ``(n, n_targets)``.
    parts
        Shape ``(n_parts, n, n_targets)``, what each feature space says, the intercept included.
    weights
        Shape ``(n_bootstrap, n)``: see `reseen.statistics.bootstrap_weights`.
    groups
        Shape ``(n_groups, n_targets)``; they may overlap. Targets that do not vary are left out.
    each
        Also keep the correlation of each target.
    """
    share = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    spread = true.std(axis=0, dtype=np.float64)
    varies = spread > 0
    totals = np.zeros((2 + len(parts), len(weights), len(groups)))
    each_r = np.full((len(weights), true.shape[1]), -1.0, dtype=np.float32) if each else None
    for start in range(0, true.shape[1], BLOCK_TARGETS):
        block = np.flatnonzero(varies[start : start + BLOCK_TARGETS]) + start
        scale = spread[block].astype(np.float32)
        y = (true[:, block] - true[:, block].mean(axis=0)) / scale
        x = (parts[:, :, block] - parts[:, :, block].mean(axis=1, keepdims=True)) / scale
        offset = (parts[:, :, block].sum(axis=0).mean(axis=0) - true[:, block].mean(axis=0)) / scale
        scores = _resampled(y, x, offset, share)
        totals += scores @ groups[:, block].T.astype(np.float32)
        if each_r is not None:
            each_r[:, block] = scores[0]
    size = groups[:, varies].sum(axis=1).astype(np.float64)
    r, r2, *split = ratio(totals, np.broadcast_to(size, totals.shape))
    return Replicates(r, r2, np.stack(split), each_r)


def _resampled(y: Float32, x: Float32, offset: Float32, share: Float32) -> Float32:
    """Give r, R² and the split of r for each resampling, ``(2 + n_parts, n_bootstrap, n_block)``.

    ``y`` and ``x`` have mean 0 over the rows; ``offset`` is how far the mean prediction is from the mean truth.
    """
    whole = x.sum(axis=0)
    mean_y, mean_x, square_y, square_x = share @ y, [share @ part for part in x], share @ y**2, share @ whole**2
    product = [share @ (y * part) for part in x]
    all_x, all_product = sum(mean_x), sum(product)
    below = np.sqrt(np.maximum((square_y - mean_y**2) * (square_x - all_x**2), 0.0))
    defined = below > 1e-6
    below[~defined] = 1.0
    split = [np.where(defined, (p - mean_y * m) / below, 0.0) for p, m in zip(product, mean_x, strict=True)]
    missed = square_y - 2 * all_product + square_x + offset**2 + 2 * offset * (all_x - mean_y)
    r2 = 1.0 - missed / np.maximum(square_y - mean_y**2, 1e-6)
    return np.stack([sum(split), r2, *split])


def _centred(columns: Float32) -> Floats:
    centred: Floats = columns - columns.mean(axis=0, dtype=np.float64)
    return centred
