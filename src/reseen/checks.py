"""Checks of a result: each has a value, a chance level, a threshold, a status and a sentence.

`CHECKS` is the table of all checks. `reseen.evaluate.run_checks` reads the values from the tables of a run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from reseen.tables import percent

Status = Literal["pass", "warn", "fail"]
STATUSES: tuple[Status, ...] = ("pass", "warn", "fail")
PASS, WARN = 3.0, 2.0
"""Standard deviations above chance from which a check passes, and from which it warns instead of failing."""
DUPLICATED, MOSTLY_DUPLICATED = 0.1, 0.5
"""Proportions of near duplicates among the test images from which the check warns, and from which it fails."""
CHECK_COLUMNS = (
    *("subject", "feature", "check", "setting", "value", "low", "high"),
    *("chance", "threshold", "status", "n", "sentence"),
)
"""Columns of a table of checks; ``threshold`` is the value at which the check starts or stops passing."""


@dataclass(frozen=True)
class Check:
    """One check.

    Parameters
    ----------
    question
        Question that the check answers.
    measure, reference
        Value and its reference in words; names in braces are filled in.
    reads
        Beginnings of rows of ``diagnostics.csv`` (diagnostic, setting); empty for a check of scores alone.
    notes
        Status, or relation to the reference -> last part of the sentence.
    is_proportion
        Whether the value is a proportion, which is printed in per cent.
    """

    question: str
    measure: str
    reference: str = "chance"
    reads: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    is_proportion: bool = True


_TWO_WAY = "two-way identification"
_OLD = ": to identify these images is no reconstruction of new ones"
CHECKS: dict[str, Check] = {
    # of scores; from "oracle" to "without responses" of the headline of the main condition
    "identification": Check("Are test images identified above chance?", _TWO_WAY + "{setting}", reads=("n_way 2",)),
    "oracle": Check(
        "Are reconstructions from the true latents identified above chance?",
        _TWO_WAY + " from the true latents (oracle)",
        notes={"fail": ", so that the gap closed is undefined"},
    ),
    "one condition": Check(
        "Does the main condition identify more images than each other condition?", _TWO_WAY, "{setting} alone"
    ),
    "retrieval": Check(
        "Do reconstructions identify more images than retrieved training images?",
        _TWO_WAY,
        "the training images nearest to decoded {setting}",
    ),
    "novel combinations": Check(
        "Are novel combinations identified as well as images like the training images?",
        _TWO_WAY + " of novel combinations",
        "images like the training images",
    ),
    "without responses": Check(
        "Do reconstructions identify more images than generation without responses?",
        _TWO_WAY,
        "images generated without responses, from {setting}",
    ),
    "one image for all": Check(
        "Are reconstructions closer to the originals than one image for all?",
        "{setting}",
        "one image for all, from the mean z and c",
        is_proportion=False,
    ),
    "permuted labels": Check(
        "Are decoders fitted on permuted labels at chance, by every identification that is printed?",
        _TWO_WAY + " by {setting}, of decoders fitted on {count} of the labels,",
        notes={"level with": "{others}", "ABOVE": ": check for a leak", "below": "{ties}"},
    ),
    # of diagnostics, for each decoded feature and for the images of the main condition
    "all test images": Check(
        "Are images identified among all test images at once?",
        "identification among all test images",
        reads=("n_way all",),
    ),
    "similar images": Check(
        "Are images identified among the test images most similar to them?",
        _TWO_WAY + " among the {setting} most similar test images",
        reads=("pairs nearest",),
    ),
    "between categories": Check(
        "Are images identified among those of other categories?",
        _TWO_WAY + " between categories ({setting})",
        reads=("pairs between",),
    ),
    "within category": Check(
        "Is decoding image-specific, or category-level?",
        _TWO_WAY + " within a category ({setting})",
        reads=("pairs within",),
        notes={
            "warn": ": too little to show more than the category (between categories {between})",
            "fail": ": the category, not the image, is decoded (between categories {between}; the category alone would "
            "give {alone} of all pairs, of which {every} are identified)",
        },
    ),
    "training images": Check(
        "Are test images identified among the training images?",
        _TWO_WAY + " among the training images",
        reads=("zero_shot 2",),
    ),
    "near duplicates": Check(
        "Are the test images absent from the training set?",
        "the proportion of test images that nearly duplicate a training image",
        "the limit",
        reads=("novelty near duplicates",),
        notes={"warn": _OLD, "fail": _OLD},
    ),
    "training similarity": Check(
        "Is identification independent of the similarity to training images?",
        "the rank correlation of accuracy with similarity to the nearest training image",
        reads=("novelty accuracy",),
        notes={"warn": ": the more similar, the better identified"},
        is_proportion=False,
    ),
    "repetitions": Check(
        "Do repetitions of an image give the same decoded features?",
        _TWO_WAY + " between the first repetition and the others",
        reads=("repetitions first and others",),
    ),
    "single sample": Check(
        "Are images identified by one sample each?", _TWO_WAY + " by one sample", reads=("samples one",)
    ),
    "left-out cluster": Check(
        "Are images decoded whose cluster was left out of the training?",
        _TWO_WAY + " without the image's cluster in the training set",
        reads=("left_out clusters",),
        notes=dict.fromkeys(STATUSES, ", {less}with as many images left out at random {random}"),
    ),
}
"""Name -> check: the only list of checks."""


class Number(NamedTuple):
    """Number with its interval, its chance level and the standard deviation at chance; NaN if missing."""

    value: float
    low: float
    high: float
    chance: float
    sd: float
    n: int

    @property
    def sds(self) -> float:
        """Standard deviations above chance; 0 if unknown, so that no check passes."""
        return (self.value - self.chance) / self.sd if self.sd > 0 else 0.0

    @property
    def threshold(self) -> float:
        """Value from which it is above chance."""
        return self.chance + PASS * self.sd

    def by_chance(self) -> Found:
        """Return status and relation to chance."""
        if self.sds >= PASS:
            return "pass", "above"
        return ("warn", "hardly above") if self.sds >= WARN else ("fail", "not above")

    def against(self, other: Number) -> str:
        """Return the relation to another number: above or below where each is outside the other's interval."""
        if self.value > other.high and other.value < self.low:
            return "above"
        return "below" if self.value < other.low and other.value > self.high else "level with"


