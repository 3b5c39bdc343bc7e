"""Inputs: images in the size and normalisation that a protocol compares or a network needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError
from reseen.protocols import Input

Images = NDArray[np.uint8] | NDArray[np.float32]
_AT_ONCE = 64  # images that are float tensors at a time


def prepare(images: Images, given: Input | None, *, size: tuple[int, int] | None = None) -> Images:
    """Resize images by a protocol's rule.

    Parameters
    ----------
    images
        Shape ``(n, H, W, 3)``, uint8, or float32 in 0...1 if tensors are resized.
    given
        Rule of the protocol. None: images are returned unchanged.
    size
        Height and width, for a rule without a size.

    Returns
    -------
    Shape ``(n, height, width, 3)``: uint8 if resized by Pillow, float32 if by torch. Colours are not normalised.

    Raises
    ------
    ShapeError
        If there is no size, or if the rule is Pillow's and images are not 8-bit.
    """
    if given is None:
        return images
    side = size if given.size is None else (given.size, given.size)
    if side is None:
        raise ShapeError("the protocol has no image size; pass size.", where="size")
    if given.by == "tensor":
        return _by_torch(images, side)
    if images.dtype != np.uint8:
        raise ShapeError(
            f"Pillow resizes 8-bit images; found {images.dtype}.",
            where="images",
            expected="uint8",
            found=str(images.dtype),
        )
    if images.shape[1:3] == side:
        return images
    return np.stack([_by_pillow(image, given, side) for image in images])


def as_tensor(images: Images, given: Input) -> Any:
    """Return prepared images ``(n, H, W, 3)`` as a tensor ``(n, 3, H, W)``, normalised by the protocol's rule."""
    import torch

    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    x = x.float() / 255 if images.dtype == np.uint8 else x
    if given.normal is None:
        return x
    mean, sd = (torch.tensor(values).view(1, 3, 1, 1) for values in given.normal)
    return (x - mean) / sd


def _by_pillow(pixels: NDArray[np.uint8], given: Input, side: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    kernel = Image.Resampling[given.kernel.upper()]
    image = Image.fromarray(pixels)
    if given.shape == "square":
        return np.asarray(image.resize((side[1], side[0]), kernel))
    # scale the shorter side, then crop the centre, with the rounding of each library
    short = side[0]
    width, height = image.size
    scaled = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    image = image.resize(scaled, kernel)
    left, top = ((length - short) / 2 for length in scaled)
    if given.shape == "crop":
        left, top = round(left), round(top)  # torchvision's CenterCrop
    else:
        left, top = int(left), int(top)
    return np.asarray(image.crop((left, top, left + short, top + short)))


def _by_torch(images: Images, side: tuple[int, int]) -> NDArray[np.float32]:
    from torch.nn.functional import interpolate

    bare = Input(None, "tensor", "bilinear")
    out = np.empty((len(images), *side, 3), dtype=np.float32)
    for start in range(0, len(images), _AT_ONCE):
        x = as_tensor(images[start : start + _AT_ONCE], bare)
        if x.shape[2:] != side:
            x = interpolate(x, size=side, mode="bilinear", align_corners=False, antialias=False)
        out[start : start + _AT_ONCE] = x.permute(0, 2, 3, 1).numpy()
    return out
