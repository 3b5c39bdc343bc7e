"""Read images: of a known format, complete, with 8 bits a channel, opaque, and small enough for memory."""

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

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
"""Suffixes of image files, in lower case."""
MAX_BYTES = 512 * 2**20
"""Largest image file in bytes."""
MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image; as RGB they need 300 MB of memory."""
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
_PNG = b"\x89PNG\r\n\x1a\n"
_DEEP_MODES = ("I", "F")  # Pillow's modes for integers of 16 and 32 bits, and for floats
_DEEP_RAW = (";16", ";12", ";32")  # Pillow's names of channels with more than 8 bits, of which it reads the upper 8


def read_image(path: Path | str, error: type[ReseenError] = DataError) -> NDArray[np.uint8]:
    """Read an image as a screen shows it, ``(height, width, 3)`` uint8, rotated as its EXIF orientation says.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.

    Raises
    ------
    ReseenError
        Of type ``error``: if the file is not regular, damaged, incomplete or too large, or if the image has several
        frames, transparent pixels, whose background is unknown, or more than 8 bits a channel.
    """
    import warnings

    from PIL import Image, UnidentifiedImageError

    n_bytes = check_regular(path, error)
    if n_bytes > MAX_BYTES:
        message = f"the image {shown(path)} has more than {MAX_BYTES:,} bytes. Save it with fewer pixels."
        raise error(message, where=Path(path), expected=MAX_BYTES, found=n_bytes)
    with reading(path, error, "Restore it or remove it."), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damage and sizes, which are refused below
        content = Path(path).read_bytes()
        _check_content(path, content, error)
        try:
            image = Image.open(io.BytesIO(content), formats=_FORMATS)
        except UnidentifiedImageError as cause:
            raise error(
                f"cannot read the image {shown(path)}: it is none of {', '.join(_FORMATS)}, or damaged. Restore it "
                "or remove it.",
                where=Path(path),
                expected=_FORMATS,
            ) from cause
        with image:
            _check_header(path, image, content, error)
            return _pixels(path, image, error)


def _check_content(path: Path | str, content: bytes, error: type[ReseenError]) -> None:
    """Check the checksums and end marks that formats define."""
    damage = None
    if content.startswith(_PNG):
        damage = _png_damage(content)
    elif content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        damage = "its end is missing"
    elif not content.strip(b"\0"):
        damage = "it is empty"
    if damage:
        raise error(
            f"cannot read the image {shown(path)}: {damage}. It seems truncated or damaged. Restore it or remove it.",
            where=Path(path),
        )


def _png_damage(content: bytes) -> str | None:
    """Return the damage of a PNG, a chunk whose checksum differs or a missing end; None if there is none."""
    start = len(_PNG)
    # a chunk: 4 bytes of length, 4 of type, the data, and 4 of the CRC of type and data
    while start + 12 <= len(content):
        length, chunk_type = struct.unpack_from(">I4s", content, start)
        end = start + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(memoryview(content)[start + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            return f"the checksum of its part at byte {start:,} differs"
        if chunk_type == b"IEND":
            return None
        start = end + 4
    return "its end is missing"


def _check_header(path: Path | str, image: ImageFile, content: bytes, error: type[ReseenError]) -> None:
    """Check the facts in the header, before memory for the pixels is allocated."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise error(
            f"the image {shown(path)} has {width:,} x {height:,} pixels; at most {MAX_PIXELS:,} are read. Save it "
            "with fewer.",
            where=Path(path),
            expected=MAX_PIXELS,
            found=width * height,
        )
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1 and image.format != "MPO":  # the second frame of MPO, a camera's format, is a preview
        message = f"the image {shown(path)} has {n_frames} frames. Save the presented frame as an image of its own."
        raise error(message, where=Path(path), expected=1, found=n_frames)
    if image.mode.startswith(_DEEP_MODES) or (_is_cut(image) and not _is_widened(content)):
        raise error(
            f"the image {shown(path)} has more than 8 bits a pixel and channel (Pillow's mode {image.mode}): its value "
            "for white is unknown. Save it with 8 bits.",
            where=Path(path),
            expected=8,
        )


def _is_cut(image: ImageFile) -> bool:
    """Return whether Pillow reads only the upper 8 bits of each channel."""
    raw = str(image.tile[0].args) if image.tile else ""
    return image.format in ("PNG", "TIFF") and any(deep in raw for deep in _DEEP_RAW)


def _is_widened(content: bytes) -> bool:
    """Return whether a colour PNG of 16 bits has 8-bit values in full range: both bytes of each value are equal."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as upper, Image.open(io.BytesIO(content)) as lower:
        if upper.format != "PNG" or upper.tile[0].args not in ("RGB;16B", "RGBA;16B"):
            return False
        raw = str(upper.tile[0].args).replace("16B", "16L")  # in the other byte order, Pillow reads the lower bytes
        lower.tile = [lower.tile[0]._replace(args=raw)]
        return np.array_equal(np.asarray(upper), np.asarray(lower))


def _pixels(path: Path | str, image: ImageFile, error: type[ReseenError]) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import ImageOps

    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise error(
            f"the image {shown(path)} is transparent in places, and its background is unknown. Put it on the "
            "background of the experiment and save it without an alpha channel.",
            where=Path(path),
        )
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
