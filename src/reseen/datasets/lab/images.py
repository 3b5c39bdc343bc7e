"""Images and captions of a lab: a folder of image files, read one at a time, and a table of captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.array_stimuli import magnify
from reseen.datasets.lab.table import IMAGE_COLUMNS, Texts, read_columns
from reseen.errors import DataError
from reseen.files import IMAGE_SUFFIXES, read_image
from reseen.files.reading import shown
from reseen.stimuli import Fit, Stimuli


class ImageFolder:
    """Folder of image files; no image is read before it is used.

    A table names an image by its path in the folder, by its file name, or by its file name without suffix. A name that
    fits two files is refused.

    Parameters
    ----------
    folder
        Folder with the files, at any depth.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(
                f"there is no folder of images {shown(folder)}. Name it: data.images.",
                where="data.images",
                found=folder,
            )
        self.folder = folder

    @cached_property
    def _paths(self) -> Mapping[str, list[Path]]:
        """Files by each text that names them: path in the folder, file name, and file name without suffix."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
                continue
            for text in {path.relative_to(self.folder).as_posix(), path.name, path.stem}:
                found.setdefault(text, []).append(path)
        return found

    def find(self, name: str) -> Path | None:
        """Return the file of a name, or None if there is none.

        Raises
        ------
        DataError
            If the name fits several files.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        for text in (str(parts), parts.name):
            files = self._paths.get(text, [])
            if len(files) > 1:
                raise DataError(
                    f"{shown(self.folder)} has {len(files)} files for the image {shown(name)}: {shown(files[0])} and "
                    f"{shown(files[1])}. Write their paths into the table.",
                    where=self.folder,
                    expected=1,
                    found=len(files),
                )
            if files:
                return files[0]
        return None

    def need(self, name: str) -> Path:
        """Return the file of a name.

        Raises
        ------
        DataError
            If there is none, or several.
        """
        path = self.find(name)
        if path is None:
            some = ", ".join(file.name for file in list(self.folder.iterdir())[:3])
            raise DataError(
                f"{shown(self.folder)} has no image {shown(name)}, which a trial shows; it has {some or 'no files'}. "
                "Name the folder of the images: data.images.",
                where=self.folder,
                expected=name,
            )
        return path


def join_stimuli(
    names: Texts, folder: ImageFolder, captions: Mapping[Path, Texts], fit: Fit
) -> tuple[NDArray[np.int64], Stimuli]:
    """Return the stimuli of all trials; images have ids from 0, in the order of their sorted paths.

    Parameters
    ----------
    names
        Name of each trial's image; empty for a trial without an image.
    folder
        The image files.
    captions
        Captions by file; see `read_captions`.
    fit
        How to make images square.

    Returns
    -------
    stimulus_id
        Shape ``(n_trials,)``; -1 for a trial without an image.
    stimuli
        The images that trials show; each file is read at every use.

    Raises
    ------
    DataError
        If an image is not in the folder, or no trial has an image.
    """
    file_of = {name: folder.need(name) for name in dict.fromkeys(names) if name}
    if not file_of:
        raise DataError("no trial shows an image. A trial table with a column of image files is needed.", where="image")
    files = sorted(set(file_of.values()))
    number = {path: stimulus for stimulus, path in enumerate(files)}
    stimulus_id = np.array([number[file_of[name]] if name else -1 for name in names], dtype=np.int64)
    described = [captions.get(path, ()) for path in files]

    def read(stimulus: int) -> NDArray[np.uint8]:
        image: NDArray[np.uint8] = magnify(read_image(files[stimulus])[None])[0]
        return image

    names_of = [path.relative_to(folder.folder).as_posix() for path in files]
    read_captions: Callable[[int], Texts] | None = described.__getitem__ if any(described) else None
    return stimulus_id, Stimuli(read, read_captions, np.arange(len(files)), names=names_of, fit=fit)


def read_captions(path: Path, folder: ImageFolder) -> dict[Path, Texts]:
    """Read a table of captions: columns ``image`` and ``caption``, with a row for each caption.

    Captions of images that are not in the folder are left out.

    Raises
    ------
    DataError
        If the file is missing, is no table, or lacks a column.
    """
    columns = read_columns(path)
    named = [name for name in IMAGE_COLUMNS if name in columns]
    if not named or "caption" not in columns:
        raise DataError(
            f"{shown(path)} needs the columns image and caption; it has {', '.join(map(shown, columns))}.",
            where=path,
            expected=("image", "caption"),
            found=tuple(columns),
        )
    found: dict[Path, Texts] = {}
    for name, caption in zip(columns[named[0]], columns["caption"], strict=True):
        file = folder.find(name) if name and caption else None
        if file is not None:
            found[file] = (*found.get(file, ()), caption)
    return found


def first_folder(candidates: Iterable[Path]) -> Path | None:
    """Return the first of these folders that exists."""
    return next((folder for folder in candidates if folder.is_dir()), None)
