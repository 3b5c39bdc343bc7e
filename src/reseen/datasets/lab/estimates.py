"""Responses that are estimated run by run, which takes long; the estimates of each run can be kept for a next start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.kept import load_kept
from reseen.files import write_tensors

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class EstimatedRun:
    """Run whose responses are estimated.

    Parameters
    ----------
    n_trials
        Number of its trials.
    estimate
        Function of voxel numbers ``(n,)``, ascending, that returns betas ``(n_trials, n)``.
    origin
        Function of the same voxel numbers that returns everything that can change these betas: files, voxels and
        settings.
    """

    n_trials: int
    estimate: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    origin: Callable[[NDArray[np.int64]], dict[str, str]]


def read_runs(
    runs: Sequence[EstimatedRun],
    columns: NDArray[np.int64],
    rows: NDArray[np.int64],
    keep: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Estimate the responses of runs, or load those that are kept.

    Parameters
    ----------
    runs
        Runs, in order.
    columns
        Voxels, ascending, ``(n,)``.
    rows
        Trials of all runs, ascending, ``(n_rows,)``. A run without any of them is not estimated.
    keep
        Folder with one file for each run, complete or absent; a file of another origin is replaced. Default: nothing is
        kept.
    progress
        Function of the number of runs done and the total number.

    Returns
    -------
    Shape ``(n_rows, n)``.

    Raises
    ------
    DataError
        If a series is damaged.
    ResultsError
        If ``keep`` cannot be written.
    """
    betas = np.empty((len(rows), len(columns)), dtype=np.float32)
    first = 0
    for number, run in enumerate(runs, start=1):
        start, stop = np.searchsorted(rows, [first, first + run.n_trials])
        if start < stop:
            path = None if keep is None else keep / f"run{number:03d}.safetensors"
            betas[start:stop] = _kept_or_estimated(run, columns, path)[rows[start:stop] - first]
        first += run.n_trials
        if progress is not None:
            progress(number, len(runs))
    return betas


def _kept_or_estimated(run: EstimatedRun, columns: NDArray[np.int64], path: Path | None) -> NDArray[np.float32]:
    if path is None:
        return run.estimate(columns)
    origin = run.origin(columns)
    kept = load_kept(path, origin, ("betas",), path.stem)
    if kept is not None and kept[0].shape == (run.n_trials, len(columns)):
        return kept[0]
    betas = run.estimate(columns)
    write_tensors(path, {"betas": betas}, origin)
    return betas
