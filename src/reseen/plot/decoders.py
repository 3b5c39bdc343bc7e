"""Decoders: chosen ridge penalties, noise ceilings of ROIs, and curves of diagnostics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.plot import colours, wording
from reseen.plot.figure import CHART_WIDTH, axes_of, tip
from reseen.plot.rows import draw_bound, style_value_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def penalties(chosen: ArrayLike, grid: ArrayLike | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw how many targets chose each ridge penalty of a grid; the ends of the grid are shaded.

    Parameters
    ----------
    chosen
        Shape ``(n_targets,)``: the penalty of each target; NaN is left out.
    grid
        Shape ``(n_alphas,)``: the penalties that were tried; left out: those that were chosen.
    ax
        Axes to draw in; left out: a new figure.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> figure = reseen.plot.penalties(np.array([10.0, 10.0, 100.0]), np.array([1.0, 10.0, 100.0]))
    >>> [int(bar.get_height()) for bar in figure.axes[0].patches[2:]]
    [0, 2, 1]
    """
    tried = np.unique(np.asarray(chosen if grid is None else grid, dtype=np.float64))
    counts = count_penalties(np.asarray(chosen), tried)
    figure, axes = axes_of(ax, CHART_WIDTH, 1.5)
    for place in (0, len(tried) - 1):
        axes.axvspan(place - 0.5, place + 0.5, color=colours.EDGE, lw=0, zorder=0)
    bars = axes.bar(range(len(tried)), counts, width=0.9, color=colours.BAR)
    for place, bar in enumerate(bars):
        at_end = place in (0, len(tried) - 1)
        if at_end:
            bar.set_color(colours.of_condition("c"))
        note = " (end of the grid)" if at_end else ""
        tip(bar, f"alpha {wording.penalty(tried[place])}{note}: {counts[place]} targets")
    every = range(0, len(tried), math.ceil(len(tried) / 9))
    axes.set_xticks(every, [wording.penalty(tried[place]) for place in every], size=8, color=colours.SOFT)
    axes.set(xlim=(-0.5, len(tried) - 0.5), yticks=[])
    axes.tick_params(bottom=False)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(colours.SOFT)
    return figure


