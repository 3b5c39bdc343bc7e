"""Decode: from the responses of some ROIs to features, fitted on training trials and applied to held-out ones.

`Decoder` is one fitted decoder. `decode` and `Decoding` fit one for each fold of a split, spread over workers where
asked, with true and with permuted labels.

The unit of work is a block of targets of one fold (`units`). Blocks are the same wherever they are fitted, and so are
the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reseen.decode.decoder import Decoder
from reseen.decode.estimators import FittedMap, make_estimator
from reseen.decode.units import Task, fit_all, only_voxels, permuted_stimuli, predict_all, rows_of, shuffled
from reseen.executor import Executor, Serial
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.trials import Split, Trials

__all__ = ["Decoder", "Decoding", "decode", "held_out", "permuted_stimuli", "shuffled"]


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
    permutation: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Decoder], Features]:
    """Fit on the training stimuli of each fold and predict the held-out ones.

    Parameters
    ----------
    trials
        Single trials of one subject.
    split
        Which stimuli are held out, fold by fold.
    feature
        The features of at least the training stimuli; those of test stimuli are not used.
    rois, recipe
        ROIs whose voxels are used, and the settings of the decoders.
    seed
        Decides folds and shuffling.
    train_trials, test_trials
        Whether repetitions are averaged before the fit, and before the prediction.
    device
        Where the decoders are fitted, as in `fit_ridge`; with ``"cuda"``, a unit of work takes a GPU of its own.
    permutation, executor, progress
        As in `Decoding.run`; so is what is given and what is raised.
    """
    kind: dict[str, Rows] = {"train_trials": train_trials, "test_trials": test_trials}
    decoding = Decoding(trials, split, feature, rois=rois, recipe=recipe, seed=seed, device=device, **kind)
    return decoding.run(permutation=permutation, executor=executor, progress=progress)


class Decoding:
    """The decoding of one feature from one subject, fold by fold, with true and with permuted labels.

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
        self._trials = trials
        self._rois = tuple(rois)
        voxels = only_voxels(trials, rois)
        self.task = Task(
            voxels,
            feature,
            tuple(split.folds),
            recipe,
            seed,
            train_trials,
            test_trials,
            device,
            permuted=permuted_stimuli(split, voxels.stimulus_id),
            estimator=make_estimator(recipe.decoder),
        )
        self._tests = [self.task.test(fold) for fold in range(len(split.folds))]

    def run(
        self,
        *,
        permutation: int | None = None,
        weights: bool = True,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Decoder], Features]:
        """Fit on the training stimuli of each fold and predict the held-out ones.

        Parameters
        ----------
        permutation
            Permute the features over stimuli before the fit: the permuted level. The number says which of many
            permutations; left out: none. Where the test set is fixed, the features of the training stimuli are
            permuted. Where stimuli are left out in turn, those of all stimuli are, once for all folds
            (`permuted_stimuli`).
        weights
            Whether the maps are wanted, which may fill the memory; those of a permutation are never kept.
        executor
            Who fits; left out: this process. The result is the same.
        progress
            Called with the number of blocks of targets fitted and the number there are.

        Returns
        -------
        decoders
            One for each fold; none where weights are released block by block.
        decoded
            Predictions of all held-out items, sorted by stimulus id; single trials of one stimulus in order of
            presentation. A split gives the same items, whatever the feature and the ROIs: the rows of `held_out`.

        Raises
        ------
        ShapeError, DataError
            If a fold has no training or test trials, or as in `Decoder.fit`.
        ClusterError
            If the executor loses its workers.
        """
        task, decoders = self.task, []
        if weights and permutation is None:
            maps = fit_all(task, executor or Serial(), progress)
            pairs = zip(maps, self._tests, strict=True)
            parts = [fitted.predict(test.betas, n_repetitions=task.counts(test)) for fitted, test in pairs]
            decoders = [self._decoder(fold, fitted) for fold, fitted in enumerate(maps)]
        else:
            parts = predict_all(task, permutation, [len(test) for test in self._tests], executor or Serial(), progress)
        ids = np.concatenate([test.stimulus_id for test in self._tests])
        order = np.argsort(ids, kind="stable")
        array = np.concatenate(parts)[order].reshape(len(ids), *task.feature.array.shape[1:])
        return decoders, Features(task.feature.name, array, ids[order])

    def _decoder(self, fold: int, fitted: FittedMap) -> Decoder:
        """Return the decoder of a fold."""
        task, recipe = self.task, self.task.recipe
        decoder = Decoder(
            self._rois,
            estimator=task.estimator,
            alphas=recipe.alphas,
            n_folds=recipe.n_folds,
            share_alpha=recipe.share_alpha,
            group_folds=recipe.group_folds,
            intercept=recipe.intercept,
            rescale_averages=recipe.rescale_averages,
            seed=task.seed,
            device=task.device,
        )
        train = np.isin(self._trials.stimulus_id, task.folds[fold][0])
        return decoder.take_map(fitted, self._trials, task.feature, train, averaged=task.train_trials == "averaged")


def held_out(trials: Trials, split: Split, *, test_trials: Rows = "averaged") -> Trials:
    """Return the held-out rows in the order in which `decode` predicts them."""
    test = rows_of(trials.select(split.test_ids), test_trials, "test")
    order = np.argsort(test.stimulus_id, kind="stable")
    return test.take(order)
