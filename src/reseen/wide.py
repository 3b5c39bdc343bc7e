"""Wide: one row for each score, with its interval, chance levels and upper bound in columns. Tables in, tables out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import statistics
from reseen.published import published_of
from reseen.tables import GAP_CLOSED, IDENTIFICATION, NULL_SD, P_VALUE, SCORE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

WORDS = SCORE_COLUMNS[: SCORE_COLUMNS.index("level")]
"""Columns that identify a score; they index the wide table."""
CHANCE = {
    "mismatched": "chance_mismatched",
    "permuted": "chance_permuted",
    "chance_mean": "chance_mean",
    "chance_noise": "chance_noise",
    "chance_random": "chance_random",
}
"""Levels of the tidy table that are chance levels, and their columns in the wide table.

In this order: reconstructions paired with other images; decoders fitted on permuted labels; the mean features of the
training stimuli; noise without a caption; the features of a random training stimulus.
"""
_LEVELS = {"result": "result", **CHANCE, "oracle": "upper_bound"}
_ABOUT = {GAP_CLOSED: "gap_closed", P_VALUE: "p", NULL_SD: "chance_sd"}
"""Endings of metrics that are about a score, and their columns."""
_OF_ONE_SUBJECT = ("low", "high", "permuted_low", "permuted_high", "chance_sd", "p", "n")
NUMBERS = (
    *("result", "low", "high", *CHANCE.values(), "permuted_low", "permuted_high"),
    *("upper_bound", "gap_closed", "chance_sd", "p", "n"),
)
"""Columns of numbers of the wide table."""
PUBLISHED = "published"
"""The last column of the wide table, in words."""


def wide(table: pd.DataFrame, *, with_mean: bool = True) -> pd.DataFrame:
    """Return one row for each score, with its interval, chance levels and upper bound in columns.

    Parameters
    ----------
    table
        Tidy table with the columns `reseen.tables.SCORE_COLUMNS`; of two rows of one number the last one is used.
    with_mean
        Append the mean over subjects of each score that every one of several subjects has.

    Returns
    -------
    DataFrame
        The index is `WORDS`; the columns are `NUMBERS` and `PUBLISHED`. ``permuted_low`` and ``permuted_high`` are the
        interval of ``chance_permuted`` over permutations; ``chance_sd`` is the standard deviation of
        ``chance_mismatched`` over pairings. The subject of a mean is ``"mean of <n> subjects"``; its interval is over
        subjects (Student's t), it has no ``p``, and its ``n`` is 0 where it differs between subjects.
    """
    import pandas as pd

    table = table.fillna(dict.fromkeys((*WORDS, "level"), ""))
    column = table["level"].map(_LEVELS)
    metric = table["metric"]
    for ending, name in _ABOUT.items():  # "ssim_p" is the p of "ssim", not a metric
        is_about = metric.str.endswith(ending)
        column = column.mask(is_about, name)
        metric = metric.where(~is_about, metric.str.removesuffix(ending))
    words = list(WORDS)
    known = table.assign(metric=metric, column=column).dropna(subset="column")
    known = known.drop_duplicates([*words, "column"], keep="last")
    values = known.pivot(index=words, columns="column", values="value")
    intervals = known[known["column"] == "result"].set_index(words)[["low", "high"]]
    permuted = known[known["column"] == "chance_permuted"].set_index(words)[["low", "high"]].add_prefix("permuted_")
    counts = known.groupby(words)["n"].max()
    order = pd.MultiIndex.from_frame(known[words].drop_duplicates())
    found = values.join([intervals, permuted, counts]).reindex(order).reindex(columns=list(NUMBERS))
    mean = _mean_over_subjects(found) if with_mean else None
    found = found if mean is None else pd.concat([found, mean])
    return found.assign(**{PUBLISHED: _published(found)})


def _mean_over_subjects(found: pd.DataFrame) -> pd.DataFrame | None:
    """Return the mean rows of all scores that every subject has; ``None`` for one subject."""
    import pandas as pd

    subjects = _subjects(found)
    if len(subjects) < 2:
        return None
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    averaged = [name for name in NUMBERS if name not in _OF_ONE_SUBJECT]
    for key, group in found.groupby(list(WORDS[1:]), sort=False):
        if len(group) < len(subjects):
            continue
        low, high = statistics.t_interval(group["result"].to_numpy(np.float64))
        if key[WORDS.index("metric") - 1] == IDENTIFICATION:
            low, high = max(low, 0.0), min(high, 1.0)
        counts = group["n"].unique()
        row = {name: float(group[name].mean(skipna=False)) for name in averaged}
        n = int(counts[0]) if len(counts) == 1 else 0
        rows[(_mean_of(subjects), *key)] = {**row, "low": low, "high": high, "n": n}
    if not rows:
        return None
    index = pd.MultiIndex.from_tuples(list(rows), names=list(WORDS))
    return pd.DataFrame(list(rows.values()), index=index, columns=list(NUMBERS))


def _published(found: pd.DataFrame) -> list[str]:
    """Return the published values for each row, in words."""
    subjects = _subjects(found)
    listed = []
    for key, n in zip(found.index, found["n"], strict=True):
        score = {**dict(zip(WORDS, key, strict=True)), "n": n}
        averaged = subjects if score["subject"] == _mean_of(subjects) else [score["subject"]]
        listed.append("; ".join(map(str, published_of(score, averaged))))
    return listed


def _subjects(found: pd.DataFrame) -> list[str]:
    """Return the subjects of a wide table, without their mean."""
    subjects = list(dict.fromkeys(found.index.get_level_values("subject")))
    return subjects[:-1] if len(subjects) > 2 and subjects[-1] == _mean_of(subjects[:-1]) else subjects


def _mean_of(subjects: Sequence[str]) -> str:
    return f"mean of {len(subjects)} subjects"
