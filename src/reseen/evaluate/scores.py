"""One number between its floor and its ceiling: how it is made from a matrix, and how it becomes rows of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.metrics import Direction, Floats
from reseen.tables import GAP_CLOSED, NULL_SD, P_VALUE, PICTURE_COLUMNS, PICTURE_LEVELS
from reseen.tables import SCORE_COLUMNS as COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.recipe import EvaluateRecipe

DIRECTIONS: tuple[Direction, ...] = ("original", "reconstruction")


@dataclass(frozen=True)
class Pool:
    """Hold the items of one subset, its wrong pairings and its resamplings; all scores of it share them."""

    subset: str
    items: NDArray[np.int64]
    labels: NDArray[np.int64]
    wrong_rows: NDArray[np.int64]
    weights: Floats


@dataclass(frozen=True)
class Score:
    """Hold a score, its resamplings ``(n_bootstrap,)``, its wrong pairings ``(n_derangements,)`` and its items."""

    value: float
    replicates: Floats
    wrong: Floats
    each: Floats = field(default_factory=lambda: np.empty(0))


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
        weights = statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed)
        found.append(Pool(subset, items, labels, wrong_rows, weights))
    return found


def matrix_score(matrix: Floats, pool: Pool, direction: str) -> Score:
    """Score a matrix of a pool: identification in a direction, or with none the mean of the right pairs."""
    r = matrix[np.ix_(pool.items, pool.items)]
    if not direction:
        diagonal = np.diagonal(r).copy()
        replicates = statistics.bootstrap_mean(diagonal, pool.weights)
        return Score(float(diagonal.mean()), replicates, statistics.repaired_scores(r, pool.wrong_rows), diagonal)
    towards = cast("Direction", direction)
    paired = metrics.pairing_accuracy(r, direction=towards, labels=pool.labels)
    return Score(
        float(statistics.nan_mean(np.diagonal(paired))),
        metrics.bootstrap_identification(r, pool.weights, direction=towards, labels=pool.labels),
        statistics.repaired_scores(paired, pool.wrong_rows),
        np.diagonal(paired),
    )


def mean_score(scores: Sequence[Score]) -> Score:
    """Average scores of the same items, resampling by resampling."""
    return Score(
        float(np.mean([score.value for score in scores])),
        np.mean([score.replicates for score in scores], axis=0),
        np.mean([score.wrong for score in scores], axis=0),
        np.mean([score.each for score in scores], axis=0),
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
    rows += [row(metric, k, scores[k].value, *statistics.interval(scores[k].replicates)) for k in levels]
    if result is not None:
        rows.append(row(metric + NULL_SD, "result", null.sd))
        rows.append(row(metric + P_VALUE, "result", null.p))
        if (ceiling := scores.get("ceiling")) is not None:
            share = statistics.gap_closed(result.value, null.mean, ceiling.value)
            spread = statistics.gap_closed(result.replicates, null.mean, ceiling.replicates)
            rows.append(row(metric + GAP_CLOSED, "result", float(share), *statistics.interval(spread)))
    return rows


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
