"""Gram matrix of all rows, and its eigendecomposition without the rows of a fold.

The Gram matrix of the training rows of a fold is that of all rows less that of the held-out rows. One
eigendecomposition of it serves every penalty (`Decomposition`).

Cross-products and eigendecompositions are float64: float32 would round away a penalty far below the largest
eigenvalue. Products with targets are float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.cores import map_parallel
from reseen.errors import DataError, ShapeError
from reseen.ridge.device import Array, Device, Float32, Float64, Integers

ROWS_AT_ONCE = 4096
RANK_TOLERANCE = 1e-11  # eigenvalues below this proportion of the largest are rounding


@dataclass(frozen=True)
class Decomposition:
    """Matrices that turn targets of training stimuli into predictions of held-out rows.

    The predictions are ``probe @ ((moments @ targets[seen]) / (eigenvalues + alpha))``. The held-out rows of a stimulus
    are replaced by orthonormal combinations: their sum over the square root of their number (``between``), and
    contrasts with mean zero (``within``). Sums of squares do not change. All rows of a stimulus have the same targets,
    so that targets are compared with ``between`` alone.
    """

    eigenvalues: Float64  # (rank,) ascending
    moments: Array  # (rank, n_seen) float32
    seen: Integers  # (n_seen,) stimuli of the training rows
    weight: Array  # (n_stimuli,) float32, each stimulus's proportion of the training rows
    held: Integers  # (n_held,) held-out stimuli
    root: Array  # (n_held, 1) float32, square root of the number of held-out rows of each
    between: Array  # (n_held, rank) float32
    within: Array  # (at most n_held_rows - n_held, rank) float32
    rotation: Array | None  # (n, rank) float32, eigenvectors; None if rows are held out

    def shrinkage(self, device: Device, alpha: Float64 | float) -> Array:
        """Return ``1 / (eigenvalues + alpha)``, ``(rank, n_alphas)`` float32."""
        return device.put((1.0 / (self.eigenvalues[:, None] + alpha)).astype(np.float32))


def check_rows(betas: ArrayLike, target_row: ArrayLike | None, n_target_rows: int) -> tuple[Float32, Integers]:
    """Return checked betas, ``(n_rows, n_voxels)``, and the row of targets of each, ``(n_rows,)``."""
    x = np.asarray(betas, dtype=np.float32)
    if x.ndim != 2:
        raise ShapeError(
            f"betas must be two-dimensional, (n_trials, n_voxels); they have shape {x.shape}.",
            where="betas",
            expected=("n_trials", "n_voxels"),
            found=x.shape,
        )
    row = np.arange(n_target_rows) if target_row is None else np.asarray(target_row, dtype=np.int64)
    if row.shape != (len(x),):
        raise ShapeError(
            f"each of {len(x)} trials needs the number of its row of targets; found numbers of shape {row.shape}.",
            where="targets" if target_row is None else "target_row",
            expected=(len(x),),
            found=row.shape,
        )
    if len(row) and not 0 <= row.min() <= row.max() < n_target_rows:
        raise ShapeError(
            f"target_row has numbers from {row.min()} to {row.max()}; targets have rows 0 to {n_target_rows - 1}.",
            where="target_row",
            expected=(0, n_target_rows - 1),
            found=(int(row.min()), int(row.max())),
        )
    if len(x) < 2:
        raise ShapeError(
            f"a ridge map cannot be fitted on {len(x)} trials; at least two are needed.",
            where="betas",
            expected=2,
            found=len(x),
        )
    check_finite("betas", x)
    return x, row


def check_rows_shape(name: str, array: NDArray[Any], n_rows: int) -> None:
    """Raise a ShapeError unless an array has one number for each row."""
    if array.shape != (n_rows,):
        raise ShapeError(
            f"{name} has shape {array.shape}; {n_rows} trials need ({n_rows},).",
            where=name,
            expected=(n_rows,),
            found=array.shape,
        )


def check_finite(name: str, array: Float32) -> None:
    """Raise a DataError if numbers are not finite; its ``found`` is the number of them."""
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.flatnonzero(~finite.all(axis=1))
        n_bad = finite.size - int(finite.sum())
        raise DataError(
            f"{name} contain {n_bad} numbers that are not finite, in {len(bad)} of {len(array)} rows (the first is row "
            f"{bad[0]}). Remove these rows or columns, or replace the numbers.",
            where=name,
            expected=0,
            found=n_bad,
        )


def column_moments(x: Float32) -> tuple[Float32, Float32]:
    """Return mean and standard deviation of each column, 1 for a constant one; raise a DataError if no column varies.

    The standard deviation is computed from deviations in float64: data far from 0 would lose it in a sum of squares.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    square = np.zeros(x.shape[1])
    for start in range(0, len(x), ROWS_AT_ONCE):
        square += ((x[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
    spread = np.sqrt(square / len(x))
    varies = spread > 1e-7 * np.abs(mean)  # smaller deviations are rounding of float32
    if not varies.any():
        raise DataError("no voxel varies over the training trials; there is nothing to decode from.", where="betas")
    return mean.astype(np.float32), np.where(varies, spread, 1.0).astype(np.float32)


def gram_matrix(device: Device, x: Array) -> Array:
    """Return ``x.T @ x`` in float64; blocks of rows are multiplied in parallel and summed in their order."""
    n_rows, n = x.shape

    def square(start: int) -> Array:
        part = device.double(x[start : start + ROWS_AT_ONCE])
        return part.T @ part

    return sum(map_parallel(square, range(0, n_rows, ROWS_AT_ONCE), on_cores=device.is_numpy, item_bytes=8 * n**2))


def eigenvectors(device: Device, gram: Array) -> tuple[Float64, Array]:
    """Return the eigenvalues that are not rounding, ``(rank,)`` ascending, and their eigenvectors, ``(n, rank)``."""
    found, vectors = device.xp.linalg.eigh(gram)
    values = device.get(found)
    first = int((values <= RANK_TOLERANCE * max(values[-1], 0.0)).sum())
    return values[first:], vectors[:, first:]


def decompose(
    out: NDArray[np.bool_], rows: Array, stimulus: Integers, gram: Array, *, intercept: bool, device: Device
) -> Decomposition:
    """Decompose the Gram matrix of the training rows, and project the held-out rows.

    ``out``, ``(n_rows,)``, is True for held-out rows; for the decomposition of all rows it is False everywhere.
    ``rows`` are ``(n_rows, n)``, sorted by ``stimulus``, ``(n_rows,)``; ``gram`` is ``rows.T @ rows``.
    """
    xp, train, test = device.xp, np.flatnonzero(~out), np.flatnonzero(out)
    away = device.double(rows[test])
    mean = (rows.sum(0, dtype=xp.float64) - away.sum(0)) / len(train) * intercept
    # centred Gram matrix of the n training rows with mean m: that of all rows, less the held-out one, less n m m'
    away = xp.concatenate([away, len(train) ** 0.5 * mean[None]])
    values, vectors = eigenvectors(device, gram - away.T @ away)
    # in float32 the error of the scores is at most that of the rounded rows; the fit on all rows stays in float64
    like = device.single if len(test) else device.double
    vectors = like(vectors)
    n_train = np.bincount(stimulus[train], minlength=stimulus[-1] + 1)
    seen = np.flatnonzero(n_train)
    sums = _sum_by_stimulus(device, rows[train], stimulus[train], None)
    sums -= device.put(n_train[seen, None] * 1.0) * mean  # (n_seen, n), centred
    held, count = np.unique(stimulus[test], return_counts=True)
    contrasts = [device.put(np.zeros((0, len(values))))]
    root = device.put(np.sqrt(count)[:, None])
    between = _sum_by_stimulus(device, like(rows[test] - mean) @ vectors, stimulus[test], contrasts) / root
    within = xp.concatenate(contrasts)
    if within.shape[0] > len(values):
        within = xp.linalg.qr(within)[1]  # fewer rows with the same sums of squares
    return Decomposition(
        eigenvalues=values,
        moments=device.single((like(sums) @ vectors).T),
        seen=seen,
        weight=device.single(device.put(n_train / len(train))),
        held=held,
        root=device.single(root),
        between=device.single(between),
        within=device.single(within),
        rotation=None if len(test) else device.single(vectors),
    )


def _sum_by_stimulus(device: Device, rows: Array, stimulus: Integers, contrasts: list[Array] | None) -> Array:
    """Return the sum of the rows of each stimulus, ``(n_stimuli, n)`` float64; append their contrasts to a list.

    ``stimulus`` ascends. The j-th Helmert contrast of a stimulus is
    ``(row_0 + ... + row_(j-1) - j * row_j) / sqrt(j * (j + 1))``. Contrasts are orthonormal, and orthogonal to the sum.
    The squares of the contrasts and of the sums over the square root of the counts add up to those of the rows.
    """
    _, start, count = np.unique(stimulus, return_index=True, return_counts=True)
    sums = device.double(rows[start])
    for j in range(1, int(count.max(initial=0))):
        where = np.flatnonzero(count > j)
        row = device.double(rows[start[where] + j])
        if contrasts is not None:
            contrasts.append((sums[where] - j * row) / (j * (j + 1)) ** 0.5)
        sums[where] += row
    return sums
