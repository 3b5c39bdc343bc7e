from __future__ import annotations

import numpy as np
import pytest

from reseen.responses import bootstrap_responses, correlation, r_squared, split_correlation
from reseen.statistics import bootstrap_weights


def responses(n: int = 40, n_targets: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Give truth and two correlated parts of its prediction."""
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((2, n, n_targets)) + 0.7 * rng.standard_normal((n, n_targets))
    true = parts.sum(0) + 2 * rng.standard_normal((n, n_targets)) + 3
    return true.astype(np.float32), parts.astype(np.float32)


def test_correlations_are_numpys_and_undefined_only_where_the_truth_is_constant() -> None:
    true, parts = responses()
    predicted = parts[0]
    true[:, 1], predicted[:, 2] = 4.0, 1.0
    found = correlation(true, predicted)
    assert np.isnan(found[1])
    assert found[2] == 0
    for k in (0, 3, 4, 5, 6):
        assert found[k] == pytest.approx(np.corrcoef(true[:, k], predicted[:, k])[0, 1], abs=1e-6)


def test_the_split_is_himalayas_and_adds_up_to_the_joint_correlation() -> None:
    from himalaya.scoring import correlation_score_split

    true, parts = responses()
    found = split_correlation(true, parts)
    np.testing.assert_allclose(found, correlation_score_split(true, parts), atol=1e-5)
    np.testing.assert_allclose(found.sum(0), correlation(true, parts.sum(0)), atol=1e-6)


def test_r_squared_is_sklearns_where_the_reference_is_the_mean_of_the_rows() -> None:
    from sklearn.metrics import r2_score

    true, parts = responses()
    true -= true.mean(0)
    np.testing.assert_allclose(
        r_squared(true, parts.sum(0)), r2_score(true, parts.sum(0), multioutput="raw_values"), atol=1e-5
    )
    true[:, 0] = 1.0
    assert np.isnan(r_squared(true, parts.sum(0))[0])


def test_r_squared_is_0_for_the_training_mean_and_1_for_the_truth() -> None:
    true, _ = responses()
    np.testing.assert_allclose(r_squared(true, np.zeros_like(true)), 0, atol=1e-7)
    np.testing.assert_allclose(r_squared(true, true), 1, atol=1e-7)


def test_without_centring_a_shift_of_the_truth_counts() -> None:
    true, parts = responses()
    whole = parts.sum(0)
    cosine = (true * whole).sum(0) / np.sqrt((true**2).sum(0) * (whole**2).sum(0))
    np.testing.assert_allclose(split_correlation(true, parts, centre=False).sum(0), cosine, atol=1e-6)
    assert np.abs(cosine - correlation(true, whole)).min() > 0.01


@pytest.mark.parametrize("centre", [True, False])
def test_resampled_scores_are_the_scores_of_the_resampled_rows(centre: bool) -> None:
    true, parts = responses()
    true[:, 6] = 2.0  # left out
    scaled = parts / np.linspace(0.5, 2, len(true), dtype=np.float32)[:, None]
    groups = np.array([[True] * 7, [True, False, True, False, False, False, True]])
    weights = bootstrap_weights(np.arange(len(true)), 5, seed=0)
    found = bootstrap_responses(true, parts, scaled, weights, groups, centre=centre)
    for sample, weight in enumerate(weights):
        rows = np.repeat(np.arange(len(true)), weight.astype(int))
        split = split_correlation(true[rows], scaled[:, rows], centre=centre)
        r2 = r_squared(true[rows], parts[:, rows].sum(0))
        np.testing.assert_allclose(found.each_r[sample], [*split.sum(0)[:6], -1], atol=1e-4)
        for g, group in enumerate(groups):
            kept = group & (np.arange(7) < 6)
            np.testing.assert_allclose(found.split[:, sample, g], split[:, kept].mean(1), atol=1e-4)
            assert found.r[sample, g] == pytest.approx(split.sum(0)[kept].mean(), abs=1e-4)
            assert found.r2[sample, g] == pytest.approx(r2[kept].mean(), abs=1e-3)
