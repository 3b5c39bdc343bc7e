"""Prior: c as a mean over captions that people wrote, weighed by how probable each is given the brain.

The linear decoder says where c is, blurred; the training captions say what a c can be. How the decoder blurs is learnt
from training images alone: the folds that choose its penalties predict each of them without having seen it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reseen.decode import Decoding
from reseen.decode.units import Task
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.posterior import Components, DecodingNoise, calibrated_noise
from reseen.recipe import Rows
from reseen.ridge import EdgeWarning, assemble, fit_blocks, predict_held_out
from reseen.trials import Trials

N_COMPONENTS = 200
"""Principal components in which captions are identified; at most a fifth of the training stimuli's number."""
N_CANDIDATES = 5
FEWEST = 10
"""Training stimuli below which nothing can be learnt of the noise."""


@dataclass(frozen=True)
class Candidates:
    """Training stimuli that are most probable given the responses, for each decoded item.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_items, N_CANDIDATES)``, the most probable first.
    probability
        The same shape.
    n_effective
        Shape ``(n_items,)``: over how many stimuli the probability is spread, one over the sum of its squares.
    """

    stimulus_id: NDArray[np.int64]
    probability: NDArray[np.float32]
    n_effective: NDArray[np.float32]


def check_prior(subject: str, fewest: int, test_trials: Rows) -> None:
    """Refuse a prior over captions where a fold has ``fewest`` training stimuli.

    Raises
    ------
    ShapeError
        If these are fewer than `FEWEST`, or test trials are single.
    """
    if fewest < FEWEST or test_trials == "single":
        raise ShapeError(
            f"{subject}: a prior over captions is for averaged test trials and thousands of training stimuli "
            f"({FEWEST} at least); found {test_trials} ones and {fewest}. Set decode.c_prior to 'none'."
        )


