"""Trials: the responses of one subject, and the stimulus of each trial.

Everything joins on ``stimulus_id`` (0-based).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError
from reseen.labels import LabelCheck, check_labels

_VOXELS_AT_ONCE = 1024
ALL = "all"
"""Name of the ROI of all voxels, where no ROI is given."""


@dataclass(frozen=True, eq=False)
class SessionScaling:
    """Means and standard deviations that responses were standardised by, session by session.

    Parameters
    ----------
    session
        Shape ``(n_sessions,)``, ascending.
    mean, scale
        Shape ``(n_sessions, n_voxels)``, in the units of the responses before; the scale of a constant voxel is 1.
    """

    session: NDArray[np.int64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, betas: NDArray[np.float32], session: NDArray[np.int64]) -> NDArray[np.float32]:
        """Standardise trials ``(n_trials, n_voxels)`` of known sessions ``(n_trials,)``.

        Raises
        ------
        ShapeError
            If a session is unknown or the voxels are not those of the scaling.
        """
        row = self._rows(betas, session)
        scaled: NDArray[np.float32] = ((betas - self.mean[row]) / self.scale[row]).astype(np.float32)
        return scaled

    def undo(self, betas: NDArray[np.float32], session: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return standardised trials ``(n_trials, n_voxels)`` in their units before; the inverse of `apply`.

        Raises
        ------
        ShapeError
            As `apply`.
        """
        row = self._rows(betas, session)
        raw: NDArray[np.float32] = (betas * self.scale[row] + self.mean[row]).astype(np.float32)
        return raw

    def _rows(self, betas: NDArray[np.float32], session: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the row of the session of each trial, after a check of the voxels."""
        if betas.shape[1] != self.mean.shape[1]:
            raise ShapeError(f"betas have {betas.shape[1]} voxels; this scaling has {self.mean.shape[1]}.")
        row = np.minimum(np.searchsorted(self.session, session), len(self.session) - 1)
        unknown = session[self.session[row] != session]
        if len(unknown):
            raise ShapeError(
                f"the mean and the spread of session {unknown[0]} are not known; known sessions are "
                f"{', '.join(map(str, self.session))}. Standardise all trials of that session together first "
                "(Trials.zscore_sessions)."
            )
        return row

    def voxels(self, mask: NDArray[Any]) -> SessionScaling:
        """Return the scaling of some voxels, chosen by a mask or by number."""
        return SessionScaling(self.session, self.mean[:, mask], self.scale[:, mask])


def standardise(betas: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Standardise each voxel of one session (mean 0, sd 1, ddof 0); one that is constant becomes 0.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``.

    Returns
    -------
    betas, mean, scale
        The standardised trials, and the ``(n_voxels,)`` by which they were standardised.
    """
    centred = betas.astype(np.float64)
    mean = centred.mean(axis=0)
    centred -= mean
    spread = centred.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    centred /= scale
    return centred.astype(np.float32), mean, scale


@dataclass(frozen=True, eq=False, repr=False)
class Trials:
    """Response estimates of one subject, trial by trial, and the stimulus of each trial.

    Parameters
    ----------
    betas
        Shape ``(n_trials, n_voxels)``, kept as float32: per cent signal change, or z-scores after `zscore_sessions`.
    stimulus_id
        Shape ``(n_trials,)``, integers from 0.
    session
        Shape ``(n_trials,)``: scanner day (or run, where sessions are unknown). Left out: one session.
    rois
        Name -> boolean mask of shape ``(n_voxels,)``. Masks may overlap. Left out: one ROI, ``"all"``.
    n_repetitions
        Shape ``(n_trials,)``: number of presentations that each row averages. Left out: ones, for single trials.
    ncsnr
        Shape ``(n_voxels,)``: noise-ceiling signal-to-noise ratio, or ``None`` where unknown.
    voxel_index
        Shape ``(n_voxels,)``: C-order index into ``volume_shape``, or ``None`` for betas without a volume.
    volume_shape
        Shape of the volume that the voxels are in, in the axes of its NIfTI files, or ``None``. On the vertices of
        fsaverage it is (2, 163842, 1): hemisphere (left first), vertex. On the subject's own surface it is
        (n_left + n_right, 1, 1).
    space
        Name of the volume's space, or of the surface, such as ``"T1w"`` or ``"fsaverage5"``; empty if unknown.
    affine
        Shape ``(4, 4)``: from voxels of the volume to millimetres, or ``None``.
    run
        Shape ``(n_trials,)``: scanner run. Left out: the session.
    subject
        Name, such as ``"subj01"``.
    scaling
        What the betas were standardised by within sessions, or ``None`` where they were not.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    DataError
        If betas are not real numbers, ids are not integers from 0, or an ROI is not a boolean mask.

    Examples
    --------
    >>> import numpy as np
    >>> trials = Trials(betas=np.random.default_rng(0).normal(size=(6, 50)), stimulus_id=[0, 1, 2, 0, 1, 2])
    >>> trials
    Trials: 6 trials of 3 stimuli, 50 voxels
      1 session, not standardised within sessions
      rows: single trials
      ROIs: all (50)
    >>> trials.average().betas.shape
    (3, 50)
    """

    betas: NDArray[np.float32]
    stimulus_id: NDArray[np.int64]
    _: KW_ONLY
    session: NDArray[np.int64] = None  # type: ignore[assignment]
    rois: Mapping[str, NDArray[np.bool_]] = None  # type: ignore[assignment]
    n_repetitions: NDArray[np.int64] = None  # type: ignore[assignment]
    ncsnr: NDArray[np.float32] | None = None
    voxel_index: NDArray[np.int64] | None = None
    volume_shape: tuple[int, int, int] | None = None
    space: str = ""
    affine: NDArray[np.float64] | None = None
    run: NDArray[np.int64] = None  # type: ignore[assignment]
    subject: str = ""
    scaling: SessionScaling | None = None

    def __post_init__(self) -> None:
        betas = _real_numbers(self.betas)
        n_trials, n_voxels = betas.shape
        kept: dict[str, Any] = {"betas": betas, "stimulus_id": _integers("stimulus_id", self.stimulus_id)}
        session = np.zeros(n_trials, dtype=np.int64) if self.session is None else self.session
        kept["session"] = _integers("session", session, at_least=None)
        run = kept["session"] if self.run is None else self.run
        kept["run"] = _integers("run", run, at_least=None)
        count = np.ones(n_trials, dtype=np.int64) if self.n_repetitions is None else self.n_repetitions
        kept["n_repetitions"] = _integers("n_repetitions", count, at_least=1)
        kept["rois"] = {ALL: np.ones(n_voxels, dtype=bool)} if self.rois is None else _masks(self.rois)
        for name, value in kept.items():
            object.__setattr__(self, name, value)
        for name in ("stimulus_id", "session", "run", "n_repetitions"):
            if kept[name].shape != (n_trials,):
                raise _wrong_shape(name, kept[name].shape, (n_trials,), f"{n_trials} trials")
        for name, per_voxel in (*self.rois.items(), ("ncsnr", self.ncsnr), ("voxel_index", self.voxel_index)):
            if per_voxel is not None and per_voxel.shape != (n_voxels,):
                raise _wrong_shape(name, per_voxel.shape, (n_voxels,), f"{n_voxels} voxels")

    def __repr__(self) -> str:
        n_trials, n_voxels = self.betas.shape
        n_sessions = len(np.unique(self.session))
        sessions = f"{n_sessions:,} session{'s' * (n_sessions != 1)}"
        counts = self.n_repetitions
        single = not n_trials or counts.max() == 1
        rows = "single trials" if single else f"averages of {counts.min()} to {counts.max()} trials"
        rois = [f"{name} ({int(mask.sum()):,})" for name, mask in self.rois.items()]
        shown = ", ".join(rois[:8]) + (f" and {len(rois) - 8} more" if len(rois) > 8 else "")
        return "\n".join(
            [
                f"Trials{' of ' * bool(self.subject)}{self.subject}: {n_trials:,} trials of "
                f"{len(np.unique(self.stimulus_id)):,} stimuli, {n_voxels:,} voxels",
                f"  {sessions}, {'not ' * (self.scaling is None)}standardised within sessions",
                f"  rows: {rows}",
                f"  ROIs: {shown or 'none'}",
            ]
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.stimulus_id)

    def roi(self, names: Sequence[str] | None) -> NDArray[np.bool_]:
        """Return the union of these ROIs as a mask over voxels, ``(n_voxels,)``; of all voxels for ``None``.

        Raises
        ------
        ShapeError
            If an ROI is unknown or the union is empty.
        """
        if names is None:
            return np.ones(self.betas.shape[1], dtype=bool)
        unknown = [name for name in names if name not in self.rois]
        if unknown:
            raise ShapeError(f"{self._who} no ROI {unknown[0]!r}; there is {', '.join(sorted(self.rois)) or 'none'}.")
        union: NDArray[np.bool_] = np.zeros(self.betas.shape[1], dtype=bool)
        for name in names:
            union |= self.rois[name]
        if not union.any():
            raise ShapeError(f"{self._who} no voxel in the ROIs {', '.join(names)}.")
        return union

    @property
    def _who(self) -> str:
        return f"{self.subject} has" if self.subject else "these trials have"

    def select(self, stimulus_id: ArrayLike) -> Trials:
        """Keep the trials of these stimuli, in their order of presentation."""
        return self.take(np.flatnonzero(np.isin(self.stimulus_id, np.asarray(stimulus_id, dtype=np.int64))))

    def take(self, rows: NDArray[np.int64]) -> Trials:
        """Keep these rows, in this order."""
        return replace(
            self,
            betas=self.betas[rows],
            stimulus_id=self.stimulus_id[rows],
            session=self.session[rows],
            run=self.run[rows],
            n_repetitions=self.n_repetitions[rows],
        )

    def average(self) -> Trials:
        """Average the repetitions of each stimulus; rows come back sorted by stimulus id, session set to -1."""
        ids, row = np.unique(self.stimulus_id, return_inverse=True)
        weights = self.n_repetitions
        count = np.bincount(row, weights=weights).astype(np.int64)
        betas = np.empty((len(ids), self.betas.shape[1]), dtype=np.float32)
        for start in range(0, self.betas.shape[1], _VOXELS_AT_ONCE):  # float64 of all would be twice the betas again
            block = slice(start, start + _VOXELS_AT_ONCE)
            total = np.zeros(betas[:, block].shape)
            np.add.at(total, row, self.betas[:, block] * weights[:, None])
            betas[:, block] = total / count[:, None]
        return replace(
            self,
            betas=betas,
            stimulus_id=ids.astype(np.int64),
            session=np.full(len(ids), -1, dtype=np.int64),
            run=np.full(len(ids), -1, dtype=np.int64),
            n_repetitions=count,
        )

    def check_labels(self, *, seed: int = 0) -> LabelCheck:
        """Compare trials of the same stimulus with trials of others; see `reseen.labels.check_labels`."""
        return check_labels(self.betas, self.stimulus_id, self.session, seed=seed)

    def zscore_sessions(self) -> Trials:
        """Standardise each voxel within each session (mean 0, sd 1, ddof 0); one that is constant there becomes 0."""
        sessions = np.unique(self.session)
        betas = np.empty_like(self.betas)
        mean, scale = np.empty((len(sessions), betas.shape[1])), np.empty((len(sessions), betas.shape[1]))
        for k, session in enumerate(sessions):
            rows = self.session == session
            betas[rows], mean[k], scale[k] = standardise(self.betas[rows])
        return replace(self, betas=betas, scaling=SessionScaling(sessions, mean, scale))


def _wrong_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...], rows: str) -> ShapeError:
    """Return the error for an array that does not fit the betas."""
    return ShapeError(f"{name} has shape {found}; {rows} need {expected}.", where=name, expected=expected, found=found)


def _real_numbers(betas: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(betas)
    if array.ndim != 2:
        raise ShapeError(f"betas have shape {array.shape}; (n_trials, n_voxels) is expected.")
    if array.dtype.kind not in "fiu":
        raise DataError(f"betas are of type {array.dtype}; real numbers are expected.")
    return array.astype(np.float32, copy=False)


def _integers(name: str, values: ArrayLike, at_least: int | None = 0) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} is of type {array.dtype}; integers are expected. Convert them, such as with np.int64.")
    if at_least is not None and array.size and array.min() < at_least:
        raise DataError(f"{name} contains {array.min()}; numbers from {at_least} are expected.")
    return array.astype(np.int64, copy=False)


def _masks(rois: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.bool_]]:
    masks = {name: np.asarray(mask) for name, mask in rois.items()}
    for name, mask in masks.items():
        if mask.dtype != bool:
            raise DataError(f"ROI {name!r} is of type {mask.dtype}; a boolean mask over voxels is expected.")
    return masks
