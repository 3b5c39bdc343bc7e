"""Rows: values with intervals, one row each, with chance levels and upper bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reseen.plot import colours
from reseen.plot.figure import CHART_WIDTH, axes_of, tip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHANCE_MARKERS = {
    "mismatched": "|",
    "permuted": "x",
    "mean features": "v",
    "noise": "1",
    "random image": "*",
}
"""Name of a chance level -> its marker."""
HEAD = 1.1  # height of a group's heading, in rows


@dataclass(frozen=True)
class Row:
    """One value in a chart.

    Parameters
    ----------
    label
        Text on the left.
    value, low, high
        Value and its interval; NaN where there is none.
    colour
        Colour of both, on light paper.
    chance
        Name of each chance level, such as ``"mismatched"`` -> its value.
    upper_bound
        Upper bound of the value; NaN where there is none.
    group
        Heading above the row and the other rows of the group.
    text
        Text on the right.
    """

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    colour: str = colours.INK
    chance: Mapping[str, float] = field(default_factory=dict)
    upper_bound: float = math.nan
    group: str = ""
    text: str = ""

    @property
    def numbers(self) -> list[float]:
        """All finite numbers of the row."""
        every = (self.value, self.low, self.high, self.upper_bound, *self.chance.values())
        return [number for number in every if math.isfinite(number)]


def height_of(rows: Sequence[Row]) -> float:
    """Return the inches that rows and their headings need."""
    return 0.25 * (len(rows) + HEAD * len(_heads(rows)))


def chart(
    rows: Sequence[Row],
    limits: tuple[float, float],
    *,
    show: Callable[[float], str],
    chance: float | None = None,
    null: float = 0.0,
) -> Figure:
    """Draw rows in a figure of their own.

    Parameters
    ----------
    rows, limits, show
        As in `draw_rows`.
    chance
        Position of a dashed line; left out: none.
    null
        Half of the width of a band around that line.
    """
    figure, axes = axes_of(None, CHART_WIDTH, height_of(rows) + 0.3)
    draw_rows(axes, rows, limits, show=show)
    if chance is not None:
        axes.axvspan(max(chance - null, limits[0]), chance + null, color=colours.NULL, lw=0, zorder=0)
        axes.axvline(chance, color=colours.SOFT, lw=1.2, ls=(0, (4, 3)), zorder=0.6)
    return figure


def limits_of(
    rows: Sequence[Row], *, low: float = 0.0, high: float | None = None, step: float = 0.1
) -> tuple[float, float]:
    """Return ends of an axis with all numbers, in steps, from ``low`` or less, and to ``high`` if it is given."""
    numbers = [number for row in rows for number in row.numbers] or [low, low + 1]
    left = min(low, math.floor(min(numbers) / step) * step)
    top = math.ceil(max(numbers) / step) * step if max(numbers) <= 1 else max(numbers) * 1.05
    return left, max(top if high is None else high, left + 0.1)


def place_rows(
    axes: Axes, rows: Sequence[Row], limits: tuple[float, float], *, show: Callable[[float], str], named: bool = True
) -> list[float]:
    """Draw headings and labels of rows (see `draw_rows`) and return the positions of the rows."""
    places, y = [], -1.0
    across = axes.get_yaxis_transform()  # x from the left of the axes to the right, y a row
    heads = _heads(rows)
    for number, row in enumerate(rows):
        if number in heads:
            y += HEAD
            axes.text(-0.02, y + 0.05, row.group, transform=across, size=9, weight="bold", ha="right")
        y += 1
        places.append(y)
    axes.set(xlim=limits, ylim=(y + 0.6, -0.6))
    axes.set_yticks(places, [row.label if named else "" for row in rows], size=9, color=colours.INK)
    style_value_axis(axes, show)
    return places


def draw_rows(
    axes: Axes, rows: Sequence[Row], limits: tuple[float, float], *, show: Callable[[float], str], named: bool = True
) -> None:
    """Draw rows from the top down.

    Parameters
    ----------
    axes
        Where to draw.
    rows
        Rows of one group follow each other.
    limits
        Ends of the axis.
    show
        Prints a value.
    named
        Whether the labels of the rows are written.
    """
    for y, row in zip(place_rows(axes, rows, limits, show=show, named=named), rows, strict=True):
        _draw_row(axes, row, y, show)


def style_value_axis(axes: Axes, show: Callable[[float], str]) -> None:
    """Draw a grid and few ticks along the values, without a frame."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axes.tick_params(axis="x", labelsize=8, labelcolor=colours.SOFT, bottom=False)
    axes.tick_params(axis="y", left=False)
    axes.grid(axis="x", color=colours.LINE, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def draw_dot(axes: Axes, y: float, row: Row, show: Callable[[float], str], *, size: float = 6.5) -> None:
    """Draw the value of a row as a dot, and its interval as a line."""
    between = ""
    if math.isfinite(row.low) and math.isfinite(row.high):
        axes.plot([row.low, row.high], [y, y], color=row.colour, lw=2.2, solid_capstyle="round")
        between = f" ({show(row.low)} to {show(row.high)})"
    if math.isfinite(row.value):
        (dot,) = axes.plot(row.value, y, "o", color=row.colour, ms=size, mec="white", mew=0.8)
        tip(dot, f"{row.label} {show(row.value)}{between}")


def draw_bound(axes: Axes, y: float, value: float, text: str, half: float = 0.36) -> None:
    """Draw an upper bound as a vertical tick."""
    if math.isfinite(value):
        (line,) = axes.plot([value] * 2, [y - half, y + half], color=colours.INK, lw=1.9, solid_capstyle="butt")
        tip(line, text)


def _heads(rows: Sequence[Row]) -> set[int]:
    """Return the numbers of the rows with a heading above them."""
    groups = [row.group for row in rows]
    return {k for k, group in enumerate(groups) if group and (k == 0 or groups[k - 1] != group)}


def _draw_row(axes: Axes, row: Row, y: float, show: Callable[[float], str]) -> None:
    chance = {name: value for name, value in row.chance.items() if math.isfinite(value)}
    if chance and math.isfinite(row.upper_bound):
        least = next(iter(chance.values()))
        axes.barh(y, row.upper_bound - least, left=least, height=0.42, color=colours.REACH)
    draw_bound(axes, y, row.upper_bound, f"upper bound {show(row.upper_bound)}")
    for name, value in chance.items():
        (mark,) = axes.plot(value, y, CHANCE_MARKERS[name], color=colours.SOFT, ms=7, mew=1.6)
        tip(mark, f"chance level, {name}: {show(value)}")
    draw_dot(axes, y, row, show)
    axes.text(1.02, y, row.text, transform=axes.get_yaxis_transform(), size=9, weight="bold", va="center")
