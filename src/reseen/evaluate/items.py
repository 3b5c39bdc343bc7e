"""Items that are read or guessed, and the rows that say of them what tells the two apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import statistics
from reseen.metrics import Floats
from reseen.tables import READING_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

Row = dict[str, object]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Items:
    """Items with their resamplings and null pairings, which all their numbers share.

    Parameters
    ----------
    labels
        Shape ``(n,)``: which stimulus each is of.
    decoded, truth
        Shape ``(n, n_targets)`` each, the mean of the training stimuli taken away.
    weights
        Shape ``(n_bootstrap, n)``: see `statistics.bootstrap_weights`.
    orders
        Shape ``(n_permutations, n)``: see `statistics.permutations`.
    """

    labels: NDArray[np.int64]
    decoded: NDArray[np.float32]
    truth: NDArray[np.float32]
    weights: Floats
    orders: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)


def items_of(
    labels: NDArray[np.int64], decoded: NDArray[Any], truth: NDArray[Any], recipe: EvaluateRecipe, seed: int
) -> Items:
    """Draw the resamplings and the permutations of some items."""
    weights = statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed)
    return Items(labels, decoded, truth, weights, statistics.permutations(labels, recipe.n_derangements, seed=seed))


def training_mean(stimulus_id: NDArray[np.int64], true: Features, folds: Folds) -> NDArray[np.float32]:
    """Return, for each decoded item, the mean of the features its decoder was trained on, ``(n, n_targets)``."""
    mean = np.zeros((len(stimulus_id), true.flat.shape[1]), dtype=np.float32)
    for train, test in folds:
        rows = np.isin(stimulus_id, test)
        mean[rows] = true.rows(train).reshape(len(train), -1).mean(axis=0, dtype=np.float64)
    return mean


def mean_row(diagnostic: str, setting: str, values: Floats, items: Items, wrong: Floats | None = None) -> Row:
    """Average a value of each item ``(n,)``; ``wrong (n_permutations, n)`` holds those of pairings by chance."""
    replicates = statistics.bootstrap_mean(values, items.weights)
    null = None if wrong is None else statistics.nan_mean(wrong)
    value = float(statistics.nan_mean(values))
    return row(diagnostic, setting, value, replicates, null, n=int(np.isfinite(values).sum()))


def row(
    diagnostic: str,
    setting: str,
    value: float,
    replicates: Floats | None = None,
    wrong: Floats | None = None,
    *,
    n: int,
) -> Row:
    """Return one row of the table: a number with its interval and its null, as far as they are known."""
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


def table_of(subject: str, feature: str, rows: Sequence[Row]) -> DataFrame:
    """Make the table of `READING_COLUMNS`."""
    import pandas as pd

    named = [{"subject": subject, "feature": feature, **found} for found in rows]
    return pd.DataFrame(named, columns=list(READING_COLUMNS))
