"""Folders of images: reconstructions and originals that are joined by file name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen.errors import DataError
from reseen.files import read_image, shown, unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_SAMPLE = re.compile(r"(?P<item>.+)_(?P<sample>\d+)")
_TRIAL = re.compile(r"(?P<name>.+)-t\d+")
_NAMED = 5  # files that an error lists


def read_folders(images: Path, originals: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """Read a folder of reconstructions and a folder of originals, joined by file name.

    Parameters
    ----------
    images
        Reconstructions, named after their originals: ``<id>.png``, or ``<id>_<sample>.png`` where there are several
        of each; of single trials ``<id>-t<trial>_<sample>.png``. A results folder uses the same names.
    originals
        Originals: ``<id>.png``, all of one size.

    Returns
    -------
    Reconstructions ``(n, n_samples, height, width, 3)``, originals ``(n, height, width, 3)``, both uint8 and in the
    order of the names, and numbers that distinguish the stimuli, ``(n,)``.

    Raises
    ------
    DataError
        If a folder or the partner of a file is missing, or images cannot be read, are transparent or differ in size.
    """
    pairs = join_names(_files(images), _files(originals), images, originals)
    true = _read([pairs.true[item] for item in pairs.items])
    generated = _read([path for item in pairs.items for path in pairs.made[item]])
    return generated.reshape(len(pairs.items), -1, *generated.shape[1:]), true, pairs.stimulus_id


@dataclass(frozen=True)
class Pairs:
    """Files that belong together.

    Parameters
    ----------
    items
        Names of the items, in order.
    true, made
        Original of each item, and its reconstructions, one for each sample.
    stimulus_id
        Shape ``(n_items,)``: numbers that distinguish stimuli; trials of one stimulus have the same number.
    """

    items: tuple[str, ...]
    true: dict[str, Path]
    made: dict[str, tuple[Path, ...]]
    stimulus_id: NDArray[np.int64]


def join_names(made: Sequence[Path], true: Sequence[Path], images: Path, originals: Path) -> Pairs:
    """Join files by their names.

    Parameters
    ----------
    made, true
        Files of the reconstructions and of the originals.
    images, originals
        The folders, for the messages.

    Raises
    ------
    DataError
        If a file has no partner, two files have one name, or items differ in their number of samples. The message names
        the files.
    """
    known = _once({name_of(path): path for path in true}, true, originals)
    samples: dict[str, dict[int, Path]] = {}
    alone, twice = [], []
    for path in made:
        item, sample = _item(name_of(path), known)
        if _stimulus(item, known) not in known:
            alone.append(path.name)
        elif sample in samples.setdefault(item, {}):
            twice.append(path.name)
        else:
            samples[item][sample] = path
    if alone:
        raise DataError(
            f"{_some(alone)} of {shown(images)}: {shown(originals)} has no image of that name. Expected <id>.png or "
            f"<id>_<sample>.png, where {shown(originals)} has <id>.png; rename or remove.",
            where=images,
            found=alone,
        )
    if twice:
        raise DataError(
            f"{_some(twice)} of {shown(images)}: another file is of the same stimulus and sample. Remove one.",
            where=images,
            found=twice,
        )
    reconstructed = {_stimulus(item, known) for item in samples}
    if left := [known[name].name for name in sorted(known) if name not in reconstructed]:
        raise DataError(
            f"{_some(left)} of {shown(originals)}: {shown(images)} has no image of it. Add it, or remove the original.",
            where=originals,
            found=left,
        )
    most = max(map(len, samples.values()))
    if few := [item for item in sorted(samples) if len(samples[item]) < most]:
        raise DataError(
            f"{shown(images)} has {most} samples of most images, and fewer of {_some(few)}. Score as many of each.",
            where=images,
            expected=most,
            found=few,
        )
    items = tuple(sorted(samples))
    number = {name: k for k, name in enumerate(sorted(known))}
    in_order = {}
    for item in items:
        of_item = samples[item]
        in_order[item] = tuple(of_item[sample] for sample in sorted(of_item))
    return Pairs(
        items,
        {item: known[_stimulus(item, known)] for item in items},
        in_order,
        np.array([number[_stimulus(item, known)] for item in items], dtype=np.int64),
    )


def name_of(path: Path) -> str:
    """Return a file's name without its ending, in Unicode's composed form: macOS writes names decomposed."""
    return unicodedata.normalize("NFC", path.stem)


def _item(stem: str, known: dict[str, Path]) -> tuple[str, int]:
    """Split a file's name into item and sample; the name of an original is not split."""
    parts = None if stem in known else _SAMPLE.fullmatch(stem)
    return (stem, 0) if parts is None else (parts["item"], int(parts["sample"]))


def _stimulus(item: str, known: dict[str, Path]) -> str:
    parts = None if item in known else _TRIAL.fullmatch(item)
    return item if parts is None else parts["name"]


def _once(by_name: dict[str, Path], files: Sequence[Path], folder: Path) -> dict[str, Path]:
    twice = [path.name for path in files if by_name[name_of(path)] != path]
    if twice:
        raise DataError(
            f"{_some(twice)} of {shown(folder)}: another file has the same name but for its ending. Remove one.",
            where=folder,
            found=twice,
        )
    return by_name


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {shown(folder)}.", where=folder)
    try:
        every = sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    files = [path for path in every if path.suffix.lower() in IMAGE_FILES and path.name[0] != "."]
    if not files:
        raise DataError(
            f"{shown(folder)} contains no images: expected {', '.join(IMAGE_FILES)}.",
            where=folder,
            expected=IMAGE_FILES,
        )
    return files


def _read(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Read images of one size, ``(n, height, width, 3)`` uint8."""
    first = read_image(paths[0])
    images = np.empty((len(paths), *first.shape), dtype=np.uint8)
    images[0] = first
    for place, path in enumerate(paths[1:], start=1):
        image = read_image(path)
        if image.shape != first.shape:
            raise DataError(
                f"images of one folder must be of one size: {paths[0].name} has {first.shape[1]} x {first.shape[0]} "
                f"pixels, {path.name} {image.shape[1]} x {image.shape[0]}. Resize one of them.",
                where=path,
                expected=first.shape,
                found=image.shape,
            )
        images[place] = image
    return images


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more
