"""Time series of fMRIPrep with their events, times and confounds, from which responses are estimated at first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.kept import origin
from reseen.datasets.lab.data import Responses
from reseen.datasets.lab.estimates import EstimatedRun, read_runs
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.runs import Run, may_be, read_events, run_of
from reseen.datasets.lab.single_trials import Events, Scan, check_onsets, estimate
from reseen.datasets.lab.table import read_columns
from reseen.datasets.lab.volumes import count_volumes
from reseen.datasets.volumes import read_header_times, read_voxels
from reseen.errors import DataError
from reseen.files import read_json
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Confounds that are used if ``data.confounds`` is left out: those of these that the file has, and `STEADY`."""
STEADY = "non_steady_state_outlier*"
CONFOUNDS = ("desc-confounds_timeseries.tsv", "desc-confounds_regressors.tsv")


@dataclass(frozen=True, eq=False)
class Series:
    """Time series of a run, and what a model of it needs.

    Parameters
    ----------
    path
        NIfTI file (X, Y, Z, volume).
    events
        Events of the run.
    scan
        Times and confounds.
    """

    path: Path
    events: Events
    scan: Scan


def read_series(data: DataRecipe, run: Run, path: Path, place: Place, events: Path, sidecars: Sequence[Path]) -> Series:
    """Read events, times and confounds of a run; the series itself is read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    run
        Labels of the run.
    path
        The series.
    place
        Voxels of the brain mask.
    events
        Events file of the run.
    sidecars
        ``bold.json`` files of the data set that apply to the run.

    Raises
    ------
    DataError
        If a file is missing or damaged, or does not fit the series.
    """
    n_volumes = count_volumes(path, place)
    found = _events(events)
    confounds_file = _confounds_file(data, run, path)
    confounds = {} if confounds_file is None else _confounds(data, confounds_file, n_volumes)
    scan = Scan(*_times(path, sidecars), confounds)
    try:
        check_onsets(n_volumes, found, scan)
    except DataError as error:
        message = f"{shown(path)}: {error}"
        raise DataError(message, where=path, expected=error.expected, found=error.found) from error
    return Series(path, found, scan)


def computed_responses(series: Sequence[Series], place: Place, data: DataRecipe) -> Responses:
    """Return responses that are estimated from the series of all runs, one run at a time."""
    runs = tuple(_run(found, place, data) for found in series)
    n_trials = sum(run.n_trials for run in runs)
    every = partial(read_runs, runs, rows=np.arange(n_trials))
    return Responses(n_trials, len(place.index), every, place, runs=runs)


