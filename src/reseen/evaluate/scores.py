"""One number between its floor and its ceiling: how it is made from a matrix, and how it becomes rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.metrics import Direction, Floats, Ties
from reseen.tables import GAP_CLOSED, NULL_SD, P_VALUE, PICTURE_COLUMNS, PICTURE_LEVELS, lower_is_better
from reseen.tables import SCORE_COLUMNS as COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe


NEAR_FLOOR = 3
"""The gap closed is undefined where the ceiling lies no more than so many null standard deviations above the floor."""


@dataclass(frozen=True)
class Pool:
    """Hold the items of one subset, its pairings and its resamplings; all scores of it share them.

    Parameters
    ----------
    subset, items, labels
        Its name, the rows of its items, and of which stimulus each is.
    wrong_rows
        Pairings in which no stimulus has its own truth: the floor.
    permuted_rows
        Pairings drawn from all permutations of the stimuli: the null that p is exact under.
    weights
        How often each item was drawn in each resampling.
    """

    subset: str
    items: NDArray[np.int64]
    labels: NDArray[np.int64]
    wrong_rows: NDArray[np.int64]
    permuted_rows: NDArray[np.int64]
    weights: Floats


@dataclass(frozen=True)
class Score:
    """Hold a score, its resamplings ``(n_bootstrap,)``, what wrong and permuted pairings score, and its items.

    ``wrong`` and ``permuted`` have shape ``(n_derangements,)``, ``each`` has ``(n_items,)``. ``parts`` holds the values
    that a mean score is the mean of, ``(n_parts,)``.
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
    """Give a pool for all items and for each subset of three stimuli or more.

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
                    f"two-way identification needs at least three test pictures; found {len(np.unique(labels))}. "
                    "Ask for more test pictures."
                )
            continue
        wrong_rows = statistics.derangements(labels, recipe.n_derangements, seed=seed)
        permuted_rows = statistics.permutations(labels, recipe.n_derangements, seed=seed)
        weights = statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed)
        found.append(Pool(subset, items, labels, wrong_rows, permuted_rows, weights))
    return found


def matrix_score(matrix: Floats, pool: Pool, direction: str, ties: Ties = "half") -> Score:
    """Score a matrix of a pool: identification in a direction, or with none the mean of the right pairs."""
    r = matrix[np.ix_(pool.items, pool.items)]
    if not direction:
        diagonal = np.diagonal(r).copy()
        replicates = statistics.bootstrap_mean(diagonal, pool.weights)
        wrong, permuted = _repaired(r, r, pool)
        return Score(float(diagonal.mean()), replicates, wrong, diagonal, permuted=permuted)
    towards = cast("Direction", direction)
    paired = metrics.pairing_accuracy(r, direction=towards, labels=pool.labels, ties=ties)
    exchanged = metrics.pairing_accuracy(r, direction=towards, labels=pool.labels, ties=ties, exchanged=True)
    wrong, permuted = _repaired(paired, exchanged, pool)
    return Score(
        float(statistics.nan_mean(np.diagonal(paired))),
        metrics.bootstrap_identification(r, pool.weights, direction=towards, labels=pool.labels, ties=ties),
        wrong,
        np.diagonal(paired),
        permuted=permuted,
    )


def _repaired(paired: Floats, exchanged: Floats, pool: Pool) -> tuple[Floats, Floats]:
    """Give what wrong pairings score, and what permuted ones do, in which some keep their own truth."""
    wrong = statistics.repaired_scores(paired, pool.wrong_rows)
    return wrong, statistics.repaired_scores(exchanged, pool.permuted_rows)


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


def rows_of(where: Mapping[str, str], scores: Mapping[str, Score], n_items: int) -> list[dict[str, object]]:
    """Lay out the levels of one score, then what is derived from them."""

    def row(metric: str, level: str, value: float, low: float = np.nan, high: float = np.nan) -> dict[str, object]:
        return {**where, "metric": metric, "level": level, "value": value, "low": low, "high": high, "n": n_items}

    metric, rows = where["metric"], []
    if (result := scores.get("result")) is not None:
        null = statistics.permutation_null(result.value, result.wrong)
        rows.append(row(metric, "floor_repaired", null.mean, null.low, null.high))
    levels = [level for level in PICTURE_LEVELS if level in scores]
    rows += [row(metric, k, scores[k].value, *_interval(metric, k, scores[k])) for k in levels]
    if result is not None:
        rows.append(row(metric + NULL_SD, "result", null.sd))
        sign = -1 if lower_is_better(metric) else 1
        p = statistics.permutation_null(sign * result.value, sign * result.permuted).p
        rows.append(row(metric + P_VALUE, "result", p))
        if (ceiling := scores.get("ceiling")) is not None:
            share, low, high = np.nan, np.nan, np.nan
            if sign * (ceiling.value - null.mean) > NEAR_FLOOR * null.sd:
                share = float(statistics.gap_closed(sign * result.value, sign * null.mean, sign * ceiling.value))
                spread = statistics.gap_closed(sign * result.replicates, sign * null.mean, sign * ceiling.replicates)
                low, high = statistics.interval(spread)
            rows.append(row(metric + GAP_CLOSED, "result", share, low, high))
    return rows


def _interval(metric: str, level: str, score: Score) -> tuple[float, float]:
    """Return a level's interval: over resampled stimuli, or for the permuted level over permutations."""
    if level != "floor_shuffled":
        return statistics.interval(score.replicates)
    low, high = statistics.t_interval(score.parts)
    return (max(low, 0.0), min(high, 1.0)) if metric == "identification" else (low, high)


def each_of(where: Mapping[str, str], scores: Mapping[str, Score], pool: Pool) -> list[DataFrame]:
    """Lay out what each item of a pool scores by itself, at the levels that pictures are compared at."""
    import pandas as pd

    return [
        pd.DataFrame({**where, "level": level, "stimulus_id": pool.labels, "value": np.round(scores[level].each, 9)})
        for level in ("result", "ceiling")
        if level in scores
    ]


def each_table(parts: Sequence[DataFrame]) -> DataFrame:
    """Make the table of `PICTURE_COLUMNS`."""
    import pandas as pd

    empty = pd.DataFrame(columns=list(PICTURE_COLUMNS))
    return pd.concat(parts, ignore_index=True)[empty.columns] if parts else empty


def table(rows: list[dict[str, object]]) -> DataFrame:
    """Make the tidy table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS))
