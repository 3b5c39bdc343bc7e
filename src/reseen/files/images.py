"""Read images: of a known format, complete, of 8 bits a channel, opaque, and no larger than memory allows."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from reseen.errors import DataError, ReseenError
from reseen.files.reading import check_regular, reading, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

MAX_BYTES = 512 * 2**20
"""Largest image file in bytes."""
MAX_PIXELS = 100_000_000
"""Most pixels of an image; 300 MB once it is read."""
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEEP_MODES = ("I", "F")  # Pillow's modes of integers of 16 and 32 bits, and of floats
_DEEP_RAW = (";16", ";12", ";32")  # how a channel of more bits than 8 is stored, which Pillow cuts to 8


def read_image(path: Path | str, error: type[ReseenError] = DataError) -> NDArray[np.uint8]:
    """Read an image as a screen shows it, ``(height, width, 3)`` uint8: turned as its camera says.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.

    Raises
    ------
    ReseenError
        Of type ``error``: if it is no regular file, damaged or incomplete, too large, or has several frames; or if
        what it looks like is not known: it is transparent in places, or has more than 8 bits a channel.
    """
    import warnings

    from PIL import Image, UnidentifiedImageError

    if check_regular(path, error) > MAX_BYTES:
        raise error(f"the image {shown(path)} has more than {MAX_BYTES:,} bytes. Save it with fewer pixels.")
    with reading(path, error, "Restore it or remove it."), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow: damage is refused below, sizes are checked here
        content = Path(path).read_bytes()
        _check_content(path, content, error)
        try:
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        except UnidentifiedImageError as cause:
            raise error(
                f"cannot read the image {shown(path)}: it is none of {', '.join(_FORMATS)}, or damaged. Restore it "
                "or remove it."
            ) from cause
        with image:
            _check_header(path, image, content, error)
            return _pixels(path, image, error)


def _check_content(path: Path | str, content: bytes, error: type[ReseenError]) -> None:
    """Compare the checksums and the end marks that formats carry."""
    damage = None
    if content.startswith(_PNG):
        damage = _png_damage(content)
    elif content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        damage = "its end is missing"
    elif not content.strip(b"\0"):
        damage = "it is empty"
    if damage:
        raise error(
            f"cannot read the image {shown(path)}: {damage}. It seems truncated or damaged. Restore it or remove it."
        )


def _png_damage(content: bytes) -> str | None:
    """Return what is wrong with a PNG: a checksum of a chunk differs, or its end is missing."""
    place = len(_PNG)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(memoryview(content)[place + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            return f"the checksum of its part at byte {place:,} differs"
        if kind == b"IEND":
            return None
        place = end + 4
    return "its end is missing"


def _check_header(path: Path | str, image: ImageFile, content: bytes, error: type[ReseenError]) -> None:
    """Refuse what the header alone tells, before pixels are allocated."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise error(
            f"the image {shown(path)} has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are read. Save it "
            "with fewer."
        )
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1 and image.format != "MPO":  # cameras keep a preview in a second frame
        raise error(f"the image {shown(path)} has {n_frames} frames. Save the one that was shown by itself.")
    if image.mode.startswith(_DEEP_MODES) or (_is_cut(image) and not _is_widened(content)):
        raise error(
            f"the image {shown(path)} has more than 8 bits a pixel and channel (Pillow's mode {image.mode}): what "
            "is white in it is not known. Save it with 8 bits."
        )


def _is_cut(image: ImageFile) -> bool:
    """Return whether Pillow reads only the upper 8 bits of each channel."""
    raw = str(image.tile[0].args) if image.tile else ""
    return image.format in ("PNG", "TIFF") and any(deep in raw for deep in _DEEP_RAW)


def _is_widened(content: bytes) -> bool:
    """Return whether a colour PNG of 16 bits holds 8-bit values in full range: both bytes of each value are equal."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as upper, Image.open(io.BytesIO(content)) as lower:
        if upper.format != "PNG" or upper.tile[0].args not in ("RGB;16B", "RGBA;16B"):
            return False
        raw = str(upper.tile[0].args).replace("16B", "16L")  # the other byte order: Pillow then takes the lower bytes
        lower.tile = [lower.tile[0]._replace(args=raw)]
        return np.array_equal(np.asarray(upper), np.asarray(lower))


def _pixels(path: Path | str, image: ImageFile, error: type[ReseenError]) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import ImageOps

    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise error(
            f"the image {shown(path)} is transparent in places: what is seen behind it is not known. Lay it on the "
            "background that it is shown on, and save it without an alpha channel."
        )
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
