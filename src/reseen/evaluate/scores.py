"""Scores with chance levels and oracle: computed from a matrix, and as rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.evaluate.matrices import Correlations, stripes
from reseen.metrics import Direction, Floats, Ties
from reseen.tables import GAP_CLOSED, IMAGE_COLUMNS, IMAGE_LEVELS, NULL_SD, P_VALUE, lower_is_better
from reseen.tables import SCORE_COLUMNS as COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe


NEAR_CHANCE = 3
"""The gap closed is undefined unless the oracle is more than so many null standard deviations above chance level."""

_REDUCED = 64  # resamplings or pairings at a time


@dataclass(frozen=True)
class Pool:
    """Items of one subset, its pairings and its resamplings; all scores of it share them.

    Parameters
    ----------
    subset, items, labels
        Name, rows of the items, and stimulus of each item.
    wrong_rows
        Pairings in which no stimulus has its own original: the mismatched chance level.
    permuted_rows
        Random permutations of the stimuli: the null under which p is exact.
    weights
        Count of each item in each resampling.
    """

    subset: str
    items: NDArray[np.int64]
    labels: NDArray[np.int64]
    wrong_rows: NDArray[np.int64]
    permuted_rows: NDArray[np.int64]
    weights: Floats


@dataclass(frozen=True)
class Score:
    """Score with its resamplings and with the scores of wrong pairings.

    Parameters
    ----------
    value
        The score.
    replicates
        Shape ``(n_bootstrap,)``: the score of each resampling.
    wrong, permuted
        Shape ``(n_derangements,)``: scores of mismatched and of permuted pairings.
    each
        Shape ``(n_items,)``: the score of each item by itself; empty if there is none.
    parts
        Shape ``(n_parts,)``: values that a mean score is the mean of.
    """

    value: float
    replicates: Floats
    wrong: Floats
    each: Floats = field(default_factory=lambda: np.empty(0))
    permuted: Floats = field(kw_only=True)
    parts: Floats = field(default_factory=lambda: np.empty(0), kw_only=True)


def pools(
    stimulus_id: NDArray[np.int64], subsets: Mapping[str, frozenset[int]], recipe: EvaluateRecipe, seed: int
) -> list[Pool]:
    """Return a pool for all items and for each subset of three stimuli or more.

    Raises
    ------
    ShapeError
        If there are fewer than three stimuli in all.
    """
    found = []
    for subset, members in {"all": frozenset(stimulus_id.tolist()), **subsets}.items():
        items = np.flatnonzero(np.isin(stimulus_id, sorted(members)))
        labels = stimulus_id[items]
        if len(np.unique(labels)) < 3:
            if subset == "all":
                raise ShapeError(
                    f"two-way identification needs at least three test images; found {len(np.unique(labels))}.",
                    where="stimulus_id",
                    expected=3,
                    found=len(np.unique(labels)),
                )
            continue
        wrong_rows = statistics.derangements(labels, recipe.n_derangements, seed=seed)
        permuted_rows = statistics.permutations(labels, recipe.n_derangements, seed=seed)
        weights = statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed)
        found.append(Pool(subset, items, labels, wrong_rows, permuted_rows, weights))
    return found


def matrix_score(
    matrix: Floats | Correlations, pool: Pool, direction: str, ties: Ties = "half", *, distance: bool = False
) -> Score:
    """Score a matrix of a pool: identification in a direction, or without a direction the mean of the right pairs.

    With ``distance`` the value of a pair is ``1 - r``.
    """
    if not direction:
        return _pair_score(matrix, pool, distance)
    towards, kin = cast("Direction", direction), metrics.kin_of(pool.labels)
    each, accuracy = np.empty(len(pool.items)), np.empty(pool.weights.shape)
    wrong, permuted = (np.empty(pairing.shape) for pairing in (pool.wrong_rows, pool.permuted_rows))
    for first, values in stripes(matrix, pool.items, towards):
        rows, ranked = range(first, first + len(values)), np.sort(values, axis=1)
        accuracy[:, rows.start : rows.stop] = metrics.resampled_accuracy(values, first, pool.weights, kin, ties)
        for k, row in enumerate(rows):
            each[row] = metrics.row_accuracy(values[k], ranked[k], row, np.array([row]), kin, ties=ties)[0]
        for found, pairing, exchanged in ((wrong, pool.wrong_rows, False), (permuted, pool.permuted_rows, True)):
            for row, sample, item, other in _pairs(pairing, rows, towards):
                every = other if len(other) < len(kin.label) else np.arange(len(kin.label))
                scored = metrics.row_accuracy(
                    values[row - first], ranked[row - first], row, every, kin, ties=ties, exchanged=exchanged
                )
                found[sample, item] = scored if every is other else scored[other]
    return Score(
        float(statistics.nan_mean(each)),
        _in_parts(metrics.resampled_mean, accuracy, pool.weights),
        _in_parts(statistics.nan_mean, wrong),
        each,
        permuted=_in_parts(statistics.nan_mean, permuted),
    )


def _pair_score(matrix: Floats | Correlations, pool: Pool, distance: bool) -> Score:
    """Average the right pairs of a matrix, and mismatched and permuted pairs."""
    each = np.empty(len(pool.items))
    wrong, permuted = (np.empty(pairing.shape) for pairing in (pool.wrong_rows, pool.permuted_rows))
    for first, r in stripes(matrix, pool.items, "original"):
        values = 1 - r if distance else r
        rows = range(first, first + len(values))
        each[rows.start : rows.stop] = values[np.arange(len(rows)), np.arange(rows.start, rows.stop)]
        for found, pairing in ((wrong, pool.wrong_rows), (permuted, pool.permuted_rows)):
            sample, item = np.nonzero((pairing >= rows.start) & (pairing < rows.stop))
            found[sample, item] = values[pairing[sample, item] - first, item]
    replicates = statistics.bootstrap_mean(each, pool.weights)
    null = (_in_parts(statistics.nan_mean, found) for found in (wrong, permuted))
    return Score(float(each.mean()), replicates, next(null), each, permuted=next(null))


def _pairs(
    pairing: NDArray[np.int64], rows: range, direction: Direction
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each fixed row of some pairings, and for it arrays of pairing number, item, and paired item."""
    if direction == "original":
        sample, item = np.nonzero((pairing >= rows.start) & (pairing < rows.stop))
        fixed, other = pairing[sample, item], item
    else:
        sample, item = np.indices((len(pairing), len(rows))).reshape(2, -1)
        item = item + rows.start
        fixed, other = item, pairing[sample, item]
    order = np.argsort(fixed, kind="stable")
    bounds = np.searchsorted(fixed[order], np.arange(rows.start, rows.stop + 1))
    for row, start, stop in zip(rows, bounds[:-1], bounds[1:], strict=True):
        part = order[start:stop]
        if len(part):
            yield row, sample[part], item[part], other[part]


