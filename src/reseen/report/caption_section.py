"""Captions: the section on decoded captions, with their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reseen.metrics.captions import CAPTION_METRICS
from reseen.plot import wording
from reseen.report.contents import ReportInput, SubjectReport
from reseen.report.sample import declared_sample

if TYPE_CHECKING:
    import pandas as pd

LEVELS = {
    "mismatched": "mismatched",
    "chance_random": "random training caption",
    "result": "decoded",
    "oracle": "oracle",
    "ceiling": "one person",
}
"""Levels of captions, and their headings."""


def caption_section(contents: ReportInput) -> list[dict[str, Any]]:
    """Return scores and examples of each subject whose captions were decoded; the declared rule selects the items."""
    if contents.captions is None:
        return []
    sections = []
    for subject in contents.subjects:
        mine = contents.captions[contents.captions["subject"] == subject.subject]
        sections.append(
            {
                "subject": subject.subject,
                "protocols": ", ".join(mine["protocol"].unique()),
                "n": int(mine["n"].max()),
                "scores": _scores(mine),
                "items": _items(subject, contents),
            }
        )
    return sections


def _scores(table: pd.DataFrame) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return a row for each score: its name, and value and interval at each level."""
    known = {(row["metric"], row["level"]): row for row in table.to_dict("records")}
    metrics = [metric for metric in CAPTION_METRICS if (metric, "result") in known]
    rows = []
    for metric in metrics:
        cells = [_cell(known.get((metric, level))) for level in LEVELS]
        rows.append((wording.words(metric), cells))
    return rows


def _cell(row: Any) -> tuple[str, str]:
    if row is None:
        return "–", ""
    return f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}"


def _items(subject: SubjectReport, contents: ReportInput) -> list[tuple[str, str, str, str]]:
    """Return label, presented, decoded and oracle caption of the items whose images are shown too."""
    recipe = contents.recipe
    sample = declared_sample(subject.score, n_random=recipe.report.n_random, seed=recipe.seed)
    rows = []
    for item, label in sample.labelled.items() if subject.captions else ():
        found = subject.captions[item]
        name = f"{label}, stimulus {subject.stimulus_id[item]}"
        rows.append((name, found.presented, found.decoded, found.oracle))
    return rows
