"""Scores: identification accuracy and pixel scores between chance levels and upper bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from reseen.errors import ShapeError
from reseen.headline import Headline
from reseen.plot import colours
from reseen.plot.figure import axes_of, new_figure
from reseen.plot.rows import CHANCE_MARKERS, Row, draw_rows, limits_of
from reseen.plot.wording import words
from reseen.tables import FEATURES, IDENTIFICATION
from reseen.wide import CHANCE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHANCE = dict(zip(CHANCE.values(), CHANCE_MARKERS, strict=True))
"""Column of a wide table of scores -> name of the chance level."""
_AXES = {
    IDENTIFICATION: "identification accuracy",
    "pixcorr": "pixel correlation r",
    "ssim": "SSIM",
    "distance": "distance (lower is better)",
}


class _HasScores(Protocol):
    """Scores, as `scores` uses them."""

    def wide(self) -> pd.DataFrame:
        """Return one row for each score."""

    def headline(self, condition: str | None = None) -> Any:
        """Return the score that summarises the table."""


def scores(
    scores: _HasScores,
    *,
    every_network: bool = False,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the headline, the same network's other layers and the pixel scores between chance level and upper bound.

    One panel for each score, one row for each condition and subject. A dot is the result with its 95 % interval, a
    vertical bar is the upper bound, the dashed line is an identification accuracy of one half. The other markers are
    chance levels. With ``every_network`` the figure is the paper's Figure 5.

    Parameters
    ----------
    scores
        `reseen.Scores`.
    every_network
        Whether the other evaluation networks of the headline's protocol have panels too, and pixel scores have none.
    limits
        Ends of the axis of identification accuracies; left out: from 0.4 or the lowest number to 1.
    ax
        Axes that the headline alone is drawn in; left out: a new figure of all panels.

    Raises
    ------
    ShapeError
        If there is no score of images.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> originals = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    >>> figure = reseen.plot.scores(reseen.score(originals, originals, networks="classifier"), limits=(0, 1))
    >>> figure.axes[0].get_title().splitlines()[0]
    'Two-way identification'
    """
    wide = scores.wide().reset_index()
    wide = wide[(wide["subset"] == "all") & wide["result"].notna()]
    head = scores.headline()
    panels = _panels(wide, None if head is None else head.rule, every_network=every_network)
    if not panels:
        raise ShapeError("there is no score of images to draw.", where="scores")
    panels = panels if ax is None else panels[:1]
    labels = list(dict.fromkeys(label for _, rows in panels for label in _labels(rows)))
    drawn = {title: _rows(rows, labels) for title, rows in panels}
    metrics = {title: str(rows["metric"].iloc[0]) for title, rows in panels}
    if limits is None:
        identified = [row for title, rows in drawn.items() if metrics[title] == IDENTIFICATION for row in rows]
        limits = limits_of(identified, low=0.4, high=1.02)
    n_columns = min(len(panels), 3)
    n_rows = math.ceil(len(panels) / n_columns)
    size = (0.075 * max(map(len, labels)) + 3.1 * n_columns, n_rows * (0.9 + 0.32 * len(labels)) + 0.75)
    if ax is None:
        figure = new_figure(*size)
        grid = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    else:
        figure, _ = axes_of(ax, *size)
        grid = [ax]
    for place, axes in enumerate(grid):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        title, metric = panels[place][0], metrics[panels[place][0]]
        ends = limits if metric == IDENTIFICATION else limits_of(drawn[title])
        draw_rows(axes, drawn[title], ends, show=_print, named=place % n_columns == 0)
        if metric == IDENTIFICATION:
            axes.axvline(0.5, color=colours.SOFT, lw=1, ls="--", zorder=0)
        axes.set_xlabel(_AXES[metric], size=8)
        axes.set_title(title, size=9)
    _legend(figure if ax is None else ax, wide)
    return figure


def _print(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _panels(wide: pd.DataFrame, rule: Headline | None, *, every_network: bool) -> list[tuple[str, pd.DataFrame]]:
    """Return the title and the rows of each panel: the headline's layers, the last one first, and pixel scores."""
    found = []
    if rule is not None:
        same = wide[(wide["metric"] == IDENTIFICATION) & (wide["protocol"] == rule.protocol)]
        same = same[(same["direction"] == rule.direction) & (same["network"] != FEATURES)]
        networks = list(dict.fromkeys([rule.network, *same["network"]])) if every_network else [rule.network]
        for network in networks:
            mine = same[same["network"] == network]
            layers = list(dict.fromkeys(mine["layer"]))
            if network == rule.network and not every_network:
                layers.sort(key=lambda layer: layer != rule.layer)
            for layer in layers:
                where = f", layer {layer}" if layer else ""
                rows = mine[mine["layer"] == layer]
                found.append((f"Two-way identification\nby {words(network)}{where}", rows))
    protocol = rule.protocol if rule is not None else next(iter(wide["protocol"]), "")
    pixels = {"pixcorr": "Pixel correlation", "ssim": "Structural similarity (SSIM)"}
    for metric, title in pixels.items() if not every_network or not found else ():
        rows = wide[(wide["metric"] == metric) & (wide["protocol"] == protocol)]
        if len(rows):
            found.append((title, rows))
    return found


def _labels(rows: pd.DataFrame) -> list[str]:
    """Return the label of each row: condition, and subject if there are several."""
    several = rows["subject"].nunique() > 1
    labels = []
    for condition, subject in zip(rows["condition"], rows["subject"], strict=True):
        parts = [words(condition), subject] if several else [words(condition)]
        labels.append(", ".join(part for part in parts if part) or "reconstructions")
    return labels


def _rows(table: pd.DataFrame, labels: Sequence[str]) -> list[Row]:
    """Return a row for each label, empty where the table has none."""
    found = {}
    for label, row in zip(_labels(table), table.to_dict("records"), strict=True):
        found[label] = Row(
            label,
            float(row["result"]),
            float(row["low"]),
            float(row["high"]),
            colour=colours.of_condition(str(row["condition"])),
            chance={name: float(row[column]) for column, name in _CHANCE.items()},
            upper_bound=float(row["upper_bound"]),
        )
    return [found.get(label, Row(label, math.nan)) for label in labels]


def _legend(where: Figure | Axes, wide: pd.DataFrame) -> None:
    """Explain the markers that are drawn, below the panels."""
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color="0.2", marker="o", lw=2.5, label="result, 95 % interval")]
    for column, name in _CHANCE.items():
        if wide[column].notna().any():
            mark = Line2D([], [], marker=CHANCE_MARKERS[name], color=colours.SOFT, ls="", ms=7, mew=1.5)
            mark.set_label(f"chance level: {name}")
            handles.append(mark)
    if wide["upper_bound"].notna().any():
        handles.append(
            Line2D([], [], color=colours.INK, marker="|", ls="", ms=10, mew=2.2, label="upper bound (oracle)")
        )
    if isinstance(where, Axes):
        where.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.25), frameon=False, fontsize=8)
    else:
        where.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