Row = dict[str, object]
Found = tuple[Status, str]
"""Status, and relation to the reference, such as ``above``."""


def check_row(
    name: str, feature: str, number: Number, found: Found, threshold: float, setting: str = "", **words: float | str
) -> Row:
    """Return a row of the table with its sentence, in which ``words`` are filled in."""
    check, (status, relation) = CHECKS[name], found

    def shown(value: float | str) -> str:
        if isinstance(value, str):
            return value
        return percent(value) if check.is_proportion else f"{value:.2f}"

    printed = {key: shown(word) for key, word in {"setting": setting, **words}.items()}
    note = check.notes.get(relation, check.notes.get(status, ""))
    measure, reference, note = (text.format(**printed) for text in (check.measure, check.reference, note))
    interval = f" [{shown(number.low)}, {shown(number.high)}]" if math.isfinite(number.low) else ""
    beside = number.chance if math.isfinite(number.chance) else threshold
    value = f"{measure} is {shown(number.value)}{interval}, {relation} {reference} ({shown(beside)}){note}"
    if status != "pass" and reference == "chance" and threshold > beside and relation.endswith("above"):
        is_possible = not check.is_proportion or threshold <= 1
        value += f"; it passes from {shown(threshold)}" if is_possible else f"; {number.n} images are too few to pass"
    return {
        "feature": feature,
        "check": name,
        "setting": setting.strip(),
        **number._asdict(),
        "threshold": threshold,
        "status": status,
        "sentence": f"{feature}: {value}.",
    }


def by_chance(name: str, feature: str, number: Number, setting: str = "") -> Row:
    """Return the comparison with chance."""
    return check_row(name, feature, number, number.by_chance(), number.threshold, setting)


def against(name: str, feature: str, number: Number, other: Number, setting: str, *, mildly: bool = False) -> Row:
    """Return the comparison with another score instead of chance; ``mildly``: level passes and below warns."""
    relation = number.against(other)
    statuses: tuple[Status, Status] = ("pass", "warn") if mildly else ("warn", "fail")
    status: Status = {"above": "pass", "level with": statuses[0]}.get(relation, statuses[1])
    return check_row(name, feature, number._replace(chance=other.value), (status, relation), other.value, setting)


def count_statuses(statuses: Iterable[object]) -> str:
    """Return how many checks have each status, such as ``"20 pass, 2 warn, 0 fail"``."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES)
