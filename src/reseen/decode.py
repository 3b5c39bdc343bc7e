"""Decode: from the responses of some ROIs to features, fitted on training trials and applied to held-out ones.

The unit of work is a block of targets of one fold. Blocks are the same wherever they are fitted, and so are the maps.
A shuffle of brain rows over stimuli is the same as one of targets over stimuli, which leaves the brain as it is: true
and shuffled decoders of one `Decoding` share what the rows alone decide, and it is calculated once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError
from reseen.executor import Executor, Serial, read_shared, write_shared
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import EdgeWarning, Factored, RidgeMap, assemble, factor, fit_blocks
from reseen.trials import Split, Trials

TARGETS_AT_ONCE = 4096
"""Targets in one unit of work."""
Unit = tuple[int | None, int, int, int]
"""Shuffle, fold, first target, and the one after the last."""
KEPT_STIMULI = 4000
"""What the rows decide is kept for several folds, as long as squares of their numbers of stimuli add up to no more than
the square of this: 1.5 GB, about."""
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
    task = _Task(_voxels(train, rois), feature, (train.stimulus_id,), recipe, seed)
    return _fit_all(task, None, Serial(), None)[0]


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
    shuffle, executor, progress
        As in `Decoding.run`.

    Returns
    -------
    maps, decoded
        As `Decoding.run` gives them.

    Raises
    ------
    ShapeError
        If a fold has no training or test trials, or as in `fit`.
    DataError
        As in `fit`.
    ClusterError
        If the executor loses its workers.
    """
    kind: dict[str, Rows] = {"train_trials": train_trials, "test_trials": test_trials}
    decoding = Decoding(trials, split, feature, rois=rois, recipe=recipe, seed=seed, **kind)
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
    ) -> None:
        self._rois = rois
        self._tests = [_rows(trials.select(test), test_trials, "test") for _, test in split.folds]
        folds = tuple(train for train, _ in split.folds)
        self._task = _Task(_voxels(trials, rois), feature, folds, recipe, seed, train_trials)

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
            One for each fold.
        decoded
            Predictions of all held-out items, sorted by stimulus id; single trials of one stimulus in order of
            presentation. A split gives the same items, whatever the feature and the ROIs: the rows of `held_out`.

        Raises
        ------
        ShapeError, DataError, ClusterError
            As in `decode`.
        """
        maps = _fit_all(self._task, shuffle, executor or Serial(), progress)
        feature, rescale = self._task.feature, self._task.recipe.rescale_averages
        how: dict[str, Any] = {"name": feature.name, "shape": feature.array.shape[1:], "rescale_averages": rescale}
        decoded = [
            predict(fitted, test, rois=self._rois, **how) for fitted, test in zip(maps, self._tests, strict=True)
        ]
        array = np.concatenate([part.array for part in decoded])
        ids = np.concatenate([part.stimulus_id for part in decoded])
        order = np.argsort(ids, kind="stable")
        return maps, Features(feature.name, array[order], ids[order])


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
    folds: tuple[NDArray[np.int64], ...]  # training stimuli
    recipe: DecodeRecipe
    seed: int
    train_trials: Rows = "single"
    needs_gpu: bool = False
    _kept: dict[int, _Training] = field(default_factory=dict)

    def units(self, shuffle: int | None) -> list[Unit]:
        """Give the units of work of a shuffle; one penalty for all targets takes all of them."""
        n_targets = self.feature.flat.shape[1]
        width = n_targets if self.recipe.share_alpha else TARGETS_AT_ONCE
        cuts = [(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]
        return [(shuffle, fold, start, stop) for fold in range(len(self.folds)) for start, stop in cuts]

    def training(self, fold: int) -> _Training:
        """Give the rows of one fold; those of other folds are kept where they are few."""
        if fold not in self._kept:
            if len(self._kept) * len(self.folds[fold]) ** 2 > KEPT_STIMULI**2:
                self._kept.clear()
            self._kept[fold] = _training(self, self.folds[fold])
        return self._kept[fold]

    def lend(self, folder: Path) -> Callable[[], _Task]:
        """Write the arrays as files, for workers to map into their memory."""
        write_shared(
            folder,
            {
                **{name: getattr(self.trials, name) for name in PER_TRIAL},
                **{f"fold{fold}": ids for fold, ids in enumerate(self.folds)},
                "feature": self.feature.array,
                "feature_id": self.feature.stimulus_id,
            },
        )
        names = self.trials.subject, self.feature.name
        return partial(_borrow, folder, *names, self.recipe, self.seed, self.train_trials)


def _borrow(folder: Path, subject: str, name: str, *rest: Any) -> _Task:
    """Open on a worker what `_Task.lend` wrote."""
    arrays = read_shared(folder)
    feature = Features(name, arrays["feature"], arrays["feature_id"])
    betas, stimulus_id, session, n_repetitions = (arrays[name] for name in PER_TRIAL)
    folds = tuple(arrays[f"fold{fold}"] for fold in range(sum(name.startswith("fold") for name in arrays)))
    return _Task(Trials(subject, betas, stimulus_id, session, {}, n_repetitions), feature, folds, *rest)


@dataclass(frozen=True, eq=False)
class _Training:
    """Hold what the fits of one fold share; of the targets only the columns of a block are ever read."""

    factored: Factored  # what the rows alone decide, once for all blocks
    targets: NDArray[np.float32]  # (n_items, n_targets), all features
    stimulus: NDArray[np.int64]  # (n_stimuli,) where each training stimulus stands in the targets
    share_alpha: bool
    seed: int

    def fit(self, block: slice, shuffle: int | None) -> RidgeMap:
        """Fit a block of targets."""
        stimulus = self.stimulus
        if shuffle is not None:
            # any permutation, fixed points included: to give nobody their own would teach what a few stimuli are not
            stimulus = stimulus[np.random.default_rng((self.seed, shuffle)).permutation(len(stimulus))]
        targets = self.targets[stimulus, block]
        parts = fit_blocks(self.factored, targets, share_alpha=self.share_alpha)
        return assemble(self.factored, targets.shape[1], parts)


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
    )
    return _Training(factored, targets, stimulus, recipe.share_alpha, task.seed)


def _fit_unit(task: _Task, unit: Unit) -> RidgeMap:
    shuffle, fold, start, stop = unit
    with warnings.catch_warnings():
        if shuffle is not None:
            warnings.simplefilter("ignore", EdgeWarning)  # the best penalty of a null is boundless
        return task.training(fold).fit(slice(start, stop), shuffle)


def _fit_all(
    task: _Task, shuffle: int | None, executor: Executor, progress: Callable[[int, int], None] | None
) -> list[RidgeMap]:
    """Fit every unit, and join those of each fold."""
    units = task.units(shuffle)
    parts: dict[Unit, RidgeMap] = {}
    for number, part in executor.run(_fit_unit, units, task):
        parts[units[number]] = part
        if progress is not None:
            progress(len(parts), len(units))
    return [_join([parts.pop(unit) for unit in units if unit[1] == fold]) for fold in range(len(task.folds))]


def _join(parts: Sequence[RidgeMap]) -> RidgeMap:
    """Give one map of the targets of several maps of the same rows."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def joined(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays, axis=-1)

    return replace(
        first, **{name: joined(name) for name in ("weights", "intercept", "alpha", "cv_score", "noise_share")}
    )


def _rows(trials: Trials, how: Rows, what: str) -> Trials:
    if not len(trials):
        raise ShapeError(f"{trials.subject} has no {what} trials; none of this fold's {what} stimuli was shown.")
    return trials.average() if how == "averaged" else trials
