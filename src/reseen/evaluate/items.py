"""Items of the diagnostics: decoded features or images with their originals, and the rows of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.metrics import Floats
from reseen.tables import DIAGNOSTIC_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

Row = dict[str, object]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Items:
    """Items with the resamplings and the permutations that all their numbers share.

    Parameters
    ----------
    labels
        Shape ``(n,)``: stimulus id of each item.
    decoded, true
        Shape ``(n, n_targets)`` each, with the mean of the training stimuli subtracted.
    weights
        Shape ``(n_bootstrap, n)``: see `statistics.bootstrap_weights`.
    orders
        Shape ``(n_permutations, n)``: see `statistics.permutations`.
    """

    labels: NDArray[np.int64]
    decoded: NDArray[np.float32]
    true: NDArray[np.float32]
    weights: Floats
    orders: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)


def items_of(
    labels: NDArray[np.int64], decoded: NDArray[Any], true: NDArray[Any], recipe: EvaluateRecipe, seed: int
) -> Items:
    """Draw the resamplings and the permutations of these items."""
    weights = statistics.bootstrap_weights(labels, recipe.n_bootstrap, seed=seed)
    return Items(labels, decoded, true, weights, statistics.permutations(labels, recipe.n_derangements, seed=seed))


def training_mean(decoded: Features, true: Features, folds: Folds) -> NDArray[np.float32]:
    """Return for each item the mean of the features that its decoder was trained on, ``(n, n_targets)``."""
    mean = np.zeros((len(decoded), true.flat.shape[1]), dtype=np.float32)
    for fold, (train, test) in enumerate(folds):
        rows = decoded.of_fold(fold, test)
        mean[rows] = true.rows(train).reshape(len(train), -1).mean(axis=0, dtype=np.float64)
    return mean


def permuted_rows(
    predicted: Features, true: Features, folds: Folds | None, mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return predictions of decoders fitted on permuted labels, with the training mean of the result.

    With a fixed test set, both decoders have the same training mean. With folds, the permutation mixes the stimuli of
    all folds, so that the means differ: the permuted one is replaced.

    Parameters
    ----------
    predicted, true
        Predictions by these decoders, and true features.
    folds
        Folds with the stimuli whose features were fitted (`reseen.decode.permuted_folds`); None for a fixed test set.
    mean
        Shape ``(n, n_targets)``: training mean of the result; see `training_mean`.

    Returns
    -------
    Shape ``(n, n_targets)``.
    """
    return predicted.flat if folds is None else predicted.flat - training_mean(predicted, true, folds) + mean


def mean_row(diagnostic: str, setting: str, values: Floats, items: Items, wrong: Floats | None = None) -> Row:
    """Return the row of a mean over items ``(n,)``; ``wrong``: their values by permutation, ``(n_permutations, n)``."""
    replicates = statistics.bootstrap_mean(values, items.weights)
    permuted = None if wrong is None else statistics.nan_mean(wrong)
    value = float(statistics.nan_mean(values))
    return row(diagnostic, setting, value, replicates, permuted, n=int(np.isfinite(values).sum()))


def two_way(r: Floats, items: Items) -> float:
    """Return the two-way identification accuracy by correlations of originals with items, ``(n, n)``."""
    return float(statistics.nan_mean(metrics.identification_from_correlations(r, labels=items.labels)))


def two_way_row(diagnostic: str, setting: str, r: Floats, items: Items) -> Row:
    """Return the row of `two_way`."""
    replicates = metrics.bootstrap_identification(r, items.weights, labels=items.labels)
    permuted = np.array([two_way(r[order], items) for order in items.orders])
    return row(diagnostic, setting, two_way(r, items), replicates, permuted, n=len(items))


def row(
    diagnostic: str,
    setting: str,
    value: float,
    replicates: Floats | None = None,
    wrong: Floats | None = None,
    *,
    n: int,
) -> Row:
    """Return one row of the table: a number with its interval and its chance level; NaN where they are unknown."""
    low, high = statistics.interval(np.empty(0) if replicates is None else replicates)
    null = statistics.permutation_null(value, np.empty(0) if wrong is None else wrong)
    return {
        "diagnostic": diagnostic,
        "setting": setting,
        "value": value,
        "low": low,
        "high": high,
        "chance": null.mean,
        "chance_sd": null.sd,
        "p": null.p,
        "n": n,
    }


def table_of(subject: str, feature: str, rows: Sequence[Row], network: str = "") -> DataFrame:
    """Return the table of `DIAGNOSTIC_COLUMNS`."""
    import pandas as pd

    named = [{"subject": subject, "feature": feature, "network": network, **found} for found in rows]
    return pd.DataFrame(named, columns=list(DIAGNOSTIC_COLUMNS))
