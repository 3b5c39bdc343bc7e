"""New trials: match their voxels with those of a decoder, standardise them by a named rule, and predict.

Standardised responses are ``(beta - mean) / scale``, voxel by voxel. The rule names the mean and the scale:

========== ==========================================================================================================
rule       mean and scale of a trial
========== ==========================================================================================================
session    of all new trials of its session
training   of the training sessions: the average of their means, and the root mean square of their scales
causal     of the trials of its session up to this one; the training statistics count as `PRIOR_TRIALS` earlier trials
========== ==========================================================================================================

Only ``session`` uses later trials.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reseen.decode.decoder import Decoder
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.features import Features
from reseen.ridge import RidgeMap
from reseen.trials import Trials, standardise

ScalingRule = Literal["session", "training", "causal"]
SCALING_RULES: tuple[ScalingRule, ...] = get_args(ScalingRule)
"""Rules by which new trials are standardised."""
PRIOR_TRIALS = 10
"""Number of trials that the training statistics count as, under the rule ``causal``."""
FEWEST_TRIALS = 3
"""Smallest number of trials of a session that gives a mean and a scale of its own, as for training data."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def default_rule(decoder: Decoder) -> ScalingRule:
    """Return the rule that fits the training data: ``session`` if they were standardised by session, or ``training``.

    Training data that reseen did not standardise are in units of their own, and so are new trials.
    """
    return "training" if decoder.scaling_ is None else "session"


def wanted_voxels(decoder: Decoder) -> NDArray[np.int64]:
    """Return the index of each voxel of a decoder, ``(n_voxels,)``.

    It is the index in the volume, or, of data without a volume, the number among the voxels that the run read.
    """
    return np.flatnonzero(decoder.voxels_) if decoder.voxel_index_ is None else decoder.voxel_index_


def match_voxels(decoder: Decoder, trials: Trials) -> NDArray[np.int64]:
    """Return the column of new trials that has each voxel of a decoder, ``(n_voxels,)``, by the index of the voxels.

    Raises
    ------
    ShapeError
        If the trials have no voxel indices, an index twice, another volume, or lack voxels of the decoder.
    """
    index = trials.voxel_index
    if index is None:
        raise ShapeError(
            "the new trials have no voxel_index, and voxels are never matched by their order alone. Add the index of "
            "each column: dataclasses.replace(trials, voxel_index=...).",
            where="voxel_index",
        )
    expected, found = decoder.volume_shape_, trials.volume_shape
    if expected is not None and found is not None and tuple(found) != tuple(expected):
        raise ShapeError(
            f"the new trials are in a volume of shape {tuple(found)}; the decoder of {decoder.feature_} was fitted in "
            f"{tuple(expected)}. Resample them to the space of the training data first.",
            where="volume_shape",
            expected=tuple(expected),
            found=tuple(found),
        )
    known, first = np.unique(index, return_index=True)
    if len(known) < len(index):
        twice = int(np.delete(index, first)[0])
        raise ShapeError(
            f"voxel_index of the new trials has {twice} twice. Give every column the index of its own voxel.",
            where="voxel_index",
            found=twice,
        )
    wanted = wanted_voxels(decoder)
    missing = np.setdiff1d(wanted, known)
    if len(missing):
        raise ShapeError(
            f"the new trials lack {len(missing):,} of the {len(wanted):,} voxels of the decoder of "
            f"{decoder.feature_}; the first has the index {missing[0]}. Read the same voxels of the same subject, with "
            "the mask of the training data.",
            where="voxel_index",
            expected=len(wanted),
            found=len(wanted) - len(missing),
        )
    column: NDArray[np.int64] = first[np.searchsorted(known, wanted)]
    return column


def predict_new(decoder: Decoder, trials: Trials, rule: ScalingRule, *, average: bool = False) -> Features:
    """Predict a feature from new trials of the voxels that a decoder was fitted on, in any order.

    Parameters
    ----------
    decoder
        Fitted decoder.
    trials
        New trials in order of presentation, with the index of each voxel; further voxels are ignored. Trials that are
        already standardised within sessions stay as they are under ``"session"``; under the other rules this is undone
        first.
    rule
        Rule of standardisation; see the table of this module.
    average
        Average the standardised trials of each stimulus before the prediction.

    Returns
    -------
    Features
        One row for each trial, or for each stimulus, sorted by id.

    Raises
    ------
    ShapeError
        As `match_voxels`.
    DataError
        If a session has too few trials for ``"session"``, or a number is not finite.
    RecipeError
        If there is no such rule.
    """
    if rule not in SCALING_RULES:
        raise RecipeError(
            f"there is no scaling {rule!r}; the rules are {', '.join(SCALING_RULES)}.",
            where="scaling",
            expected=SCALING_RULES,
            found=rule,
        )
    column = match_voxels(decoder, trials)
    betas = _in_training_units(decoder, trials, column, rule)
    rows = Trials(betas, trials.stimulus_id, n_repetitions=trials.n_repetitions, rois={})
    return predict_rows(decoder, rows.average() if average else rows)


def predict_rows(decoder: Decoder, rows: Trials) -> Features:
    """Predict a feature from rows with the decoder's voxels, in their order and in the units of the fit."""
    counts = rows.n_repetitions if decoder.rescale_averages else None
    flat = decoder.map_.predict(rows.betas, n_repetitions=counts)
    return Features(decoder.feature_, flat.reshape(len(flat), *decoder.shape_), rows.stimulus_id)


