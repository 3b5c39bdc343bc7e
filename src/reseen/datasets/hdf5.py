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
    """Open a dataset of the root group, and close the file afterwards.

    Parameters
    ----------
    path
        The file. It is opened for reading.
    name
        Name of the dataset, without a slash.

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
        links = file.id.links
        # `name in file` and `file.get(name, getlink=True)` open the target of an external link; `links` does not
        if not links.exists(name.encode()):
            names = shown(", ".join(file)) or "nothing"
            raise DataError(f"{shown(path)} holds no dataset {name!r}; it holds {names}.")
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise _elsewhere(path, name, "a link")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(f"{shown(path)}: {name!r} is no dataset. A dataset of numbers is expected.")
        if dataset.external:
            raise _elsewhere(path, name, "external storage")
        if dataset.is_virtual:
            raise _elsewhere(path, name, "a virtual dataset")
        yield dataset


def _elsewhere(path: Path, name: str, what: str) -> DataError:
    return DataError(
        f"{shown(path)}: {name!r} is {what}, so its values may be in another file, which is not opened. A dataset "
        "whose values are in this file is expected. Fetch the file again, or copy the values into one dataset."
    )
