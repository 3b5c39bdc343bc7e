"""Prior: c as a mean over the training captions, weighted by their probability given the responses.

The linear decoder estimates c with noise; the prior restricts c to the training captions. The noise model is learnt
from training images alone: the folds that choose the penalties predict each image while it is held out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reseen.decode import Decoding
from reseen.decode.tasks import FitData
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.posterior import Components, DecodingNoise, calibrated_noise
from reseen.recipe import Rows
from reseen.ridge import EdgeWarning, assemble, fit_blocks, predict_held_out
from reseen.trials import Trials

N_COMPONENTS = 200
"""Number of principal components for the probabilities; at most a fifth of the number of training stimuli."""
N_CANDIDATES = 5
FEWEST = 10
"""Smallest number of training stimuli from which the noise can be learnt."""


@dataclass(frozen=True)
class Candidates:
    """Most probable training stimuli given the responses, for each decoded item.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_items, N_CANDIDATES)``, the most probable first.
    probability
        The same shape.
    n_effective
        Shape ``(n_items,)``: effective number of stimuli, ``1 / sum(probability ** 2)``.
    of_true
        Shape ``(n_items,)``: the most probable training stimulus given the item's true features, as if decoding had no
        noise; None if it was not asked for.
    """

    stimulus_id: NDArray[np.int64]
    probability: NDArray[np.float32]
    n_effective: NDArray[np.float32]
    of_true: NDArray[np.int64] | None = None


def check_prior(subject: str, fewest: int, test_trials: Rows) -> None:
    """Check that the smallest fold has enough training stimuli for a prior over captions.

    Raises
    ------
    ShapeError
        If ``fewest`` is below `FEWEST`, or test trials are single.
    """
    if fewest < FEWEST or test_trials == "single":
        raise ShapeError(
            f"{subject}: a prior over captions needs averaged test trials and thousands of training stimuli "
            f"({FEWEST} at least); found {test_trials} ones and {fewest}. Set decode.c_prior to 'none'."
        )


class DecodingUnderPrior:
    """Decoding of a feature as a weighted mean of the training stimuli's features.

    One ridge map is fitted to the leading principal components of the training stimuli's features. The decoding noise
    is learnt from the held-out predictions of its folds (`reseen.posterior`). The prior over training stimuli is
    uniform. The factored problem of a fold stays in memory between runs.

    Parameters
    ----------
    decoding
        Decoding without a prior, with responses, feature and settings. Only the features of training stimuli are
        read, unless the oracle is asked for.

    Raises
    ------
    ShapeError
        If a fold has fewer than `FEWEST` training stimuli, or test trials are single.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._data = data = decoding.data
        check_prior(data.trials.subject, min(len(train) for train, _ in data.folds), data.test_trials)
        self._part: tuple[int, _Part] | None = None

    def run(
        self,
        *,
        permutation: int | None = None,
        oracle: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Features, Candidates]:
        """Decode the held-out stimuli, with true or permuted labels, like `reseen.decode.Decoding.run`.

        Parameters
        ----------
        permutation
            Number of the permutation of training stimuli; left out: no permutation.
        oracle
            Also find the most probable training stimulus given the true features of each item.
        progress
            Called with the number of finished folds and the total number.

        Returns
        -------
        decoded
            The items of `reseen.decode.Decoding.run`, in the same order.
        candidates
            Most probable training stimuli of each item's mean.
        """
        parts = []
        n_folds = len(self._data.folds)
        for fold in range(n_folds):
            parts.append(self._fold(fold).decode(permutation, self._data.feature if oracle else None))
            if progress is not None:
                progress(fold + 1, n_folds)
        return _join(parts)

    def _fold(self, fold: int) -> _Part:
        """Prepare one fold, and keep the last one in memory."""
        if self._part is None or self._part[0] != fold:
            self._part = None
            feature, (train, test), group = self._data.feature, self._data.folds[fold], self._data.group
            components = Components.fit(feature.rows(train).reshape(len(train), -1), min(N_COMPONENTS, len(train) // 5))
            ids = train if self._data.permuted is None else self._data.permuted
            known = Features(feature.name, feature.rows(ids), ids)
            data = replace(
                self._data,
                feature=Features(known.name, components.project(known.flat), ids),
                folds=((train, test),),
                group=None if group is None else np.where(group == fold, 0, -1),
                recipe=self._data.recipe.model_copy(update={"group_folds": True}),  # hold out all trials
                _kept={},
                _tests={},
            )
            self._part = fold, _Part(known, components, data, None if group is None else fold)
        return self._part[1]


@dataclass(frozen=True, eq=False)
class _Part:
    """One fold: features of its training stimuli, and the decoding of their principal components."""

    known: Features
    components: Components
    data: FitData  # of the components, for this fold alone
    number: int | None = None  # of the fold, where groups of trials are left out

    def decode(self, permutation: int | None, oracle: Features | None) -> tuple[Features, Candidates]:
        """Return the weighted mean of known features for each test item, and its most probable stimuli.

        ``oracle`` has the true features of the test items, if their most probable stimuli are asked for too.
        """
        test, given = self.data.test(0), self.data.target_rows(permutation, 0)
        true = self.data.feature.array[given]
        noise, decoded = self._decoded(true, test)
        probability = noise.probabilities(decoded, true)
        mean = probability.astype(np.float32) @ self.known.flat[given]
        leading = np.argsort(-probability, axis=1, kind="stable")[:, :N_CANDIDATES]
        found = np.take_along_axis(probability, leading, axis=1).astype(np.float32)
        spread = (1 / (probability**2).sum(axis=1)).astype(np.float32)
        fold = None if self.number is None else np.full(len(test), self.number)
        items = Features(self.known.name, mean.reshape(-1, *self.known.array.shape[1:]), test.stimulus_id, fold)
        ids, of_true = self.known.stimulus_id[given], None
        if oracle is not None:
            shown = self.components.project(oracle.rows(test.stimulus_id).reshape(len(test), -1))
            # the decoding without noise: the mean of what would be decoded from these true components
            of_true = ids[noise.log_likelihood(noise.expected(shown).astype(np.float32), true).argmax(axis=1)]
        return items, Candidates(ids[leading], found, spread, of_true)

    def _decoded(self, true: NDArray[np.float32], test: Trials) -> tuple[DecodingNoise, NDArray[np.float32]]:
        """Decode the components of test items, and learn the noise of decoding from the training stimuli."""
        data, factored = self.data, self.data.training(0).factored
        assert factored is not None  # a recipe with an estimator of the user's own has no prior
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeWarning)  # weak components have no best penalty
            fitted = assemble(true.shape[1], fit_blocks(factored, true, share_alpha=data.recipe.share_alpha))
        predicted, fold = predict_held_out(factored, true, fitted)
        n_shown = self._n_shown()
        if data.recipe.rescale_averages:
            deviation = predicted - fitted.intercept
            fitted.rescale(deviation, n_shown)
            predicted = fitted.intercept + deviation
        alike = _alike(n_shown, test.n_repetitions, fold, true.shape[1] + 2)
        noise = calibrated_noise(true[alike], predicted[alike], true, np.flatnonzero(alike), fold[alike])
        return noise, fitted.predict(test.betas, n_repetitions=data.counts(test))

    def _n_shown(self) -> NDArray[np.int64]:
        """Count the presentations of each training stimulus that has a trial, ``(n_training,)``."""
        trials, mine = self.data.trials, self.data.train_rows(0)
        row = np.searchsorted(self.data.training(0).stimulus_id, trials.stimulus_id[mine])
        return np.bincount(row, weights=trials.n_repetitions[mine]).astype(np.int64)


def _alike(
    n_shown: NDArray[np.int64], n_tested: NDArray[np.int64], fold: NDArray[np.int64], fewest: int
) -> NDArray[np.bool_]:
    """Choose training stimuli for learning the noise: those with the most common number of test repetitions.

    All are used if these are less than half, or if those outside any one fold are fewer than ``fewest``.
    """
    alike = n_shown == np.bincount(n_tested).argmax()
    left = alike.sum() - np.bincount(fold, weights=alike).max()
    return alike if 2 * alike.sum() >= len(alike) and left >= fewest else np.ones_like(alike)


def _join(parts: Sequence[tuple[Features, Candidates]]) -> tuple[Features, Candidates]:
    """Join the results of folds, sorted by stimulus."""
    ids = np.concatenate([items.stimulus_id for items, _ in parts])
    order = np.argsort(ids, kind="stable")
    array = np.concatenate([items.array for items, _ in parts])[order]
    candidates = [found for _, found in parts]
    of_true = [found.of_true for found in candidates if found.of_true is not None]
    joined = Candidates(
        np.concatenate([found.stimulus_id for found in candidates])[order],
        np.concatenate([found.probability for found in candidates])[order],
        np.concatenate([found.n_effective for found in candidates])[order],
        np.concatenate(of_true)[order] if of_true else None,
    )
    folds = [items.fold for items, _ in parts if items.fold is not None]
    fold = np.concatenate(folds)[order] if folds else None
    return Features(parts[0][0].name, array, ids[order], fold), joined
