"""Kernel ridge regression for many more features than stimuli, without all features in memory.

Held-out predictions need only the linear kernel of a feature space, the inner products between stimuli. Kernels
are accumulated exactly over blocks of columns; weights of features are never computed. Two spaces are fitted
together by the kernel ``p * A + (1 - p) * B`` with proportion ``p``, so that each space has its own penalty (banded
ridge). The prediction is the sum of the contributions of both spaces. A kernel's mean diagonal over the training rows
is one, so that penalties have the same meaning for spaces of any width: ``alpha * n_columns`` is the penalty in the
convention of sklearn's ``Ridge``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError, ShapeError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

PROPORTIONS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Proportions of the first of two kernels in their mixture; 0 and 1 leave one space out."""
GRID_BOTTOM = 1e-3
GRID_TOP = 10.0  # times the number of rows, the largest possible eigenvalue of a kernel
GRID_PER_DECADE = 2
RANK_TOLERANCE = 1e-7  # eigenvalues below this proportion of the largest are rounding of float32 features
BLOCK_TARGETS = 4096
SAMPLED_ROWS = 256


@dataclass(frozen=True)
class KernelFit:
    """Predictions of held-out rows, and the penalties that were chosen for them.

    Parameters
    ----------
    parts
        Shape ``(n_kernels, n_test, n_targets)``: contribution of each space. The prediction is their sum plus ``mean``.
    mean
        Shape ``(n_targets,)``: mean of the targets over the training rows.
    scale
        Shape ``(n_targets,)``: root mean square of the predicted deviations from ``mean`` over training and test rows.
    gain
        Shape ``(n_targets,)``: mean over the test rows of the sum of squared weights of the training targets, so that
        noise of variance ``v`` in the targets has the variance ``gain * v`` in the predictions.
    alpha, proportion
        Shape ``(n_targets,)``: penalty, and proportion of the first kernel (1 if there is only one).
    errors
        Shape ``(n_alphas, n_targets)``: squared error on held-out rows of the folds, with the first kernel alone.
    """

    parts: Float32
    mean: Float32
    scale: Float64
    gain: Float64
    alpha: Float64
    proportion: Float64
    errors: Float64


# -------------------------------------------------------------------------------------------------- kernels


def linear_kernels(columns: Iterable[Float32], trains: Sequence[Integers]) -> list[Float64]:
    """Accumulate the linear kernel of standardised features for each set of training rows.

    Parameters
    ----------
    columns
        Blocks of columns, each ``(n_rows, <=width)``; read once, one in memory at a time.
    trains
        For each kernel, the rows whose means and standard deviations (ddof 0) standardise the columns. Columns that
        are constant over these rows are left out.

    Returns
    -------
    list
        Kernels ``(n_rows, n_rows)``, divided by the number of columns that vary.

    Raises
    ------
    DataError
        If a feature is not finite, or none varies over the training rows.
    """
    totals: list[Float64] = []
    counts = [0] * len(trains)
    for block in columns:
        if not totals:
            totals = [np.zeros((len(block), len(block))) for _ in trains]
        for k, train in enumerate(trains):
            scaled, _ = _standardised(block, train)
            totals[k] += scaled @ scaled.T
            counts[k] += scaled.shape[1]
    _some(len(totals))
    return [total / _some(count) for total, count in zip(totals, counts, strict=True)]


def projected_kernels(
    columns: Iterable[Float32], trains: Sequence[Integers], n_components: int, *, seed: int
) -> tuple[list[Float64], float]:
    """Approximate `linear_kernels` by a sparse random projection: each column is added, with a random sign, to one sum.

    The projected inner products are unbiased (Clarkson & Woodruff 2013). They need ``n_rows * n_columns`` operations;
    the exact kernel needs ``n_rows`` times as many.

    Parameters
    ----------
    columns, trains
        See `linear_kernels`.
    n_components
        Number of sums.
    seed
        Seed of the projection.

    Returns
    -------
    kernels
        Approximations of the kernels of `linear_kernels`.
    error
        Relative error of the kernel, ``|approximate - exact| / |exact|`` (Frobenius), measured on the first
        `SAMPLED_ROWS` rows; the largest of all kernels.
    """
    from scipy.sparse import csr_array

    rng = np.random.default_rng([seed, 4])
    sums: list[Float64] = []
    exact: list[Float64] = []
    counts = [0] * len(trains)
    for block in columns:
        if not sums:
            n_sampled = min(SAMPLED_ROWS, len(block))
            sums = [np.zeros((n_components, len(block))) for _ in trains]
            exact = [np.zeros((n_sampled, n_sampled)) for _ in trains]
        width = (block.shape[1],)
        into = rng.integers(0, n_components, width)  # the sum that each column is added to
        sign = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), width)
        for k, train in enumerate(trains):
            scaled, kept = _standardised(block, train)
            columns_kept = np.flatnonzero(kept)
            n_kept = len(columns_kept)
            entries = (sign[columns_kept], (into[columns_kept], np.arange(n_kept)))
            sums[k] += csr_array(entries, (n_components, n_kept)) @ scaled.T
            exact[k] += scaled[:n_sampled] @ scaled[:n_sampled].T
            counts[k] += scaled.shape[1]
    _some(len(sums))
    kernels: list[Float64] = []
    errors: list[float] = []
    for total, true, count in zip(sums, exact, counts, strict=True):
        kernel = total.T @ total / _some(count)
        expected = true / count
        part = kernel[: len(true), : len(true)]
        errors.append(float(np.linalg.norm(part - expected) / np.linalg.norm(expected)))
        kernels.append(kernel)
    return kernels, max(errors)


