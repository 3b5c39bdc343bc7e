"""The ridge against its definition written as a loop, block by block, and in single against double precision."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
from fields import raises_with
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reseen.errors import DataError, ShapeError
from reseen.ridge import (
    EdgeWarning,
    RidgeMap,
    assemble,
    assign_folds,
    factor,
    fit_block,
    fit_blocks,
    fit_ridge,
    target_blocks,
)
from reseen.ridge.fit import score_block, shared_alpha

ALPHAS = (1.0, 10.0, 100.0, 1000.0)
CASES = {
    "tall": {"n_stimuli": 120, "n_voxels": 6, "repeats": 1},
    "wide": {"n_stimuli": 40, "n_voxels": 150, "repeats": 1},
    "repeated": {"n_stimuli": 40, "n_voxels": 20, "repeats": 3},
    "more repetitions than voxels": {"n_stimuli": 15, "n_voxels": 4, "repeats": 9},
    "unequal": {"n_stimuli": 40, "n_voxels": 20, "repeats": (1, 2, 3, 5)},
    "unequal and wide": {"n_stimuli": 30, "n_voxels": 200, "repeats": (1, 2, 4)},
    "collinear": {"n_stimuli": 40, "n_voxels": 30, "repeats": 2, "rank": 5},
    "single target": {"n_stimuli": 40, "n_voxels": 20, "repeats": 2, "n_targets": 1},
}

Problem = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def problem(
    *, n_stimuli: int, n_voxels: int, repeats: Any, n_targets: int = 5, rank: int | None = None, seed: int = 0
) -> Problem:
    """Give betas (n_trials, n_voxels), targets (n_stimuli, n_targets) and the stimulus of each trial, shuffled."""
    rng = np.random.default_rng(seed)
    row = rng.permutation(np.repeat(np.arange(n_stimuli), np.resize(repeats, n_stimuli)))
    targets = rng.standard_normal((n_stimuli, n_targets))
    betas = targets[row] @ rng.standard_normal((n_targets, n_voxels)) + 4 * rng.standard_normal((len(row), n_voxels))
    if rank is not None:
        betas = betas[:, :rank] @ rng.standard_normal((rank, n_voxels))
    return betas.astype(np.float32), (targets + 2).astype(np.float32), row


def by_loop(data: Problem, fold: NDArray[np.int64], *, on_trials: bool = True) -> NDArray[np.float64]:
    """Give the squared error of held-out rows, (n_alphas, n_targets), from one sklearn fit a fold and penalty."""
    from sklearn.linear_model import Ridge

    betas, targets, row = data
    x = (betas - betas.mean(0, dtype=float)) / betas.std(0, dtype=float)
    error = np.zeros((len(ALPHAS), targets.shape[1]))
    for k in np.unique(fold):
        held = row[fold == k]
        for a, alpha in enumerate(ALPHAS):
            model = Ridge(alpha).fit(x[fold != k], targets[row[fold != k]])
            predicted = model.predict(x[fold == k]).reshape(len(held), -1)
            if on_trials:
                error[a] += ((predicted - targets[held]) ** 2).sum(0)
            else:
                means = np.stack([predicted[held == s].mean(0) for s in np.unique(held)])
                error[a] += ((means - targets[np.unique(held)]) ** 2).sum(0)
    return error


def noise_by_loop(data: Problem, fold: NDArray[np.int64], alpha: float) -> NDArray[np.float64] | None:
    """Return the proportion of variance of held-out predictions within stimuli, from one sklearn fit a fold."""
    from sklearn.linear_model import Ridge

    betas, targets, row = data
    x = (betas - betas.mean(0, dtype=float)) / betas.std(0, dtype=float)
    spread, within, n_repeated = np.zeros(targets.shape[1]), np.zeros(targets.shape[1]), 0
    for k in np.unique(fold):
        held, y = row[fold == k], targets[row[fold != k]]
        predicted = Ridge(alpha).fit(x[fold != k], y).predict(x[fold == k]).reshape(len(held), -1)
        spread += ((predicted - y.mean(0)) ** 2).sum(0)
        for stimulus in np.unique(held):
            mine = predicted[held == stimulus]
            within += ((mine - mine.mean(0)) ** 2).sum(0)
            n_repeated += len(mine) - 1
    return (within / n_repeated / (spread / len(row))).clip(0, 1) if n_repeated else None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("score_on", ["trials", "stimuli"])
def test_errors_of_held_out_rows_are_those_of_a_loop(case: str, score_on: Any) -> None:
    betas, targets, row = data = problem(**CASES[case])
    factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS, n_folds=4, score_on=score_on)
    expected = by_loop(data, assign_folds(row, len(row), 4, 0), on_trials=score_on == "trials")
    np.testing.assert_allclose(score_block(factored, targets).error, expected, rtol=2e-4)
    fitted = fit_block(factored, targets)
    np.testing.assert_array_equal(fitted.alpha, np.asarray(ALPHAS)[expected.argmin(0)])


@pytest.mark.parametrize("case", CASES)
def test_himalaya_and_sklearn_choose_and_predict_the_same(case: str) -> None:
    from himalaya.ridge import RidgeCV
    from himalaya.scoring import l2_neg_loss
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import PredefinedSplit

    betas, targets, row = problem(**CASES[case], seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)
        fitted = fit_ridge(betas, targets, target_row=row, groups=row, alphas=ALPHAS, n_folds=4)
    x = (betas - betas.mean(0)) / betas.std(0)
    folds = PredefinedSplit(assign_folds(row, len(row), 4, 0))
    solver = {"score_func": l2_neg_loss, "warn": False}
    oracle = RidgeCV(ALPHAS, fit_intercept=True, cv=folds, solver_params=solver).fit(x, targets[row])
    assert np.isclose(fitted.alpha, oracle.best_alphas_, rtol=1e-3).all()
    np.testing.assert_allclose(fitted.predict(betas), oracle.predict(x), atol=2e-3)
    exact = Ridge(fitted.alpha).fit(x.astype(float), targets[row]).predict(x.astype(float)).reshape(len(row), -1)
    np.testing.assert_allclose(fitted.predict(betas), exact, atol=1e-3)


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
@settings(max_examples=25, deadline=None)
@given(
    n_stimuli=st.integers(5, 25),
    n_voxels=st.integers(1, 60),
    n_targets=st.integers(1, 4),
    repeats=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    grouped=st.booleans(),
    score_on=st.sampled_from(["trials", "stimuli"]),
    seed=st.integers(0, 99),
)
def test_errors_and_noise_shares_are_those_of_a_loop_for_any_shape(
    n_stimuli: int, n_voxels: int, n_targets: int, repeats: list[int], grouped: bool, score_on: Any, seed: int
) -> None:
    betas, targets, row = data = problem(
        n_stimuli=n_stimuli, n_voxels=n_voxels, n_targets=n_targets, repeats=repeats, seed=seed
    )
    groups = row if grouped else None
    factored = factor(betas, len(targets), target_row=row, groups=groups, alphas=ALPHAS, score_on=score_on)
    fold = assign_folds(groups, len(row), 5, 0)
    expected = by_loop(data, fold, on_trials=score_on == "trials")
    np.testing.assert_allclose(score_block(factored, targets).error, expected, rtol=1e-3, atol=1e-3)
    share, known = fit_block(factored, targets, alpha=10.0).noise_share, noise_by_loop(data, fold, 10.0)
    assert (share is None) == (known is None)
    if share is not None:
        np.testing.assert_allclose(share, known, atol=5e-3)


@pytest.mark.parametrize("n_voxels", [20, 200], ids=["primal", "dual"])
def test_torch_gives_what_numpy_gives(n_voxels: int) -> None:
    betas, targets, row = problem(n_stimuli=40, n_voxels=n_voxels, repeats=(1, 2, 3))
    fits = []
    for device in ("numpy", "cpu"):
        factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS, device=device)
        fits.append(fit_block(factored, targets))
    for name, value in vars(fits[0]).items():
        np.testing.assert_allclose(getattr(fits[1], name), value, rtol=2e-4, atol=2e-5, err_msg=name)


def test_a_device_that_is_not_here_is_refused_and_not_replaced() -> None:
    for device in ("cuda:63", "nosuch"):
        with raises_with(DataError, where="device", found=device):
            fit_ridge(np.eye(6), np.eye(6), device=device)


class Column:
    """A table on disk that remembers how many columns were asked for at once, and knows nothing but slices."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self.array, self.widest, self.shape = array, 0, array.shape

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.float32]:
        self.widest = max(self.widest, key[1].stop - key[1].start)
        return self.array[key]


