"""Encoding: maps, values and a summary sentence of each of the four analyses, from table and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.analyses import NAMES, spaces_of
from reseen.plot import CorticalMaps, colours
from reseen.plot.analysis_figures import KINDS, TITLES, bars_of, draw_bars, draw_page, legend_of, paint_all
from reseen.plot.figure import page_svg
from reseen.plot.flat_maps import TOP, Kind
from reseen.plot.wording import correlation, percent
from reseen.report import embed
from reseen.report.marks import number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from reseen.recipe import EncodeRecipe
    from reseen.report.contents import ReportInput

TIDY = ("analysis", "model", "feature", "roi", "statistic", "value", "n")
"""Columns that the table of encoding models needs."""


@dataclass(frozen=True)
class AnalysisReport:
    """Contents of one analysis of a subject.

    Parameters
    ----------
    name
        One of `reseen.analyses.NAMES`.
    bars
        Its values in each ROI; see `reseen.plot.analysis_figures.bars_of`.
    panels
        Title of each map -> the painted map; empty if there are no maps.
    places
        Region -> position of its name on every map, in pixels.
    about
        Description: quantity, n, threshold and null.
    reading
        Summary of the values.
    caption
        Description of what the maps are drawn on; empty without maps.
    """

    name: str
    bars: pd.DataFrame
    panels: Mapping[str, NDArray[np.uint8]]
    places: Mapping[str, tuple[float, float]]
    about: str
    reading: str
    caption: str = ""

    @property
    def kind(self) -> Kind:
        """Type of the colour scale."""
        return KINDS[self.name]

    @property
    def title(self) -> str:
        """Heading."""
        return TITLES[self.name]

    def draw(self, subject: str) -> Figure:
        """Draw the figure for print of a subject, one of the paper's Figures 6 to 9."""
        note = " ".join(filter(None, (self.reading, self.about, f"Maps: {self.caption}." if self.panels else "")))
        return draw_page(self.bars, self.name, self.panels, self.places, f"{subject}: {self.title}", note=note)


def analysis_reports(
    table: pd.DataFrame, maps: CorticalMaps | None, recipe: EncodeRecipe
) -> tuple[AnalysisReport, ...]:
    """Return the analyses that one subject has numbers of, in the order of `reseen.analyses.NAMES`.

    Parameters
    ----------
    table
        The subject's rows of the tidy table of encoding models; one that is not tidy has no analysis.
    maps
        Numbers to paint; None if there is no cortex.
    recipe
        Threshold and null.
    """
    if not set(TIDY) <= set(table.columns):
        return ()
    cortex = maps.canvas() if maps else None
    caption = "; ".join(filter(None, (cortex.caption, maps.note))) if cortex and maps else ""
    found = []
    for name in NAMES:
        rows = table[table["analysis"] == name].to_dict("records")
        if not rows:
            continue
        bars = bars_of(table, name)
        panels = paint_all(cortex, maps, table, name) if cortex and maps else {}
        places = cortex.label_places() if cortex else {}
        about = _about(KINDS[name], rows, recipe, mapped=bool(panels))
        found.append(AnalysisReport(name, bars, panels, places, about, _summary(KINDS[name], bars), caption))
    return tuple(found)


# ---------------------------------------------------------------------------------------------------- in words


