"""What decoding once more shows: with kinds of pictures left out of the training, and from single repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.evaluate.items import Folds, Items, Row, items_of, row, table_of, training_mean
from reseen.metrics import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

CLUSTERS, AT_RANDOM = "clusters", "at random"
"""How training pictures were left out: all that are like the test picture, or as many of any kind."""


def evaluate_left_out(
    subject: str,
    decoded: Mapping[str, tuple[Features, Folds]],
    true: Features,
    *,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Score how a decoder does on categories of images that it was not trained on.

    Every test picture is decoded by a decoder that has seen no picture of its cluster, and by one that has seen as
    few pictures, of all clusters. Diagnostic ``left_out``; settings ``clusters``, ``at random``, and ``lost``: the
    second less the first, picture by picture.

    Parameters
    ----------
    subject
        For the table.
    decoded
        ``CLUSTERS`` and ``AT_RANDOM`` -> the same items, decoded, with training and test stimuli of each decoder.
    true, recipe, seed
        See `evaluate_reading`.

    Returns
    -------
    A table of `READING_COLUMNS`.
    """
    rows: list[Row] = []
    kept: dict[str, tuple[Floats, Floats]] = {}
    for how in (CLUSTERS, AT_RANDOM):
        features, folds = decoded[how]
        ids = features.stimulus_id
        mean = training_mean(ids, true, folds)
        items = items_of(ids, features.flat - mean, true.rows(ids).reshape(len(ids), -1) - mean, recipe, seed)
        r = metrics.correlation_matrix(items.truth, items.decoded)
        rows.append(_two_way_row("left_out", how, r, items))
        accuracy = metrics.identification_from_correlations(r, labels=ids)
        kept[how] = accuracy, metrics.bootstrap_identification(r, items.weights, labels=ids)
    lost, replicates = (kept[AT_RANDOM][k] - kept[CLUSTERS][k] for k in (0, 1))
    rows.append(row("left_out", "lost", float(statistics.nan_mean(lost)), replicates, n=len(lost)))
    return table_of(subject, decoded[CLUSTERS][0].name, rows)


def evaluate_repetitions(
    subject: str,
    first: Features,
    others: Features,
    true: Features,
    folds: Folds,
    *,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Set what the first showing of each picture gives beside what its other showings give.

    Diagnostic ``repetitions``; settings ``first and others``, two-way between the two: as sure as the brain's answers,
    read by this decoder, are of themselves, whatever they say; ``first`` and ``others``, each against the truth.

    Parameters
    ----------
    subject
        For the table.
    first, others
        Of the same stimuli in the same order: decoded from the first showing, and from the mean of the others.
    true, folds, recipe, seed
        See `evaluate_reading`.

    Returns
    -------
    A table of `READING_COLUMNS`; without rows where fewer than three stimuli were shown again.
    """
    ids = first.stimulus_id
    if len(ids) < 3:
        return table_of(subject, first.name, [])
    mean = training_mean(ids, true, folds)
    truth = true.rows(ids).reshape(len(ids), -1) - mean
    one, rest = first.flat - mean, others.flat - mean
    rows = []
    for setting, decoded, against in (
        ("first and others", one, rest),
        ("first", one, truth),
        ("others", rest, truth),
    ):
        items = items_of(ids, decoded, against, recipe, seed)
        r = metrics.correlation_matrix(against, decoded)
        rows.append(_two_way_row("repetitions", setting, r, items))
    return table_of(subject, first.name, rows)


def _two_way_row(diagnostic: str, setting: str, r: NDArray[np.float64], items: Items) -> Row:
    def score(matrix: Floats) -> float:
        return float(statistics.nan_mean(metrics.identification_from_correlations(matrix, labels=items.labels)))

    replicates = metrics.bootstrap_identification(r, items.weights, labels=items.labels)
    wrong = np.array([score(r[order]) for order in items.orders])
    return row(diagnostic, setting, score(r), replicates, wrong, n=len(items))
