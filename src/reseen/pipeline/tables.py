"""Tables: one of each subject, and all subjects' tables joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from reseen.pipeline.context import Run, SubjectRun
from reseen.tables import (
    CAPTION_COLUMNS,
    DIAGNOSTIC_COLUMNS,
    ENCODING_COLUMNS,
    IMAGE_COLUMNS,
    RETRIEVAL_COLUMNS,
    SCORE_COLUMNS,
)

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Mapping[str, Sequence[str]] = {
    "encoding": ENCODING_COLUMNS,
    "scores": SCORE_COLUMNS,
    "images": IMAGE_COLUMNS,
    "diagnostics": DIAGNOSTIC_COLUMNS,
    "retrieval": RETRIEVAL_COLUMNS,
    "captions": CAPTION_COLUMNS,
}
"""Columns of each table; a table of an older version with other columns is computed again."""


def make_table(subject: SubjectRun, name: str, make: Callable[[SubjectRun], pd.DataFrame]) -> bool:
    """Compute and write one of a subject's tables if it is missing; return whether it was.

    The joined table and the report, which are then outdated, are deleted.
    """
    results = subject.results
    if results.has_table(f"{subject.name}/{name}", COLUMNS[name]):
        return False
    for stale in (f"{name}.csv", "report.html"):
        (results.path / stale).unlink(missing_ok=True)
    results.save_table(f"{subject.name}/{name}", make(subject))
    return True


def join_tables(run: Run, names: Sequence[str]) -> None:
    """Join the tables of all subjects, each if it is missing; captions and encoding models may have none."""
    import pandas as pd

    for name in names:
        has_table = {"captions": run.recipe.decodes_captions, "encoding": run.recipe.encode.has_models}
        if not has_table.get(name, True):
            continue
        if not run.results.has_table(name, COLUMNS[name]):
            (run.results.path / "report.html").unlink(missing_ok=True)
            parts = [run.results.load_table(f"{subject}/{name}") for subject in run.recipe.data.subjects]
            run.results.save_table(name, pd.concat(parts, ignore_index=True))
