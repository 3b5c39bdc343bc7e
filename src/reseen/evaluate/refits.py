"""Diagnostics with other decoded features: of decoders fitted without a cluster, of repetitions and single trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.evaluate.items import Folds, Row, items_of, row, table_of, training_mean, two_way_row
from reseen.metrics import Floats

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe

CLUSTERS, AT_RANDOM = "clusters", "at random"
"""Training images left out: the cluster of the test image, or as many images at random."""


def diagnose_left_out(
    subject: str,
    decoded: Mapping[str, tuple[Features, Folds]],
    true: Features,
    *,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compute how well a decoder identifies images of a cluster that it was not trained on.

    Each test image is decoded by a decoder trained without the images of its cluster, and by a decoder trained without
    as many images of all clusters. Diagnostic ``left_out``; settings ``clusters``, ``at random``, and ``lost``
    (``at random`` minus ``clusters``, image by image).

    Parameters
    ----------
    subject
        Name, for the table.
    decoded
        ``CLUSTERS`` and ``AT_RANDOM`` -> decoded features of the same items, and training and test stimuli of each
        decoder.
    true, recipe, seed
        See `diagnose_features`.

    Returns
    -------
    A table of `DIAGNOSTIC_COLUMNS`.
    """
    rows: list[Row] = []
    kept: dict[str, tuple[Floats, Floats]] = {}
    for how in (CLUSTERS, AT_RANDOM):
        features, folds = decoded[how]
        ids = features.stimulus_id
        mean = training_mean(features, true, folds)
        items = items_of(ids, features.flat - mean, true.rows(ids).reshape(len(ids), -1) - mean, recipe, seed)
        r = metrics.correlation_matrix(items.true, items.decoded)
        rows.append(two_way_row("left_out", how, r, items))
        accuracy = metrics.identification_from_correlations(r, labels=ids)
        kept[how] = accuracy, metrics.bootstrap_identification(r, items.weights, labels=ids)
    lost, replicates = (kept[AT_RANDOM][k] - kept[CLUSTERS][k] for k in (0, 1))
    rows.append(row("left_out", "lost", float(statistics.nan_mean(lost)), replicates, n=len(lost)))
    return table_of(subject, decoded[CLUSTERS][0].name, rows)


def diagnose_repetitions(
    subject: str,
    first: Features,
    others: Features,
    true: Features,
    folds: Folds,
    *,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compare features decoded from the first repetition of each image with features decoded from the others.

    Diagnostic ``repetitions``; settings ``first and others`` (two-way identification between the two, which measures
    reliability and not correctness), ``first`` and ``others`` (each against the true features).

    Parameters
    ----------
    subject
        Name, for the table.
    first, others
        Features of the same stimuli in the same order: decoded from the first repetition, and from the mean of the
        others.
    true, folds, recipe, seed
        See `diagnose_features`.

    Returns
    -------
    A table of `DIAGNOSTIC_COLUMNS`; without rows where fewer than three stimuli were repeated.
    """
    ids = first.stimulus_id
    if len(ids) < 3:
        return table_of(subject, first.name, [])
    mean = training_mean(first, true, folds)
    targets = true.rows(ids).reshape(len(ids), -1) - mean
    one, rest = first.flat - mean, others.flat - mean
    rows = []
    for setting, decoded, against in (
        ("first and others", one, rest),
        ("first", one, targets),
        ("others", rest, targets),
    ):
        items = items_of(ids, decoded, against, recipe, seed)
        rows.append(two_way_row("repetitions", setting, metrics.correlation_matrix(against, decoded), items))
    return table_of(subject, first.name, rows)


def diagnose_coverage(
    subject: str,
    name: str,
    stimulus_id: NDArray[np.int64],
    inside: Mapping[float, Floats],
    *,
    recipe: EvaluateRecipe,
    seed: int,
) -> DataFrame:
    """Compute how often the true features are in the intervals that a decoder gives for single trials.

    Diagnostic ``coverage``; settings ``50 %``, ... are the nominal coverages. Intervals resample stimuli.

    Parameters
    ----------
    subject, name
        Names of the subject and of the feature, for the table.
    stimulus_id
        Shape ``(n_items,)``.
    inside
        Nominal coverage -> proportion of the targets of each item that are in its interval, ``(n_items,)``.
    recipe, seed
        See `diagnose_features`.

    Returns
    -------
    A table of `DIAGNOSTIC_COLUMNS`; without rows where there are fewer than three items.
    """
    if len(stimulus_id) < 3:
        return table_of(subject, name, [])
    weights = statistics.bootstrap_weights(stimulus_id, recipe.n_bootstrap, seed=seed)
    rows = []
    for nominal, proportions in inside.items():
        replicates = statistics.bootstrap_mean(proportions, weights)
        rows.append(row("coverage", f"{100 * nominal:g} %", float(proportions.mean()), replicates, n=len(stimulus_id)))
    return table_of(subject, name, rows)
