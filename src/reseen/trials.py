"""Trials: one subject's responses, and what each is a response to.

Everything joins on ``stimulus_id`` (0-based). Splits and averages are by stimulus, never by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.labels import LabelCheck, check_labels

_VOXELS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Trials:
    """Hold one subject's response estimates and what they belong to.

    Parameters
    ----------
    subject
        Name, such as ``"subj01"``.
    betas
        Shape ``(n_trials, n_voxels)``, float32: per cent signal change, or z-scores once ``zscore_sessions`` ran.
    stimulus_id
        Shape ``(n_trials,)``, 0-based.
    session
        Shape ``(n_trials,)``: scanner day (or run, where sessions are unknown).
    rois
        Name -> boolean mask of shape ``(n_voxels,)``. Masks may overlap.
    n_repetitions
        Shape ``(n_trials,)``: how many showings each row averages; ones for single trials.
    ncsnr
        Shape ``(n_voxels,)``: noise-ceiling signal-to-noise ratio, or ``None`` where unknown.
    voxel_index
        Shape ``(n_voxels,)``: C-order index into ``volume_shape``, or ``None`` for betas without a volume.
    volume_shape
        Shape of the volume the voxels lie in, in the axes of its NIfTI files, or ``None``. On the vertices of fsaverage
        it is (2, 163842, 1): hemisphere (left first), vertex.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    """

    subject: str
    betas: NDArray[np.float32]
    stimulus_id: NDArray[np.int64]
    session: NDArray[np.int64]
    rois: Mapping[str, NDArray[np.bool_]]
    n_repetitions: NDArray[np.int64]
    ncsnr: NDArray[np.float32] | None = None
    voxel_index: NDArray[np.int64] | None = None
    volume_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        n_trials, n_voxels = self.betas.shape
        for name, per_trial in (
            ("stimulus_id", self.stimulus_id),
            ("session", self.session),
            ("n_repetitions", self.n_repetitions),
        ):
            if per_trial.shape != (n_trials,):
                raise ShapeError(f"{name} has shape {per_trial.shape}; {n_trials} trials need ({n_trials},).")
        for name, per_voxel in (*self.rois.items(), ("ncsnr", self.ncsnr), ("voxel_index", self.voxel_index)):
            if per_voxel is not None and per_voxel.shape != (n_voxels,):
                raise ShapeError(f"{name} has shape {per_voxel.shape}; {n_voxels} voxels need ({n_voxels},).")

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.stimulus_id)

    def roi(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Give the union of these ROIs as a mask over voxels, ``(n_voxels,)``.

        Raises
        ------
        ShapeError
            If an ROI is unknown or the union is empty.
        """
        unknown = [name for name in names if name not in self.rois]
        if unknown:
            raise ShapeError(f"{self.subject} has no ROI {unknown[0]!r}; it has {', '.join(sorted(self.rois))}.")
        union: NDArray[np.bool_] = np.zeros(self.betas.shape[1], dtype=bool)
        for name in names:
            union |= self.rois[name]
        if not union.any():
            raise ShapeError(f"the ROIs {', '.join(names)} of {self.subject} hold no voxel.")
        return union

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
            n_repetitions=count,
        )

    def check_labels(self, *, seed: int = 0) -> LabelCheck:
        """Compare trials of the same stimulus with trials of others; see `reseen.labels.check_labels`."""
        return check_labels(self.betas, self.stimulus_id, self.session, seed=seed)

    def zscore_sessions(self) -> Trials:
        """Standardise each voxel within each session (mean 0, sd 1, ddof 0); one that is constant there becomes 0."""
        betas = np.empty_like(self.betas)
        for session in np.unique(self.session):
            rows = self.session == session
            part = self.betas[rows].astype(np.float64)
            part -= part.mean(axis=0)
            spread = part.std(axis=0)
            betas[rows] = part / np.where(spread > 0, spread, 1.0)
        return replace(self, betas=betas)


@dataclass(frozen=True, eq=False)
class Split:
    """Say which stimuli are fitted on and which are held out, fold by fold.

    Parameters
    ----------
    folds
        ``(train_ids, test_ids)`` of each fold: stimulus ids, 0-based; kept sorted and without repeats.

    Raises
    ------
    ShapeError
        If there is no fold, a side is empty, a fold tests what it trains on, or a stimulus is tested twice.
    """

    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]

    def __post_init__(self) -> None:
        folds = tuple((_sorted_ids(train), _sorted_ids(test)) for train, test in self.folds)
        object.__setattr__(self, "folds", folds)
        if not folds or any(not len(ids) for fold in folds for ids in fold):
            raise ShapeError("a split needs at least one fold, with training and test stimuli in each.")
        for train, test in folds:
            both = np.intersect1d(train, test)
            if len(both):
                raise ShapeError(
                    f"{len(both)} stimuli are in the training and in the test set of one fold (the first is {both[0]})."
                )
        ids, count = np.unique(np.concatenate([test for _, test in folds]), return_counts=True)
        if count.max() > 1:
            twice = ids[count > 1]
            raise ShapeError(f"{len(twice)} stimuli are tested in two folds (the first is {twice[0]}).")

    @classmethod
    def fixed(cls, train: ArrayLike, test: ArrayLike) -> Split:
        """Make one fold of these training and test stimuli."""
        return cls(((_sorted_ids(train), _sorted_ids(test)),))

    @classmethod
    def leave_out(cls, stimulus_id: ArrayLike, n_folds: int, seed: int) -> Split:
        """Leave whole stimuli out in turn, each in one of ``n_folds`` folds of nearly equal size, drawn with this seed.

        Raises
        ------
        ShapeError
            If there are fewer than two folds or fewer stimuli than folds.
        """
        ids = _sorted_ids(stimulus_id)
        if not 2 <= n_folds <= len(ids):
            raise ShapeError(f"{len(ids)} stimuli can be left out in 2 to {len(ids)} folds, not in {n_folds}.")
        parts = np.array_split(np.random.default_rng(seed).permutation(ids), n_folds)
        return cls(tuple((np.setdiff1d(ids, part), np.sort(part)) for part in parts))

    @property
    def test_ids(self) -> NDArray[np.int64]:
        """Give every stimulus that some fold tests, sorted."""
        return _sorted_ids(np.concatenate([test for _, test in self.folds]))


def _sorted_ids(stimulus_id: ArrayLike) -> NDArray[np.int64]:
    return np.unique(np.asarray(stimulus_id, dtype=np.int64))
