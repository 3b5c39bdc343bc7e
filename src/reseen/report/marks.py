"""Marks: scores with their chance levels and their oracle, from the tidy table, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from reseen.plot.wording import PERCENT, percent, words
from reseen.recipe import CONDITIONS
from reseen.tables import is_retrieved, lower_is_better
from reseen.wide import CHANCE, wide

if TYPE_CHECKING:
    import pandas as pd

ORDER = (*CONDITIONS, "early", "middle", "late", "all", "seen", "novel")
"""Order of conditions, layers and subsets; other names follow in the order of the table."""


class Key(NamedTuple):
    """Key of a score; a field that does not apply is empty."""

    subject: str
    metric: str
    network: str
    direction: str
    subset: str
    layer: str
    condition: str
    protocol: str


@dataclass(frozen=True)
class Mark:
    """Score with its interval, chance levels and oracle; NaN if missing, ``n`` 0 if unknown.

    ``gap_closed`` is the fraction of the way from the mismatched chance level to the oracle.
    """

    key: Key
    result: float
    low: float
    high: float
    mismatched: float
    permuted: float
    oracle: float
    n: int
    chance_mean: float = math.nan
    chance_noise: float = math.nan
    chance_random: float = math.nan
    gap_closed: float = math.nan

    @property
    def chance(self) -> float | None:
        """Chance level."""
        return chance_of(self.key.metric)


def chance_of(metric: str) -> float | None:
    """Return the chance level of a metric: one half for identification, 0 for correlations, otherwise None."""
    if is_identification(metric):
        return 0.5
    return 0.0 if "corr" in metric else None


def is_identification(metric: str) -> bool:
    """Return whether the metric counts pairwise comparisons won."""
    return "identification" in metric or "two_way" in metric


def read_marks(scores: pd.DataFrame) -> list[Mark]:
    """Return one mark for each score, of `reseen.wide.wide` without means over subjects, in the order of ``ORDER``."""
    marks = [_mark(row) for row in wide(scores, with_mean=False).reset_index().to_dict("records")]
    return sorted(
        marks, key=lambda mark: [_rank(part) for part in (mark.key.subset, mark.key.layer, mark.key.condition)]
    )


def _mark(row: dict[Any, Any]) -> Mark:
    levels = {level: float(row[column]) for level, column in CHANCE.items()}
    result, low, high, oracle, gap_closed, n = (
        float(row[name]) for name in ("result", "low", "high", "upper_bound", "gap_closed", "n")
    )
    key = Key(*(str(row[name]) for name in Key._fields))
    return Mark(key, result, low, high, **levels, oracle=oracle, gap_closed=gap_closed, n=int(n))


def _rank(part: str) -> int:
    return ORDER.index(part) if part in ORDER else len(ORDER)


def number(cell: Any) -> float:
    """Return a cell as a number; NaN if it is not a number."""
    try:
        return math.nan if cell is None else float(cell)
    except (TypeError, ValueError):
        return math.nan


def unique(values: Iterable[str]) -> list[str]:
    """Return the different values in order of appearance."""
    return list(dict.fromkeys(values))


def show(value: float, metric: str) -> str:
    """Return a score as text: identification in per cent, others with two decimals, an en dash for NaN."""
    if math.isnan(value):
        return "–"
    if is_identification(metric):
        return percent(value)
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def interval(mark: Mark) -> str:
    """Return an interval as text; empty if there is none."""
    if math.isnan(mark.low) or math.isnan(mark.high):
        return ""
    low, high = show(mark.low, mark.key.metric), show(mark.high, mark.key.metric)
    return f"{low.removesuffix(PERCENT)} to {high}"


def reading(marks: Sequence[Mark]) -> str:
    """Return a summary of a chart in one sentence: the last mark that is no retrieval, and the best of each group."""
    marks = [mark for mark in marks if not math.isnan(mark.result)]
    if not marks:
        return "There is no score to show here."
    last = ([mark for mark in marks if not is_retrieved(mark.key.condition)] or marks)[-1]
    key = last.key
    place = f" at the {key.layer} layer" if key.layer else ""
    subset = f" on {key.subset} images" if key.subset not in ("", "all") else ""
    what = f"{words(key.metric)} of {key.condition}" if key.condition else words(key.metric)
    sentence = f"{what}{place}{subset} is {show(last.result, key.metric)} ({_details(last)})"
    leaders = leaders_of(marks)
    if leaders:
        sentence += f"; {leaders}"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _details(mark: Mark) -> str:
    """Return interval, n, chance levels and oracle of a mark as text."""
    metric = mark.key.metric
    named = (
        ("95 % interval", interval(mark)),
        ("n =", str(mark.n) if mark.n else ""),
        ("chance", "" if mark.chance is None else show(mark.chance, metric)),
        ("mismatched", show(mark.mismatched, metric)),
        ("permuted", show(mark.permuted, metric)),
        ("oracle", show(mark.oracle, metric)),
    )
    return ", ".join(f"{name} {value}" for name, value in named if value not in ("", "–"))


def leaders_of(marks: Sequence[Mark]) -> str:
    """Return the best condition of each group of several marks; empty if there is no such group."""
    found = []
    groups = unique(group_of(mark) for mark in marks)
    for group in groups:
        rivals = [mark for mark in marks if group_of(mark) == group]
        if len(rivals) > 1:
            best = max(rivals, key=lambda mark: -mark.result if lower_is_better(mark.key.metric) else mark.result)
            name = words(best.key.condition)
            found.append(f"{name} ({group})" if len(groups) > 1 else name)
    first = "nearest" if marks and lower_is_better(marks[0].key.metric) else "highest"
    return f"{first}: {', '.join(found)}" if found else ""


def group_of(mark: Mark) -> str:
    """Return the group of a mark in a chart: the first of subset, layer and metric that distinguishes it."""
    key = mark.key
    if key.subset not in ("", "all"):
        return key.subset
    return key.layer or ("" if is_identification(key.metric) else words(key.metric))
