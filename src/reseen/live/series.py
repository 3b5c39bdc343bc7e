"""Series: a causal estimate of each trial from one NIfTI file that grows while the scanner runs.

The estimate is simple. A general linear model is fitted by least squares to the volumes up to the onset of a trial plus
a delay: one regressor for this trial, one for all other trials that started by then, both convolved with the canonical
haemodynamic response (SPM), cosine drifts up to 0.01 Hz and a constant. The beta of the trial is divided by the mean of
these volumes: per cent signal change. Later volumes are never used, also if they are there already. There is no
correction of motion, no denoising and no autocorrelation; preprocess the series first, in real time, if you need them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.single_trials import OTHERS, TRIAL, Events, Scan, design_matrix
from reseen.datasets.lab.table import read_columns
from reseen.datasets.new_trials import NewTrials, check_grid
from reseen.defaults import LIVE_DELAY
from reseen.errors import DataError
from reseen.files import reading, shown
from reseen.live.arrivals import Arrival, BadFile, FileState
from reseen.trials import Trials


@dataclass(frozen=True, eq=False)
class TrialOnsets:
    """Trials of a run.

    Parameters
    ----------
    onset, duration
        Shape ``(n_trials,)``: in seconds, by onset.
    stimulus_id
        Shape ``(n_trials,)``: stimulus of each trial; None if unknown.
    """

    onset: NDArray[np.float64]
    duration: NDArray[np.float64]
    stimulus_id: NDArray[np.int64] | None

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.onset)


def read_onsets(path: Path) -> TrialOnsets:
    """Read the trials of a run from a ``.tsv`` or ``.csv`` table, one row for each trial.

    Its columns are ``onset`` and ``duration`` in seconds, from the first volume, and ``stimulus_id`` if it is known.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or a cell is not a number.
    """
    columns = read_columns(path)
    onset, duration = (_numbers(path, columns, name) for name in ("onset", "duration"))
    order = np.argsort(onset, kind="stable")
    stimulus = None
    if "stimulus_id" in columns:
        stimulus = _numbers(path, columns, "stimulus_id")[order].astype(np.int64)
    return TrialOnsets(onset[order], duration[order], stimulus)


def _numbers(path: Path, columns: dict[str, tuple[str, ...]], name: str) -> NDArray[np.float64]:
    if name not in columns:
        raise DataError(
            f"{shown(path)} has no column {name}; it has {', '.join(columns)}. Add it, in seconds.",
            where=name,
            expected=name,
            found=tuple(columns),
        )
    try:
        values = np.array(columns[name], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{shown(path)}: column {name} has a cell that is no number ({error}).", where=name) from error
    if not np.isfinite(values).all():
        raise DataError(f"{shown(path)}: column {name} has a cell that is not finite. Write a number.", where=name)
    return values


def estimate_trial(
    series: NDArray[Any], trial: int, events: TrialOnsets, repetition_time: float
) -> NDArray[np.float32]:
    """Return the beta of one trial from the volumes so far, in per cent of their mean, ``(n_voxels,)``.

    Parameters
    ----------
    series
        Shape ``(n_volumes, n_voxels)``: the volumes that are used, from the first.
    trial
        Number of the trial.
    events
        All trials of the run; those that start after the last volume are left out.
    repetition_time
        Time between two volumes, in seconds.

    Returns
    -------
    ndarray
        0 for a voxel that is constant or whose mean is 0.
    """
    scan = Scan(repetition_time, 0.0, {})
    last = float(scan.times(len(series))[-1])
    started = np.flatnonzero(events.onset <= last)
    names = [TRIAL if number == trial else OTHERS for number in started]
    known = Events(events.onset[started], events.duration[started], started, tuple(names))
    design = design_matrix(len(series), names, known, scan, "spm")
    weights = np.linalg.pinv(design.to_numpy())[design.columns.get_loc(TRIAL)]
    values = np.asarray(series, dtype=np.float64)
    mean = values.mean(axis=0)
    varies = (np.ptp(values, axis=0) > 0) & (mean != 0)
    # weights are orthogonal to the constant, so that the mean does not have to be subtracted first
    beta: NDArray[np.float64] = np.divide(100 * (weights @ values), mean, out=np.zeros_like(mean), where=varies)
    return beta.astype(np.float32)


class SeriesSource:
    """Trials of one uncompressed NIfTI file, ``(X, Y, Z, time)``, to which volumes are appended.

    The number of volumes is that of complete volumes in the file, whatever its header says.

    Parameters
    ----------
    path
        The series, ``.nii``. It may not exist yet.
    events
        Table of the trials; see `read_onsets`.
    voxel_index
        Shape ``(n_voxels,)``, ascending: voxels of the decoders.
    repetition_time
        Time between two volumes, in seconds; None: that of the header.
    delay
        Time from the onset of a trial to its estimate, in seconds.
    used
        Names of trials that were decoded before.
    reported
        Error of the series that was reported last; it is not reported again for each new volume.

    Raises
    ------
    DataError
        If the series is compressed, or the table cannot be read.
    """

    def __init__(
        self,
        path: Path,
        events: Path,
        voxel_index: NDArray[np.int64],
        *,
        repetition_time: float | None = None,
        delay: float = LIVE_DELAY,
        used: Iterable[str] = (),
        reported: str = "",
    ) -> None:
        if path.suffix != ".nii":
            raise DataError(
                f"{shown(path)} is no uncompressed NIfTI file (.nii), to which volumes can be appended.",
                where=path,
                expected=".nii",
                found=path.suffix,
            )
        if not delay > 0:
            raise DataError(
                f"the delay is {delay:g} s. The response follows the onset: give seconds above 0, such as "
                f"{LIVE_DELAY:g}.",
                where="delay",
                expected="> 0",
                found=delay,
            )
        self._path, self._voxels, self._delay, self._time = path, voxel_index, delay, repetition_time
        self._events, self._used = read_onsets(events), set(used)
        # nilearn takes seconds to import: not when the first trial is ready
        design_matrix(
            2, [], Events(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), ()), Scan(1.0, 0.0, {}), "spm"
        )
        self._header: _Header | None = None
        self._volumes = np.empty((0, len(voxel_index)))  # those that were read so far
        self._refused: FileState | None = None
        self._reported = reported
        self._landed: dict[int, float] = {}  # time at which the volumes of a trial were there
        self._polled: float | None = None

    def poll(self) -> Arrival | BadFile | None:
        """Return the next trial whose delay is over, or None."""
        ready = [number for number in range(len(self._events)) if self._name(number) not in self._used]
        if not ready:
            return None
        try:
            now, state = time.monotonic(), FileState.of(self._path)
        except OSError:  # not there yet, or a disk of the network is away
            return None
        landed, self._polled = state.landed(self._polled, now), now
        if state == self._refused:
            return None
        try:
            return self._next(ready, state, landed)
        except DataError as error:
            self._refused = state
            if str(error) == self._reported:
                return None
            self._reported = str(error)
            return BadFile(self._path.name, str(error), state)

    def reject(self, arrival: Arrival) -> None:
        """Mark a trial that the decoders refuse; it is not estimated again."""
        self._used.add(arrival.name)

    def _name(self, number: int) -> str:
        return f"{self._path.name}, trial {number}"

    def _next(self, ready: list[int], state: FileState, landed: float) -> Arrival | None:
        if self._header is None:
            self._header = _read_header(self._path, state.size, self._time)
        header = self._header
        if header is None:
            return None
        n_volumes = header.count(state.size)
        n_needed = {number: self._n_needed(number, header.repetition_time) for number in ready}
        for number, n in n_needed.items():
            if n <= n_volumes:
                self._landed.setdefault(number, landed)
        number = ready[0]
        n_used = n_needed[number]
        if n_volumes < n_used:
            return None
        if n_used > len(self._volumes):
            new = header.read(self._path, len(self._volumes), n_used, self._voxels)
            self._volumes = np.concatenate([self._volumes, new])
        beta = estimate_trial(self._volumes[:n_used], number, self._events, header.repetition_time)
        known = self._events.stimulus_id
        ids = np.array([number if known is None else known[number]])
        trials = Trials(beta[None], ids, voxel_index=self._voxels, volume_shape=header.volume, rois={})
        self._used.add(self._name(number))
        self._reported = ""
        return Arrival(self._name(number), NewTrials(trials, known is not None), self._landed.pop(number), state)

    def _n_needed(self, number: int, repetition_time: float) -> int:
        """Return the number of volumes up to the first one at or after the delay of a trial; a model needs two."""
        last = (self._events.onset[number] + self._delay) / repetition_time
        return max(int(np.ceil(last - 1e-6)) + 1, 2)


@dataclass(frozen=True)
class _Header:
    """Layout of a NIfTI file: shape of a volume, type of a number, first byte, scale, and time between two volumes."""

    volume: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    repetition_time: float

    def count(self, n_bytes: int) -> int:
        """Return the number of complete volumes of a file of this size."""
        return max(n_bytes - self.offset, 0) // (int(np.prod(self.volume)) * self.dtype.itemsize)

    def read(self, path: Path, first: int, end: int, voxel_index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Read some voxels of the volumes from ``first`` to before ``end``, ``(n_volumes, n_voxels)``."""
        check_grid(path, self.volume, voxel_index)
        size = int(np.prod(self.volume))
        # NIfTI is in Fortran order; indices of voxels are in C order
        column = np.ravel_multi_index(np.unravel_index(voxel_index, self.volume), self.volume, order="F")
        with reading(path):
            mapped = np.memmap(path, self.dtype, "r", self.offset, (end, size))
            return np.asarray(mapped[first:, column], dtype=np.float64) * self.slope + self.intercept


