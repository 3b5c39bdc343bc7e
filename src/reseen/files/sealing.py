"""Images with a checksum of their content and of their place, in the image file itself."""

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

FIX = "Delete it and run the recipe again, which generates it again."
_KEY = b"tEXtreseen sha256\0"  # type and keyword of a PNG's text chunk
_END = b"\0\0\0\0IEND\xaeB`\x82"  # last chunk of every PNG
_SIZE = 4 + len(_KEY) + 64 + 4 + len(_END)  # bytes: length, key, checksum and CRC of the chunk, then the end


def write_sealed(path: Path, image: NDArray[np.uint8], belongs: str) -> None:
    """Write an image as PNG, complete or not at all, with a checksum of its bytes and of its place.

    Parameters
    ----------
    path
        The file.
    image
        Shape ``(height, width, 3)``.
    belongs
        Place of the image and the settings that it was computed by. The same text is needed to verify it.

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
    """Check an image against its checksum, without decoding it.

    Parameters
    ----------
    path
        A file that `write_sealed` wrote.
    belongs
        As in `write_sealed`.

    Raises
    ------
    ResultsError
        If it is missing, was changed or damaged, belongs elsewhere, or was not written by reseen.
    """
    n_bytes = check_regular(path, ResultsError)
    if n_bytes > MAX_BYTES:
        message = f"{shown(path)} has more than {MAX_BYTES:,} bytes: it is no image of reseen. {FIX}"
        raise ResultsError(message, where=path, expected=MAX_BYTES, found=n_bytes)
    with reading(path, ResultsError, FIX):
        content = path.read_bytes()
    body, tail = content[:-_SIZE], content[-_SIZE:]
    key_end = 4 + len(_KEY)
    if tail[4:key_end] != _KEY:
        message = f"{shown(path)} has no checksum: it is damaged, or this version of reseen did not write it. {FIX}"
        raise ResultsError(message, where=path)
    expected, found = tail[key_end : key_end + 64], _checksum(body, belongs)
    if found != expected:
        raise ResultsError(
            f"{shown(path)} is not the image that was written there: its checksum differs. It was damaged, changed, or "
            f"copied from elsewhere. {FIX}",
            where=path,
            expected=expected.decode(errors="replace"),
            found=found.decode(),
        )


def _checksum(body: bytes, belongs: str) -> bytes:
    return hashlib.sha256(belongs.encode() + b"\0" + body).hexdigest().encode()
