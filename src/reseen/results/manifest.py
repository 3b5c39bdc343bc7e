"""Manifest: the checksums of the tables of a results folder, in ``checksums.json``.

Arrays and images have theirs in their own file, so that workers of several machines can write them. Only the process
that holds the folder writes tables. A checksum is recorded before its table is written: after a kill in between, the
table is absent, and is computed again.
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
    """Check a table against its checksum.

    Raises
    ------
    ResultsError
        If it is missing, or was changed after it was written.
    """
    path, found = folder / name, None
    if check_regular(path, ResultsError) <= MOST_BYTES:  # reseen writes no larger table
        with reading(path, ResultsError), path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    expected = _known(folder).get(name)
    if found is None or found != expected:
        raise ResultsError(
            f"{shown(path)} was changed or damaged after it was written: its checksum differs from the one in {FILE}. "
            "Delete it and run the recipe again, which writes it again.",
            where=path,
            expected=expected,
            found=found,
        )


def _known(folder: Path) -> dict[str, str]:
    path = folder / FILE
    if not os.path.lexists(path):
        return {}
    fix = "Delete it and the tables (*.csv) next to it and in each subject's folder, and run the recipe again."
    found: dict[str, str] = read_json(path, dict[str, str], ResultsError, fix=fix)
    return found
