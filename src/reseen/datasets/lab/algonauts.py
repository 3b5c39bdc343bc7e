"""Read the Algonauts Project 2023 challenge: ``data.kind = "algonauts"``.

A subject's folder has ``training_split/training_fmri/{lh,rh}_training_fmri.npy`` (images, vertices),
``training_split/training_images/train-0001_nsd-00012.png``, ``test_split/test_images`` and ``roi_masks``.

- Rows are images, not trials: responses are averaged over repetitions and standardised within sessions. They are not
  standardised again, and the number of repetitions is unknown, so that no noise ceilings can be computed.
- The number after ``train-`` is the row, *from 1*; the number after ``nsd-`` is NSD's image, *from 0*.
- Test images have no responses, which is legal: they are counted in `reseen check`.
- The vertices are those of fsaverage where ``{lh,rh}.all-vertices_fsaverage_space.npy`` is 1, in ascending order.

Read from public loaders; the true files were not opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import SURFACES
from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.matrices import map_array, read_columns_of
from reseen.datasets.lab.pickled import read_pickled
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.table import TrialTable
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

SIDES = ("lh", "rh")
SPACE = "fsaverage"
_NAME = re.compile(r"train-(\d+)_nsd-(\d+)\.\w+")


def read(data: DataRecipe, subject: str) -> LabData:
    """Read a subject's training images and vertices; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``path`` is the folder of the subjects, or of one subject.
    subject
        Name of the subject's folder, such as ``"subj01"``.

    Raises
    ------
    DataError
        If a file is missing or damaged, or does not fit the others.
    """
    folder = _folder(data, subject)
    halves = [_responses(folder, side) for side in SIDES]
    counts = {len(half) for half in halves}
    if len(counts) > 1:
        raise DataError(
            f"{shown(folder)}: the hemispheres have {len(halves[0])} and {len(halves[1])} images. Fetch them again.",
            where=folder,
            expected=len(halves[0]),
            found=len(halves[1]),
        )
    table = _table(folder, len(halves[0]))
    n_left = halves[0].shape[1]

    def read_voxels(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = columns[columns < n_left], columns[columns >= n_left] - n_left
        pairs = zip(halves, parts, strict=True)
        return np.concatenate([read_columns_of(half, part) for half, part in pairs], axis=1)

    place = _place(folder, halves)
    responses = Responses(len(table), len(place.index), read_voxels, place, standardised=True)
    n_test = sum(1 for _ in (folder / "test_split").rglob("test-*"))
    notes = ["responses are averages over repetitions, standardised already"]
    if n_test:
        notes.append(f"{n_test} test images without responses")
    if data.images is None:
        data = data.model_copy(update={"images": folder / "training_split" / "training_images"})
    return assemble(data, table, responses, rois=dict(_rois(folder, halves)), notes=tuple(notes))


def _folder(data: DataRecipe, subject: str) -> Path:
    root = need_root(data) if data.responses is None else locate(data, data.responses, "data.responses")
    for folder in (root / subject, root):
        if (folder / "training_split").is_dir():
            return _of_subject(folder, subject, is_root=folder == root)
    there = sorted(path.parent.name for path in root.glob("*/training_split"))
    raise DataError(
        f"{shown(root)} has no folder {subject}/training_split; it has subjects "
        f"{', '.join(map(shown, there)) or '(none)'}. Set data.subjects, or correct data.path.",
        where="data.subjects",
        expected=tuple(there),
        found=subject,
    )


def _of_subject(folder: Path, subject: str, *, is_root: bool) -> Path:
    """Return the folder; refuse the folder of another subject."""
    if is_root and re.fullmatch(r"subj\d+", folder.name) and folder.name != subject:
        raise DataError(
            f"{shown(folder)} is the folder of {folder.name}, and data.subjects names {subject}. Set data.subjects.",
            where="data.subjects",
            expected=folder.name,
            found=subject,
        )
    return folder


def _responses(folder: Path, side: str) -> NDArray[np.float32]:
    path = folder / "training_split" / "training_fmri" / f"{side}_training_fmri.npy"
    return map_array(path, 2, "(n_images, n_vertices)")


def _table(folder: Path, n_rows: int) -> TrialTable:
    """Return one trial per training image, in the order of the rows."""
    images = folder / "training_split" / "training_images"
    found = {}
    for path in images.glob("train-*"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError(
                f"{shown(path)} has another name than train-0001_nsd-00012.png. Fetch the images again.", where=path
            )
        found[int(match[1]) - 1] = (path.name, str(int(match[2])))  # the row counts from 1, NSD's image from 0
    if sorted(found) != list(range(n_rows)):
        raise DataError(
            f"{shown(images)} has {len(found)} training images, numbered {min(found, default=-1) + 1} to "
            f"{max(found, default=-1) + 1}; the responses have {n_rows} rows. One image for each row is needed.",
            where=images,
            expected=n_rows,
            found=len(found),
        )
    rows = [found[row] for row in range(n_rows)]
    return TrialTable(tuple(name for name, _ in rows), columns={"nsd_id": tuple(nsd for _, nsd in rows)})


def _place(folder: Path, halves: list[NDArray[np.float32]]) -> Place:
    n_vertices = SURFACES[SPACE]
    index = []
    for number, (side, half) in enumerate(zip(SIDES, halves, strict=True)):
        path = folder / "roi_masks" / f"{side}.all-vertices_fsaverage_space.npy"
        mask = map_array(path, 1, "(n_vertices,)")
        vertices = np.flatnonzero(mask)
        if len(mask) != n_vertices or len(vertices) != half.shape[1]:
            raise DataError(
                f"{shown(path)} marks {len(vertices)} of {len(mask)} vertices; {half.shape[1]} of {n_vertices} are "
                "expected. Fetch the masks of this subject.",
                where=path,
                expected=half.shape[1],
                found=len(vertices),
            )
        index.append(vertices + number * n_vertices)
    return Place(SPACE, (2, n_vertices, 1), np.concatenate(index))


def _rois(folder: Path, halves: list[NDArray[np.float32]]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each ROI of both hemispheres as a mask over the vertices with responses: ``name`` and ``atlas:name``."""
    for mapping in sorted((folder / "roi_masks").glob("mapping_*.npy")):
        atlas = mapping.stem.removeprefix("mapping_")
        labels = np.concatenate([_labels(folder, side, atlas, half) for side, half in zip(SIDES, halves, strict=True)])
        for number, name in read_pickled(mapping).items():
            if number:  # 0 is no ROI
                mask = labels == number
                yield str(name), mask
                yield f"{atlas}:{name}", mask


def _labels(folder: Path, side: str, atlas: str, half: NDArray[np.float32]) -> NDArray[np.int64]:
    path = folder / "roi_masks" / f"{side}.{atlas}_challenge_space.npy"
    labels = map_array(path, 1, "(n_vertices,)")
    if len(labels) != half.shape[1]:
        raise DataError(
            f"{shown(path)} has {len(labels)} vertices; the responses have {half.shape[1]}. Fetch the masks of this "
            "subject.",
            where=path,
            expected=half.shape[1],
            found=len(labels),
        )
    return labels.astype(np.int64)
