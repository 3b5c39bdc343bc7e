"""Open one dataset of an HDF5 file, without reading other files.

HDF5 files can refer to values in other files: by links, external storage and virtual datasets. A downloaded file could
name any file of the user, so all three are refused before a value is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reseen.errors import DataError
from reseen.files.reading import shown


@contextmanager
def open_dataset(path: Path, name: str) -> Iterator[Any]:
    """Open a dataset, and close the file afterwards.

    Parameters
    ----------
    path
        The file. It is opened for reading.
    name
        Name of the dataset: of the root group, or ``"group/dataset"``.

    Yields
    ------
    h5py.Dataset
        Its values are in this file.

    Raises
    ------
    DataError
        If there is no such dataset, or if its values are elsewhere. Errors of h5py pass unchanged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        yield find_dataset(path, file, name)


def find_dataset(path: Path, file: Any, name: str) -> Any:
    """Return a dataset of an open file.

    Raises
    ------
    DataError
        As `open_dataset`.
    """
    import h5py

    parent, _, last = name.rpartition("/")
    dataset = _find(path, find_group(path, file, parent), last, name)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{shown(path)}: {name!r} is no dataset. A dataset of numbers is expected.")
    if dataset.external:
        raise _elsewhere(path, name, "external storage")
    if dataset.is_virtual:
        raise _elsewhere(path, name, "a virtual dataset")
    return dataset


def find_group(path: Path, file: Any, name: str) -> Any:
    """Return a group of an open file, ``"group/inner"``; the root group for an empty name.

    Raises
    ------
    DataError
        If there is no such group, or a link leads out of the file.
    """
    import h5py

    group = file
    for part in filter(None, name.split("/")):
        group = _find(path, group, part, name)
        if not isinstance(group, h5py.Group):
            raise DataError(f"{shown(path)}: {part!r} is no group. A group of datasets is expected.")
    return group


def _find(path: Path, group: Any, part: str, name: str) -> Any:
    """Return the object that a hard link of a group names."""
    import h5py

    links = group.id.links
    # `name in file` and `file.get(name, getlink=True)` open the target of an external link; `links` does not
    if not links.exists(part.encode()):
        names = shown(", ".join(group)) or "nothing"
        raise DataError(f"{shown(path)} contains no dataset {name!r}; it contains {names}.")
    if links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
        raise _elsewhere(path, name, "a link")
    return group[part]


def _elsewhere(path: Path, name: str, what: str) -> DataError:
    return DataError(
        f"{shown(path)}: {name!r} is {what}, so its values may be in another file, which is not opened. A dataset "
        "whose values are in this file is expected. Fetch the file again, or copy the values into one dataset."
    )
