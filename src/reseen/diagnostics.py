"""Diagnostics: image-specific decoding, category-level decoding or retrieval. Arrays in, arrays out.

Items are fixed in turn, as in `reseen.metrics.pairwise_wins`; ties are broken by chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.metrics import TIE, correlation_matrix
from reseen.statistics import ratio

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROWS, _COLUMNS = 256, 4096  # block of the training features that is in float64 at a time
_PROJECTED = 64  # dimensions used for clustering
_SMALLEST = 1e-10
"""Directions with a smaller fraction of the largest variance are rounding errors, not part of a span."""


def n_way(beaten: ArrayLike, tied: ArrayLike, n_distractors: ArrayLike, n_choices: int) -> Floats:
    """Return the probability of identifying the right item among ``n_choices``: itself and random distractors.

    It is the exact mean over all sets of distractors without replacement (hypergeometric). Ties are divided among tied
    items: ``(C(b + t + 1, n) - C(b, n)) / ((t + 1) C(N, n - 1))`` for ``b`` beaten and ``t`` tied of
    ``N`` distractors.

    Parameters
    ----------
    beaten, tied, n_distractors
        Of one shape: number of distractors that lose to the right one, that tie with it, and of all distractors.
    n_choices
        Two or more.

    Returns
    -------
    The same shape; NaN where there are too few distractors. Chance is ``1 / n_choices``.
    """
    b, t, n = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (beaten, tied, n_distractors)))
    n_items = n + 1
    if (n_items <= n_choices).all():  # the only set is the complete one
        return np.where(n_items == n_choices, (b + t == n) / (t + 1), np.nan)

    def fraction_of_sets(among: Floats) -> Floats:
        """Return the fraction of sets of ``n_choices`` items that are among this number of items."""
        fraction = np.ones(among.shape)
        for k in range(n_choices):
            fraction = fraction * np.maximum(among - k, 0) / np.maximum(n_items - k, 1)
        return fraction

    found = n_items / (n_choices * (t + 1)) * (fraction_of_sets(b + t + 1) - fraction_of_sets(b))
    return np.where(n_items >= n_choices, found, np.nan)


def top_k(beaten: ArrayLike, tied: ArrayLike, n_distractors: ArrayLike, k: int) -> Floats:
    """Return the probability that the right one is among the ``k`` best of all, ties broken by chance."""
    b, t, n = (np.asarray(x, dtype=np.float64) for x in (beaten, tied, n_distractors))
    return np.clip((k - (n - b - t)) / (t + 1), 0.0, 1.0)


def nearest_neighbours(similarity: Floats, k: int, labels: NDArray[Any]) -> Mask:
    """Mark each item's ``k`` most similar items of other stimuli as its distractors, ``(n, n)``."""
    other: Mask = labels[:, None] != labels[None, :]
    order = np.argsort(-np.where(other, similarity, -np.inf), axis=1, kind="stable")[:, :k]
    found: Mask = np.zeros(similarity.shape, dtype=bool)
    np.put_along_axis(found, order, True, axis=1)
    return found & other


def pairs_by_category(categories: NDArray[Any], labels: NDArray[Any]) -> tuple[Mask, Mask]:
    """Mark the pairs of different stimuli within one category, and those between two, ``(n, n)`` each.

    An item whose category is an empty text has none, and is in no pair.
    """
    known = categories != ""
    pair = known[:, None] & known[None, :] & (labels[:, None] != labels[None, :])
    same = categories[:, None] == categories[None, :]
    return pair & same, pair & ~same


def won(wins: Floats, pairs: Mask) -> float:
    """Return the proportion of these pairs that are won; NaN if there are none. ``wins``: `metrics.pairwise_wins`."""
    n_pairs = np.count_nonzero(pairs)
    return float(wins[pairs].sum() / n_pairs) if n_pairs else np.nan


def bootstrap_won(wins: Floats, pairs: Mask, weights: Floats) -> Floats:
    """Return `won` for each resampling of the images ``(n_bootstrap, n)``, as fixed items and distractors together."""
    above = ((weights @ (wins * pairs)) * weights).sum(axis=1)
    return ratio(above, ((weights @ pairs.astype(np.float64)) * weights).sum(axis=1))


