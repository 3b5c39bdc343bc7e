import time

import numpy as np
import pytest
from fields import raises_with
from hypothesis import given, settings
from hypothesis import strategies as st

from reseen import metrics, statistics
from reseen.errors import ShapeError


def loop_identification(r, direction, labels, ties="half"):
    """Write the definition as a loop."""
    r = r if direction == "original" else r.T
    accuracy = []
    for fixed in range(len(r)):
        results = []
        for other in range(len(r)):
            if labels[other] != labels[fixed]:
                difference = r[fixed, fixed] - r[fixed, other]
                tie = 0.5 if ties == "half" else 0.0
                results.append(tie if abs(difference) <= metrics.TIE else float(difference > 0))
        accuracy.append(np.mean(results) if results else np.nan)
    return np.array(accuracy)


def loop_pairing(r, original, reconstruction, direction, labels):
    """Write the accuracy of one pairing, right or wrong, as a loop."""
    right, results = r[original, reconstruction], []
    fixed, paired = (original, reconstruction) if direction == "original" else (reconstruction, original)
    for other in range(len(r)):
        if labels[other] in (labels[fixed], labels[paired]):
            continue
        wrong = r[original, other] if direction == "original" else r[other, reconstruction]
        results.append(0.5 if abs(right - wrong) <= metrics.TIE else float(right > wrong))
    return np.mean(results) if results else np.nan


@st.composite
def correlations_with_ties(draw):
    n_items = draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    r = rng.integers(-3, 4, size=(n_items, n_items)) / 4  # few values, so that ties are many
    labels = rng.integers(0, draw(st.integers(1, n_items)), size=n_items)
    return r, labels, draw(st.sampled_from(metrics.DIRECTIONS))


@given(correlations_with_ties())
@settings(max_examples=60, deadline=None)
def test_identification_is_its_definition_written_as_a_loop(case):
    r, labels, direction = case
    for ties in ("half", "lose"):
        found = metrics.identification_from_correlations(r, direction=direction, labels=labels, ties=ties)
        np.testing.assert_allclose(found, loop_identification(r, direction, labels, ties))
        paired = metrics.pairing_accuracy(r, direction=direction, labels=labels, ties=ties)
        np.testing.assert_allclose(np.diagonal(paired), found)


@given(correlations_with_ties())
@settings(max_examples=60, deadline=None)
def test_pairing_accuracy_is_its_definition_and_holds_identification_on_its_diagonal(case):
    r, labels, direction = case
    found = metrics.pairing_accuracy(r, direction=direction, labels=labels)
    items = range(len(r))
    np.testing.assert_allclose(
        found, [[loop_pairing(r, i, j, direction, labels) for j in items] for i in items], atol=1e-12
    )
    diagonal = metrics.identification_from_correlations(r, direction=direction, labels=labels)
    np.testing.assert_allclose(np.diagonal(found), diagonal)


@given(correlations_with_ties(), st.sampled_from(["half", "lose"]))
@settings(max_examples=60, deadline=None)
def test_exchanged_truths_score_as_data_whose_truths_were_exchanged(case, ties):
    r, _, direction = case
    exchanged = metrics.pairing_accuracy(r, direction=direction, ties=ties, exchanged=True)
    order = np.random.default_rng(len(r)).permutation(len(r))
    of_exchanged_data = metrics.identification_from_correlations(r[order], direction=direction, ties=ties)
    np.testing.assert_allclose(exchanged[order, np.arange(len(r))], of_exchanged_data, atol=1e-12)


@given(correlations_with_ties())
@settings(max_examples=30, deadline=None)
def test_bootstrap_of_identification_is_identification_of_the_resampled_items(case):
    r, labels, direction = case
    weights = statistics.bootstrap_weights(labels, 5, seed=3)
    found = metrics.bootstrap_identification(r, weights, direction=direction, labels=labels)
    for weight, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(len(r)), weight.astype(int))
        resampled = metrics.identification_from_correlations(
            r[np.ix_(rows, rows)], direction=direction, labels=labels[rows]
        )
        np.testing.assert_allclose(value, statistics.nan_mean(resampled))


def test_correlations_are_numpys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 1, (5, 40)).astype(np.float32), rng.normal(size=(7, 40))
    np.testing.assert_allclose(metrics.correlation_matrix(a, b), np.corrcoef(a, b)[:5, 5:], atol=1e-12)


