"""Folds that hold trials out, and the grid of penalties to choose from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reseen.errors import DataError, ShapeError
from reseen.ridge.device import Float64, Integers

GRID_BOTTOM = 1e-3  # times the mean eigenvalue: nearly no penalty
GRID_TOP = 100.0  # times the largest eigenvalue: predictions are nearly the training mean
GRID_PER_DECADE = 2
EDGE_PROPORTION = 0.2  # of the targets at one edge of the grid, above which a warning is issued
HISTOGRAM_WIDTH = 30


class EdgeWarning(UserWarning):
    """Warning that the best penalties are at the edge of the grid and probably beyond it."""


def assign_folds(groups: Integers | None, n_rows: int, n_folds: int, seed: int) -> Integers:
    """Return the fold of each row, ``(n_rows,)`` in ``0 ... n_folds - 1``.

    With groups, every group is in one fold, and folds have nearly equal numbers of rows; the seed orders groups of
    equal size. Without groups, folds are consecutive rows, as in sklearn's ``KFold``. Raises a ShapeError if there are
    fewer groups (or rows) than folds, or fewer than two folds.
    """
    n_groups = n_rows if groups is None else len(np.unique(groups))
    if not 2 <= n_folds <= n_groups:
        what = "trials" if groups is None else "stimuli (groups of trials)"
        raise ShapeError(
            f"a penalty cannot be chosen on {n_folds} folds: there are {n_groups} {what}. "
            f"Use 2 to {n_groups} folds, or a single alpha.",
            where="n_folds",
            expected=(2, n_groups),
            found=n_folds,
        )
    if groups is None:
        n_larger = n_rows % n_folds  # the first folds have one row more than the others
        return np.repeat(np.arange(n_folds), n_rows // n_folds + (np.arange(n_folds) < n_larger))
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    permuted = np.random.default_rng(seed).permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=np.int64)
    n_in_fold = np.zeros(n_folds, dtype=np.int64)
    for group in permuted[np.argsort(-size[permuted], kind="stable")]:  # the largest group first
        fold_of_group[group] = n_in_fold.argmin()
        n_in_fold[fold_of_group[group]] += size[group]
    return fold_of_group[member]


def default_alphas(eigenvalues: ArrayLike) -> Float64:
    """Return a grid of penalties that is scaled to the data, two for each factor of ten.

    ``eigenvalues`` are the eigenvalues of the Gram matrix that are not zero. The grid runs from ``1e-3 * mean`` to
    ``100 * max`` of them: from nearly no penalty to predictions that are nearly the training mean. It thus depends on
    the number of trials and on the correlations of the voxels.
    """
    bottom, top = grid_ends(eigenvalues)
    return np.geomspace(bottom, top, int(np.ceil(np.log10(top / bottom) * GRID_PER_DECADE)) + 1)


def grid_ends(eigenvalues: ArrayLike) -> tuple[float, float]:
    """Return the smallest and the largest penalty that are useful for these eigenvalues."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    return float(GRID_BOTTOM * values.mean()), float(GRID_TOP * values.max())


def check_alphas(alphas: Sequence[float]) -> Float64:
    """Return a caller's grid in ascending order, each penalty once; raise a DataError unless all are positive."""
    grid = np.unique(np.asarray(alphas, dtype=np.float64))
    if not len(grid) or not np.all(np.isfinite(grid)) or grid[0] <= 0:
        raise DataError(
            f"alphas must be positive numbers, at least one; found {list(alphas)}.", where="alphas", found=list(alphas)
        )
    return grid


def warn_at_edge(chosen: Float64, grid: Float64, ends: tuple[float, float]) -> None:
    """Warn, with a histogram, if many targets chose an edge of the grid and the grid does not reach its useful end.

    ``chosen`` are the penalties of targets that vary, ``grid`` is ascending, and ``ends`` are the `grid_ends`.
    """
    if not len(chosen) or len(grid) < 2:
        return
    edges = ("smallest", grid[0], grid[0] > 1.01 * ends[0]), ("largest", grid[-1], grid[-1] < 0.99 * ends[1])
    for name, edge, is_inside in edges:
        proportion = float(np.mean(chosen == edge))
        if is_inside and proportion > EDGE_PROPORTION:
            warnings.warn(
                f"{proportion:.0%} of {len(chosen)} targets chose the {name} penalty of the grid ({edge:g}); the best "
                "penalty is probably beyond it. Extend `alphas`, or leave it out for a grid scaled to the data.\n"
                + histogram(chosen, grid),
                EdgeWarning,
                stacklevel=5,
            )


def histogram(chosen: Float64, grid: Float64) -> str:
    """Return a text histogram of the number of targets that chose each penalty, one line for each penalty."""
    counts = [int((chosen == alpha).sum()) for alpha in grid]
    most, lines = max(*counts, 1), []
    for alpha, count in zip(grid, counts, strict=True):
        bar = "#" * round(HISTOGRAM_WIDTH * count / most)
        lines.append(f"{alpha:>10.3g} {bar:<{HISTOGRAM_WIDTH}} {count}")
    return "\n".join(lines)
