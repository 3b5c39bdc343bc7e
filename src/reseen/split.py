"""Split: training and test trials, fold by fold.

A fold leaves out stimuli with all their trials, or the trials of a group, such as a run or a session. Trials of a group
may show stimuli that other groups show too; then a test stimulus is also a training stimulus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError

Integers = NDArray[np.int64]
Fold = tuple[Integers, Integers]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Training and test stimuli, fold by fold.

    Parameters
    ----------
    folds
        ``(train_ids, test_ids)`` of each fold: stimulus ids, 0-based; kept sorted and without repeats.
    group
        Shape ``(n_trials,)``: the fold that tests each trial of the subject; all other folds train on it. Numbers from
        0; -1 for a trial that every fold trains on. Left out: a fold tests all trials of its test stimuli.

    Raises
    ------
    ShapeError
        If there is no fold or a side is empty; or, without groups, if a fold tests what it trains on or a stimulus is
        tested twice.

    Examples
    --------
    >>> Split.fixed(train=range(8), test=[8, 9])
    Split: 8 training and 2 test stimuli
    >>> Split.leave_out(range(10), n_folds=5, seed=0)
    Split: 10 stimuli, each tested in one of 5 folds
    >>> Split.leave_groups_out(stimulus_id=[0, 1, 2, 0, 1, 2], group=[1, 1, 1, 2, 2, 2])
    Split: 3 stimuli, tested in 2 folds that each leave out the trials of one group
    """

    folds: tuple[Fold, ...]
    group: Integers | None = None

    def __post_init__(self) -> None:
        folds = tuple((_sorted_ids(train), _sorted_ids(test)) for train, test in self.folds)
        object.__setattr__(self, "folds", folds)
        if not folds or any(not len(ids) for fold in folds for ids in fold):
            raise ShapeError("a split needs at least one fold, with training and test stimuli in each.")
        if self.group is not None:
            object.__setattr__(self, "group", np.asarray(self.group, dtype=np.int64))
            return
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

    def __repr__(self) -> str:
        n_folds, n_tested = len(self.folds), len(self.test_ids)
        if self.group is not None:
            return f"Split: {n_tested:,} stimuli, tested in {n_folds} folds that each leave out the trials of one group"
        if n_folds == 1:
            return f"Split: {len(self.folds[0][0]):,} training and {n_tested:,} test stimuli"
        return f"Split: {n_tested:,} stimuli, each tested in one of {n_folds} folds"

    @classmethod
    def fixed(cls, train: ArrayLike, test: ArrayLike) -> Split:
        """Return one fold of these training and test stimuli."""
        return cls(((_sorted_ids(train), _sorted_ids(test)),))

    @classmethod
    def leave_out(cls, stimulus_id: ArrayLike, n_folds: int, seed: int) -> Split:
        """Leave stimuli out in turn with all their trials, in ``n_folds`` random folds of nearly equal size.

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

    @classmethod
    def leave_groups_out(cls, stimulus_id: ArrayLike, group: ArrayLike) -> Split:
        """Leave the trials of each group out in turn, such as those of one run or one session.

        Parameters
        ----------
        stimulus_id
            Shape ``(n_trials,)``: stimulus of each trial, 0-based.
        group
            Shape ``(n_trials,)``, integers: group of each trial. Every fold trains on trials of a negative number.

        Raises
        ------
        ShapeError
            If the arrays differ in shape, or all trials are of one group.
        """
        ids, label = np.asarray(stimulus_id, dtype=np.int64), np.asarray(group, dtype=np.int64)
        if ids.shape != label.shape:
            raise ShapeError(
                f"group has shape {label.shape}; the trials need {ids.shape}.",
                where="group",
                expected=ids.shape,
                found=label.shape,
            )
        known, number = np.unique(label[label >= 0], return_inverse=True)
        if len(np.unique(label)) < 2 or not len(known):
            raise ShapeError("groups are left out in turn, and all trials are of one group; two or more are needed.")
        fold = np.full(len(label), -1, dtype=np.int64)
        fold[label >= 0] = number
        return cls(tuple((ids[fold != k], ids[fold == k]) for k in range(len(known))), fold)

    def test_only(self, stimulus_id: ArrayLike) -> Split:
        """Keep these test stimuli; folds that test none of them are left out."""
        kept = [k for k, (_, test) in enumerate(self.folds) if np.isin(test, stimulus_id).any()]
        folds = tuple((self.folds[k][0], np.intersect1d(self.folds[k][1], stimulus_id)) for k in kept)
        if self.group is None:
            return Split(folds)
        # trials of other folds keep the number -1: they are training trials of every fold that is left
        group = np.full(len(self.group), -1, dtype=np.int64)
        for number, k in enumerate(kept):
            group[self.group == k] = number
        return Split(folds, group)

    def only(self, fold: int) -> Split:
        """Return one fold alone."""
        group = None if self.group is None else np.where(self.group == fold, 0, -1)
        return Split((self.folds[fold],), group)

    def train_rows(self, fold: int, stimulus_id: Integers) -> Integers:
        """Return the rows of a fold's training trials among all trials, whose stimuli are ``(n_trials,)``."""
        return train_rows(self.folds, self.group, fold, stimulus_id)

    def test_rows(self, fold: int, stimulus_id: Integers) -> Integers:
        """Return the rows of a fold's test trials among all trials, whose stimuli are ``(n_trials,)``."""
        return test_rows(self.folds, self.group, fold, stimulus_id)

    def items(self, stimulus_id: Integers, *, averaged: bool) -> tuple[Integers, Integers]:
        """Return stimulus and fold of each held-out item, ``(n_items,)`` each, sorted by stimulus and then by fold.

        Parameters
        ----------
        stimulus_id
            Shape ``(n_trials,)``: stimuli of all trials.
        averaged
            True if an item is the average over a fold's test trials of a stimulus, False if it is one trial.
        """
        ids = [stimulus_id[self.test_rows(fold, stimulus_id)] for fold in range(len(self.folds))]
        if averaged:
            ids = [np.unique(own) for own in ids]
        every, fold = np.concatenate(ids), np.repeat(np.arange(len(ids)), [len(own) for own in ids])
        order = np.argsort(every, kind="stable")
        return every[order], fold[order]

    @property
    def test_ids(self) -> Integers:
        """Stimuli that some fold tests, sorted."""
        return _sorted_ids(np.concatenate([test for _, test in self.folds]))

    @property
    def used(self) -> Integers:
        """Stimuli that some fold trains on or tests, sorted."""
        return _sorted_ids(np.concatenate([ids for fold in self.folds for ids in fold]))

    @property
    def known_ids(self) -> Integers:
        """Test stimuli that their own fold also trains on, in other trials, sorted."""
        return _sorted_ids(np.concatenate([np.intersect1d(train, test) for train, test in self.folds]))

    @property
    def warning(self) -> str:
        """Sentence on test images that are also training images; empty if there are none."""
        n_known = len(self.known_ids)
        if not n_known:
            return ""
        return (
            f"{n_known:,} of {len(self.test_ids):,} test images were also training images, in other trials: scores "
            "show recognition of known images, not reconstruction of new ones."
        )


def train_rows(folds: tuple[Fold, ...], group: Integers | None, fold: int, stimulus_id: Integers) -> Integers:
    """Return the rows of a fold's training trials, see `Split.train_rows`."""
    chosen = np.isin(stimulus_id, folds[fold][0])
    return np.flatnonzero(chosen if group is None else chosen & (group != fold))


def test_rows(folds: tuple[Fold, ...], group: Integers | None, fold: int, stimulus_id: Integers) -> Integers:
    """Return the rows of a fold's test trials, see `Split.test_rows`."""
    chosen = np.isin(stimulus_id, folds[fold][1])
    return np.flatnonzero(chosen if group is None else chosen & (group == fold))


def _sorted_ids(stimulus_id: ArrayLike) -> Integers:
    return np.unique(np.asarray(stimulus_id, dtype=np.int64))
