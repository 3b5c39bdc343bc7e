"""Read the table of diagnostics: in plain words, whether decoded features read pictures or guess."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

DUPLICATED = 0.1
"""Where so many of the test pictures nearly duplicate a training picture, that is said."""


class _Number(NamedTuple):
    """Hold one row of the table; ``sds`` is how many null standard deviations it lies above its null."""

    value: float
    low: float
    high: float
    sds: float


_Lines = Mapping[tuple[str, str, str], _Number]


def said_of_reading(reading: DataFrame) -> dict[str, list[str]]:
    """Say of each subject's decoded features what the diagnostics show, in one or two sentences for most.

    *Told apart* is what lies at least three null standard deviations above its null, *not told apart* what lies less
    than two. A feature holds the *category, not the picture* where pictures of different categories are told apart,
    those of one are not, and the interval of the second lies below that of the first. Where no feature does, it is
    said what each makes of the test pictures most alike. Near duplicates of training pictures are told where they
    are a tenth of the test pictures; otherwise whether accuracy goes with likeness to the training pictures.

    Parameters
    ----------
    reading
        The table of `evaluate_reading`, of any number of subjects.
    """
    said: dict[str, list[str]] = {}
    for subject, rows in reading.groupby("subject", sort=False):
        lines = {
            (str(row["feature"]), str(row["diagnostic"]), str(row["setting"])): _number(row)
            for row in rows.to_dict("records")
        }
        found = [*(list(_category(lines)) or list(_alike(lines))), *list(_novelty(lines))[:1]]
        if found:
            said[str(subject)] = found
    return said


def percent(value: float) -> str:
    """Print a share for a sentence."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "unknown"


def _number(row: Mapping[Any, Any]) -> _Number:
    value, low, high, null, sd = (float(row[name]) for name in ("value", "low", "high", "null", "null_sd"))
    return _Number(value, low, high, (value - null) / sd if sd > 0 else float("nan"))


def _category(lines: _Lines) -> Iterator[str]:
    for feature, diagnostic, setting in lines:
        sort = setting.removeprefix("within ")
        if diagnostic != "pairs" or sort == setting:
            continue
        within, between = lines[feature, "pairs", setting], lines[feature, "pairs", f"between {sort}"]
        if between.sds >= 3 and not within.sds >= 2 and within.high < between.low:
            yield (
                f"Decoded {feature} holds the category, not the picture: by {sort}, {percent(between.value)} of the "
                f"pairs between two are told apart, and {percent(within.value)} of those within one."
            )


def _alike(lines: _Lines) -> Iterator[str]:
    alike = {
        (feature, setting.removeprefix("nearest ")): number
        for (feature, diagnostic, setting), number in lines.items()
        if diagnostic == "pairs" and setting.startswith("nearest")
    }
    said = []
    for (feature, _), number in alike.items():
        claim = "tells it apart" if number.sds >= 3 else "hints at it" if number.sds >= 2 else "does not tell it apart"
        said.append(f"decoded {feature} {claim} ({percent(number.value)} of the pairs)")
    if said:
        count = next(iter(alike))[1]
        yield f"From the {count} test pictures most like it, {' and '.join(said)}."


def _novelty(lines: _Lines) -> Iterator[str]:
    known = {
        setting: [
            (number, feature)
            for (feature, kind, where), number in lines.items()
            if (kind, where) == ("novelty", setting)
        ]
        for setting in ("near duplicates", "accuracy")
    }
    for number, feature in sorted(known["near duplicates"], key=lambda found: -found[0].value):
        if number.value >= DUPLICATED:
            yield (
                f"By {feature}, {percent(number.value)} of the test pictures nearly duplicate a training picture: to "
                "find these again is no reading."
            )
    for number, feature in known["accuracy"]:
        if number.sds >= 3:
            yield (
                f"The more a test picture is like a training picture, the better decoded {feature} tells it apart "
                f"(rank correlation {number.value:.2f})."
            )