def from_category_alone(between: ArrayLike, fraction_within: ArrayLike) -> Floats:
    """Return the two-way accuracy of a decoder of the category alone.

    With ``k`` equally frequent categories ``fraction_within`` is about ``1 / k``: Shirakawa and others (2025) show that
    ten categories identified perfectly give 95 % without image-specific information.
    """
    within = np.asarray(fraction_within, dtype=np.float64)
    # pairs within a category are at chance
    expected: Floats = within * 0.5 + (1 - within) * np.asarray(between, dtype=np.float64)
    return expected


def similarity_to_training(centred: NDArray[Any], training: NDArray[Any], mean: Floats) -> Floats:
    """Correlate items with training stimuli, some training stimuli at a time.

    Parameters
    ----------
    centred
        Shape ``(n, n_targets)``, with the training stimuli's mean subtracted.
    training
        Shape ``(n_training, n_targets)``, without their mean subtracted.
    mean
        Shape ``(n_targets,)``: their mean.

    Returns
    -------
    Shape ``(n, n_training)``.
    """
    starts = range(0, len(training), _ROWS)
    return np.hstack([correlation_matrix(centred, training[start : start + _ROWS] - mean) for start in starts])


def count_among(right: Floats, wrong: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count how many candidates lose to each right answer, and how many tie.

    Parameters
    ----------
    right
        Shape ``(n_truths, n)``: similarity of each possible ground truth to each item.
    wrong
        Shape ``(n, n_candidates)``: similarity of the wrong candidates to each item.

    Returns
    -------
    Shape ``(n_truths, n)`` twice.
    """
    below, up_to = (np.zeros(right.shape, dtype=np.int64) for _ in range(2))
    for item, candidates in enumerate(wrong):
        ranked = np.sort(candidates)
        below[:, item] = np.searchsorted(ranked, right[:, item] - TIE, side="left")
        up_to[:, item] = np.searchsorted(ranked, right[:, item] + TIE, side="right")
    return below, up_to - below


def length_in_span(centred: NDArray[Any], training: NDArray[Any], mean: Floats) -> Floats:
    """Return the squared length of each item's projection on the span of the training targets.

    Every prediction of a ridge regression is in that span (Otsuka and others, 2025). A decoder that was fitted on these
    targets cannot predict the part outside.

    Parameters
    ----------
    centred, training, mean
        See `similarity_to_training`.

    Returns
    -------
    Shape ``(n,)``; divided by an item's squared length, the highest possible proportion of its variance.
    """
    n_training, n_targets = training.shape
    # an eigendecomposition of the smaller of X'X (n_targets, n_targets) and XX' (n_training, n_training)
    if n_targets < n_training:
        moments = np.zeros((n_targets, n_targets))
        for start in range(0, n_training, _ROWS):
            part = training[start : start + _ROWS] - mean
            moments += part.T @ part
        variances, axes = np.linalg.eigh(moments)
        kept = variances > _SMALLEST * variances[-1]
        return np.asarray(((centred @ axes[:, kept]) ** 2).sum(axis=1))
    moments, products = np.zeros((n_training, n_training)), np.zeros((len(centred), n_training))
    for start in range(0, n_targets, _COLUMNS):
        block = slice(start, start + _COLUMNS)
        part = training[:, block] - mean[block]
        moments += part @ part.T
        products += centred[:, block] @ part.T
    variances, axes = np.linalg.eigh(moments)
    kept = variances > _SMALLEST * variances[-1]
    return np.asarray(((products @ axes[:, kept]) ** 2 / variances[kept]).sum(axis=1))


def participation_ratio(items: NDArray[Any]) -> float:
    """Return the effective dimensionality of items ``(n, d)``: ``(sum of variances)² / sum of squared variances``.

    The variances are those along the principal dimensions. At most ``n - 1``; NaN where the items do not differ.
    """
    gram = _products(items - items.mean(axis=0, dtype=np.float64))
    return float(ratio(np.trace(gram) ** 2, (gram**2).sum()))


def through_bottleneck(true: NDArray[Any], decoded: NDArray[Any]) -> Iterator[tuple[int, Floats]]:
    """Correlate every original with reconstructions that are reduced to their leading principal dimensions.

    The dimensions are those of the decoded items about their mean, which is kept. Only products of items are computed,
    so that the cost does not depend on the number of targets.

    Parameters
    ----------
    true, decoded
        Shape ``(n, n_targets)``.

    Yields
    ------
    ``n_dimensions`` (1, 2, 4, 8 ... and ``n - 1``, which are all) and the matrix ``(n, n)``, original with
    reconstruction, as `metrics.correlation_matrix` computes it for all dimensions.
    """
    n_items = len(decoded)
    y, x = (rows - rows.mean(axis=1, dtype=np.float64, keepdims=True) for rows in (true, decoded))
    mean = np.full((n_items, n_items), 1 / n_items)
    inner, cross = _products(x), y @ x.T
    length = np.sqrt(np.einsum("ij,ij->i", y, y))
    axes = np.linalg.eigh(inner - mean @ inner - inner @ mean + mean @ inner @ mean)[1][:, ::-1]
    smallest = 1e-20 * np.trace(inner)
    powers = [2**k for k in range(n_items.bit_length()) if 2**k < n_items - 1]
    for n_dimensions in [*powers, n_items - 1]:
        # projection in the space of items: onto their mean and the leading dimensions about it
        kept = mean + axes[:, :n_dimensions] @ axes[:, :n_dimensions].T
        if n_dimensions == n_items - 1:
            kept = np.eye(n_items)
        squared = np.einsum("ij,ij->i", kept @ inner, kept)
        size = np.where(squared > smallest, np.sqrt(np.maximum(squared, 0)), np.inf)
        yield n_dimensions, ratio(cross @ kept, length[:, None] * size)


def best_samples(matrices: Floats, order: NDArray[np.int64]) -> Floats:
    """Select for each reconstruction the sample that is most similar to its paired original.

    Parameters
    ----------
    matrices
        Shape ``(n_samples, n, n)``: sample, original, reconstruction.
    order
        Shape ``(n,)``: the original paired with each reconstruction. A permutation gives the chance level of the
        selection.

    Returns
    -------
    Shape ``(n, n)``: row ``i`` is of original ``order[i]``, column ``j`` of the selected sample of ``j``.
    """
    own = np.arange(matrices.shape[2])
    picked = matrices[:, order, own].argmax(axis=0)
    kept: Floats = matrices[picked[None, :], order[:, None], own[None, :]]
    return kept


def clusters(features: NDArray[Any], n_clusters: int, *, seed: int) -> NDArray[np.int64]:
    """Cluster items by k-means; long features are first projected at random.

    Parameters
    ----------
    features
        Shape ``(n, d)``.
    n_clusters
        Largest number of clusters; at most the number of different items. Empty clusters are left out.
    seed
        Seed of the projection and of the first centres.

    Returns
    -------
    Shape ``(n,)``: numbers from 0.
    """
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng([seed, 5])
    n_items, n_targets = features.shape
    reduced = np.zeros((n_items, min(n_targets, _PROJECTED)))
    for start in range(0, n_targets, _COLUMNS):
        part = features[:, start : start + _COLUMNS]
        axes = np.eye(n_targets) if n_targets <= _PROJECTED else rng.standard_normal((part.shape[1], _PROJECTED))
        reduced += (part - part.mean(axis=0, dtype=np.float64)) @ axes
    n_distinct = len(np.unique(reduced, axis=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about a cluster that lost all its items
        _, found = kmeans2(reduced, min(n_clusters, n_distinct), minit="++", seed=rng)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def rank_correlation(a: Floats, b: Floats, weights: Floats | None = None) -> Floats:
    """Return Spearman's correlation of two numbers of each item ``(n,)``, for each row of weights ``(n_sets, n)``.

    Ranks are those among all items. NaN where one of the two does not vary.
    """
    from scipy.stats import rankdata

    weight = np.ones((1, len(a))) if weights is None else weights
    weight = weight / weight.sum(axis=1, keepdims=True)
    x, y = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    mean_x, mean_y = weight @ x, weight @ y
    variances = (weight @ x**2 - mean_x**2) * (weight @ y**2 - mean_y**2)
    known = np.where(variances > 1e-12, variances, 0.0)
    return ratio(weight @ (x * y) - mean_x * mean_y, np.sqrt(known))


def _products(rows: NDArray[Any]) -> Floats:
    """Return the inner products of rows, ``(n, n)`` float64."""
    rows = np.asarray(rows, dtype=np.float64)
    product: Floats = rows @ rows.T
    return product