@pytest.mark.parametrize("share_alpha", [False, True])
def test_a_block_alone_is_the_same_bytes_as_within_the_whole(
    share_alpha: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("reseen.ridge.fit.BLOCK_VALUES", 40 * 3)
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3, n_targets=8)
    np.save(tmp_path / "targets.npy", targets)
    table = Column(np.load(tmp_path / "targets.npy", mmap_mode="r"))
    factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS)
    whole = assemble(8, fit_blocks(factored, table, share_alpha=share_alpha))
    blocks = target_blocks(factored, 8)
    assert [(block.start, block.stop) for block in blocks] == [(0, 3), (3, 6), (6, 8)]
    assert table.widest == 3
    alpha = shared_alpha(factored, [score_block(factored, targets[:, b]) for b in blocks]) if share_alpha else None
    alone = {i: fit_block(factored, targets[:, blocks[i]], alpha=alpha) for i in (2, 0, 1)}
    for i, fitted in alone.items():
        for name in ("weights", "intercept", "alpha", "cv_score", "noise_share"):
            assert getattr(fitted, name).tobytes() == getattr(whole, name)[..., blocks[i]].tobytes(), name
    assert len(np.unique(whole.alpha)) == 1 or not share_alpha
    back = assemble(8, [(blocks[i], fitted) for i, fitted in alone.items()])
    predict = partial(RidgeMap.predict, betas=betas[:5], n_repetitions=[1, 2, 1, 3, 1])
    for block, predicted in fit_blocks(factored, table, share_alpha=share_alpha, use=predict):
        expected = alone[block.start // 3].predict(betas[:5], n_repetitions=[1, 2, 1, 3, 1])
        np.testing.assert_array_equal(predicted, expected)
    assert back.weights.tobytes() == whole.weights.tobytes()


def test_targets_may_be_a_zarr_array(tmp_path: Any) -> None:
    zarr = pytest.importorskip("zarr")
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3)
    stored = zarr.create_array(store=str(tmp_path / "t.zarr"), data=targets, chunks=(40, 2))
    plain = fit_ridge(betas, targets, target_row=row, groups=row)
    np.testing.assert_array_equal(fit_ridge(betas, stored, target_row=row, groups=row).weights, plain.weights)


