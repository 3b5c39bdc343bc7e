"""Reading: the section that asks whether decoded features read pictures or guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reseen.plot import Curve
from reseen.plot.wording import PERCENT, percent
from reseen.report.charts import curve_chart
from reseen.report.marks import unique
from reseen.tables import THIRDS

if TYPE_CHECKING:
    import pandas as pd

    Lines = Mapping[tuple[str, str, str], Mapping[Any, Any]]

CURVES = {
    "n_way": (
        "The right one of so many",
        "Which of 2, 10, 50 or all test pictures was it? The mean over all sets of that many; dashed: guessing.",
    ),
    "bottleneck": (
        "Through a bottleneck",
        "Two-way identification where only the leading 1, 2, 4 ... principal dimensions of the predictions are kept; "
        "all: as they are. A curve that is flat early lives on few dimensions.",
    ),
    "novelty": (
        "Novel or familiar",
        "Two-way identification of a third of the test pictures each, by how like they are to the nearest training "
        "picture. A curve that rises from one half looks pictures up.",
    ),
}
_SAID = {
    "zero_shot": "its truth among all training pictures: ",
    "novelty": "",
    "variance": "variance explained: ",
    "dimensions": "effective dimensions: ",
    "repetitions": "two-way, ",
    "samples": "two-way, ",
    "left_out": "two-way, ",
}
_SETTINGS = {
    ("zero_shot", "2"): "two-way",
    ("novelty", "nearest training"): "correlation with the nearest training picture",
    ("novelty", "near duplicates"): "test pictures that nearly duplicate a training picture",
    ("novelty", "accuracy"): "rank correlation of accuracy with that",
    ("variance", "best"): "best, in the training pictures' span",
    ("variance", "decoded"): "decoded",
    ("repetitions", "first and others"): "a picture's first showing with its other showings: the brain's own ceiling",
    ("repetitions", "first"): "its first showing alone with the truth",
    ("repetitions", "others"): "its other showings with the truth",
    ("samples", "one"): "a single draw",
    ("samples", "spread"): "standard deviation of a picture's score over draws",
    ("left_out", "clusters"): "all training pictures of its kind left out",
    ("left_out", "at random"): "as many training pictures left out at random",
    ("left_out", "lost"): "what leaving its kind out costs",
}
_PLAIN = ("dimensions", "novelty")


def reading_section(reading: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the page's part on each subject: two charts, and a table of the rest with a column for each feature."""
    if reading is None or reading.empty:
        return []
    sections = []
    for subject, rows in reading.groupby("subject", sort=False):
        lines = {
            (str(row["feature"]), str(row["diagnostic"]), str(row["setting"])): row for row in rows.to_dict("records")
        }
        features = unique(key[0] for key in lines)
        kinds = list(dict.fromkeys(key[1:] for key in lines if not _in_curve(*key[1:])))
        charts = [
            {"title": title, "about": about, "chart": _chart(lines, kind, f"{title}, {subject}")}
            for kind, (title, about) in CURVES.items()
            if any(key[1] == kind and _in_curve(*key[1:]) for key in lines)
        ]
        table = [
            (_say(*kind), [_cells(kind[0], kind[1], lines.get((feature, *kind), {})) for feature in features])
            for kind in kinds
        ]
        sections.append({"subject": subject, "features": features, "charts": charts, "rows": table})
    return sections


def _in_curve(diagnostic: str, setting: str) -> bool:
    return diagnostic in CURVES and (diagnostic != "novelty" or setting in THIRDS)


def _chart(lines: Lines, kind: str, label: str) -> Any:
    curves = []
    for feature in unique(key[0] for key in lines if key[1] == kind):
        mine = [(key[2], row) for key, row in lines.items() if key[:2] == (feature, kind) and _in_curve(*key[1:])]
        chance = [float(row["chance"]) if kind == "n_way" else 0.5 for _, row in mine]
        value, low, high = (tuple(float(row[name]) for _, row in mine) for name in ("value", "low", "high"))
        curves.append(Curve(feature, tuple(setting for setting, _ in mine), value, low, high, tuple(chance)))
    said = "; ".join(
        f"{curve.name}: "
        + ", ".join(f"{place} {percent(v)}" for place, v in zip(curve.places, curve.values, strict=True))
        for curve in curves
    )
    return curve_chart(curves, f"{label}. {said}")


def _say(diagnostic: str, setting: str) -> str:
    """Return the name of a row of the table in words."""
    if diagnostic == "pairs":
        kind, _, sort = setting.partition(" ")
        return {
            "nearest": f"two-way, against the {sort} test pictures most like it",
            "within": f"two-way, within one category ({sort})",
            "between": f"two-way, between categories ({sort})",
        }.get(kind, f"two-way, if only the category were known ({setting.removesuffix(' alone')})")
    if setting.startswith("best of"):
        return f"two-way, the {setting} draws, picked by the truth: no score of the method"
    return _SAID.get(diagnostic, "") + _SETTINGS.get((diagnostic, setting), setting)


def _cells(diagnostic: str, setting: str, row: Mapping[Any, Any]) -> tuple[str, str, str]:
    """Print value, interval and chance; what is no share is printed as a number."""
    plain = diagnostic in _PLAIN and setting != "near duplicates"

    def show(name: str) -> str:
        value = float(row.get(name, math.nan))
        if math.isnan(value):
            return ""
        return (
            (f"{value:.1f}" if diagnostic == "dimensions" else f"{value:.2f}").replace("-", "−")
            if plain
            else percent(value)
        )

    low, high = show("low"), show("high")
    return show("value") or "–", f"{low.removesuffix(PERCENT)} to {high}" if low and high else "", show("chance")
