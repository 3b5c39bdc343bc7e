"""One Gram matrix for all folds: what a many-target ridge needs to know of its rows, once for every penalty.

The matrix is voxels by voxels, or trials by trials (dual) where there are more voxels than trials. A fold's matrix is
the whole less the fold's own part. After one eigendecomposition, predictions for any penalty ``alpha`` are
``probe @ ((moments @ targets) / (eigenvalues + alpha))``, in either form.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK_VALUES = 2**24  # numbers in one block of predictions, 64 MiB
ROWS_AT_ONCE = 4096
RANK_TOLERANCE = 1e-11  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Problem:
    """Hold checked data: rows standardised and sorted by stimulus, and their one Gram matrix."""

    rows: Float32  # (n_rows, n_voxels)
    order: Integers  # (n_rows,) where each row stood
    target_row: Integers  # (n_rows,) ascending
    targets: Float32  # (n_stimuli, n_targets), only stimuli that have rows
    target_mean: Float64  # (n_targets,) over rows; zeros without intercept
    voxel_mean: Float32
    voxel_scale: Float32
    gram: Float64  # voxels by voxels, or rows by rows where dual
    dual: bool
    intercept: bool

    @property
    def n_rows(self) -> int:
        """Give the number of rows."""
        return len(self.rows)

    @property
    def n_targets(self) -> int:
        """Give the number of targets."""
        return int(self.targets.shape[1])

    def centred(self, block: slice) -> Float32:
        """Give targets of a block less their mean, ``(n_stimuli, n_block)``."""
        return self.targets[:, block] - self.target_mean[block].astype(np.float32)


@dataclass(frozen=True)
class Decomposition:
    """Hold what turns targets into predictions: ``probe @ ((moments @ targets) / (eigenvalues + alpha))``."""

    eigenvalues: Float64  # (rank,)
    moments: Float32  # (rank, n_stimuli)
    probe: Float32  # (n_held, rank)
    rotation: Float32  # (n_voxels, rank), where nothing was held out: the same with weights in place of predictions


def prepare(betas: ArrayLike, targets: ArrayLike, target_row: ArrayLike | None, intercept: bool) -> Problem:
    """Check the data of `reseen.ridge.fit_ridge`, standardise the rows and sort them by stimulus.

    Raises
    ------
    ShapeError
        If arrays do not fit each other or there are fewer than two rows.
    DataError
        If a number is not finite or no column of ``betas`` varies.
    """
    x = np.asarray(betas, dtype=np.float32)
    t = np.asarray(targets, dtype=np.float32)
    if x.ndim != 2 or t.ndim != 2:
        raise ShapeError(f"betas and targets must be two-dimensional; they have shapes {x.shape} and {t.shape}.")
    row = np.arange(len(t)) if target_row is None else np.asarray(target_row, dtype=np.int64)
    if row.shape != (len(x),) or (len(row) and not 0 <= row.min() <= row.max() < len(t)):
        raise ShapeError(f"each of the {len(x)} trials needs the number of its row of targets, below {len(t)}.")
    if len(x) < 2:
        raise ShapeError(f"a ridge map cannot be fitted on {len(x)} trials; at least two are needed.")
    check_finite("betas", x)
    check_finite("targets", t)
    used, row = np.unique(row, return_inverse=True)
    if len(used) < len(t):
        t = t[used]
    order = np.argsort(row, kind="stable")
    mean, scale = _moments(x)
    rows = (x[order] - mean) / scale
    count = np.bincount(row) / len(x)
    target_mean = np.zeros(t.shape[1])
    if intercept:
        for start in range(0, t.shape[1], ROWS_AT_ONCE):
            target_mean[start : start + ROWS_AT_ONCE] = count @ t[:, start : start + ROWS_AT_ONCE].astype(np.float64)
    dual = x.shape[1] > len(x)
    gram = _gram(rows.T if dual else rows)
    return Problem(rows, order, row[order], t, target_mean, mean, scale, gram, dual, intercept)


def _moments(x: Float32) -> tuple[Float32, Float32]:
    """Give mean and standard deviation of each column; 1 for a constant one."""
    mean = x.mean(axis=0, dtype=np.float64)
    square = np.zeros(x.shape[1])
    for start in range(0, len(x), ROWS_AT_ONCE):
        square += ((x[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
    spread = np.sqrt(square / len(x))
    varies = spread > 1e-7 * np.abs(mean)
    if not varies.any():
        raise DataError("no voxel varies over the training trials; there is nothing to decode from.")
    return mean.astype(np.float32), np.where(varies, spread, 1.0).astype(np.float32)


def _gram(x: Float32) -> Float64:
    gram = np.zeros((x.shape[1], x.shape[1]))
    for start in range(0, len(x), ROWS_AT_ONCE):
        part = x[start : start + ROWS_AT_ONCE].astype(np.float64)
        gram += part.T @ part
    return gram


def decompose(problem: Problem, held: NDArray[np.bool_]) -> Decomposition:
    """Decompose the rows that are not held out, and project those that are."""
    train = ~held
    if problem.dual:
        return _decompose_dual(problem, train, held)
    out = problem.rows[held].astype(np.float64)
    n_stimuli = len(problem.targets)
    sums = _sum_by_stimulus(problem.rows[train].astype(np.float64), problem.target_row[train], n_stimuli)
    mean = sums.sum(axis=0) / train.sum() if problem.intercept else np.zeros(sums.shape[1])
    gram = problem.gram - out.T @ out - train.sum() * np.outer(mean, mean)
    values, vectors = _eigen(gram)
    sums -= np.bincount(problem.target_row[train], minlength=n_stimuli)[:, None] * mean
    rotation = vectors.astype(np.float32)
    return Decomposition(
        values, (vectors.T @ sums.T).astype(np.float32), ((out - mean) @ vectors).astype(np.float32), rotation
    )


def _decompose_dual(problem: Problem, train: NDArray[np.bool_], held: NDArray[np.bool_]) -> Decomposition:
    gram = problem.gram[np.ix_(train, train)]
    across = problem.gram[np.ix_(held, train)]
    rows = problem.rows[train]
    if problem.intercept:
        mean = gram.mean(axis=0)
        across = across - across.mean(axis=1, keepdims=True) - mean + mean.mean()
        gram = gram - mean - mean[:, None] + mean.mean()
        rows = rows - rows.mean(axis=0)
    values, vectors = _eigen(gram)
    moments = _sum_by_stimulus(vectors, problem.target_row[train], len(problem.targets)).T
    probe = (across @ vectors).astype(np.float32)
    # Only the fit on all rows needs weights, and voxels are many here.
    rotation = np.empty((0, len(values)), dtype=np.float32) if held.any() else rows.T @ vectors.astype(np.float32)
    return Decomposition(values, moments.astype(np.float32), probe, rotation)


def _eigen(gram: Float64) -> tuple[Float64, Float64]:
    values, vectors = np.linalg.eigh(gram)
    keep = values > RANK_TOLERANCE * max(values[-1], 0.0)
    return values[keep], vectors[:, keep]


def _sum_by_stimulus(rows: Float64, stimulus: Integers, n_stimuli: int) -> Float64:
    """Sum rows of the same stimulus, ``(n_stimuli, n_columns)``; stimuli ascend."""
    present, start = np.unique(stimulus, return_index=True)
    sums = np.zeros((n_stimuli, rows.shape[1]))
    sums[present] = np.add.reduceat(rows, start, axis=0)
    return sums


def blocks(problem: Problem, n_rows: int) -> Iterator[slice]:
    """Give slices of targets so narrow that ``n_rows`` rows of them, or all stimuli, stay small in memory."""
    width = max(1, BLOCK_VALUES // max(n_rows, len(problem.targets), 1))
    for start in range(0, problem.n_targets, width):
        yield slice(start, min(start + width, problem.n_targets))


def check_finite(name: str, array: Float32) -> None:
    """Raise a DataError that counts the numbers that are not finite, if there are any."""
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=1))
        raise DataError(
            f"{name} hold {finite.size - int(finite.sum())} numbers that are not finite, "
            f"in {len(bad)} of {len(array)} rows (the first is row {bad[0]}). "
            "Leave these rows or columns out, or fill them."
        )
