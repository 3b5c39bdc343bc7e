"""Charts: hand-written SVG that takes its colours from the page, so that it reads in light, in dark and in print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from reseen.recipe import CONDITIONS
from reseen.report.marks import Mark, group_of, interval, is_identification, percent, show, unique, words
from reseen.statistics import null_sd

WIDTH = 400
_LEFT, _RIGHT = 92, 352
_ROW, _HEAD, _AXIS = 20, 25, 34


def score_chart(marks: Sequence[Mark], label: str) -> Markup:
    """Draw scores as dots with intervals, each between its floors and its ceiling.

    A dashed line is what guessing scores; where all marks are identifications of one n, a band around it spans two
    standard deviations of the mean of n guessed pictures.
    """
    low, high = _limits(marks)
    x = _scale(low, high)
    parts: list[str] = []
    y = 4
    groups = unique(group_of(mark) for mark in marks)
    for group in groups:
        if group and len(groups) > 1:
            y += _HEAD
            parts.append(_words(0, y - 7, group, "head"))
        for mark in (mark for mark in marks if group_of(mark) == group):
            parts.append(_score_row(mark, x, y + _ROW / 2))
            y += _ROW
    frame = _axis(x, _ticks(low, high), y + 4, in_percent=all(is_identification(mark.key.metric) for mark in marks))
    return _svg(y + _AXIS, label, [*_null(marks, x, y + 4), *frame, *parts])


def _limits(marks: Sequence[Mark]) -> tuple[float, float]:
    values = [v for m in marks for v in (m.result, m.low, m.high, m.floor_repaired, m.floor_shuffled, m.ceiling)]
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    if all(is_identification(mark.key.metric) for mark in marks):
        return min(0.4, math.floor(min(values) * 10) / 10), 1.0
    low = min(0.0, math.floor(min(values) * 10) / 10)
    top = max(values)
    return low, max(math.ceil(top * 10) / 10, low + 0.1) if top <= 1 else top * 1.05


def _scale(low: float, high: float) -> _Scale:
    return _Scale(low, (_RIGHT - _LEFT) / (high - low))


class _Scale:
    """Turn a value into a place, in pixels from the left."""

    def __init__(self, low: float, per_unit: float) -> None:
        self.low, self.per_unit = low, per_unit

    def __call__(self, value: float) -> float:
        return round(_LEFT + (value - self.low) * self.per_unit, 1)


def _ticks(low: float, high: float) -> list[float]:
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100):
        if (high - low) / step <= 7:
            break
    first = math.ceil(round(low / step, 6))
    return [round(tick * step, 6) for tick in range(first, math.floor(round(high / step, 6)) + 1)]


def _axis(x: _Scale, ticks: Sequence[float], bottom: float, *, in_percent: bool) -> list[str]:
    parts = []
    for tick in ticks:
        said = percent(tick) if in_percent else f"{tick:g}".replace("-", "−")
        parts.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="4" y2="{bottom}"/>')
        parts.append(_words(x(tick), bottom + 16, said, "tick"))
    return parts


def _null(marks: Sequence[Mark], x: _Scale, bottom: float) -> list[str]:
    chances = {mark.chance for mark in marks}
    chance = chances.pop() if len(chances) == 1 else None
    if chance is None:
        return []
    parts = []
    counts = {mark.n for mark in marks if mark.n}
    if len(counts) == 1 and all(is_identification(mark.key.metric) for mark in marks):
        half = 2 * null_sd(counts.pop())
        left = max(x(chance - half), _LEFT)
        parts.append(
            f'<rect class="null" x="{left}" y="4" width="{round(x(chance + half) - left, 1)}" height="{bottom - 4}"/>'
        )
    parts.append(f'<line class="chance" x1="{x(chance)}" x2="{x(chance)}" y1="4" y2="{bottom}"/>')
    return parts


def _score_row(mark: Mark, x: _Scale, y: float) -> str:
    kind = mark.key.condition if mark.key.condition in CONDITIONS else "other"
    said = show(mark.result, mark.key.metric)
    parts = [_words(_LEFT - 10, y + 4, words(mark.key.condition), "end"), _words(WIDTH, y + 4, said, "end value")]
    floor = mark.floor_repaired if math.isfinite(mark.floor_repaired) else mark.floor_shuffled
    if math.isfinite(floor) and math.isfinite(mark.ceiling):
        left, right = sorted((x(floor), x(mark.ceiling)))
        parts.append(f'<rect class="reach" x="{left}" y="{y - 4}" width="{round(right - left, 1)}" height="8" rx="2"/>')
    if math.isfinite(mark.ceiling):
        parts.append(_tip(f'<path class="ceiling" d="M{x(mark.ceiling)} {y - 7}v14"/>', "ceiling", mark.ceiling, mark))
    if math.isfinite(mark.floor_repaired):
        shape = f'<path class="floor" d="M{x(mark.floor_repaired)} {y - 5}v10"/>'
        parts.append(_tip(shape, "wrong truths", mark.floor_repaired, mark))
    if math.isfinite(mark.floor_shuffled):
        place = x(mark.floor_shuffled)
        shape = f'<path class="floor" d="M{place - 3.5} {y - 3.5}l7 7m0 -7l-7 7"/>'
        parts.append(_tip(shape, "shuffled training", mark.floor_shuffled, mark))
    if math.isfinite(mark.low) and math.isfinite(mark.high):
        parts.append(f'<path class="line m-{kind}" d="M{x(mark.low)} {y}H{x(mark.high)}"/>')
    if math.isfinite(mark.result):
        shape = f'<circle class="dot m-{kind}" cx="{x(mark.result)}" cy="{y}" r="5"/>'
        between = interval(mark)
        parts.append(
            _tip(
                shape,
                f"{mark.key.condition}, interval {between}," if between else mark.key.condition,
                mark.result,
                mark,
            )
        )
    return "".join(parts)


def _tip(shape: str, name: str, value: float, mark: Mark) -> str:
    return f"<g>{shape}<title>{escape(name)} {escape(show(value, mark.key.metric))}</title></g>"


def alpha_chart(chosen: NDArray[np.floating[Any]], grid: NDArray[np.floating[Any]], label: str) -> Markup:
    """Draw how many targets chose each penalty of the grid, the two at its edges marked."""
    grid = np.unique(np.asarray(grid, dtype=np.float64))
    counts = count_alphas(chosen, grid)
    top, bottom = 18.0, 118.0
    step = WIDTH / len(grid)
    every = math.ceil(len(grid) / (WIDTH / 44))
    parts = [f'<line class="axis" x1="0" x2="{WIDTH}" y1="{bottom}" y2="{bottom}"/>']
    for place, (alpha, count) in enumerate(zip(grid, counts, strict=True)):
        edge = place in (0, len(grid) - 1)
        height = round((bottom - top) * count / max(counts.max(), 1), 1)
        bar = f'x="{round(place * step + 1, 1)}" width="{round(step - 2, 1)}"'
        if edge:
            parts.append(f'<rect class="edge" {bar} y="{top}" height="{bottom - top}"/>')
        said = f"alpha {alpha_text(alpha)}{' (edge of the grid)' if edge else ''}: {count} targets"
        parts.append(
            f'<rect class="bar{" at-edge" if edge else ""}" {bar} y="{bottom - height}" height="{height}">'
            f"<title>{escape(said)}</title></rect>"
        )
        if place % every == 0:
            parts.append(_words(round((place + 0.5) * step, 1), bottom + 15, alpha_text(alpha), "tick"))
    parts.append(_words(0, 11, "edge", "small"))
    parts.append(_words(WIDTH, 11, "edge", "end small"))
    return _svg(bottom + 22, label, parts)


@dataclass(frozen=True)
class Curve:
    """Proportion in [0, 1] at each named place; ``low`` and ``high`` may be NaN, and so may ``chance``."""

    name: str
    places: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    chance: tuple[float, ...]


def curve_chart(curves: Sequence[Curve], label: str) -> Markup:
    """Draw shares over places in their order, evenly spaced, with intervals; guessing is a dashed line."""
    left, right, top, bottom = 40.0, 360.0, 8.0, 158.0
    places = unique(place for curve in curves for place in curve.places)
    across = {place: round(left + (right - left) * k / max(len(places) - 1, 1), 1) for k, place in enumerate(places)}

    def up(value: float) -> float:
        return round(bottom - (bottom - top) * min(max(value, 0.0), 1.0), 1)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{up(tick)}" y2="{up(tick)}"/>')
        parts.append(_words(left - 8, up(tick) + 4, percent(tick), "end small"))
    parts += [_words(x, bottom + 16, place, "tick") for place, x in across.items()]
    guess = {place: c for curve in curves for place, c in zip(curve.places, curve.chance, strict=True) if c == c}
    parts.append(_path("chance", [(across[place], up(guess[place])) for place in places if place in guess]))
    ends: list[tuple[float, str]] = []
    for curve in curves:
        condition = curve.name.partition(" ")[0]
        kind = condition if condition in CONDITIONS else "other"
        known = [k for k, value in enumerate(curve.values) if math.isfinite(value)]
        parts.append(_path(f"curve m-{kind}", [(across[curve.places[k]], up(curve.values[k])) for k in known]))
        for k in known:
            x, between = across[curve.places[k]], ""
            if math.isfinite(curve.low[k]) and math.isfinite(curve.high[k]):
                parts.append(f'<path class="curve m-{kind}" d="M{x} {up(curve.low[k])}V{up(curve.high[k])}"/>')
                between = f", {percent(curve.low[k])} to {percent(curve.high[k])}"
            said = f"{curve.name}, {curve.places[k]}: {percent(curve.values[k])}{between}"
            parts.append(f'<g><circle class="dot m-{kind}" cx="{x}" cy="{up(curve.values[k])}" r="4"/>')
            parts.append(f"<title>{escape(said)}</title></g>")
        ends += [(up(curve.values[known[-1]]) + 4, curve.name)] if known else []
    lowest = -math.inf
    for y, name in sorted(ends):
        lowest = max(y, lowest + 13)  # names of curves that end at one place stand below each other
        parts.append(_words(right + 12, lowest, name, "value"))
    return _svg(bottom + 24, label, parts)


def _path(kind: str, points: Sequence[tuple[float, float]]) -> str:
    steps = "L".join(f"{x} {y}" for x, y in points)
    return f'<path class="{kind}" fill="none" d="M{steps}"/>' if points else ""


def alpha_text(alpha: float) -> str:
    """Print a ridge penalty in few characters: 46.4, 0.01, 2.2e5, 1e−6."""
    if 0.01 <= alpha < 10_000 or alpha == 0:
        return f"{alpha:.3g}" if alpha < 1000 else f"{alpha:.0f}"
    mantissa, exponent = f"{alpha:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")


def count_alphas(chosen: NDArray[np.floating[Any]], grid: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Count how often each alpha of the ascending grid was chosen; a choice counts for the nearest on a log scale."""
    chosen = np.asarray(chosen, dtype=np.float64).ravel()
    chosen = chosen[np.isfinite(chosen)]
    tiny = np.finfo(np.float64).tiny
    edges = np.sqrt(np.maximum(grid[1:], tiny) * np.maximum(grid[:-1], tiny))
    return np.bincount(np.searchsorted(edges, chosen), minlength=len(grid))


