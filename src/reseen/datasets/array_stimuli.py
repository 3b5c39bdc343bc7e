"""Read stimuli from plain arrays: images, stimulus of each trial, captions and categories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_files import Arrays
from reseen.datasets.array_types import integers, texts
from reseen.errors import DataError
from reseen.files.reading import shown

BY_STIMULUS = {"stimulus_images", "stimulus_pictures"}
"""Names of an array of images by stimulus id."""
SMALLEST_SIDE = 64
"""Minimum of an image's longer side, in pixels; smaller images are magnified."""


@dataclass(frozen=True)
class Images:
    """Images by stimulus id.

    Parameters
    ----------
    images
        Shape ``(n, H, W, 3)`` uint8.
    row
        Stimulus id -> row of ``images``. Ids need not be consecutive: ids without trials take no memory.
    n_stimuli
        One more than the highest id with an image.
    """

    images: NDArray[np.uint8]
    row: dict[int, int]
    n_stimuli: int

    def image(self, stimulus_id: int) -> NDArray[np.uint8]:
        """Return one image, ``(H, W, 3)`` uint8."""
        image: NDArray[np.uint8] = self.images[self.row[stimulus_id]]
        return image


def read_images(found: Arrays, n_trials: int, n_voxels: int) -> tuple[Images, NDArray[np.int64]]:
    """Return the image of each stimulus, and the stimulus of each trial ``(n_trials,)``.

    Raises
    ------
    DataError
        If images or ids are missing, of another type or shape, or do not match.
    """
    path = shown(found.path)
    ids = _ids(found, n_trials, n_voxels)
    raw = found.need("images")
    by_stimulus = bool(BY_STIMULUS & set(found.arrays)) or _by_stimulus(found, len(raw), n_trials, ids)
    images = magnify(_to_rgb(found.path, raw))
    if by_stimulus:
        if ids is None or ids.max() >= len(images):
            given = "none" if ids is None else f"ids to {ids.max()}"
            raise DataError(
                f"{path}: {len(images)} images need a stimulus_id from 0 to {len(images) - 1}; found {given}."
            )
        return Images(images, {number: number for number in range(len(images))}, len(images)), ids
    if ids is None:
        ids = _as_they_appear(images)
    stimuli, first, row = np.unique(ids, return_index=True, return_inverse=True)
    differ = np.flatnonzero((images[first][row] != images).any(axis=(1, 2, 3)))
    if len(differ):
        raise DataError(
            f"{path}: two trials of stimulus {ids[differ[0]]} show different images. Correct stimulus_id or images."
        )
    rows = {int(stimulus): number for number, stimulus in enumerate(stimuli)}
    return Images(images[first], rows, int(stimuli[-1]) + 1), ids


def _ids(found: Arrays, n_trials: int, n_voxels: int) -> NDArray[np.int64] | None:
    """Return the stimulus of each trial, if ids were saved."""
    saved = found.get("stimulus_id")
    if saved is None:
        return None
    if saved.shape == (n_voxels,) and n_voxels != n_trials:
        raise DataError(
            f"{shown(found.path)}: betas has shape {(n_trials, n_voxels)} and stimulus_id {saved.shape}; betas seems "
            "to be transposed. Save betas.T: one row for each trial."
        )
    ids = integers(found.path, "stimulus_id", saved, (n_trials,))
    if ids.min() < 0:
        raise DataError(f"{shown(found.path)}: stimulus_id contains {ids.min()}; ids count from 0.")
    return ids


def _by_stimulus(found: Arrays, n_images: int, n_trials: int, ids: NDArray[np.int64] | None) -> bool:
    """Return whether ``images`` are ordered by stimulus id, and not by trial."""
    if n_images != n_trials:
        return True
    in_order = np.arange(n_trials)
    if ids is not None and np.array_equal(np.sort(ids), in_order) and not np.array_equal(ids, in_order):
        raise DataError(
            f"{shown(found.path)}: {n_images} images may be ordered by trial or by stimulus, and every stimulus is "
            "shown once. Call the array stimulus_images if image i is stimulus i, or leave stimulus_id out if it "
            "is trial i."
        )
    return False


