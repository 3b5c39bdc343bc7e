"""Diagnostics: the section on image-specific or category-level decoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reseen.checks import CHECKS
from reseen.plot import Curve, curves
from reseen.plot.figure import page_svg
from reseen.plot.wording import PERCENT, percent
from reseen.report.marks import unique
from reseen.tables import DIAGNOSTIC_COLUMNS, THIRDS

if TYPE_CHECKING:
    import pandas as pd

    Lines = Mapping[tuple[str, str, str], Mapping[Any, Any]]

CURVES = {
    "n_way": (
        "Identification among n images",
        "Identification among 2, 10, 50 or all test images, mean over all sets of that size; dashed: chance.",
    ),
    "bottleneck": (
        "Identification by leading dimensions",
        "Two-way identification by the leading 1, 2, 4 ... principal dimensions of the predictions; all: by the "
        "predictions themselves. A curve that becomes flat early shows that few dimensions matter.",
    ),
    "novelty": (
        "Identification by similarity to training images",
        "Two-way identification of a third of the test images each, by their similarity to the nearest training image. "
        "A curve that rises from one half suggests retrieval of training images.",
    ),
    "coverage": (
        "Uncertainty of single trials",
        "Proportion of true numbers in the intervals that the decoder gives for a single trial, by their nominal "
        "coverage; dashed: equal. Below it, errors are larger than the decoder says.",
    ),
}


def diagnostic_section(diagnostics: pd.DataFrame | None, checks: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the section of each subject: charts, the table of checks and all numbers."""
    if diagnostics is None or diagnostics.empty:
        return []
    sections = []
    for subject, rows in diagnostics.groupby("subject", sort=False):
        records = rows.to_dict("records")
        lines = {(str(row["feature"]), str(row["diagnostic"]), str(row["setting"])): row for row in records}
        charts = []
        for curve, (title, about) in CURVES.items():
            if any(key[1] == curve and _in_curve(*key[1:]) for key in lines):
                chart = _chart(lines, curve, f"{title}, {subject}")
                charts.append({"title": title, "about": about, "chart": chart})
        listed = [] if checks is None else checks[checks["subject"] == subject].to_dict("records")
        sections.append(
            {
                "subject": subject,
                "charts": charts,
                "checks": [_checked(row) for row in listed],
                "numbers": rows[list(DIAGNOSTIC_COLUMNS[1:])],
            }
        )
    return sections


def _checked(row: Mapping[Any, Any]) -> tuple[str, str, str, str]:
    """Return status, name, question and sentence of a check."""
    sentence = str(row["sentence"]).replace(" %", PERCENT)
    return str(row["status"]), str(row["check"]), CHECKS[str(row["check"])].question, sentence


def _in_curve(diagnostic: str, setting: str) -> bool:
    return diagnostic in CURVES and (diagnostic != "novelty" or setting in THIRDS)


def _dashed(curve: str, mine: Mapping[str, Mapping[Any, Any]]) -> tuple[float, ...]:
    """Return what each number of a curve is compared with: its chance level, or the nominal coverage."""
    if curve == "n_way":
        return tuple(float(row["chance"]) for row in mine.values())
    if curve == "coverage":
        return tuple(float(setting.removesuffix(" %")) / 100 for setting in mine)
    return (0.5,) * len(mine)


def _chart(lines: Lines, curve: str, label: str) -> Any:
    """Return the chart of one diagnostic, with a curve for each feature."""
    drawn, summaries = [], []
    for feature in unique(key[0] for key in lines if key[1] == curve):
        mine = {key[2]: row for key, row in lines.items() if key[:2] == (feature, curve) and _in_curve(*key[1:])}
        columns: dict[str, tuple[float, ...]] = {}
        for name in ("value", "low", "high"):
            columns[name] = tuple(float(row[name]) for row in mine.values())
        value, low, high = columns["value"], columns["low"], columns["high"]
        drawn.append(Curve(feature, tuple(mine), value, low, high, _dashed(curve, mine)))
        values = ", ".join(f"{place} {percent(v)}" for place, v in zip(mine, value, strict=True))
        summaries.append(f"{feature}: {values}")
    return page_svg(curves(drawn), f"{label}. {'; '.join(summaries)}")
