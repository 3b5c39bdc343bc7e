"""Score an alignment: each level on the same test stimuli, and its paired differences from the target's own data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import metrics, statistics
from reseen.errors import ShapeError
from reseen.metrics import Floats
from reseen.tables import ALIGNMENT_COLUMNS, IDENTIFICATION

if TYPE_CHECKING:
    import pandas as pd

FEWEST_STIMULI = 3
"""Smallest number of test stimuli that are scored."""
EQUAL, SHARED = "own_equal", "own_shared"
COMPARED = (("aligned", EQUAL), ("combined", EQUAL), ("identity", EQUAL), ("aligned", SHARED), ("combined", SHARED))
"""Pairs of levels whose difference is a row of the table: ``"aligned - own_equal"``."""
METRICS = {IDENTIFICATION: 0.5, "image_r": 0.0}
"""Metric -> its chance level."""
Point = tuple[int, str]
"""Number of sessions of the target, level."""


@dataclass(frozen=True)
class _Scored:
    """One metric of one level: its value, and the value of each resampling of the test stimuli."""

    value: float
    replicates: Floats


def score_alignment(
    decoded: Mapping[Point, NDArray[Any]],
    true: NDArray[Any],
    training_mean: NDArray[Any],
    *,
    n_trials: Mapping[Point, int],
    words: Mapping[str, str],
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score what each level decodes of one feature, and the differences of `COMPARED`.

    Parameters
    ----------
    decoded
        (number of sessions, level) -> shape ``(n, n_targets)``: rows of the same test stimuli.
    true
        Shape ``(n, n_targets)``: true features of these stimuli.
    training_mean
        Shape ``(n_targets,)``: is subtracted from both, for all levels.
    n_trials
        Number of the target's trials that each level was fitted on.
    words
        The columns ``source``, ``target``, ``protocol``, ``through`` and ``feature`` of the table.
    n_bootstrap, seed
        Number of resamplings of test stimuli behind each interval, and their seed. All levels share them, so that
        intervals of differences are paired.

    Returns
    -------
    A table of `reseen.tables.ALIGNMENT_COLUMNS`. ``identification`` holds the original fixed, as `reseen.score` does;
    ``image_r`` is the correlation of each item across targets, averaged over items. A difference has the number of
    trials of its first level.

    Raises
    ------
    ShapeError
        If there are fewer than three test stimuli.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=(40, 8))
    >>> levels = {(1, "aligned"): true + 3 * rng.normal(size=true.shape), (1, "own_equal"): true}
    >>> words = dict.fromkeys(("source", "target", "protocol", "through", "feature"), "")
    >>> table = score_alignment(levels, true, true.mean(axis=0), n_trials=dict.fromkeys(levels, 9), words=words)
    >>> table.query("metric == 'identification'")[["level", "value"]].round(2).values.tolist()
    [['aligned', 0.73], ['own_equal', 1.0], ['aligned - own_equal', -0.27]]
    """
    import pandas as pd

    n = len(true)
    if n < FEWEST_STIMULI:
        raise ShapeError(
            f"There are {n} test stimuli; scores need {FEWEST_STIMULI} or more. Choose a smaller n_align or another "
            "protocol.",
            where="test",
            expected=FEWEST_STIMULI,
            found=n,
        )
    weights = statistics.bootstrap_weights(np.arange(n), n_bootstrap, seed=seed)
    scored = {point: _score(true - training_mean, array - training_mean, weights) for point, array in decoded.items()}
    rows = []
    for metric, chance in METRICS.items():
        found = {point: of_metric[metric] for point, of_metric in scored.items()}
        for (count, level), each in found.items():
            shown = (each.value, *statistics.interval_around(each.value, each.replicates, n), chance)
            rows.append((level, count, n_trials[count, level], metric, *shown, n))
        for count in dict.fromkeys(count for count, _ in found):
            for first, second in COMPARED:
                if {(count, first), (count, second)} <= found.keys():
                    one, other = found[count, first], found[count, second]
                    value = one.value - other.value
                    low, high = statistics.interval_around(value, one.replicates - other.replicates, n)
                    trials = n_trials[count, first]
                    rows.append((f"{first} - {second}", count, trials, metric, value, low, high, 0.0, n))
    table = pd.DataFrame(rows, columns=list(ALIGNMENT_COLUMNS[len(words) :]))
    for place, (name, word) in enumerate(words.items()):
        table.insert(place, name, word)
    return table[list(ALIGNMENT_COLUMNS)]


def _score(true: NDArray[Any], decoded: NDArray[Any], weights: Floats) -> dict[str, _Scored]:
    """Score one level by every metric; features are centred."""
    r = metrics.correlation_matrix(true, decoded)
    right = np.diagonal(r)
    identified = float(metrics.identification_from_correlations(r).mean())
    return {
        IDENTIFICATION: _Scored(identified, metrics.bootstrap_identification(r, weights)),
        "image_r": _Scored(float(right.mean()), statistics.bootstrap_mean(right, weights)),
    }


def describe_alignment(table: pd.DataFrame) -> list[str]:
    """Return sentences that say which level is better: the answer for all features, then each feature and level.

    An alignment is called better or worse than the target's own data of equal minutes if the 95 % interval of the
    paired difference of two-way identification does not contain zero; intervals are not corrected for their number.

    Parameters
    ----------
    table
        Table of `score_alignment`, of one feature or several.
    """
    better, all_below, sentences = [], True, []
    rows = table[table["metric"] == IDENTIFICATION]
    for level in ("aligned", "combined"):
        ours = rows[rows["level"] == f"{level} - {EQUAL}"]
        for feature, each in ours.groupby("feature", sort=False):
            above, below = each[each["low"] > 0], each[each["high"] < 0]
            between = each[(each["low"] <= 0) & (each["high"] >= 0)]
            parts = [
                f"{word} {_sessions(part['n_sessions'])} ({_points(part['value'])})"
                for word, part in (("above at", above), ("below at", below), ("not clearly different at", between))
                if len(part)
            ]
            sentences.append(f"{feature}, {level} against own data of equal minutes: {'; '.join(parts)}.")
            all_below = all_below and len(below) == len(each)
            if len(above):
                better.append(f"{feature} ({level}) at {_sessions(above['n_sessions'])}")
    if not sentences:
        return []
    if better:
        first = f"An alignment is better than the target's own data of equal minutes for {'; '.join(better)}."
    elif all_below:
        first = "The target's own data of equal minutes are better than every alignment, at every number of sessions."
    else:
        first = "No alignment is clearly better than the target's own data of equal minutes."
    return [first, *sentences]


def _sessions(counts: pd.Series[Any]) -> str:
    """Return numbers of sessions in words: ``"1, 2 and 4 sessions"``."""
    names = [str(count) for count in counts]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} session{'s' * (names != ['1'])}"


def _points(differences: pd.Series[Any]) -> str:
    """Return differences in points of per cent: ``"-11.2 to -6.1 points"``."""
    shown = [f"{100 * value:+.1f}".replace("-", "−") for value in (differences.min(), differences.max())]
    return f"{' to '.join(dict.fromkeys(shown))} points"
