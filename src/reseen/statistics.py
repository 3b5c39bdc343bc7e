"""How sure a number is: nulls, intervals over stimuli, p-values, false discoveries. Arrays in, arrays out.

What is resampled or permuted is always whole stimuli, never rows or pairs: those are not independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Null:
    """Hold what a score is when pictures meet the wrong truths.

    Parameters
    ----------
    mean, sd
        Mean and standard deviation of the score over wrong pairings.
    low, high
        The middle 95 % of the wrong pairings.
    p
        One-sided: ``(1 + wrong pairings that score at least as high) / (1 + wrong pairings)``.
    """

    mean: float
    sd: float
    low: float
    high: float
    p: float


def derangements(labels: ArrayLike, n_derangements: int, *, seed: int) -> NDArray[np.int64]:
    """Draw wrong pairings in which every stimulus gets another stimulus as its truth.

    Stimuli are permuted, not items: all repetitions of a picture get the same wrong truth.

    Returns
    -------
    Shape ``(n_derangements, n)``: for each item the row of its wrong truth.

    Raises
    ------
    ShapeError
        If there is only one stimulus.
    """
    distinct, first, stimulus = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    if len(distinct) < 2:
        raise ShapeError("pairing pictures with wrong truths needs at least two stimuli; found one.")
    rng = np.random.default_rng([seed, 1])
    rows = np.empty((n_derangements, len(stimulus)), dtype=np.int64)
    for draw in range(n_derangements):
        order = rng.permutation(len(distinct))
        while np.any(order == np.arange(len(distinct))):  # about e tries, whatever the number of stimuli
            order = rng.permutation(len(distinct))
        rows[draw] = first[order[stimulus]]
    return rows


def repaired_scores(paired: Floats, rows: NDArray[np.int64]) -> Floats:
    """Score the same pictures against wrong truths.

    Parameters
    ----------
    paired
        Shape ``(n, n)``: the score of pairing original ``i`` with reconstruction ``j``.
    rows
        Shape ``(n_derangements, n)``: see `derangements`.

    Returns
    -------
    Shape ``(n_derangements,)``: mean over items; pairings without a score (NaN) are left out.
    """
    return nan_mean(paired[rows, np.arange(paired.shape[1])])


def permutation_null(observed: float, wrong: Floats) -> Null:
    """Sum up what wrong pairings score, ``(n_derangements,)``, beside the observed score."""
    known = wrong[np.isfinite(wrong)]
    if not len(known) or not np.isfinite(observed):
        return Null(np.nan, np.nan, np.nan, np.nan, np.nan)
    low, high = interval(known)
    p = (1 + np.count_nonzero(known >= observed - 1e-12)) / (1 + len(known))
    return Null(float(known.mean()), float(known.std()), low, high, float(p))


def null_sd(n_items: int) -> float:
    """Give the standard deviation of two-way identification at chance, ``sqrt(1 / (12 n))``.

    The pairs of one item share its right answer: each item's accuracy is uniform on 0...1, of variance 1/12. Counting
    the ``n (n - 1)`` pairs as independent would claim many times the certainty.
    """
    return float(np.sqrt(1 / (12 * n_items)))


def bootstrap_weights(labels: ArrayLike, n_bootstrap: int, *, seed: int) -> Floats:
    """Draw stimuli with replacement; an item's weight is how often its stimulus was drawn, ``(n_bootstrap, n)``."""
    distinct, stimulus = np.unique(np.asarray(labels), return_inverse=True)
    rng = np.random.default_rng([seed, 2])
    n_stimuli = len(distinct)
    drawn = rng.multinomial(n_stimuli, np.full(n_stimuli, 1 / n_stimuli), size=n_bootstrap)
    return drawn[:, stimulus].astype(np.float64)


def bootstrap_mean(values: Floats, weights: Floats) -> Floats:
    """Give the weighted mean of items ``(n,)`` for each resampling ``(n_bootstrap, n)``; items of NaN are left out."""
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    return ratio(weights[:, known] @ values[known], total)


def interval(replicates: Floats, *, coverage: float = 0.95) -> tuple[float, float]:
    """Give the middle ``coverage`` of resampled scores; NaN twice where none is known."""
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def gap_closed(value: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Floats:
    """Give the share of the way from floor to ceiling; NaN where the ceiling is not above the floor."""
    value, floor, ceiling = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (value, floor, ceiling)))
    return ratio(value - floor, ceiling - floor)


def nan_mean(values: Floats) -> Floats:
    """Average over the last axis what is known, without a warning where nothing is."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide where the divisor is above 0; NaN elsewhere."""
    defined = below > 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)
