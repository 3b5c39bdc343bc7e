"""Encoding: one analysis of encoding models as maps and as values of each ROI, the paper's Figures 6 to 9."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reseen.analyses import NAMES, parse_feature, stage_of
from reseen.errors import ShapeError
from reseen.plot import colours, wording
from reseen.plot.cortex_views import Cortex
from reseen.plot.figure import CHART_WIDTH, axes_of, new_figure, tip
from reseen.plot.flat_maps import TOP, CorticalMaps, Kind, draw_key, draw_map, paint
from reseen.plot.mosaic import Mosaic
from reseen.plot.rows import Row, draw_bound, draw_dot, height_of, limits_of, place_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

TITLES = {
    "features": "Prediction accuracy of each feature",
    "noise": "Contributions of z and zc as more noise is added",
    "denoising": "Contributions of z and zc during denoising",
    "layers": "U-Net layer that predicts each voxel best",
}
KINDS: Mapping[str, Kind] = {"features": "one", "noise": "two", "denoising": "two", "layers": "layers"}
_STATISTIC = {"one": "mean_r", "two": "split_r", "layers": "win_share"}
_AXIS = {
    "one": "r of the mean voxel (tick: median noise ceiling)",
    "two": "part of r, mean voxel",
    "layers": "proportion of voxels that a layer predicts best",
}


def encoding(
    table: pd.DataFrame,
    analysis: str,
    maps: CorticalMaps | None = None,
    *,
    vmin: float = 0.0,
    vmax: float | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw an analysis of encoding models of one subject: its maps and its values in each ROI.

    Parameters
    ----------
    table
        The subject's rows of ``encoding.csv``.
    analysis
        ``"features"`` (the paper's Figure 6), ``"noise"`` (7), ``"denoising"`` (8) or ``"layers"`` (9).
    maps
        Numbers of each voxel on a surface or in a volume; left out: no maps are drawn.
    vmin, vmax
        Ends of the colour scale; left out: 0, and 0.5 for a correlation or 0.3 for parts of one.
    limits
        Ends of the axis of the values; left out: all of them.
    title
        Title; left out: that of the analysis.
    ax
        Axes to draw the values in, without maps and title; left out: a new figure.

    Raises
    ------
    ShapeError
        If the table has no values of the analysis.

    Examples
    --------
    >>> import pandas as pd, reseen
    >>> row = {"analysis": "features", "model": "z", "feature": "z", "roi": "early", "statistic": "mean_r"}
    >>> figure = reseen.plot.encoding(pd.DataFrame([row | {"value": 0.3}]), "features", limits=(0, 0.5))
    >>> [float(end) for end in figure.axes[0].get_xlim()]
    [0.0, 0.5]
    """
    bars = bars_of(table, analysis)
    if bars.empty:
        message = f"the table has no values of an analysis {analysis!r}; analyses are {', '.join(NAMES)}."
        raise ShapeError(message, where="analysis", expected=NAMES, found=analysis)
    if ax is not None:
        return draw_bars(bars, KINDS[analysis], limits, ax)
    cortex = None if maps is None else maps.canvas()
    panels = {} if maps is None or cortex is None else paint_all(cortex, maps, table, analysis, vmin, vmax)
    places = {} if cortex is None else cortex.label_places()
    return draw_page(bars, analysis, panels, places, title or TITLES[analysis], vmin=vmin, vmax=vmax, limits=limits)


def bars_of(table: pd.DataFrame, analysis: str) -> pd.DataFrame:
    """Return the values of an analysis, ROI after ROI.

    Returns
    -------
    Table of the columns ``roi``, ``row`` (label), ``part`` (feature or layer), ``value``, ``low``, ``high``,
    ``ceiling`` (median noise ceiling, or NaN) and ``colour``.
    """
    kind = KINDS[analysis]
    columns = dict.fromkeys([*table.columns, "low", "high"])  # intervals may be missing
    mine = table[table["analysis"] == analysis].reindex(columns=list(columns))
    rows = mine[mine["statistic"] == _STATISTIC[kind]].copy()
    rows["ceiling"] = math.nan
    if kind == "one":
        ceilings = mine[mine["statistic"] == "median_ceiling_r"].set_index(["roi", "model"])["value"]
        rows["row"] = rows["part"] = rows["model"]
        rows["ceiling"] = [ceilings.get(key, math.nan) for key in zip(rows["roi"], rows["model"], strict=True)]
        rows["colour"] = rows["part"].map(colours.of_condition)
    elif kind == "two":
        rows["row"] = rows["model"].map(lambda model: wording.stage(stage_of(model)))
        rows["part"] = rows["feature"].map(lambda feature: parse_feature(feature).source)
        pair = dict(zip(rows["part"].unique(), (colours.FIRST, colours.SECOND), strict=False))
        rows["colour"] = rows["part"].map(pair)
    else:
        rows["row"] = rows["feature"].map(lambda feature: wording.stage(stage_of(feature)))
        rows["part"] = rows["feature"].map(wording.layer)
        names = list(rows["part"].unique())
        rows["colour"] = rows["part"].map(dict(zip(names, colours.layer_palette(names), strict=True)))
    kept = rows.sort_values("roi", key=lambda column: column.factorize()[0], kind="stable", ignore_index=True)
    return kept[["roi", "row", "part", "value", "low", "high", "ceiling", "colour"]]


