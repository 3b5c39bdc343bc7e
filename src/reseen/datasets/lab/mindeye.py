"""Read the files of NSD that MindEye2 published: ``data.kind = "mindeye"``.

==================================== ========================== ==================================================
file                                 dataset, shape             content
==================================== ========================== ==================================================
betas_all_subj01_fp32_renorm.hdf5    betas (n_trials, n_voxels) voxels of nsdgeneral, standardised within sessions
coco_images_224_float16.hdf5         images (73000, 3, H, W)    channel first, 0 to 1; the row is NSD's image, from 0
wds/subj01/{train,new_test}/*.tar    ``*.behav.npy`` (1, n)     column 0: NSD's image, from 0; column 5: row of betas
COCO_73k_subj_indices.hdf5           subj01 (n_trials,)         NSD's image of each row of betas, from 0
shared1000.npy                       (73000,) bool              images of the test set
==================================== ========================== ==================================================

Trials are those of ``wds``, training and test; without this folder, those of ``COCO_73k_subj_indices.hdf5``, tested on
``shared1000.npy``. ``data.trials`` names one of them. Stimulus ids are NSD's, 0-based. A session has 750 trials, as in
NSD. Responses are not standardised again.

Read from public loaders, which use column 5 of ``behav`` as a row from 0; the true files were not opened. The voxels
have a place, for maps and ROI files, if ``data.mask`` names NSD's ``nsdgeneral.nii.gz`` of the subject: they are then
in numpy's order of ``betas[mask]`` (C order), which the loaders suggest and the authors do not describe.
The label check of `reseen check` tests the order of the trials.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.hdf5 import open_dataset, read_all
from reseen.datasets.lab.assemble import find_rois, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.matrices import map_array, read_columns_of
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.table import IMAGE_COLUMNS, Texts, TrialTable, read_columns
from reseen.datasets.lab.volumes import read_mask
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli

IMAGES = "coco_images_224_float16.hdf5"
INDICES = "COCO_73k_subj_indices.hdf5"
SHARED = "shared1000.npy"
SPACE = "func1pt8mm"
TRIALS_PER_SESSION = 750
IMAGE_COLUMN, ROW_COLUMN = 0, 5
"""Columns of ``behav``: NSD's image, and the row of the betas; both from 0."""
FOLDERS = {"train": ("train", "new_train"), "test": ("new_test", "test")}
"""Folders of ``wds``; the first that exists is read. ``new_test`` is the test set of all 40 sessions."""
Trials = tuple[NDArray[np.int64], NDArray[np.int64], Texts]
"""Row of the betas and NSD's image of each trial, and its split."""


