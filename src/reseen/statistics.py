"""Statistics: null distributions, intervals over stimuli, p-values and false discovery rates, from arrays alone.

Resampling and permutation always use stimuli, never rows or pairs, which are not independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ShapeError

Floats = NDArray[np.float64]

_PERMUTED = 64  # targets at a time, so that they fit into the processor's cache
_FLIPPED = 1000  # exchanges at a time


@dataclass(frozen=True)
class Null:
    """Scores of images paired with other originals.

    Parameters
    ----------
    mean, sd
        Mean and standard deviation of the score over mismatched pairings.
    low, high
        Limits of the middle 95 % of the mismatched pairings.
    p
        One-sided: ``(1 + mismatched pairings that score at least as high) / (1 + mismatched pairings)``.
    """

    mean: float
    sd: float
    low: float
    high: float
    p: float


def derangements(labels: ArrayLike, n_derangements: int, *, seed: int) -> NDArray[np.int64]:
    """Draw mismatched pairings (derangements): every stimulus is paired with another stimulus.

    Stimuli are permuted, not items: all repetitions of an image have the same mismatched image.

    Returns
    -------
    Shape ``(n_derangements, n)``: for each item the row of its mismatched image.

    Raises
    ------
    ShapeError
        If there is only one stimulus.
    """
    distinct, first, stimulus = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    if len(distinct) < 2:
        message = "pairing images with mismatched images needs at least two stimuli; found one."
        raise ShapeError(message, where="labels", expected=2, found=len(distinct))
    rng = np.random.default_rng([seed, 1])
    rows = np.empty((n_derangements, len(stimulus)), dtype=np.int64)
    for sample in range(n_derangements):
        order = rng.permutation(len(distinct))
        while np.any(order == np.arange(len(distinct))):  # e = 2.7 tries on average, for any number of stimuli
            order = rng.permutation(len(distinct))
        rows[sample] = first[order[stimulus]]
    return rows


def permutations(
    labels: ArrayLike, n_permutations: int, *, seed: int, groups: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """Draw random pairings of stimuli with ground truths; some pairs may match.

    Parameters
    ----------
    labels
        Shape ``(n,)``: stimulus of each item; all items of a stimulus have the same ground truth.
    n_permutations, seed
        Number of permutations, and their seed.
    groups
        Shape ``(n,)``: ground truths are exchanged only within groups. Left out: among all stimuli.

    Returns
    -------
    Shape ``(n_permutations, n)``: for each item the row of its ground truth.
    """
    distinct, first, stimulus = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    group = np.zeros(len(distinct)) if groups is None else np.unique(groups[first], return_inverse=True)[1]
    rng = np.random.default_rng([seed, 4])
    members = np.argsort(group, kind="stable")
    rows = np.empty((n_permutations, len(stimulus)), dtype=np.int64)
    order = np.empty(len(distinct), dtype=np.int64)
    for sample in range(n_permutations):
        order[members] = np.lexsort((rng.random(len(distinct)), group))
        rows[sample] = first[order[stimulus]]
    return rows


def repaired_scores(paired: Floats, rows: NDArray[np.int64]) -> Floats:
    """Score the same images against mismatched images.

    Parameters
    ----------
    paired
        Shape ``(n, n)``: the score of pairing original ``i`` with reconstruction ``j``.
    rows
        Shape ``(n_derangements, n)``: see `derangements`.

    Returns
    -------
    Shape ``(n_derangements,)``: mean over items; pairings without a score (NaN) are left out.
    """
    return nan_mean(paired[rows, np.arange(paired.shape[1])])


def permutation_null(observed: float, mismatched: Floats) -> Null:
    """Compare the observed score with the scores of mismatched pairings, ``(n_derangements,)``."""
    known = mismatched[np.isfinite(mismatched)]
    if not len(known) or not np.isfinite(observed):
        return Null(np.nan, np.nan, np.nan, np.nan, np.nan)
    low, high = interval(known)
    p = (1 + np.count_nonzero(known >= observed - 1e-12)) / (1 + len(known))
    return Null(float(known.mean()), float(known.std()), low, high, float(p))


def null_sd(n_items: int) -> float:
    """Return the standard deviation of two-way identification at chance, ``sqrt(1 / (12 n))``.

    All pairs of an item depend on the same reconstruction: at chance, the accuracy of an item is uniform on 0...1, with
    variance 1/12. The standard deviation for ``n (n - 1)`` independent pairs would be many times too small.
    """
    return float(np.sqrt(1 / (12 * n_items)))


def bootstrap_weights(labels: ArrayLike, n_bootstrap: int, *, seed: int) -> Floats:
    """Draw stimuli with replacement; an item's weight is the number of draws of its stimulus, ``(n_bootstrap, n)``."""
    distinct, stimulus = np.unique(np.asarray(labels), return_inverse=True)
    rng = np.random.default_rng([seed, 2])
    n_stimuli = len(distinct)
    drawn = rng.multinomial(n_stimuli, np.full(n_stimuli, 1 / n_stimuli), size=n_bootstrap)
    return drawn[:, stimulus].astype(np.float64)


