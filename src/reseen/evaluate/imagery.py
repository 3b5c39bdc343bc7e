"""Score NSD-Imagery, protocol ``nsdimagery2025``: few targets, both scorers, exact permutations pooled over subjects.

With n = 12 targets one score has a standard deviation of about .1 at chance. Therefore scores are pooled over subjects,
and p is exact: each subject's reconstructions are paired with the targets in all n! ways, independently of the other
subjects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.metrics import Floats, Ties
from reseen.tables import IMAGERY_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

Scorer = Literal["published", "corrected", "margin"]
SCORERS: tuple[Scorer, ...] = get_args(Scorer)
"""``published``: the released code counts ``sum(correlations < congruent) - 1`` of n - 1. The strict comparison never
counts the right target itself, so that 1 is subtracted without need: every score is 1 / (n - 1) too low. ``corrected``:
``sum(correlations < congruent)``, and a tie counts one half. ``margin``: the correlation with the right target minus
the mean correlation with the other targets, which orders tasks where identification is perfect; chance is 0."""
POOLED = "all"
"""Name in place of a subject for the mean over subjects."""
DIFFERENCE = "vision - imagery"
"""Name in place of a task for the difference between the tasks."""
FEWEST_TARGETS = 3
N_FLIPS = 2**12
"""Number of exchanges of a test of the difference; all of them, up to 12 targets."""
N_PAIRINGS = 10_000
"""Number of random pairings behind the null distribution of the margin."""
_TIES: dict[Scorer, Ties] = {"published": "lose", "corrected": "half"}


@dataclass(frozen=True)
class _Part:
    """One subject's score of one task: values of each target, resampled scores, and null distributions.

    ``total`` and the null distributions are of half points, exactly; those of the margin are scores of random pairings.
    """

    each: Floats
    replicates: Floats
    total: int
    null: Floats
    null_within: Floats


def score_imagery(
    correlations: Mapping[str, Mapping[str, Floats]],
    target_set: Sequence[str] | NDArray[np.str_],
    *,
    condition: str = "",
    network: str = "",
    layer: str = "",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> DataFrame:
    """Score two-way identification of seen and imagined targets, for each subject and pooled.

    The reconstruction is held fixed: the right target is compared with each other target, as in MindEye.

    Parameters
    ----------
    correlations
        Subject -> task -> matrix ``(n, n)``: correlation of target ``i`` (row) with the reconstruction of target ``j``
        (column). All subjects have the same tasks.
    target_set
        Shape ``(n,)``: set of each target. All targets are scored together, and each set by itself.
    condition, network, layer
        For the table.
    n_bootstrap, seed
        Number of resamplings of targets behind each interval, and their seed. All subjects and tasks share the
        resamplings, so that intervals of differences are paired.

    Returns
    -------
    A table of `reseen.tables.IMAGERY_COLUMNS`. ``low`` and ``high`` are the interval over targets; ``low_subjects`` and
    ``high_subjects`` that over subjects (Student's t), NaN for one subject. ``chance`` and ``chance_sd`` are mean and
    sd of the exact null distribution. ``p`` is the exact one-sided probability under all pairings; ``p_within_sets``
    under pairings of the same set only, which differences between runs cannot make small. Null distributions of the
    margin are those of `N_PAIRINGS` random pairings. Rows `DIFFERENCE` have a two-sided p: the values of the two tasks
    are exchanged target by target. Rows `POOLED` are means over subjects.

    Raises
    ------
    ShapeError
        If a matrix is not square, or has more than `reseen.metrics.exact.MOST_ITEMS` targets.

    Source: NSD-Imagery (Kneeland et al., CVPR 2025) for the published scorer.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> seen, imagined = np.eye(6) + rng.normal(size=(6, 6)) / 9, rng.normal(size=(6, 6))
    >>> table = score_imagery({"subj01": {"vision": seen, "imagery": imagined}}, ["A"] * 6, n_bootstrap=100)
    >>> identified = table.query("task == 'vision' and scorer != 'margin'")
    >>> identified[["scorer", "value", "chance"]].round(3).values.tolist()
    [['published', 0.8, 0.3], ['corrected', 1.0, 0.5]]
    """
    import pandas as pd

    sets = np.asarray(target_set)
    names = list(dict.fromkeys(sets.tolist()))
    groups = [("+".join(names), np.arange(len(sets)))]
    groups += [(name, np.flatnonzero(sets == name)) for name in names if len(names) > 1]
    rows = []
    for targets, items in groups:
        if len(items) < FEWEST_TARGETS:
            continue
        weights = statistics.bootstrap_weights(items, n_bootstrap, seed=seed)
        for scorer in SCORERS:
            parts: dict[str, dict[str, _Part]] = {}
            for number, (subject, of_subject) in enumerate(correlations.items()):
                parts[subject] = {}
                for task, matrix in of_subject.items():
                    r = matrix[np.ix_(items, items)]
                    if scorer == "margin":
                        parts[subject][task] = _score_margin(r, sets[items], weights, seed + number)
                    else:
                        parts[subject][task] = _score(r, sets[items], scorer, weights)
            pools = {subject: [of_subject] for subject, of_subject in parts.items()}
            if len(parts) > 1:
                pools = {POOLED: list(parts.values()), **pools}
            for subject, pool in pools.items():
                words = (subject, condition, network, layer, scorer, targets)
                rows += [(*words, *numbers) for numbers in _rows(pool, scorer, len(items), seed)]
    return pd.DataFrame(rows, columns=list(IMAGERY_COLUMNS))


def _score(r: Floats, sets: NDArray[np.str_], scorer: Scorer, weights: Floats) -> _Part:
    """Score one task of one subject."""
    n = len(r)
    ties = _TIES[scorer]
    accuracy = metrics.pairing_accuracy(r, direction="reconstruction", ties=ties, exchanged=True)
    points = np.rint(2 * (n - 1) * accuracy).astype(np.int64)  # half points
    return _Part(
        each=np.diagonal(accuracy).copy(),
        replicates=metrics.bootstrap_identification(r, weights, direction="reconstruction", ties=ties),
        total=int(np.trace(points)),
        null=metrics.pairing_distribution(points),
        null_within=metrics.pairing_distribution(points, sets),
    )


def _score_margin(r: Floats, sets: NDArray[np.str_], weights: Floats, seed: int) -> _Part:
    """Score the margin of one task of one subject."""
    n = len(r)
    off = r * (1 - np.eye(n))
    # a target that a resampling contains twice is not compared with itself, as in `bootstrap_identification`
    others = statistics.ratio(weights @ off, weights.sum(axis=1, keepdims=True) - weights)
    each = np.diagonal(r) - off.sum(axis=0) / (n - 1)
    # with pairing q, reconstruction j belongs to target q_j: (n r_qj - sum of column j) / (n - 1)
    every = (n * r - r.sum(axis=0)) / (n - 1)
    columns, groups = np.arange(n), np.unique(sets, return_inverse=True)[1]
    null, within = (every[_pairings(by, seed), columns].mean(axis=1) for by in (np.zeros(n, dtype=np.int64), groups))
    replicates = statistics.ratio(np.nansum(weights * (np.diagonal(r) - others), axis=1), weights.sum(axis=1))
    return _Part(each, replicates, 0, null, within)


def _pairings(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw the target of each reconstruction, within its group, ``(N_PAIRINGS, n)``."""
    rng = np.random.default_rng([seed, 6])
    order = np.argsort(groups + rng.random((N_PAIRINGS, len(groups))), axis=1)  # positions, group by group
    rows = np.empty_like(order)
    rows[:, np.argsort(groups, kind="stable")] = order
    return rows


def _rows(pool: list[dict[str, _Part]], scorer: Scorer, n: int, seed: int) -> list[tuple[object, ...]]:
    """Return the numbers of each task, and of the difference between vision and imagery, for a pool of subjects."""
    shift = -1 / (n - 1) if scorer == "published" else 0.0
    found: list[tuple[object, ...]] = []
    for task in pool[0]:
        parts = [of_subject[task] for of_subject in pool]
        values = np.array([part.each.mean() for part in parts]) + shift
        value = float(values.mean())
        replicates = np.mean([part.replicates for part in parts], axis=0) + shift
        low, high = statistics.interval_around(value, replicates, n)
        chance, chance_sd, p, p_within = _test_margin(parts, value) if scorer == "margin" else _test(parts, shift, n)
        limits = (low, high, *statistics.t_interval(values))
        found.append((task, value, *limits, chance, chance_sd, p, p_within, len(pool), n))
    if {"vision", "imagery"} <= set(pool[0]):
        differences = np.array([part["vision"].each - part["imagery"].each for part in pool])
        each = differences.mean(axis=0)
        replicates = np.mean([part["vision"].replicates - part["imagery"].replicates for part in pool], axis=0)
        low, high = statistics.interval_around(float(each.mean()), replicates, n)
        p = float(statistics.sign_flip_p(each[:, None], N_FLIPS, seed=seed)[0])
        limits = (low, high, *statistics.t_interval(differences.mean(axis=1)))
        found.append((DIFFERENCE, float(each.mean()), *limits, 0.0, np.nan, p, np.nan, len(pool), n))
    return found


def _test(parts: Sequence[_Part], shift: float, n: int) -> tuple[float, float, float, float]:
    """Return mean and sd of the exact null distribution of identification, and p of both types of pairings."""
    full = 2 * n * (n - 1) * len(parts)  # half points of perfect identification
    total = sum(part.total for part in parts)
    null = metrics.pooled_distribution([part.null for part in parts])
    within = metrics.pooled_distribution([part.null_within for part in parts])
    scores = np.arange(len(null)) / full + shift
    chance = float(scores @ null)
    chance_sd = float(np.sqrt(((scores - chance) ** 2) @ null))
    return chance, chance_sd, metrics.tail_probability(null, total), metrics.tail_probability(within, total)


def _test_margin(parts: Sequence[_Part], value: float) -> tuple[float, float, float, float]:
    """Return the mean of the margin under all pairings, which is 0, its sd, and p of both types of pairings."""
    null = np.mean([part.null for part in parts], axis=0)
    within = np.mean([part.null_within for part in parts], axis=0)
    reached = value - 1e-12  # tolerates rounding
    p, p_within = ((1 + np.sum(samples >= reached)) / (1 + len(samples)) for samples in (null, within))
    return 0.0, float(null.std()), float(p), float(p_within)
