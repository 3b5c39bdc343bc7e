"""Decode: from the responses of some ROIs to features, fitted on training trials and applied to held-out ones.

The unit of work is a block of targets of one fold (`units`). Blocks are the same wherever they are fitted, and so are
the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reseen.decode.units import Task, fit_all, only_voxels, permuted_stimuli, predict_all, rows_of, shuffled
from reseen.errors import ShapeError
from reseen.executor import Executor, Serial
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.ridge import RidgeMap
from reseen.trials import Split, Trials

__all__ = ["Decoding", "decode", "fit", "held_out", "permuted_stimuli", "predict", "shuffled"]


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
    task = Task(only_voxels(train, rois), feature, ((train.stimulus_id, np.empty(0, dtype=np.int64)),), recipe, seed)
    return fit_all(task, Serial(), None)[0]


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

    The parameters are those of `decode`, and ``task`` holds them. Memory holds the factored problem of a fold from one
    run to the next.
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
        voxels = only_voxels(trials, rois)
        permuted = permuted_stimuli(split, voxels.stimulus_id)
        kind = train_trials, test_trials, device
        self.task = Task(voxels, feature, tuple(split.folds), recipe, seed, *kind, permuted=permuted)
        self._tests = [self.task.test(fold) for fold in range(len(split.folds))]

    def run(
        self,
        *,
        shuffle: int | None = None,
        weights: bool = True,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[RidgeMap], Features]:
        """Fit on the training stimuli of each fold and predict the held-out ones.

        Parameters
        ----------
        shuffle
            Permute the features over stimuli before the fit: the permuted level. The number says which of many
            permutations; left out: none. Where the test set is fixed, the features of the training stimuli are
            permuted. Where stimuli are left out in turn, those of all stimuli are, once for all folds
            (`permuted_stimuli`).
        weights
            Whether the maps are wanted, which may fill the memory; those of a shuffle are never kept.
        executor
            Who fits; left out: this process. The result is the same.
        progress
            Called with the number of blocks of targets fitted and the number there are.

        Returns
        -------
        maps
            One for each fold; none where weights are let go block by block.
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
        task, maps = self.task, []
        if weights and shuffle is None:
            maps = fit_all(task, executor or Serial(), progress)
            pairs = zip(maps, self._tests, strict=True)
            parts = [fitted.predict(test.betas, n_repetitions=task.counts(test)) for fitted, test in pairs]
        else:
            parts = predict_all(task, shuffle, [len(test) for test in self._tests], executor or Serial(), progress)
        ids = np.concatenate([test.stimulus_id for test in self._tests])
        order = np.argsort(ids, kind="stable")
        array = np.concatenate(parts)[order].reshape(len(ids), *task.feature.array.shape[1:])
        return maps, Features(task.feature.name, array, ids[order])


def held_out(trials: Trials, split: Split, *, test_trials: Rows = "averaged") -> Trials:
    """Give the held-out rows in the order in which `decode` predicts them: what was shown, and how often."""
    test = rows_of(trials.select(split.test_ids), test_trials, "test")
    order = np.argsort(test.stimulus_id, kind="stable")
    return test.take(order)
