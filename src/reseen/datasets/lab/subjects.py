"""Choose a subject's files by the beginning of their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from reseen.errors import DataError
from reseen.files.reading import shown


def of_subject(folder: Path, files: Sequence[Path], subject: str) -> list[Path]:
    """Return the files whose names begin with a subject's name; ``subj01`` is also ``sub-01``.

    Raises
    ------
    DataError
        If there is none.
    """
    found = [path for path in files if _is_of(path.name, subject)]
    if not found:
        there = sorted({re.split(r"[_.]", path.name, maxsplit=1)[0] for path in files})
        raise DataError(
            f"{shown(folder)} has no files of the subject {subject}; it has files of {', '.join(map(shown, there))}. "
            "Set data.subjects to one of these names.",
            where="data.subjects",
            expected=tuple(there),
            found=subject,
        )
    return found


def _is_of(name: str, subject: str) -> bool:
    label = re.sub(r"^(sub-|subj)", "", subject)
    return any(re.match(rf"{re.escape(start)}(?![A-Za-z0-9])", name) for start in (subject, f"sub-{label}"))
