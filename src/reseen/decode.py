"""Decode: from the responses of some ROIs to features, fitted on training trials and applied to held-out ones.

The unit of work is a block of targets of one fold. Blocks are the same wherever they are fitted, and so are the maps.
A shuffle of brain rows over stimuli is the same as one of targets over stimuli, which leaves the brain as it is: true
and shuffled decoders of one `Decoding` share what the rows alone decide, and it is calculated once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError
from reseen.executor import Executor, Serial, read_shared, write_shared
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import EdgeWarning, Factored, RidgeMap, assemble, factor, fit_blocks, predict_blocks
from reseen.ridge.fit import add_block, varying_alphas
from reseen.ridge.folds import grid_ends, warn_at_edge
from reseen.trials import Split, Trials

TARGETS_AT_ONCE = 4096
"""Targets in one unit of work."""
Unit = tuple[int | None, int, int, int]
"""Shuffle, fold, first target, and the one after the last."""
KEPT_STIMULI = 4000
"""What the rows decide is kept for several folds, as long as squares of their numbers of stimuli add up to no more than
the square of this: 1.5 GB, about."""
R = TypeVar("R")
Progress = Callable[[int, int], None] | None
PER_TRIAL = ("betas", "stimulus_id", "session", "n_repetitions")


def fit(train: Trials, feature: Features, *, rois: Sequence[str], recipe: DecodeRecipe, seed: int) -> RidgeMap:
    """Fit the map from the voxels of some ROIs to a feature.

    Parameters
    ----------
    train
        Training trials, single or averaged; every one is a row of the fit. Its stimuli need a row each in ``feature``.
    feature
        The features of the stimuli, shape ``(n_stimuli, ...)``.
    rois
        Names; the voxels of their union are used.
    recipe
        Penalties, folds and intercept.
    seed
        Decides which stimuli share a fold.

    Raises
    ------
    ShapeError
        If an ROI or a stimulus is unknown, or there are fewer stimuli than folds.
    DataError
        If a number is not finite.
    """
    task = _Task(_voxels(train, rois), feature, ((train.stimulus_id, np.empty(0, dtype=np.int64)),), recipe, seed)
    return _fit_all(task, Serial(), None)[0]


def predict(
    ridge_map: RidgeMap,
    trials: Trials,
    *,
    rois: Sequence[str],
    name: str,
    shape: Sequence[int] = (-1,),
    rescale_averages: bool = True,
) -> Features:
    """Predict the feature of each row of trials; one row is enough.

    Parameters
    ----------
    ridge_map
        From `fit`, with the same ROIs.
    trials
        Single trials, averages, or both.
    rois
        The ROIs of the fit.
    name
        What the predictions are called, such as ``"z"``.
    shape
        Shape of one item of the feature, such as ``(4, 10, 10)``; left out: flat.
    rescale_averages
        Undo the shrinkage that rows averaging several trials suffer under a map fitted on single ones
        (`reseen.ridge.average_gain`). It rests on training trials alone and changes no single trial.

    Raises
    ------
    ShapeError
        If the ROIs or the shape are not those of the fit.
    """
    counts = trials.n_repetitions if rescale_averages else None
    flat = ridge_map.predict(trials.betas[:, trials.roi(rois)], n_repetitions=counts)
    if -1 not in shape and int(np.prod(shape)) != flat.shape[1]:
        raise ShapeError(f"this map predicts {flat.shape[1]} numbers; they do not fill items of shape {tuple(shape)}.")
    return Features(name, flat.reshape(len(flat), *shape), trials.stimulus_id)


def decode(
    trials: Trials,
    split: Split,
    feature: Features,
    *,
    rois: Sequence[str],
    recipe: DecodeRecipe,
    seed: int,
    train_trials: Rows = "single",
    test_trials: Rows = "averaged",
    device: str = "numpy",
    shuffle: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[RidgeMap], Features]:
    """Fit on the training stimuli of each fold and predict the held-out ones.

    Parameters
    ----------
    trials
        Single trials of one subject.
    split
        Which stimuli are held out, fold by fold.
    feature
        The features of at least the training stimuli; those of test stimuli are not looked at.
    rois, recipe
        As in `fit`; ``recipe.rescale_averages`` as in `predict`.
    seed
        Decides folds and shuffling.
    train_trials, test_trials
        Whether repetitions are averaged before the fit, and before the prediction.
    device
        Where the decoders are fitted, as in `fit_ridge`; with ``"cuda"``, a unit of work takes a GPU of its own.
    shuffle, executor, progress
        As in `Decoding.run`; so is what is given and what is raised.
    """
    kind: dict[str, Rows] = {"train_trials": train_trials, "test_trials": test_trials}
    decoding = Decoding(trials, split, feature, rois=rois, recipe=recipe, seed=seed, device=device, **kind)
    return decoding.run(shuffle=shuffle, executor=executor, progress=progress)


class Decoding:
    """Be a brain and a feature, joined, to be decoded with true and with shuffled brain rows.

    The parameters are those of `decode`. Memory holds the factored problem of a fold from one run to the next.
    """

    def __init__(
        self,
        trials: Trials,
        split: Split,
        feature: Features,
        *,
        rois: Sequence[str],
        recipe: DecodeRecipe,
        seed: int,
        train_trials: Rows = "single",
        test_trials: Rows = "averaged",
        device: str = "numpy",
    ) -> None:
        voxels = _voxels(trials, rois)
        self._task = _Task(voxels, feature, tuple(split.folds), recipe, seed, train_trials, test_trials, device)
        self._tests = [self._task.test(fold) for fold in range(len(split.folds))]

    def run(
        self,
        *,
        shuffle: int | None = None,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[RidgeMap], Features]:
        """Fit on the training stimuli of each fold and predict the held-out ones.

        Parameters
        ----------
        shuffle
            Give every training stimulus's trials the feature of another training stimulus: the shuffled-training floor.
            The number says which of many shuffles. Left out: no shuffle.
        executor
            Who fits; left out: this process. The result is the same.
        progress
            Called with the number of blocks of targets fitted and the number there are.

        Returns
        -------
        maps
            One for each fold; none of a shuffle, whose weights are let go block by block.
        decoded
            Predictions of all held-out items, sorted by stimulus id; single trials of one stimulus in order of
            presentation. A split gives the same items, whatever the feature and the ROIs: the rows of `held_out`.

        Raises
        ------
        ShapeError, DataError
            If a fold has no training or test trials, or as in `fit`.
        ClusterError
            If the executor loses its workers.
        """
        task, maps = self._task, []
        if shuffle is None:
            maps = _fit_all(task, executor or Serial(), progress)
            pairs = zip(maps, self._tests, strict=True)
            parts = [fitted.predict(test.betas, n_repetitions=task.counts(test)) for fitted, test in pairs]
        else:
            parts = _predict_all(task, shuffle, [len(test) for test in self._tests], executor or Serial(), progress)
        ids = np.concatenate([test.stimulus_id for test in self._tests])
        order = np.argsort(ids, kind="stable")
        array = np.concatenate(parts)[order].reshape(len(ids), *task.feature.array.shape[1:])
        return maps, Features(task.feature.name, array, ids[order])


def held_out(trials: Trials, split: Split, *, test_trials: Rows = "averaged") -> Trials:
    """Give the held-out rows in the order in which `decode` predicts them: what was shown, and how often."""
    test = _rows(trials.select(split.test_ids), test_trials, "test")
    order = np.argsort(test.stimulus_id, kind="stable")
    return test.take(order)


@dataclass(frozen=True, eq=False)
class _Task:
    """Hold what all fits share; a worker opens its own, mapped from files, and keeps what the rows decide."""

    trials: Trials  # the voxels of the fit alone
    feature: Features
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]  # training and test stimuli
    recipe: DecodeRecipe
    seed: int
    train_trials: Rows = "single"
    test_trials: Rows = "averaged"
    device: str = "numpy"
    _kept: dict[int, _Training] = field(default_factory=dict)
    _tests: dict[int, Trials] = field(default_factory=dict)

    @property
    def needs_gpu(self) -> bool:
        """Say whether a unit takes a GPU of its own."""
        return self.device.startswith("cuda")

    def test(self, fold: int) -> Trials:
        """Give the held-out rows of one fold."""
        if fold not in self._tests:
            self._tests[fold] = _rows(self.trials.select(self.folds[fold][1]), self.test_trials, "test")
        return self._tests[fold]

    def counts(self, test: Trials) -> NDArray[np.int64] | None:
        """Give how many trials each held-out row averages, where predictions are to be rescaled by that."""
        return test.n_repetitions if self.recipe.rescale_averages else None

    def units(self, shuffle: int | None) -> list[Unit]:
        """Give the units of work of a shuffle; one penalty for all targets takes all of them."""
        n_targets = self.feature.flat.shape[1]
        width = n_targets if self.recipe.share_alpha else TARGETS_AT_ONCE
        cuts = [(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]
        return [(shuffle, fold, start, stop) for fold in range(len(self.folds)) for start, stop in cuts]

    def training(self, fold: int) -> _Training:
        """Give the rows of one fold; those of other folds are kept where they are few."""
        if fold not in self._kept:
            train = self.folds[fold][0]
            if len(self._kept) * len(train) ** 2 > KEPT_STIMULI**2:
                self._kept.clear()
            self._kept[fold] = _training(self, train)
        return self._kept[fold]

    def lend(self, folder: Path) -> Callable[[], _Task]:
        """Write the arrays as files, for workers to map into their memory."""
        write_shared(
            folder,
            {
                **{name: getattr(self.trials, name) for name in PER_TRIAL},
                **{f"train{fold}": train for fold, (train, _) in enumerate(self.folds)},
                **{f"test{fold}": test for fold, (_, test) in enumerate(self.folds)},
                "feature": self.feature.array,
                "feature_id": self.feature.stimulus_id,
            },
        )
        names = self.trials.subject, self.feature.name
        how = self.recipe, self.seed, self.train_trials, self.test_trials, self.device
        return partial(_borrow, folder, len(self.folds), *names, *how)


def _borrow(folder: Path, n_folds: int, subject: str, name: str, *rest: Any) -> _Task:
    """Open on a worker what `_Task.lend` wrote."""
    arrays = read_shared(folder)
    feature = Features(name, arrays["feature"], arrays["feature_id"])
    betas, stimulus_id, session, n_repetitions = (arrays[name] for name in PER_TRIAL)
    folds = tuple((arrays[f"train{fold}"], arrays[f"test{fold}"]) for fold in range(n_folds))
    return _Task(Trials(subject, betas, stimulus_id, session, {}, n_repetitions), feature, folds, *rest)


@dataclass(frozen=True, eq=False)
class _Training:
    """Hold what the fits of one fold share; of the targets only the columns of a block are ever read."""

    factored: Factored  # what the rows alone decide, once for all blocks
    targets: NDArray[np.float32]  # (n_items, n_targets), all features
    stimulus: NDArray[np.int64]  # (n_stimuli,) where each training stimulus stands in the targets
    seed: int

    def columns(self, unit: Unit) -> NDArray[np.float32]:
        """Give the targets of a unit, ``(n_stimuli, n_block)``."""
        shuffle, _, start, stop = unit
        stimulus = self.stimulus
        if shuffle is not None:
            # any permutation, fixed points included: to give nobody their own would teach what a few stimuli are not
            stimulus = stimulus[np.random.default_rng((self.seed, shuffle)).permutation(len(stimulus))]
        return self.targets[stimulus, start:stop]


def _voxels(trials: Trials, rois: Sequence[str]) -> Trials:
    """Keep the voxels of the union of some ROIs, and of what is known of them only the betas."""
    return replace(trials, betas=trials.betas[:, trials.roi(rois)], rois={}, ncsnr=None, voxel_index=None)


def _training(task: _Task, train_ids: NDArray[np.int64]) -> _Training:
    train = _rows(task.trials.select(train_ids), task.train_trials, "training")
    ids, row = np.unique(train.stimulus_id, return_inverse=True)
    stimulus = task.feature.where(ids)
    recipe, targets = task.recipe, task.feature.flat
    factored = factor(
        train.betas,
        (len(ids), targets.shape[1]),
        target_row=row,
        groups=row if recipe.group_folds else None,
        alphas=recipe.alphas,
        n_folds=recipe.n_folds,
        intercept=recipe.intercept,
        seed=task.seed,
        device=task.device,
    )
    return _Training(factored, targets, stimulus, task.seed)


def _fit_unit(task: _Task, unit: Unit) -> tuple[RidgeMap, tuple[float, float]]:
    """Fit a block of targets; give its map and the ends of a sensible grid, which `_fit_all` warns by."""
    training = task.training(unit[1])
    targets, factored = training.columns(unit), training.factored
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)
        fitted = assemble(targets.shape[1], fit_blocks(factored, targets, share_alpha=task.recipe.share_alpha))
    return fitted, grid_ends(factored.whole.eigenvalues)


def _predict_unit(task: _Task, unit: Unit) -> NDArray[np.float32]:
    """Predict a block of targets of the held-out rows, ``(n_rows, n_block)``, and keep no weights."""
    training, test = task.training(unit[1]), task.test(unit[1])
    targets = training.columns(unit)
    how: dict[str, Any] = {"n_repetitions": task.counts(test), "share_alpha": task.recipe.share_alpha}
    predicted = np.empty((len(test), targets.shape[1]), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)  # the best penalty of a null is boundless
        for block, part in predict_blocks(training.factored, targets, test.betas, **how):
            predicted[:, block] = part
    return predicted


def _fit_all(task: _Task, executor: Executor, progress: Progress) -> list[RidgeMap]:
    """Fit every unit, and put those of each fold together as they come."""
    n_targets = task.feature.flat.shape[1]
    maps: list[RidgeMap | None] = [None] * len(task.folds)
    ends: dict[int, tuple[float, float]] = {}
    for (_, fold, start, stop), (part, ends[fold]) in _each_unit(task, None, _fit_unit, executor, progress):
        maps[fold] = add_block(maps[fold], n_targets, slice(start, stop), part)
    whole = [fitted for fitted in maps if fitted is not None]  # every fold has units
    for fold, fitted in enumerate(whole):
        warn_at_edge(varying_alphas(fitted), fitted.alphas, ends[fold])
    return whole


def _predict_all(
    task: _Task, shuffle: int, n_rows: Sequence[int], executor: Executor, progress: Progress
) -> list[NDArray[np.float32]]:
    """Predict the held-out rows of every fold, ``(n_rows, n_targets)`` each."""
    predicted = [np.empty((n, task.feature.flat.shape[1]), dtype=np.float32) for n in n_rows]
    for (_, fold, start, stop), part in _each_unit(task, shuffle, _predict_unit, executor, progress):
        predicted[fold][:, start:stop] = part
    return predicted


def _each_unit(
    task: _Task, shuffle: int | None, work: Callable[[_Task, Unit], R], executor: Executor, progress: Progress
) -> Iterator[tuple[Unit, R]]:
    """Do every unit of a shuffle; give each with its result, in whatever order."""
    units = task.units(shuffle)
    for done, (number, result) in enumerate(executor.run(work, units, task), start=1):
        yield units[number], result
        if progress is not None:
            progress(done, len(units))


def _rows(trials: Trials, how: Rows, what: str) -> Trials:
    if not len(trials):
        raise ShapeError(f"{trials.subject} has no {what} trials; none of this fold's {what} stimuli was shown.")
    return trials.average() if how == "averaged" else trials