def legend_of(bars: pd.DataFrame, analysis: str) -> dict[str, str]:
    """Return the colour of each feature or layer; none where the rows are labelled by feature."""
    return {} if KINDS[analysis] == "one" else dict(zip(bars["part"], bars["colour"], strict=True))


def paint_all(
    cortex: Cortex | Mosaic,
    maps: CorticalMaps,
    table: pd.DataFrame,
    analysis: str,
    vmin: float = 0.0,
    vmax: float | None = None,
) -> dict[str, NDArray[np.uint8]]:
    """Return the title of each map of an analysis, and the painted map."""
    kind = KINDS[analysis]
    high = TOP.get(kind, 1.0) if vmax is None else vmax
    mine = table[table["analysis"] == analysis]
    names = list(maps.winners) if kind == "layers" else list(mine["model"].unique())
    title_of: dict[Kind, Callable[[str], str]] = {
        "one": str,
        "two": lambda model: wording.stage(stage_of(model)),
        "layers": wording.stage,
    }
    painted = {}
    for name in names:
        if maps.kind_of(name) == kind:
            painted[title_of[kind](name)] = paint(cortex, maps, name, vmin, high)
    return painted


def draw_bars(
    bars: pd.DataFrame, kind: Kind, limits: tuple[float, float] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw rows of dots with intervals, or of proportions end to end, under the name of their ROI."""
    show: Callable[[float], str] = wording.percent if kind == "layers" else wording.correlation
    parts = [
        Row(part["part"], part["value"], part["low"], part["high"], part["colour"], upper_bound=part["ceiling"])
        for part in bars.to_dict("records")
    ]
    grouped: dict[tuple[str, str], list[Row]] = {}
    for roi, row, part in zip(bars["roi"], bars["row"], parts, strict=True):
        grouped.setdefault((roi, row), []).append(part)
    rows = [Row(row, math.nan, group="all voxels" if roi == "all" else roi) for roi, row in grouped]
    figure, axes = axes_of(ax, CHART_WIDTH, 0.85 * height_of(rows) + 0.3)
    ends = (0.0, 1.0) if kind == "layers" else limits_of(parts, step=0.05)
    for y, ((_, row), mine) in zip(place_rows(axes, rows, limits or ends, show=show), grouped.items(), strict=True):
        if kind == "layers":
            _draw_proportions(axes, y, mine, row)
            continue
        draw_bound(axes, y, mine[0].upper_bound, f"noise ceiling {show(mine[0].upper_bound)}")
        for k, part in enumerate(mine):
            label = f"{row}, {part.label}" if kind == "two" else row
            draw_dot(axes, y + (k - (len(mine) - 1) / 2) * 0.36, replace(part, label=label), show, size=5.5)
    return figure


def _draw_proportions(axes: Axes, y: float, parts: Sequence[Row], row: str) -> None:
    """Draw proportions end to end."""
    left = 0.0
    for part in parts:
        if part.value > 0:
            (bar,) = axes.barh(y, part.value, left=left, height=0.66, color=part.colour, ec="white", lw=0.4)
            tip(bar, f"{row}, {part.label}: {wording.percent(part.value)}")
            left += part.value


def draw_page(
    bars: pd.DataFrame,
    analysis: str,
    panels: Mapping[str, NDArray[np.uint8]],
    places: Mapping[str, tuple[float, float]],
    title: str,
    *,
    note: str = "",
    vmin: float = 0.0,
    vmax: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw maps one below the other, next to the values in each ROI, with a note below."""
    from matplotlib.patches import Patch

    kind, legend = KINDS[analysis], legend_of(bars, analysis)
    n_rows = bars.groupby(["roi", "row"]).ngroups + 1.1 * bars["roi"].nunique()
    height = max(3.4 * len(panels) + 0.9, 0.2 * n_rows + 1.2) + 0.16 * len(note) / 150
    figure = new_figure(10.5 if panels else 5.5, height)
    figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold")
    right = figure
    if panels:
        grid = figure.add_gridspec(len(panels), 2, width_ratios=(1.7, 1))
        maps = [figure.add_subplot(grid[k, 0]) for k in range(len(panels))]
        for axes, (name, painted) in zip(maps, panels.items(), strict=True):
            draw_map(axes, painted, places)
            axes.set_title(name, fontsize=10)
        high = TOP.get(kind, 1.0) if vmax is None else vmax
        draw_key(figure, maps, kind, list(legend) if kind == "two" else legend, vmin, high)
    axes = figure.add_subplot(grid[:, 1]) if panels else right.subplots()
    draw_bars(bars, kind, limits, axes)
    axes.set_xlabel(_AXIS[kind], size=8)
    if legend and not (panels and kind == "layers"):
        patches = [Patch(color=colour, label=name) for name, colour in legend.items()]
        axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=2, frameon=False, fontsize=8)
    if note:
        lines = textwrap.wrap(note.replace("\u00a0", " "), 160 if panels else 90)
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", size=8, color=colours.SOFT)
    return figure
