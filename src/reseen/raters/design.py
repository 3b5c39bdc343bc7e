"""Design: the questions of every rater, drawn from a seed, balanced, and known by a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from reseen import statistics
from reseen.errors import DataError, ResultsError
from reseen.files import read_json, write_json
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.results import digest

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
_FIX = "Delete it and make the page for raters again from the same seed."
CATCH = "catch"
"""The condition of questions whose right answer is the original itself: who looks gets them right."""


@dataclass(frozen=True)
class Question:
    """Which of two images was reconstructed from the one above them.

    Parameters
    ----------
    subject, condition
        Subject, and condition of both images.
    stimulus_id
        What was shown.
    distractor
        Stimulus of the distractor.
    side
        Side of the right image.
    """

    subject: str
    condition: str
    stimulus_id: int
    distractor: int
    side: Side


class _Saved(BaseModel):
    """A design as it is written."""

    fingerprint: str
    results: str
    images: str
    seed: int
    sheets: list[list[tuple[str, str, int, int, Side]]] = Field(min_length=1)


@dataclass(frozen=True)
class Design:
    """All questions of a rating.

    Parameters
    ----------
    results
        Fingerprint that the results folder had when the test was made.
    images
        Digest of the images.
    seed
        What the sheets were drawn from.
    sheets
        Each rater's questions in the order they are asked; rater 1 has the first sheet.
    """

    results: str
    images: str
    seed: int
    sheets: tuple[tuple[Question, ...], ...]

    @property
    def fingerprint(self) -> str:
        """Digest of all questions, by which answers are recognised."""
        return digest(self._plain())

    def _plain(self) -> dict[str, Any]:
        sheets = [[list(astuple(question)) for question in sheet] for sheet in self.sheets]
        return {"results": self.results, "images": self.images, "seed": self.seed, "sheets": sheets}

    def save(self, path: Path) -> Design:
        """Write it as JSON, unless the same test lies there, and give what lies there then.

        The same questions about the same images are the same test, whatever was scored or recorded since it was made:
        it keeps its fingerprint, and answers to it still count.

        Raises
        ------
        ResultsError
            If another design lies there, or it cannot be written.
        """
        if not path.is_file():
            write_json(path, {"fingerprint": self.fingerprint, **self._plain()})
            return self
        known = Design.load(path)
        if replace(self, results=known.results) != known:
            raise ResultsError(
                f"{path.parent} holds another test, and answers to it could no longer be scored if it went. "
                "Ask for the same test again, or delete the folder first."
            )
        return known

    @classmethod
    def load(cls, path: Path) -> Design:
        """Read a design.

        Raises
        ------
        ResultsError
            If it is not there.
        DataError
            If it is not what `save` wrote.
        """
        if not path.is_file():
            line = shell_line("reseen", "raters", path.parents[1])
            raise ResultsError(f"there is no {shown(path)}. Write the page for raters first: {line}")
        found: _Saved = read_json(path, _Saved, fix=_FIX)
        sheets = tuple(tuple(Question(*question) for question in sheet) for sheet in found.sheets)
        design = cls(found.results, found.images, found.seed, sheets)
        if design.fingerprint != found.fingerprint:
            raise DataError(f"{path} was changed after it was made. Delete it and make it again from the same seed.")
        return design


def draw_design(
    stimuli: Mapping[str, NDArray[np.int64]],
    conditions: Sequence[str],
    *,
    n_raters: int,
    n_catch: int,
    seed: int,
    results: str,
    images: str,
) -> Design:
    """Draw the questions of every rater.

    On each sheet every image is once the original and once the distractor in each condition of each subject; the
    right answer stands as often on the left as on the right, give or take one; an original comes back only after all
    others were shown. Orders, sides and pairs differ from rater to rater.

    Parameters
    ----------
    stimuli
        Of each subject, which test stimuli are asked about, each once.
    conditions
        Which images.
    n_raters
        How many sheets.
    n_catch
        Questions on each sheet of which one answer is the original itself.
    seed
        Of the sample.
    results, images
        See `Design`.

    Raises
    ------
    ShapeError
        If a subject has fewer than two stimuli.
    """
    rng = np.random.default_rng([seed, 6])
    sheets = []
    for _ in range(n_raters):
        asked = [_cell(subject, condition, ids, rng) for subject, ids in stimuli.items() for condition in conditions]
        questions = list(_spread([asked[cell] for cell in rng.permutation(len(asked))], rng))
        for place, question in enumerate(_catches(stimuli, n_catch, rng), start=1):
            questions.insert(round(place * len(questions) / (n_catch + 1)), question)
        sheets.append(tuple(questions))
    return Design(results, images, seed, tuple(sheets))


def _cell(subject: str, condition: str, ids: NDArray[np.int64], rng: np.random.Generator) -> list[Question]:
    """Return a question about every stimulus of one subject and condition."""
    wrong = ids[statistics.derangements(ids, 1, seed=int(rng.integers(2**31)))[0]]
    sides = rng.permutation((np.arange(len(ids)) + rng.integers(2)) % 2)
    pairs = zip(ids, wrong, sides, strict=True)
    return [Question(subject, condition, int(right), int(other), SIDES[side]) for right, other, side in pairs]


def _spread(cells: Sequence[Sequence[Question]], rng: np.random.Generator) -> Iterator[Question]:
    """Return the questions in rounds in which each original is shown once, with the conditions mixed."""
    of_stimulus: dict[int, list[Question]] = {}
    for question in (question for cell in cells for question in cell):
        of_stimulus.setdefault(question.stimulus_id, []).append(question)
    before = -1
    for number in range(len(cells)):
        turn = [
            asked[(start + number) % len(asked)]
            for start, asked in enumerate(of_stimulus.values())
            if number < len(asked)
        ]
        order = rng.permutation(len(turn))
        if len(order) > 1 and turn[order[0]].stimulus_id == before:
            order = np.roll(order, 1)
        yield from (turn[place] for place in order)
        before = turn[order[-1]].stimulus_id


def _catches(stimuli: Mapping[str, NDArray[np.int64]], n_catch: int, rng: np.random.Generator) -> Iterator[Question]:
    """Return catch questions, whose answer is obvious."""
    subjects = list(stimuli)
    sides = rng.permutation(np.arange(n_catch) % 2)
    for number in range(n_catch):
        subject = subjects[number % len(subjects)]
        right, other = rng.choice(stimuli[subject], size=2, replace=False)
        yield Question(subject, CATCH, int(right), int(other), SIDES[sides[number]])
