"""Uncertainty: how far single-trial predictions are from the true feature, learnt from held-out training trials."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from reseen.decode.decoder import Decoder
from reseen.errors import RecipeError, ShapeError
from reseen.ridge import RidgeMap

COVERAGES = (0.5, 0.8, 0.95)
"""Nominal coverages of the intervals that are compared with held-out trials."""


def predictive_sd(decoder: Decoder) -> NDArray[np.float32] | None:
    """Return the standard deviation of the true feature around a single-trial prediction, of the feature's shape.

    It is the root mean square of the residuals of training trials that the folds of the ridge held out, at the penalty
    of each target. It contains noise of the responses and everything that the decoder cannot predict. It is the same
    for every trial. The folds train on fewer stimuli than the decoder, so that it is slightly too large.

    Returns
    -------
    ndarray or None
        None without such residuals: a user's estimator, no folds, or training on averages of trials.

    Examples
    --------
    >>> from reseen import Features, Trials
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(80, 2)).astype(np.float32), np.arange(80))
    >>> decoder = Decoder().fit(Trials(z.array @ rng.normal(size=(2, 30)), np.arange(80)), z)
    >>> predictive_sd(decoder).shape
    (2,)
    """
    fitted = decoder.map_
    if not isinstance(fitted, RidgeMap) or fitted.residual_variance is None or decoder.n_averaged_ > 1:
        return None
    sd: NDArray[np.float32] = np.sqrt(fitted.residual_variance).astype(np.float32).reshape(decoder.shape_)
    return sd


def interval_of(
    predicted: NDArray[np.float32], sd: NDArray[np.float32], coverage: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the limits of the central normal interval around predictions, each of their shape.

    Parameters
    ----------
    predicted
        Shape ``(n_items, ...)``.
    sd
        Standard deviation of one item, ``(...)``.
    coverage
        Proportion of true values that should be in the interval, between 0 and 1.

    Raises
    ------
    RecipeError
        If the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise RecipeError(
            f"coverage is {coverage}; a proportion between 0 and 1 is needed.", where="coverage", found=coverage
        )
    half = np.float32(NormalDist().inv_cdf(0.5 + coverage / 2)) * sd
    return predicted - half, predicted + half


def measure_coverage(
    predicted: NDArray[np.float32],
    true: NDArray[np.float32],
    sd: NDArray[np.float32],
    coverages: Sequence[float] = COVERAGES,
) -> list[float]:
    """Return the proportion of true values in intervals of each nominal coverage, over items and varying targets.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.
    """
    inside = inside_intervals(predicted, true, sd, coverages)
    return [float(proportions.mean()) for proportions in inside]


def inside_intervals(
    predicted: NDArray[np.float32],
    true: NDArray[np.float32],
    sd: NDArray[np.float32],
    coverages: Sequence[float] = COVERAGES,
) -> NDArray[np.float64]:
    """Return for each item the proportion of its true values in intervals of each nominal coverage.

    Returns
    -------
    ndarray
        Shape ``(n_coverages, n_items)``, over the targets that vary in training.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.
    """
    if predicted.shape != true.shape or sd.shape != predicted.shape[1:]:
        raise ShapeError(
            f"predictions have shape {predicted.shape}, true features {true.shape} and standard deviations {sd.shape}; "
            f"{predicted.shape} twice and {predicted.shape[1:]} are needed.",
            where="true",
            expected=predicted.shape,
            found=true.shape,
        )
    varies = sd > 0  # a target that is constant in training has no interval
    found = []
    for coverage in coverages:
        low, high = interval_of(predicted, sd, coverage)
        inside = (true >= low) & (true <= high)
        found.append(inside[:, varies].mean(axis=1, dtype=np.float64))
    return np.stack(found)
