"""Manifest: the checksums of the tables of a results folder, in ``checksums.json``.

Arrays and images carry theirs in their own file, so that workers of several machines can write them. Tables are written
by the process that holds the folder alone. A checksum is recorded before its table is written: a kill in between leaves
a table that is absent, which is made again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from reseen.errors import ResultsError
from reseen.files import check_regular, read_json, reading, write_json, write_text
from reseen.files.reading import shown
from reseen.tables import MOST_BYTES

FILE = "checksums.json"


def write_table(folder: Path, name: str, text: str) -> None:
    """Write a table of a folder, such as ``"subj01/scores.csv"``, and record its checksum.

    Raises
    ------
    ResultsError
        If it cannot be written.
    """
    known = _known(folder)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    if known.get(name) != checksum:
        (folder / name).unlink(missing_ok=True)
        write_json(folder / FILE, {**known, name: checksum})
    write_text(folder / name, text)


def verify_table(folder: Path, name: str) -> None:
    """Compare a table with its checksum.

    Raises
    ------
    ResultsError
        If it is missing, or was changed after it was written.
    """
    path = folder / name
    n_bytes, found = check_regular(path, ResultsError), None
    if n_bytes <= MOST_BYTES:  # a larger file is none that was written
        with reading(path, ResultsError), path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if found is None or _known(folder).get(name) != found:
        raise ResultsError(
            f"{shown(path)} was changed or damaged after it was written: its checksum differs from the one in {FILE}. "
            "Delete it and run the recipe again: it is made again."
        )


def _known(folder: Path) -> dict[str, str]:
    path = folder / FILE
    if not os.path.lexists(path):
        return {}
    fix = "Delete it and the tables (*.csv) beside it and in each subject's folder, and run the recipe again."
    found: dict[str, str] = read_json(path, dict[str, str], ResultsError, fix=fix)
    return found
