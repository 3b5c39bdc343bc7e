"""Read BData, the format of the Kamitani lab: ``data.kind = "bdata"``.

A BData file has a matrix of samples by columns; a row of its metadata marks the columns of a key with 1. ``VoxelData``
marks the voxels, ``ROI_<name>`` those of an ROI, and a key with one column describes the trials. A key with a ``vmap``
has a text for each number. Names of groups were read in bdpy, which also writes ``dataSet`` and ``metaData``.

- The image of a trial is ``stimulus_name`` of the vmap; or, of ``stimulus_id``, the ImageNet name: 1518878.010042 is
  ``n01518878_10042``; or the row of the table ``data.trials`` with the same value of a key.
- ``DataType`` 1 is a training trial, 2 a test trial, and 3 imagery, which has no image. Without this key, the words
  Training, Test and Imagery in the file's name say it.
- Several files of a subject are joined: training first, then test. Their sessions stay apart, because each file numbers
  its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.hdf5 import find_dataset, find_group, read_all
from reseen.datasets.lab.assemble import assemble, find_images, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.matrices import read_columns_of
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.subjects import of_subject
from reseen.datasets.lab.table import IMAGE_COLUMNS, Texts, TrialTable, join_tables, read_columns
from reseen.datasets.volumes import read_grid
from reseen.errors import DataError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

NAMES = (("dataset", "metadata"), ("dataSet", "metaData"))
"""Names of the matrix and of its metadata, now and in older files."""
ROI = "ROI_"
IMAGE_KEYS = ("stimulus_name", "stimulus_id")
SPLITS = {1: "train", 2: "test"}
IMAGERY = 3
"""Value of ``DataType`` for imagery."""
_DECIMALS = 6
"""Decimals of ``stimulus_id`` that number the image of a synset."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BData:
    """Metadata and trial columns of one file; the responses stay in the file.

    Parameters
    ----------
    path
        The file.
    matrix
        Name of the matrix of samples by columns.
    voxels
        Column of each voxel, ``(n_voxels,)``.
    rois
        Masks over these voxels.
    position
        ``"xyz"`` -> millimetres and ``"ijk"`` -> indices of each voxel, ``(n_voxels, 3)``, as far as known.
    trials
        Key -> value in each trial, ``(n_trials,)``.
    texts
        Key -> its vmap.
    """

    path: Path
    matrix: str
    voxels: NDArray[np.int64]
    rois: Mapping[str, NDArray[np.bool_]]
    position: Mapping[str, Matrix]
    trials: Mapping[str, Matrix]
    texts: Mapping[str, Mapping[float, str]]

    @property
    def n_trials(self) -> int:
        """Number of samples."""
        return len(next(iter(self.trials.values())))


