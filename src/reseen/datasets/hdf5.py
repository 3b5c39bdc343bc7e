"""Open one dataset of an HDF5 file, without reading other files.

HDF5 files can refer to values in other files: by links, external storage and virtual datasets. A downloaded file could
name any file of the user, so all three are refused before a value is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError
from reseen.files.reading import shown

MAX_RATIO = 1100
"""Maximum ratio of values to compressed bytes; that of deflate is 1,032."""
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""Element of any length in a dataset: its length, and its place in the file's heap."""


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


def read_all(path: Path, dataset: Any) -> Any:
    """Return all values of a small dataset, such as labels; sizes are checked before memory is allocated.

    A damaged file can declare any shape, and any length of a text: HDF5 allocates as much before it reads.

    Parameters
    ----------
    path
        The file.
    dataset
        The dataset of the open file.

    Raises
    ------
    DataError
        If it declares more bytes than the file can have. Errors of h5py pass unchanged.
    """
    n_filters = dataset.id.get_create_plist().get_nfilters()
    stored, size = dataset.id.get_storage_size(), path.stat().st_size
    declared = math.prod(dataset.shape or ()) * dataset.id.get_type().get_size()
    if declared > stored * (MAX_RATIO if n_filters else 1):
        raise _too_large(path, dataset, declared, stored)
    item = _item_size(dataset)
    if item and not n_filters:  # filters have checksums or fail on damaged bytes
        n_bytes = item * int(_lengths(path, dataset).sum())
        if n_bytes > size:
            raise _too_large(path, dataset, n_bytes, size)
    return dataset[()]


def _item_size(dataset: Any) -> int:
    """Return the bytes of an item of elements of any length, such as a character; 0 for elements of one size."""
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return 1 if dataset.dtype.hasobject else 0
    base = h5py.check_vlen_dtype(dataset.dtype)
    return 0 if base is None else np.dtype(base).itemsize


def _lengths(path: Path, dataset: Any) -> NDArray[np.uint64]:
    """Return the length of each element as the file declares it, without the elements; none if it is in a header."""
    if dataset.chunks is None:
        places = [(dataset.id.get_offset(), dataset.id.get_storage_size())]
    else:
        chunks = [dataset.id.get_chunk_info(number) for number in range(dataset.id.get_num_chunks())]
        places = [(chunk.byte_offset, chunk.size) for chunk in chunks]
    found = [np.empty(0, dtype=np.uint64)]
    with path.open("rb") as file:
        for offset, n_bytes in places:
            if offset is not None:
                file.seek(offset)
                content = file.read(min(n_bytes, path.stat().st_size))
                references = np.frombuffer(content, _REFERENCE, count=len(content) // _REFERENCE.itemsize)
                found.append(references["length"].astype(np.uint64))
    lengths = np.concatenate(found)
    return lengths[: math.prod(dataset.shape)] if len(places) == 1 else lengths  # a chunk may be larger than the data


def _too_large(path: Path, dataset: Any, declared: int, stored: int) -> DataError:
    return DataError(
        f"{shown(path)}: {shown(dataset.name)} declares {declared:,} bytes of values, and {stored:,} are stored. The "
        "file is truncated or damaged: fetch it again.",
        where=path,
        expected=stored,
        found=declared,
    )


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
