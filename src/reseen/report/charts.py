"""Charts: scores, penalties, noise ceilings and diagnostics as SVG in the page, drawn by `reseen.plot`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from reseen.plot import colours
from reseen.plot.figure import page_svg
from reseen.plot.rows import Row, chart, limits_of
from reseen.plot.wording import percent, words
from reseen.report.marks import Mark, group_of, is_identification, show, unique
from reseen.statistics import null_sd


def score_chart(marks: Sequence[Mark], label: str) -> Markup:
    """Draw scores as dots with intervals, with their chance levels and upper bound.

    A dashed line is the chance level of the metric. If all marks are identifications with the same n, a band spans
    two standard deviations of the mean accuracy of n images at chance.
    """
    groups = unique(group_of(mark) for mark in marks)
    ordered = sorted(marks, key=lambda mark: groups.index(group_of(mark)))
    rows = [_row(mark, group_of(mark) if len(groups) > 1 else "") for mark in ordered]
    identified = all(is_identification(mark.key.metric) for mark in marks)
    limits = limits_of(rows, low=0.4, high=1.0) if identified else limits_of(rows)
    chances, counts = {mark.chance for mark in marks}, {mark.n for mark in marks if mark.n}
    null = 2 * null_sd(counts.pop()) if identified and len(counts) == 1 else 0.0
    chance = chances.pop() if len(chances) == 1 else None
    figure = chart(rows, limits, show=percent if identified else _number, chance=chance, null=null)
    return page_svg(figure, label)


def _row(mark: Mark, group: str) -> Row:
    condition = mark.key.condition
    return Row(
        words(condition),
        mark.result,
        mark.low,
        mark.high,
        colour=colours.of_condition(condition),
        chance={"mismatched": mark.mismatched, "permuted": mark.permuted},
        upper_bound=mark.oracle,
        group=group,
        text=show(mark.result, mark.key.metric),
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}".replace("-", "−")
