"""Bars: rows of one chart for each ROI, as hand-written SVG that takes its words and lines from the page."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from reseen.report.encoding import AnalysisReport, Bar, Part, said_r
from reseen.report.marks import percent, unique

WIDTH = 400
_LEFT, _RIGHT = 96, 392
_ROW, _HEAD, _AXIS = 16, 20, 24


def bar_chart(analysis: AnalysisReport, label: str) -> Markup:
    """Draw one row for each bar, under the name of its ROI: dots with intervals, or shares laid end to end."""
    low, high = limits(analysis)
    scale = (_RIGHT - _LEFT) / (high - low)
    parts: list[str] = []
    y = 2.0
    for roi in unique(bar.roi for bar in analysis.bars):
        y += _HEAD
        parts.append(f'<text class="head" x="0" y="{y - 5}">{escape("all voxels" if roi == "all" else roi)}</text>')
        for bar in (bar for bar in analysis.bars if bar.roi == roi):
            parts.append(f'<text class="end small" x="{_LEFT - 8}" y="{y + 12}">{escape(bar.label)}</text>')
            draw = _shares if analysis.kind == "layers" else _dots
            parts += draw(bar, y + _ROW / 2, low, scale)
            y += _ROW
    grid = []
    for tick in ticks(low, high):
        x = round(_LEFT + (tick - low) * scale, 1)
        said = percent(tick) if analysis.kind == "layers" else f"{tick:g}".replace("-", "−")
        grid.append(f'<line class="{"axis" if tick == 0 else "grid"}" x1="{x}" x2="{x}" y1="4" y2="{y + 2}"/>')
        grid.append(f'<text class="tick" x="{x}" y="{y + 16}">{said}</text>')
    box = f'viewBox="0 0 {WIDTH} {math.ceil(y + _AXIS)}" role="img" aria-label="{escape(label)}"'
    return Markup(f"<svg {box}>{''.join(grid + parts)}</svg>")


def limits(analysis: AnalysisReport) -> tuple[float, float]:
    """Return the ends of the axis: shares from 0 to 1, correlations from 0 or the lowest one to the highest ceiling."""
    if analysis.kind == "layers":
        return 0.0, 1.0
    values = [v for bar in analysis.bars for part in bar.parts for v in (part.value, part.low, part.high)]
    values = [v for v in (*values, *(bar.ceiling for bar in analysis.bars)) if math.isfinite(v)] or [0.0]
    return min(0.0, math.floor(min(values) * 20) / 20), max(0.1, math.ceil(max(values) * 20) / 20)


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends, at most eight of them."""
    step = next(step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1) if (high - low) / step <= 7)
    return [round(k * step, 2) for k in range(math.ceil(low / step), math.floor(round(high / step, 6)) + 1)]


def _dots(bar: Bar, y: float, low: float, scale: float) -> list[str]:
    found = []
    if math.isfinite(bar.ceiling):
        x = round(_LEFT + (bar.ceiling - low) * scale, 1)
        found.append(f'<g><path class="ceiling" d="M{x} {y - 6}v12"/><title>ceiling {said_r(bar.ceiling)}</title></g>')
    for k, part in enumerate(bar.parts):
        if math.isnan(part.value):
            continue
        height = round(y + (k - (len(bar.parts) - 1) / 2) * 5, 1)
        x = round(_LEFT + (part.value - low) * scale, 1)
        shape = f'<circle cx="{x}" cy="{height}" r="4" fill="{part.colour}"/>'
        if math.isfinite(part.low) and math.isfinite(part.high):
            ends = [round(_LEFT + (end - low) * scale, 1) for end in (part.low, part.high)]
            shape += f'<path d="M{ends[0]} {height}H{ends[1]}" stroke="{part.colour}" stroke-width="2.5"/>'
        found.append(f"<g>{shape}<title>{escape(_said(bar, part))}</title></g>")
    return found


def _shares(bar: Bar, y: float, low: float, scale: float) -> list[str]:
    found, left = [], _LEFT - low * scale
    for part in bar.parts:
        if math.isfinite(part.value) and part.value > 0:
            width = part.value * scale
            box = f'x="{round(left, 1)}" y="{y - 5}" width="{round(width, 1)}" height="10"'
            between = "" if math.isnan(part.low) else f", interval {percent(part.low)} to {percent(part.high)}"
            said = f"{bar.label}, {part.name}: {percent(part.value)}{between}"
            found.append(f'<g><rect class="share" {box} fill="{part.colour}"/><title>{escape(said)}</title></g>')
            left += width
    return found


def _said(bar: Bar, part: Part) -> str:
    between = "" if math.isnan(part.low) else f", interval {said_r(part.low)} to {said_r(part.high)}"
    return f"{bar.label}, {part.name} {said_r(part.value)}{between}"