def _as_they_appear(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return stimulus ids from 0 in order of appearance; equal images ``(n_trials, H, W, 3)`` are one stimulus."""
    _, first, row = np.unique(images.reshape(len(images), -1), axis=0, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[row.ravel()].astype(np.int64)


def _to_rgb(path: Path, images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        raise DataError(f"{shown(path)}: images have shape {images.shape}; (n, H, W) or (n, H, W, 3) is needed.")
    kind = images.dtype.kind
    if kind not in "biuf":
        raise DataError(f"{shown(path)}: images are {images.dtype}; uint8, bool, or floats from 0 to 1 are needed.")
    low, high = float(images.min()), float(images.max())
    if kind == "b" or (kind == "f" and low >= 0 and high <= 1):
        return np.rint(images.astype(np.float32) * 255).astype(np.uint8)
    if kind in "iu" and 0 <= low <= high <= 1:
        raise DataError(
            f"{shown(path)}: images are {images.dtype} from {low:g} to {high:g}; in integer images 255 is white, so "
            "that all would be black or nearly so. Save them as bool, or times 255."
        )
    if kind in "iu" and low >= 0 and high <= 255:
        return images.astype(np.uint8, copy=False)
    raise DataError(
        f"{shown(path)}: images are {images.dtype} from {low} to {high}; uint8, integers to 255, or floats "
        "from 0 to 1 are needed."
    )


def magnify(images: NDArray[np.uint8], side: int = SMALLEST_SIDE) -> NDArray[np.uint8]:
    """Magnify small images by the smallest sufficient integer factor; larger images are returned unchanged.

    Edges stay sharp, and there is no padding.

    Parameters
    ----------
    images
        Shape ``(n, H, W, 3)``.
    side
        Minimum of the longer side, in pixels.
    """
    factor = -(-side // max(images.shape[1:3]))
    return images if factor == 1 else images.repeat(factor, axis=1).repeat(factor, axis=2)


def read_captions(found: Arrays, n_stimuli: int) -> list[tuple[str, ...]]:
    """Return the captions of each stimulus; an empty or missing text is no caption.

    Raises
    ------
    DataError
        If the number of entries is not the number of stimuli, or an entry is not text.
    """
    if "captions" in found.arrays:
        table = _of_stimuli(found, "captions", n_stimuli, most_axes=2)
        words = texts(found.path, "captions", table.ravel())
        width = max(table.size // n_stimuli, 1)
        rows = [words[start : start + width] for start in range(0, len(words), width)]
        return [tuple(filter(None, row)) for row in rows]
    if "figure_name" in found.arrays:
        names = texts(found.path, "figure_name", _of_stimuli(found, "figure_name", n_stimuli))
        return [(f"a white {name} on black",) if name else () for name in names]
    return [()] * n_stimuli


def read_categories(found: Arrays, n_stimuli: int) -> dict[str, dict[int, str]]:
    """Return the category of each stimulus, text or integers; an empty or missing text is no category.

    Raises
    ------
    DataError
        If the number of entries is not the number of stimuli, or an entry is neither text nor an integer.
    """
    if "category" not in found.arrays:
        return {}
    values = _of_stimuli(found, "category", n_stimuli)
    if values.dtype.kind in "US":
        return {"category": dict(enumerate(texts(found.path, "category", values)))}
    codes = integers(found.path, "category", values, (n_stimuli,))
    return {"category": {number: str(label) for number, label in enumerate(codes)}}


def _of_stimuli(found: Arrays, name: str, n_stimuli: int, *, most_axes: int = 1) -> NDArray[Any]:
    """Return an array with one entry per stimulus; refuse another length."""
    values = found.arrays[name]
    if 1 <= values.ndim <= most_axes and len(values) == n_stimuli:
        return values
    needed = f"{shown(found.path)}: {name} has shape {values.shape}; {n_stimuli} stimuli need one each"
    if found.get("stimulus_id") is not None:
        raise DataError(
            f"{needed}, by stimulus_id, from 0 to {n_stimuli - 1}. If ids are not consecutive, number them anew: ids, "
            "stimulus_id = numpy.unique(stimulus_id, return_inverse=True)."
        )
    raise DataError(
        f"{needed}. Ids are left out: equal images are one stimulus, and stimuli are numbered as they first appear "
        f"in the trials. Give {name} in that order, or save stimulus_id too."
    )


def count_copies(images: Images, tested: NDArray[np.int64] | None, seen: NDArray[np.int64]) -> tuple[int, int]:
    """Count stimuli whose image is identical to that of another stimulus.

    Parameters
    ----------
    images
        Images by stimulus id.
    tested
        Ids of the fixed test set, or None.
    seen
        Ids of the presented stimuli.

    Returns
    -------
    n_copies
        Number of presented stimuli with the same image as another one.
    n_leaked
        Number of test stimuli with the same image as a training stimulus; 0 without a fixed test set.
    """
    owners: dict[bytes, list[int]] = {}
    for stimulus in seen:
        owners.setdefault(images.image(int(stimulus)).tobytes(), []).append(int(stimulus))
    groups = [set(group) for group in owners.values() if len(group) > 1]
    test = set() if tested is None else {int(stimulus) for stimulus in tested}
    return sum(map(len, groups)), sum(len(group & test) for group in groups if group - test)
