"""Parts of a calculation in parallel: the same bytes on one core and on two."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from test_ridge_blocks import ALPHAS, by_loop, problem
from threadpoolctl import threadpool_limits

from reseen.cores import BYTES_AT_ONCE, map_parallel, n_threads, one_thread
from reseen.errors import DataError
from reseen.ridge import RidgeMap, assign_folds, factor, fit_blocks, fit_ridge
from reseen.ridge.fit import score_block


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
def test_collinear_voxels_take_a_penalty_next_to_nothing() -> None:
    data = betas, targets, row = problem(n_stimuli=40, n_voxels=30, repeats=2, rank=5)
    factored = factor(betas, len(targets), target_row=row, groups=row, alphas=[1e-9, *ALPHAS])
    errors = score_block(factored, targets).error
    np.testing.assert_allclose(errors[1:], by_loop(data, assign_folds(row, len(row), 5, 0)), rtol=1e-3)
    np.testing.assert_allclose(errors[0], errors[1], rtol=0.1)  # five directions, and nothing of the others' rounding


def test_a_voxel_that_varies_in_one_fold_alone_harms_nothing() -> None:
    data = betas, targets, row = problem(n_stimuli=40, n_voxels=12, repeats=2)
    fold = assign_folds(row, len(row), 5, 0)
    betas[:, 4] = np.where(fold == 2, betas[:, 4], 3.0)
    factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS)
    np.testing.assert_allclose(score_block(factored, targets).error, by_loop(data, fold), rtol=2e-4)


@pytest.mark.parametrize("n_voxels", [90, 400], ids=["primal", "dual"])
@pytest.mark.parametrize("share_alpha", [False, True])
def test_a_fit_is_the_same_bytes_on_one_core_and_on_two(
    n_voxels: int, share_alpha: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reseen.ridge.fit.BLOCK_VALUES", 400 * 3)
    betas, targets, row = problem(n_stimuli=100, n_voxels=n_voxels, repeats=(1, 2, 3), n_targets=10)
    fits = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS)
            fits.append(list(fit_blocks(factored, targets, share_alpha=share_alpha)))
            assert n_threads() == n  # as it was found
    for (one, a), (other, b) in zip(*fits, strict=True):
        assert one == other
        for name, value in vars(a).items():
            assert value.tobytes() == getattr(b, name).tobytes(), name


def test_predictions_are_the_same_bytes_on_one_core_and_on_two() -> None:
    rng = np.random.default_rng(0)
    mean, ones = np.zeros(300, dtype=np.float32), np.ones(300, dtype=np.float32)
    weights, rows = (rng.standard_normal(shape).astype(np.float32) for shape in ((300, 2500), (70, 300)))
    fitted = RidgeMap(weights, np.zeros(2500, dtype=np.float32), mean, ones, np.ones(2500), np.ones(1))
    predicted = []
    for n in (1, 2):
        with threadpool_limits(n, user_api="blas"):
            predicted.append(fitted.predict(rows))
    assert predicted[0].tobytes() == predicted[1].tobytes()
    np.testing.assert_allclose(predicted[0], rows.astype(float) @ weights, atol=1e-3)


def wait_for_threads(n: int) -> None:
    until = time.monotonic() + 30
    while n_threads() != n:  # blocks that were started ahead are still being fitted
        assert time.monotonic() < until
        time.sleep(0.01)


def test_blas_has_its_threads_while_blocks_are_looked_at_and_after_generators_end_in_any_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reseen.ridge.fit.BLOCK_VALUES", 40 * 3)
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=3, n_targets=9)
    with threadpool_limits(2, user_api="blas"):
        factored = factor(betas, len(targets), target_row=row, groups=row, alphas=ALPHAS)
        for made in (fit_blocks(factored, targets), fit_blocks(factored, targets, use=lambda fitted: fitted.alpha)):
            for _ in made:
                wait_for_threads(2)
        first, second = fit_blocks(factored, targets), fit_blocks(factored, targets)
        for blocks in (first, second):
            next(blocks)
        for blocks in (first, second):
            blocks.close()  # type: ignore[attr-defined]
        assert n_threads() == 2


def test_holders_of_one_thread_may_overlap_in_any_order() -> None:
    with threadpool_limits(2, user_api="blas"):
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert n_threads() == 1  # the second still needs it
        second.__exit__(None, None, None)
        assert n_threads() == 2


def test_parts_come_in_order_and_few_are_started_before_they_are_asked_for() -> None:
    asked: list[int] = []

    def items(n: int) -> Iterator[int]:
        for i in range(n):
            asked.append(i)
            yield i

    with threadpool_limits(2, user_api="blas"):
        results = map_parallel(lambda i: i * i, items(10))
        assert next(results) == 0
        assert asked == [0, 1, 2]
        assert list(results) == [i * i for i in range(1, 10)]
        asked.clear()
        large = map_parallel(lambda i: i, items(3), item_bytes=BYTES_AT_ONCE)
        assert (next(large), asked) == (0, [0])


def test_what_stops_a_part_is_raised_here_and_blas_gets_its_threads_back() -> None:
    def stop(i: int) -> int:
        assert n_threads() == 1
        raise DataError(f"part {i}, on {threading.current_thread().name}")

    def thread(_: int) -> str:
        return threading.current_thread().name

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(DataError, match="part 0, on reseen_"):
            list(map_parallel(stop, range(5)))
        assert n_threads() == 2
        with one_thread():
            assert set(map_parallel(thread, range(3))) == {"MainThread"}
        assert set(map_parallel(thread, range(3), on_cores=False)) == {"MainThread"}


def test_a_target_that_cannot_be_fitted_says_so_from_any_core() -> None:
    betas, targets, row = problem(n_stimuli=40, n_voxels=20, repeats=2)
    targets[3, 2] = np.nan
    with threadpool_limits(2, user_api="blas"), pytest.raises(DataError, match="first is row 3"):
        fit_ridge(betas, targets, target_row=row, groups=row)