def count_penalties(chosen: NDArray[np.floating[Any]], grid: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Count how often each penalty of an ascending grid was chosen, by the nearest one on a log scale."""
    known = chosen[np.isfinite(chosen)]
    tiny = np.finfo(np.float64).tiny
    # geometric means of neighbours; a penalty of 0 has no logarithm
    edges = np.sqrt(np.maximum(grid[1:], tiny) * np.maximum(grid[:-1], tiny))
    return np.bincount(np.searchsorted(edges, known), minlength=len(grid))


def noise_ceilings(
    ceilings: Mapping[str, ArrayLike], n_voxels: Mapping[str, int] | None = None, *, ax: Axes | None = None
) -> Figure:
    r"""Draw a histogram of the voxels' noise ceilings for each ROI, with its median.

    Parameters
    ----------
    ceilings
        ROI -> proportion in [0, 1] of the variance of the responses that a stimulus can explain, ``(n_voxels,)``; NaN
        if unknown.
    n_voxels
        ROI -> number of voxels; left out: that of ``ceilings``. ROIs without ceilings have an empty row.
    ax
        Axes to draw in; left out: a new figure.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> figure = reseen.plot.noise_ceilings({"early": np.linspace(0, 0.9, 50), "ventral": np.full(5, 0.2)})
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['early\n50 voxels', 'ventral\n5 voxels']
    """
    known = {name: np.asarray(values, dtype=np.float64) for name, values in ceilings.items()}
    known = {name: values[np.isfinite(values)] for name, values in known.items()}
    counts = {name: len(values) for name, values in known.items()} | dict(n_voxels or {})
    names = list(dict.fromkeys([*(n_voxels or {}), *known]))
    figure, axes = axes_of(ax, CHART_WIDTH, 0.42 * len(names) + 0.35)
    for y, name in enumerate(names):
        values = known.get(name, np.zeros(0))
        axes.axhline(y, color=colours.SOFT, lw=0.8)
        median = "–"
        if len(values):
            heights, edges = np.histogram(values.clip(0, 1), bins=25, range=(0, 1))
            axes.stairs(y - 0.75 * heights / heights.max(), edges, baseline=y, fill=True, color=colours.BAR)
            median = wording.percent(float(np.median(values)))
            draw_bound(axes, y - 0.375, float(np.median(values)), f"{name}: median {median}", half=0.375)
        axes.text(1.02, y - 0.3, median, transform=axes.get_yaxis_transform(), size=9, weight="bold", va="center")
    written = [f"{name}\n{counts[name]} voxels" for name in names]
    axes.set_yticks(np.arange(len(names)) - 0.3, written, size=8.5, color=colours.INK)
    axes.set(xlim=(0, 1), ylim=(max(len(names), 1) - 0.95, -0.95))
    style_value_axis(axes, wording.percent)
    return figure


@dataclass(frozen=True)
class Curve:
    """Proportion in [0, 1] at each named place; ``low`` and ``high`` may be NaN, and so may ``chance``.

    ``colour`` is that of the curve and of its name; left out: the curve has the colour of the feature in its name.

    Examples
    --------
    >>> import reseen
    >>> reseen.plot.Curve("z", ("2", "all"), (0.8, 0.3), (0.7, 0.2), (0.9, 0.4), (0.5, 0.1)).places
    ('2', 'all')
    """

    name: str
    places: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    chance: tuple[float, ...]
    colour: str = ""


def curves(curves: Sequence[Curve], *, limits: tuple[float, float] = (0.0, 1.02), ax: Axes | None = None) -> Figure:
    """Draw proportions at named places, evenly spaced, with intervals; the chance level is a dashed line.

    Parameters
    ----------
    curves
        The curves; all of them have the same chance level at the same place.
    limits
        Ends of the axis of proportions.
    ax
        Axes to draw in; left out: a new figure.

    Examples
    --------
    >>> import reseen
    >>> curve = reseen.plot.Curve("z", ("2", "all"), (0.8, 0.3), (0.7, 0.2), (0.9, 0.4), (0.5, 0.1))
    >>> figure = reseen.plot.curves([curve])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['2', 'all']
    """
    from matplotlib.ticker import FuncFormatter

    chance: dict[str, float] = {}
    for curve in curves:
        chance |= dict(zip(curve.places, curve.chance, strict=True))
    places = list(chance)
    figure, axes = axes_of(ax, CHART_WIDTH, 2.1)
    axes.plot(list(chance.values()), color=colours.SOFT, lw=1.2, ls=(0, (4, 3)))
    for k, curve in enumerate(curves):
        colour = curve.colour or colours.of_condition(curve.name.partition(" ")[0])
        # curves are shifted, so that intervals at one place do not overlap
        across = [places.index(place) + 0.05 * (k - (len(curves) - 1) / 2) for place in curve.places]
        axes.plot(across, curve.values, color=colour, lw=1.6)
        axes.vlines(across, curve.low, curve.high, color=colour, lw=1.6)
        for x, place, value, low, high in zip(across, curve.places, curve.values, curve.low, curve.high, strict=True):
            between = f" ({wording.percent(low)} to {wording.percent(high)})" if math.isfinite(low + high) else ""
            (dot,) = axes.plot(x, value, "o", color=colour, ms=5.5, mec="white", mew=0.8)
            if math.isfinite(value):
                tip(dot, f"{curve.name}, {place}: {wording.percent(value)}{between}")
    _name_ends(axes, curves, len(places), limits)
    axes.set_xticks(range(len(places)), places, size=8, color=colours.SOFT)
    axes.set(xlim=(-0.3, len(places) - 0.7), ylim=limits)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.percent(value)))
    axes.tick_params(axis="y", labelsize=8, labelcolor=colours.SOFT)
    axes.tick_params(left=False, bottom=False)
    axes.grid(axis="y", color=colours.LINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure


def _name_ends(axes: Axes, curves: Sequence[Curve], n_places: int, limits: tuple[float, float]) -> None:
    """Write the names of curves at their last points, those of close points below each other."""
    ends = [(curve.values[-1], curve.name, curve.colour) for curve in curves if math.isfinite(curve.values[-1])]
    least = math.inf
    for value, name, colour in sorted(ends, reverse=True):
        least = min(value, least - 0.09 * (limits[1] - limits[0]))
        axes.text(n_places - 0.65, least, name, size=9, weight="bold", va="center", color=colour or None)
