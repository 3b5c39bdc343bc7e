"""Two-way identification from a matrix of correlations. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.metrics.scores import correlation_matrix
from reseen.statistics import ratio

Floats = NDArray[np.float64]
Direction = Literal["original", "reconstruction"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Ties = Literal["half", "lose"]

TIE = 1e-7
"""Correlations closer than this are a tie: float32 features differ by about as much by rounding."""
_TIE_VALUE: dict[Ties, float] = {"half": 0.5, "lose": 0.0}


def identification(
    true: NDArray[Any],
    predicted: NDArray[Any],
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
) -> Floats:
    """Score two-way identification of each item from features.

    Parameters
    ----------
    true, predicted
        Shape ``(n, d)``: features of originals and of reconstructions, row by row of the same items.
    direction, labels, ties
        See `identification_from_correlations`.

    Returns
    -------
    Shape ``(n,)``; the score is its mean, chance is one half.
    """
    r = correlation_matrix(true, predicted)
    return identification_from_correlations(r, direction=direction, labels=labels, ties=ties)


def identification_from_correlations(
    r: Floats, *, direction: Direction = "original", labels: ArrayLike | None = None, ties: Ties = "half"
) -> Floats:
    """Score two-way identification of each item from correlations.

    Parameters
    ----------
    r
        Shape ``(n, n)``: original ``i`` (row) with reconstruction ``j`` (column).
    direction
        Side that is held fixed. ``"original"``: the right reconstruction against each other reconstruction (Takagi
        & Nishimoto's ``identification.py``). ``"reconstruction"``: the right original against each other original
        (Brain-Diffuser, MindEye). They differ if some reconstructions are similar to all originals.
    labels
        Shape ``(n,)``: stimulus of each item. Pairs of one stimulus are dropped. Left out: all differ.
    ties
        Value of a distractor within `TIE` of the right one: ``"half"``, so that identical reconstructions score one
        half, or ``"lose"`` (0), as in the released code of the field.

    Returns
    -------
    Shape ``(n,)``: proportion of distractors that are less similar than the right one; NaN for an item without
    distractors.
    """
    wins, valid = pairwise_wins(r, direction=direction, labels=labels, ties=ties)
    n_distractors = valid.sum(axis=1)
    return np.where(n_distractors > 0, (wins * valid).sum(axis=1) / np.maximum(n_distractors, 1), np.nan)


def pairwise_wins(
    r: Floats, *, direction: Direction = "original", labels: ArrayLike | None = None, ties: Ties = "half"
) -> tuple[Floats, NDArray[np.bool_]]:
    """Compare the right match of each fixed item with each distractor; see `identification_from_correlations`.

    Returns
    -------
    ``wins (n, n)``: fixed item, distractor; 1, 0, or the value of a tie. ``valid (n, n)``: whether the pair counts.
    """
    fixed, known = _oriented(r, direction, labels)
    right = np.diagonal(fixed)[:, None]
    return _beats(right, fixed, ties), known[:, None] != known[None, :]


def pairing_accuracy(
    r: Floats,
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
    exchanged: bool = False,
) -> Floats:
    """Score identification for every pairing of an original with a reconstruction, right or wrong.

    The distractors of a pairing are the items of other stimuli than the two paired, so that the right answer is never
    among the wrong ones. The diagonal is `identification_from_correlations`.

    Parameters
    ----------
    r, direction, labels, ties
        See `identification_from_correlations`.
    exchanged
        Keep the right answer among the distractors, as it is in data with permuted ground truths. A permutation test
        needs this.

    Returns
    -------
    Shape ``(n, n)``: original, reconstruction; NaN where a pairing has no distractor.
    """
    fixed, known = _oriented(r, direction, labels)
    kin = kin_of(known)
    every = np.arange(len(fixed))
    accuracy = np.empty_like(fixed)
    for row, values in enumerate(fixed):
        accuracy[row] = row_accuracy(values, np.sort(values), row, every, kin, ties=ties, exchanged=exchanged)
    return accuracy if direction == "original" else accuracy.T


@dataclass(frozen=True)
class Kin:
    """Items of the same stimulus.

    Parameters
    ----------
    label
        Shape ``(n,)``: the stimulus of each item.
    size
        Shape ``(n,)``: number of items of its stimulus, itself included.
    members
        Shape ``(n, size.max())``: these items; the first ``size`` of a row count.
    """

    label: NDArray[Any]
    size: NDArray[np.int64]
    members: NDArray[np.int64]


def kin_of(labels: NDArray[Any]) -> Kin:
    """Return the items of each stimulus, from the stimulus of each item, ``(n,)``."""
    _, stimulus, count = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(stimulus, kind="stable")
    first = np.cumsum(count) - count
    places = first[stimulus][:, None] + np.arange(count.max(initial=0))
    return Kin(labels, count[stimulus], order[np.minimum(places, len(labels) - 1)])


def row_accuracy(
    values: Floats,
    ranked: Floats,
    fixed: int,
    candidates: NDArray[np.int64],
    kin: Kin,
    *,
    ties: Ties = "half",
    exchanged: bool = False,
) -> Floats:
    """Score identification where one item is paired with each of some candidates: see `pairing_accuracy`.

    Parameters
    ----------
    values, ranked
        Shape ``(n,)``: correlations of the fixed item with every item of the other side, and the same sorted.
    fixed
        Row of the fixed item.
    candidates
        Shape ``(n_candidates,)``: rows of the items that are its right match in turn.
    kin, ties, exchanged
        See `kin_of` and `pairing_accuracy`.

    Returns
    -------
    Shape ``(n_candidates,)``; NaN where a pairing has no distractor.
    """
    right = values[candidates]
    # count the items below and the ties by binary search, then subtract those of the two paired stimuli
    below = np.searchsorted(ranked, right - TIE, side="left")
    tied = np.searchsorted(ranked, right + TIE, side="right") - below
    beaten = below + _TIE_VALUE[ties] * tied
    apart = kin.label[candidates] != kin.label[fixed]
    for place in range(kin.members.shape[1]):
        own = kin.size[candidates] > place
        beaten = beaten - _beats(right, values[kin.members[candidates, place]], ties) * own
        if not exchanged and kin.size[fixed] > place:
            beaten = beaten - _beats(right, values[kin.members[fixed, place]], ties) * apart
    count = len(values) - kin.size[candidates] - (0 if exchanged else kin.size[fixed] * apart)
    return np.where(count > 0, beaten / np.maximum(count, 1), np.nan)


def bootstrap_identification(
    r: Floats,
    weights: Floats,
    *,
    direction: Direction = "original",
    labels: ArrayLike | None = None,
    ties: Ties = "half",
) -> Floats:
    """Score identification for each resampling of the images, as rows and as columns together.

    An image that a resampling contains twice is no distractor of itself: pairs of one stimulus are dropped.

    Parameters
    ----------
    r, direction, labels, ties
        See `identification_from_correlations`.
    weights
        Shape ``(n_bootstrap, n)``: see `bootstrap_weights`.

    Returns
    -------
    Shape ``(n_bootstrap,)``.
    """
    fixed, known = _oriented(r, direction, labels)
    return resampled_mean(resampled_accuracy(fixed, 0, weights, kin_of(known), ties), weights)


def resampled_accuracy(values: Floats, first: int, weights: Floats, kin: Kin, ties: Ties) -> Floats:
    """Score identification of some fixed items for each resampling of the others.

    Parameters
    ----------
    values
        Shape ``(n_fixed, n)``: correlations of the fixed items, from ``first`` on, with every item of the other side.
    first
        Row of the first of them.
    weights
        Shape ``(n_bootstrap, n)``.
    kin, ties
        See `kin_of` and `identification_from_correlations`.

    Returns
    -------
    Shape ``(n_bootstrap, n_fixed)``; NaN where the resampling has no distractor.
    """
    rows = np.arange(first, first + len(values))
    wins = _beats(values[np.arange(len(rows)), rows][:, None], values, ties)
    wins *= kin.label[rows][:, None] != kin.label[None, :]
    n_distractors = np.repeat(weights.sum(axis=1, keepdims=True), len(rows), axis=1)  # (n_bootstrap, n_fixed)
    for place in range(kin.members.shape[1]):
        n_distractors -= weights[:, kin.members[rows, place]] * (kin.size[rows] > place)
    return ratio(weights @ wins.T, n_distractors)


def resampled_mean(accuracy: Floats, weights: Floats) -> Floats:
    """Return the mean of accuracies ``(n_bootstrap, n)`` over items, weighted by their number in each resampling."""
    known = np.isfinite(accuracy)
    return ratio((weights * np.where(known, accuracy, 0.0)).sum(axis=1), (weights * known).sum(axis=1))


def _beats(candidate: Floats, distractor: Floats, ties: Ties) -> Floats:
    above = (distractor < candidate - TIE).astype(np.float64)
    if _TIE_VALUE[ties]:
        above += _TIE_VALUE[ties] * ((distractor <= candidate + TIE) - above)
    return above


def _oriented(r: Floats, direction: Direction, labels: ArrayLike | None) -> tuple[Floats, NDArray[Any]]:
    if r.ndim != 2 or r.shape[0] != r.shape[1]:
        message = f"identification needs one reconstruction for each original; found {r.shape}."
        raise ShapeError(message, where="r", expected=("n", "n"), found=r.shape)
    if direction not in DIRECTIONS:
        message = f"direction: expected 'original' or 'reconstruction'; found {direction!r}."
        raise ShapeError(message, where="direction", expected=DIRECTIONS, found=direction)
    known = np.arange(len(r)) if labels is None else np.asarray(labels)
    if known.shape != (len(r),):
        message = f"{len(r)} items need {len(r)} labels; found shape {known.shape}."
        raise ShapeError(message, where="labels", expected=(len(r),), found=known.shape)
    return (r if direction == "original" else r.T), known
