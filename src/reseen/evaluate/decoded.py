"""Diagnostics of decoded features, before any image is generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import diagnostics, metrics, statistics
from reseen.evaluate.items import Folds, Items, Row, items_of, mean_row, row, table_of
from reseen.evaluate.pairs import Categories, hard_rows, n_way_rows
from reseen.metrics import Floats
from reseen.tables import THIRDS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

NEAR_DUPLICATE = 0.95
"""Correlation with the features of a training image from which a test image counts as its near duplicate."""


@dataclass(frozen=True)
class _Training:
    """Comparison with the training stimuli: of each item, ``(n,)``; of each true feature and each item, ``(n, n)``."""

    n_training: NDArray[np.int64]
    beaten: NDArray[np.int64]
    tied: NDArray[np.int64]
    nearest: Floats
    in_span: Floats


def diagnose_features(
    subject: str,
    decoded: Features,
    true: Features,
    folds: Folds,
    *,
    categories: Categories,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compute diagnostics of decoded features, which distinguish image-specific from category-level decoding.

    Features are compared by correlation across targets, after the mean of the decoder's training stimuli is subtracted.
    The original is held fixed; in comparisons with training stimuli the decoded item is.

    ============ ============================ =====================================================================
    diagnostic   setting                      value
    ============ ============================ =====================================================================
    n_way        2, 10, 50, all               identification among so many, the mean over all sets of distractors
    pairs        nearest 10                   two-way, among the 10 test images of most similar true features
    pairs        within <name>, between <..>  two-way, among images of the same category, and of others
    pairs        <name> alone                 expected for a decoder of the category alone, all pairs
    zero_shot    2, top 1, top 10, top 50     true features among them and those of all training stimuli
    novelty      nearest training             correlation of true features with the nearest training stimulus
    novelty      near duplicates              proportion of test images with ``NEAR_DUPLICATE`` or more
    novelty      least like training, ...     two-way accuracy of a third of the test images, by similarity
    novelty      accuracy                     rank correlation of two-way accuracy with that similarity
    variance     best, decoded                explained: by the span of the training targets, by the decoder
    dimensions   true, decoded                participation ratio over test images
    bottleneck   1, 2, 4 ... all              two-way, by the leading principal dimensions of the predictions
    ============ ============================ =====================================================================

    Parameters
    ----------
    subject
        Name, for the table.
    decoded
        Shape ``(n, ...)``; ids repeat where items are single trials. Its name is the ``feature`` of the table.
    true
        Shape ``(n_stimuli, ...)``: true features of the test and of the training stimuli.
    folds
        Training and test stimuli of each decoder.
    categories
        Categorisations of the images by name (`Stimuli.categories`). Those that pair fewer than three test images are
        left out.
    recipe, seed
        Number of permutations (``n_derangements``) and of resamplings, and their seed.

    Returns
    -------
    A table of `DIAGNOSTIC_COLUMNS`. ``low`` and ``high`` are the middle 95 % of resamplings of images; ``pairs`` and
    ``bottleneck`` resample fixed images and distractors, the others fixed images. ``chance``, ``chance_sd`` and the
    one-sided ``p`` are of the same number with permuted originals, for ``within`` permuted within each category. ``n``
    is the number of items with a value. A number that is not defined for a diagnostic is NaN.

    Raises
    ------
    ShapeError
        If a stimulus has no true feature.
    """
    items, training = _prepare(decoded, true, folds, recipe, seed)
    r = metrics.correlation_matrix(items.true, items.decoded)
    rows = [
        *n_way_rows(r, items),
        *hard_rows(r, items, categories, seed),
        *_training_rows(items, training, metrics.identification_from_correlations(r, labels=items.labels)),
        *_variance_rows(items, training),
        *_bottleneck_rows(items),
    ]
    return table_of(subject, decoded.name, rows)


