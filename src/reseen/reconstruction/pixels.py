"""Grey images: luminance of colours, for subjects who saw grey stimuli."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in the luminance of an image, by ITU-R BT.709, as in SSIM's grey images."""


def grey(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images ``(n, height, width, 3)`` whose three channels are the luminance of the given ones."""
    luminance = images @ np.array(LUMINANCE, dtype=np.float32)
    return np.repeat(luminance[..., None], 3, axis=-1)


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Return whether red, green and blue of an image ``(height, width, 3)`` are equal."""
    return bool((image == image[..., :1]).all())
