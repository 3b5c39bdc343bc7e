"""Estimate responses to single trials from a time series, by nilearn: a GLM with a regressor for each trial.

- LSA ("least squares, all"): one model in which each trial has a regressor.
- LSS ("least squares, separate"): one model for each trial, which has two: the trial, and all other trials.

Events without an image have one regressor for each of their types in both. Each model has cosine drifts up to 0.01 Hz,
a constant and the confounds; noise is autoregressive of order 1. Betas are in per cent of the voxel's mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError

HIGH_PASS = 0.01
"""Upper limit of the frequency of drifts, in Hz; nilearn's default."""
N_VOXELS = 10_000
"""Number of voxels that are fitted at a time."""
TRIAL, OTHERS = "trial", "trials"


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a run.

    Parameters
    ----------
    onset, duration
        Shape ``(n_events,)``: in seconds.
    trial
        Shape ``(n_events,)``: number of the trial, from 0 in order of onset; -1 for an event without an image.
    category
        Category of each event; it matters for events without an image.
    """

    onset: NDArray[np.float64]
    duration: NDArray[np.float64]
    trial: NDArray[np.int64]
    category: tuple[str, ...]

    @property
    def n_trials(self) -> int:
        """Number of trials with an image."""
        return int(self.trial.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class Scan:
    """Times and confounds of a run.

    Parameters
    ----------
    repetition_time
        Time between two volumes, in seconds.
    start
        Time of the first volume: that of the slice to which others were resampled, in seconds.
    confounds
        Name -> ``(n_volumes,)``.
    """

    repetition_time: float
    start: float
    confounds: Mapping[str, NDArray[np.float64]]

    def times(self, n_volumes: int) -> NDArray[np.float64]:
        """Return the time of each volume, in seconds, ``(n_volumes,)``."""
        return self.start + self.repetition_time * np.arange(n_volumes, dtype=np.float64)


def estimate(
    series: NDArray[Any],
    events: Events,
    scan: Scan,
    method: Literal["lsa", "lss"] = "lsa",
    hrf: Literal["spm", "glover"] = "spm",
) -> NDArray[np.float32]:
    """Return the betas of single trials.

    Parameters
    ----------
    series
        Shape ``(n_volumes, n_voxels)``.
    events
        Events of the run.
    scan
        Times and confounds of the run.
    method
        One model for all trials (LSA), or one for each (LSS).
    hrf
        Haemodynamic response function of nilearn.

    Returns
    -------
    betas
        Shape ``(n_trials, n_voxels)``, in per cent of the voxel's mean; NaN for a voxel that is constant.

    Raises
    ------
    DataError
        If an event is after the end of the series.
    """
    check_onsets(len(series), events, scan)
    models = _models(events, method)
    designs = [design_matrix(len(series), names, events, scan, hrf) for names, _ in models]
    betas = np.full((events.n_trials, series.shape[1]), np.nan, dtype=np.float32)
    for first in range(0, series.shape[1], N_VOXELS):
        block = np.asarray(series[:, first : first + N_VOXELS], dtype=np.float64)
        known = np.isfinite(block).all(axis=0) & (np.ptp(block, axis=0) > 0) & (block.mean(axis=0) != 0)
        columns = first + np.flatnonzero(known)
        if not len(columns):
            continue
        scaled = 100 * (block[:, known] / block[:, known].mean(axis=0) - 1)  # per cent of the mean
        for (_, trials), design in zip(models, designs, strict=True):
            betas[np.ix_(np.array(list(trials.values()), dtype=np.intp), columns)] = _fit(scaled, design, tuple(trials))
    return betas


def check_onsets(n_volumes: int, events: Events, scan: Scan) -> None:
    """Check that no trial starts after the end of a series.

    Raises
    ------
    DataError
        If one does.
    """
    last = float(scan.times(n_volumes)[-1])
    late = np.flatnonzero((events.onset > last) & (events.trial >= 0))
    if len(late):
        raise DataError(
            f"{len(late)} trials start after the last volume, at {last:g} s; the first of these at "
            f"{events.onset[late[0]]:g}. Write onsets in seconds, and compare the events file with the series.",
            where="onset",
            expected=last,
            found=float(events.onset[late[0]]),
        )


def _models(events: Events, method: str) -> list[tuple[list[str], dict[str, int]]]:
    """Return, for each model, the regressor of each event, and the trial that each regressor of interest estimates."""
    others = [f"other {category}" for category in events.category]
    numbers = range(events.n_trials)
    if method == "lsa":
        names = {number: f"{TRIAL} {number}" for number in numbers}
        of_events = [names.get(number, other) for number, other in zip(events.trial.tolist(), others, strict=True)]
        return [(of_events, {name: number for number, name in names.items()})]
    models = []
    for number in numbers:
        of_trials = dict.fromkeys(numbers, OTHERS) | {number: TRIAL}
        of_events = [of_trials.get(trial, other) for trial, other in zip(events.trial.tolist(), others, strict=True)]
        models.append((of_events, {TRIAL: number}))
    return models


def design_matrix(n_volumes: int, names: list[str], events: Events, scan: Scan, hrf: str) -> Any:
    """Return the design matrix, a data frame ``(n_volumes, n_regressors)``."""
    import pandas as pd
    from nilearn.glm.first_level import make_first_level_design_matrix

    frame_times = scan.times(n_volumes)
    confounds = np.stack(list(scan.confounds.values()), axis=1) if scan.confounds else None
    table = pd.DataFrame({"onset": events.onset, "duration": events.duration, "trial_type": names})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nilearn warns of events without duration, which are impulses
        return make_first_level_design_matrix(
            frame_times,
            table,
            hrf_model=hrf,
            drift_model="cosine",
            high_pass=HIGH_PASS,
            add_regs=confounds,
            add_reg_names=list(scan.confounds) or None,
        )


def _fit(series: NDArray[np.float64], design: Any, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the coefficients of some regressors, ``(n_names, n_voxels)``."""
    from nilearn.glm.first_level import run_glm

    rows = [design.columns.get_loc(name) for name in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, models = run_glm(series, design.to_numpy(), noise_model="ar1")
    found = np.empty((len(rows), series.shape[1]))
    for label, model in models.items():  # voxels with the same autocorrelation share a model
        found[:, labels == label] = model.theta[rows]
    return found
