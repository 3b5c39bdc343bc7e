from __future__ import annotations

import warnings

import numpy as np
import pytest
from fields import raises_with
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reseen.errors import DataError, ReseenError, ResultsError, ShapeError
from reseen.ridge import (
    EdgeWarning,
    RidgeMap,
    assign_folds,
    average_gain,
    default_alphas,
    factor,
    fit_block,
    fit_ridge,
    predict_held_out,
)

ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def brain(
    n_stimuli: int = 40, n_voxels: int = 12, n_targets: int = 7, repeats: int = 3, noise: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Give betas (n_trials, n_voxels), targets (n_stimuli, n_targets) far from zero, and the stimulus of each trial."""
    rng = np.random.default_rng(seed)
    targets = rng.standard_normal((n_stimuli, n_targets))
    row = rng.permutation(np.repeat(np.arange(n_stimuli), repeats))
    betas = targets[row] @ rng.standard_normal((n_targets, n_voxels))
    betas = (betas + noise * rng.standard_normal(betas.shape)) * rng.uniform(0.1, 10, n_voxels) + 3
    return betas.astype(np.float32), (targets + 5).astype(np.float32), row


@pytest.mark.parametrize("n_voxels", [12, 300], ids=["primal", "dual"])
@pytest.mark.parametrize("alpha", [0.5, 50.0])
def test_one_penalty_gives_what_sklearn_gives(n_voxels: int, alpha: float) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    betas, targets, row = brain(n_voxels=n_voxels)
    fitted = fit_ridge(betas[:100], targets, target_row=row[:100], groups=row[:100], alphas=[alpha])
    oracle = make_pipeline(StandardScaler(), Ridge(alpha)).fit(betas[:100].astype(float), targets[row[:100]])
    np.testing.assert_allclose(fitted.predict(betas[100:]), oracle.predict(betas[100:].astype(float)), atol=1e-3)
    np.testing.assert_allclose(fitted.weights, oracle[-1].coef_.T, atol=1e-3)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("n_voxels", [12, 300], ids=["primal", "dual"])
def test_held_out_predictions_are_those_of_a_loop_over_folds(n_voxels: int, intercept: bool) -> None:
    from sklearn.linear_model import Ridge

    betas, targets, row = brain(n_voxels=n_voxels, noise=4.0)
    keep = row != 5  # a stimulus without trials
    betas, row = betas[keep][:-2], row[keep][:-2]  # and one or two with fewer
    how = {"target_row": row, "groups": row, "alphas": ALPHAS, "seed": 3, "intercept": intercept}
    factored = factor(betas, len(targets), **how)
    fitted = fit_block(factored, targets)
    predicted, fold = predict_held_out(factored, targets, fitted)
    x, fold_of_row = (betas - betas.mean(0)) / betas.std(0), assign_folds(row, len(row), 5, 3)
    for k in range(5):
        held = fold_of_row == k
        oracle = Ridge(fitted.alpha, fit_intercept=intercept).fit(x[~held], targets[row[~held]])
        every = oracle.predict(x[held])
        for stimulus in np.unique(row[held]):
            np.testing.assert_allclose(predicted[stimulus], every[row[held] == stimulus].mean(0), atol=2e-3)
            assert fold[stimulus] == k
    assert np.isnan(predicted[5]).all()
    assert fold[5] == -1
    alone = factor(betas, len(targets), target_row=row, alphas=[1.0], n_folds=1)
    with raises_with(ShapeError, where="factored"):
        predict_held_out(alone, targets, fitted)


@pytest.mark.parametrize("n_voxels", [12, 300], ids=["primal", "dual"])
def test_penalties_and_scores_are_those_of_a_loop_over_folds(n_voxels: int) -> None:
    from sklearn.linear_model import Ridge

    betas, targets, row = brain(n_voxels=n_voxels, noise=4.0)
    fitted = fit_ridge(betas, targets, target_row=row, groups=row, alphas=ALPHAS, seed=3)
    x = (betas - betas.mean(0)) / betas.std(0)
    fold = assign_folds(row, len(row), 5, 3)
    error, total = np.zeros((len(ALPHAS), targets.shape[1])), np.zeros(targets.shape[1])
    for k in range(5):
        train, test = row[fold != k], row[fold == k]
        total += ((targets[test] - targets[train].mean(0)) ** 2).sum(0)
        for a, alpha in enumerate(ALPHAS):
            predicted = Ridge(alpha).fit(x[fold != k], targets[train]).predict(x[fold == k])
            error[a] += ((targets[test] - predicted) ** 2).sum(0)
    assert fitted.cv_score is not None
    np.testing.assert_allclose(fitted.cv_score, 1 - error / total, atol=1e-4)
    np.testing.assert_array_equal(fitted.alpha, np.asarray(ALPHAS)[error.argmin(0)])


@pytest.mark.parametrize("n_voxels", [12, 300], ids=["primal", "dual"])
@pytest.mark.parametrize("intercept", [True, False])
def test_himalaya_agrees_on_the_same_folds(n_voxels: int, intercept: bool) -> None:
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import l2_neg_loss
    from sklearn.model_selection import PredefinedSplit
    from sklearn.preprocessing import StandardScaler

    betas, targets, row = brain(n_voxels=n_voxels, noise=4.0)
    grid = (1.0, 10.0, 100.0, 1000.0, 10000.0)
    targets = targets if intercept else targets - 5  # a large mean that nothing fits would drown the choice
    fitted = fit_ridge(betas, targets, target_row=row, groups=row, alphas=grid, intercept=intercept, seed=1)
    folds = PredefinedSplit(assign_folds(row, len(row), 5, 1))
    solver = {"score_func": l2_neg_loss, "warn": False}  # it warns that its kernel solver would be faster
    oracle = RidgeCV(grid, fit_intercept=intercept, cv=folds, solver_params=solver)
    scaler = StandardScaler().fit(betas)
    oracle.fit(scaler.transform(betas), targets[row])
    assert np.isclose(fitted.alpha, oracle.best_alphas_, rtol=1e-3).all()
    np.testing.assert_allclose(fitted.predict(betas), oracle.predict(scaler.transform(betas)), atol=1e-3)


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")  # the released grid is what the warning is about
def test_without_intercept_and_groups_it_is_the_released_script() -> None:
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import l2_neg_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    betas, targets, row = brain(noise=2.0)
    grid = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]
    fitted = fit_ridge(betas, targets, target_row=row, alphas=grid, intercept=False)
    oracle = make_pipeline(StandardScaler(), RidgeCV(grid, cv=5, solver_params={"score_func": l2_neg_loss}))
    oracle.fit(betas, targets[row])
    np.testing.assert_allclose(fitted.predict(betas), oracle.predict(betas), atol=1e-3)
    assert not fitted.intercept.any()
    assert np.abs(fitted.predict(betas).mean(0)).max() < 0.1 < targets.mean(0).min()  # the mean of 5 is lost


def test_a_shared_penalty_is_the_one_with_the_least_error_over_all_targets() -> None:
    betas, targets, row = brain(noise=6.0)
    targets[:, 0] = 2.0
    each = fit_ridge(betas, targets, target_row=row, groups=row)
    shared = fit_ridge(betas, targets, target_row=row, groups=row, share_alpha=True)
    assert each.cv_score is not None
    assert len(np.unique(shared.alpha)) == 1 < len(np.unique(each.alpha))
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    best = each.alphas[(each.cv_score * spread).sum(1).argmax()]
    assert abs(np.log10(shared.alpha[0] / best)) < 0.6  # folds weigh a little otherwise than the whole: one step
    alone = fit_ridge(betas, targets, target_row=row, groups=row, alphas=shared.alpha[:1].tolist())
    np.testing.assert_allclose(alone.weights, shared.weights, atol=1e-6)


def test_the_primal_and_the_dual_form_are_one_map() -> None:
    betas, targets, row = brain(n_voxels=118, n_stimuli=40)  # 120 trials; three constant voxels make it dual
    padded = np.concatenate([betas, np.ones((120, 3), dtype=np.float32)], axis=1)
    primal = fit_ridge(betas, targets, target_row=row, groups=row, alphas=ALPHAS)
    dual = fit_ridge(padded, targets, target_row=row, groups=row, alphas=ALPHAS)
    np.testing.assert_allclose(primal.alpha, dual.alpha)
    np.testing.assert_allclose(primal.predict(betas), dual.predict(padded), atol=1e-3)
    np.testing.assert_allclose(dual.weights[-3:], 0, atol=1e-12)


def test_blocks_of_targets_do_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    betas, targets, row = brain()
    whole = fit_ridge(betas, targets, target_row=row, groups=row)
    monkeypatch.setattr("reseen.ridge.fit.BLOCK_VALUES", 250)
    monkeypatch.setattr("reseen.ridge.gram.ROWS_AT_ONCE", 17)
    parts = fit_ridge(betas, targets, target_row=row, groups=row)
    np.testing.assert_allclose(whole.alpha, parts.alpha)
    np.testing.assert_allclose(whole.weights, parts.weights, atol=1e-5)


def test_targets_that_no_trial_uses_change_nothing() -> None:
    betas, targets, row = brain()
    more = np.concatenate([targets[:1] * 1000, targets])
    plain = fit_ridge(betas, targets, target_row=row, groups=row)
    spare = fit_ridge(betas, more, target_row=row + 1, groups=row)
    np.testing.assert_allclose(plain.predict(betas), spare.predict(betas), atol=1e-5)


@pytest.mark.parametrize("n_voxels", [400, 40], ids=["dual", "primal"])
def test_noise_voxels_look_predictive_only_where_repeats_leak(n_voxels: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((60, n_voxels))  # a code of the image that says nothing of the targets
    row = rng.permutation(np.repeat(np.arange(60), 3))
    betas = image[row] + 0.3 * rng.standard_normal((180, n_voxels))
    targets = rng.standard_normal((60, 50))
    leaky = fit_ridge(betas, targets, target_row=row)
    grouped = fit_ridge(betas, targets, target_row=row, groups=row)
    assert leaky.cv_score is not None
    assert grouped.cv_score is not None
    assert leaky.cv_score.max(0).mean() > 0.3
    assert abs(grouped.cv_score.max(0).mean()) < 0.02


def test_the_default_grid_follows_the_data() -> None:
    betas, targets, row = brain(noise=8.0)
    once = fit_ridge(betas, targets, target_row=row, groups=row)
    twice = fit_ridge(np.tile(betas, (2, 1)), targets, target_row=np.tile(row, 2), groups=np.tile(row, 2))
    np.testing.assert_allclose(twice.alphas, 2 * once.alphas, rtol=1e-5)
    grid = default_alphas([1.0, 3.0, 8.0])
    assert grid[0] == pytest.approx(4e-3)
    assert grid[-1] == pytest.approx(800)


@pytest.mark.parametrize(("alphas", "edge"), [([1e-3, 1e-2], "largest"), ([1e5, 1e6], "smallest")])
def test_choices_at_the_edge_of_the_grid_are_told(alphas: list[float], edge: str) -> None:
    betas, targets, row = brain(noise=4.0)
    with pytest.warns(EdgeWarning, match=f"100% of 7 targets chose the {edge} penalty"):
        fit_ridge(betas, targets, target_row=row, groups=row, alphas=alphas)


def test_noise_at_the_top_of_the_default_grid_is_no_warning() -> None:
    betas, targets, row = brain()
    noise = np.random.default_rng(9).standard_normal(betas.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_ridge(noise, targets, target_row=row, groups=row)
    assert np.median(fitted.alpha) > fitted.alphas[0]


def test_a_constant_voxel_weighs_nothing_and_a_constant_target_stays() -> None:
    betas, targets, row = brain()
    betas[:, 4], targets[:, 2] = 3.7, -1.3
    fitted = fit_ridge(betas, targets, target_row=row, groups=row)
    np.testing.assert_allclose(fitted.weights[4], 0, atol=1e-12)
    assert fitted.alpha[2] == fitted.alphas[-1]
    assert fitted.cv_score is not None
    assert not fitted.cv_score[:, 2].any()
    np.testing.assert_allclose(fitted.predict(betas)[:, 2], -1.3, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "where", "expected", "found"),
    [
        ({"betas": np.full((6, 3), 2.0)}, DataError, "betas", None, None),
        ({"betas": np.where(np.arange(18).reshape(6, 3) == 7, np.nan, 1.0)}, DataError, "betas", 0, 1),
        ({"targets": np.full((6, 2), np.inf)}, DataError, "targets", 0, 12),
        ({"betas": np.ones((1, 3)), "targets": np.ones((1, 2))}, ShapeError, "betas", 2, 1),
        ({"betas": np.ones(6)}, ShapeError, "betas", ("n_trials", "n_voxels"), (6,)),
        ({"targets": np.ones((5, 2))}, ShapeError, "targets", (6,), (5,)),
        ({"target_row": np.arange(5)}, ShapeError, "target_row", (6,), (5,)),
        ({"target_row": np.arange(1, 7)}, ShapeError, "target_row", (0, 5), (1, 6)),
        ({"groups": np.array([0, 0, 1, 1, 2, 2])}, ShapeError, "n_folds", (2, 3), 5),
        ({"groups": np.zeros(5)}, ShapeError, "groups", (6,), (5,)),
        ({"n_folds": 1}, ShapeError, "n_folds", (2, 6), 1),
        ({"alphas": [0.0, 1.0]}, DataError, "alphas", None, [0.0, 1.0]),
        ({"alphas": []}, DataError, "alphas", None, []),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    change: dict[str, object], error: type[ReseenError], where: str, expected: object, found: object
) -> None:
    rng = np.random.default_rng(0)
    given_: dict[str, object] = {"betas": rng.standard_normal((6, 3)), "targets": rng.standard_normal((6, 2)), **change}
    with raises_with(error, where=where, expected=expected, found=found):
        fit_ridge(given_.pop("betas"), given_.pop("targets"), **given_)  # type: ignore[arg-type]


def test_an_error_about_numbers_names_the_first_row() -> None:
    betas = np.ones((6, 3))
    betas[2, 1] = np.nan
    with pytest.raises(DataError, match=r"in 1 of 6 rows .the first is row 2."):
        fit_ridge(betas, np.ones((6, 2)))


def test_one_penalty_needs_no_folds() -> None:
    rng = np.random.default_rng(0)
    fitted = fit_ridge(rng.standard_normal((2, 3)), [[1.0], [2.0]], alphas=[1.0])
    assert fitted.cv_score is None
    assert fitted.noise_share is None
    assert fitted.alpha.tolist() == [1.0]


def test_a_saved_map_is_the_same_map_and_works_on_one_trial(tmp_path) -> None:
    betas, targets, row = brain()
    fitted = fit_ridge(betas, targets, target_row=row, groups=row)
    fitted.save(tmp_path / "maps" / "z.safetensors", {"rois": "early"})
    loaded = RidgeMap.load(tmp_path / "maps" / "z.safetensors")
    for name, value in vars(fitted).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)
    np.testing.assert_allclose(loaded.predict(betas[:1]), fitted.predict(betas)[:1], atol=1e-5)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["z.safetensors"]


def test_a_file_that_is_no_map_is_refused(tmp_path) -> None:
    (tmp_path / "z").write_bytes(b"\x00" * 40)
    for name in ("z", "missing"):
        with pytest.raises(ResultsError, match=r"cannot be read|is missing"):
            RidgeMap.load(tmp_path / name)
    fitted = fit_ridge([[1.0], [2.0]], [[1.0], [2.0]], alphas=[1.0])
    with pytest.raises(ResultsError, match="cannot write"):
        fitted.save(tmp_path / "z" / "below_a_file")


def test_predicting_from_other_voxels_or_nan_is_refused() -> None:
    fitted = fit_ridge([[1.0], [2.0]], [[1.0], [2.0]], alphas=[1.0])
    with raises_with(ShapeError, where="betas", expected=("n_rows", 1), found=(1, 2)):
        fitted.predict(np.ones((1, 2)))
    with pytest.raises(DataError, match="not finite"):
        fitted.predict([[np.nan]])


def test_the_gain_of_averages_lowers_their_error_and_leaves_single_trials() -> None:
    betas, targets, row = brain(n_stimuli=300, n_voxels=20, n_targets=6, noise=6.0, seed=1)
    seen, new = row < 200, row >= 200
    fitted = fit_ridge(betas[seen], targets[:200], target_row=row[seen], groups=row[seen])
    averages = np.stack([betas[row == i].mean(0) for i in range(200, 300)])
    plain = fitted.predict(averages)
    gained = fitted.predict(averages, n_repetitions=np.full(100, 3))
    assert np.mean((gained - targets[200:]) ** 2) < 0.97 * np.mean((plain - targets[200:]) ** 2)
    truth, centred = targets[200:] - fitted.intercept, gained - fitted.intercept
    assert (truth * centred).sum() / (centred**2).sum() == pytest.approx(1, abs=0.12)
    single = betas[new]
    np.testing.assert_array_equal(fitted.predict(single), fitted.predict(single, n_repetitions=np.ones(len(single))))
    mixed = fitted.predict(averages[:2], n_repetitions=[1, 3])
    np.testing.assert_allclose(mixed, [plain[0], gained[1]], rtol=1e-5)


def test_the_noise_share_is_that_of_held_out_predictions() -> None:
    rng = np.random.default_rng(2)
    row = np.repeat(np.arange(400), 3)
    signal = rng.standard_normal(400)
    betas = (signal[row] + np.sqrt(2) * rng.standard_normal(1200))[:, None]  # two thirds of the variance are noise
    fitted = fit_ridge(betas, signal[:, None], target_row=row, groups=row)
    assert fitted.noise_share is not None
    assert fitted.noise_share[0] == pytest.approx(2 / 3, abs=0.05)
    assert average_gain(fitted.noise_share, 3)[0] == pytest.approx(9 / 5, abs=0.1)  # 1 / (1 - 2/3 * 2/3)


def test_nothing_is_rescaled_where_nothing_was_repeated() -> None:
    betas, targets, row = brain(repeats=1)
    fitted = fit_ridge(betas, targets, target_row=row, groups=row)
    assert fitted.noise_share is None
    np.testing.assert_array_equal(fitted.predict(betas), fitted.predict(betas, n_repetitions=np.full(len(betas), 3)))


def test_folds_without_groups_are_those_of_kfold() -> None:
    from sklearn.model_selection import KFold

    fold = assign_folds(None, 23, 5, 0)
    for k, (_, test) in enumerate(KFold(5).split(np.zeros((23, 1)))):
        np.testing.assert_array_equal(np.flatnonzero(fold == k), test)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.integers(2, 5), st.integers(0, 99))
def test_every_group_lies_in_one_fold_and_folds_are_balanced(groups: list[int], n_folds: int, seed: int) -> None:
    group = np.array(groups)
    if len(np.unique(group)) < n_folds:
        with raises_with(ShapeError, where="n_folds", expected=(2, len(np.unique(group))), found=n_folds):
            assign_folds(group, len(group), n_folds, seed)
        return
    fold = assign_folds(group, len(group), n_folds, seed)
    assert all(len(np.unique(fold[group == g])) == 1 for g in group)
    size = np.bincount(fold, minlength=n_folds)
    assert size.min() > 0
    assert size.max() - size.min() <= np.bincount(group).max()
    np.testing.assert_array_equal(fold, assign_folds(group, len(group), n_folds, seed))


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([3, 90]),
    st.floats(0.01, 100),
    st.floats(-50, 50),
    st.booleans(),
)
def test_units_of_voxels_targets_and_the_order_of_trials_do_not_matter(
    seed: int, n_voxels: int, unit: float, shift: float, grouped: bool
) -> None:
    betas, targets, row = brain(n_stimuli=15, n_voxels=n_voxels, n_targets=3, seed=seed)
    order = np.random.default_rng(seed).permutation(len(row)) if grouped else np.arange(len(row))
    groups, shuffled = (row, row[order]) if grouped else (None, None)
    plain = fit_ridge(betas, targets, target_row=row, groups=groups, alphas=[20.0])
    moved = fit_ridge(
        betas[order] * unit + shift, targets * 2 + shift, target_row=row[order], groups=shuffled, alphas=[20.0]
    )
    expected = plain.predict(betas) * 2 + shift
    np.testing.assert_allclose(moved.predict(betas * unit + shift), expected, atol=2e-2)
