"""Alignment: one page about a subject that is decoded with the decoder of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reseen import plot
from reseen.plot import colours
from reseen.plot.figure import page_svg
from reseen.report.new_trials import NewTrialsReport, shown_items
from reseen.report.page import load_template, table_rows
from reseen.tables import ALIGNMENT_COLUMNS, IDENTIFICATION

if TYPE_CHECKING:
    import pandas as pd

MOST_ITEMS = 12
"""Largest number of items whose images are on the page."""
LEVELS = {
    "aligned": "the decoder of the source, through a map that was fitted on the target's trials of shared stimuli",
    "combined": "the same, with the mean of decoded and true features as labels",
    "own_shared": "own, equal trials: fitted on the target's trials of the alignment, with true features",
    "own_equal": "own, equal minutes: fitted on all trials of these sessions, except those of test stimuli",
    "own_full": "own, full: fitted on all sessions of the target, except trials of test stimuli",
    "permuted": "an alignment on one permutation of the stimuli: varies around chance, by more than its interval",
    "identity": "the decoder of the source on the target's voxels, without a map",
}
"""What each level is."""


@dataclass(frozen=True)
class AlignmentReport:
    """Contents of the page.

    Parameters
    ----------
    recipe_name, source, target, protocol, through
        Name of the run's recipe, of both subjects, of the protocol and of the route.
    n_align
        Number of alignment stimuli.
    table
        Table with the columns `reseen.tables.ALIGNMENT_COLUMNS`.
    sentences
        Which level is better, the answer for all features first.
    notes
        Facts that limit the interpretation.
    items
        Test items with their images; None without images.
    """

    recipe_name: str
    source: str
    target: str
    protocol: str
    through: str
    n_align: int
    table: pd.DataFrame
    sentences: Sequence[str]
    notes: Sequence[str]
    items: NewTrialsReport | None


def alignment_report(contents: AlignmentReport) -> str:
    """Return the page as text; write it as UTF-8. The same contents give the same text."""
    table = contents.table
    known = set(table["level"])
    items = [] if contents.items is None else shown_items(contents.items, MOST_ITEMS)
    charts = []
    for feature in dict.fromkeys(table["feature"]):
        label = f"identification of {feature} over sessions of {contents.target}"
        charts.append((feature, page_svg(plot.alignment(table, feature), label)))
    return load_template("alignment.html.j2").render(
        colours=colours.PAGE,
        recipe_name=contents.recipe_name,
        source=contents.source,
        target=contents.target,
        protocol=contents.protocol,
        through=contents.through,
        n_align=contents.n_align,
        n_test=int(table["n"].iloc[0]),
        n_sessions=int(table["n_sessions"].max()),
        sentences=contents.sentences,
        notes=contents.notes,
        charts=charts,
        levels=[(level, text) for level, text in LEVELS.items() if level in known],
        differences=_differences(table),
        items=items,
        n_items=0 if contents.items is None else len(contents.items.labels),
        columns=ALIGNMENT_COLUMNS,
        rows=table_rows(table, ALIGNMENT_COLUMNS),
    )


def _differences(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of differences of identification, as text."""
    rows = table[(table["metric"] == IDENTIFICATION) & ~table["level"].isin(list(LEVELS))]
    found: list[dict[str, object]] = []
    for row in rows.to_dict("records"):
        value, low, high = (f"{row[name]:+.3f}".replace("-", "−") for name in ("value", "low", "high"))
        level = str(row["level"]).replace(" - ", " − ")
        words = {"feature": row["feature"], "n_sessions": row["n_sessions"], "level": level}
        found.append({**words, "value": value, "interval": f"{low} to {high}"})
    return found
