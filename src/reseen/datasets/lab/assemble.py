"""Complete what a reader found, trials and responses, with the lab's images, captions and ROIs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.images import ImageFolder, first_folder, join_stimuli, read_captions
from reseen.datasets.lab.rois import read_rois
from reseen.datasets.lab.table import TrialTable
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

IMAGE_FOLDERS = ("stimuli", "images")
"""Names of the folder of images, in the folder of the data or next to it."""


def need_root(data: DataRecipe) -> Path:
    """Return the folder or file of the data.

    Raises
    ------
    DataError
        If none was given, or it does not exist.
    """
    if data.path is None:
        raise DataError(
            "no data folder was given: set data.path in the recipe, or pass --data FOLDER.", where="data.path"
        )
    if not data.path.exists():
        raise DataError(f"there is no {shown(data.path)}. Correct data.path, or pass --data.", where="data.path")
    return data.path


def _folder(root: Path) -> Path:
    """Return the folder of the data: the folder of the file, if ``data.path`` is a file."""
    return root if root.is_dir() else root.parent


def locate(data: DataRecipe, path: Path, key: str) -> Path:
    """Return the path of a setting: relative to the folder of the data, or else to the working directory.

    Raises
    ------
    DataError
        If it exists in neither.
    """
    for found in (_folder(need_root(data)) / path, path):
        if found.exists():
            return found
    raise DataError(
        f"{key} is {shown(path)}; it exists neither in {shown(need_root(data))} nor here. Correct {key}.",
        where=key,
        found=path,
    )


def assemble(
    data: DataRecipe,
    table: TrialTable,
    responses: Responses,
    *,
    rois: Mapping[str, NDArray[np.bool_]] | None = None,
    notes: tuple[str, ...] = (),
) -> LabData:
    """Return a subject's data with images, captions and ROIs.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: ``images``, ``captions`` and ``roi_files``.
    table
        Trials, in order of presentation.
    responses
        Responses to these trials.
    rois
        Masks over all voxels that the data have themselves, in addition to ``roi_files``.
    notes
        Facts about the data that `reseen check` prints.

    Raises
    ------
    DataError
        If an image, the folder of images, or an ROI file is missing or damaged.
    """
    root = need_root(data)
    folder = find_images(data)
    captions_file = find_captions(data, folder)
    captions = {} if captions_file is None else read_captions(captions_file, folder)
    stimulus_id, stimuli = join_stimuli(table.image, folder, captions, data.fit)
    masks = {**(rois or {}), **find_rois(data, responses)}
    n_without = int((stimulus_id < 0).sum())
    if n_without:
        notes = (*notes, f"{n_without} trials without an image, which are left out")
    return LabData(root, table, stimulus_id, stimuli, responses, masks, notes)


def find_images(data: DataRecipe) -> ImageFolder:
    """Return the folder of images: ``data.images``, or `IMAGE_FOLDERS` in the folder of the data or next to it.

    Raises
    ------
    DataError
        If there is none.
    """
    root = _folder(need_root(data))
    if data.images is not None:
        return ImageFolder(locate(data, data.images, "data.images"))
    folder = first_folder(place / name for place in (root, root.parent) for name in IMAGE_FOLDERS)
    if folder is None:
        raise DataError(
            f"{shown(root)} has no folder {' or '.join(IMAGE_FOLDERS)}. Name the folder of the images: data.images.",
            where="data.images",
            expected=IMAGE_FOLDERS,
        )
    return ImageFolder(folder)


def find_captions(data: DataRecipe, images: ImageFolder) -> Path | None:
    """Return the table of captions: ``data.captions``, or ``captions.csv`` in the folder of images; None without."""
    if data.captions is not None:
        return locate(data, data.captions, "data.captions")
    own = images.folder / "captions.csv"
    return own if own.is_file() else None


def find_rois(data: DataRecipe, responses: Responses) -> Mapping[str, NDArray[np.bool_]]:
    """Return the ROIs of ``data.roi_files``, or of the folder ``rois`` in the folder of the data; none without both.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the voxels have no place.
    """
    root = need_root(data)
    places = [locate(data, path, "data.roi_files") for path in data.roi_files]
    if not places and (_folder(root) / "rois").is_dir():
        places = [_folder(root) / "rois"]
    if not places:
        return {}
    if responses.place is None:
        raise DataError(
            f"{shown(root)}: the voxels of these responses have no place, so that ROI files cannot be matched with "
            "them. Name a brain mask: data.mask.",
            where="data.mask",
        )
    return read_rois(places, responses.place)