def principal_kernel(kernel: Float64, train: Integers, n_components: int) -> tuple[Float64, float]:
    """Restrict a kernel to the first principal components of its training rows.

    Parameters
    ----------
    kernel
        Shape ``(n_rows, n_rows)``, of features centred over the training rows.
    train
        Rows on which the components are fitted.
    n_components
        Number of components.

    Returns
    -------
    kernel
        Shape ``(n_rows, n_rows)``.
    error
        Proportion of the training rows' variance that is lost.
    """
    values, vectors = np.linalg.eigh(kernel[np.ix_(train, train)])
    values, vectors = values[::-1], vectors[:, ::-1]  # the largest first
    n_kept = min(n_components, int(np.sum(values > RANK_TOLERANCE * values[0])))
    score = kernel[:, train] @ (vectors[:, :n_kept] / np.sqrt(values[:n_kept]))  # (n_rows, n_kept)
    lost = 1.0 - values[:n_kept].sum() / np.maximum(values, 0.0).sum()
    return score @ score.T, float(max(lost, 0.0))


def _standardised(block: Float32, train: Integers) -> tuple[Float32, NDArray[np.bool_]]:
    """Standardise the columns that vary over the training rows, and drop the others; return which were kept."""
    if not np.isfinite(block).all():
        raise DataError("a feature contains NaN or infinity. Find the cause and extract it again.", where="features")
    mean = block[train].mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = block - mean
    spread: Float32 = np.sqrt(np.mean(centred[train] ** 2, axis=0))
    kept: NDArray[np.bool_] = spread > 1e-6 * np.abs(mean)
    return (centred if kept.all() else centred[:, kept]) / spread[kept], kept


def _some(count: int) -> int:
    """Return a number of columns; raise a DataError if it is 0."""
    if not count:
        raise DataError(
            "no column of the features varies over the training stimuli. Leave these features out, or use stimuli that "
            "differ.",
            where="features",
            expected=1,
            found=0,
        )
    return count


# -------------------------------------------------------------------------------------------------- ridge


def default_alphas(n_rows: int) -> Float64:
    """Return penalties, from nearly none to predictions of nearly the training mean; kernels have mean diagonal one."""
    bottom, top = GRID_BOTTOM, GRID_TOP * n_rows
    return np.geomspace(bottom, top, int(np.ceil(np.log10(top / bottom) * GRID_PER_DECADE)) + 1)


def fit_kernels(
    kernels: Sequence[Float64],
    targets: Float32,
    *,
    train: Integers,
    test: Integers,
    fold: Integers,
    alphas: Float64,
    alone: Sequence[Float64] | None = None,
) -> KernelFit:
    """Fit targets from one or two feature spaces, with a penalty for each target, and predict the held-out rows.

    Parameters
    ----------
    kernels
        One or two, ``(n_rows, n_rows)``, of training and test rows together.
    targets
        Shape ``(n_train, n_targets)``.
    train, test
        Rows to fit and to predict.
    fold
        Shape ``(n_train,)``: folds that choose penalty and proportion, by held-out squared error. Of equal errors, that
        of the larger penalty is chosen.
    alphas
        Shape ``(n_alphas,)``, ascending.
    alone
        For two kernels: ``errors`` of the fit of each alone, which are then not computed again. The mixtures are
        `PROPORTIONS`.

    Raises
    ------
    ShapeError
        If there is not one or two kernels, or arrays do not fit each other.
    """
    if len(kernels) not in (1, 2) or len(targets) != len(train) or len(fold) != len(train):
        raise ShapeError(
            f"one or two kernels and a row of targets for each training row are needed; found {len(kernels)} kernels, "
            f"{len(targets)} rows of targets and {len(fold)} folds for {len(train)} training rows.",
            found=(len(kernels), len(targets), len(fold), len(train)),
        )
    known = dict(zip((1.0, 0.0), alone or (), strict=False))
    grid = (1.0,) if len(kernels) == 1 else PROPORTIONS
    best = np.full(targets.shape[1], np.inf)
    alpha, proportion = np.empty((2, targets.shape[1]))
    first = np.empty((len(alphas), targets.shape[1]))
    for candidate in grid:
        errors = known.get(candidate)
        if errors is None:
            errors = _errors(_mixture(kernels, candidate)[np.ix_(train, train)], targets, fold, alphas)
        if candidate == 1.0:
            first = errors
        at = len(alphas) - 1 - errors[::-1].argmin(axis=0)  # of equal errors, that of the larger penalty
        lowest = np.take_along_axis(errors, at[None], axis=0)[0]
        better = lowest < best
        best[better], alpha[better], proportion[better] = lowest[better], alphas[at[better]], candidate
    mean = targets.mean(axis=0, dtype=np.float64).astype(np.float32)
    parts, scale, gain = _predict(kernels, targets - mean, train, test, alpha, proportion)
    return KernelFit(parts, mean, scale, gain, alpha, proportion, first)