def _prepare(
    decoded: Features, true: Features, folds: Folds, recipe: EvaluateRecipe, seed: int
) -> tuple[Items, _Training]:
    """Compare items with training stimuli, with the training features of one fold in memory at a time."""
    labels, n = decoded.stimulus_id, len(decoded)
    predicted, targets = decoded.flat, true.rows(labels).reshape(n, -1)
    items = items_of(labels, np.empty_like(predicted), np.empty_like(targets), recipe, seed)
    beaten, tied = np.zeros((2, n, n), dtype=np.int64)
    training = _Training(np.zeros(n, dtype=np.int64), beaten, tied, np.zeros(n), np.zeros(n))
    for fold, (train, test) in enumerate(folds):
        rows = decoded.of_fold(fold, test)
        known = true.rows(train).reshape(len(train), -1)
        mean = known.mean(axis=0, dtype=np.float64)
        items.decoded[rows], items.true[rows] = predicted[rows] - mean, targets[rows] - mean
        right = metrics.correlation_matrix(targets - mean, items.decoded[rows])  # (n, len(rows))
        wrong = diagnostics.similarity_to_training(items.decoded[rows], known, mean)  # (len(rows), n_training)
        training.beaten[:, rows], training.tied[:, rows] = diagnostics.count_among(right, wrong)
        training.n_training[rows] = len(train)
        training.nearest[rows] = diagnostics.similarity_to_training(items.true[rows], known, mean).max(axis=1)
        training.in_span[rows] = diagnostics.length_in_span(items.true[rows], known, mean)
    return items, training


def _training_rows(items: Items, training: _Training, accuracy: Floats) -> Iterator[Row]:
    """Identify the true features among training stimuli, and relate accuracy to similarity with training stimuli."""
    own = np.arange(len(items))
    beaten, tied, n_training = training.beaten, training.tied, training.n_training
    two_way = diagnostics.n_way(beaten, tied, n_training, 2)
    yield mean_row("zero_shot", "2", two_way[own, own], items, two_way[items.orders, own])
    for k in (1, 10, 50):
        if k < n_training.min():
            found = diagnostics.top_k(beaten, tied, n_training, k)
            yield mean_row("zero_shot", f"top {k}", found[own, own], items, found[items.orders, own])
    yield mean_row("novelty", "nearest training", training.nearest, items)
    yield mean_row("novelty", "near duplicates", (training.nearest >= NEAR_DUPLICATE).astype(np.float64), items)
    if len(items) >= 3 * len(THIRDS):
        by_similarity = np.argsort(training.nearest, kind="stable")
        for third, members in zip(THIRDS, np.array_split(by_similarity, len(THIRDS)), strict=True):
            yield mean_row("novelty", third, np.where(np.isin(own, members), accuracy, np.nan), items)
    value = diagnostics.rank_correlation(accuracy, training.nearest)[0]
    replicates = diagnostics.rank_correlation(accuracy, training.nearest, items.weights)
    wrong = [diagnostics.rank_correlation(accuracy, training.nearest[order])[0] for order in items.orders]
    yield row("novelty", "accuracy", float(value), replicates, np.array(wrong), n=len(items))


def _variance_rows(items: Items, training: _Training) -> Iterator[Row]:
    total = np.einsum("ij,ij->i", items.true, items.true, dtype=np.float64)
    error = (items.true - items.decoded).astype(np.float64)
    # explained variance is 1 - sum ||true - decoded||² / sum ||true||², over items and targets
    explained_by = {
        "best": np.minimum(training.in_span, total),
        "decoded": total - np.einsum("ij,ij->i", error, error),
    }
    for setting, explained in explained_by.items():
        value = float(statistics.ratio(explained.sum(), total.sum()))
        replicates = statistics.ratio(items.weights @ explained, items.weights @ total)
        yield row("variance", setting, value, replicates, n=len(items))
    for setting, features in (("true", items.true), ("decoded", items.decoded)):
        yield row("dimensions", setting, diagnostics.participation_ratio(features), n=len(items))


def _bottleneck_rows(items: Items) -> Iterator[Row]:
    for n_dimensions, r in diagnostics.through_bottleneck(items.true, items.decoded):
        accuracy = metrics.identification_from_correlations(r, labels=items.labels)
        setting = str(n_dimensions) if n_dimensions < len(items) - 1 else "all"
        replicates = metrics.bootstrap_identification(r, items.weights, labels=items.labels)
        yield row("bottleneck", setting, float(statistics.nan_mean(accuracy)), replicates, n=len(items))
