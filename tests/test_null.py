"""Decoders fitted on permuted labels are at chance, with a fixed test set and where stimuli are left out in turn."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from reseen import metrics, statistics
from reseen.decode import Decoding
from reseen.features import Features
from reseen.recipe import DecodeRecipe
from reseen.split import Split
from reseen.trials import Trials

N_TESTED = 12
SPLITS = {
    "one left out": Split.leave_out(np.arange(N_TESTED), N_TESTED, seed=0),
    "folds": Split.leave_out(np.arange(N_TESTED), 4, seed=0),
    "runs": Split.leave_groups_out(np.repeat(np.arange(N_TESTED), 2), np.tile([0, 1], N_TESTED)),
    "fixed": Split.fixed(np.arange(N_TESTED, 36), np.arange(N_TESTED)),
}
RECIPE = DecodeRecipe(share_alpha=True, alphas=(1.0, 10.0, 100.0), n_folds=3)


def subject(rng: np.random.Generator, n_stimuli: int, *, null: bool = True) -> tuple[Trials, Features]:
    """Two trials of each stimulus and thirty features that share a mean; without null, voxels know three dimensions."""
    code = rng.standard_normal((n_stimuli, 3)) * [2.0, 1.0, 0.5]
    features = 3 * rng.standard_normal(30) + code @ rng.standard_normal((3, 30)) + rng.normal(0, 0.3, (n_stimuli, 30))
    ids = np.repeat(np.arange(n_stimuli), 2)
    seen = rng.permutation(n_stimuli) if null else np.arange(n_stimuli)
    betas = code[seen][ids] @ rng.standard_normal((3, 15)) + rng.normal(0, 2, (len(ids), 15))
    trials = Trials(betas, ids)
    return trials, Features("z", features.astype(np.float32), np.arange(n_stimuli))


def permuted_scores(
    name: str, n_subjects: int, n_permutations: int, *, by_fold: bool = False, null: bool = True
) -> np.ndarray:
    """Two-way identification by the features as an image would show them, ``(n_subjects, n_permutations)``."""
    rng, split = np.random.default_rng(1), SPLITS[name]
    scores = np.empty((n_subjects, n_permutations))
    for seed in range(n_subjects):
        trials, feature = subject(rng, 36 if name == "fixed" else N_TESTED, null=null)
        decoding = Decoding(trials, split, feature, rois=["all"], recipe=RECIPE, seed=seed)
        if by_fold:
            decoding.data = replace(decoding.data, permuted=None)
        for permutation in range(n_permutations):
            _, decoded = decoding.run(permutation=permutation, weights=False)
            r = metrics.correlation_matrix(feature.rows(decoded.stimulus_id), decoded.flat)
            found = metrics.identification_from_correlations(r, labels=decoded.stimulus_id)
            scores[seed, permutation] = np.mean(found)
    return scores


@pytest.mark.parametrize("name", SPLITS)
def test_null_subjects_are_at_one_half_and_their_intervals_hold_it(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = permuted_scores(name, 30, 3)
    mean = scores.mean(axis=1)
    standard_error = mean.std(ddof=1) / np.sqrt(len(mean))
    assert abs(mean.mean() - 0.5) < 2 * standard_error
    assert standard_error < 0.03
    held = [low <= 0.5 <= high for low, high in map(statistics.t_interval, scores)]
    assert np.mean(held) >= 0.87  # two standard errors of 30 subjects below 0.95


def test_labels_permuted_for_a_brain_that_knows_the_stimuli_are_near_one_half() -> None:
    """Unusual stimuli have unusual responses, of which any decoder makes unusual images: a little above one half."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = permuted_scores("folds", 20, 3, null=False)
    assert 0.45 < scores.mean() < 0.57


def test_permutations_of_each_fold_alone_would_be_far_below_chance() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = permuted_scores("one left out", 12, 2, by_fold=True)
    assert scores.mean() < 0.45


def test_all_folds_meet_one_permutation_of_all_stimuli() -> None:
    trials, feature = subject(np.random.default_rng(0), N_TESTED)
    split = SPLITS["folds"]
    task = Decoding(trials, split, feature, rois=["all"], recipe=RECIPE, seed=5).data
    given: dict[int, int] = {}
    for fold, (train, _) in enumerate(split.folds):
        for stimulus, other in zip(train.tolist(), task.target_rows(0, fold).tolist(), strict=True):
            assert given.setdefault(stimulus, other) == other
    assert sorted(given.values()) == list(range(N_TESTED))
    assert any(stimulus != other for stimulus, other in given.items())


def test_with_a_fixed_test_set_the_training_stimuli_alone_are_permuted() -> None:
    trials, feature = subject(np.random.default_rng(0), 36)
    task = Decoding(trials, SPLITS["fixed"], feature, rois=["all"], recipe=RECIPE, seed=5).data
    assert sorted(task.target_rows(0, 0).tolist()) == list(range(N_TESTED, 36))
