"""Decode: predict features of held-out stimuli from the responses of some ROIs.

`Decoder` is one fitted decoder. `decode` and `Decoding` fit one decoder for each fold of a split, with true or with
permuted labels, on one process or on several workers.

A task is a block of targets of one fold (`tasks`). Maps do not depend on where a block is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from reseen.decode.decoder import Decoder
from reseen.decode.estimators import FittedMap, make_estimator
from reseen.decode.tasks import (
    FitData,
    fit_all,
    only_voxels,
    permute_ids,
    permuted_folds,
    permuted_stimuli,
    predict_all,
    rows_of,
)
from reseen.executor import Executor, Serial
from reseen.features import Features
from reseen.recipe import DecodeRecipe, Rows
from reseen.split import Split
from reseen.trials import Trials

__all__ = ["Decoder", "Decoding", "decode", "held_out", "permute_ids", "permuted_folds", "permuted_stimuli"]


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
        Training and test stimuli of each fold.
    feature
        The features of at least the training stimuli; those of test stimuli are not used.
    rois, recipe
        ROIs of the voxels, and settings of the decoders.
    seed
        Determines the inner folds and the permutations.
    train_trials, test_trials
        ``"averaged"`` averages repetitions before the fit, and before the prediction.
    device
        Where the decoders are fitted, as in `fit_ridge`; with ``"cuda"``, each task needs a GPU.
    permutation, executor, progress
        As in `Decoding.run`, like the return value and the errors.
    """
    averaging: dict[str, Rows] = {"train_trials": train_trials, "test_trials": test_trials}
    decoding = Decoding(trials, split, feature, rois=rois, recipe=recipe, seed=seed, device=device, **averaging)
    return decoding.run(permutation=permutation, executor=executor, progress=progress)


class Decoding:
    """Decoding of one feature from one subject in each fold, with true or permuted labels.

    The parameters are those of `decode`; ``data`` stores them. The factored problem of a fold stays in memory between
    runs.
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
        self.data = FitData(
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
            group=split.group,
        )
        self._tests = [self.data.test(fold) for fold in range(len(split.folds))]

    def can_share(self, name: str, rois: Sequence[str]) -> bool:
        """Return whether another feature has the same voxels and penalties, so that `of` decodes it."""
        recipe = self.data.recipe
        same_penalties = recipe.alphas_of(name) == recipe.alphas_of(self.data.feature.name)
        return self._rois == tuple(rois) and same_penalties

    def of(self, feature: Features) -> Decoding:
        """Return the decoding of another feature from the same voxels; both share the factored problem of a fold."""
        other = copy(self)
        other.data = replace(self.data, feature=feature)
        return other

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
            Number of the permutation of features over stimuli before the fit, for the level ``permuted``; left out: no
            permutation. Where the test set is fixed, the features of the training stimuli are
            permuted. Where stimuli are left out in turn, those of all stimuli are, once for all folds
            (`permuted_stimuli`).
        weights
            Return the maps, which may need much memory; maps of a permutation are never kept.
        executor
            Where to fit; left out: in this process. The result is the same.
        progress
            Called with the number of fitted blocks of targets and the total number.

        Returns
        -------
        decoders
            One for each fold; none if maps are not kept.
        decoded
            Predictions of all held-out items, sorted by stimulus id and then by fold; single trials of one stimulus
            and fold in order of presentation. A split gives the same items, whatever the feature and the ROIs: the rows
            of `held_out`. Where groups of trials are left out, the items have the number of their fold.

        Raises
        ------
        ShapeError, DataError
            If a fold has no training or test trials, or as in `Decoder.fit`.
        ClusterError
            If the executor loses its workers.
        """
        data, decoders = self.data, []
        if weights and permutation is None:
            maps = fit_all(data, executor or Serial(), progress)
            pairs = zip(maps, self._tests, strict=True)
            parts = [fitted.predict(test.betas, n_repetitions=data.counts(test)) for fitted, test in pairs]
            decoders = [self._decoder(fold, fitted) for fold, fitted in enumerate(maps)]
        else:
            parts = predict_all(data, permutation, [len(test) for test in self._tests], executor or Serial(), progress)
        ids = np.concatenate([test.stimulus_id for test in self._tests])
        order = np.argsort(ids, kind="stable")
        array = np.concatenate(parts)[order].reshape(len(ids), *data.feature.array.shape[1:])
        fold = np.repeat(np.arange(len(self._tests)), [len(test) for test in self._tests])[order]
        decoded = Features(data.feature.name, array, ids[order], None if data.group is None else fold)
        return decoders, decoded

    def _decoder(self, fold: int, fitted: FittedMap) -> Decoder:
        """Return the decoder of a fold."""
        data, recipe = self.data, self.data.recipe
        decoder = Decoder(
            self._rois,
            estimator=data.estimator,
            alphas=recipe.alphas_of(data.feature.name),
            n_folds=recipe.n_folds,
            share_alpha=recipe.share_alpha,
            group_folds=recipe.group_folds,
            intercept=recipe.intercept,
            rescale_averages=recipe.rescale_averages,
            seed=data.seed,
            device=data.device,
        )
        train = np.zeros(len(self._trials), dtype=bool)
        train[data.train_rows(fold)] = True
        return decoder.take_map(fitted, self._trials, data.feature, train, averaged=data.train_trials == "averaged")


def held_out(trials: Trials, split: Split, *, test_trials: Rows = "averaged") -> Trials:
    """Return the held-out rows in the order in which `decode` predicts them."""
    rows = [split.test_rows(fold, trials.stimulus_id) for fold in range(len(split.folds))]
    test, n_folds = trials.take(np.concatenate(rows)), len(rows)
    fold = np.repeat(np.arange(n_folds), [len(own) for own in rows])
    # one id for each stimulus in each fold, sorted by stimulus and then by fold
    each = replace(test, stimulus_id=test.stimulus_id * n_folds + fold)
    found = rows_of(each, test_trials, "test")
    found = found.take(np.argsort(found.stimulus_id, kind="stable"))
    return replace(found, stimulus_id=found.stimulus_id // n_folds)
