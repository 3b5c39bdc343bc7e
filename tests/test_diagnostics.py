"""What tells reading from guessing, against brute force and known answers."""

import time
from itertools import combinations

import numpy as np
import pytest

from reseen import diagnostics, metrics


def features(seed, n, d, spread=1.0):
    return np.random.default_rng(seed).normal(0, spread, (n, d))


def n_way_by_brute_force(scores, right, n_choices):
    """Draw every set of distractors; ties are shared."""
    others = [k for k in range(len(scores)) if k != right]
    found = []
    for drawn in combinations(others, n_choices - 1):
        best = max(scores[k] for k in (right, *drawn))
        winners = [k for k in (right, *drawn) if scores[k] == best]
        found.append((right in winners) / len(winners))
    return np.mean(found)


@pytest.mark.parametrize("n_choices", [2, 3, 5, 9])
def test_n_way_identification_is_the_mean_over_every_set_of_distractors_ties_shared(n_choices):
    scores = np.array([3.0, 1.0, 3.0, 2.0, 5.0, 3.0, 0.0, 1.0, 4.0])
    for right in range(len(scores)):
        beaten = np.sum(scores < scores[right])
        tied = np.sum(scores == scores[right]) - 1
        found = diagnostics.n_way(beaten, tied, len(scores) - 1, n_choices)
        assert found == pytest.approx(n_way_by_brute_force(scores, right, n_choices), abs=1e-12)


def test_n_way_identification_of_two_is_two_way_identification():
    r = metrics.correlation_matrix(features(0, 30, 12), features(0, 30, 12) + features(1, 30, 12))
    wins, valid = metrics.pairwise_wins(r)
    beaten, tied = ((wins == value) & valid for value in (1, 0.5))
    found = diagnostics.n_way(beaten.sum(axis=1), tied.sum(axis=1), np.full(30, 29), 2)
    assert found == pytest.approx(metrics.identification_from_correlations(r), abs=1e-12)


def test_a_tie_with_everything_is_a_guess_and_too_few_distractors_have_no_answer():
    for n_choices in (2, 10, 50):
        assert diagnostics.n_way(0, 49, 49, n_choices) == pytest.approx(1 / n_choices)
    assert np.isnan(diagnostics.n_way(48, 0, 48, 50))


def test_n_way_identification_stays_exact_for_a_thousand_images():
    exact = 1.0
    for k in range(49):
        exact *= (900 - k) / (999 - k)
    assert diagnostics.n_way(900, 0, 999, 50) == pytest.approx(exact, rel=1e-9)
    assert diagnostics.n_way(999, 0, 999, 1000) == 1
    assert diagnostics.n_way(998, 0, 999, 1000) == 0


def test_n_way_identification_among_all_takes_no_longer_than_among_two():
    beaten = np.random.default_rng(0).integers(0, 982, (200, 982))
    tied = np.minimum(1, 981 - beaten)
    start = time.process_time()
    found = diagnostics.n_way(beaten, tied, 981, 982)
    assert time.process_time() - start < 0.2
    assert np.array_equal(found, np.where(beaten + tied == 981, 1 / (tied + 1), 0))


def test_the_best_k_share_their_ties():
    assert diagnostics.top_k(10, 0, 10, 1) == 1
    assert diagnostics.top_k(9, 1, 10, 1) == 0.5
    assert diagnostics.top_k(0, 10, 10, 3) == pytest.approx(3 / 11)
    assert diagnostics.top_k(5, 0, 10, 5) == 0


def test_neighbours_are_the_most_similar_items_of_other_stimuli():
    labels = np.array([0, 0, 1, 2, 3])
    similarity = np.array([[1, 1, 0.1, 0.9, 0.5]] * 5)
    mask = diagnostics.nearest_neighbours(similarity, 2, labels)
    assert np.flatnonzero(mask[0]).tolist() == [3, 4]
    assert np.flatnonzero(mask[3]).tolist() == [0, 1]
    assert not mask[labels[:, None] == labels].any()


def test_pairs_within_and_between_categories_are_all_pairs_of_those_that_have_one():
    labels, names = np.array([0, 1, 1, 2, 3]), np.array(["a", "a", "a", "b", ""])
    within, between = diagnostics.pairs_by_category(names, labels)
    assert sorted(zip(*np.nonzero(within), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 0)]
    assert between.sum() == 6
    assert not (within | between)[4].any()


@pytest.mark.parametrize("n_categories", [2, 5, 10])
def test_a_decoder_that_knows_only_the_category_scores_what_the_formula_says(n_categories):
    """Shirakawa and others: ``(1 / k) * 0.5 + (1 - 1 / k) * q`` for k equally frequent categories."""
    n_each = 40
    names = np.repeat(np.arange(n_categories), n_each).astype(str)
    centres = features(0, n_categories, 200)
    truth = np.repeat(centres, n_each, axis=0) + features(1, n_categories * n_each, 200, 0.3)
    r = metrics.correlation_matrix(truth, np.repeat(centres, n_each, axis=0))
    wins, _ = metrics.pairwise_wins(r)
    within, between = diagnostics.pairs_by_category(names, np.arange(len(names)))
    assert diagnostics.won(wins, within) == 0.5
    assert (q := diagnostics.won(wins, between)) == 1
    share = within.sum() / (within | between).sum()
    whole = metrics.identification_from_correlations(r).mean()
    assert diagnostics.from_category_alone(q, share) == pytest.approx(whole, abs=1e-12)
    assert whole == pytest.approx(0.5 / n_categories + (1 - 1 / n_categories) * q, abs=0.5 / n_each)


