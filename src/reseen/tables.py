"""Tables: columns and words of ``scores.csv``, ``diagnostics.csv`` and other tables that stages write and read.

Each table is tidy: a row has one number, the words that identify it, its interval (``low``, ``high``) and its number of
test items (``n``).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from reseen.errors import ResultsError
from reseen.files import read_text, reading
from reseen.files.reading import shown

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = (
    *("subject", "condition", "protocol", "metric", "network", "layer", "direction", "subset", "level"),
    *("value", "low", "high", "n"),
)
"""Columns of ``scores.csv``; those up to ``level`` identify a number."""
BUILTIN = "builtin"
"""reseen's own protocol; see `reseen.protocols`."""
IDENTIFICATION = "identification"
"""Metric: proportion of pairs in which the right image is identified."""
PIXELS = "pixels"
"""Name in place of an evaluation network for identification by pixel correlation; it has no layers."""
BUILTIN_NETWORKS = ("classifier", "image_encoder")
"""Evaluation networks that come with reseen."""
FEATURES = "features"
"""Name in place of an evaluation network for scores of decoded features."""

IMAGE_COLUMNS = (
    *(column for column in SCORE_COLUMNS if column not in ("subset", "value", "low", "high", "n")),
    *("stimulus_id", "value"),
)
"""Columns of ``images.csv``: the score of each test image by itself, in the pool of all."""

DIAGNOSTIC_COLUMNS = (
    *("subject", "feature", "network", "diagnostic", "setting"),
    *("value", "low", "high", "chance", "chance_sd", "p", "n"),
)
"""Columns of ``diagnostics.csv``."""

THIRDS = ("least like training", "between", "most like training")
"""Settings of the novelty curve in ``diagnostics.csv``."""

ENCODING_COLUMNS = (
    *("subject", "analysis", "model", "feature", "roi", "n_voxels"),
    *("statistic", "value", "low", "high", "n"),
)
"""Columns of ``encoding.csv``."""

RETRIEVAL_COLUMNS = (
    *("subject", "condition", "protocol", "network", "layer", "metric", "query", "gallery"),
    *("value", "low", "high", "chance", "permuted", "n"),
)
"""Columns of ``retrieval.csv``; see `reseen.Results.retrieval`."""

IMAGERY_COLUMNS = (
    *("subject", "condition", "network", "layer", "scorer", "targets", "task"),
    *("value", "low", "high", "low_subjects", "high_subjects"),
    *("chance", "chance_sd", "p", "p_within_sets", "n_subjects", "n"),
)
"""Columns of a table of NSD-Imagery, protocol nsdimagery2025; see `reseen.Results.imagery`."""

ALIGNMENT_COLUMNS = (
    *("source", "target", "protocol", "through", "feature", "level", "n_sessions", "n_trials", "metric"),
    *("value", "low", "high", "chance", "n"),
)
"""Columns of a table of an alignment of two subjects; see `reseen.Results.align`."""

CAPTION_COLUMNS = ("subject", "feature", "protocol", "metric", "level", "value", "low", "high", "n")
"""Columns of ``captions.csv``: scores of decoded captions, if a condition has t."""

TRIAL_COLUMNS = ("stimulus_id", "image", "session", "run")
"""First columns of ``<subject>/trials.csv``; the further columns of a lab's trial table follow, as they are."""

_MAY_LACK = ["value", "low", "high", "chance", "chance_sd", "permuted", "p"]  # numbers that not every row has
_NUMBERS = (*_MAY_LACK, "n", "n_voxels", "stimulus_id")
_COUNTS = ("n", "n_voxels", "stimulus_id")  # integers from 0
TABLES = {
    "scores": SCORE_COLUMNS,
    "images": IMAGE_COLUMNS,
    "diagnostics": DIAGNOSTIC_COLUMNS,
    "retrieval": RETRIEVAL_COLUMNS,
    "encoding": ENCODING_COLUMNS,
    "captions": CAPTION_COLUMNS,
    "trials": TRIAL_COLUMNS,
}
"""Name of each table of a results folder -> its columns."""
_FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "'",
)  # these start a formula in spreadsheets; and the apostrophe
FIX = "Delete it and run the recipe again."
MOST_BYTES = 2 * 2**30
"""Largest size of a table."""
WORDS = tuple(
    column
    for column in dict.fromkeys(
        (*SCORE_COLUMNS, *IMAGE_COLUMNS, *DIAGNOSTIC_COLUMNS, *RETRIEVAL_COLUMNS, *ENCODING_COLUMNS, *TRIAL_COLUMNS)
    )
    if column not in _NUMBERS
)
"""Columns of all tables that have words, even where they can be read as numbers."""

