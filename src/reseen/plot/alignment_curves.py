"""Alignment curves: identification accuracy of each level over the sessions of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reseen.plot import colours
from reseen.plot.decoders import Curve, curves
from reseen.plot.figure import axes_of
from reseen.tables import IDENTIFICATION

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = {
    "own_full": ("own, full", "ink"),
    "own_equal": ("own, equal minutes", "z"),
    "combined": ("combined", "i"),
    "aligned": ("aligned", "other"),
    "own_shared": ("own, equal trials", "c"),
    "identity": ("identity", "pixels"),
    "permuted": ("permuted", "soft"),
}
"""Level -> its label and its colour, a name of `colours.PAGE`."""
WIDTH, HEIGHT = 5.6, 3.0
"""Size of a curve in inches; its labels are on the right."""


def alignment(table: pd.DataFrame, feature: str | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw two-way identification of each level of an alignment over the sessions of the target, with 95 % intervals.

    The dashed line is the chance level.

    Parameters
    ----------
    table
        Table of `reseen.Results.align`.
    feature
        Feature whose scores are drawn; left out: the first of the table.
    ax
        Axes to draw in; left out: a new figure.

    Examples
    --------
    >>> import pandas as pd, reseen
    >>> table = pd.DataFrame({"level": ["aligned", "aligned"], "n_sessions": [1, 4], "value": [0.7, 0.8]})
    >>> table = table.assign(feature="z", metric="identification", low=0.6, high=0.9, chance=0.5)
    >>> [label.get_text() for label in reseen.plot.alignment(table).axes[0].get_xticklabels()]
    ['1', '4']
    """
    rows = table[table["metric"] == IDENTIFICATION]
    chosen = str(rows["feature"].iloc[0]) if feature is None else feature
    drawn = []
    for level, (label, colour) in LEVELS.items():
        each = rows[(rows["feature"] == chosen) & (rows["level"] == level)]
        if len(each):
            numbers = {name: tuple(each[name].astype(float)) for name in ("value", "low", "high", "chance")}
            places = tuple(each["n_sessions"].astype(str))
            drawn.append(
                Curve(
                    label,
                    places,
                    numbers["value"],
                    numbers["low"],
                    numbers["high"],
                    numbers["chance"],
                    colour=colours.PAGE[colour][0],
                )
            )
    lowest = min(min(curve.low) for curve in drawn)
    limits = (min(0.4, np.floor(10 * lowest) / 10), 1.02)
    figure, axes = axes_of(ax, WIDTH, HEIGHT)
    curves(drawn, limits=limits, ax=axes)
    axes.set_xlabel("sessions of the target", size=8, color=colours.SOFT)
    return figure
