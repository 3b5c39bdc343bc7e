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

Scorer = Literal["published", "corrected"]
SCORERS: tuple[Scorer, ...] = get_args(Scorer)
"""``published``: the released code counts ``sum(correlations < congruent) - 1`` of n - 1. The strict comparison never
counts the right target itself, so that 1 is subtracted without need: every score is 1 / (n - 1) too low. ``corrected``:
``sum(correlations < congruent)``, and a tie counts one half."""
POOLED = "all"
"""Name in place of a subject for the mean over subjects."""
DIFFERENCE = "vision - imagery"
"""Name in place of a task for the difference between the tasks."""
FEWEST_TARGETS = 3
N_FLIPS = 2**12
"""Number of exchanges of a test of the difference; all of them, up to 12 targets."""
_TIES: dict[Scorer, Ties] = {"published": "lose", "corrected": "half"}


@dataclass(frozen=True)
class _Part:
    """One subject's score of one task: values of each target, resampled scores, and exact null distributions."""

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
    A table of `reseen.tables.IMAGERY_COLUMNS`. ``chance`` and ``chance_sd`` are mean and sd of the exact null
    distribution. ``p`` is the exact one-sided probability under all pairings; ``p_within_sets`` under pairings of
    the same set only, which differences between runs cannot make small. Rows `DIFFERENCE` have a two-sided p: the
    values of the two tasks are exchanged target by target. Rows `POOLED` are means over subjects.

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
    >>> table.query("task == 'vision'")[["scorer", "value", "chance"]].round(3).values.tolist()
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
            for subject, of_subject in correlations.items():
                parts[subject] = {}
                for task, matrix in of_subject.items():
                    parts[subject][task] = _score(matrix[np.ix_(items, items)], sets[items], scorer, weights)
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


def _rows(pool: list[dict[str, _Part]], scorer: Scorer, n: int, seed: int) -> list[tuple[object, ...]]:
    """Return the numbers of each task, and of the difference between vision and imagery, for a pool of subjects."""
    shift = -1 / (n - 1) if scorer == "published" else 0.0
    full = 2 * n * (n - 1) * len(pool)  # half points of perfect identification
    found: list[tuple[object, ...]] = []
    for task in pool[0]:
        parts = [of_subject[task] for of_subject in pool]
        value = float(np.mean([part.each.mean() for part in parts])) + shift
        replicates = np.mean([part.replicates for part in parts], axis=0) + shift
        low, high = statistics.interval_around(value, replicates, n)
        total = sum(part.total for part in parts)
        null = metrics.pooled_distribution([part.null for part in parts])
        within = metrics.pooled_distribution([part.null_within for part in parts])
        scores = np.arange(len(null)) / full + shift
        chance = float(scores @ null)
        chance_sd = float(np.sqrt(((scores - chance) ** 2) @ null))
        p, p_within = metrics.tail_probability(null, total), metrics.tail_probability(within, total)
        found.append((task, value, low, high, chance, chance_sd, p, p_within, len(pool), n))
    if {"vision", "imagery"} <= set(pool[0]):
        each = np.mean([part["vision"].each - part["imagery"].each for part in pool], axis=0)
        replicates = np.mean([part["vision"].replicates - part["imagery"].replicates for part in pool], axis=0)
        low, high = statistics.interval_around(float(each.mean()), replicates, n)
        p = float(statistics.sign_flip_p(each[:, None], N_FLIPS, seed=seed)[0])
        found.append((DIFFERENCE, float(each.mean()), low, high, 0.0, np.nan, p, np.nan, len(pool), n))
    return found
