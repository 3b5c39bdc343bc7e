"""Score decoded features before any image is generated, and find the nearest training stimuli for retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.diagnostics import similarity_to_training
from reseen.errors import ShapeError
from reseen.evaluate.scores import Pool, Score, matrix_score, mean_score, pools, rows_of, table
from reseen.metrics import DIRECTIONS
from reseen.tables import BUILTIN, FEATURES

if TYPE_CHECKING:
    from pandas import DataFrame

    from reseen.features import Features
    from reseen.recipe import EvaluateRecipe


def evaluate_features(
    subject: str,
    name: str,
    decoded: NDArray[Any],
    true: NDArray[Any],
    training_mean: NDArray[Any],
    *,
    stimulus_id: NDArray[np.int64],
    subsets: Mapping[str, frozenset[int]],
    recipe: EvaluateRecipe,
    seed: int,
    permuted: Sequence[NDArray[Any]] = (),
) -> DataFrame:
    """Score decoded features themselves, before any image is generated.

    Parameters
    ----------
    subject, name
        For the table; ``name`` (``"z"`` or ``"c"``) becomes the condition.
    decoded, true
        Shape ``(n, n_targets)``, rows of the same items.
    training_mean
        Shape ``(n_targets,)``, or ``(n, n_targets)`` where folds differ: mean of the training stimuli's features, which
        is subtracted from both.
    stimulus_id, subsets, recipe, seed
        See `evaluate`.
    permuted
        For each permutation, shape ``(n, n_targets)``: features from a decoder fitted on permuted labels. The scores of
        ``permuted`` are means over permutations.

    Returns
    -------
    A table of `COLUMNS`, network ``"features"``. Metrics: ``target_r`` (of each target across items, averaged over
    targets), ``image_r`` (of each item across targets, averaged over items) and ``identification``. The interval of
    ``target_r`` is `reseen.statistics.interval_around` its value.

    Raises
    ------
    ShapeError
        If the arrays do not belong together or there are fewer than three stimuli.
    """
    for array in (decoded, *permuted):
        _check_shape(name, "decoded", array.shape, true.shape)
    _check_shape(name, "stimulus_id", stimulus_id.shape, true.shape[:1])
    if training_mean.shape != true.shape:
        _check_shape(name, "training_mean", training_mean.shape, true.shape[1:])
    levels = {"result": [decoded]}
    if len(permuted):
        levels["permuted"] = list(permuted)
    centred = true - training_mean
    found, matrices = {}, {}
    for level, arrays in levels.items():
        found[level] = [array - training_mean for array in arrays]
        matrices[level] = [metrics.correlation_matrix(centred, array) for array in found[level]]
    rows = []
    for pool in pools(stimulus_id, subsets, recipe, seed):
        fixed = {"subject": subject, "condition": name, "protocol": BUILTIN, "network": FEATURES, "layer": ""}
        fixed["subset"] = pool.subset
        for metric, directions in (("target_r", ("",)), ("image_r", ("",)), ("identification", DIRECTIONS)):
            for direction in directions:
                scores = {}
                for level, arrays in found.items():
                    if metric == "target_r":
                        scores[level] = mean_score([_target_score(centred, array, pool) for array in arrays])
                    else:
                        scores[level] = mean_score([matrix_score(r, pool, direction) for r in matrices[level]])
                rows += rows_of({**fixed, "metric": metric, "direction": direction}, scores, pool)
    return table(rows)


def _check_shape(name: str, where: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ShapeError(
            f"{name}: {where} has shape {found}; expected {expected}, as the true features.",
            where=where,
            expected=expected,
            found=found,
        )


def nearest_training(decoded: Features, training: Features) -> NDArray[np.int64]:
    """Find the training stimulus whose features are nearest to each decoded item.

    The similarity is the correlation across targets, after the training stimuli's mean is subtracted. The scores of
    these training images are those of retrieval alone: a baseline that reconstructions have to exceed.

    Parameters
    ----------
    decoded
        ``(n, ...)``: decoded features.
    training
        ``(n_training, ...)``: features of the stimuli that the decoder was fitted on, one row each.

    Returns
    -------
    Shape ``(n,)``: stimulus ids of training stimuli.
    """
    mean = training.flat.mean(axis=0, dtype=np.float64)
    r = similarity_to_training(decoded.flat - mean, training.flat, mean)
    ids: NDArray[np.int64] = training.stimulus_id[r.argmax(axis=1)]
    return ids


def _target_score(true: NDArray[Any], decoded: NDArray[Any], pool: Pool) -> Score:
    true, decoded = true[pool.items], decoded[pool.items]
    paired = metrics.target_products(true, decoded)
    return Score(
        float(np.diagonal(paired).mean()),
        metrics.bootstrap_target_r(true, decoded, pool.weights),
        statistics.repaired_scores(paired, pool.wrong_rows),
        permuted=statistics.repaired_scores(paired, pool.permuted_rows),
    )
