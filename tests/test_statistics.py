from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from fields import raises_with

from reseen import statistics
from reseen.errors import ShapeError


def test_wrong_pairings_give_no_stimulus_its_own_truth_and_repetitions_the_same_one():
    labels = np.array([4, 9, 4, 2, 9, 7])
    rows = statistics.derangements(labels, 50, seed=0)
    truth = labels[rows]
    assert rows.shape == (50, 6)
    assert not np.any(truth == labels)
    assert np.array_equal(truth[:, 0], truth[:, 2])
    assert all(set(row) == set(labels) for row in truth)
    assert np.array_equal(rows, statistics.derangements(labels, 50, seed=0))
    assert not np.array_equal(rows, statistics.derangements(labels, 50, seed=1))
    with raises_with(ShapeError, where="labels", expected=2, found=1):
        statistics.derangements([1, 1], 3, seed=0)


def test_resampling_draws_stimuli_whole():
    weights = statistics.bootstrap_weights([5, 5, 8, 1], 20, seed=0)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.all(weights[:, 1:].sum(axis=1) == 3)


def test_bootstrap_of_a_mean_is_the_mean_of_the_resampled_items():
    values, weights = np.array([1.0, np.nan, 3.0]), np.array([[2.0, 5.0, 1.0], [0.0, 3.0, 0.0]])
    np.testing.assert_allclose(statistics.bootstrap_mean(values, weights), [5 / 3, np.nan])


def test_the_share_of_the_gap_closed_is_undefined_without_a_gap():
    np.testing.assert_allclose(statistics.gap_closed([0.75, 0.6], 0.5, [1.0, 0.5]), [0.5, np.nan])
    assert statistics.interval(np.array([np.nan])) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert np.isnan(statistics.permutation_null(np.nan, np.ones(3)).p)


@pytest.mark.parametrize("n", [3, 20, 982])
def test_p_of_a_correlation_is_scipys(n):
    from scipy.stats import pearsonr

    x, y = np.random.default_rng(n).normal(size=(2, n))
    y += 0.1 * x
    expected = pearsonr(x, y, alternative="greater").pvalue
    assert statistics.p_of_correlation(np.corrcoef(x, y)[0, 1], n) == pytest.approx(expected, rel=1e-6)


def test_p_of_a_correlation_at_its_ends_and_where_there_is_none():
    np.testing.assert_allclose(statistics.p_of_correlation([1.0, 0.0, -1.0, np.nan], 10), [0, 0.5, 1, np.nan])
    assert statistics.p_of_correlation(0.0525, 982) == pytest.approx(0.05, abs=1e-4)
    with raises_with(ShapeError, where="n", expected=3, found=2):
        statistics.p_of_correlation([0.1], 2)


def test_p_of_noise_is_uniform_by_either_null():
    from scipy.stats import kstest, norm

    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 60, 2000)).astype(np.float32)
    a, b = true - true.mean(0), predicted - predicted.mean(0)
    r = (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))
    parametric = statistics.p_of_correlation(r, 60)
    permuted = statistics.permutation_p(true, predicted, 199, seed=0)
    assert kstest(parametric, "uniform").pvalue > 0.01
    assert kstest(permuted - 0.5 / 200, "uniform").pvalue > 0.01
    sd = np.sqrt(0.25 / 200)  # of a p of one half that is told from 200 orders
    assert np.abs(norm.ppf(permuted.clip(0.005, 0.995)) - norm.ppf(parametric.clip(0.005, 0.995))).mean() < 3 * sd


def test_permutations_find_what_is_there_and_leave_constant_targets_without_p():
    rng = np.random.default_rng(1)
    true = rng.normal(size=(30, 3))
    predicted = true + 0.5 * rng.normal(size=true.shape)
    true[:, 2], predicted[:, 1] = 1.0, 1.0
    found = statistics.permutation_p(true, predicted, 99, seed=0)
    np.testing.assert_allclose(found, [0.01, 1, np.nan])


def test_q_is_scipys_and_tests_without_p_are_not_counted():
    from scipy.stats import false_discovery_control

    p = np.random.default_rng(2).uniform(size=50) ** 3
    p[7] = p[9]
    q = statistics.benjamini_hochberg(np.concatenate([p, [np.nan]]))
    np.testing.assert_allclose(q[:-1], false_discovery_control(p), rtol=1e-12)
    assert np.isnan(q[-1])
    assert np.isnan(statistics.benjamini_hochberg([np.nan, np.nan])).all()