def test_correlations_of_many_columns_come_in_slabs(monkeypatch):
    monkeypatch.setattr("reseen.metrics.scores._CHUNK", 7)
    images = np.random.default_rng(0).integers(0, 256, (4, 50), dtype=np.uint8)
    found = metrics.correlation_matrix(images, images[::-1])
    np.testing.assert_allclose(found, np.corrcoef(images, images[::-1])[:4, 4:], atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, 3e-8])
def test_a_row_without_variance_correlates_zero(value):
    rows = np.stack([np.full(33, value), np.arange(33)]).astype(np.float32)
    np.testing.assert_allclose(metrics.correlation_matrix(rows, rows), np.diag([0.0, 1.0]), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    rows = np.ones((2, 3))
    rows[1, 2] = bad
    with pytest.raises(ShapeError, match="NaN or infinity"):
        metrics.correlation_matrix(rows, np.ones((2, 3)))


def test_rows_of_different_length_are_refused():
    with raises_with(ShapeError, where="b", expected=("m", 3), found=(2, 4)):
        metrics.correlation_matrix(np.ones((2, 3)), np.ones((2, 4)))


@pytest.mark.parametrize("direction", ["original", "reconstruction"])
def test_one_answer_for_everything_scores_exactly_one_half(direction):
    rng = np.random.default_rng(0)
    true = rng.normal(size=(37, 501)).astype(np.float32)
    answer = np.tile(rng.normal(size=501).astype(np.float32), (37, 1))
    assert metrics.identification(true, answer, direction=direction).mean() == 0.5


def test_one_answer_for_everything_scores_nothing_where_ties_lose_and_the_original_is_fixed():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(37, 501)).astype(np.float32)
    answer = np.tile(rng.normal(size=501).astype(np.float32), (37, 1))
    assert metrics.identification(true, answer, direction="original", ties="lose").mean() == 0
    assert metrics.identification(true, answer, direction="reconstruction", ties="lose").mean() == 0.5


@pytest.mark.parametrize("ties", ["half", "lose"])
@pytest.mark.parametrize("direction", ["original", "reconstruction"])
def test_identification_of_the_truth_is_perfect(direction, ties):
    true = np.random.default_rng(0).normal(size=(20, 50))
    assert metrics.identification(true, true, direction=direction, ties=ties).mean() == 1.0


def test_identification_of_noise_is_at_chance_with_the_spread_that_null_sd_gives():
    rng = np.random.default_rng(1)
    scores = [metrics.identification(*rng.normal(size=(2, 30, 64))).mean() for _ in range(400)]
    assert np.mean(scores) == pytest.approx(0.5, abs=4 * statistics.null_sd(30) / 20)
    assert np.std(scores) == pytest.approx(statistics.null_sd(30), rel=0.15)


def test_with_hubs_the_directions_differ_as_much_as_was_measured():
    rng = np.random.default_rng(0)
    own, noise = rng.normal(size=(2, 982, 64))
    hubness, common = np.abs(rng.normal(size=(982, 1))), rng.normal(size=64)

    def scores(predicted):
        return [metrics.identification(own, predicted, direction=d, ties="lose").mean() for d in metrics.DIRECTIONS]

    assert scores(own + 2.8 * noise) == pytest.approx([0.973, 0.973], abs=0.004)
    assert scores(own + 2.8 * noise + 5 * hubness * common) == pytest.approx([0.946, 0.869], abs=0.012)


def test_directions_differ_where_some_reconstructions_resemble_everything():
    rng = np.random.default_rng(2)
    own, common = rng.normal(size=(300, 64)), rng.normal(size=64)
    guess = own + 1.5 * rng.normal(size=own.shape)
    hubs = guess + 3 * rng.normal(size=(300, 1)) * common

    def scores(true, predicted):
        return [metrics.identification(true, predicted, direction=d).mean() for d in ("original", "reconstruction")]

    original, reconstruction = scores(own, guess)
    assert original == pytest.approx(reconstruction, abs=0.01)
    original, reconstruction = scores(own + common, hubs)
    assert original < 0.75
    assert reconstruction > 0.95


def test_a_hub_wins_against_every_original_and_costs_only_itself_the_other_way():
    r = np.array([[0.5, 0.1, 0.9], [0.1, 0.5, 0.9], [0.1, 0.1, 0.9]])
    np.testing.assert_allclose(metrics.identification_from_correlations(r, direction="original"), [0.5, 0.5, 1])
    np.testing.assert_allclose(metrics.identification_from_correlations(r, direction="reconstruction"), [1, 1, 0.5])


