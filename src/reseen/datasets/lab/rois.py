"""ROIs in files: masks and atlases in NIfTI on any grid, matched by millimetres; labels in GIFTI and CIFTI.

A file of zeros and ones is a mask, named by its file. A file of other integers is an atlas: its regions are named
by the file itself (GIFTI, CIFTI), by a table next to it (``index`` and ``name``, as in a ``dseg.tsv`` of BIDS), or by
their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.place import Place
from reseen.datasets.lab.surfaces import Grayordinates, on_place, read_gifti, side_of, without_side
from reseen.datasets.lab.table import read_columns
from reseen.datasets.volumes import read_volume
from reseen.errors import DataError
from reseen.files.reading import shown

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one atlas or mask, as a file has them.

    Parameters
    ----------
    values
        Shape ``(n_voxels,)``: label of each voxel of the place; 0 is none.
    present
        Labels that the file has anywhere.
    names
        Names of labels within the file.
    """

    values: NDArray[np.int64]
    present: tuple[int, ...]
    names: Mapping[int, str]


def find_files(places: Sequence[Path]) -> list[Path]:
    """List ROI files: the files themselves, and the files in folders.

    Raises
    ------
    DataError
        If a path does not exist, or a file is of no type in `READERS`.
    """
    endings = tuple(READERS)
    found: list[Path] = []
    for path in places:
        if path.is_dir():
            found += sorted(file for file in path.iterdir() if file.name.endswith(endings) and file.name[0] != ".")
        elif not path.exists():
            raise DataError(f"there is no ROI file {shown(path)}. Correct data.roi_files.", where="data.roi_files")
        elif path.name.endswith(endings):
            found.append(path)
        else:
            raise DataError(
                f"{shown(path)} is no file of ROIs. Name files that end in {', '.join(endings)}: data.roi_files.",
                where="data.roi_files",
                expected=endings,
                found=path.name,
            )
    return found


def read_rois(places: Sequence[Path], place: Place) -> dict[str, Mask]:
    """Return all ROIs of some files or folders as masks over the voxels of a place, ``(n_voxels,)``.

    Each region is named ``file:region``. The region's own name is enough if no other file has it; a mask's name is
    always its file's. Files of two hemispheres with one name are one ROI file.

    Raises
    ------
    DataError
        If a file is damaged, has values that are no labels, cannot be placed, or has the name of another file.
    """
    groups: dict[str, list[Path]] = {}
    for path in find_files(places):
        groups.setdefault(roi_name(path), []).append(path)
    masks: dict[str, Mask] = {}
    regions: dict[str, set[str]] = {}
    for file, paths in groups.items():
        sides = [side_of(path) for path in paths]
        if len(paths) > 1 and (None in sides or len(set(sides)) < len(sides)):
            raise DataError(
                f"{shown(paths[0])} and {shown(paths[1])} would both be the ROI {file!r}. Rename one of them, or name "
                "only one in data.roi_files.",
                where="data.roi_files",
                found=file,
            )
        for name, mask in _group_masks(file, paths, place):
            key = name if name == file else f"{file}:{name}"
            masks[key] = masks[key] | mask if key in masks else mask
            regions.setdefault(name, set()).add(key)
    unique = {name: masks[next(iter(keys))] for name, keys in regions.items() if len(keys) == 1}
    return {**unique, **masks}


def _group_masks(file: str, paths: Sequence[Path], place: Place) -> Iterator[tuple[str, Mask]]:
    """Yield the name and the mask of each region of one ROI file, or of its two hemispheres."""
    found = [(path, labels) for path in paths for labels in _reader(path)(path, place)]
    present = {label for _, labels in found for label in labels.present}
    is_mask = present == {1} and not any(labels.names for _, labels in found)
    for path, labels in found:
        table = _table_next_to(path)
        names = {**(_read_names(table) if table and not labels.names else {}), **labels.names}
        for label in labels.present:
            yield file if is_mask else names.get(label, str(label)), labels.values == label