def _in_training_units(decoder: Decoder, trials: Trials, column: NDArray[np.int64], rule: ScalingRule) -> Float32:
    """Return the decoder's voxels of new trials, ``(n_trials, n_voxels)``, in the units of the fit."""
    betas = trials.betas[:, column]
    if rule == "session" and trials.scaling is not None:
        standardised = betas
    else:
        if trials.scaling is not None:
            betas = trials.scaling.voxels(column).undo(betas, trials.session)
        mean, scale = training_statistics(decoder)
        standardised = np.empty_like(betas)
        for session in np.unique(trials.session):
            rows = trials.session == session
            standardised[rows] = _standardise_session(betas[rows], int(session), mean, scale, rule)
    return units_of_fit(decoder, standardised)


def units_of_fit(decoder: Decoder, standardised: Float32) -> Float32:
    """Return standardised responses ``(n_trials, n_voxels)`` in the units that a decoder was fitted on."""
    if decoder.scaling_ is not None:
        return standardised
    # the map was fitted on betas that are not standardised: it needs their training mean and scale
    mean, scale = training_statistics(decoder)
    return (standardised * scale + mean).astype(np.float32)


def _standardise_session(betas: Float32, session: int, mean: Float64, scale: Float64, rule: ScalingRule) -> Float32:
    """Standardise the trials of one session, in order of presentation."""
    if rule == "training":
        return ((betas - mean) / scale).astype(np.float32)
    if rule == "causal":
        running_mean, running_scale = running_statistics(betas, mean, scale)
        return ((betas - running_mean) / running_scale).astype(np.float32)
    if len(betas) < FEWEST_TRIALS:
        raise DataError(
            f"session {session} of the new trials has {len(betas)} trials, too few for a mean and a scale of its own. "
            "Use the scaling training or causal.",
            where="scaling",
            expected=FEWEST_TRIALS,
            found=len(betas),
        )
    return standardise(betas)[0]


def training_statistics(decoder: Decoder) -> tuple[Float64, Float64]:
    """Return mean and scale of each voxel in the training sessions, ``(n_voxels,)`` each.

    Of data that were standardised within sessions: the average of the sessions' means, and the root mean square of
    their scales, which is the spread within sessions. Otherwise: those of the fitted map.

    Raises
    ------
    ShapeError
        If the decoder has a user's estimator, which has no means and scales.
    """
    if decoder.scaling_ is not None:
        return decoder.scaling_.mean.mean(axis=0), np.sqrt((decoder.scaling_.scale**2).mean(axis=0))
    if not isinstance(decoder.map_, RidgeMap):
        raise ShapeError("the decoder has a user's estimator, without the mean and the scale of the training trials.")
    return decoder.map_.voxel_mean.astype(np.float64), decoder.map_.voxel_scale.astype(np.float64)


def running_statistics(
    betas: Float32, mean: Float64, scale: Float64, *, n_prior: int = PRIOR_TRIALS
) -> tuple[Float64, Float64]:
    """Return the running mean and scale of each trial of a session, ``(n_trials, n_voxels)`` each.

    Those of trial t are the mean and the standard deviation (ddof 0) of trials 1 to t together with ``n_prior`` earlier
    trials of training mean and scale. With k = ``n_prior`` and the mean a and the variance v of trials 1 to t:

    ``mean_t = (k * mean + t * a) / (k + t)``,
    ``scale_t² = (k * scale² + t * v) / (k + t) + k * t * (a - mean)² / (k + t)²``.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``, in order of presentation.
    mean, scale
        Shape ``(n_voxels,)``: training statistics.
    n_prior
        Number of trials that they count as, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> betas = np.array([[3.0], [5.0]], dtype=np.float32)
    >>> running_statistics(betas, np.zeros(1), np.ones(1), n_prior=2)[0].ravel()
    array([1., 2.])
    """
    shifted = betas.astype(np.float64) - mean  # around the training mean, so that squares lose no digits
    count = np.arange(1, len(betas) + 1)[:, None]
    return _with_prior(shifted.cumsum(axis=0), (shifted**2).cumsum(axis=0), count, mean, scale, n_prior)


def _with_prior(
    total: Float64, squares: Float64, count: int | NDArray[np.int64], mean: Float64, scale: Float64, n_prior: int
) -> tuple[Float64, Float64]:
    """Return mean and scale from the sums of ``count`` deviations from the training mean, and of their squares."""
    weight = n_prior + count
    shift = total / weight
    # variance = mean square - square of the mean, around the training mean
    variance = (n_prior * scale**2 + squares) / weight - shift**2
    return mean + shift, np.sqrt(np.maximum(variance, 0.0))


class RunningScaling:
    """Rule ``causal`` for one trial at a time, of one session: the numbers of `running_statistics`.

    Parameters
    ----------
    mean, scale
        Shape ``(n_voxels,)``: training statistics.
    n_prior
        Number of trials that they count as, at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> running = RunningScaling(np.zeros(1), np.ones(1), n_prior=2)
    >>> [running.standardise(np.array([beta], dtype=np.float32)).round(3).tolist() for beta in (3.0, 5.0)]
    [[1.225], [1.342]]
    """

    def __init__(self, mean: Float64, scale: Float64, *, n_prior: int = PRIOR_TRIALS) -> None:
        self._mean, self._scale, self._n_prior = mean, scale, n_prior
        self._total, self._squares, self._count = np.zeros_like(mean), np.zeros_like(mean), 0

    def standardise(self, beta: Float32) -> Float32:
        """Return the next trial of the session, ``(n_voxels,)``, standardised by the statistics up to this trial."""
        shifted = beta.astype(np.float64) - self._mean
        self._total += shifted
        self._squares += shifted**2
        self._count += 1
        mean, scale = _with_prior(self._total, self._squares, self._count, self._mean, self._scale, self._n_prior)
        return ((beta - mean) / scale).astype(np.float32)