def _in_parts(reduce: Callable[..., Floats], *arrays: Floats) -> Floats:
    """Reduce the last axis of arrays of equal length, some rows at a time, to bound the memory."""
    found = np.empty(len(arrays[0]))
    for start in range(0, len(found), _REDUCED):
        part = slice(start, start + _REDUCED)
        found[part] = reduce(*(array[part] for array in arrays))
    return found


def mean_score(scores: Sequence[Score]) -> Score:
    """Average scores of the same items, resampling by resampling."""
    return Score(
        float(np.mean([score.value for score in scores])),
        np.mean([score.replicates for score in scores], axis=0),
        np.mean([score.wrong for score in scores], axis=0),
        np.mean([score.each for score in scores], axis=0),
        permuted=np.mean([score.permuted for score in scores], axis=0),
        parts=np.array([score.value for score in scores]),
    )


def rows_of(where: Mapping[str, str], scores: Mapping[str, Score], pool: Pool) -> list[dict[str, object]]:
    """Return the rows of one score of a pool: its levels, then the numbers derived from them."""
    n_items, n_stimuli = len(pool.items), len(np.unique(pool.labels))

    def row(metric: str, level: str, value: float, low: float = np.nan, high: float = np.nan) -> dict[str, object]:
        return {**where, "metric": metric, "level": level, "value": value, "low": low, "high": high, "n": n_items}

    metric, rows = where["metric"], []
    if (result := scores.get("result")) is not None:
        null = statistics.permutation_null(result.value, result.wrong)
        rows.append(row(metric, "mismatched", null.mean, null.low, null.high))
    levels = [level for level in IMAGE_LEVELS if level in scores]
    rows += [row(metric, k, scores[k].value, *_interval(metric, k, scores[k], n_stimuli)) for k in levels]
    if result is not None:
        rows.append(row(metric + NULL_SD, "result", null.sd))
        sign = -1 if lower_is_better(metric) else 1
        p = statistics.permutation_null(sign * result.value, sign * result.permuted).p
        rows.append(row(metric + P_VALUE, "result", p))
        if (oracle := scores.get("oracle")) is not None:
            gap, low, high = np.nan, np.nan, np.nan
            # an oracle near chance level makes the ratio arbitrary
            if sign * (oracle.value - null.mean) > NEAR_CHANCE * null.sd:
                gap = float(statistics.gap_closed(sign * result.value, sign * null.mean, sign * oracle.value))
                spread = statistics.gap_closed(sign * result.replicates, sign * null.mean, sign * oracle.replicates)
                low, high = statistics.interval(spread)
            rows.append(row(metric + GAP_CLOSED, "result", gap, low, high))
    return rows


def _interval(metric: str, level: str, score: Score, n_stimuli: int) -> tuple[float, float]:
    """Return a level's interval: over resampled stimuli, or for the permuted level over permutations."""
    if level == "permuted":
        low, high = statistics.t_interval(score.parts)
        return (max(low, 0.0), min(high, 1.0)) if metric == "identification" else (low, high)
    if metric == "target_r":
        # a correlation across stimuli is no mean over stimuli: the middle of its replicates may miss it
        return statistics.interval_around(score.value, score.replicates, n_stimuli)
    return statistics.interval(score.replicates)


def each_of(where: Mapping[str, str], scores: Mapping[str, Score], pool: Pool) -> list[DataFrame]:
    """Return the score of each item of a pool by itself, at the levels at which images are compared."""
    import pandas as pd

    return [
        pd.DataFrame({**where, "level": level, "stimulus_id": pool.labels, "value": np.round(scores[level].each, 9)})
        for level in ("result", "oracle")
        if level in scores
    ]


def each_table(parts: Sequence[DataFrame]) -> DataFrame:
    """Return the table of `IMAGE_COLUMNS`."""
    import pandas as pd

    empty = pd.DataFrame(columns=list(IMAGE_COLUMNS))
    return pd.concat(parts, ignore_index=True)[empty.columns] if parts else empty


def table(rows: list[dict[str, object]]) -> DataFrame:
    """Return the tidy table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS))
