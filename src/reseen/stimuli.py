"""Stimuli: the images that were shown and what people say of them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import DataError, ShapeError

T = TypeVar("T")

Fit = Literal["crop", "pad", "squeeze"]
"""How an image that is not square becomes square."""


class Stimuli:
    """The images that were shown, and what people say of them, by stimulus id.

    Parameters
    ----------
    images
        Shape ``(n_stimuli, height, width, 3)``, uint8 RGB; or a sequence of such images of any sizes; or a function
        ``stimulus_id -> (height, width, 3)``, for images that are read when they are needed.
    captions
        For each stimulus one caption or several, in the order of the images; or a function ``stimulus_id ->
        captions``. Left out: nobody described them, and only z can be extracted.
    stimulus_id
        Shape ``(n_stimuli,)``, integers from 0. Left out: 0 to ``n_stimuli - 1``. Needed with a function.
    subsets
        Named sets of stimuli that are scored by themselves too, such as ``"seen"`` and ``"novel"``.
    categories
        Categories of the images by attribute, such as ``"background"``: each ``stimulus_id -> category``.
    drawn
        Whether the images are the drawn scenes of a simulated subject, on which the built-in networks were trained.
    names
        Name of each image, such as its file, in the order of ``stimulus_id``. Left out: the id.
    fit
        How an image that is not square becomes square; see `square`.

    Raises
    ------
    DataError
        If the images are no 8-bit RGB images, or a caption is empty or no text.
    ShapeError
        If there is not one id and one caption or list of captions for each image.

    Examples
    --------
    >>> import numpy as np
    >>> shown = Stimuli(np.zeros((3, 64, 64, 3), dtype=np.uint8), ["a cat", "a dog", ["a cow", "a brown cow"]])
    >>> shown
    Stimuli: 3 images with captions
    >>> shown.captions(2)
    ('a cow', 'a brown cow')
    """

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | Callable[[int], NDArray[np.uint8]],
        captions: Sequence[str | Sequence[str]] | Callable[[int], Sequence[str]] | None = None,
        stimulus_id: ArrayLike | None = None,
        *,
        subsets: Mapping[str, frozenset[int]] | None = None,
        categories: Mapping[str, Mapping[int, str]] | None = None,
        drawn: bool = False,
        names: Sequence[str] | None = None,
        fit: Fit = "crop",
    ) -> None:
        if fit not in get_args(Fit):
            raise DataError(f"fit is {fit!r}; expected one of {', '.join(get_args(Fit))}.")
        self.stimulus_id = _ids(images, stimulus_id)
        self.subsets = dict(subsets or {})
        self.categories = dict(categories or {})
        self.drawn = drawn
        self.fit = fit
        self._names = {} if names is None else dict(zip(map(int, self.stimulus_id), names, strict=True))
        self._row = {int(stimulus): row for row, stimulus in enumerate(self.stimulus_id)}
        self._read_image = images if callable(images) else _from_sequence(_check_images(images), self._row)
        self._described = captions is not None
        if captions is None:
            self._read_captions: Callable[[int], Sequence[str]] = lambda _stimulus: ()
        elif callable(captions):
            self._read_captions = captions
        else:
            self._read_captions = _from_sequence(_check_captions(captions, len(self.stimulus_id)), self._row)

    def __repr__(self) -> str:
        captions = "with captions" if self._described else "without captions"
        return f"Stimuli: {len(self):,} images {captions}"

    def __len__(self) -> int:
        """Return the number of stimuli."""
        return len(self.stimulus_id)

    def select(self, stimulus_id: ArrayLike) -> Stimuli:
        """Keep these stimuli, in this order.

        Raises
        ------
        DataError
            If there is no such stimulus.
        """
        ids = np.asarray(stimulus_id, dtype=np.int64)
        for stimulus in ids:
            self._check(int(stimulus))
        kept = copy.copy(self)
        kept.stimulus_id = ids
        kept._row = {int(stimulus): row for row, stimulus in enumerate(ids)}
        return kept

    def image(self, stimulus_id: int) -> NDArray[np.uint8]:
        """Return one image, square, ``(side, side, 3)`` uint8.

        Raises
        ------
        DataError
            If there is no such stimulus.
        """
        self._check(stimulus_id)
        return square(self._read_image(int(stimulus_id)), self.fit)

    def images(self, stimulus_id: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return several images of one size, ``(n, side, side, 3)`` uint8."""
        return np.stack([self.image(int(i)) for i in stimulus_id])

    def captions(self, stimulus_id: int) -> tuple[str, ...]:
        """Return the captions of one image, in the data set's order."""
        self._check(stimulus_id)
        return tuple(self._read_captions(int(stimulus_id)))

    def name(self, stimulus_id: int) -> str:
        """Return the name of one image: its file, or its id as text."""
        self._check(stimulus_id)
        return self._names.get(int(stimulus_id), str(stimulus_id))

    def _check(self, stimulus_id: int) -> None:
        if int(stimulus_id) not in self._row:
            raise DataError(
                f"there is no stimulus {stimulus_id}; this data set contains {len(self)} images "
                f"with 0-based ids from {self.stimulus_id.min()} to {self.stimulus_id.max()}."
            )


def _ids(images: Any, stimulus_id: ArrayLike | None) -> NDArray[np.int64]:
    if stimulus_id is None:
        if callable(images):
            raise ShapeError("images are read by a function: stimulus_id must say which stimuli there are.")
        return np.arange(len(images), dtype=np.int64)
    ids = np.asarray(stimulus_id)
    if ids.dtype.kind not in "iu" or ids.ndim != 1:
        raise DataError(f"stimulus_id is of type {ids.dtype} and shape {ids.shape}; integers (n,) are expected.")
    if len(np.unique(ids)) < len(ids):
        raise ShapeError("stimulus_id names a stimulus twice; each image needs an id of its own.")
    if not callable(images) and len(images) != len(ids):
        raise ShapeError(f"{len(images)} images need as many stimulus ids; found {len(ids)}.")
    return ids.astype(np.int64)


def _check_images(images: Any) -> Sequence[NDArray[np.uint8]]:
    for number, image in enumerate(images):
        if getattr(image, "dtype", None) != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}".strip()
            raise DataError(
                f"image {number} is {found}; uint8 of shape (height, width, 3) is expected. Convert numbers in 0 to 1 "
                "by (255 * image).round().astype('uint8')."
            )
    checked: Sequence[NDArray[np.uint8]] = images
    return checked


def _check_captions(captions: Sequence[str | Sequence[str]], n_stimuli: int) -> list[tuple[str, ...]]:
    if len(captions) != n_stimuli:
        raise ShapeError(f"{n_stimuli} images need a caption, or a list of captions, each; found {len(captions)}.")
    each = [(own,) if isinstance(own, str) else tuple(own) for own in captions]
    for number, own in enumerate(each):
        if not all(isinstance(caption, str) and caption.strip() for caption in own):
            raise DataError(f"the captions of image {number} are {own!r}; text that is not empty is expected.")
    return each


def _from_sequence(values: Sequence[T], row: Mapping[int, int]) -> Callable[[int], T]:
    return lambda stimulus: values[row[stimulus]]


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


def image_digest(stimulus_id: NDArray[np.int64], images: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of images ``(n, height, width, 3)`` and of which stimuli ``(n,)`` they are, in this order."""
    total = hashlib.sha256(f"{images.dtype} {images.shape} {stimulus_id.tolist()}".encode())
    total.update(np.ascontiguousarray(images).data)
    return f"sha256:{total.hexdigest()}"
