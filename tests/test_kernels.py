from __future__ import annotations

import numpy as np
import pytest
from fields import raises_with

from reseen import kernels
from reseen.errors import DataError, ShapeError
from reseen.kernels import default_alphas, fit_kernels, linear_kernels, principal_kernel, projected_kernels
from reseen.ridge import assign_folds, fit_ridge

N, N_TRAIN = 60, 45
TRAIN, TEST = np.arange(N_TRAIN), np.arange(N_TRAIN, N)
FOLD = assign_folds(TRAIN, N_TRAIN, 5, 0)
ALPHAS = default_alphas(N_TRAIN)


def space(n_columns: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.2, 5, n_columns)
    return (rng.standard_normal((N, n_columns)) * scale + 3).astype(np.float32)


def blocks(features: np.ndarray, width: int):
    return (features[:, start : start + width] for start in range(0, features.shape[1], width))


def kernel(features: np.ndarray) -> np.ndarray:
    return linear_kernels([features], [TRAIN])[0]


def standardised(features: np.ndarray) -> np.ndarray:
    return (features - features[TRAIN].mean(0)) / features[TRAIN].std(0) / np.sqrt(features.shape[1])


def targets(*spaces: np.ndarray, n_targets: int = 6, noise: float = 1.0, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    signal = sum(standardised(x) @ rng.standard_normal((x.shape[1], n_targets)) for x in spaces)
    return (5 + signal + noise * rng.standard_normal((N, n_targets))).astype(np.float32)


@pytest.mark.parametrize("width", [1, 7, 40])
def test_a_kernel_is_that_of_the_standardised_features_whatever_the_blocks(width: int) -> None:
    x = space(40)
    x[:, 3] = 2.0  # constant: counts for nothing
    x[TRAIN, 4] = 1.0  # constant where it matters
    kept = np.delete(x, [3, 4], axis=1)
    found = linear_kernels(blocks(x, width), [TRAIN, TEST])
    z = (kept - kept[TRAIN].mean(0)) / kept[TRAIN].std(0)
    np.testing.assert_allclose(found[0], z @ z.T / 38, atol=1e-5)
    assert np.diagonal(found[0])[TRAIN].mean() == pytest.approx(1, abs=1e-5)
    assert np.diagonal(found[1])[TEST].mean() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("n_columns", [9, 300])
def test_kernel_and_primal_forms_agree(n_columns: int) -> None:
    x = space(n_columns)
    y = targets(x)
    fitted = fit_kernels([kernel(x)], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
    primal = fit_ridge(x[TRAIN], y[TRAIN], groups=TRAIN, alphas=ALPHAS * n_columns, n_folds=5, seed=0)
    np.testing.assert_allclose(fitted.alpha * n_columns, primal.alpha, rtol=1e-6)
    np.testing.assert_allclose(fitted.parts[0] + fitted.mean, primal.predict(x[TEST]), atol=2e-4)


def test_errors_are_those_of_sklearns_ridge_on_the_same_folds() -> None:
    from sklearn.linear_model import Ridge

    x = space(12)
    y = targets(x)
    fitted = fit_kernels([kernel(x)], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
    z = standardised(x)[TRAIN]
    for a in (0, 7, len(ALPHAS) - 1):
        missed = np.zeros_like(y[TRAIN])
        for k in range(5):
            model = Ridge(alpha=ALPHAS[a]).fit(z[k != FOLD], y[TRAIN][k != FOLD])
            missed[k == FOLD] = y[TRAIN][k == FOLD] - model.predict(z[k == FOLD])
        np.testing.assert_allclose(fitted.errors[a], (missed**2).sum(0), rtol=1e-4)


def test_two_spaces_are_a_ridge_on_their_columns_side_by_side_and_their_parts_add_up() -> None:
    from sklearn.linear_model import Ridge

    a, b = space(10, 1), space(80, 2)
    y = targets(a, b)
    fitted = fit_kernels([kernel(a), kernel(b)], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
    assert len(np.unique(fitted.proportion)) > 1
    for target, (alpha, proportion) in enumerate(zip(fitted.alpha, fitted.proportion, strict=True)):
        both = np.hstack([np.sqrt(proportion) * standardised(a), np.sqrt(1 - proportion) * standardised(b)])
        model = Ridge(alpha=alpha).fit(both[TRAIN], y[TRAIN, target])
        np.testing.assert_allclose(
            fitted.parts[:, :, target].sum(0) + fitted.mean[target], model.predict(both[TEST]), atol=2e-3
        )
        of_a = both[TEST][:, :10] @ model.coef_[:10]
        gap = fitted.parts[0, :, target] - of_a  # the training mean, dealt out equally, and the intercept
        assert np.ptp(gap) < 2e-3


def test_penalties_and_shares_are_those_that_himalaya_chooses() -> None:
    from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
    from sklearn.model_selection import PredefinedSplit

    a, b = space(10, 1), space(80, 2)
    y = targets(a, b, n_targets=12, noise=0.5)
    pair = [kernel(a), kernel(b)]
    fitted = fit_kernels(pair, y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
    proportions = np.array(kernels.PROPORTIONS)
    theirs = solve_multiple_kernel_ridge_random_search(
        np.stack([k[np.ix_(TRAIN, TRAIN)] for k in pair]),
        y[TRAIN].astype(np.float64),
        n_iter=np.stack([proportions, 1 - proportions], axis=1),
        alphas=ALPHAS,
        cv=PredefinedSplit(FOLD),
        fit_intercept=True,
        return_weights="dual",
        progress_bar=False,
    )
    with np.errstate(divide="ignore"):
        expected = np.log(np.stack([fitted.proportion, 1 - fitted.proportion]) / fitted.alpha)
    np.testing.assert_allclose(np.exp(theirs[0]), np.exp(expected), rtol=1e-5, atol=1e-9)


def test_a_wide_space_that_says_nothing_does_not_starve_the_one_that_does() -> None:
    a, noise = space(10, 1), space(2000, 2)
    y = targets(a, n_targets=40, noise=0.3)
    alone = fit_kernels([kernel(a)], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
    both = fit_kernels(
        [kernel(a), kernel(noise)], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS, alone=None
    )
    plain = fit_kernels([kernel(np.hstack([a, noise]))], y[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)

    def error(fitted: kernels.KernelFit) -> float:
        return float(np.mean((y[TEST] - fitted.parts.sum(0) - fitted.mean) ** 2))

    assert np.mean(both.proportion >= 0.75) > 0.9
    assert error(both) < 1.1 * error(alone)
    assert error(plain) > 2 * error(alone)


def test_errors_that_are_known_are_not_found_again() -> None:
    pair = [kernel(space(10, 1)), kernel(space(80, 2))]
    y = targets(space(10, 1))
    options = {"train": TRAIN, "test": TEST, "fold": FOLD, "alphas": ALPHAS}
    alone = [fit_kernels([one], y[TRAIN], **options).errors for one in pair]
    whole = fit_kernels(pair, y[TRAIN], **options)
    known = fit_kernels(pair, y[TRAIN], alone=alone, **options)
    np.testing.assert_array_equal(known.parts, whole.parts)
    np.testing.assert_array_equal(known.errors, alone[0])


def test_principal_components_are_those_of_the_training_rows_and_say_what_they_lose() -> None:
    from sklearn.decomposition import PCA

    z = standardised(space(80))
    found, lost = principal_kernel(kernel(space(80)), TRAIN, 8)
    pca = PCA(8, svd_solver="full").fit(z[TRAIN])
    score = pca.transform(z)
    np.testing.assert_allclose(found, score @ score.T, atol=1e-5)
    assert lost == pytest.approx(1 - pca.explained_variance_ratio_.sum(), abs=1e-5)
    whole, none = principal_kernel(kernel(space(80)), TRAIN, 1000)
    np.testing.assert_allclose(whole[np.ix_(TRAIN, TEST)], kernel(space(80))[np.ix_(TRAIN, TEST)], atol=1e-4)
    assert none < 1e-6


def test_a_random_projection_says_how_far_it_is_from_the_exact_kernel() -> None:
    x = space(3000)
    exact = kernel(x)
    errors = []
    for n_components in (50, 800, 12800):
        (found,), error = projected_kernels(blocks(x, 700), [TRAIN], n_components, seed=0)
        assert error == pytest.approx(np.linalg.norm(found - exact) / np.linalg.norm(exact), rel=1e-4)
        errors.append(error)
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_what_cannot_be_fitted_is_refused() -> None:
    x = space(4)
    with raises_with(DataError, where="features", found=0):
        linear_kernels([np.ones((N, 3), dtype=np.float32)], [TRAIN])
    with raises_with(DataError, where="features", found=0):
        linear_kernels([], [TRAIN])
    with raises_with(DataError, where="features", found=0):
        projected_kernels([], [TRAIN], 5, seed=0)
    x[0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        linear_kernels([x], [TRAIN])
    with raises_with(ShapeError, found=(0, len(TRAIN), len(FOLD), len(TRAIN))):
        fit_kernels([], targets(space(3))[TRAIN], train=TRAIN, test=TEST, fold=FOLD, alphas=ALPHAS)