@pytest.mark.parametrize("n_signals", [0, 100])
def test_the_mean_false_discovery_proportion_stays_at_or_below_the_rate(n_signals):
    rng = np.random.default_rng(3)
    n, n_tests, fdr, proportions = 100, 400, 0.1, []
    for _ in range(500):
        r = np.tanh(rng.normal(size=n_tests) / np.sqrt(n - 3))
        r[:n_signals] = np.tanh(np.arctanh(0.35) + rng.normal(size=n_signals) / np.sqrt(n - 3))
        found = statistics.benjamini_hochberg(statistics.p_of_correlation(r, n)) <= fdr
        proportions.append(found[n_signals:].sum() / max(found.sum(), 1))
    error = np.std(proportions) / np.sqrt(len(proportions))
    assert np.mean(proportions) <= fdr * (1 - n_signals / n_tests) + 3 * error


def test_permutations_keep_items_of_a_stimulus_together_and_stay_within_groups():
    labels = np.array([7, 7, 3, 9, 5, 2])
    groups = np.array(["a", "a", "b", "a", "b", "a"])
    rows = statistics.permutations(labels, 200, seed=0, groups=groups)
    assert np.all(groups[rows] == groups)
    assert np.all(rows[:, 0] == rows[:, 1])
    assert all(sorted(labels[row].tolist()) == [2, 3, 5, 7, 9] for row in rows[:, 1:])
    free = statistics.permutations(labels, 200, seed=0)
    assert {tuple(row) for row in free} != {tuple(row) for row in rows}
    assert (free[:, 2] == 2).mean() == pytest.approx(1 / 5, abs=0.1)  # some get their own truth


def test_holms_p_is_his_step_down_procedure():
    found = statistics.holm([0.03, 0.01, np.nan, 0.04, 0.011])
    assert found[[0, 1, 3, 4]] == pytest.approx([0.06, 0.04, 0.06, 0.033 + 0.007])  # never below a smaller p's
    assert np.isnan(found[2])
    assert statistics.holm([0.6, 0.7]).tolist() == [1, 1]


@pytest.mark.parametrize("n", [5, 12, 30])
def test_the_signed_rank_p_is_scipys_exact_one(n):
    from scipy.stats import wilcoxon

    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.3, 1, n)
        assert statistics.signed_rank_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


def test_the_signed_rank_p_with_ties_is_that_of_all_signs():
    from itertools import product

    from scipy.stats import rankdata

    differences = np.array([1, -1, 2, 2, 2, -3, 4, 4, 5, 0]) / 3
    ranks = rankdata(np.abs(differences[:-1]))
    centre = ranks.sum() / 2
    every = np.array([ranks @ np.array(signs) for signs in product((0, 1), repeat=9)])
    reached = np.abs(every - centre) >= abs(ranks[differences[:-1] > 0].sum() - centre) - 1e-9
    assert statistics.signed_rank_p(differences) == pytest.approx(reached.mean())


def test_the_signed_rank_p_of_nothing_is_one_and_of_many_is_the_normal_ones():
    from scipy.stats import wilcoxon

    assert statistics.signed_rank_p([0.0, np.nan]) == 1
    many = np.random.default_rng(0).normal(0.05, 1, 600)
    assert statistics.signed_rank_p(many) == pytest.approx(wilcoxon(many, method="approx").pvalue, rel=0.02)


def test_exchanging_pairs_by_chance_is_exact_for_few_and_near_it_for_more():
    from itertools import product

    differences = np.random.default_rng(0).normal(0.4, 1, (10, 3))
    differences[:, 2] = 0
    signs = np.array(list(product((-1, 1), repeat=10)))
    expected = (np.abs(signs @ differences) >= np.abs(differences.sum(axis=0)) - 1e-9).mean(axis=0)
    assert statistics.sign_flip_p(differences, 1024, seed=0) == pytest.approx(expected)
    drawn = statistics.sign_flip_p(np.vstack([differences, np.full((1, 3), np.nan)]), 2000, seed=0)
    assert drawn == pytest.approx(expected, abs=0.04)
    assert drawn[2] == 1


def test_p_of_exchanged_noise_is_uniform():
    noise = np.random.default_rng(1).normal(size=(25, 400))
    p = statistics.sign_flip_p(noise, 500, seed=0)
    for level in (0.05, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 400))


def test_the_interval_of_few_values_is_students():
    values = np.array([0.3, 0.5, 0.7])
    low, high = statistics.t_interval(values)
    expected = scipy.stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    assert (low, high) == pytest.approx(expected)
    assert np.isnan(statistics.t_interval(values[:1])).all()
