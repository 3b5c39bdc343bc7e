"""Read NSD's images and COCO's captions of them, on demand."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from typing_extensions import TypedDict

from reseen.datasets.hdf5 import open_dataset
from reseen.datasets.nsd_facts import COCO_SPLITS, NsdFiles
from reseen.datasets.nsd_stim_info import read_stim_info
from reseen.datasets.volumes import FETCH, reading
from reseen.errors import DataError
from reseen.files import file_state, read_json
from reseen.stimuli import Fit, Stimuli

Captions = Mapping[int, tuple[str, ...]]
"""COCO id of an image -> its captions."""
N_SAMPLED = 64
"""Images that `check_images` reads."""
COCO_BYTES = 2**30
"""Largest size of COCO's captions; those of 2017 have 92 MB."""


class Truth(TypedDict, total=False):
    """Ground truth of a simulated tree: settings, and subsets and categories of its images."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    seed: int
    simulate: dict[str, Any]
    subsets: dict[str, list[int]]
    categories: dict[str, list[str]]


class Annotation(TypedDict):
    """One caption of COCO; its other keys are not read."""

    image_id: int
    caption: str


class Coco(TypedDict):
    """COCO's file of captions; its other keys are not read."""

    annotations: list[Annotation]


def count_images(files: NsdFiles) -> int:
    """Return the number of images in the stimulus file.

    Raises
    ------
    DataError
        If it is missing, truncated or holds no images.
    """
    return count_images_of(files.stimuli)


def count_images_of(path: Path) -> int:
    """Return the number of images in one file of stimuli, dataset ``imgBrick``.

    Raises
    ------
    DataError
        As `count_images`.
    """
    with reading(path), open_dataset(path, "imgBrick") as bricks:
        shape, dtype = bricks.shape, bricks.dtype
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
        raise DataError(f"{path} holds images of shape {shape} and type {dtype}; (n, H, W, 3) uint8 is needed.")
    return int(shape[0])


def read_images(files: NsdFiles, n_images: int, fit: Fit = "crop") -> Stimuli:
    """Return the images of a tree, to be read on demand; a simulated tree's subsets and categories are read now.

    Raises
    ------
    DataError
        If the file of subsets and categories is damaged.
    """
    truth = read_truth(files.truth)
    subsets = {str(name): frozenset(map(int, ids)) for name, ids in truth.get("subsets", {}).items()}
    categories = {str(name): dict(enumerate(labels)) for name, labels in truth.get("categories", {}).items()}
    drawn = bool(categories)  # only drawn scenes of a simulated tree have categories, not a user's own images
    return Stimuli(
        _image_reader(files),
        _caption_reader(files, n_images),
        np.arange(n_images),
        subsets=subsets,
        categories=categories,
        drawn=drawn,
        fit=fit,
    )


def read_truth(path: Path) -> Mapping[str, Any]:
    """Read the ground truth of a simulated tree; empty if there is no such file.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    return read_json(path, Truth, fix=FETCH) if os.path.lexists(path) else {}


def _image_reader(files: NsdFiles) -> Callable[[int], NDArray[np.uint8]]:
    black: set[int] = set()

    def read_image(stimulus_id: int) -> NDArray[np.uint8]:
        with reading(files.stimuli), open_dataset(files.stimuli, "imgBrick") as bricks:
            image: NDArray[np.uint8] = bricks[stimulus_id]
        if not image.any():
            black.add(stimulus_id)
        if len(black) > 1:  # one may be a blank stimulus
            raise DataError(_are_black(files.stimuli, sorted(black)))
        return image

    return read_image


def check_images(files: NsdFiles) -> None:
    """Check a sample of the images: a partial download of the right length contains zeros.

    Raises
    ------
    DataError
        If more than one of them is all black, or the file is damaged.
    """
    with reading(files.stimuli), open_dataset(files.stimuli, "imgBrick") as bricks:
        if not len(bricks):
            raise DataError(f"{files.stimuli} holds no images.")
        sample = np.unique(np.linspace(0, len(bricks) - 1, N_SAMPLED).astype(int)).tolist()
        black = [number for number in sample if not bricks[number].any()]
    if len(black) > 1:
        raise DataError(_are_black(files.stimuli, black))


def _are_black(path: Path, numbers: Sequence[int]) -> str:
    first = ", ".join(str(number) for number in numbers[:3])
    return f"{path} holds all-black images (number {first}, from 0). It seems to be a partial download: fetch it again."


def _caption_reader(files: NsdFiles, n_images: int) -> Callable[[int], Sequence[str]]:
    @cache
    def sources() -> Sequence[tuple[str, int]]:
        return read_stim_info(files, n_images).sources

    def read_captions(stimulus_id: int) -> Sequence[str]:
        split, coco_id = sources()[stimulus_id]
        return _captions_of(files, split).get(coco_id, ())

    return read_captions


def _captions_of(files: NsdFiles, split: str) -> Captions:
    path = files.captions(split)
    if not path.exists():
        raise DataError(
            f"{path} is missing; it holds the captions of COCO's {split}. Fetch it: {files.fetch_command(path)}"
        )
    return read_coco(path)


def read_coco(path: Path) -> Captions:
    """Read all captions of a COCO file; an unchanged file is read once for all subjects.

    Returns
    -------
    Mapping
        COCO id of an image -> its captions, in the order of the file.

    Raises
    ------
    DataError
        If the file is missing, damaged, or not COCO's captions.
    """
    return _read_coco(path, file_state(path))


@lru_cache(maxsize=len(COCO_SPLITS))
def _read_coco(path: Path, _state: tuple[int, ...]) -> Captions:
    """Return the captions; ``_state`` changes when the file does."""
    captions: dict[int, list[str]] = {}
    for annotation in read_json(path, Coco, at_most=COCO_BYTES, fix=FETCH)["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
    return {coco_id: tuple(texts) for coco_id, texts in captions.items()}