def _reader(path: Path) -> Callable[[Path, Place], list[Labels]]:
    """Return the reader of an ROI file by the end of its name."""
    return next(read for ending, read in READERS.items() if path.name.endswith(ending))


def _read_volume_labels(path: Path, place: Place) -> list[Labels]:
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
    labels = integer_labels(path, volume)
    return [Labels(nearest(path, labels, affine, place), _present(labels), {})]


def _read_gifti_labels(path: Path, place: Place) -> list[Labels]:
    """Return the label of each vertex from a GIFTI file of one hemisphere."""
    arrays, names = read_gifti(path)
    found = [integer_labels(path, array) for array in arrays]
    return [Labels(on_place(path, labels, place), _present(labels), names) for labels in found]


def _read_cifti_labels(path: Path, place: Place) -> list[Labels]:
    """Return the label of each vertex from a CIFTI file, for each of its maps."""
    file = Grayordinates(path)
    if file.place.space != place.space:
        raise DataError(
            f"{shown(path)} is on {file.place.space}, and the responses are in {place.space or 'a volume'}. Give ROIs "
            "in the space of the responses.",
            where=path,
            expected=place.space,
            found=file.place.space,
        )
    found = []
    for number, names in enumerate(file.labels):
        labels = np.zeros(np.prod(place.shape), dtype=np.int64)
        labels[file.place.index] = integer_labels(path, file.row(number))
        found.append(Labels(labels[place.index], _present(labels), names))
    return found


def _present(labels: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(label) for label in np.unique(labels) if label)


def integer_labels(path: Path, values: NDArray[Any]) -> NDArray[np.int64]:
    """Return labels as integers; NaN is no label.

    Raises
    ------
    DataError
        If a value is not an integer, as in an interpolated mask.
    """
    numbers = np.where(np.isnan(values), 0, values) if values.dtype.kind == "f" else values
    labels = numbers.astype(np.int64)
    if not np.array_equal(labels, numbers):
        found = float(np.ravel(numbers)[np.ravel(labels != numbers)][0])
        raise DataError(
            f"{shown(path)} has the value {found:g}; a mask has zeros and ones, and an atlas has integers. "
            "Resample it by nearest neighbour, or threshold it.",
            where=path,
            expected="integers",
            found=found,
        )
    return labels


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


def roi_name(path: Path) -> str:
    """Return the name of an ROI by its file, without hemisphere.

    In names of BIDS it is the entity ``label`` or ``desc``, or else the last part. Other names lose their suffixes.
    """
    stem = re.sub(r"\.(nii|nii\.gz|mgz|label\.gii|gii|dlabel\.nii)$", "", without_side(path.name))
    entity = re.search(r"_(?:label|desc)-([A-Za-z0-9]+)(?=_)", stem)
    if entity:
        return entity[1]
    return stem.rpartition("_")[2] if re.match(r"(?:sub|tpl)-", stem) else stem


def _table_next_to(path: Path) -> Path | None:
    """Return the table of an atlas's names: of the same name, or the only ``*dseg.tsv`` of its folder."""
    for name in (path.name, without_side(path.name)):
        own = path.with_name(name.partition(".")[0] + ".tsv")
        if own.is_file():
            return own
    tables = sorted(path.parent.glob("*dseg.tsv"))
    return tables[0] if len(tables) == 1 else None


def _read_names(path: Path) -> dict[int, str]:
    columns = read_columns(path)
    if not {"index", "name"} <= set(columns):
        raise DataError(
            f"{shown(path)} needs the columns index and name; it has {', '.join(map(shown, columns))}.",
            where=path,
            expected=("index", "name"),
            found=tuple(columns),
        )
    names = zip(columns["index"], columns["name"], strict=True)
    return {int(index): name for index, name in names if index.isdecimal() and name}


READERS: Mapping[str, Callable[[Path, Place], list[Labels]]] = {
    ".label.gii": _read_gifti_labels,
    ".dlabel.nii": _read_cifti_labels,
    ".nii.gz": _read_volume_labels,
    ".nii": _read_volume_labels,
}
"""Reader of ROI files by the end of their name; the first that fits."""