def _read_header(path: Path, n_bytes: int, repetition_time: float | None) -> _Header | None:
    """Read the header of a series; None while it is not complete."""
    import nibabel

    header_class: Any = nibabel.Nifti1Header
    if n_bytes < header_class.sizeof_hdr:
        return None
    with reading(path), path.open("rb") as file:
        header = header_class.from_fileobj(file, check=False)
        shape, offset = header.get_data_shape(), int(header.get_data_offset())
        slope, intercept = header.get_slope_inter()
        dtype = header.get_data_dtype()
    zooms, unit = header.get_zooms(), header.get_xyzt_units()[1]
    in_header = float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) if len(zooms) > 3 else 0.0
    step = in_header if repetition_time is None else repetition_time
    if len(shape) < 3 or dtype.kind not in "iuf" or not step > 0:
        raise DataError(
            f"{shown(path)} is no series of volumes with a time between them: its header has the shape {shape}, "
            f"numbers of type {dtype} and {in_header:g} s. Correct the header, or give the time with --tr.",
            where=path,
            expected=("X, Y, Z, time", "real numbers", "time between volumes"),
            found=(shape, str(dtype), in_header),
        )
    volume = (int(shape[0]), int(shape[1]), int(shape[2]))
    scale = (1.0, 0.0) if slope is None or not np.isfinite(slope) or slope == 0 else (float(slope), float(intercept))
    return _Header(volume, dtype, offset, *scale, step)
