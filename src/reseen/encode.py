"""Encode: from features to every voxel, scored on held-out pictures beside each voxel's noise ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.recipe import EncodeRecipe
from reseen.ridge import fit_ridge
from reseen.trials import Split, Trials

if TYPE_CHECKING:
    import pandas as pd

Float32 = NDArray[np.float32]

COLUMNS = (
    "subject",
    "feature",
    "roi",
    "n_voxels",
    "median_r",
    "mean_r",
    "median_ceiling_r",
    "median_normalised_r",
    "n",
)


def encode(
    trials: Trials, split: Split, features: Sequence[Features], *, recipe: EncodeRecipe, seed: int
) -> tuple[pd.DataFrame, dict[str, Float32]]:
    """Fit one model for each feature space, from the feature to every voxel, and score it on held-out pictures.

    Repetitions are averaged on both sides: the response to a picture is the row, whether it trains or tests.

    Parameters
    ----------
    trials
        Single trials of one subject.
    split
        Which stimuli are held out, fold by fold.
    features
        Feature spaces that cover the training and the test stimuli.
    recipe
        Folds that choose each voxel's penalty.
    seed
        Decides which stimuli share a fold.

    Returns
    -------
    table
        One row for each feature space and ROI (and ``"all"`` voxels), see `COLUMNS`; ``n`` is the number of test
        pictures. ``median_normalised_r`` divides each voxel's r by its ceiling, over voxels with a ceiling above 0.
    voxels
        Float32 arrays of shape ``(n_voxels,)``: ``"r/<feature>"``, Pearson correlation over test pictures, NaN
        where a voxel is constant; ``"alpha/<feature>"``, the penalty (geometric mean over folds); ``"ceiling_r"``, the
        square root of NSD's noise ceiling for these repetitions, NaN where ncsnr is unknown.

    Raises
    ------
    ShapeError
        If two feature spaces share a name, a stimulus has no feature, or there are too few stimuli or test pictures.
    """
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        raise ShapeError(f"each feature space needs a name of its own; found {', '.join(names)}.")
    test = trials.select(split.test_ids).average()
    if len(test) < 2:
        raise ShapeError(f"a correlation needs at least two test pictures; {trials.subject} saw {len(test)} of them.")
    voxels = {"ceiling_r": _ceiling_r(test)}
    for feature in features:
        predicted, alpha = _predict(trials, split, feature, recipe, seed)
        voxels[f"r/{feature.name}"] = _correlations(test.betas, predicted)
        voxels[f"alpha/{feature.name}"] = alpha
    return _table(trials, names, voxels, len(test)), voxels


def _predict(
    trials: Trials, split: Split, feature: Features, recipe: EncodeRecipe, seed: int
) -> tuple[Float32, Float32]:
    """Predict every voxel's response to every test picture, sorted by stimulus id."""
    ids, parts, logarithms = [], [], []
    for train_ids, test_ids in split.folds:
        train, shown = trials.select(train_ids).average(), trials.select(test_ids)
        if not len(train) or not len(shown):
            raise ShapeError(f"{trials.subject} saw none of the training or none of the test stimuli of a fold.")
        fitted = fit_ridge(
            _flat(feature, train.stimulus_id), train.betas, groups=train.stimulus_id, n_folds=recipe.n_folds, seed=seed
        )
        ids.append(np.unique(shown.stimulus_id))
        parts.append(fitted.predict(_flat(feature, ids[-1])))
        logarithms.append(np.log(fitted.alpha))
    order = np.argsort(np.concatenate(ids))
    return np.concatenate(parts)[order], np.exp(np.mean(logarithms, axis=0)).astype(np.float32)


def _flat(feature: Features, stimulus_id: NDArray[np.int64]) -> Float32:
    return feature.rows(stimulus_id).reshape(len(stimulus_id), -1)


def _correlations(true: Float32, predicted: Float32) -> Float32:
    """Correlate column by column; NaN where the truth does not vary, 0 where only the prediction does not."""
    a = true - true.mean(axis=0, dtype=np.float64)
    b = predicted - predicted.mean(axis=0, dtype=np.float64)
    spread_a, spread_b = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    r = (a * b).sum(axis=0) / np.where((spread_a > 0) & (spread_b > 0), spread_a * spread_b, 1.0)
    return np.where(spread_a > 0, r, np.nan).astype(np.float32)


def _ceiling_r(test: Trials) -> Float32:
    if test.ncsnr is None:
        return np.full(test.betas.shape[1], np.nan, dtype=np.float32)
    return np.sqrt(metrics.noise_ceiling(test.ncsnr, test.n_repetitions)).astype(np.float32)


def _table(trials: Trials, names: Sequence[str], voxels: Mapping[str, Float32], n: int) -> pd.DataFrame:
    import pandas as pd

    everywhere = np.ones(trials.betas.shape[1], dtype=bool)
    rows = []
    for name in names:
        for roi, mask in {"all": everywhere, **trials.rois}.items():
            r, ceiling = voxels[f"r/{name}"][mask], voxels["ceiling_r"][mask]
            reached = r[ceiling > 0] / ceiling[ceiling > 0]
            summary = (_over(np.median, r), _over(np.mean, r), _over(np.median, ceiling), _over(np.median, reached))
            rows.append((trials.subject, name, roi, int(mask.sum()), *summary, n))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _over(statistic: Callable[[Float32], Any], values: Float32) -> float:
    """Summarise the voxels that have a value; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(statistic(known)) if len(known) else float("nan")