def bootstrap_mean(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean of items ``(n,)`` for each resampling ``(n_bootstrap, n)``; NaN items are left out."""
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    return ratio(weights[:, known] @ values[known], total)


def interval(replicates: Floats, *, coverage: float = 0.95) -> tuple[float, float]:
    """Return the limits of the middle ``coverage`` of resampled scores; NaN if none is finite."""
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def t_interval(values: Floats, *, coverage: float = 0.95) -> tuple[float, float]:
    """Return the interval of a mean from few independent values, by Student's t; NaN for fewer than two values.

    ``mean ± t * sd / sqrt(k)`` with k - 1 degrees of freedom.
    """
    from scipy.stats import t

    known = values[np.isfinite(values)]
    if len(known) < 2:
        return np.nan, np.nan
    half = t.ppf((1 + coverage) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)


def interval_around(value: float, replicates: Floats, n: int, *, widen: float = 1.0) -> tuple[float, float]:
    """Return the 95 % interval of a score from a bootstrap over ``n`` stimuli.

    Replicates repeat some stimuli and lack others. Their mean therefore differs from the score if the score is not a
    mean over stimuli, and their middle 95 % may even miss the score. The interval is therefore the score plus the
    middle 95 % of the replicates' distances from their mean. It is expanded, as Hesterberg (2015) advises, by Student's
    t, and by ``sqrt(n / (n - 4))``: resampled stimuli vary less than stimuli do, and the variance of a resampled
    correlation falls short by about ``4 / n`` (``tests/test_encode.py`` tests the coverage).

    Parameters
    ----------
    value
        The score; if it is NaN, both limits are NaN.
    replicates
        Shape ``(n_bootstrap,)``: the score of each resampling.
    n
        Number of stimuli, at least two.
    widen
        Additional factor, for variance that the resampling lacks.

    Returns
    -------
    low, high
        ``low <= value <= high``.
    """
    from scipy.stats import norm, t

    known = replicates[np.isfinite(replicates)]
    if not len(known) or not np.isfinite(value):
        return np.nan, np.nan
    factor = widen * t.ppf(0.975, n - 1) / norm.ppf(0.975) * np.sqrt(n / max(n - 4, n / 2))
    below, above = factor * np.quantile(known - known.mean(), [0.025, 0.975])
    return value + min(float(below), 0.0), value + max(float(above), 0.0)


def gap_closed(value: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Floats:
    """Return ``(value - floor) / (ceiling - floor)``, from chance level to oracle; NaN unless the oracle is higher."""
    value, floor, ceiling = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (value, floor, ceiling)))
    return ratio(value - floor, ceiling - floor)


def nan_mean(values: Floats) -> Floats:
    """Average finite values over the last axis; NaN, without a warning, if there are none."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide where the divisor is above 0; NaN elsewhere."""
    defined = below > 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)


