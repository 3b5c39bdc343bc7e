"""Design: the questions of every rater, sampled from a seed, balanced, and identified by a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import chain, starmap
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
"""Condition of questions whose right answer is the original itself: attentive raters answer them correctly."""


@dataclass(frozen=True)
class Question:
    """Question which of two images was reconstructed from the image above them.

    Parameters
    ----------
    subject, condition
        Subject, and condition of both images.
    stimulus_id
        Stimulus that was presented.
    distractor
        Stimulus of the wrong image.
    side
        Side of the right image.
    """

    subject: str
    condition: str
    stimulus_id: int
    distractor: int
    side: Side


class _Saved(BaseModel):
    """Design as it is written."""

    fingerprint: str
    results: str
    images: str
    seed: int
    sheets: list[list[tuple[str, str, int, int, Side]]] = Field(min_length=1)


@dataclass(frozen=True)
class Design:
    """All questions of a test.

    Parameters
    ----------
    results
        Fingerprint of the results folder at the time of the design.
    images
        Digest of the images.
    seed
        Seed of the sheets.
    sheets
        Questions of each rater, in order; rater 1 has the first sheet.
    """

    results: str
    images: str
    seed: int
    sheets: tuple[tuple[Question, ...], ...]

    @property
    def fingerprint(self) -> str:
        """Digest of all questions, which answers contain."""
        return digest(self._plain())

    def _plain(self) -> dict[str, Any]:
        sheets = [list(map(astuple, sheet)) for sheet in self.sheets]
        return {"results": self.results, "images": self.images, "seed": self.seed, "sheets": sheets}

    def save(self, path: Path) -> Design:
        """Write the design as JSON, or return the design in the file if it is the same test.

        The same questions about the same images are the same test, even if other scores or records were added to the
        results since: the design keeps its fingerprint, and answers to it remain valid.

        Raises
        ------
        ResultsError
            If the file has another design, or cannot be written.
        """
        if not path.is_file():
            write_json(path, {"fingerprint": self.fingerprint, **self._plain()})
            return self
        known = Design.load(path)
        if replace(self, results=known.results) != known:
            raise ResultsError(
                f"{path.parent} contains another test. Its answers could not be scored without its design. "
                "Make the same test again, or delete the folder first.",
                where=path,
                expected=known.fingerprint,
                found=self.fingerprint,
            )
        return known

    @classmethod
    def load(cls, path: Path) -> Design:
        """Read a design.

        Raises
        ------
        ResultsError
            If there is no such file.
        DataError
            If it is not a file that `save` wrote.
        """
        if not path.is_file():
            line = shell_line("reseen", "raters", path.parents[1])
            raise ResultsError(f"there is no {shown(path)}. Write the page for raters first: {line}", where=path)
        found: _Saved = read_json(path, _Saved, fix=_FIX)
        sheets = tuple(tuple(starmap(Question, sheet)) for sheet in found.sheets)
        design = cls(found.results, found.images, found.seed, sheets)
        if design.fingerprint != found.fingerprint:
            raise DataError(
                f"{path} was changed after it was written. Delete it and make it again from the same seed.",
                where=path,
                expected=found.fingerprint,
                found=design.fingerprint,
            )
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

    On each sheet every image is once the original and once the distractor in each condition of each subject. The
    numbers of right answers on the left and on the right differ by at most one. An original is repeated only after all
    others were shown. Orders, sides and pairs differ between raters.

    Parameters
    ----------
    stimuli
        Subject -> ids of the test stimuli in the questions, each once.
    conditions
        Conditions of the reconstructions.
    n_raters
        Number of sheets.
    n_catch
        Number of questions on each sheet in which one answer is the original itself.
    seed
        Seed of all random choices.
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
        cells = [_cell(subject, condition, ids, rng) for subject, ids in stimuli.items() for condition in conditions]
        questions = list(_spread([cells[number] for number in rng.permutation(len(cells))], rng))
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
    for question in chain.from_iterable(cells):
        of_stimulus.setdefault(question.stimulus_id, []).append(question)
    before = -1
    for number in range(len(cells)):
        questions = []
        for start, mine in enumerate(of_stimulus.values()):
            if number < len(mine):
                # stimuli start at different conditions, so that each round mixes the conditions
                questions.append(mine[(start + number) % len(mine)])
        order = rng.permutation(len(questions))
        if len(order) > 1 and questions[order[0]].stimulus_id == before:
            order = np.roll(order, 1)  # the same original is not shown twice in a row
        yield from (questions[place] for place in order)
        before = questions[order[-1]].stimulus_id


def _catches(stimuli: Mapping[str, NDArray[np.int64]], n_catch: int, rng: np.random.Generator) -> Iterator[Question]:
    """Return catch questions, whose answer is obvious."""
    subjects = list(stimuli)
    sides = rng.permutation(np.arange(n_catch) % 2)
    for number in range(n_catch):
        subject = subjects[number % len(subjects)]
        right, other = rng.choice(stimuli[subject], size=2, replace=False)
        yield Question(subject, CATCH, int(right), int(other), SIDES[sides[number]])