def _mixture(kernels: Sequence[Float64], proportion: float) -> Float64:
    if proportion == 1.0:
        return kernels[0]
    return kernels[1] if proportion == 0.0 else proportion * kernels[0] + (1.0 - proportion) * kernels[1]


def _centred(kernel: Float64, rows: Integers, train: Integers) -> Float64:
    """Return inner products of rows with training rows, both less the mean of the training rows."""
    mean = kernel[np.ix_(train, train)].mean(axis=0)
    across = kernel[np.ix_(rows, train)]
    centred: Float64 = across - across.mean(axis=1, keepdims=True) - mean + mean.mean()
    return centred


def _eigen(gram: Float64) -> tuple[Float64, Float64]:
    values, vectors = np.linalg.eigh(gram)
    keep = values > RANK_TOLERANCE * max(values[-1], 0.0)
    return values[keep], vectors[:, keep]


def _errors(kernel: Float64, targets: Float32, fold: Integers, alphas: Float64) -> Float64:
    """Sum the squared errors on held-out rows over the folds, ``(n_alphas, n_targets)``."""
    errors = np.zeros((len(alphas), targets.shape[1]))
    for k in np.unique(fold):
        held, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        values, vectors = _eigen(_centred(kernel, rest, rest))
        probe = _centred(kernel, held, rest) @ vectors
        vectors = vectors.astype(np.float32)
        for start in range(0, targets.shape[1], BLOCK_TARGETS):
            block = slice(start, start + BLOCK_TARGETS)
            mean = targets[rest, block].mean(axis=0)
            moments = vectors.T @ (targets[rest, block] - mean)
            true = targets[held, block] - mean
            for a, alpha in enumerate(alphas):
                residual = (probe / (values + alpha)).astype(np.float32) @ moments
                residual -= true
                errors[a, block] += np.einsum("ij,ij->j", residual, residual)
    return errors


def _predict(
    kernels: Sequence[Float64], centred: Float32, train: Integers, test: Integers, alpha: Float64, proportion: Float64
) -> tuple[Float32, Float64, Float64]:
    """Return parts, scale and gain of `KernelFit`; targets that share a mixture share its eigendecomposition."""
    parts = np.zeros((len(kernels), len(test), centred.shape[1]), dtype=np.float32)
    squares, gain = np.zeros((2, centred.shape[1]))
    across = [_centred(kernel, test, train).astype(np.float32) for kernel in kernels]
    for candidate in np.unique(proportion):
        chosen = np.flatnonzero(proportion == candidate)
        mixing = (candidate, 1.0 - candidate)[: len(kernels)]
        values, vectors = _eigen(_centred(_mixture(kernels, candidate), train, train))
        vectors = vectors.astype(np.float32)
        mixed = sum(np.float32(weight) * one for weight, one in zip(mixing, across, strict=True))
        power = ((mixed @ vectors).astype(np.float64) ** 2).mean(axis=0)  # of the test rows along each eigenvector
        for start in range(0, len(chosen), BLOCK_TARGETS):
            block = chosen[start : start + BLOCK_TARGETS]
            inverse = 1.0 / (values[:, None] + alpha[block])
            shrunk = (vectors.T @ centred[:, block]) * inverse
            dual = vectors @ shrunk.astype(np.float32)  # (K + alpha)^-1 Y, (n_train, n_block)
            for k, weight in enumerate(mixing):
                if weight:
                    parts[k][:, block] = np.float32(weight) * (across[k] @ dual)
            squares[block] = values**2 @ shrunk**2  # of the training rows
            gain[block] = power @ inverse**2
    squares += (parts.sum(axis=0) ** 2).sum(axis=0)
    return parts, np.sqrt(squares / (len(train) + len(test))), gain
