"""Images that carry a checksum of their content and of where they belong."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from reseen.errors import ResultsError
from reseen.files.images import MAX_BYTES
from reseen.files.reading import check_regular, reading, shown
from reseen.files.writing import writing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIX = "Delete it and run the recipe again: it is made again."
_KEY = b"tEXtreseen sha256\0"  # type and keyword of a PNG chunk of text
_END = b"\0\0\0\0IEND\xaeB`\x82"
_SIZE = 4 + len(_KEY) + 64 + 4 + len(_END)  # bytes of the seal and of the end of a PNG behind it


def write_sealed(path: Path, image: NDArray[np.uint8], belongs: str) -> None:
    """Write an image as PNG, complete or not at all, with a checksum of its bytes and of where it belongs.

    Parameters
    ----------
    path
        The file.
    image
        Shape ``(height, width, 3)``.
    belongs
        Which image it is and what it was computed by. The same is needed to verify it.

    Raises
    ------
    ResultsError
        If it cannot be written.
    """
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    body = content.getvalue().removesuffix(_END)
    chunk = _KEY + _checksum(body, belongs)
    seal = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with writing(path) as part:
        part.write_bytes(body + seal + _END)


def verify_sealed(path: Path, belongs: str) -> None:
    """Compare an image with its checksum, without decoding it.

    Parameters
    ----------
    path
        A file that `write_sealed` wrote.
    belongs
        What it was written with.

    Raises
    ------
    ResultsError
        If it is missing, was changed or damaged, belongs elsewhere, or was not written by reseen.
    """
    if check_regular(path, ResultsError) > MAX_BYTES:
        raise ResultsError(f"{shown(path)} has more than {MAX_BYTES:,} bytes: it is no image of reseen. {FIX}")
    with reading(path, ResultsError, FIX):
        content = path.read_bytes()
    body, tail = content[:-_SIZE], content[-_SIZE:]
    if tail[4 : 4 + len(_KEY)] != _KEY:
        raise ResultsError(f"{shown(path)} has no checksum: this version of reseen did not write it, or damage. {FIX}")
    if tail[4 + len(_KEY) : 4 + len(_KEY) + 64] != _checksum(body, belongs):
        raise ResultsError(
            f"{shown(path)} is not the image that was written there: its checksum differs. It was damaged, changed, or "
            f"copied from elsewhere. {FIX}"
        )


def _checksum(body: bytes, belongs: str) -> bytes:
    return hashlib.sha256(belongs.encode() + b"\0" + body).hexdigest().encode()
