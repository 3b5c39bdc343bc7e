"""Pixels: images from decoded pixels, without a generator; and grey images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMINANCE = (0.2125, 0.7154, 0.0721)
"""Weights of red, green and blue in the luminance of an image, by ITU-R BT.709, as in SSIM's grey images."""


def pixel_images(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Enlarge decoded pixels to images, by Lanczos.

    Parameters
    ----------
    pixels
        Shape ``(n, 3, side, side)``: red, green and blue, 0...1 for an image; decoded values beyond are clipped.
    size
        Side of the images.

    Returns
    -------
    ndarray
        Shape ``(n, size, size, 3)``, 0...1.
    """
    from PIL import Image

    images = np.empty((len(pixels), size, size, 3), dtype=np.float32)
    for item, channels in enumerate(np.clip(pixels, 0.0, 1.0).astype(np.float32)):
        for channel, plane in enumerate(channels):
            resized = Image.fromarray(plane).resize((size, size), Image.Resampling.LANCZOS)
            images[item, :, :, channel] = np.asarray(resized)
    return np.clip(images, 0.0, 1.0)


def grey(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return images ``(n, height, width, 3)`` whose three channels are the luminance of the given ones."""
    luminance = images @ np.array(LUMINANCE, dtype=np.float32)
    return np.repeat(luminance[..., None], 3, axis=-1)


def is_grey(image: NDArray[np.uint8]) -> bool:
    """Return whether red, green and blue of an image ``(height, width, 3)`` are equal."""
    return bool((image == image[..., :1]).all())
