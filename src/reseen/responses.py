"""Scores of predicted responses for each target, over held-out rows, from arrays alone.

``true`` and ``parts`` are deviations from the mean of the training rows. They have the shapes ``(n, n_targets)`` and
``(n_parts, n, n_targets)``. A joint model has one part for each feature space; its prediction is the sum of the parts.

One test set (``centre=True``)
    ``r = cov(true, predicted) / (sd(true) * sd(predicted))``, Pearson's r over the test rows.

Folds (``centre=False``)
    ``r = sum(true * scaled) / sqrt(sum(true ** 2) * sum(scaled ** 2))``, without subtracting a mean, where ``scaled``
    is the prediction of each fold divided by its own root mean square (`reseen.kernels.KernelFit.scale`).

    Pearson's r over all rows is biased: without information, a model predicts its training mean. With folds
    this mean is low exactly where the held-out rows are high, and r is far below 0.

    The scale is needed because folds choose their penalties separately. A fold whose training responses resemble the
    features by chance chooses a small penalty and predicts large deviations; its held-out responses deviate in the
    other direction. Pooled without a common scale, such folds dominate, and r stays below 0.

R² is ``1 - sum((true - predicted) ** 2) / sum(true ** 2)`` in both cases; the training mean has an R² of 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.statistics import ratio

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
F = TypeVar("F", np.float32, np.float64)

BLOCK_TARGETS = 2048


def correlation(true: Float32, predicted: Float32) -> Floats:
    """Compute Pearson's r of each column, ``(n_targets,)``; NaN for constant true values, 0 for constant predictions.

    See Also
    --------
    split_correlation : the contribution of each part of the prediction to r.
    """
    r: Floats = split_correlation(true, predicted[None])[0]
    return r


def split_correlation(true: Float32, parts: Float32, *, centre: bool = True) -> Floats:
    """Divide the correlation of each target between the parts of its prediction, ``(n_parts, n_targets)``.

    The product measure: ``r_k = cov(true, part_k) / (sd(true) * sd(sum of parts))``. The parts add up to the
    correlation of the complete prediction; one may be negative. It is himalaya's ``correlation_score_split``, which
    fits the paper's wording ("splitting accuracy values from the combined model").

    Parameters
    ----------
    true, parts
        Shapes ``(n, n_targets)`` and ``(n_parts, n, n_targets)``.
    centre
        Subtract the mean over the rows first. False for folds, whose rows are deviations from training means already.
    """
    y = _centred(true.astype(np.float64), centre)
    predicted = _centred(parts.sum(axis=0).astype(np.float64), centre)
    norms = np.sqrt((y**2).sum(axis=0) * (predicted**2).sum(axis=0))
    split = np.stack([(y * part).sum(axis=0) for part in parts]) / np.where(norms > 0, norms, 1.0)
    return np.where(varying(true), np.where(norms > 0, split, 0.0), np.nan)


def r_squared(true: Float32, predicted: Float32) -> Floats:
    """Compute ``1 - sum((true - predicted)**2) / sum(true**2)``, ``(n_targets,)``; NaN for constant targets.

    Both are deviations from the mean of the training rows, so that this mean has an R² of 0.
    """
    error = ((true - predicted.astype(np.float64)) ** 2).sum(axis=0)
    total = np.where(varying(true), (true.astype(np.float64) ** 2).sum(axis=0), 0.0)
    return 1.0 - ratio(error, total)


def varying(true: Float32) -> NDArray[np.bool_]:
    """Return which targets vary over the rows, ``(n_targets,)``."""
    varies: NDArray[np.bool_] = np.ptp(true, axis=0) > 0
    return varies


@dataclass(frozen=True)
class Replicates:
    """Scores of each resampling of the rows: means over groups of targets, and each target's correlation.

    Parameters
    ----------
    r, r2
        Shape ``(n_bootstrap, n_groups)``.
    split
        Shape ``(n_parts, n_bootstrap, n_groups)``: see `split_correlation`.
    each_r
        Shape ``(n_bootstrap, n_targets)``: correlation of each target, -1 for a constant target.
    """

    r: Floats
    r2: Floats
    split: Floats
    each_r: Float32


def bootstrap_responses(
    true: Float32, parts: Float32, scaled: Float32, weights: Floats, groups: NDArray[np.bool_], *, centre: bool
) -> Replicates:
    """Resample the rows, compute `split_correlation` and `r_squared` of each resampling, and average over groups.

    Parameters
    ----------
    true
        Shape ``(n, n_targets)``.
    parts
        Shape ``(n_parts, n, n_targets)``: predicted deviations, from which R² is computed.
    scaled
        The same deviations on the scale on which r is computed; with one test set ``parts`` itself.
    weights
        Shape ``(n_bootstrap, n)``: see `reseen.statistics.bootstrap_weights`.
    groups
        Shape ``(n_groups, n_targets)``, bool; groups may overlap. Constant targets are left out.
    centre
        See `split_correlation`.
    """
    weight = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)  # (n_bootstrap, n), rows sum to 1
    varies = varying(true)
    totals = np.zeros((2 + len(parts), len(weights), len(groups)))
    each_r = np.full((len(weights), true.shape[1]), -1.0, dtype=np.float32)
    for start in range(0, true.shape[1], BLOCK_TARGETS):
        block = np.flatnonzero(varies[start : start + BLOCK_TARGETS]) + start
        y, x = _centred(true[:, block], centre), _centred(scaled[:, :, block], centre, axis=1)
        split = _split(y / _rms(y), x / _rms(x.sum(axis=0)), weight, centre=centre)
        each_r[:, block] = split.sum(axis=0)
        spread = _rms(true[:, block])
        residual = (true[:, block] - parts[:, :, block].sum(axis=0)) / spread
        r2 = 1.0 - (weight @ residual**2) / np.maximum(weight @ (true[:, block] / spread) ** 2, 1e-6)
        totals += np.stack([each_r[:, block], r2, *split]) @ groups[:, block].T.astype(np.float32)
    size = groups[:, varies].sum(axis=1).astype(np.float64)
    means = ratio(totals, np.broadcast_to(size, totals.shape))
    return Replicates(means[0], means[1], means[2:], each_r)


def _split(y: Float32, x: Float32, weight: Float32, *, centre: bool) -> Float32:
    """Compute the parts of r for each resampling, ``(n_parts, n_bootstrap, n_block)``.

    ``y`` and the sum of ``x`` have root mean square 1. Moments of all resamplings are products with ``weight``:
    ``cov = mean(y x) - mean(y) mean(x)``.
    """
    square_y, square_x = weight @ y**2, weight @ x.sum(axis=0) ** 2
    product = np.stack([weight @ (y * part) for part in x])
    if centre:
        mean_y, mean_x = weight @ y, np.stack([weight @ part for part in x])
        product -= mean_y * mean_x
        square_y -= mean_y**2
        square_x -= mean_x.sum(axis=0) ** 2
    norms = np.sqrt(np.maximum(square_y * square_x, 0.0))
    split: Float32 = np.where(norms > 1e-6, product / np.maximum(norms, 1e-6), 0.0)
    return split


def _rms(columns: Float32) -> Float32:
    """Compute the root mean square of each column; 1 for a column of zeros."""
    size = np.sqrt(np.mean(columns.astype(np.float64) ** 2, axis=0))
    return np.where(size > 0, size, 1.0).astype(np.float32)


def _centred(columns: NDArray[F], centre: bool, axis: int = 0) -> NDArray[F]:
    """Subtract the mean over the rows, or return the columns unchanged."""
    if not centre:
        return columns
    mean = columns.mean(axis=axis, keepdims=True, dtype=np.float64)
    centred: NDArray[F] = columns - mean.astype(columns.dtype)
    return centred
