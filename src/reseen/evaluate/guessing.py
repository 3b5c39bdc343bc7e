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
    """One row of the table; ``sds`` is its distance above chance in null standard deviations."""

    value: float
    low: float
    high: float
    sds: float


_Lines = Mapping[tuple[str, str, str], _Number]


def said_of_reading(reading: DataFrame) -> dict[str, list[str]]:
    """Return in a few sentences what the diagnostics show of each subject's decoded features and images.

    *Told apart* is what lies at least three null standard deviations above its null, *hinted at* two or more, *not told
    apart* what lies less than two. *Category, not the picture* is said where pictures of different categories are told
    apart, those of one are not, and the interval of the second lies below that of the first and nearer to one half than
    to its value; where it reaches further, too few pictures share a category to say so, and it is said that nothing
    *shows more than the category*. Where the first is said of none, it is said what each makes of the test pictures
    most alike. Near duplicates of training pictures are told where they
    are a tenth of the test pictures; otherwise whether accuracy goes with likeness to the training pictures. What
    leaving out kinds of pictures costs is told where the interval of the loss lies above 0; what is then not told
    apart is known *only of the kinds that were trained on*.

    Parameters
    ----------
    reading
        The table of `diagnose_features`, of any number of subjects.
    """
    said: dict[str, list[str]] = {}
    for subject, rows in reading.groupby("subject", sort=False):
        lines = {
            (str(row["feature"]), str(row["diagnostic"]), str(row["setting"])): _number(row)
            for row in rows.to_dict("records")
        }
        category, unsure = _category(lines)
        alike = [] if category else [*unsure, *_alike(lines)]
        found = [*category, *alike, *list(_novelty(lines))[:1], *_left_out(lines)]
        if found:
            said[str(subject)] = found
    return said


def percent(value: float) -> str:
    """Print a share for a sentence."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "unknown"


def _number(row: Mapping[Any, Any]) -> _Number:
    value, low, high, null, sd = (float(row[name]) for name in ("value", "low", "high", "chance", "chance_sd"))
    return _Number(value, low, high, (value - null) / sd if sd > 0 else float("nan"))


def _category(lines: _Lines) -> tuple[list[str], list[str]]:
    """Return sentences on features that are shown to have the category alone, and on those not shown to have more."""
    found: tuple[list[str], list[str]] = [], []
    for feature, diagnostic, setting in lines:
        sort = setting.removeprefix("within ")
        if diagnostic != "pairs" or sort == setting:
            continue
        within, between = lines[feature, "pairs", setting], lines[feature, "pairs", f"between {sort}"]
        if between.sds < 3 or within.sds >= 2 or not np.isfinite([between.sds, within.value]).all():
            continue
        who, verb = (f"decoded {feature}", "holds") if _is_decoded(feature) else (f"the {feature}", "hold")
        alone = within.high < min(between.low, (0.5 + between.value) / 2)
        claim = (
            f"{who} {verb} the category, not the picture"
            if alone
            else (f"nothing within a category shows that {who} {verb} more than the category")
        )
        found[0 if alone else 1].append(_said_of_pairs(lines, feature, sort, claim))
    return found


def _said_of_pairs(lines: _Lines, feature: str, sort: str, claim: str) -> str:
    between, within = (lines[feature, "pairs", f"{where} {sort}"] for where in ("between", "within"))
    all_pairs, alone = lines.get((feature, "n_way", "2")), lines.get((feature, "pairs", f"{sort} alone"))
    said = (
        f"{claim[0].upper()}{claim[1:]}: by {sort}, {percent(between.value)} of the pairs between two are told apart, "
        f"and {percent(within.value)} of those within one."
    )
    if all_pairs and alone:
        said += f" Of all pairs that makes {percent(all_pairs.value)}; the category alone would make "
        said += f"{percent(alone.value)}."
    return said


def _is_decoded(feature: str) -> bool:
    """Return whether a name is that of decoded features, such as ``c``, not of images, such as ``zc images``."""
    return " " not in feature


def _alike(lines: _Lines) -> Iterator[str]:
    """Name together what tells pictures from those most like them, then what hints at it, then what does not."""
    alike = {
        (feature, setting.removeprefix("nearest ")): number
        for (feature, diagnostic, setting), number in lines.items()
        if diagnostic == "pairs" and setting.startswith("nearest")
    }
    groups: dict[str, list[str]] = {"told apart by": [], "hinted at by": [], "not told apart by": []}
    for (feature, _), number in alike.items():
        claim = "told apart by" if number.sds >= 3 else "hinted at by" if number.sds >= 2 else "not told apart by"
        who = f"decoded {feature}" if _is_decoded(feature) else f"the {feature}"
        groups[claim].append(f"{who} ({percent(number.value)})")
    said = [f"{claim} {_listed(found)}" for claim, found in groups.items() if found]
    if said:
        count = next(iter(alike))[1]
        yield f"From the {count} test pictures most like it, a picture is {'; it is '.join(said)}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _left_out(lines: _Lines) -> Iterator[str]:
    said: list[str] = []
    only: list[str] = []
    for (feature, diagnostic, setting), lost in lines.items():
        if (diagnostic, setting) != ("left_out", "lost") or not lost.low > 0:
            continue
        without, some = (lines[feature, "left_out", how] for how in ("clusters", "at random"))
        at_random = percent(some.value) if said else f"{percent(some.value)} with as many left out at random"
        said.append(f"by decoded {feature} {percent(without.value)} ({at_random})")
        only += [f"decoded {feature}"] if not without.sds >= 2 else []
    if said:
        yield (
            "With all pictures of its kind left out of the training, a picture is told apart less often: "
            f"{_listed(said)}."
        )
    if only:
        who = _listed(only)
        yield f"{who[0].upper()}{who[1:]} {'knows' if len(only) == 1 else 'know'} only kinds that were trained on."


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
