"""Colours: scales that colour-blind eyes can read, for one number, for two, and for which of several wins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

R_TOP, SPLIT_TOP = 0.5, 0.3
"""Where the scales of the paper's maps end: a correlation (Figure 6), one feature's part of it (Figures 7 and 8)."""
FIRST, SECOND = "#0072b2", "#e69f00"
"""The two features of a split: blue and orange, which every kind of colour blindness tells apart."""
OF_CONDITION = {"z": "#0072b2", "c": "#c55a00", "zc": "#007a5a", "other": "#6b4fa0"}
"""What marks a condition, or the feature of that name, on light paper; the page has lighter ones for the dark."""
_WEAK = (0.97, 0.97, 0.94)
_ENCODER, _MIDDLE, _DECODER = ("#08519c", "#86c5f4"), "#3b0f4f", ("#fdc070", "#b04a00")


def one(values: Floats, top: float = R_TOP) -> Floats:
    """Colour numbers from 0 to ``top`` with cividis; transparent where there is none.

    Returns
    -------
    ndarray
        The shape of ``values`` and a last axis of 4.
    """
    from matplotlib import colormaps

    shown = colormaps["cividis"](np.clip(np.nan_to_num(values) / top, 0, 1))
    shown[..., 3] = np.isfinite(values)
    return np.asarray(shown)


def two(first: Floats, second: Floats, top: float = SPLIT_TOP) -> Floats:
    """Colour pairs of numbers from 0 to ``top``: the first in blue, the second in orange, both in near-black.

    Each takes away from white what its own colour lacks, as two inks do.
    """
    shares = [np.clip(np.nan_to_num(values) / top, 0, 1)[..., None] for values in (first, second)]
    inks = [np.array(rgb(colour)) for colour in (FIRST, SECOND)]
    mixed = np.array(_WEAK) * np.prod([1 - share * (1 - ink) for share, ink in zip(shares, inks, strict=True)], axis=0)
    known = np.isfinite(first) & np.isfinite(second)
    return np.concatenate([mixed, known[..., None]], axis=-1)


def which(labels: NDArray[np.int64], palette: Sequence[str]) -> Floats:
    """Colour numbers from 0 by a palette; transparent below 0."""
    table = np.array([rgb(colour) for colour in palette] or [(0.0, 0.0, 0.0)])
    return np.concatenate([table[np.clip(labels, 0, len(table) - 1)], (labels >= 0)[..., None]], axis=-1)


def key(kind: str) -> Floats:
    """Return the key of a scale, low to high, ``(height, width, 4)``: a bar for ``"one"``, a square for ``"two"``."""
    if kind == "one":
        return one(np.linspace(0, R_TOP, 128)[None])
    first, second = np.meshgrid(*[np.linspace(0, SPLIT_TOP, 48)] * 2)
    return two(first, second)


def layer_palette(layers: Sequence[str]) -> list[str]:
    """Return a colour for each layer of a U-Net: encoder blue, outermost darkest; bottleneck black; decoder orange."""
    starts = {"down": ("conv_in", "down_"), "up": ("up_", "conv_norm_out", "conv_out")}
    sides = [next((side for side, names in starts.items() if layer.startswith(names)), "mid") for layer in layers]
    palette = [_MIDDLE] * len(layers)
    for side, ends in (("down", _ENCODER), ("up", _DECODER)):
        places = [place for place, found in enumerate(sides) if found == side]
        for place, share in zip(places, np.linspace(0, 1, len(places)), strict=True):
            start, end = np.array(rgb(ends[0])), np.array(rgb(ends[1]))
            palette[place] = as_hex(start + (end - start) * share)
    return palette


def rgb(colour: str) -> tuple[float, ...]:
    """Return ``"#rrggbb"`` as three numbers in [0, 1]."""
    return tuple(int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))


def as_hex(colour: Floats) -> str:
    """Return three numbers in [0, 1] as ``"#rrggbb"``."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)
