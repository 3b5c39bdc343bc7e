"""One Gram matrix for all folds: what a many-target ridge needs to know of its rows, once for every penalty.

The matrix is voxels by voxels (primal), or trials by trials (dual) where there are more voxels than trials. A fold's
matrix is the whole less the fold's own part. After one eigendecomposition, predictions for any penalty ``alpha`` are
``probe @ ((moments @ targets) / (eigenvalues + alpha))``, in either form. Where no target is met on the way, a
tridiagonal form does the same for less.

Cross-products and decompositions are float64: a penalty far below the largest eigenvalue would drown in the rounding of
float32. What is multiplied with targets afterwards is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError
from reseen.ridge.cores import Cores
from reseen.ridge.device import Array, Device, Float32, Float64, Integers
from reseen.ridge.tridiagonal import Tridiagonal

ROWS_AT_ONCE = 4096
PANEL_COLUMNS = 256  # of a symmetric matrix: an eighth more than the half that is needed, at 2,000 voxels
RANK_TOLERANCE = 1e-11  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True)
class Rows:
    """Checked rows, standardised and sorted by stimulus, and their one Gram matrix. Nothing of targets."""

    rows: Array  # (n_rows, n_voxels) float32
    order: Integers  # (n_rows,) where each row stood
    used: Integers  # (n_stimuli,) the rows of targets that have trials, those of one fold together
    stimulus: Integers  # (n_rows,) ascending, counted among those used
    sums: Array  # (n_stimuli, n_voxels) float64, rows summed by stimulus; empty where dual
    gram: Array  # float64, voxels by voxels, or rows by rows where dual
    voxel_mean: Float32
    voxel_scale: Float32
    dual: bool
    intercept: bool
    device: Device

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.order)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli that have rows."""
        return len(self.used)

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues: no eigenvalue is larger."""
        return float(self.device.get(self.gram.diagonal()).sum())


@dataclass(frozen=True)
class Decomposition:
    """Matrices that turn targets of training stimuli into predictions of held-out rows.

    ``probe @ ((moments @ targets[seen]) / (eigenvalues + alpha))``. The rows of one held-out stimulus are turned so
    that the first is their sum over the square root of their number and the others have mean zero: sums of squares
    stay, and targets, which repeat with the stimulus, meet the first alone.
    """

    eigenvalues: Float64  # (rank,)
    moments: Array  # (rank, n_seen) float32
    seen: Integers  # (n_seen,) stimuli of the training rows
    between: Array  # (n_held_stimuli, rank) float32, one row a stimulus
    within: Array  # (at most n_held - n_held_stimuli, rank) float32, what repetitions differ by
    rotation: Array  # (n_voxels, rank) float32 where nothing was held out: eigenvectors as weights of voxels
    device: Device

    def shrinkage(self, alpha: float) -> Array:
        """Return ``1 / (eigenvalues + alpha)``, ``(rank, 1)`` float32."""
        return self.device.put((1.0 / (self.eigenvalues + alpha)).astype(np.float32)[:, None])

    def shrunken(self, alpha: float) -> Array:
        """Return ``moments / (eigenvalues + alpha)``, ``(rank, n_seen)`` float32."""
        return self.moments * self.shrinkage(alpha)


@dataclass(frozen=True)
class Reduction:
    """Do for the sake of quadratic forms, which no target is met on the way to, what `Decomposition` does.

    Rounding grows as the root of the largest eigenvalue over alpha, as it does with that of the rows themselves.
    """

    tridiagonal: Tridiagonal
    sums: Float32  # (n_seen, n) of training rows, turned
    seen: Integers
    between: Float32
    within: Float32

    def shrunken(self, alpha: float) -> Float32:
        """Return what `Decomposition.shrunken` gives, in coordinates of its own."""
        return self.tridiagonal.solve(alpha, self.sums).T


def check_rows(betas: ArrayLike, target_row: ArrayLike | None, n_target_rows: int) -> tuple[Float32, Integers]:
    """Return checked betas, ``(n_rows, n_voxels)``, and the row of targets of each, ``(n_rows,)``.

    Raises
    ------
    ShapeError
        If arrays do not fit each other or there are fewer than two rows.
    DataError
        If a number is not finite.
    """
    x = np.asarray(betas, dtype=np.float32)
    if x.ndim != 2:
        raise ShapeError(f"betas must be two-dimensional, (n_trials, n_voxels); they have shape {x.shape}.")
    row = np.arange(n_target_rows) if target_row is None else np.asarray(target_row, dtype=np.int64)
    if row.shape != (len(x),) or (len(row) and not 0 <= row.min() <= row.max() < n_target_rows):
        raise ShapeError(f"each of the {len(x)} trials needs the number of its row of targets, below {n_target_rows}.")
    if len(x) < 2:
        raise ShapeError(f"a ridge map cannot be fitted on {len(x)} trials; at least two are needed.")
    check_finite("betas", x)
    return x, row


def prepare(x: Float32, row: Integers, fold: Integers | None, *, intercept: bool, device: Device, cores: Cores) -> Rows:
    """Standardise the rows and sort them by stimulus; the stimuli that one fold holds out stand together.

    Raises
    ------
    DataError
        If no column varies.
    """
    used, row = np.unique(row, return_inverse=True)
    if fold is not None:
        first = np.full(len(used), fold.max())
        np.minimum.at(first, row, fold)
        by_fold = np.argsort(first, kind="stable")
        used, row = used[by_fold], np.argsort(by_fold)[row]
    order = np.argsort(row, kind="stable")
    mean, scale = _moments(x)
    rows = device.put((x[order] - mean) / scale)
    dual = x.shape[1] > len(x)
    sums = device.zeros(0, 0, double=True) if dual else _turn(device, rows, row[order], contrasts=False)[0]
    gram = _gram(device, rows.T if dual else rows, cores)
    return Rows(rows, order, used, row[order], sums, gram, mean, scale, dual, intercept, device)


def _moments(x: Float32) -> tuple[Float32, Float32]:
    """Return mean and standard deviation of each column; 1 for a constant one."""
    mean = x.mean(axis=0, dtype=np.float64)
    square = np.zeros(x.shape[1])
    for start in range(0, len(x), ROWS_AT_ONCE):
        square += ((x[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
    spread = np.sqrt(square / len(x))
    varies = spread > 1e-7 * np.abs(mean)
    if not varies.any():
        raise DataError("no voxel varies over the training trials; there is nothing to decode from.")
    return mean.astype(np.float32), np.where(varies, spread, 1.0).astype(np.float32)


def _gram(device: Device, x: Array, cores: Cores) -> Array:
    """Return ``x.T @ x`` in float64, by panels of its upper triangle."""
    n = x.shape[1]
    gram = device.zeros(n, n, double=True)
    starts = range(0, n, PANEL_COLUMNS)
    for first in range(0, x.shape[0], ROWS_AT_ONCE):
        part = device.double(x[first : first + ROWS_AT_ONCE])
        for start, panel in zip(starts, cores.map(partial(_panel, part), starts), strict=True):
            gram[start : start + PANEL_COLUMNS, start:] += panel
    for start in starts:
        stop = start + PANEL_COLUMNS
        gram[stop:, start:stop] = gram[start:stop, stop:].T
    return gram


def _panel(part: Array, start: int) -> Array:
    return part[:, start : start + PANEL_COLUMNS].T @ part[:, start:]


def eigenvalues(data: Rows) -> Float64:
    """Return the eigenvalues of all rows that are not rounding, ascending."""
    values = data.device.eigvalsh(_less(data, np.zeros(data.n_rows, dtype=bool)).gram)
    return values[len(values) - _rank(values) :]


def decompose(data: Rows, held: NDArray[np.bool_]) -> Decomposition:
    """Decompose the rows that are not held out, and project those that are."""
    device, less = data.device, _less(data, held)
    values, vectors = device.eigh(less.gram)
    rank = _rank(values)
    vectors = vectors[:, len(values) - rank :]
    between, within, moments = (device.single(rows @ vectors) for rows in (less.between, less.within, less.sums))
    if within.shape[0] > rank:
        within = device.upper_factor(within)  # fewer rows with the same sums of squares
    rotation = device.single(vectors[: 0 if held.any() else None])  # only the fit on all rows needs them
    if data.dual and not held.any():
        rows = data.rows - data.rows.mean(0) if data.intercept else data.rows
        rotation = rows.T @ rotation
    kept = values[len(values) - rank :]
    return Decomposition(kept, moments.T, less.seen, between, within, rotation, device)


def reduce(data: Rows, held: NDArray[np.bool_]) -> Reduction:
    """Bring the rows that are not held out to tridiagonal form, with numpy, and project those that are."""
    less = _less(data, held)
    form = Tridiagonal.of(less.gram)
    between, within, sums = (form.turn(rows) for rows in (less.between, less.within, less.sums))
    if len(within) > within.shape[1]:
        within = data.device.upper_factor(within)
    return Reduction(form, sums, less.seen, between, within)


@dataclass(frozen=True)
class _Less:
    """Training rows of a fold as cross-products, and its held-out rows turned as `Decomposition` says."""

    gram: Array  # (n, n) float64, centred on the training mean
    seen: Integers  # (n_seen,)
    sums: Array  # (n_seen, n) float64: centred training rows summed by stimulus; where dual, which rows they are
    between: Array  # (n_held_stimuli, n) float64
    within: Array  # (n_held - n_held_stimuli, n) float64


def _less(data: Rows, held: NDArray[np.bool_]) -> _Less:
    return _dual(data, held) if data.dual else _primal(data, held)


def _rank(values: Float64) -> int:
    return int((values > RANK_TOLERANCE * max(values[-1], 0.0)).sum())


def _primal(data: Rows, held: NDArray[np.bool_]) -> _Less:
    device, out = data.device, data.stimulus[held]
    between, within = _turn(device, data.rows[np.flatnonzero(held)], out)
    held_stimuli, n_held = np.unique(out, return_counts=True)
    count = np.bincount(data.stimulus[~held], minlength=data.n_stimuli).astype(np.float64)
    sums = data.sums + 0.0
    sums[held_stimuli] -= between
    n_train = int((~held).sum())
    mean = sums.sum(0) / n_train if data.intercept else sums[0] * 0.0
    root = device.put(np.sqrt(n_held)[:, None])
    between = between / root
    away = device.join([between, within, n_train**0.5 * mean[None]])
    gram = away.T @ away
    gram *= -1.0
    gram += data.gram
    between = between - root * mean
    seen = np.flatnonzero(count)
    return _Less(gram, seen, sums[seen] - device.put(count[seen][:, None]) * mean, between, within)


def _dual(data: Rows, held: NDArray[np.bool_]) -> _Less:
    device, train = data.device, np.flatnonzero(~held)
    gram = data.gram[train][:, train]
    across = data.gram[np.flatnonzero(held)][:, train]
    if data.intercept:
        mean = gram.mean(0)
        across = across - across.mean(1)[:, None] - mean + mean.mean()
        gram = gram - mean - mean[:, None] + mean.mean()
    between, within = _turn(device, across, data.stimulus[held])
    between = between / device.put(np.sqrt(np.unique(data.stimulus[held], return_counts=True)[1])[:, None])
    seen, place = np.unique(data.stimulus[train], return_inverse=True)
    sums = device.zeros(len(seen), len(train), double=True)
    sums[place, np.arange(len(train))] = 1.0
    return _Less(gram, seen, sums, between, within)


def _turn(device: Device, rows: Array, stimulus: Integers, *, contrasts: bool = True) -> tuple[Array, Array]:
    """Sum rows by stimulus, and give contrasts of each stimulus's rows: orthonormal, and orthogonal to their sum.

    The stimuli ascend. Sums have one row a stimulus; contrasts one for each further row of it (Helmert's), so that
    sums over the square root of the counts, and contrasts, have together the squares of the rows.
    """
    present, start, count = np.unique(stimulus, return_index=True, return_counts=True)
    if not len(present):
        return device.zeros(0, rows.shape[1], double=True), device.zeros(0, rows.shape[1], double=True)
    sums = device.double(rows[start])
    parts = [device.zeros(0, rows.shape[1], double=True)]
    for j in range(1, int(count.max())):
        where = np.flatnonzero(count > j)
        row = device.double(rows[start[where] + j])
        if contrasts:
            parts.append((sums[where] - j * row) / (j * (j + 1)) ** 0.5)
        sums[where] += row
    return sums, device.join(parts)


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
