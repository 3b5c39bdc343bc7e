"""Images of simulated subjects: drawn scenes, or a folder of the user's own images."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from reseen.errors import DataError, RecipeError
from reseen.files import read_image, read_json, read_text
from reseen.files.reading import shown
from reseen.recipe import SimulateRecipe
from reseen.simulate.attributes import describe
from reseen.simulate.captions import write_captions
from reseen.simulate.design import deal_ids
from reseen.simulate.filters import SIDE
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import Scene, sample_scene

Progress = Callable[[int, int], None]
OWN_SIZE = 425
"""Side of the user's images after resizing, in pixels; as in NSD."""
N_CAPTIONS = 5
_SUFFIXES = (".png", ".jpg", ".jpeg")
_SCENE_STREAM = 211
"""Seed stream of these scenes, which differ from the training scenes of any model."""


@dataclass(frozen=True)
class Shown:
    """Images of a data set, and the images of each subject.

    Parameters
    ----------
    images
        Shape ``(n, height, width, 3)`` uint8.
    small
        Shape ``(n, 64, 64, 3)`` uint8: input of the cortex.
    captions
        Captions of each image.
    attributes
        Shape ``(n, n_attributes)`` float32, or None if the categories are unknown.
    shared
        Shape ``(n_test,)``, ascending: test images, shared by all subjects.
    own
        For each subject ``(n_train,)``: training images.
    subsets
        ``"seen"`` and ``"novel"`` test images, or empty.
    categories
        ``"background"`` and ``"objects"`` of each image, or empty.
    descriptions
        Scene of each image, or the name of its file.
    """

    images: NDArray[np.uint8]
    small: NDArray[np.uint8]
    captions: tuple[tuple[str, ...], ...]
    attributes: NDArray[np.float32] | None
    shared: NDArray[np.int64]
    own: tuple[NDArray[np.int64], ...]
    subsets: Mapping[str, list[int]]
    categories: Mapping[str, list[str]]
    descriptions: tuple[Mapping[str, Any], ...]


def draw_images(recipe: SimulateRecipe, rng: Generator, progress: Progress | None = None) -> Shown:
    """Draw scenes: half of the test images contain held-out combinations, and no training image does.

    ``progress`` is a function of the number of images drawn and the total.
    """
    n = recipe.n_test + recipe.n_subjects * recipe.n_train
    shared, own = deal_ids(recipe.n_test, recipe.n_train, recipe.n_subjects, n, rng)
    novel = frozenset(rng.permutation(shared)[: recipe.n_test // 2].tolist())
    seed = recipe.seed % 2**63
    scenes, captions, images = [], [], np.empty((n, SIDE, SIDE, 3), dtype=np.uint8)
    for i in range(n):
        own_rng = np.random.default_rng((seed, _SCENE_STREAM, i))
        scenes.append(sample_scene(own_rng, novel=i in novel))
        images[i] = draw_scene(scenes[i])
        captions.append(write_captions(scenes[i], own_rng, N_CAPTIONS))
        if progress is not None:
            progress(i + 1, n)
    subsets = {"seen": [i for i in shared.tolist() if i not in novel], "novel": sorted(novel)}
    return Shown(
        images=images,
        small=images,
        captions=tuple(captions),
        attributes=describe(scenes),
        shared=shared,
        own=tuple(own),
        subsets=subsets,
        categories={
            "background": [scene.background for scene in scenes],
            "objects": [_objects(scene) for scene in scenes],
        },
        descriptions=tuple(asdict(scene) for scene in scenes),
    )


def _objects(scene: Scene) -> str:
    return " and ".join(sorted(thing.kind for thing in scene.things))


def read_images(folder: Path, recipe: SimulateRecipe, rng: Generator, progress: Progress | None = None) -> Shown:
    """Read the user's own images: ``*.png`` or ``*.jpg``, with ``captions.json`` or a ``.txt`` next to each.

    ``captions.json`` maps a file name to a caption or a list of captions; a ``.txt`` has one caption per line. Images
    are cropped to their middle square. Subjects have different training images if there are enough. ``progress`` is a
    function of the number of images read and the total.

    Raises
    ------
    DataError
        If the folder is missing, an image cannot be read or has no caption (see `reseen.files.read_image`).
    RecipeError
        If there are fewer images than the recipe needs.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; expected a folder with .png or .jpg images and their captions.", where=folder
        )
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
    needed = recipe.n_test + recipe.n_train
    if len(files) < needed:
        raise RecipeError(
            f"{folder} has {len(files)} images; simulate.n_test + simulate.n_train is {needed}. Decrease them, and set "
            "simulate.n_sessions and simulate.trials_per_session to about three trials for each image.",
            where="simulate.n_train",
            expected=needed,
            found=len(files),
        )
    shared, own = deal_ids(recipe.n_test, recipe.n_train, recipe.n_subjects, len(files), rng)
    used = np.unique(np.concatenate([shared, *own]))
    chosen = [files[i] for i in used]
    captions = _read_captions(folder, chosen)
    images = np.empty((len(chosen), OWN_SIZE, OWN_SIZE, 3), dtype=np.uint8)
    small = np.empty((len(chosen), SIDE, SIDE, 3), dtype=np.uint8)
    for i, path in enumerate(chosen):
        images[i] = full = _read_square(path, OWN_SIZE)
        small[i] = np.asarray(Image.fromarray(full).resize((SIDE, SIDE), Image.Resampling.BOX))
        if progress is not None:
            progress(i + 1, len(chosen))
    return Shown(
        images=images,
        small=small,
        captions=captions,
        attributes=None,
        shared=np.searchsorted(used, shared),
        own=tuple(np.searchsorted(used, ids) for ids in own),
        subsets={},
        categories={},
        descriptions=tuple({"file": path.name} for path in chosen),
    )


def _read_square(path: Path, side: int) -> NDArray[np.uint8]:
    image = Image.fromarray(read_image(path))
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    square = image.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
    return np.asarray(square)


def _read_captions(folder: Path, files: list[Path]) -> tuple[tuple[str, ...], ...]:
    table = folder / "captions.json"
    named: dict[str, str | list[str]] = read_json(table, dict[str, str | list[str]]) if os.path.lexists(table) else {}
    # macOS writes names in another Unicode form than most editors
    known = {_normal(name): captions for name, captions in named.items()}
    return tuple(_captions_of(path, known) for path in files)


def _captions_of(path: Path, named: Mapping[str, str | list[str]]) -> tuple[str, ...]:
    beside = path.with_suffix(".txt")
    found = next((named[name] for name in map(_normal, (path.name, path.stem)) if name in named), None)
    if found is None:
        found = read_text(beside).splitlines() if os.path.lexists(beside) else []
    lines = [found] if isinstance(found, str) else found
    captions = tuple(line.strip() for line in lines if line.strip())
    if not captions:
        raise DataError(
            f"{shown(path)} has no caption: add it to captions.json in its folder, or write {shown(beside.name)} next "
            "to it.",
            where=path,
        )
    return captions


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)