def test_a_block_of_other_stimuli_or_a_penalty_off_the_grid_is_refused() -> None:
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3)
    factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS)
    with raises_with(ShapeError, where="targets", expected=(40, "n_targets"), found=(30, targets.shape[1])):
        fit_block(factored, targets[:30])
    with raises_with(DataError, where="alpha", expected=list(ALPHAS), found=3.0):
        fit_block(factored, targets, alpha=3.0)
    for wrong in (np.ones(40), targets[:, :0]):
        with raises_with(ShapeError, where="targets", found=wrong.shape):
            fit_ridge(betas, wrong, target_row=row)
    with raises_with(ShapeError, where="blocks"):
        assemble(targets.shape[1], [])


def test_averages_choose_smaller_penalties_than_single_trials() -> None:
    betas, targets, row = problem(n_stimuli=150, n_voxels=40, repeats=4, n_targets=30)
    fits = [
        fit_ridge(betas, targets, target_row=row, groups=row, score_on=how)  # type: ignore[arg-type]
        for how in ("trials", "stimuli")
    ]
    assert np.log(fits[1].alpha).mean() < np.log(fits[0].alpha).mean()


def test_the_warning_draws_the_choices() -> None:
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3)
    with pytest.warns(EdgeWarning, match=r"0\.001 +0\n +0\.01 #{30} 5"):
        fit_ridge(betas, targets, target_row=row, groups=row, alphas=[1e-3, 1e-2])


@pytest.mark.parametrize("condition", [1e4, 1e6, 1e8], ids=["condition 1e4", "condition 1e6", "condition 1e8"])
def test_single_precision_stays_near_double_for_badly_conditioned_voxels(condition: float) -> None:
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((n, 60)))[0] for n in (300, 60))
    betas = (u * np.geomspace(1, condition**-0.5, 60) @ v.T).astype(np.float32)  # eigenvalues fall by `condition`
    x = (betas.astype(float) - betas.mean(0, dtype=float)) / betas.std(0, dtype=float)
    targets = (u @ rng.standard_normal((60, 40)) + 0.3 * u.std() * rng.standard_normal((300, 40))).astype(np.float32)
    largest = np.linalg.eigvalsh(x.T @ x)[-1]
    grid = largest * np.geomspace(0.1 / condition, 1, 6)
    factored = factor(betas, len(targets), groups=np.arange(300), alphas=grid.tolist())
    fitted = fit_block(factored, targets)
    error = np.zeros((6, 40))
    fold = assign_folds(np.arange(300), 300, 5, 0)
    for k in range(5):
        train, test = fold != k, fold == k
        a, b = x[train] - x[train].mean(0), targets[train].astype(float)
        for i, alpha in enumerate(grid):
            w = np.linalg.solve(a.T @ a + alpha * np.eye(60), a.T @ (b - b.mean(0)))
            error[i] += ((targets[test] - (x[test] - x[train].mean(0)) @ w - b.mean(0)) ** 2).sum(0)
    assert np.isclose(fitted.alpha, grid[error.argmin(0)]).mean() == 1
    weights = np.stack(
        [
            np.linalg.solve(x.T @ x + alpha * np.eye(60), x.T @ (targets[:, j] - targets[:, j].mean(dtype=float)))
            for j, alpha in enumerate(fitted.alpha)
        ],
        axis=1,
    )
    expected = x @ weights + targets.mean(0, dtype=float)
    assert np.abs(fitted.predict(betas) - expected).max() / expected.std() < 1e-3


def test_a_map_of_blocks_is_a_ridge_map_that_holds_all_targets() -> None:
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3)
    factored = factor(betas, len(targets), target_row=row, alphas=[5.0], n_folds=1)
    whole = assemble(5, fit_blocks(factored, targets))
    assert isinstance(whole, RidgeMap)
    assert whole.cv_score is None
    assert whole.noise_share is None
    np.testing.assert_array_equal(whole.alpha, 5.0)