class DecodingUnderPrior:
    """Decoding of a feature as a weighted mean of the training stimuli's features.

    One ridge map is fitted to the leading principal components of the training stimuli's features, and what its folds
    predict of stimuli they held out teaches the noise of decoding (`reseen.posterior`). Every training stimulus is as
    probable beforehand as every other. Memory holds the factored problem of a fold from one run to the next.

    Parameters
    ----------
    decoding
        What the ridge decodes without a prior, of which the brain, the feature and the settings are taken. Of the
        feature only training stimuli are read.

    Raises
    ------
    ShapeError
        If a fold has fewer than `FEWEST` training stimuli, or test trials are single.
    """

    def __init__(self, decoding: Decoding) -> None:
        self._task = task = decoding.task
        check_prior(task.trials.subject, min(len(train) for train, _ in task.folds), task.test_trials)
        self._part: tuple[int, _Part] | None = None

    def run(
        self, *, permutation: int | None = None, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Features, Candidates]:
        """Decode the held-out stimuli, with true or with permuted labels, as `reseen.decode.Decoding.run` does.

        Parameters
        ----------
        permutation
            Which of many permutations of training stimuli; left out: none.
        progress
            Called with the number of folds done and the number there are.

        Returns
        -------
        decoded
            The items of `reseen.decode.Decoding.run`, in the same order.
        candidates
            What each item's mean is made of.
        """
        parts = []
        n_folds = len(self._task.folds)
        for fold in range(n_folds):
            parts.append(self._fold(fold).decode(permutation))
            if progress is not None:
                progress(fold + 1, n_folds)
        return _join(parts)

    def _fold(self, fold: int) -> _Part:
        """Prepare one fold; the last is kept."""
        if self._part is None or self._part[0] != fold:
            self._part = None
            feature, (train, test) = self._task.feature, self._task.folds[fold]
            components = Components.fit(feature.rows(train).reshape(len(train), -1), min(N_COMPONENTS, len(train) // 5))
            ids = train if self._task.permuted is None else self._task.permuted
            known = Features(feature.name, feature.rows(ids), ids)
            task = replace(
                self._task,
                feature=Features(known.name, components.project(known.flat), ids),
                folds=((train, test),),
                recipe=self._task.recipe.model_copy(update={"group_folds": True}),  # a stimulus is held out whole
                _kept={},
                _tests={},
            )
            self._part = fold, _Part(known, task)
        return self._part[1]


@dataclass(frozen=True, eq=False)
class _Part:
    """One fold: the stimuli that it is given, in full and in components, and the decoding of the components."""

    known: Features
    task: Task  # of the components, for this fold alone

    def decode(self, permutation: int | None) -> tuple[Features, Candidates]:
        """Return the mean of known features for each test item, and what it is made of."""
        test, given = self.task.test(0), self.task.training(0).given(permutation)
        true = self.task.feature.array[given]
        noise, decoded = self._decoded(true, test)
        probability = noise.probabilities(decoded, true)
        mean = probability.astype(np.float32) @ self.known.flat[given]
        leading = np.argsort(-probability, axis=1, kind="stable")[:, :N_CANDIDATES]
        found = np.take_along_axis(probability, leading, axis=1).astype(np.float32)
        spread = (1 / (probability**2).sum(axis=1)).astype(np.float32)
        items = Features(self.known.name, mean.reshape(-1, *self.known.array.shape[1:]), test.stimulus_id)
        return items, Candidates(self.known.stimulus_id[given][leading], found, spread)

    def _decoded(self, true: NDArray[np.float32], test: Trials) -> tuple[DecodingNoise, NDArray[np.float32]]:
        """Decode components of test items, given those of the training stimuli, and learn how decoding blurs."""
        task, factored = self.task, self.task.training(0).factored
        assert factored is not None  # a recipe with an estimator of the user's own has no prior
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeWarning)  # weak components have no best penalty
            fitted = assemble(true.shape[1], fit_blocks(factored, true, share_alpha=task.recipe.share_alpha))
        predicted, fold = predict_held_out(factored, true, fitted)
        n_shown = self._n_shown()
        if task.recipe.rescale_averages:
            deviation = predicted - fitted.intercept
            fitted.rescale(deviation, n_shown)
            predicted = fitted.intercept + deviation
        alike = _alike(n_shown, test.n_repetitions, fold, true.shape[1] + 2)
        noise = calibrated_noise(true[alike], predicted[alike], true, np.flatnonzero(alike), fold[alike])
        return noise, fitted.predict(test.betas, n_repetitions=task.counts(test))

    def _n_shown(self) -> NDArray[np.int64]:
        """Count the showings of each training stimulus that has a trial, ``(n_training,)``."""
        trials, ids = self.task.trials, self.known.stimulus_id[self.task.training(0).stimulus]
        mine = np.isin(trials.stimulus_id, ids)
        row = np.searchsorted(ids, trials.stimulus_id[mine])
        return np.bincount(row, weights=trials.n_repetitions[mine]).astype(np.int64)


def _alike(
    n_shown: NDArray[np.int64], n_tested: NDArray[np.int64], fold: NDArray[np.int64], fewest: int
) -> NDArray[np.bool_]:
    """Choose the training stimuli that teach the noise: those shown as often as most test stimuli, if not few.

    They are few if they are less than half, or if those outside any one fold are fewer than ``fewest``.
    """
    alike = n_shown == np.bincount(n_tested).argmax()
    left = alike.sum() - np.bincount(fold, weights=alike).max()
    return alike if 2 * alike.sum() >= len(alike) and left >= fewest else np.ones_like(alike)


def _join(parts: Sequence[tuple[Features, Candidates]]) -> tuple[Features, Candidates]:
    """Join what folds gave, sorted by stimulus."""
    ids = np.concatenate([items.stimulus_id for items, _ in parts])
    order = np.argsort(ids, kind="stable")
    array = np.concatenate([items.array for items, _ in parts])[order]
    names = ("stimulus_id", "probability", "n_effective")
    joined = (np.concatenate([getattr(found, name) for _, found in parts])[order] for name in names)
    return Features(parts[0][0].name, array, ids[order]), Candidates(*joined)
