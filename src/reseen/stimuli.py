"""Stimuli: the pictures that were shown and what people say of them, read on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError

Fit = Literal["crop", "pad", "squeeze"]
"""How an image that is not square becomes square."""


@dataclass(frozen=True, eq=False)
class Stimuli:
    """Look up pictures and captions by stimulus id.

    Parameters
    ----------
    stimulus_id
        Shape ``(n_stimuli,)``, 0-based: every picture that can be asked for.
    read_image
        ``stimulus_id -> (height, width, 3)`` uint8, RGB.
    read_captions
        ``stimulus_id -> captions``; an empty sequence where nobody described the picture.
    subsets
        Named sets of stimuli whose scores are told apart, such as ``"seen"`` and ``"novel"``; may be empty.
    categories
        Ways of sorting pictures, such as ``"background"``, each ``stimulus_id -> category``; may be empty.
    drawn
        Whether the images are the drawn scenes of a simulated subject, on which the built-in networks were trained.
    """

    stimulus_id: NDArray[np.int64]
    read_image: Callable[[int], NDArray[np.uint8]]
    read_captions: Callable[[int], Sequence[str]]
    subsets: Mapping[str, frozenset[int]] = field(default_factory=dict)
    categories: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    drawn: bool = False

    def image(self, stimulus_id: int) -> NDArray[np.uint8]:
        """Give one picture, ``(height, width, 3)`` uint8.

        Raises
        ------
        DataError
            If there is no such stimulus.
        """
        self._check(stimulus_id)
        return self.read_image(int(stimulus_id))

    def images(self, stimulus_id: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give several pictures of one size, ``(n, height, width, 3)`` uint8."""
        return np.stack([self.image(int(i)) for i in stimulus_id])

    def captions(self, stimulus_id: int) -> tuple[str, ...]:
        """Give the captions of one picture, in the data set's order."""
        self._check(stimulus_id)
        return tuple(self.read_captions(int(stimulus_id)))

    def _check(self, stimulus_id: int) -> None:
        if not np.any(self.stimulus_id == stimulus_id):
            raise DataError(
                f"there is no stimulus {stimulus_id}; this data set holds {len(self.stimulus_id)} pictures "
                f"with 0-based ids from {self.stimulus_id.min()} to {self.stimulus_id.max()}."
            )


def square(image: NDArray[np.uint8], fit: Fit = "crop") -> NDArray[np.uint8]:
    """Make an image square.

    Parameters
    ----------
    image
        Shape ``(height, width, 3)`` uint8. A square one comes back as it is.
    fit
        ``"crop"`` takes the middle square; ``"pad"`` centres the image on a black square; ``"squeeze"`` resizes the
        longer side to the shorter one.

    Returns
    -------
    ndarray
        Shape ``(side, side, 3)``: the shorter side, or the longer one with ``"pad"``.
    """
    height, width = image.shape[:2]
    if height == width:
        return image
    short, long = min(height, width), max(height, width)
    if fit == "squeeze":
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((short, short), Image.Resampling.LANCZOS))
    if fit == "pad":
        canvas = np.zeros((long, long, 3), dtype=np.uint8)
        top, left = (long - height) // 2, (long - width) // 2
        canvas[top : top + height, left : left + width] = image
        return canvas
    top, left = (height - short) // 2, (width - short) // 2
    return image[top : top + short, left : left + short]


def picture_digest(stimulus_id: NDArray[np.int64], images: NDArray[np.uint8]) -> str:
    """Give the SHA-256 of pictures ``(n, height, width, 3)`` and of which stimuli ``(n,)`` they are, in this order."""
    total = hashlib.sha256(f"{images.dtype} {images.shape} {stimulus_id.tolist()}".encode())
    total.update(np.ascontiguousarray(images).data)
    return f"sha256:{total.hexdigest()}"
