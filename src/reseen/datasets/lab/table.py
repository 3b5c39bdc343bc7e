"""Trial tables: one row per trial, in order of presentation, from ``trials.csv`` or events files of BIDS."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_types import MISSING
from reseen.errors import DataError
from reseen.files import read_text
from reseen.files.reading import shown

Texts = tuple[str, ...]
IMAGE_COLUMNS = ("image", "stim_file", "stimulus", "image_file", "file")
"""Names of the column of image files; the first that a table has is used."""
MISSING_CELLS = MISSING | {"n/a"}
"""Texts of a cell without a value; BIDS writes ``n/a``."""


@dataclass(frozen=True, eq=False)
class TrialTable:
    """Trials in order of presentation.

    Parameters
    ----------
    image
        File name of the image of each trial; empty for a trial without an image.
    session, run
        Label of the session and of the run of each trial; empty texts if unknown. Runs of two sessions may share a
        label.
    split
        ``"train"``, ``"test"`` or an empty text for each trial, or no texts at all if the lab has no fixed test set.
    columns
        All other columns, as text.
    """

    image: Texts
    session: Texts = ()
    run: Texts = ()
    split: Texts = ()
    columns: Mapping[str, Texts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_trials = len(self.image)
        for name in ("session", "run"):
            if not getattr(self, name):
                object.__setattr__(self, name, ("",) * n_trials)
        named = {"session": self.session, "run": self.run, "split": self.split or self.image, **self.columns}
        for name, values in named.items():
            if len(values) != n_trials:
                raise DataError(
                    f"the trial table has {n_trials} images and {len(values)} values of {name}. One is needed for each "
                    "trial.",
                    where=name,
                    expected=n_trials,
                    found=len(values),
                )

    def __len__(self) -> int:
        """Return the number of trials."""
        return len(self.image)

    @property
    def run_labels(self) -> Texts:
        """Session and run of each trial, as one text."""
        return tuple("/".join(filter(None, labels)) for labels in zip(self.session, self.run, strict=True))

    def take(self, rows: NDArray[np.int64]) -> TrialTable:
        """Keep these rows, in this order."""

        def kept(values: Texts) -> Texts:
            return tuple(values[row] for row in rows)

        columns = {name: kept(values) for name, values in self.columns.items()}
        split = kept(self.split) if self.split else ()
        return TrialTable(kept(self.image), kept(self.session), kept(self.run), split, columns)


def read_trial_table(path: Path) -> TrialTable:
    """Read a trial table: a ``.csv`` or ``.tsv`` file with a header and one row per trial.

    Parameters
    ----------
    path
        The file. A column of `IMAGE_COLUMNS` has the file name of each image. ``session``, ``run`` and ``split``
        (``train`` or ``test``) are optional, and all other columns are kept.

    Raises
    ------
    DataError
        If the file is missing, is no table, has no column of images, or has another word than train and test in
        ``split``.
    """
    columns = read_columns(path)
    named = [name for name in IMAGE_COLUMNS if name in columns]
    if not named:
        raise DataError(
            f"{shown(path)} has no column of image files; it has {', '.join(map(shown, columns))}. Name the column "
            f"{IMAGE_COLUMNS[0]!r}.",
            where=path,
            expected=IMAGE_COLUMNS,
            found=tuple(columns),
        )
    split = tuple(_split(path, row, text) for row, text in enumerate(columns.pop("split", ()), start=2))
    image, session, run = (columns.pop(name, ()) for name in (named[0], "session", "run"))
    return TrialTable(image, session, run, split if any(split) else (), columns)


def _split(path: Path, row: int, text: str) -> str:
    word = text.lower()
    sides = {"train": "train", "training": "train", "test": "test", "testing": "test", "": ""}
    if word not in sides:
        raise DataError(
            f"{shown(path)}, line {row}: split is {shown(text)}; train, test or an empty cell is expected.",
            where=path,
            expected=("train", "test", ""),
            found=text,
        )
    return sides[word]


def read_columns(path: Path) -> dict[str, Texts]:
    """Read the columns of a ``.csv`` or ``.tsv`` table as text; missing cells become empty texts.

    Raises
    ------
    DataError
        If the file is missing or damaged, or a row has another number of cells than the header.
    """
    delimiter = "\t" if path.suffix == ".tsv" else ","
    lines = csv.reader(read_text(path).splitlines(), delimiter=delimiter, strict=True)
    try:
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise DataError(
            f"{shown(path)} is no table: {error}. Save it as {path.suffix[1:]} again.", where=path
        ) from error
    if len(rows) < 2:
        raise DataError(f"{shown(path)} has no rows. A header and one row per trial are expected.", where=path)
    header = [name.strip() for name in rows[0]]
    if len(set(header)) < len(header):
        raise DataError(f"{shown(path)} has two columns of one name. Give each column its own name.", where=path)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(
                f"{shown(path)}, line {number}, has {len(row)} cells; the header has {len(header)}. Correct the line.",
                where=path,
                expected=len(header),
                found=len(row),
            )
    columns = {}
    for column, name in enumerate(header):
        cells = [row[column].strip() for row in rows[1:]]
        columns[name] = tuple("" if cell in MISSING_CELLS else cell for cell in cells)
    return columns


def join_tables(tables: Sequence[TrialTable]) -> TrialTable:
    """Join the tables of several runs, in this order; a column that a table lacks is empty there."""
    columns = {}
    for name in chain(*(table.columns for table in tables)):
        parts = [table.columns.get(name, ("",) * len(table)) for table in tables]
        columns[name] = tuple(chain(*parts))
    image = tuple(chain(*(table.image for table in tables)))
    session = tuple(chain(*(table.session for table in tables)))
    run = tuple(chain(*(table.run for table in tables)))
    parts = [table.split or ("",) * len(table) for table in tables]
    split = tuple(chain(*parts)) if any(table.split for table in tables) else ()
    return TrialTable(image, session, run, split, columns)