def _run(series: Series, place: Place, data: DataRecipe) -> EstimatedRun:
    def betas(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        volumes = read_voxels(series.path, place.index[columns])
        return estimate(volumes, series.events, series.scan, data.single_trials, data.hrf)

    def sources(columns: NDArray[np.int64]) -> dict[str, str]:
        settings = {
            "model": _fingerprint(series.events, series.scan),
            "single_trials": data.single_trials,
            "hrf": data.hrf,
            "nilearn": version("nilearn"),
        }
        return origin([series.path], series.path.parent, place.index[columns], settings)

    return EstimatedRun(series.events.n_trials, betas, sources)


def _fingerprint(events: Events, scan: Scan) -> str:
    """Return the SHA-256 of all events, times and confounds."""
    total = hashlib.sha256(
        json.dumps([scan.repetition_time, scan.start, events.category, list(scan.confounds)]).encode()
    )
    for values in (events.onset, events.duration, events.trial, *scan.confounds.values()):
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def _events(path: Path) -> Events:
    table = read_events(path)
    onset, duration = (_seconds(path, name, table.columns.get(name, ())) for name in ("onset", "duration"))
    if not (len(onset) == len(duration) == len(table)) or not np.isfinite(onset).all():
        raise DataError(
            f"{shown(path)} needs an onset and a duration in seconds for each of its {len(table)} events.",
            where=path,
            expected=("onset", "duration"),
            found=tuple(table.columns),
        )
    has_image = np.array([bool(name) for name in table.image])
    if np.isnan(duration[has_image]).any():
        raise DataError(
            f"{shown(path)}: a trial has no duration. Write it in seconds.", where=path, expected="duration"
        )
    trial = np.where(has_image, np.cumsum(has_image) - 1, -1)
    category = table.columns.get("trial_type", ("",) * len(table))
    return Events(onset, np.nan_to_num(duration), trial, tuple(category))  # an event of unknown length is an impulse


def _seconds(path: Path, name: str, texts: Sequence[str]) -> NDArray[np.float64]:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError as error:
        raise DataError(
            f"{shown(path)}: {name} has a text that is no number ({error}). Write seconds or n/a.", where=path
        ) from error


def _confounds_file(data: DataRecipe, run: Run, path: Path) -> Path | None:
    if data.confounds == ():
        return None
    files = [file for ending in CONFOUNDS for file in sorted(path.parent.glob(f"[!.]*{ending}"))]
    mine = [file for file in files if may_be(run_of(file), run)]
    if len(mine) != 1:
        raise DataError(
            f"{shown(path.parent)} has {len(mine)} files of confounds ({CONFOUNDS[0]}) for {shown(path.name)}; one is "
            "expected. To estimate betas without confounds, set data.confounds to [].",
            where="data.confounds",
            expected=1,
            found=len(mine),
        )
    return mine[0]


def _confounds(data: DataRecipe, path: Path, n_volumes: int) -> dict[str, NDArray[np.float64]]:
    """Return the confounds of a run; missing values, as in the first volume of derivatives, become 0."""
    columns = read_columns(path)
    wanted = (*MOTION, STEADY) if data.confounds is None else data.confounds
    names = []
    for name in columns:
        if any(fnmatchcase(name, pattern) for pattern in wanted):
            names.append(name)
    exact = [] if data.confounds is None else [name for name in wanted if not set(name) & set("*?[")]
    missing = [name for name in exact if name not in columns]
    if missing or not names:
        raise DataError(
            f"{shown(path)} has no column {', '.join(missing or wanted)}. Correct data.confounds; it has "
            f"{', '.join(list(columns)[:12])}.",
            where="data.confounds",
            expected=tuple(missing or wanted),
            found=tuple(columns),
        )
    found = {name: np.nan_to_num(_seconds(path, name, columns[name])) for name in names}
    if len(columns[names[0]]) != n_volumes:
        raise DataError(
            f"{shown(path)} has {len(columns[names[0]])} rows; the series has {n_volumes} volumes. Both have to be of "
            "one run.",
            where=path,
            expected=n_volumes,
            found=len(columns[names[0]]),
        )
    return found


def _times(path: Path, sidecars: Sequence[Path]) -> tuple[float, float]:
    """Return the repetition time, and the time of the first volume, in seconds.

    They are ``RepetitionTime`` and ``StartTime`` of the JSON files, by BIDS's rule of inheritance; or else the fourth
    voxel size of the header, and 0.
    """
    said: dict[str, Any] = {}
    for file in _by_inheritance(path, sidecars):
        said |= read_json(file, dict[str, Any])
    repetition_time = said.get("RepetitionTime", read_header_times(path))
    start = said.get("StartTime", 0.0)
    numbers = isinstance(repetition_time, (int, float)) and isinstance(start, (int, float))
    if not numbers or not 0 < repetition_time < 60 or not 0 <= start < repetition_time:
        raise DataError(
            f"{shown(path)}: the repetition time is {repetition_time} s and the first volume is at {start} s. Write "
            "RepetitionTime, in seconds, into the run's bold.json.",
            where=path,
            expected="RepetitionTime",
            found=repetition_time,
        )
    return float(repetition_time), float(start)


def _by_inheritance(path: Path, files: Sequence[Path]) -> list[Path]:
    """Return the JSON files of a run, the most specific last: those of the data set, then that of the series."""
    own = path.with_name(path.name.partition(".")[0] + ".json")
    return [*sorted(files, key=lambda file: (len(file.parts), file.name.count("_"))), *([own] if own.is_file() else [])]
