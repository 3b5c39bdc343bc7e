"""Prior: c as a mean over captions that people wrote, weighed by how probable each is given the brain.

The linear decoder says where c is, blurred; the training captions say what a c can be. How the decoder blurs is learnt
from training pictures alone: each is decoded by a map that was fitted on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reseen.decode import Decoding, held_out
from reseen.executor import Executor
from reseen.features import Features
from reseen.posterior import Components, DecodingNoise, calibrated_noise
from reseen.recipe import DecodeRecipe, Rows
from reseen.trials import Split, Trials

N_COMPONENTS = 200
"""Principal components in which captions are told apart; at most a fifth of the training stimuli's number."""
N_CANDIDATES = 5


@dataclass(frozen=True)
class Candidates:
    """Hold the training stimuli that are most probable given the brain, for each decoded item.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_items, N_CANDIDATES)``, the most probable first; fewer where there are fewer training stimuli.
    probability
        The same shape.
    n_effective
        Shape ``(n_items,)``: over how many stimuli the probability is spread, one over the sum of its squares.
    """

    stimulus_id: NDArray[np.int64]
    probability: NDArray[np.float32]
    n_effective: NDArray[np.float32]


class DecodingUnderPrior:
    """Be a brain and a feature, joined, to be decoded as means over what the training stimuli's features are.

    Ridge maps are fitted to the leading principal components of the training stimuli's features: one for the held-out
    stimuli, and ``recipe.n_folds`` more that decode the training stimuli left out of them, from which the noise of
    decoding is learnt (`reseen.posterior`). Every training stimulus is as probable beforehand as every other.

    The parameters are those of `reseen.decode.decode`; ``feature`` is read for training stimuli alone.
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
        self._parts = []
        for train, test in split.folds:
            known = Features(feature.name, feature.rows(train), train)
            components = Components.fit(known.flat, min(N_COMPONENTS, max(len(train) // 5, 1)))
            true = Features(feature.name, components.project(known.flat), train)
            inner = Split.leave_out(train, recipe.n_folds, seed)
            whole = Split((*inner.folds, (train, test)))
            decoding = Decoding(
                trials,
                whole,
                true,
                rois=rois,
                recipe=recipe,
                seed=seed,
                train_trials=train_trials,
                test_trials=test_trials,
                device=device,
            )
            n_repetitions = held_out(trials, whole, test_trials=test_trials).n_repetitions
            self._parts.append(_Part(known, true, inner, test, decoding, n_repetitions))

    def run(
        self,
        *,
        shuffle: int | None = None,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Features, Candidates]:
        """Decode the held-out items.

        Parameters and errors are those of `reseen.decode.Decoding.run`.

        Returns
        -------
        decoded
            The items of `reseen.decode.Decoding.run`, in the same order.
        candidates
            What each item's mean is made of.
        """
        parts = []
        for number, part in enumerate(self._parts):
            told = _told(progress, number, len(self._parts))
            parts.append(part.weigh(part.decoding.run(shuffle=shuffle, executor=executor, progress=told)[1]))
        return _join(parts)


@dataclass(frozen=True, eq=False)
class _Part:
    """Hold one fold: its training stimuli, in full and in components, and the decoding of them and of the test."""

    known: Features
    true: Features
    inner: Split
    test: NDArray[np.int64]
    decoding: Decoding
    n_repetitions: NDArray[np.int64]  # (n_items,) of all that is decoded

    def weigh(self, decoded: Features) -> tuple[Features, Candidates]:
        """Give the mean of known features for each test item, and what it is made of."""
        tested = np.isin(decoded.stimulus_id, self.test)
        noise = self.noise(decoded, _taught_by(tested, self.n_repetitions))
        probability = noise.probabilities(decoded.array[tested], self.true.array)
        mean = (probability.astype(np.float32) @ self.known.flat).reshape(-1, *self.known.array.shape[1:])
        leading = np.argsort(-probability, axis=1, kind="stable")[:, :N_CANDIDATES]
        found = np.take_along_axis(probability, leading, axis=1).astype(np.float32)
        spread = (1 / (probability**2).sum(axis=1)).astype(np.float32)
        items = Features(self.known.name, mean, decoded.stimulus_id[tested])
        return items, Candidates(self.known.stimulus_id[leading], found, spread)

    def noise(self, decoded: Features, taught_by: NDArray[np.bool_]) -> DecodingNoise:
        """Learn the noise of decoding from training items, each decoded by a map that was fitted on others."""
        ids = decoded.stimulus_id[taught_by]
        fold = np.zeros(len(ids), dtype=np.int64)
        for number, (_, left_out) in enumerate(self.inner.folds):
            fold[np.isin(ids, left_out)] = number
        row = self.true.where(ids)
        return calibrated_noise(self.true.array[row], decoded.array[taught_by], self.true.array, row, fold)


def _taught_by(tested: NDArray[np.bool_], n_repetitions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Choose the training items that teach the noise: those shown as often as most test items, if they are not few."""
    usual = np.bincount(n_repetitions[tested]).argmax()
    alike = ~tested & (n_repetitions == usual)
    return alike if 2 * alike.sum() >= (~tested).sum() else ~tested


def _join(parts: Sequence[tuple[Features, Candidates]]) -> tuple[Features, Candidates]:
    """Join what folds gave, sorted by stimulus; candidates are as many as the smallest fold has."""
    ids = np.concatenate([items.stimulus_id for items, _ in parts])
    order = np.argsort(ids, kind="stable")
    n_leading = min(found.stimulus_id.shape[1] for _, found in parts)
    candidates = Candidates(
        np.concatenate([found.stimulus_id[:, :n_leading] for _, found in parts])[order],
        np.concatenate([found.probability[:, :n_leading] for _, found in parts])[order],
        np.concatenate([found.n_effective for _, found in parts])[order],
    )
    array = np.concatenate([items.array for items, _ in parts])[order]
    return Features(parts[0][0].name, array, ids[order]), candidates


def _told(progress: Callable[[int, int], None] | None, number: int, n_parts: int) -> Callable[[int, int], None] | None:
    """Count the units of one of several parts of equal size as units of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, n_parts * total)
