"""Reading or guessing: what decoded features show of a decoder, before any picture is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import diagnostics, metrics, statistics
from reseen.metrics import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.diagnostics import Mask
    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

READING_COLUMNS = (
    "subject",
    "feature",
    "diagnostic",
    "setting",
    "value",
    "low",
    "high",
    "null",
    "null_sd",
    "p",
    "n",
)
"""The columns of ``reading.csv``."""

CHOICES = (2, 10, 50)
N_NEIGHBOURS = 10
NEAR_DUPLICATE = 0.95
"""A test picture whose features correlate so well with a training picture's was as good as trained on."""

Row = dict[str, object]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class _Items:
    """Hold the items, the mean of their decoder's training stimuli taken away, and what resampling and nulls share."""

    labels: NDArray[np.int64]
    decoded: NDArray[np.float32]
    truth: NDArray[np.float32]
    weights: Floats
    orders: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class _Training:
    """Hold what the training stimuli say of each item: ``(n,)``, and of each truth beside each item, ``(n, n)``."""

    n_training: NDArray[np.int64]
    beaten: NDArray[np.int64]
    tied: NDArray[np.int64]
    nearest: Floats
    in_span: Floats


def evaluate_reading(
    subject: str,
    decoded: Features,
    true: Features,
    folds: Folds,
    *,
    categories: Mapping[str, Mapping[int, str]],
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Ask of decoded features what tells reading from guessing.

    Features are compared by correlation across targets, after the mean of the decoder's training stimuli is taken
    away; the original is held fixed, except among training stimuli, where it is the decoded item.

    ============ ============================ =====================================================================
    diagnostic   setting                      value
    ============ ============================ =====================================================================
    n_way        2, 10, 50, all               identification among so many, the mean over all sets of distractors
    pairs        nearest 10                   two-way, against the 10 test pictures whose true features are nearest
    pairs        within <sort>, between <..>  two-way, against pictures of the same category, and of others
    pairs        <sort> alone                 what knowing the category and nothing else would give, all pairs
    zero_shot    2, top 1, top 10, top 50     the truth among it and all training stimuli
    novelty      nearest training             how similar a truth is to its nearest training stimulus
    novelty      near duplicates              share of test pictures for which that is ``NEAR_DUPLICATE`` or more
    novelty      accuracy                     rank correlation of two-way accuracy with that similarity
    variance     best, decoded                explained share: by the span of the training targets, by the decoder
    dimensions   true, decoded                participation ratio over test pictures
    bottleneck   1, 2, 4 ... all              two-way, by the leading principal dimensions of the predictions
    ============ ============================ =====================================================================

    Parameters
    ----------
    subject
        For the table.
    decoded
        Shape ``(n, ...)``; ids repeat where items are single trials. Its name is the ``feature`` of the table.
    true
        Shape ``(n_stimuli, ...)``: true features of the test and of the training stimuli.
    folds
        Training and test stimuli of each decoder.
    categories
        Ways of sorting pictures (`Stimuli.categories`); those that pair fewer than three test pictures are left out.
    recipe, seed
        How many permutations (``n_derangements``) and resamplings, and their seed.

    Returns
    -------
    A table of `READING_COLUMNS`. ``low`` and ``high``: the middle 95 % of resamplings of pictures, for ``pairs`` and
    ``bottleneck`` as fixed ones and as distractors, elsewhere as fixed ones. ``null``, ``null_sd`` and the one-sided
    ``p``: the same number with decoded items and truths paired by chance, for ``within`` within each category. ``n``:
    how many items have a value. What makes no sense for a diagnostic is NaN.

    Raises
    ------
    ShapeError
        If a stimulus has no true feature.
    """
    import pandas as pd

    items, training = _prepare(decoded, true, folds, recipe, seed)
    r = metrics.correlation_matrix(items.truth, items.decoded)
    found = [
        *_n_way_rows(r, items),
        *_nearest_rows(r, items),
        *_category_rows(r, items, categories, recipe, seed),
        *_training_rows(items, training, metrics.identification_from_correlations(r, labels=items.labels)),
        *_variance_rows(items, training),
        *_bottleneck_rows(items),
    ]
    rows = [{"subject": subject, "feature": decoded.name, **row} for row in found]
    return pd.DataFrame(rows, columns=list(READING_COLUMNS))


def _prepare(
    decoded: Features, true: Features, folds: Folds, recipe: EvaluateRecipe, seed: int
) -> tuple[_Items, _Training]:
    """Go through the folds once, one fold's training features in memory at a time."""
    labels, n = decoded.stimulus_id, len(decoded)
    guess, truth = decoded.flat, true.rows(labels).reshape(n, -1)
    items = _Items(
        labels,
        np.empty_like(guess),
        np.empty_like(truth),
        statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed),
        statistics.permutations(labels, recipe.n_derangements, seed=seed),
    )
    counts = [np.zeros((n, n), dtype=np.int64) for _ in range(2)]
    training = _Training(np.zeros(n, dtype=np.int64), counts[0], counts[1], np.zeros(n), np.zeros(n))
    for train, test in folds:
        rows = np.flatnonzero(np.isin(labels, test))
        known = true.rows(train).reshape(len(train), -1)
        mean = known.mean(axis=0, dtype=np.float64)
        items.decoded[rows], items.truth[rows] = guess[rows] - mean, truth[rows] - mean
        right = metrics.correlation_matrix(truth - mean, items.decoded[rows])
        wrong = diagnostics.similarity_to_training(items.decoded[rows], known, mean)
        training.beaten[:, rows], training.tied[:, rows] = diagnostics.count_among(right, wrong)
        training.n_training[rows] = len(train)
        training.nearest[rows] = diagnostics.similarity_to_training(items.truth[rows], known, mean).max(axis=1)
        training.in_span[rows] = diagnostics.length_in_span(items.truth[rows], known, mean)
    return items, training