def test_a_bootstrap_of_pairs_weighs_both_sides_as_often_as_they_were_drawn():
    wins = np.random.default_rng(0).integers(0, 2, (4, 4)).astype(float)
    pairs = ~np.eye(4, dtype=bool)
    drawn = [0, 2, 2, 3]
    chosen = [(i, k) for i in drawn for k in drawn if i != k]
    weights = np.bincount(drawn, minlength=4)[None].astype(float)
    assert diagnostics.bootstrap_won(wins, pairs, weights)[0] == pytest.approx(np.mean([wins[pair] for pair in chosen]))


def test_truths_are_counted_among_the_training_stimuli():
    right, wrong = np.array([[0.5], [0.2], [0.9]]), np.array([[0.1, 0.5, 0.5, 0.8]])
    beaten, tied = diagnostics.count_among(right, wrong)
    assert beaten[:, 0].tolist() == [1, 1, 4]
    assert tied[:, 0].tolist() == [2, 0, 0]


@pytest.mark.parametrize(("n_training", "n_targets"), [(12, 40), (60, 20), (300, 5000)])
def test_the_projection_on_the_span_of_the_training_targets_is_the_least_squares_one(n_training, n_targets):
    training = features(0, n_training, n_targets)
    training[:, 3] = 1.0
    mean = training.mean(axis=0)
    items = features(1, 5, n_targets)
    span = training - mean
    best = span.T @ np.linalg.lstsq(span.T, items.T, rcond=1e-9)[0]
    assert diagnostics.length_in_span(items, training, mean) == pytest.approx((best**2).sum(axis=0), rel=1e-8)


def test_nothing_is_lost_of_what_lies_in_the_span():
    training = features(0, 10, 50).astype(np.float32)
    mean = training.mean(axis=0, dtype=np.float64)
    items = features(1, 4, 10) @ (training - mean)
    assert diagnostics.length_in_span(items, training, mean) == pytest.approx((items**2).sum(axis=1), rel=1e-6)


def test_the_participation_ratio_counts_equal_dimensions():
    cube = np.array(list(np.ndindex(2, 2, 2)), dtype=float)
    assert diagnostics.participation_ratio(cube * 7 + 3) == pytest.approx(3)
    assert diagnostics.participation_ratio(cube * [5, 0, 0]) == pytest.approx(1)
    assert np.isnan(diagnostics.participation_ratio(np.ones((4, 3))))


def test_a_bottleneck_keeps_the_leading_principal_dimensions_of_the_predictions():
    truth, decoded = features(0, 12, 30), features(0, 12, 30) + features(1, 12, 30) + 2
    found = dict(diagnostics.through_bottleneck(truth, decoded))
    assert list(found) == [1, 2, 4, 8, 11]
    within_rows = decoded - decoded.mean(axis=1, keepdims=True)
    mean = within_rows.mean(axis=0)
    left, values, right = np.linalg.svd(within_rows - mean, full_matrices=False)
    for k, r in found.items():
        reduced = mean + (left[:, :k] * values[:k]) @ right[:k]
        assert r == pytest.approx(metrics.correlation_matrix(truth, reduced), abs=1e-9)
    assert found[11] == pytest.approx(metrics.correlation_matrix(truth, decoded), abs=1e-12)


def test_predictions_that_do_not_differ_correlate_with_nothing_at_any_width():
    for _, r in diagnostics.through_bottleneck(features(0, 6, 9), np.zeros((6, 9))):
        assert np.all(r == 0)


def test_rank_correlation_is_spearmans_and_follows_the_weights():
    from scipy.stats import spearmanr

    a, b = features(0, 1, 20)[0].round(), features(1, 1, 20)[0].round()
    assert diagnostics.rank_correlation(a, b)[0] == pytest.approx(spearmanr(a, b).statistic)
    twice = diagnostics.rank_correlation(a, b, np.full((1, 20), 2.0))
    assert twice[0] == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(diagnostics.rank_correlation(a, np.ones(20))[0])


def test_the_draw_that_is_picked_is_the_one_most_like_the_original_it_is_paired_with():
    matrices = np.random.default_rng(0).normal(size=(3, 5, 5))
    order = np.array([2, 0, 1, 4, 3])
    kept = diagnostics.best_samples(matrices, order)
    for j in range(5):
        picked = max(range(3), key=lambda sample: matrices[sample, order[j], j])
        for i in range(5):
            assert kept[i, j] == matrices[picked, order[i], j]


@pytest.mark.parametrize("n_targets", [3, 5000])
def test_clusters_that_lie_apart_are_found_however_long_the_features(n_targets):
    rng = np.random.default_rng(1)
    truth = np.arange(60) % 4
    features = 10 * rng.normal(size=(4, n_targets))[truth] + rng.normal(size=(60, n_targets))
    found = diagnostics.clusters(features, 4, seed=3)
    assert np.array_equal(found, diagnostics.clusters(features, 4, seed=3))
    pairs = {(int(a), int(b)) for a, b in zip(found, truth, strict=True)}
    assert len(pairs) == len(set(found.tolist())) == 4


def test_items_that_are_all_alike_make_one_cluster():
    assert set(diagnostics.clusters(np.ones((6, 2)), 3, seed=0).tolist()) == {0}
