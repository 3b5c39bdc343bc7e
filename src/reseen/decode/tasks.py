"""Tasks: a block of targets of one fold, whose result is the same bytes on any worker.

Permuting responses over stimuli is equivalent to permuting targets over stimuli. The targets are permuted, so that the
responses are factored only once, for true and for permuted labels.
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

from reseen.decode.estimators import FittedMap, fit_estimator, make_estimator
from reseen.errors import ShapeError
from reseen.executor import Executor, read_shared, write_shared
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import EdgeWarning, Factored, RidgeMap, assemble, factor, fit_blocks
from reseen.ridge.fit import add_block, varying_alphas
from reseen.ridge.folds import grid_ends, warn_at_edge
from reseen.split import Split, test_rows, train_rows
from reseen.trials import Trials

TARGETS_AT_ONCE = 4096
"""Number of targets in one task."""
Task = tuple[int | None, int, int, int]
"""Permutation, fold, first target, and last target + 1."""
KEPT_STIMULI = 4000
"""Factored problems of several folds are kept while the sum of their squared numbers of stimuli is at most the square
of this: about 1.5 GB."""
R = TypeVar("R")
Progress = Callable[[int, int], None] | None
PER_TRIAL = ("betas", "stimulus_id", "session", "n_repetitions")


@dataclass(frozen=True, eq=False)
class FitData:
    """Data of all fits; a worker maps its copy from files, and keeps the results that depend only on the rows."""

    trials: Trials  # only the voxels of the fit
    feature: Features
    folds: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]  # training and test stimuli
    recipe: DecodeRecipe
    seed: int
    train_trials: Rows = "single"
    test_trials: Rows = "averaged"
    device: str = "numpy"
    permuted: NDArray[np.int64] | None = None  # see `permuted_stimuli`
    estimator: Any = None  # instead of the ridge
    group: NDArray[np.int64] | None = None  # see `Split`
    _kept: dict[int, _Training] = field(default_factory=dict)
    _tests: dict[int, Trials] = field(default_factory=dict)

    @property
    def needs_gpu(self) -> bool:
        """Whether each task needs a GPU."""
        return self.device.startswith("cuda")

    def test(self, fold: int) -> Trials:
        """Return the held-out rows of one fold."""
        if fold not in self._tests:
            rows = test_rows(self.folds, self.group, fold, self.trials.stimulus_id)
            self._tests[fold] = rows_of(self.trials.take(rows), self.test_trials, "test")
        return self._tests[fold]

    def counts(self, test: Trials) -> NDArray[np.int64] | None:
        """Return the number of trials averaged in each held-out row, or None if predictions are not rescaled."""
        return test.n_repetitions if self.recipe.rescale_averages else None

    def tasks(self, permutation: int | None) -> list[Task]:
        """Return the tasks of a permutation; with one penalty or estimator for all targets, a task has all targets."""
        n_targets = self.feature.flat.shape[1]
        one_block = self.recipe.share_alpha or self.estimator is not None
        width = n_targets if one_block else TARGETS_AT_ONCE
        cuts = [(start, min(start + width, n_targets)) for start in range(0, n_targets, width)]
        return [(permutation, fold, start, stop) for fold in range(len(self.folds)) for start, stop in cuts]

    def training(self, fold: int) -> _Training:
        """Return the training data of one fold; those of other folds are kept if they are small."""
        if fold in self._kept:
            return self._kept[fold]
        if (len(self._kept) + 1) * len(self.folds[fold][0]) ** 2 > KEPT_STIMULI**2:
            self._kept.clear()
        rows = rows_of(self.trials.take(self.train_rows(fold)), self.train_trials, "training")
        stimulus_id, row = np.unique(rows.stimulus_id, return_inverse=True)
        self.feature.where(stimulus_id)  # raises an error for an unknown stimulus before the factorisation
        factored = None
        if self.estimator is None:
            factored = factor(
                rows.betas,
                len(stimulus_id),
                target_row=row,
                groups=row if self.recipe.group_folds else None,
                alphas=self.recipe.alphas_of(self.feature.name),
                n_folds=self.recipe.n_folds,
                intercept=self.recipe.intercept,
                seed=self.seed,
                device=self.device,
            )
        self._kept[fold] = _Training(factored, rows.betas, row, stimulus_id)
        return self._kept[fold]

    def target_rows(self, permutation: int | None, fold: int) -> NDArray[np.int64]:
        """Return the row of the feature for each training stimulus, ``(n_stimuli,)``: its own or a permuted one."""
        ids = self.training(fold).stimulus_id
        if permutation is not None:
            ids = permute_ids(ids, self.permuted, self.seed, permutation)
        return self.feature.where(ids)

    def targets(self, task: Task) -> NDArray[np.float32]:
        """Return the targets of a task, ``(n_stimuli, n_block)``; only these columns of the feature are read."""
        permutation, fold, start, stop = task
        return self.feature.flat[self.target_rows(permutation, fold), start:stop]

    def train_rows(self, fold: int) -> NDArray[np.int64]:
        """Return the rows of the training trials of one fold."""
        return train_rows(self.folds, self.group, fold, self.trials.stimulus_id)

    def share(self, folder: Path) -> Callable[[], FitData]:
        """Write the arrays as files that workers map into memory."""
        write_shared(
            folder,
            {
                **{name: getattr(self.trials, name) for name in PER_TRIAL},
                **{f"train{fold}": train for fold, (train, _) in enumerate(self.folds)},
                **{f"test{fold}": test for fold, (_, test) in enumerate(self.folds)},
                "feature": self.feature.array,
                "feature_id": self.feature.stimulus_id,
                **({} if self.permuted is None else {"permuted": self.permuted}),
                **({} if self.group is None else {"group": self.group}),
            },
        )
        names = self.trials.subject, self.feature.name
        how = self.recipe, self.seed, self.train_trials, self.test_trials, self.device
        return partial(_load_data, folder, len(self.folds), *names, *how)


def _load_data(folder: Path, n_folds: int, subject: str, name: str, *rest: Any) -> FitData:
    """Open the files of `FitData.share` on a worker."""
    arrays = read_shared(folder)
    feature = Features(name, arrays["feature"], arrays["feature_id"])
    betas, stimulus_id, session, n_repetitions = (arrays[name] for name in PER_TRIAL)
    folds = tuple((arrays[f"train{fold}"], arrays[f"test{fold}"]) for fold in range(n_folds))
    trials = Trials(betas, stimulus_id, session=session, rois={}, n_repetitions=n_repetitions, subject=subject)
    data = FitData(trials, feature, folds, *rest)
    estimator = make_estimator(data.recipe.decoder)
    return replace(data, permuted=arrays.get("permuted"), estimator=estimator, group=arrays.get("group"))


@dataclass(frozen=True, eq=False)
class _Training:
    """Training data of one fold, without targets."""

    factored: Factored | None  # once for all blocks; None for a user's estimator
    betas: NDArray[np.float32]  # (n_rows, n_voxels)
    row: NDArray[np.int64]  # (n_rows,) training stimulus of each row, by number
    stimulus_id: NDArray[np.int64]  # (n_stimuli,)


def permuted_stimuli(split: Split, stimulus_id: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """List the stimuli whose features are permuted together for all folds; None where each fold permutes its own.

    Where stimuli are left out in turn, a decoder without information predicts the mean of the training features of its
    fold, and that mean lacks the features of the held-out stimulus. If each fold permuted only its training features,
    the ground truth of every item would be on the other side of that mean, and identification far below one half.
    With one permutation of all stimuli for all folds, the features that a fold lacks are those of a random stimulus.
    All predictions are then independent of which stimulus has which features, and the expectation is one half.

    Parameters
    ----------
    split
        Training and test stimuli of each fold.
    stimulus_id
        Stimulus of each trial, ``(n_trials,)``.
    """
    trained = np.unique(np.concatenate([train for train, _ in split.folds]))
    if len(split.folds) == 1 or not np.isin(split.test_ids, trained).all():
        return None
    return np.intersect1d(trained, stimulus_id)


def permute_ids(
    ids: NDArray[np.int64], permuted: NDArray[np.int64] | None, seed: int, permutation: int
) -> NDArray[np.int64]:
    """Return the stimulus whose features are assigned to each training stimulus of a fold, ``(n_stimuli,)``.

    Parameters
    ----------
    ids
        Training stimuli of the fold, sorted, ``(n_stimuli,)``.
    permuted
        See `permuted_stimuli`.
    seed, permutation
        Which permutation.
    """
    among = ids if permuted is None else permuted
    # any permutation, fixed points included: without them, a few stimuli would still carry information
    order = np.random.default_rng((seed, permutation)).permutation(len(among))
    return among[order[np.searchsorted(among, ids)]]


def permuted_folds(
    split: Split, stimulus_id: NDArray[np.int64], seed: int, permutation: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None:
    """Return each fold with the stimuli whose features its decoder was fitted on; None if they are those of the split.

    Parameters
    ----------
    split
        Training and test stimuli of each fold.
    stimulus_id
        Stimulus of each trial, ``(n_trials,)``.
    seed, permutation
        Which permutation.
    """
    permuted = permuted_stimuli(split, stimulus_id)
    if permuted is None:
        return None
    trained = [np.intersect1d(train, stimulus_id) for train, _ in split.folds]
    tested = [test for _, test in split.folds]
    return [(permute_ids(ids, permuted, seed, permutation), test) for ids, test in zip(trained, tested, strict=True)]


def only_voxels(trials: Trials, rois: Sequence[str] | None) -> Trials:
    """Keep only the betas of the voxels in the union of some ROIs, without other voxel data."""
    return replace(trials, betas=trials.betas[:, trials.roi(rois)], rois={}, ncsnr=None, voxel_index=None, scaling=None)


def _fit_task(data: FitData, task: Task) -> tuple[FittedMap, tuple[float, float] | None]:
    """Fit a block of targets; return its map and, of a ridge, the ends of a sensible grid for `warn_at_edge`."""
    training, targets = data.training(task[1]), data.targets(task)
    factored = training.factored
    if factored is None:  # each row has the targets of its stimulus
        return fit_estimator(data.estimator, training.betas, targets[training.row]), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)
        fitted = assemble(targets.shape[1], fit_blocks(factored, targets, share_alpha=data.recipe.share_alpha))
    return fitted, grid_ends(factored.all_rows.eigenvalues)


def _predict_task(data: FitData, task: Task) -> NDArray[np.float32]:
    """Predict a block of targets of the held-out rows, ``(n_rows, n_block)``, without keeping weights."""
    factored, test = data.training(task[1]).factored, data.test(task[1])
    if factored is None:
        fitted, _ = _fit_task(data, task)
        return fitted.predict(test.betas)
    targets = data.targets(task)
    predict = partial(RidgeMap.predict, betas=test.betas, n_repetitions=data.counts(test))
    predicted = np.empty((len(test), targets.shape[1]), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)  # permuted labels have no finite best penalty
        for block, part in fit_blocks(factored, targets, share_alpha=data.recipe.share_alpha, use=predict):
            predicted[:, block] = part
    return predicted


def fit_all(data: FitData, executor: Executor, progress: Progress) -> Sequence[FittedMap]:
    """Fit every task, and join the blocks of each fold; an estimator has one block."""
    n_targets = data.feature.flat.shape[1]
    maps: list[Any] = [None] * len(data.folds)
    ends: dict[int, tuple[float, float] | None] = {}
    for (_, fold, start, stop), (part, ends[fold]) in _each_task(data, None, _fit_task, executor, progress):
        maps[fold] = add_block(maps[fold], n_targets, slice(start, stop), part) if isinstance(part, RidgeMap) else part
    for fold, grid in sorted(ends.items()):
        if grid is not None:
            warn_at_edge(varying_alphas(maps[fold]), maps[fold].alphas, grid)
    return maps


def predict_all(
    data: FitData, permutation: int | None, n_rows: Sequence[int], executor: Executor, progress: Progress
) -> list[NDArray[np.float32]]:
    """Predict the held-out rows of every fold, ``(n_rows, n_targets)`` each."""
    predicted = [np.empty((n, data.feature.flat.shape[1]), dtype=np.float32) for n in n_rows]
    for (_, fold, start, stop), part in _each_task(data, permutation, _predict_task, executor, progress):
        predicted[fold][:, start:stop] = part
    return predicted


def _each_task(
    data: FitData, permutation: int | None, work: Callable[[FitData, Task], R], executor: Executor, progress: Progress
) -> Iterator[tuple[Task, R]]:
    """Run every task of a permutation; yield each with its result, in any order."""
    tasks = data.tasks(permutation)
    for done, (number, result) in enumerate(executor.run(work, tasks, data), start=1):
        yield tasks[number], result
        if progress is not None:
            progress(done, len(tasks))


def rows_of(trials: Trials, how: Rows, what: str) -> Trials:
    """Return the rows of a fold, single trials or averages.

    Raises
    ------
    ShapeError
        If there is none.
    """
    if not len(trials):
        raise ShapeError(f"{trials.subject} has no {what} trials; none of this fold's {what} stimuli was shown.")
    return trials.average() if how == "averaged" else trials