def _n_way_rows(r: Floats, items: _Items) -> Iterator[Row]:
    def counts(matrix: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        wins, valid = metrics.pairwise_wins(matrix, labels=items.labels)
        return (valid & (wins == 1)).sum(axis=1), (valid & (wins == 0.5)).sum(axis=1)

    beaten, tied = counts(r)
    by_chance = [counts(r[order]) for order in items.orders]
    chance_beaten, chance_tied = (np.stack([pair[k] for pair in by_chance]) for k in range(2))
    n_distractors = (items.labels[:, None] != items.labels[None, :]).sum(axis=1)
    most = int(n_distractors.min()) + 1
    settings = {str(choices): choices for choices in CHOICES if choices < most or choices == 2}
    for setting, choices in {**settings, "all": most}.items():
        values = diagnostics.n_way(beaten, tied, n_distractors, choices)
        wrong = diagnostics.n_way(chance_beaten, chance_tied, n_distractors, choices)
        yield _mean_row("n_way", setting, values, items, wrong)


def _nearest_rows(r: Floats, items: _Items) -> Iterator[Row]:
    similarity = metrics.correlation_matrix(items.truth, items.truth)
    mask = diagnostics.nearest_neighbours(similarity, N_NEIGHBOURS, items.labels)
    if len(np.unique(items.labels)) > N_NEIGHBOURS + 1:
        yield _pairs_row(f"nearest {N_NEIGHBOURS}", r, mask, items, items.orders)


def _category_rows(
    r: Floats, items: _Items, categories: Mapping[str, Mapping[int, str]], recipe: EvaluateRecipe, seed: int
) -> Iterator[Row]:
    wins, _ = metrics.pairwise_wins(r)
    for sort, of_stimulus in categories.items():
        names = np.array([of_stimulus.get(int(stimulus), "") for stimulus in items.labels])
        within, between = diagnostics.pairs_by_category(names, items.labels)
        if min(within.any(axis=1).sum(), between.any(axis=1).sum()) < 3:
            continue
        inside = statistics.permutations(items.labels, recipe.n_derangements, seed=seed, groups=names)
        yield _pairs_row(f"within {sort}", r, within, items, inside)
        yield _pairs_row(f"between {sort}", r, between, items, items.orders)
        share = within.sum() / (within.sum() + between.sum())
        alone = diagnostics.from_category_alone(diagnostics.won(wins, between), share)
        replicates = diagnostics.from_category_alone(diagnostics.bootstrap_won(wins, between, items.weights), share)
        yield _row("pairs", f"{sort} alone", float(alone), replicates, n=int((within | between).any(axis=1).sum()))


def _pairs_row(setting: str, r: Floats, pairs: Mask, items: _Items, orders: NDArray[np.int64]) -> Row:
    """Score some pairs alone; where truths are permuted, what is a hard distractor goes with the truths."""
    wins, _ = metrics.pairwise_wins(r)
    wrong = [diagnostics.won(metrics.pairwise_wins(r[order])[0], pairs[np.ix_(order, order)]) for order in orders]
    replicates = diagnostics.bootstrap_won(wins, pairs, items.weights)
    n = int(pairs.any(axis=1).sum())
    return _row("pairs", setting, diagnostics.won(wins, pairs), replicates, np.array(wrong), n=n)


def _training_rows(items: _Items, training: _Training, accuracy: Floats) -> Iterator[Row]:
    """Set the truth among the training stimuli, and accuracy beside how near these are."""
    own = np.arange(len(items))
    beaten, tied, n_training = training.beaten, training.tied, training.n_training
    two_way = diagnostics.n_way(beaten, tied, n_training, 2)
    yield _mean_row("zero_shot", "2", two_way[own, own], items, two_way[items.orders, own])
    for k in (1, 10, 50):
        if k < n_training.min():
            found = diagnostics.top_k(beaten, tied, n_training, k)
            yield _mean_row("zero_shot", f"top {k}", found[own, own], items, found[items.orders, own])
    yield _mean_row("novelty", "nearest training", training.nearest, items)
    yield _mean_row("novelty", "near duplicates", (training.nearest >= NEAR_DUPLICATE).astype(np.float64), items)
    value = diagnostics.rank_correlation(accuracy, training.nearest)[0]
    replicates = diagnostics.rank_correlation(accuracy, training.nearest, items.weights)
    wrong = [diagnostics.rank_correlation(accuracy, training.nearest[order])[0] for order in items.orders]
    yield _row("novelty", "accuracy", float(value), replicates, np.array(wrong), n=len(items))


def _variance_rows(items: _Items, training: _Training) -> Iterator[Row]:
    total = np.einsum("ij,ij->i", items.truth, items.truth, dtype=np.float64)
    missed = np.einsum("ij,ij->i", *[(items.truth - items.decoded).astype(np.float64)] * 2)
    for setting, explained in (("best", np.minimum(training.in_span, total)), ("decoded", total - missed)):
        value = statistics.ratio(explained.sum(), total.sum())
        yield _row(
            "variance",
            setting,
            float(value),
            statistics.ratio(items.weights @ explained, items.weights @ total),
            n=len(items),
        )
    for setting, features in (("true", items.truth), ("decoded", items.decoded)):
        yield _row("dimensions", setting, diagnostics.participation_ratio(features), n=len(items))


def _bottleneck_rows(items: _Items) -> Iterator[Row]:
    for n_dimensions, r in diagnostics.through_bottleneck(items.truth, items.decoded):
        accuracy = metrics.identification_from_correlations(r, labels=items.labels)
        setting = str(n_dimensions) if n_dimensions < len(items) - 1 else "all"
        replicates = metrics.bootstrap_identification(r, items.weights, labels=items.labels)
        yield _row("bottleneck", setting, float(statistics.nan_mean(accuracy)), replicates, n=len(items))


def _mean_row(diagnostic: str, setting: str, values: Floats, items: _Items, wrong: Floats | None = None) -> Row:
    """Average a value of each item ``(n,)``; ``wrong (n_permutations, n)`` holds those of pairings by chance."""
    replicates = statistics.bootstrap_mean(values, items.weights)
    null = None if wrong is None else statistics.nan_mean(wrong)
    value = float(statistics.nan_mean(values))
    return _row(diagnostic, setting, value, replicates, null, n=int(np.isfinite(values).sum()))


def _row(
    diagnostic: str,
    setting: str,
    value: float,
    replicates: Floats | None = None,
    wrong: Floats | None = None,
    *,
    n: int,
) -> Row:
    low, high = statistics.interval(np.empty(0) if replicates is None else replicates)
    null = statistics.permutation_null(value, np.empty(0) if wrong is None else wrong)
    words = {"diagnostic": diagnostic, "setting": setting}
    return {
        **words,
        "value": value,
        "low": low,
        "high": high,
        "null": null.mean,
        "null_sd": null.sd,
        "p": null.p,
        "n": n,
    }
