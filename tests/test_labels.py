"""Ids that belong to the betas are told from ids that are out of step."""

from __future__ import annotations

import numpy as np
import pytest

from reseen import labels
from reseen.labels import LabelCheck, check_labels


def experiment(noise, *, n_images=100, n_repetitions=3, n_sessions=4, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.concatenate([rng.permutation(n_images) for _ in range(n_repetitions)])
    session = np.repeat(np.arange(n_sessions), len(ids) // n_sessions)
    patterns = rng.normal(size=(n_images, 60))
    betas = patterns[ids] + noise * rng.normal(size=(len(ids), 60)) + 0.5 * session[:, None]
    return betas.astype(np.float32), ids, session


def shifted(ids, _session):
    return np.roll(ids, 1)


def swapped(ids, session):
    other = ids.copy()
    other[session == 0], other[session == 1] = ids[session == 1], ids[session == 0]
    other[session == 2], other[session == 3] = ids[session == 3], ids[session == 2]
    return other


def shuffled(ids, _session):
    return np.random.default_rng(3).permutation(ids)


@pytest.mark.parametrize("noise", [0.5, 1, 3])
def test_ids_that_belong_to_the_betas_are_far_above_chance(noise):
    found = check_labels(*experiment(noise))
    assert found.value > 10
    assert found.problem is None


@pytest.mark.parametrize("wrong", [shifted, swapped, shuffled])
def test_ids_out_of_step_are_said_to_be_so(wrong):
    betas, ids, session = experiment(1)
    found = check_labels(betas, wrong(ids, session), session)
    assert found.value < labels.THRESHOLD
    assert ("less" if found.value < 0 else "hardly more") + " alike than others" in found.problem


def test_ids_that_are_numbered_anew_in_each_session_have_a_hint_of_their_own():
    rng = np.random.default_rng(5)
    patterns = rng.normal(size=(120, 60))
    session = np.repeat(np.arange(3), 120)
    seen = [rng.permutation(120)[:40] for _ in range(3)]  # 40 images in each session
    local = np.concatenate([np.tile(np.arange(40), 3) for _ in seen])
    shown = np.concatenate([np.tile(images, 3) for images in seen])
    betas = (patterns[shown] + rng.normal(size=(360, 60))).astype(np.float32)
    assert check_labels(betas, shown, session).problem is None
    assert "numbered anew in each session" in check_labels(betas, local, session).problem


def test_without_any_signal_the_value_is_standard_normal():
    values = [check_labels(*experiment(1e4, seed=seed)).value for seed in range(60)]
    assert abs(np.mean(values)) < 3 / np.sqrt(60)
    assert 0.75 < np.std(values) < 1.3


def test_the_statistic_is_its_definition_as_a_loop():
    betas, ids, session = experiment(2, n_images=30, n_sessions=2)
    patterns = betas.astype(float)
    for number in np.unique(session):
        patterns[session == number] -= patterns[session == number].mean(axis=0)
    pairs = [(i, j) for i in range(len(ids)) for j in range(i) if ids[i] == ids[j]]
    expected = np.mean([np.corrcoef(patterns[i], patterns[j])[0, 1] for i, j in pairs])
    first, second = labels._pairs(ids)
    found = labels._pattern_correlations(betas, session)[first, second].mean()
    assert found == pytest.approx(expected, abs=1e-12)


def test_few_pairs_say_nothing():
    betas, ids, session = experiment(1, n_images=12)
    found = check_labels(betas, ids, session)
    assert np.isnan(found.value)
    assert found.problem is None
    assert found.n_pairs == 36


def test_many_trials_and_voxels_are_sampled():
    rng = np.random.default_rng(0)
    ids = np.tile(np.arange(2000), 3)
    patterns = rng.normal(size=(2000, 2500)).astype(np.float32)
    betas = patterns[ids] + 5 * rng.normal(size=(6000, 2500)).astype(np.float32)
    found = check_labels(betas, ids, np.repeat(np.arange(3), 2000))
    assert found.value > 10
    assert 1000 < found.n_pairs <= labels.N_TRIALS


@pytest.mark.parametrize(
    ("value", "comparison", "problem"),
    [
        (12.34, "are more alike than those of permuted ids, by 12.3 standard", None),
        (1.2, "are more alike than those of permuted ids, by 1.2 standard", "are hardly more alike than others (1.2 "),
        (0.0, "are more alike than those of permuted ids, by 0.0 standard", "are hardly more alike than others (0.0 "),
        (-0.01, "are less alike than those of permuted ids, by 0.0 standard", "are less alike than others (0.0 "),
        (-4.56, "are less alike than those of permuted ids, by 4.6 standard", "are less alike than others (-4.6 "),
    ],
)
def test_what_is_said_holds_for_both_signs(value, comparison, problem):
    found = LabelCheck(value, value, value, 1234)
    assert f"1,234 pairs of trials of the same image {comparison}" in found.comparison
    assert found.problem is None if problem is None else problem in found.problem


def test_less_alike_trials_are_said_to_be_less_alike():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(60), 2)
    patterns = rng.normal(size=(60, 80))
    betas = np.stack([patterns, -patterns], axis=1).reshape(120, 80).astype(np.float32)  # opposite at the second time
    found = check_labels(betas, ids, np.zeros(120, dtype=np.int64))
    assert found.value < -3
    assert "less alike" in found.comparison
    assert "less alike" in found.problem
