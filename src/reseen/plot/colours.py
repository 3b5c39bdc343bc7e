"""Colours: scales that colour-blind people can read, for one number, for two, and for the best of several layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import CONDITIONS

Floats = NDArray[np.floating[Any]]

PAGE = {
    "paper": ("#ffffff", "#14181b"),
    "ink": ("#1c2126", "#e8ecef"),
    "soft": ("#5b6670", "#9fabb5"),
    "line": ("#dde2e6", "#323b42"),
    "reach": ("#e3e8ec", "#2d363d"),
    "null": ("#eceff1", "#20272c"),
    "bar": ("#7d93a6", "#6f8799"),
    "edge": ("#fbe3d0", "#452d18"),
    "z": ("#0072b2", "#56b4e9"),
    "c": ("#c55a00", "#f0a04b"),
    "zc": ("#007a5a", "#3ccf9e"),
    "pixels": ("#8a6d00", "#d9b93b"),
    "i": ("#a6216e", "#ee86bd"),
    "t": ("#56606a", "#aab4bd"),
    "zci": ("#1c2126", "#e8ecef"),
    "other": ("#6b4fa0", "#b79df0"),
}
"""Name -> colour on light and on dark paper; a feature has the colour of the condition of its name."""
INK, SOFT, LINE, REACH, NULL, BAR, EDGE = (
    PAGE[name][0] for name in ("ink", "soft", "line", "reach", "null", "bar", "edge")
)
FIRST, SECOND = "#0072b2", "#e69f00"
"""The two features of a split: blue and orange, distinguishable with every type of colour blindness."""
_NAMES = {light: name for name, (light, _) in PAGE.items()}
_WEAK = (0.97, 0.97, 0.94)
_ENCODER, _MIDDLE, _DECODER = ("#08519c", "#86c5f4"), "#3b0f4f", ("#fdc070", "#b04a00")


def of_condition(name: str) -> str:
    """Return the colour of a condition, or of the feature of that name, on light paper."""
    return PAGE[name if name in CONDITIONS and name in PAGE else "other"][0]


def css(colour: str) -> str:
    """Return a colour for a style sheet: its name, if the page has another colour on dark paper."""
    return f"var(--{_NAMES[colour]})" if colour in _NAMES else colour


def one(values: Floats, low: float, high: float) -> Floats:
    """Colour numbers from ``low`` to ``high`` with cividis; transparent where a number is missing.

    Returns
    -------
    ndarray
        The shape of ``values`` and a last axis of 4.
    """
    from matplotlib import colormaps

    shown = colormaps["cividis"](_proportion(values, low, high))
    shown[..., 3] = np.isfinite(values)
    return np.asarray(shown)


def two(first: Floats, second: Floats, low: float, high: float) -> Floats:
    """Colour pairs of numbers from ``low`` to ``high``: the first in blue, the second in orange, both in near-black.

    Colours are mixed subtractively, like two inks.
    """
    proportions = [_proportion(values, low, high)[..., None] for values in (first, second)]
    inks = [np.array(rgb(colour)) for colour in (FIRST, SECOND)]
    # an ink multiplies the light by its colour, in proportion to its amount
    mixed = np.array(_WEAK) * np.prod([1 - p * (1 - ink) for p, ink in zip(proportions, inks, strict=True)], axis=0)
    known = np.isfinite(first) & np.isfinite(second)
    return np.concatenate([mixed, known[..., None]], axis=-1)


def which(labels: NDArray[np.int64], palette: Sequence[str]) -> Floats:
    """Colour numbers from 0 by a palette; transparent below 0."""
    table = np.array([rgb(colour) for colour in palette] or [(0.0, 0.0, 0.0)])
    return np.concatenate([table[np.clip(labels, 0, len(table) - 1)], (labels >= 0)[..., None]], axis=-1)


def _proportion(values: Floats, low: float, high: float) -> Floats:
    return np.asarray(np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1))


def layer_palette(layers: Sequence[str]) -> list[str]:
    """Return a colour for each layer of a U-Net: encoder blue, outermost darkest; bottleneck black; decoder orange."""
    palette = [_MIDDLE] * len(layers)
    sides = {_ENCODER: ("conv_in", "down_"), _DECODER: ("up_", "conv_norm_out", "conv_out")}
    for (first, last), names in sides.items():
        places = [place for place, layer in enumerate(layers) if layer.startswith(names)]
        start, end = np.array(rgb(first)), np.array(rgb(last))
        for place, fraction in zip(places, np.linspace(0, 1, len(places)), strict=True):
            palette[place] = as_hex(start + (end - start) * fraction)
    return palette


def rgb(colour: str) -> tuple[float, ...]:
    """Return ``"#rrggbb"`` as three numbers in [0, 1]."""
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def as_hex(colour: Floats) -> str:
    """Return three numbers in [0, 1] as ``"#rrggbb"``."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)
