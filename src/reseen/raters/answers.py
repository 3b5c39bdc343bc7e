"""Answers: the files that raters send back, read and held against the design they answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reseen.errors import DataError
from reseen.raters.design import SIDES, Design, Side

_HINT = "It should be a file that the page for raters saved, unchanged."


@dataclass(frozen=True)
class Answers:
    """Hold what one rater answered.

    Parameters
    ----------
    path
        The file.
    rater
        The rater's number, from 1: which sheet was answered.
    sides
        The side chosen at each question of the sheet, in its order.
    seconds
        How long each took.
    """

    path: Path
    rater: int
    sides: tuple[Side, ...]
    seconds: tuple[float, ...]


def read_answers(design: Design, paths: Sequence[Path]) -> tuple[Answers, ...]:
    """Read the files of all raters.

    Raises
    ------
    DataError
        If there is none, or one cannot be read, is of another design or not complete, or if two are of one rater.
    """
    if not paths:
        raise DataError("there are no answers to score; give the files that the raters saved.")
    found: dict[int, Answers] = {}
    for path in paths:
        answers = _read(design, path)
        if answers.rater in found:
            raise DataError(
                f"{found[answers.rater].path} and {path} are both of rater {answers.rater}; each rater has one number, "
                "and answers once. Leave one file out."
            )
        found[answers.rater] = answers
    return tuple(found[rater] for rater in sorted(found))


def _read(design: Design, path: Path) -> Answers:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the answers {path}: {error}. {_HINT}") from error
    if not isinstance(saved, dict) or saved.get("format") != "reseen raters 1":
        raise DataError(f"{path} holds no answers of raters. {_HINT}")
    if saved.get("design") != design.fingerprint:
        raise DataError(
            f"{path} answers another test: expected design {design.fingerprint[:12]}, found "
            f"{str(saved.get('design'))[:12]}. Score it with the results folder whose page the rater had."
        )
    rater = saved.get("rater")
    if type(rater) is not int or not 1 <= rater <= len(design.sheets):
        raise DataError(f"{path} is of rater {rater}; the test has raters 1 to {len(design.sheets)}. {_HINT}")
    sides, seconds = _choices(path, saved.get("answers"))
    n_asked = len(design.sheets[rater - 1])
    if len(sides) != n_asked:
        raise DataError(
            f"{path} is not complete: rater {rater} answered {len(sides)} of {n_asked} questions. Opened again in the "
            "same browser, the page goes on where it was; or leave the file out."
        )
    return Answers(path, rater, sides, seconds)


def _choices(path: Path, answers: Any) -> tuple[tuple[Side, ...], tuple[float, ...]]:
    if not isinstance(answers, list):
        raise DataError(f"the answers in {path} are damaged: expected a list, found {answers!r}. {_HINT}")
    for number, answer in enumerate(answers, start=1):
        if not isinstance(answer, dict) or answer.get("side") not in SIDES or not _is_time(answer.get("seconds")):
            raise DataError(
                f"the answers in {path} are damaged: a side is left or right, and seconds are a number from 0; "
                f"question {number} has {answer!r}. {_HINT}"
            )
    return tuple(answer["side"] for answer in answers), tuple(float(answer["seconds"]) for answer in answers)


def _is_time(seconds: Any) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds <= sys.float_info.max  # JSON has true, NaN and Infinity too