def read(data: DataRecipe, subject: str) -> LabData:
    """Read a subject's trials; betas and images are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``trials`` names ``wds`` or the file of indices; ``captions`` is a table whose
        column ``image`` has NSD's ids, from 0; ``mask`` is nsdgeneral.
    subject
        Name of the subject, such as ``"subj01"``.

    Raises
    ------
    DataError
        If a file is missing or damaged, or an id is outside of the images.
    """
    root = need_root(data)
    path = _betas_file(data, subject)
    n_rows, n_voxels = _shape(path, "betas", 2)
    n_images, *_ = _shape(_images_file(data), "images", 4)
    rows, images, split = _trials(data, subject)
    for what, values, size in (("row", rows, n_rows), ("image", images, n_images)):
        if values.min() < 0 or values.max() >= size:
            raise DataError(
                f"{shown(root)}: a trial names the {what} {values.max()}; there are {size}, counted from 0. Fetch all "
                "files of one release.",
                where=root,
                expected=size,
                found=int(values.max()),
            )
    order = np.argsort(rows, kind="stable")  # the order of presentation
    rows, images, split = rows[order], images[order], tuple(split[row] for row in order) if split else ()

    def read_voxels(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        with reading(path), open_dataset(path, "betas") as betas:
            return read_columns_of(betas, columns, rows)

    session = tuple(str(row // TRIALS_PER_SESSION + 1) for row in rows)
    table = TrialTable(tuple(map(str, images)), session, split=split if any(split) else ())
    place = _place(data, path, n_voxels)
    responses = Responses(len(rows), n_voxels, read_voxels, place, standardised=True)
    notes = ["NSD's image ids, from 0", "responses standardised already"]
    if place is not None:
        notes.append(f"voxels in numpy's order of {data.mask}, which the authors do not describe")
    stimuli = _stimuli(data, np.unique(images))
    return LabData(root, table, images, stimuli, responses, find_rois(data, responses), tuple(notes))


def _betas_file(data: DataRecipe, subject: str) -> Path:
    if data.responses is not None:
        return locate(data, data.responses, "data.responses")
    root = need_root(data)
    path = root / f"betas_all_{subject}_fp32_renorm.hdf5"
    if not path.is_file():
        there = sorted(file.name for file in root.glob("betas_all_*.hdf5"))
        raise DataError(
            f"{shown(root)} has no {path.name}; it has {', '.join(map(shown, there)) or 'no betas_all_*.hdf5'}. Set "
            "data.subjects, or name the file: data.responses.",
            where="data.responses",
            expected=path.name,
            found=tuple(there),
        )
    return path


def _place(data: DataRecipe, path: Path, n_voxels: int) -> Place | None:
    """Return the voxels of ``data.mask`` in C order; None without a mask."""
    if data.mask is None:
        return None
    mask = locate(data, data.mask, "data.mask")
    place = read_mask(mask, SPACE)
    if len(place.index) != n_voxels:
        raise DataError(
            f"{shown(path)} has {n_voxels} voxels; the mask {shown(mask)} has {len(place.index)}. Name "
            f"nsdgeneral.nii.gz of this subject in {SPACE}, or leave data.mask out.",
            where="data.mask",
            expected=n_voxels,
            found=len(place.index),
        )
    return place


def _images_file(data: DataRecipe) -> Path:
    return need_root(data) / IMAGES if data.images is None else locate(data, data.images, "data.images")


def _shape(path: Path, name: str, n_axes: int) -> tuple[int, ...]:
    check_regular(path)
    with reading(path), open_dataset(path, name) as dataset:
        shape: tuple[int, ...] = dataset.shape
    if len(shape) != n_axes or (n_axes == 4 and shape[1] != 3):
        expected = "(n_trials, n_voxels)" if n_axes == 2 else "(n_images, 3, height, width)"
        raise DataError(
            f"{shown(path)}: {name} has shape {shape}; {expected} is expected. Fetch it again.",
            where=path,
            expected=expected,
            found=shape,
        )
    return shape


def _trials(data: DataRecipe, subject: str) -> Trials:
    root = need_root(data)
    if data.trials is not None:
        source = locate(data, data.trials, "data.trials")
        return _of_wds(source, subject) if source.is_dir() else _of_indices(source, root, subject)
    if (root / "wds").is_dir():
        return _of_wds(root / "wds", subject)
    if (root / INDICES).is_file():
        return _of_indices(root / INDICES, root, subject)
    raise DataError(
        f"{shown(root)} has neither the folder wds nor {INDICES}, which name the image of each trial. Fetch one of "
        "them, or name it: data.trials.",
        where="data.trials",
        expected=("wds", INDICES),
    )


def _of_wds(folder: Path, subject: str) -> Trials:
    """Return the trials of the tar files of a subject."""
    own = folder / subject if (folder / subject).is_dir() else folder
    rows, images, split = [], [], []
    for side, names in FOLDERS.items():
        tars = next((found for name in names if (found := sorted((own / name).glob("*.tar")))), [])
        behaviour = [trial for path in tars for trial in _behaviour(path)]
        rows += [int(trial[ROW_COLUMN]) for trial in behaviour]
        images += [int(trial[IMAGE_COLUMN]) for trial in behaviour]
        split += [side] * len(behaviour)
    if not rows:
        raise DataError(
            f"{shown(own)} has no tar files in train and new_test with *.behav.npy. Name the folder wds: data.trials.",
            where="data.trials",
        )
    if len(set(rows)) < len(rows):
        raise DataError(f"{shown(own)} names a row of the betas twice. Fetch the tar files again.", where=own)
    return np.array(rows), np.array(images), tuple(split)


def _behaviour(path: Path) -> Sequence[NDArray[np.float64]]:
    """Return the first row of each ``behav.npy`` of a tar file; no file is extracted to disk."""
    found = []
    with reading(path), tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and member.name.split(".", 1)[-1] == "behav.npy":
                content = archive.extractfile(member)
                assert content is not None  # a regular file
                values = np.load(io.BytesIO(content.read()), allow_pickle=False)
                found.append(np.atleast_2d(values)[0])
    return found


def _of_indices(path: Path, root: Path, subject: str) -> Trials:
    """Return all rows of the betas; images of ``shared1000.npy`` are the test set."""
    with reading(path), open_dataset(path, subject) as dataset:
        images = np.asarray(read_all(path, dataset), dtype=np.int64)
    shared = root / SHARED
    if not shared.is_file():
        return np.arange(len(images)), images, ()
    tested = np.isin(images, np.flatnonzero(map_array(shared, 1, "(n_images,)")))
    return np.arange(len(images)), images, tuple("test" if test else "train" for test in tested)


def _stimuli(data: DataRecipe, ids: NDArray[np.int64]) -> Stimuli:
    path = _images_file(data)
    captions = {} if data.captions is None else _captions(locate(data, data.captions, "data.captions"))
    described: Callable[[int], Texts] | None = (lambda stimulus: captions.get(stimulus, ())) if captions else None

    def read_image(stimulus: int) -> NDArray[np.uint8]:
        with reading(path), open_dataset(path, "images") as images:
            return to_uint8(path, images[stimulus])

    return Stimuli(read_image, described, ids, fit=data.fit)


def to_uint8(path: Path, image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return a channel-first image of numbers from 0 to 1 as ``(height, width, 3)`` uint8.

    Raises
    ------
    DataError
        If a number is missing or outside of 0 to 1.
    """
    values = np.asarray(image, dtype=np.float32)  # float16 has too few digits for 255 x + 0.5
    if not (values >= 0).all() or not (values <= 1).all():
        raise DataError(
            f"{shown(path)} has values from {np.nanmin(values):g} to {np.nanmax(values):g} in an image; 0 to 1 is "
            "expected. Fetch it again.",
            where=path,
            expected=(0, 1),
        )
    return np.ascontiguousarray(np.moveaxis(np.rint(255 * values).astype(np.uint8), 0, -1))


def _captions(path: Path) -> dict[int, Texts]:
    columns = read_columns(path)
    named = next((name for name in IMAGE_COLUMNS if name in columns), None)
    if named is None or "caption" not in columns or not all(cell.isdecimal() for cell in columns[named]):
        raise DataError(
            f"{shown(path)} needs the columns image (NSD's ids, from 0) and caption; it has "
            f"{', '.join(map(shown, columns))}.",
            where=path,
            expected=("image", "caption"),
            found=tuple(columns),
        )
    found: dict[int, Texts] = {}
    for cell, caption in zip(columns[named], columns["caption"], strict=True):
        if caption:
            found[int(cell)] = (*found.get(int(cell), ()), caption)
    return found
