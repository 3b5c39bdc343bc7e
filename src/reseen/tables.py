"""Tables: the words of ``scores.csv``, ``reading.csv`` and other tables that one verb writes and another reads.

Each table is tidy: a row holds one number, and says what it is of, between which ends it lies (``low``, ``high``) and
from how many test items (``n``) it comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from reseen.errors import ResultsError
from reseen.files import damaged

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = (
    "subject",
    "condition",
    "protocol",
    "metric",
    "observer",
    "layer",
    "direction",
    "subset",
    "level",
    "value",
    "low",
    "high",
    "n",
)
"""The columns of ``scores.csv``; a score is told from others by those up to ``level``."""
BUILTIN = "builtin"
"""The protocol of reseen's own; see `reseen.protocols`."""
FEATURES = "features"
"""The observer of decoded features, which looks at no picture."""

PICTURE_COLUMNS = (
    *(column for column in SCORE_COLUMNS if column not in ("subset", "value", "low", "high", "n")),
    *("stimulus_id", "value"),
)
"""The columns of ``pictures.csv``: what each test picture scores by itself, in the pool of all."""

READING_COLUMNS = (
    *("subject", "feature", "diagnostic", "setting"),
    *("value", "low", "high", "null", "null_sd", "p", "n"),
)
"""The columns of ``reading.csv``."""

THIRDS = ("least like training", "between", "most like training")
"""The settings of the novelty curve in ``reading.csv``."""

ENCODING_COLUMNS = (
    *("subject", "analysis", "model", "feature", "roi", "n_voxels"),
    *("statistic", "value", "low", "high", "n"),
)
"""The columns of ``encoding.csv``."""

_MAY_LACK = ["value", "low", "high", "null", "null_sd", "p"]  # numbers that not every row has
_NUMBERS = (*_MAY_LACK, "n", "n_voxels", "stimulus_id")
WORDS = tuple(
    column
    for column in dict.fromkeys((*SCORE_COLUMNS, *PICTURE_COLUMNS, *READING_COLUMNS, *ENCODING_COLUMNS))
    if column not in _NUMBERS
)
"""The columns of any table that hold words, whatever these look like."""

Level = Literal["floor_mean", "floor_noise", "floor_random", "floor_shuffled", "result", "ceiling"]
"""A level that pictures are made at."""
PICTURE_LEVELS: tuple[Level, ...] = get_args(Level)
NO_BRAIN: tuple[Level, ...] = ("floor_mean", "floor_noise", "floor_random")
"""Those whose pictures no brain had a part in; a full run makes them."""
LEVELS = ("floor_repaired", *PICTURE_LEVELS)
"""What stands beside each other for one score: its floors, itself and its ceiling."""

NULL_SD, P_VALUE, GAP_CLOSED = "_null_sd", "_p", "_gap_closed"
"""Endings of metrics that say something about a score: how it spreads at chance, how sure it is, how far it got."""

_RETRIEVED = "nearest_"
_DISTANCES = ("distance",)


def says_of_score(metric: str) -> bool:
    """Tell whether a metric says something about a score and is no score itself."""
    return metric.endswith((NULL_SD, P_VALUE, GAP_CLOSED))


def first_protocol(protocols: Iterable[str]) -> str:
    """Choose the protocol that is shown first: reseen's own, or else the first there is; empty for none."""
    known = list(protocols)
    return BUILTIN if BUILTIN in known else next(iter(known), "")


def main_condition(conditions: Iterable[str]) -> str:
    """Choose the condition that the headline is about: zc, or else c, or else the first there is; empty for none."""
    known = list(conditions)
    return next((condition for condition in ("zc", "c", *known) if condition in known), "")


def lower_is_better(metric: str) -> bool:
    """Tell whether less of a metric is better: a distance from the truth."""
    return metric in _DISTANCES


def retrieved_by(feature: str) -> str:
    """Name the condition whose pictures are the training pictures nearest to a decoded feature: ``nearest_z``."""
    return _RETRIEVED + feature


def is_retrieved(condition: str) -> bool:
    """Tell whether the pictures of a condition were retrieved, not made."""
    return condition.startswith(_RETRIEVED)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a results folder; words stay words, a layer named ``"2"`` too, and may be empty.

    Raises
    ------
    ResultsError
        If it is not there or damaged: no table, or cut short within a row.
    """
    import pandas as pd

    if not path.is_file():
        raise ResultsError(f"{path} is not there. Run the recipe up to the stage that writes it.")
    nothing = {column: [""] for column in _NUMBERS}
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=nothing)
    except ValueError as error:  # of pandas, or of what is no UTF-8
        raise damaged(path, error) from error
    if table.drop(columns=_MAY_LACK, errors="ignore").isna().any(axis=None):
        raise damaged(path, ValueError("a row of it is not whole"))
    return table