Level = Literal["chance_mean", "chance_noise", "chance_random", "permuted", "result", "oracle"]
"""Level at which images are generated."""
IMAGE_LEVELS: tuple[Level, ...] = get_args(Level)
WITHOUT_RESPONSES: tuple[Level, ...] = ("chance_mean", "chance_noise", "chance_random")
"""Levels whose images do not depend on responses; a full run generates them."""

NULL_SD, P_VALUE, GAP_CLOSED = "_null_sd", "_p", "_gap_closed"
"""Endings of metrics about a score: its standard deviation at chance, its p, and the gap closed."""

_RETRIEVED = "nearest_"
_DISTANCES = ("distance",)


def first_protocol(protocols: Iterable[str]) -> str:
    """Return the protocol that is shown first: reseen's own, or else the first one; empty for none."""
    known = list(protocols)
    return BUILTIN if BUILTIN in known else next(iter(known), "")


def lower_is_better(metric: str) -> bool:
    """Return whether lower values of a metric are better: a distance from the original."""
    return metric in _DISTANCES


def retrieved_by(feature: str) -> str:
    """Return the condition whose images are the training images nearest to a decoded feature: ``nearest_z``."""
    return _RETRIEVED + feature


def retrieving_feature(condition: str) -> str:
    """Return the feature by which the images of a condition are retrieved: ``z`` for ``nearest_z``."""
    return condition.removeprefix(_RETRIEVED)


def is_retrieved(condition: str) -> bool:
    """Return whether the images of a condition were retrieved, not generated."""
    return condition.startswith(_RETRIEVED)


def percent(value: float) -> str:
    """Return a proportion in per cent, for a sentence."""
    return f"{100 * value:.1f} %" if value == value else "unknown"


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, with an apostrophe before texts that a spreadsheet would read as a formula.

    Numbers are unchanged. `read_table` removes the apostrophe.
    """
    words = {column: table[column].map(_guarded) for column in table.columns if not is_numeric(table[column])}
    text: str = table.assign(**words).to_csv(index=False)
    return text


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a results folder; words are text, also a layer named ``"2"``, and may be empty.

    Raises
    ------
    ResultsError
        If it is missing or damaged: it is no table, lacks a column, has a column twice, has text instead of a number,
        has no rows, or has a row that is not complete.
    """
    import pandas as pd

    text = read_text(path, ResultsError, at_most=MOST_BYTES)
    nothing = {column: [""] for column in _NUMBERS}
    with reading(path, ResultsError, FIX):
        table = pd.read_csv(
            io.StringIO(text), dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=nothing
        )
    _check_table(path, table, text)
    words = {column: table[column].map(_unguarded) for column in table.columns if column in WORDS}
    return table.assign(**words)


def _check_table(path: Path, table: pd.DataFrame, text: str) -> None:
    missing = [name for name in TABLES.get(path.stem, ()) if name not in table.columns]
    problem = None
    if missing:
        problem = f"it has no column {missing[0]!r}"
    elif not len(table):
        problem = "it has no rows"
    elif not text.endswith("\n") or _lacks_cells(path, table):
        problem = "a row of it is not complete"
    elif words := [name for name in table.columns if name in _NUMBERS and not is_numeric(table[name])]:
        problem = f"{words[0]} has text instead of numbers"
    elif wrong := [name for name in table.columns if name in _COUNTS and not _are_counts(table[name])]:
        problem = f"{wrong[0]} has values that are not integers from 0"
    if problem:
        raise ResultsError(f"{shown(path)} is no table that reseen wrote: {problem}. {FIX}", where=path)


def _lacks_cells(path: Path, table: pd.DataFrame) -> bool:
    """Return whether a cell is missing that every row has."""
    known = [name for name in TABLES.get(path.stem, table.columns) if name not in _MAY_LACK]
    return bool(table[known].isna().any(axis=None))


def is_numeric(column: pd.Series[Any]) -> bool:
    """Return whether a column has only numbers."""
    return column.dtype.kind in "iufb"


def _are_counts(column: pd.Series[Any]) -> bool:
    return bool((column >= 0).all() and (column % 1 == 0).all())


def _guarded(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell
