"""Answers: files of raters, read and checked against their design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from reseen.errors import DataError
from reseen.files import read_json, shown
from reseen.raters.design import Design, Side

_HINT = "It should be a file that the page for raters saved, unchanged."


class _Answer(BaseModel):
    """Side chosen at a question, and time to the answer in seconds."""

    side: Side
    seconds: float = Field(ge=0, allow_inf_nan=False)


class _Saved(BaseModel):
    """File that the page for raters saves."""

    format: Literal["reseen raters 1"]
    design: str
    rater: int
    answers: list[_Answer]


@dataclass(frozen=True)
class Answers:
    """Answers of one rater.

    Parameters
    ----------
    path
        The file.
    rater
        Number of the rater and of the sheet, from 1.
    sides
        Side chosen at each question of the sheet, in its order.
    seconds
        Time to each answer.
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
        If there is no file, or one cannot be read, is of another design or not complete, or if two are of one rater.
    """
    if not paths:
        raise DataError("there are no answers to score; pass the files that the raters saved.", where="paths")
    found: dict[int, Answers] = {}
    for path in paths:
        answers = _read(design, path)
        if answers.rater in found:
            raise DataError(
                f"{found[answers.rater].path} and {path} are both of rater {answers.rater}; each rater has one number, "
                "and answers once. Leave one file out.",
                where=path,
                found=answers.rater,
            )
        found[answers.rater] = answers
    return tuple(found[rater] for rater in sorted(found))


def _read(design: Design, path: Path) -> Answers:
    saved: _Saved = read_json(path, _Saved, fix=_HINT)
    if saved.design != design.fingerprint:
        raise DataError(
            f"{shown(path)} answers another test: expected design {design.fingerprint[:12]}, found "
            f"{shown(saved.design)[:12]}. Score it with the results folder whose page the rater had.",
            where=path,
            expected=design.fingerprint,
            found=saved.design,
        )
    if not 1 <= saved.rater <= len(design.sheets):
        raise DataError(
            f"{shown(path)} is of rater {saved.rater}; the test has raters 1 to {len(design.sheets)}. {_HINT}",
            where=path,
            expected=len(design.sheets),
            found=saved.rater,
        )
    n_asked = len(design.sheets[saved.rater - 1])
    if len(saved.answers) != n_asked:
        raise DataError(
            f"{shown(path)} is not complete: rater {saved.rater} answered {len(saved.answers)} of {n_asked} questions. "
            "Open the page again in the same browser to continue, or leave the file out.",
            where=path,
            expected=n_asked,
            found=len(saved.answers),
        )
    sides = tuple(answer.side for answer in saved.answers)
    return Answers(path, saved.rater, sides, tuple(answer.seconds for answer in saved.answers))
