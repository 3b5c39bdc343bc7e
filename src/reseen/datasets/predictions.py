"""Read features that another decoder predicted, as one npz file per feature, or pixels as a folder of images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_files import join_names, read_npz
from reseen.datasets.array_types import integers, numbers
from reseen.errors import DataError
from reseen.features import Features
from reseen.files.images import IMAGE_SUFFIXES, read_image
from reseen.files.reading import shown

IDS = "stimulus_id"


def predictions_path(path: Path, subject: str) -> Path:
    """Return the file of a subject: ``{subject}`` in the path becomes its name."""
    return Path(str(path).replace("{subject}", subject))


def read_predictions(
    path: Path, name: str, shape: tuple[int, ...], stimulus_id: NDArray[np.int64]
) -> tuple[Features, str]:
    """Read the predictions of one feature for the held-out items.

    Parameters
    ----------
    path
        An npz file with ``stimulus_id`` ``(n_items,)`` and an array of the feature's name, ``(n_items, *shape)``
        or flat, ``(n_items, n_numbers)``. For pixels also a folder of images, each named by its stimulus id, such as
        ``00012.png``.
    name
        Name of the feature.
    shape
        Shape of the feature for one stimulus, such as ``(4, 40, 40)``.
    stimulus_id
        Shape ``(n_items,)``, sorted: the held-out items. For single trials an id repeats, and its rows are in order of
        presentation.

    Returns
    -------
    predictions, digest
        Features in the order of ``stimulus_id``, and the SHA-256 of numbers and ids.

    Raises
    ------
    DataError
        If an array is missing, has another type or shape, is not finite, or has other items.
    """
    if name == "pixels" and path.is_dir():
        arrays = _read_images(path, shape[-1])
        unread: list[str] = []
    else:
        arrays, unread = read_npz(path, lambda array: array in (IDS, name))
    for wanted in (IDS, name):
        if wanted not in arrays:
            raise DataError(
                f"{shown(path)} has no array {wanted!r}; it contains {join_names([*arrays, *unread]) or 'nothing'}. "
                f"Save stimulus_id (n_items,) and {name} (n_items, {', '.join(map(str, shape))})."
            )
    ids = integers(path, IDS, arrays[IDS], (len(stimulus_id),))
    n_numbers = int(np.prod(shape))
    found = arrays[name]
    flat = found.reshape(len(found), -1) if found.ndim > 1 and found.shape[1:] == shape else found
    array = numbers(path, name, flat, (len(ids), n_numbers))
    order = np.argsort(ids, kind="stable")
    if not np.array_equal(ids[order], stimulus_id):
        missing, unknown = np.setdiff1d(stimulus_id, ids), np.setdiff1d(ids, stimulus_id)
        raise DataError(
            f"{shown(path)}: the items are not those that are held out. Missing: {_some(missing)}; not held out: "
            f"{_some(unknown)}; each held-out id is expected once for each row that is decoded."
        )
    array = np.ascontiguousarray(array[order], dtype=np.float32)
    digest = hashlib.sha256(array.tobytes() + ids[order].tobytes()).hexdigest()
    return Features(name, array.reshape(len(ids), *shape), ids[order]), f"sha256:{digest}"


def _read_images(folder: Path, side: int) -> dict[str, NDArray[Any]]:
    """Read the images of a folder as pixels, ``(n, 3, side, side)``, 0...1, resized by Lanczos."""
    from PIL import Image

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    unnamed = [path for path in files if not path.stem.isdecimal()]
    if unnamed or not files:
        found = shown(unnamed[0].name) if unnamed else "no image"
        raise DataError(
            f"{shown(folder)} has {found}; a folder of decoded pixels has images named by stimulus id, as 00012.png.",
            where=folder,
        )
    pixels = np.empty((len(files), 3, side, side), dtype=np.float32)
    for row, path in enumerate(files):
        resized = Image.fromarray(read_image(path)).resize((side, side), Image.Resampling.LANCZOS)
        pixels[row] = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 255
    return {IDS: np.array([int(path.stem) for path in files]), "pixels": pixels}


def _some(ids: NDArray[np.int64]) -> str:
    return f"{len(ids)} ids, such as {ids[0]}" if len(ids) else "none"