def test_trials_of_one_stimulus_are_no_distractors_of_each_other():
    rng = np.random.default_rng(3)
    true = np.repeat(rng.normal(size=(6, 30)), 3, axis=0)
    labels = np.repeat(np.arange(6), 3)
    assert metrics.identification(true, true, labels=labels).mean() == 1.0
    assert metrics.identification(true, true).mean() < 1.0
    assert np.isnan(metrics.identification(true, true, labels=np.zeros(18))).all()


def test_labels_that_do_not_fit_and_unknown_directions_are_refused():
    with raises_with(ShapeError, where="labels", expected=(4,), found=(2,)):
        metrics.identification_from_correlations(np.eye(4), labels=[0, 1])
    with raises_with(ShapeError, where="direction", expected=metrics.DIRECTIONS, found="sideways"):
        metrics.identification_from_correlations(np.eye(4), direction="sideways")  # type: ignore[arg-type]
    with raises_with(ShapeError, where="r", found=(4, 5)):
        metrics.identification_from_correlations(np.zeros((4, 5)))


@pytest.mark.parametrize("direction", ["original", "reconstruction"])
def test_images_against_wrong_truths_are_at_chance_even_where_the_right_ones_are_perfect(direction):
    rng = np.random.default_rng(4)
    true = rng.normal(size=(60, 40))
    r = metrics.correlation_matrix(true, true + 0.3 * rng.normal(size=true.shape))
    paired = metrics.pairing_accuracy(r, direction=direction)
    wrong = statistics.repaired_scores(paired, statistics.derangements(np.arange(60), 400, seed=0))
    null = statistics.permutation_null(float(np.diagonal(paired).mean()), wrong)
    assert null.mean == pytest.approx(0.5, abs=0.01)
    assert null.sd == pytest.approx(statistics.null_sd(60), rel=0.2)
    assert null.p == pytest.approx(1 / 401)
    assert null.low < 0.5 < null.high


@pytest.mark.parametrize("direction", metrics.DIRECTIONS)
def test_on_200_null_data_sets_the_permutation_p_is_uniform_and_the_binomial_p_is_not(direction):
    from scipy.stats import binom, kstest

    rng = np.random.default_rng(5)
    n_items = 24
    orders = statistics.permutations(np.arange(n_items), 199, seed=0)
    exact, binomial = [], []
    for _ in range(200):
        truth, common = rng.normal(size=(2, n_items, 10))
        hubs = common + 2 * common[0] * np.abs(rng.normal(size=(n_items, 1)))  # a null need not be a plain one
        r = metrics.correlation_matrix(truth, hubs)
        score = float(metrics.identification_from_correlations(r, direction=direction).mean())
        exchanged = metrics.pairing_accuracy(r, direction=direction, exchanged=True)
        exact.append(statistics.permutation_null(score, statistics.repaired_scores(exchanged, orders)).p)
        n_pairs = n_items * (n_items - 1)
        binomial.append(1 - binom.cdf(score * n_pairs, n_pairs, 0.5))
    assert kstest(exact, "uniform").pvalue > 0.05
    assert 0.01 <= np.mean(np.array(exact) <= 0.05) <= 0.10
    assert kstest(binomial, "uniform").pvalue < 1e-6
    assert np.mean(np.array(binomial) <= 0.05) > 0.2


def test_bootstrap_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(6)

    def sample(n_items):
        true = rng.normal(size=(n_items, 12))
        return metrics.correlation_matrix(true, true + 2 * rng.normal(size=true.shape))

    expected = np.mean([metrics.identification_from_correlations(sample(40)).mean() for _ in range(150)])
    weights = statistics.bootstrap_weights(np.arange(40), 200, seed=0)
    intervals = [statistics.interval(metrics.bootstrap_identification(sample(40), weights)) for _ in range(150)]
    assert 0.87 <= np.mean([low <= expected <= high for low, high in intervals]) <= 1.0


def test_a_thousand_resamplings_of_a_hundred_images_take_less_than_a_second():
    r = np.random.default_rng(0).normal(size=(100, 100))
    weights = statistics.bootstrap_weights(np.arange(100), 1000, seed=0)
    start = time.perf_counter()
    metrics.bootstrap_identification(r, weights)
    assert time.perf_counter() - start < 1