def read(data: DataRecipe, subject: str) -> LabData:
    """Read the trials of a subject's BData files; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``path`` is a file, or a folder of files that begin with the subject's name.
    subject
        Name of the subject, such as ``"sub-01"``.

    Raises
    ------
    DataError
        If a file is missing, damaged or no BData, if files have other voxels, or if images are not named.
    """
    files = [read_bdata(path) for path in _files(data, subject)]
    first = files[0]
    for file in files[1:]:
        if not _same_voxels(first, file):
            raise DataError(
                f"{shown(file.path)} has {len(file.voxels)} voxels, and {shown(first.path)} has {len(first.voxels)} or "
                "others in another order. Put files of other voxels in another folder.",
                where=file.path,
                expected=len(first.voxels),
                found=len(file.voxels),
            )
    table = join_tables([_table(data, file, several=len(files) > 1) for file in files])

    def read_voxels(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate([_read_voxels(file, columns) for file in files])

    responses = Responses(len(table), len(first.voxels), read_voxels, _place(data, first))
    return assemble(data, table, responses, rois=first.rois)


def _files(data: DataRecipe, subject: str) -> list[Path]:
    root = need_root(data) if data.responses is None else locate(data, data.responses, "data.responses")
    if root.is_file():
        return [root]
    files = sorted(path for path in root.glob("*.h5") if not path.name.startswith("."))
    if not files:
        raise DataError(f"{shown(root)} has no BData file (.h5). Correct data.path.", where="data.path")
    order = {"train": 0, "test": 1, "": 2, "imagery": 3}
    return sorted(of_subject(root, files, subject), key=lambda path: (order[_side(path)], path.name))


def _side(path: Path) -> str:
    """Return ``train``, ``test``, ``imagery`` or an empty text by the words of a file's name."""
    for word, side in (("imagery", "imagery"), ("train", "train"), ("test", "test")):
        if word in path.name.lower():
            return side
    return ""


def read_bdata(path: Path) -> BData:
    """Read everything of a BData file but its voxels.

    Raises
    ------
    DataError
        If it is missing, damaged or no BData.
    """
    import h5py

    check_regular(path)
    with reading(path), h5py.File(path, "r") as file:
        there = tuple(file)  # `name in file` would open the target of an external link
        matrix, metadata = next((names for names in NAMES if set(names) <= set(there)), ("", ""))
        if not matrix:
            raise DataError(
                f"{shown(path)} is no BData: it has {', '.join(map(shown, there)) or 'nothing'}, and dataset and "
                "metadata are expected. Correct data.path.",
                where=path,
                expected=NAMES[0],
                found=there,
            )
        keys = [_text(key) for key in read_all(path, find_dataset(path, file, f"{metadata}/key"))]
        values = find_dataset(path, file, f"{metadata}/value")
        rows = {
            key: np.asarray(values[row], dtype=np.float64) for row, key in enumerate(keys) if not key.startswith(ROI)
        }
        voxels = np.flatnonzero(_row(path, rows, "VoxelData") == 1)
        masks = ((row, key) for row, key in enumerate(keys) if key.startswith(ROI))
        rois = {key.removeprefix(ROI): values[row][voxels] == 1 for row, key in masks}
        samples = find_dataset(path, file, matrix)
        trials = {
            key: np.asarray(samples[:, int(np.flatnonzero(row == 1)[0])], dtype=np.float64)
            for key, row in rows.items()
            if (row == 1).sum() == 1 and not key.startswith("voxel_")
        }
        if not trials:
            raise DataError(f"{shown(path)} has no key that describes its trials, such as stimulus_name.", where=path)
        mapped = tuple(find_group(path, file, "vmap")) if "vmap" in there else ()
        texts = {key: _vmap(path, file, key) for key in mapped}
    return BData(path, matrix, voxels, rois, _position(rows, voxels), trials, texts)


def _row(path: Path, rows: Mapping[str, Matrix], key: str) -> Matrix:
    if key not in rows:
        raise DataError(f"{shown(path)} has no key {key}, which marks the voxels. Save it with bdpy again.", where=path)
    return rows[key]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _vmap(path: Path, file: Any, key: str) -> dict[float, str]:
    """Return the text of each number of a key."""
    group = find_group(path, file, f"vmap/{key}")
    texts = {number: find_dataset(path, file, f"vmap/{key}/{number}") for number in group}
    return {float(number): _text(read_all(path, text)) for number, text in texts.items()}


def _position(rows: Mapping[str, Matrix], voxels: NDArray[np.int64]) -> dict[str, Matrix]:
    found = {}
    for axes in ("xyz", "ijk"):
        keys = [f"voxel_{axis}" for axis in axes]
        if all(key in rows for key in keys):
            values = np.stack([rows[key][voxels] for key in keys], axis=1)
            if np.isfinite(values).all():
                found[axes] = values
    return found


def _same_voxels(a: BData, b: BData) -> bool:
    if len(a.voxels) != len(b.voxels):
        return False
    return all(np.array_equal(a.position[axes], b.position[axes]) for axes in set(a.position) & set(b.position))


def _read_voxels(file: BData, columns: NDArray[np.int64]) -> NDArray[np.float32]:
    import h5py

    with reading(file.path), h5py.File(file.path, "r") as opened:
        return read_columns_of(find_dataset(file.path, opened, file.matrix), file.voxels[columns])


def _table(data: DataRecipe, file: BData, *, several: bool) -> TrialTable:
    """Return the trials of one file; its name precedes the session where files are joined."""
    columns = {key: _labels(file, key) for key in file.trials}
    session, run = columns.get("Session", ()), columns.get("Run", ())
    if several:
        session = tuple(f"{file.path.stem}/{label}" for label in session or ("",) * file.n_trials)
    kind = file.trials.get("DataType")
    side = _side(file.path)
    image = _images(data, file)
    if kind is not None:
        split = tuple(SPLITS.get(int(value), "") for value in kind)
        image = tuple("" if value == IMAGERY else name for value, name in zip(kind, image, strict=True))
    else:
        split = (side,) * file.n_trials if side in SPLITS.values() else ()
        image = ("",) * file.n_trials if side == "imagery" else image
    return replace(TrialTable(image, session, run, columns=columns), split=split if any(split) else ())


def _labels(file: BData, key: str) -> Texts:
    """Return a key's values as text: of its vmap, or numbers without a superfluous ``.0``."""
    texts = file.texts.get(key, {})
    return tuple(texts.get(value, _number(value)) for value in file.trials[key].tolist())


def _number(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0f}" if value == int(value) else f"{value:.{_DECIMALS}f}"


def _images(data: DataRecipe, file: BData) -> Texts:
    """Return the image of each trial."""
    if data.trials is not None:
        return _images_of_table(locate(data, data.trials, "data.trials"), file)
    key = next((key for key in IMAGE_KEYS if key in file.trials), None)
    if key is not None and file.texts.get(key):
        return _labels(file, key)
    if key is None:
        raise DataError(
            f"{shown(file.path)} has no key {' or '.join(IMAGE_KEYS)}; it has {', '.join(map(shown, file.trials))}. "
            "Name a table with a column image and a column of one of these keys: data.trials.",
            where="data.trials",
            expected=IMAGE_KEYS,
            found=tuple(file.trials),
        )
    names = tuple(_imagenet_name(value) for value in file.trials[key].tolist())
    folder = find_images(data)
    missing = next((name for name in names if name and folder.find(name) is None), None)
    if missing is not None:
        raise DataError(
            f"{shown(file.path)} numbers its images, and {shown(folder.folder)} has no file {missing}. Name the folder "
            f"of the images (data.images), or a table with the columns {key} and image (data.trials).",
            where="data.trials",
            expected=missing,
        )
    return names


def _imagenet_name(value: float) -> str:
    """Return the name in ImageNet of ``synset.image``: not a whole number, so it is never cast to int as it is."""
    if np.isnan(value):
        return ""
    synset, image = divmod(round(value * 10**_DECIMALS), 10**_DECIMALS)
    return f"n{synset:08d}_{image}"


def _images_of_table(path: Path, file: BData) -> Texts:
    columns = read_columns(path)
    image = next((name for name in IMAGE_COLUMNS if name in columns), None)
    key = next((name for name in columns if name in file.trials), None)
    if image is None or key is None:
        raise DataError(
            f"{shown(path)} has the columns {', '.join(map(shown, columns))}; a column image and one of "
            f"{', '.join(map(shown, file.trials))} are expected.",
            where=path,
            expected=("image", *file.trials),
            found=tuple(columns),
        )
    texts = file.texts.get(key)
    if texts:
        by_text = dict(zip(columns[key], columns[image], strict=True))
        return tuple(by_text.get(label, "") for label in _labels(file, key))
    cells = [(cell, name) for cell, name in zip(columns[key], columns[image], strict=True) if cell]
    by_number = {_rounded(path, cell): name for cell, name in cells}
    return tuple(by_number.get(_millionths(value), "") for value in file.trials[key].tolist())


def _rounded(path: Path, cell: str) -> int:
    try:
        return _millionths(float(cell))
    except ValueError as error:
        raise DataError(f"{shown(path)} has {shown(cell)} where a number is expected.", where=path) from error


def _millionths(value: float) -> int:
    return -1 if np.isnan(value) else round(value * 10**_DECIMALS)


def _place(data: DataRecipe, file: BData) -> Place | None:
    """Return the place of the voxels: on the grid of ``data.mask``, or on the grid that their positions define."""
    xyz, ijk = file.position.get("xyz"), file.position.get("ijk")
    if data.mask is not None:
        return _place_on(locate(data, data.mask, "data.mask"), file)
    if xyz is None or ijk is None or ijk.min(initial=0) < 0:
        return None
    with_one = np.column_stack([ijk, np.ones(len(ijk))])
    solution, _, rank, _ = np.linalg.lstsq(with_one, xyz, rcond=None)  # xyz = affine @ (i, j, k, 1)
    if rank < 4 or np.abs(with_one @ solution - xyz).max() > 0.1:  # millimetres
        return None
    affine = np.vstack([solution.T.round(6), [0, 0, 0, 1]])
    return _on_grid(file.path, ijk.max(axis=0).astype(np.int64) + 1, np.rint(ijk).astype(np.int64), affine)


def _place_on(mask: Path, file: BData) -> Place:
    shape, affine = read_grid(mask)
    xyz, ijk = file.position.get("xyz"), file.position.get("ijk")
    if affine is not None and xyz is not None:
        to_voxels = np.linalg.inv(affine)
        ijk = xyz @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    if ijk is None:
        raise DataError(
            f"{shown(file.path)} has no positions of its voxels (voxel_x, voxel_y, voxel_z), so that they cannot be "
            "placed in a mask. Take data.mask out.",
            where="data.mask",
        )
    return _on_grid(file.path, np.array(shape[:3]), np.rint(ijk).astype(np.int64), affine)


def _on_grid(path: Path, shape: Sequence[int] | NDArray[Any], ijk: NDArray[np.int64], affine: Matrix | None) -> Place:
    x, y, z = (int(size) for size in shape)
    if (ijk < 0).any() or (ijk >= [x, y, z]).any():
        raise DataError(
            f"{shown(path)} has voxels outside of the grid {(x, y, z)} of the mask. Use a mask in the grid of the "
            "responses: data.mask.",
            where="data.mask",
            expected=(x, y, z),
            found=tuple(ijk.max(axis=0)),
        )
    return Place("native", (x, y, z), np.ravel_multi_index(tuple(ijk.T), (x, y, z)).astype(np.int64), affine)