def p_of_correlation(r: ArrayLike, n: int) -> Floats:
    """Return the one-sided p of correlations under the null of two independent Gaussian vectors of length ``n``.

    Takagi & Nishimoto sampled this null distribution at random. It is known in closed form:
    ``r * sqrt((n - 2) / (1 - r²))`` has Student's t distribution with ``n - 2`` degrees of freedom. NaN stays NaN.

    Raises
    ------
    ShapeError
        If ``n`` is below 3, where every correlation is -1, 0 or 1.
    """
    from scipy.stats import t

    if n < 3:
        message = f"a p-value of a correlation needs at least three stimuli; found {n}."
        raise ShapeError(message, where="n", expected=3, found=n)
    known = np.clip(np.asarray(r, dtype=np.float64), -1.0, 1.0)
    with np.errstate(divide="ignore"):
        p: Floats = t.sf(known * np.sqrt((n - 2) / (1 - known**2)), n - 2)
    return p


def p_of_null(r: ArrayLike, null: Floats) -> Floats:
    """Compute the one-sided p of correlations from correlations that were drawn under the null, ``(n_null,)``.

    A Pearson type III distribution with the first three moments of ``arctanh(r)`` approximates the null (Winkler et al.
    2016), so that p can be far below ``1 / n_null``. NaN stays NaN; with fewer than three finite null values all p are
    NaN.
    """
    from scipy.stats import pearson3, skew

    limit = np.nextafter(1.0, 0.0)
    drawn = np.arctanh(np.clip(null[np.isfinite(null)], -limit, limit))
    known = np.arctanh(np.clip(np.asarray(r, dtype=np.float64), -limit, limit))
    if len(drawn) < 3 or np.ptp(drawn) == 0:
        return np.full(known.shape, np.nan)
    p: Floats = pearson3.sf(known, skew(drawn), loc=drawn.mean(), scale=drawn.std())
    return p