def test_target_products_average_to_the_mean_correlation_of_each_target():
    rng = np.random.default_rng(7)
    true = rng.normal(2, 1, (15, 6)).astype(np.float32)
    predicted = (true + rng.normal(size=true.shape)).astype(np.float32)
    true[:, 2] = 0.3  # undefined: left out
    predicted[:, 4] = 0.7  # says nothing: 0
    expected = np.mean([np.corrcoef(true[:, k], predicted[:, k])[0, 1] for k in (0, 1, 3, 5)]) * 4 / 5
    assert np.diagonal(metrics.target_products(true, predicted)).mean() == pytest.approx(expected, abs=1e-6)
    once = metrics.bootstrap_target_r(true, predicted, np.ones((1, 15)))
    assert once[0] == pytest.approx(expected, abs=1e-6)


def test_bootstrap_of_target_correlations_is_that_of_the_resampled_items():
    rng = np.random.default_rng(8)
    true, predicted = rng.normal(size=(2, 12, 5))
    weights = statistics.bootstrap_weights(np.arange(12), 4, seed=0)
    found = metrics.bootstrap_target_r(true, predicted, weights)
    for weight, value in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(12), weight.astype(int))
        assert value == pytest.approx(np.mean([np.corrcoef(true[rows, k], predicted[rows, k])[0, 1] for k in range(5)]))


def test_targets_that_never_vary_leave_no_score():
    assert np.isnan(metrics.target_products(np.ones((4, 3)), np.ones((4, 3)))).all()
    assert np.isnan(metrics.bootstrap_target_r(np.ones((4, 3)), np.ones((4, 3)), np.ones((2, 4)))).all()
    with raises_with(ShapeError, where="predicted", expected=(4, 3), found=(4, 2)):
        metrics.target_products(np.ones((4, 3)), np.ones((4, 2)))


def test_pixel_correlation_is_numpys_and_a_black_image_scores_zero():
    images = np.random.default_rng(9).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    guesses = images[::-1].copy()
    guesses[1] = 0
    found = metrics.pixcorr(images, guesses)
    assert found[0] == pytest.approx(np.corrcoef(images[0].ravel(), guesses[0].ravel())[0, 1])
    assert found[1] == 0


def test_ssim_is_the_variant_that_it_names():
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2gray

    images = np.random.default_rng(10).integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
    a, b = rgb2gray(images[0]), rgb2gray(images[1])

    def blur(x):
        return gaussian_filter(x, 1.5, truncate=3.5)

    variances = blur(a * a) - blur(a) ** 2, blur(b * b) - blur(b) ** 2
    covariance = blur(a * b) - blur(a) * blur(b)
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * blur(a) * blur(b) + c1) * (2 * covariance + c2)) / (
        (blur(a) ** 2 + blur(b) ** 2 + c1) * (sum(variances) + c2)
    )
    found = metrics.ssim(images, images[::-1])
    assert found[0] == pytest.approx(similarity[5:-5, 5:-5].mean(), abs=1e-10)
    np.testing.assert_allclose(metrics.ssim(images, images), 1.0)


def test_ssim_of_columns_is_another_number_each_column_by_itself():
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    images = np.random.default_rng(11).integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
    a, b = rgb2gray(images[0]), rgb2gray(images[1])
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    each = [structural_similarity(a[:, k], b[:, k], **options) for k in range(20)]
    found = metrics.ssim(images, images[::-1], variant="columns")
    assert found[0] == pytest.approx(np.mean(each))
    assert abs(found[0] - metrics.ssim(images, images[::-1])[0]) > 0.001


def test_images_that_do_not_fit_are_refused():
    small = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    with raises_with(ShapeError, expected=11, found=(8, 8)):
        metrics.ssim(small, small)
    with raises_with(ShapeError, expected=(1, 8, 8, 3), found=(1, 4, 8, 3)):
        metrics.pixcorr(small, small[:, :4])


def test_the_noise_ceiling_of_mixed_repetitions_is_nsds():
    ncsnr = np.array([0.0, 0.5, 2.0])
    n3, n2, n1 = 60, 30, 10
    mixed = (n3 / 3 + n2 / 2 + n1) / (n3 + n2 + n1)
    found = metrics.noise_ceiling(ncsnr, np.repeat([3, 2, 1], [n3, n2, n1]))
    np.testing.assert_allclose(found, ncsnr**2 / (ncsnr**2 + mixed))
    np.testing.assert_allclose(metrics.noise_ceiling(ncsnr, 3), ncsnr**2 / (ncsnr**2 + 1 / 3))
    with raises_with(ShapeError, where="n_repetitions", expected=1):
        metrics.noise_ceiling(ncsnr, [3, 0])
