"""Check zip archives, such as those that PyTorch saves, by the checksums in them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from reseen.errors import ReseenError
from reseen.files.reading import reading, shown

_ZIP = b"PK\x03\x04"


def check_archive(path: Path, error: type[ReseenError], fix: str) -> None:
    """Check the checksum of every member of a zip archive; a file of another format passes unread.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.
    fix
        Advice for a damaged file.

    Raises
    ------
    ReseenError
        Of type ``error``: if a checksum differs, or the archive cannot be read.
    """
    with reading(path, error, fix):
        with path.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    if damaged is not None:
        message = f"{shown(path)} is damaged: the checksum of its member {shown(damaged)} differs. {fix}"
        raise error(message, where=path, found=damaged)
