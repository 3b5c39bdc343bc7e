"""ROIs in files: masks and atlases in NIfTI, on any grid, found by the millimetres of each voxel.

A volume of zeros and ones is a mask, named by its file. A volume of other whole numbers is an atlas: its regions are
named by a table next to it (``index`` and ``name``, as in a ``dseg.tsv`` of BIDS), or by their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.place import Place
from reseen.datasets.lab.table import read_columns
from reseen.datasets.volumes import read_volume
from reseen.errors import DataError
from reseen.files.reading import shown

Mask = NDArray[np.bool_]
Labels = tuple[NDArray[np.int64], Mapping[int, str]]
"""Label of each voxel, ``(n_voxels,)``, and the names of labels."""


def find_files(places: Sequence[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """List ROI files: the files themselves, and the files in folders.

    Raises
    ------
    DataError
        If a path does not exist.
    """
    found: list[Path] = []
    for path in places:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.name.endswith(suffixes) and file.name[0] != ".")
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"there is no ROI file {shown(path)}. Correct data.roi_files.", where="data.roi_files")
    return found


def read_rois(places: Sequence[Path], place: Place) -> dict[str, Mask]:
    """Return all ROIs of some files or folders as masks over the voxels of a place, ``(n_voxels,)``.

    Each region is named ``file:region``. The region's own name is enough if no other file has it; a mask's name is
    always its file's.

    Raises
    ------
    DataError
        If a file is damaged, has values that are no labels, or cannot be placed.
    """
    masks: dict[str, Mask] = {}
    regions: dict[str, list[Mask]] = {}
    for suffix, read_labels in READERS.items():
        for path in find_files(places, (suffix,)):
            labels, names = read_labels(path, place)
            file = roi_name(path)
            for number, name in names.items():
                mask = labels == number
                masks[file if name == file else f"{file}:{name}"] = mask
                regions.setdefault(name, []).append(mask)
    unique = {name: found[0] for name, found in regions.items() if len(found) == 1}
    return {**unique, **masks}


def _read_volume_labels(path: Path, place: Place) -> Labels:
    """Return the label of each voxel from a NIfTI volume on any grid: that of the nearest voxel, by millimetres."""
    if place.on_surface:
        raise DataError(
            f"{shown(path)} is a volume, and the responses are on the vertices of {place.space}. Give ROIs on that "
            "surface.",
            where=path,
            expected=place.space,
        )
    volume, affine = read_volume(path)
    if volume.ndim != 3:
        raise DataError(
            f"{shown(path)} has shape {volume.shape}; an ROI has three axes.", where=path, expected=3, found=volume.ndim
        )
    labels = whole_labels(path, volume)
    values = nearest(path, labels, affine, place)
    return values, names_of_labels(path, labels)


def whole_labels(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels as integers; NaN is no label.

    Raises
    ------
    DataError
        If a value is not a whole number, as in an interpolated mask.
    """
    numbers = np.where(np.isnan(values), 0, values) if values.dtype.kind == "f" else values
    whole = numbers.astype(np.int64)
    if not np.array_equal(whole, numbers):
        found = float(np.ravel(numbers)[np.ravel(whole != numbers)][0])
        raise DataError(
            f"{shown(path)} has the value {found:g}; a mask has zeros and ones, and an atlas has whole numbers. "
            "Resample it by nearest neighbour, or threshold it.",
            where=path,
            expected="whole numbers",
            found=found,
        )
    return whole


def nearest(path: Path, volume: NDArray[np.int64], affine: NDArray[np.float64] | None, place: Place) -> NDArray[Any]:
    """Return the value of the volume's nearest voxel for each voxel of a place; 0 outside the volume.

    Raises
    ------
    DataError
        If the volume has another grid, and one of both has no position in millimetres.
    """
    centres = place.millimetres()
    if affine is None or centres is None:
        if volume.shape != place.shape:
            raise DataError(
                f"{shown(path)} has shape {volume.shape}, the responses have {place.shape}, and without an affine in "
                "both they cannot be matched. Save the ROI on the grid of the responses.",
                where=path,
                expected=place.shape,
                found=volume.shape,
            )
        return np.asarray(volume.ravel()[place.index])
    # from millimetres to the voxel of the ROI's volume whose centre is nearest
    to_voxels = np.linalg.inv(affine)
    voxels = np.rint(centres @ to_voxels[:3, :3].T + to_voxels[:3, 3]).astype(np.int64)
    inside = ((voxels >= 0) & (voxels < np.array(volume.shape))).all(axis=1)
    found = np.zeros(len(voxels), dtype=volume.dtype)
    found[inside] = volume[tuple(voxels[inside].T)]
    return found


def names_of_labels(path: Path, labels: NDArray[np.int64]) -> dict[int, str]:
    """Return the name of each label: of a mask the file's name, of an atlas those of the table next to it."""
    present = [int(label) for label in np.unique(labels) if label]
    if present == [1]:
        return {1: roi_name(path)}
    table = _table_next_to(path)
    named = {} if table is None else _read_names(table)
    return {label: named.get(label, str(label)) for label in present}


def roi_name(path: Path) -> str:
    """Return the name of an ROI by its file: the entity ``label`` or ``desc`` of BIDS, or the name without suffixes."""
    stem = re.sub(r"\.(nii|nii\.gz|mgz|label\.gii|gii|dlabel\.nii)$", "", path.name)
    entity = re.search(r"_(?:label|desc)-([A-Za-z0-9]+)(?=_)", stem)
    return entity[1] if entity else stem


def _table_next_to(path: Path) -> Path | None:
    """Return the table of an atlas's names: of the same name, or the only ``*dseg.tsv`` of its folder."""
    own = path.with_name(path.name.partition(".")[0] + ".tsv")
    if own.is_file():
        return own
    tables = sorted(path.parent.glob("*dseg.tsv"))
    return tables[0] if len(tables) == 1 else None


def _read_names(path: Path) -> dict[int, str]:
    columns = read_columns(path)
    if not {"index", "name"} <= set(columns):
        raise DataError(
            f"{shown(path)} needs the columns index and name; it has {', '.join(columns)}.",
            where=path,
            expected=("index", "name"),
            found=tuple(columns),
        )
    names = zip(columns["index"], columns["name"], strict=True)
    return {int(index): name for index, name in names if index.isdecimal() and name}


READERS: Mapping[str, Callable[[Path, Place], Labels]] = {".nii.gz": _read_volume_labels, ".nii": _read_volume_labels}
"""Reader of ROI files by the end of their name."""
