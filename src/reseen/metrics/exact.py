"""Exact null distribution of identification: all pairings of a few originals with a few reconstructions.

The score of a pairing is the mean over reconstructions of their accuracy with the paired original. Each accuracy is a
whole number of half points over n - 1, so that the distribution over all n! pairings is counted point by point, with
``2**n`` partial pairings instead of n! complete ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError
from reseen.metrics.pairs import Floats

MOST_ITEMS = 16
"""Largest number of items whose pairings are counted: 65,536 partial pairings."""


def pairing_distribution(points: NDArray[np.int64], groups: NDArray[Any] | None = None) -> Floats:
    """Return the probability of each total of points, when all pairings are equally probable.

    Parameters
    ----------
    points
        Shape ``(n, n)``, whole numbers from 0: the points of pairing original ``i`` with reconstruction ``j``.
    groups
        Shape ``(n,)``: originals are paired with reconstructions of their own group only. Left out: with all.

    Returns
    -------
    Shape ``(largest total + 1,)``: probability of a total of 0, 1, 2 ... points. The sum is 1.

    Raises
    ------
    ShapeError
        If there are more than `MOST_ITEMS` items, or the matrix is not square.

    Examples
    --------
    >>> pairing_distribution(np.array([[1, 0], [0, 2]])).tolist()
    [0.5, 0.0, 0.0, 0.5]
    """
    n_items = len(points)
    if points.shape != (n_items, n_items) or not 1 <= n_items <= MOST_ITEMS:
        raise ShapeError(
            f"exact pairings need a matrix of at most {MOST_ITEMS} by {MOST_ITEMS} items; found {points.shape}.",
            where="points",
            expected=(MOST_ITEMS, MOST_ITEMS),
            found=points.shape,
        )
    known = np.zeros(n_items, dtype=np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    step = max(int(np.gcd.reduce(points, axis=None)), 1)  # without ties, points are even
    gained = points // step
    reach = np.cumsum([0, *gained.max(axis=1)])  # largest total of the first originals
    # ways[used, total]: number of ways to pair the first originals with the reconstructions in the bits of `used`
    ways = np.zeros((2**n_items, int(reach[-1]) + 1))
    ways[0, 0] = 1
    sets = np.arange(2**n_items)
    size = sum((sets >> bit) & 1 for bit in range(n_items))
    for original in range(n_items):
        before = sets[size == original]
        for reconstruction in np.flatnonzero(known == known[original]):
            free = before[(before >> reconstruction) & 1 == 0]
            more, top = int(gained[original, reconstruction]), int(reach[original]) + 1
            ways[free | (1 << reconstruction), more : top + more] += ways[free, :top]
    distribution: Floats = np.zeros(step * int(reach[-1]) + 1)
    distribution[::step] = ways[-1] / ways[-1].sum()
    return distribution


def pooled_distribution(distributions: list[Floats]) -> Floats:
    """Return the distribution of the sum of independent totals, one of each distribution."""
    pooled = np.ones(1)
    for one in distributions:
        pooled = np.convolve(pooled, one)
    return pooled


def tail_probability(distribution: Floats, total: int) -> float:
    """Return the probability of a total of at least this many points: the exact one-sided p."""
    return float(min(1.0, distribution[max(total, 0) :].sum()))
