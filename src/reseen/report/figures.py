"""Figures: one analysis of one subject as a page for print, maps beside bars, drawn by matplotlib."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from reseen.report import bars, colours
from reseen.report.encoding import AnalysisReport
from reseen.report.marks import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES_WIDE, PANEL_INCHES, LEAST_INCHES = 10.5, 3.9, 4.6


def draw(analysis: AnalysisReport, subject: str) -> Figure:
    """Draw an analysis: its maps one below the other, the key of their colours, and bars for each ROI.

    Parameters
    ----------
    analysis
        What to draw.
    subject
        Named in the heading.
    """
    from matplotlib.figure import Figure

    n_rows = max(len(analysis.panels), 1)
    body = max(n_rows * PANEL_INCHES, LEAST_INCHES)
    height = body + 2.2
    figure = Figure(figsize=(INCHES_WIDE, height))
    figure.text(0.02, 1 - 0.18 / height, f"{subject}: {analysis.title}", va="top", fontsize=13, weight="bold")
    top, bottom = 1 - 0.62 / height, 1.58 / height
    grid = figure.add_gridspec(n_rows, 2, width_ratios=(1.6, 1) if analysis.panels else (0.01, 1))
    grid.update(left=0.02, right=0.985, top=top, bottom=bottom, wspace=0.24, hspace=0.1)
    for row, panel in enumerate(analysis.panels):
        axes = figure.add_subplot(grid[row, 0])
        axes.imshow(panel.picture, interpolation="none")
        axes.set_title(panel.title, fontsize=11)
        axes.axis("off")
        for name, (x, y) in analysis.places.items():
            _name(axes, name, x, y)
    _bars(figure.add_subplot(grid[:, 1]), analysis)
    if analysis.panels:
        _key(figure, analysis, height)
    figure.text(
        0.02, 0.14 / height, _wrap(f"{analysis.reading} {analysis.about}"), fontsize=8, va="bottom", color="0.3"
    )
    return figure


def _name(axes: Axes, name: str, x: float, y: float) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="white")]
    axes.text(x, y, name, fontsize=6.5, ha="center", va="center", color="black", path_effects=halo)


def _bars(axes: Axes, analysis: AnalysisReport) -> None:
    """Draw the rows from the top, a gap before each ROI."""
    y, places, labels = 0.0, [], []
    for roi in unique(bar.roi for bar in analysis.bars):
        y += 0.9
        axes.text(0, y - 0.05, "all voxels" if roi == "all" else roi, fontsize=8, weight="bold", va="bottom")
        for bar in (bar for bar in analysis.bars if bar.roi == roi):
            y += 0.62
            places.append(y)
            labels.append(bar.label)
            left = 0.0
            if math.isfinite(bar.ceiling):
                axes.plot([bar.ceiling] * 2, [y - 0.28, y + 0.28], color="black", lw=1.8)
            for k, part in enumerate(bar.parts):
                if analysis.kind == "layers":
                    axes.barh(y, np.nan_to_num(part.value), left=left, height=0.44, color=part.colour)
                    left += float(np.nan_to_num(part.value))
                else:
                    height = y + (k - (len(bar.parts) - 1) / 2) * 0.2
                    axes.plot([part.low, part.high], [height] * 2, color=part.colour, lw=1.8)
                    axes.plot(part.value, height, "o", color=part.colour, ms=4)
    low, high = bars.limits(analysis)
    axes.set(xlim=(low, high), ylim=(y + 0.6, 0), xlabel=_bar_label(analysis))
    axes.set_yticks(places, labels, fontsize=7)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="0.88", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _bar_label(analysis: AnalysisReport) -> str:
    return {
        "one": "r of the mean voxel (tick: median noise ceiling)",
        "two": "part of r, mean voxel",
        "layers": "share of voxels won",
    }[analysis.kind]


def _key(figure: Figure, analysis: AnalysisReport, height: float) -> None:
    """Put the key of the maps' colours below them, and beside it what the colours of the bars are."""
    from matplotlib.patches import Patch

    if analysis.legend:
        patches = [Patch(color=colour, label=name) for name, colour in analysis.legend]
        # of layers the key is as wide as the figure, and stands below the axis of the bars
        place = (0.01, 0.8 / height) if analysis.kind == "layers" else (0.36, 1.05 / height)
        figure.legend(handles=patches, loc="lower left", bbox_to_anchor=place, ncols=5, frameon=False, fontsize=8)
    if analysis.kind == "layers":
        return
    two = analysis.kind == "two"
    size = (0.55 if two else 0.11) / height
    axes = figure.add_axes((0.2, 1.25 / height - size / 2, 0.55 / INCHES_WIDE if two else 0.22, size))
    axes.imshow(colours.key(analysis.kind), origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    ends = ["0", f"{colours.SPLIT_TOP if two else colours.R_TOP:g}"]
    axes.set_xticks([0, 1], ends)
    axes.set_yticks([0, 1] if two else [], ends if two else [])
    axes.tick_params(labelsize=7, length=2, pad=1.5)
    axes.set_xlabel(analysis.legend[0][0] if two else "correlation r", fontsize=7.5, labelpad=-6)
    axes.set_ylabel(analysis.legend[-1][0] if two else "", fontsize=7.5, labelpad=-8)


def _wrap(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text.replace("\u00a0", " "), 172))