def _about(kind: Kind, rows: Sequence[Mapping[Any, Any]], recipe: EncodeRecipe, *, mapped: bool) -> str:
    """Return the description of an analysis: quantity, n, threshold and null."""
    n = int(number(next((row["n"] for row in rows), 0)))
    shown = {
        "one": "Correlation r of predicted with measured responses (Pearson; with folds: of deviations from each "
        "fold's training mean, without a further mean); bars: mean r over an ROI's voxels with its 95 % interval over "
        "images, the tick is the median noise ceiling",
        "two": "Part of each of two feature spaces in the r of their joint model (the parts add up to r); bars: mean "
        "voxel of an ROI with its 95 % interval over images",
        "layers": "The layer whose r is highest; bars: proportion of an ROI's significant voxels for which "
        "each layer has the highest r",
    }[kind]
    null = {
        "parametric": "r of independent Gaussian vectors",
        "permutation": "r after images are permuted",
    }[recipe.null]
    threshold = (
        f"q\u00a0≤\u00a0{correlation(recipe.fdr)} (false discovery rate over all voxels, one-sided, null: {null})"
    )
    about = f"{shown}; n\u00a0=\u00a0{n} held-out images."
    if not mapped and kind != "layers":
        return about
    about += f" {'Coloured' if mapped else 'Significant'}: {threshold}"
    significant = []
    for row in rows:
        is_drawn = kind == "one" or len(spaces_of(str(row["model"]))) > 1
        if row["statistic"] == "share_significant" and row["roi"] == "all" and is_drawn:
            significant.append(f"{row['model']} {percent(number(row['value']))}")
    if significant and kind != "layers":
        about += f"; of all voxels {', '.join(significant)}"
    return f"{about}."


def _summary(kind: Kind, bars: pd.DataFrame) -> str:
    """Return a sentence about the values of an analysis."""
    known = bars[bars["value"].notna()]
    if known.empty:
        return "There are no values to show."
    if kind == "two":
        part = known["part"].iloc[-1]
        first_roi = known["roi"].iloc[0]
        stages = known[(known["roi"] == first_roi) & (known["part"] == part)]
        start, end = stages.iloc[0], stages.iloc[-1]
        return (
            f"Over {'all voxels' if first_roi == 'all' else first_roi}, the part of {part} goes from "
            f"{correlation(start['value'])} ({start['row']}) to {correlation(end['value'])} ({end['row']})."
        )
    apart = known[known["roi"] != "all"]
    best_of_each = []
    for roi, mine in (known if apart.empty else apart).groupby("roi", sort=False):
        best = mine.iloc[int(mine["value"].argmax())]
        amount = correlation(best["value"]) if kind == "one" else f"{percent(best['value'])}, {best['row']}"
        best_of_each.append(f"{roi} {best['part']} ({amount})")
    return f"{'Highest' if kind == 'one' else 'Most often the best'}: {', '.join(best_of_each)}."


# -------------------------------------------------------------------------------------------------- on the page


def encoding_section(contents: ReportInput) -> list[dict[str, Any]]:
    """Return the section of each subject's encoding models."""
    sections = []
    for subject in contents.subjects:
        if subject.encoding:
            analyses = [_shown(subject.subject, analysis) for analysis in subject.encoding]
            sections.append({"subject": subject.subject, "no_maps": subject.no_maps, "analyses": analyses})
    return sections


def _shown(subject: str, analysis: AnalysisReport) -> dict[str, Any]:
    legend = legend_of(analysis.bars, analysis.name)
    maps = [
        {
            "title": title,
            "uri": embed.map_uri(painted),
            "alt": f"{subject}, {analysis.title}: {title}; {analysis.caption}",
            "width": painted.shape[1],
            "height": painted.shape[0],
        }
        for title, painted in analysis.panels.items()
    ]
    return {
        "title": analysis.title,
        "about": analysis.about,
        "reading": analysis.reading,
        "maps": maps,
        "caption": analysis.caption,
        "places": [(name, round(x, 1), round(y, 1)) for name, (x, y) in analysis.places.items()],
        "key": _key(analysis.kind, list(legend)) if maps else None,
        "legend": [(name, colours.css(colour)) for name, colour in legend.items()],
        "chart": page_svg(draw_bars(analysis.bars, analysis.kind), f"{analysis.title}, {subject}. {analysis.reading}"),
    }


def _key(kind: Kind, names: Sequence[str]) -> Mapping[str, Any] | None:
    """Return the image of the colour scale and the labels of its ends."""
    if kind == "layers":
        return None
    top = TOP[kind]
    first, second = np.meshgrid(*[np.linspace(0, top, 48)] * 2)
    key = colours.two(first, second, 0, top)[::-1] if kind == "two" else colours.one(first[:1], 0, top)
    names = names if kind == "two" else ["correlation r"]
    return {"uri": embed.map_uri(embed.as_uint8(key)), "kind": kind, "top": f"{top:g}", "names": names}
