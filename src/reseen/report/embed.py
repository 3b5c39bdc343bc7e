"""Embed: images and sequences as data URIs."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOSSLESS_SIDE = 96
"""Images up to this side length, in pixels, are embedded unchanged (PNG)."""
LARGEST_SIDE = 192
"""Default side length, in pixels, of larger images (WebP)."""
SEQUENCE_SIDE = 128
MOST_FRAMES = 60


def as_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as uint8; floats are expected in [0, 1], NaN becomes 0."""
    if image.dtype != np.uint8:
        image = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255)
    return np.asarray(image, dtype=np.uint8)


def image_uri(pixels: NDArray[Any], *, largest: int = LARGEST_SIDE) -> str:
    """Return one image, ``(height, width, 3)``, as a data URI; larger images are reduced to side length ``largest``."""
    image = Image.fromarray(as_uint8(pixels))
    if max(image.size) <= LOSSLESS_SIDE:
        return _uri(image, "png", optimize=True)
    return _uri(_shrink(image, largest), "webp", quality=90, method=4)


def map_uri(image: NDArray[np.uint8]) -> str:
    """Return a map or a key, ``(height, width, 4)``, as a data URI, at its full size and with its transparency."""
    return _uri(Image.fromarray(image), "webp", quality=80, alpha_quality=100, method=4)


def sprite_uri(frames: NDArray[Any]) -> tuple[str, int]:
    """Return one image of frames, ``(n_frames, height, width, 3)``, side by side.

    Returns its data URI and its number of frames: at most ``MOST_FRAMES``, evenly spaced, with the first and the
    last frame.
    """
    steps = evenly(len(frames), MOST_FRAMES)
    kept = [_shrink(Image.fromarray(as_uint8(frames[step])), SEQUENCE_SIDE) for step in steps]
    width, height = kept[0].size
    sheet = Image.new("RGB", (width * len(kept), height))
    for place, frame in enumerate(kept):
        sheet.paste(frame, (place * width, 0))
    return _uri(sheet, "webp", quality=85, method=4), len(kept)


def evenly(n_steps: int, n_kept: int) -> tuple[int, ...]:
    """Return at most ``n_kept`` evenly spaced steps out of ``n_steps``, from the first to the last."""
    return tuple(np.unique(np.linspace(0, n_steps - 1, min(n_steps, n_kept)).round().astype(int)).tolist())


def _shrink(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    if scale >= 1:
        return image
    width, height = image.size
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _uri(image: Image.Image, image_format: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format.upper(), **options)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
