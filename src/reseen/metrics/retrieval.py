"""Retrieval: the right one among a random gallery, as an expectation over all galleries instead of a simulation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError
from reseen.metrics.pairs import TIE
from reseen.metrics.scores import Floats


def expected_top1(better: ArrayLike, tied: ArrayLike, n_distractors: ArrayLike, size: int) -> Floats:
    """Return the probability that the right one is the most similar of a random gallery, ties broken by chance.

    A gallery of m has the right one and m - 1 of its D distractors, drawn without replacement. Let r distractors be
    more similar than the right one, and t equally similar. If j of the ties and none of the r are in the gallery, the
    right one is chosen with probability 1 / (j + 1). With C the binomial coefficient:

    ``P = sum_j C(t, j) C(D - r - t, m - 1 - j) / ((j + 1) C(D, m - 1))``
    ``  = (C(D - r + 1, m) - C(D - r - t, m)) / ((t + 1) C(D, m - 1))``,

    since ``C(t, j) / (j + 1) = C(t + 1, j + 1) / (t + 1)`` and by Vandermonde's identity. Without ties it is
    ``C(D - r, m - 1) / C(D, m - 1)``.

    Parameters
    ----------
    better, tied
        Number of distractors that are more similar than the right one, and equally similar; of one shape.
    n_distractors
        Number of distractors, of this shape or one number.
    size
        Number of items in a gallery, with the right one.

    Raises
    ------
    ShapeError
        If there are too few distractors for a gallery, or a gallery has less than two items.

    Examples
    --------
    >>> expected_top1([0, 1, 2], [0, 0, 0], 3, 2).round(3).tolist()
    [1.0, 0.667, 0.333]
    >>> expected_top1([0], [3], 3, 4).tolist()
    [0.25]
    """
    r, t, n = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (better, tied, n_distractors)))
    if size < 2 or (n.size and n.min() < size - 1):
        least = int(n.min()) if n.size else 0
        raise ShapeError(
            f"a gallery of {size} needs two items or more, and {size - 1} distractors; found {least}. Choose a smaller "
            "gallery.",
            where="size",
            expected=least + 1,
            found=size,
        )
    every = _log_binomial(n, size - 1)
    alone = np.exp(_log_binomial(n - r, size - 1) - every)
    # the difference of the two terms loses digits where t = 0, which has a term of its own
    among = np.exp(_log_binomial(n - r + 1, size) - every) - np.exp(_log_binomial(n - r - t, size) - every)
    found: Floats = np.clip(np.where(t == 0, alone, among / (t + 1)), 0.0, 1.0)
    return found


def retrieval_top1(similarity: Floats, right: NDArray[np.int64], others: NDArray[np.bool_], size: int) -> Floats:
    """Return the expected top-1 accuracy of each query in random galleries, ``(n_queries,)``.

    Parameters
    ----------
    similarity
        Shape ``(n_queries, n_gallery)``; differences of rounding errors are ties.
    right
        Shape ``(n_queries,)``: column of the right item of each query.
    others
        Shape ``(n_queries, n_gallery)``: True for the distractors of each query.
    size
        Number of items in a gallery, with the right one.

    Raises
    ------
    ShapeError
        As `expected_top1`.
    """
    own = similarity[np.arange(len(right)), right][:, None]
    better = ((similarity > own + TIE) & others).sum(axis=1)
    tied = ((np.abs(similarity - own) <= TIE) & others).sum(axis=1)
    return expected_top1(better, tied, others.sum(axis=1), size)


def cosine_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    """Return the cosine of every row of ``a`` with every row of ``b``, ``(n, m)``, uncentred; 0 for a row of zeros."""
    units = []
    for rows in (a, b):
        wide = rows.astype(np.float64)
        norm = np.linalg.norm(wide, axis=1, keepdims=True)
        units.append(wide / np.where(norm > 0, norm, 1.0))
    cosine: Floats = units[0] @ units[1].T
    return cosine


def _log_binomial(n: Floats, k: int) -> Floats:
    """Return log C(n, k), minus infinity for n < k."""
    from scipy.special import gammaln

    possible = n >= k
    m = np.where(possible, n, k)
    return np.where(possible, gammaln(m + 1) - gammaln(k + 1.0) - gammaln(m - k + 1), -np.inf)