def permutation_p(true: NDArray[Any], predicted: NDArray[Any], n_permutations: int, *, seed: int) -> Floats:
    """Return the one-sided p of each target's correlation under permutations of the stimuli.

    All targets use the same permutations, which preserves their dependence.

    Parameters
    ----------
    true, predicted
        Shape ``(n, n_targets)``, one row for each stimulus.
    n_permutations
        Number of permutations; the smallest p is ``1 / (1 + n_permutations)``.
    seed
        Seed of the permutations.

    Returns
    -------
    Shape ``(n_targets,)``: ``(1 + permutations that correlate at least as well) / (1 + permutations)``; NaN for
    constant true values.
    """
    rng = np.random.default_rng([seed, 3])
    orders = [rng.permutation(len(true)) for _ in range(n_permutations)]
    p = np.empty(true.shape[1])
    for start in range(0, true.shape[1], _PERMUTED):
        block = slice(start, start + _PERMUTED)
        y = true[:, block] - true[:, block].mean(axis=0, dtype=np.float64)
        x = predicted[:, block] - predicted[:, block].mean(axis=0, dtype=np.float64)
        observed = (y * x).sum(axis=0)  # products suffice: norms are the same for all permutations
        threshold = observed - 1e-12 * np.sqrt((y**2).sum(axis=0) * (x**2).sum(axis=0))  # tolerates rounding
        n_reached = np.zeros(y.shape[1])
        for order in orders:
            n_reached += np.einsum("ij,ij->j", y[order], x) >= threshold
        p[block] = np.where((y**2).sum(axis=0) > 0, (1 + n_reached) / (1 + n_permutations), np.nan)
    return p


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return each test's q: the smallest false discovery rate at which it is significant.

    Benjamini & Hochberg's (1995) step-up procedure, over all tests whose p is known; NaN stays NaN.
    """
    known = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(known))
    order = tested[np.argsort(-known[tested], kind="stable")]  # the largest first
    q = np.full(known.shape, np.nan)
    rank = np.arange(len(order), 0, -1)
    # q of the k-th smallest p of m: the minimum of m * p_j / j over j >= k
    q[order] = np.minimum.accumulate(np.minimum(known[order] * len(order) / rank, 1.0))
    return q


def holm(p: ArrayLike) -> Floats:
    """Return each test's p corrected for all tests together, by Holm's (1979) step-down procedure; NaN stays NaN.

    The probability of any false positive stays below the level, for any dependence between the tests.
    """
    known = np.asarray(p, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(known))
    order = tested[np.argsort(known[tested], kind="stable")]  # the smallest first
    # of the k-th smallest p of m: the maximum of (m - j + 1) * p_j over j <= k
    corrected = np.full(known.shape, np.nan)
    corrected[order] = np.maximum.accumulate(np.minimum(known[order] * np.arange(len(order), 0, -1), 1.0))
    return corrected


def signed_rank_p(differences: ArrayLike) -> float:
    """Return the two-sided p of Wilcoxon's (1945) signed-rank test, exact for any number of differences.

    Differences of 0 are left out, and ties have their mean rank. Under the null, each rank is in the sum with
    probability one half. The distribution of the sum is computed rank by rank, so that ties need no approximation.

    Parameters
    ----------
    differences
        Shape ``(n,)``; values that are not finite are left out.

    Returns
    -------
    float
        1 if no difference is left.
    """
    from scipy.stats import rankdata

    known = np.asarray(differences, dtype=np.float64)
    known = np.round(known[np.isfinite(known)], 12)  # differences that are equal up to rounding become ties
    known = known[known != 0]
    if not len(known):
        return 1.0
    ranks = np.rint(2 * rankdata(np.abs(known))).astype(np.int64)  # doubled: mean ranks can end in .5
    above = int(ranks[known > 0].sum())
    total = int(ranks.sum())
    probability = np.zeros(total + 1)  # of each sum of ranks
    probability[0] = 1.0
    largest = 0
    for rank in ranks:
        half = probability[: largest + 1] / 2
        probability[: largest + 1] = half
        probability[rank : rank + largest + 1] += half
        largest += int(rank)
    return float(min(1.0, 2 * probability[max(above, total - above) :].sum()))


def sign_flip_p(differences: NDArray[Any], n_permutations: int, *, seed: int) -> Floats:
    """Return the two-sided p of mean paired differences when the two values of a pair are exchanged at random.

    All scores use the same exchanges, which preserves their dependence. If there are at most
    ``n_permutations`` possible exchanges, each is used once and p is exact.

    Parameters
    ----------
    differences
        Shape ``(n, n_scores)``, one row for each stimulus; NaN counts as no difference.
    n_permutations, seed
        Number of exchanges, and their seed.

    Returns
    -------
    Shape ``(n_scores,)``: ``(1 + exchanges that differ at least as much) / (1 + exchanges)``; if p is exact, the
    proportion of these exchanges.
    """
    known = np.nan_to_num(np.asarray(differences, dtype=np.float64))
    n_items = len(known)
    exact = 2**n_items <= n_permutations
    n_drawn = 2**n_items if exact else n_permutations
    rng = np.random.default_rng([seed, 5])
    threshold = np.abs(known.sum(axis=0)) - 1e-12 * np.abs(known).sum(axis=0)  # tolerates rounding
    n_reached = np.zeros(known.shape[1])
    for start in range(0, n_drawn, _FLIPPED):
        rows = np.arange(start, min(start + _FLIPPED, n_drawn))
        # if exact, the binary digits of each number
        flipped = rows[:, None] >> np.arange(n_items) & 1 if exact else rng.integers(0, 2, (len(rows), n_items))
        n_reached += (np.abs((1.0 - 2.0 * flipped) @ known) >= threshold).sum(axis=0)
    return n_reached / n_drawn if exact else (1 + n_reached) / (1 + n_drawn)