def roi_chart(sizes: Mapping[str, int], ceilings: Mapping[str, NDArray[np.floating[Any]]], label: str) -> Markup:
    """Draw one row for each ROI: its number of voxels, the histogram of their noise ceilings, and the median."""
    left, right, row = 150, 344, 34
    parts: list[str] = []
    y = 4
    names = unique([*sizes, *ceilings])
    for name in names:
        y += row
        values = np.asarray(ceilings.get(name, []), dtype=np.float64)
        values = values[np.isfinite(values)]
        n_voxels = sizes.get(name, len(values))
        parts += [_words(0, y - 13, name, "head"), _words(0, y, f"{n_voxels} voxels", "small")]
        parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        if len(values):
            parts += _ridge(values, left, right, y, row - 8)
        parts.append(_words(WIDTH, y - 4, percent(float(np.median(values))) if len(values) else "–", "end value"))
    for share in (0, 0.5, 1):
        parts.append(_words(left + share * (right - left), y + 18, percent(share), "tick"))
    return _svg(y + 26, label, parts)


def _ridge(values: NDArray[np.float64], left: float, right: float, bottom: float, height: float) -> list[str]:
    counts, edges = np.histogram(np.clip(values, 0, 1), bins=25, range=(0, 1))
    width = (right - left) / len(counts)
    parts = []
    for start, count in zip(edges[:-1], counts, strict=True):
        tall = round(height * count / max(counts.max(), 1), 1)
        place = round(left + start * (right - left), 1)
        parts.append(
            f'<rect class="bar" x="{place}" y="{bottom - tall}" width="{round(width - 0.8, 1)}" height="{tall}"/>'
        )
    middle = round(left + float(np.median(values)) * (right - left), 1)
    parts.append(f'<path class="ceiling" d="M{middle} {bottom}v{-height}"/>')
    return parts


def _words(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def _svg(height: float, label: str, parts: Sequence[str]) -> Markup:
    said = escape(label)
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {math.ceil(height)}" role="img" aria-label="{said}">{"".join(parts)}</svg>'
    )
