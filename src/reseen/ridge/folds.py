"""What a penalty is chosen by: the folds that hold trials out, and the grid of penalties."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reseen.errors import DataError, ShapeError
from reseen.ridge.device import Float64, Integers

GRID_BOTTOM = 1e-3  # times the mean eigenvalue: nearly no penalty
GRID_TOP = 100.0  # times the largest eigenvalue: nearly the training mean
GRID_PER_DECADE = 2
EDGE_SHARE = 0.2  # of the targets at one edge of the grid, above which a warning is due
HISTOGRAM_WIDTH = 30


class EdgeWarning(UserWarning):
    """The best penalties are at the edge of the grid and probably beyond it."""


def assign_folds(groups: Integers | None, n_rows: int, n_folds: int, seed: int) -> Integers:
    """Return the fold of each row, ``(n_rows,)`` in ``0 ... n_folds - 1``.

    With groups, every group is in one fold and folds have nearly equally many rows; the seed decides among equals.
    Without, folds are consecutive stretches of rows, as in sklearn's ``KFold``. Raises a ShapeError if there are fewer
    groups (or rows) than folds, or fewer than two folds.
    """
    n_groups = n_rows if groups is None else len(np.unique(groups))
    if not 2 <= n_folds <= n_groups:
        what = "trials" if groups is None else "stimuli (groups of trials)"
        raise ShapeError(
            f"choosing a penalty over {n_folds} folds needs at least two folds and one group for each; "
            f"there are {n_groups} {what}. Ask for between 2 and {n_groups} folds, or give a single alpha."
        )
    if groups is None:
        return np.repeat(np.arange(n_folds), [len(part) for part in np.array_split(np.arange(n_rows), n_folds)])
    _, member, size = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for group in shuffled[np.argsort(-size[shuffled], kind="stable")]:
        fold_of_group[group] = filled.argmin()
        filled[fold_of_group[group]] += size[group]
    return fold_of_group[member]


def default_alphas(eigenvalues: ArrayLike) -> Float64:
    """Return penalties from nearly none to nearly the training mean, two a decade, scaled to the data.

    ``eigenvalues`` are those of the Gram matrix that are not zero. The grid runs from a thousandth of their mean to a
    hundred times the largest, so that it follows the number of trials and the redundancy of the voxels.
    """
    bottom, top = grid_ends(eigenvalues)
    return np.geomspace(bottom, top, int(np.ceil(np.log10(top / bottom) * GRID_PER_DECADE)) + 1)


def grid_ends(eigenvalues: ArrayLike) -> tuple[float, float]:
    """Return the least and the greatest penalty that can be of use."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    return float(GRID_BOTTOM * values.mean()), float(GRID_TOP * values.max())


def check_alphas(alphas: Sequence[float]) -> Float64:
    """Return the grid of a caller, positive and ascending, each penalty once."""
    grid = np.unique(np.asarray(alphas, dtype=np.float64))
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)) or grid[0] <= 0:
        raise DataError(f"alphas must be positive numbers, at least one; found {list(alphas)}.")
    return grid


def warn_at_edge(chosen: Float64, grid: Float64, ends: tuple[float, float]) -> None:
    """Warn, with a histogram, where many targets chose an edge of the grid beyond which the penalty still matters.

    ``chosen`` are the penalties of targets that vary, ``grid`` is ascending, and ``ends`` are the `grid_ends`.
    """
    if not len(chosen) or len(grid) < 2:
        return
    edges = ("smallest", grid[0], grid[0] > 1.01 * ends[0]), ("largest", grid[-1], grid[-1] < 0.99 * ends[1])
    for name, edge, matters in edges:
        share = float(np.mean(chosen == edge))
        if matters and share > EDGE_SHARE:
            warnings.warn(
                f"{share:.0%} of {len(chosen)} targets chose the {name} penalty of the grid ({edge:g}); the best one "
                "probably lies beyond it. Widen `alphas`, or leave it out for a grid scaled to the data.\n"
                + histogram(chosen, grid),
                EdgeWarning,
                stacklevel=5,
            )


def histogram(chosen: Float64, grid: Float64) -> str:
    """Draw how many targets chose each penalty, one line a penalty."""
    counts = [int((chosen == alpha).sum()) for alpha in grid]
    bars = ["#" * round(HISTOGRAM_WIDTH * count / max(*counts, 1)) for count in counts]
    lines = zip(grid, bars, counts, strict=True)
    return "\n".join(f"{alpha:>10.3g} {bar:<{HISTOGRAM_WIDTH}} {count}" for alpha, bar, count in lines)
