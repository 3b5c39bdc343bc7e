"""Blocks: one feature space on disk, in files of some stimuli each, read by stimuli or by features.

Every file is a safetensors file of ``array (n, ...)``, in single or half precision, and ``stimulus_id (n,)``. Its
metadata contain the number of all files, so that an incomplete feature space is detected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ResultsError
from reseen.features import Features, find_rows
from reseen.files import opening_tensors

BYTES_AT_ONCE = 256_000_000
"""Largest memory of a block, in single precision; a block of one stimulus may be larger."""


@dataclass(frozen=True)
class FeatureBlocks:
    """One feature space on disk.

    Parameters
    ----------
    name
        Name of the features.
    shape
        ``(n_items, ...)``, at least two axes.
    stimulus_id
        Shape ``(n_items,)``, 0-based.
    parts
        File, first row and end row of each block, in order.
    """

    name: str
    shape: tuple[int, ...]
    stimulus_id: NDArray[np.int64]
    parts: tuple[tuple[Path, int, int], ...]

    @classmethod
    def open(cls, name: str, paths: Sequence[Path]) -> FeatureBlocks:
        """Open the files of a feature space, without reading their arrays.

        Raises
        ------
        ResultsError
            If there is no file, a file is damaged or missing, or their shapes differ.
        """
        headers = [_header(path) for path in paths]
        n_files = headers[0].n_files if headers else 0
        if not headers or len(headers) != n_files:
            raise ResultsError(
                f"the features {name} are missing or not complete: found {len(headers)} of {n_files or 'their'} files. "
                "Run the recipe again, up to the stage extract or further.",
                where=name,
                expected=n_files or None,
                found=len(headers),
            )
        shapes = {header.shape[1:] for header in headers}
        if len(shapes) > 1:
            raise ResultsError(
                f"the files of {name} have rows of different shapes. Delete them and run again.",
                where=name,
                found=sorted(shapes),
            )
        parts: list[tuple[Path, int, int]] = []
        for path, header in zip(paths, headers, strict=True):
            parts += [(path, start, end) for start, end in _row_ranges(header.shape)]
        ids = np.concatenate([header.stimulus_id for header in headers])
        return cls(name, (len(ids), *shapes.pop()), ids, tuple(parts))

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.stimulus_id)

    def __iter__(self) -> Iterator[Features]:
        """Yield one block after the other, in single precision, with the ids of its stimuli."""
        start = 0
        for path, row, stop in self.parts:
            end = start + stop - row
            yield Features(self.name, _read(path, row, stop), self.stimulus_id[start:end])
            start = end

    def slices(self, bytes_at_once: int = 4 * BYTES_AT_ONCE) -> Iterator[NDArray[np.float32]]:
        """Yield slices of the features, each for all items; every byte is read once.

        The Gram matrix of the items is the sum of ``slice @ slice.T`` over all slices.

        Parameters
        ----------
        bytes_at_once
            Memory of a slice. It has as many channels (rows of the first axis of an item) as fit, and at least one.

        Yields
        ------
        ndarray
            Shape ``(n_items, n_features_of_the_slice)``, float32.
        """
        n_channels = self.shape[1]
        at_once = max(bytes_at_once // max(4 * math.prod(self.shape) // n_channels, 1), 1)
        for first in range(0, n_channels, at_once):
            end = min(first + at_once, n_channels)
            array = np.empty((len(self), end - first, *self.shape[2:]), dtype=np.float32)
            start = 0
            for path, row, stop in self.parts:
                array[start : start + stop - row] = _read(path, row, stop, first, end)
                start += stop - row
            yield array.reshape(len(self), -1)

    def columns(self, stimulus_id: ArrayLike, width: int) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of these stimuli, some columns at a time, ``(n_stimuli, n_columns)`` float32.

        A block has about ``width`` columns: as many channels as fit, and at least one.

        Raises
        ------
        ShapeError
            If a stimulus has no row, or several rows.
        """
        rows = find_rows(self.name, self.stimulus_id, stimulus_id)
        for part in self.slices(4 * len(self) * width):
            yield part[rows]

    def row(self, stimulus_id: int) -> NDArray[np.float32]:
        """Read the features of one stimulus, ``(...)``.

        Raises
        ------
        ShapeError
            If the stimulus has no row, or several rows.
        """
        left = int(find_rows(self.name, self.stimulus_id, [stimulus_id])[0])
        for path, first, stop in self.parts:
            if left < stop - first:
                return _read(path, first + left, first + left + 1).reshape(self.shape[1:])
            left -= stop - first
        raise AssertionError("the parts have as many rows as there are stimuli")

    def load(self) -> Features:
        """Read all features, in single precision, into memory."""
        array = np.empty(self.shape, dtype=np.float32)
        start = 0
        for block in self:
            array[start : start + len(block)] = block.array
            start += len(block)
        return Features(self.name, array, self.stimulus_id)


def are_complete(paths: Sequence[Path]) -> bool:
    """Return whether these are all files of a feature space."""
    return bool(paths) and _header(paths[0]).n_files == len(paths)


def rows_at_once(bytes_per_row: int) -> int:
    """Return the number of stimuli of a block: from 1 to 64, and a multiple of 8 from 8 on."""
    fitting = min(max(BYTES_AT_ONCE // max(bytes_per_row, 1), 1), 64)
    return fitting if fitting < 8 else fitting // 8 * 8


class _Header(NamedTuple):
    """Shape of a file's array, its stimulus ids, and the number of all files of the feature space."""

    shape: tuple[int, ...]
    stimulus_id: NDArray[np.int64]
    n_files: int


def _header(path: Path) -> _Header:
    with opening_tensors(path) as (file, computed_by):
        shape = tuple(file.get_slice("array").get_shape())
        return _Header(shape, file.get_tensor("stimulus_id"), int(computed_by.get("n_files", "1")))


def _read(path: Path, row: int, stop: int, first: int = 0, end: int | None = None) -> NDArray[np.float32]:
    """Read rows from ``row`` to ``stop`` of a file, and of each the channels from ``first`` to ``end``."""
    with opening_tensors(path) as (file, _):
        rows: NDArray[np.float32] = file.get_slice("array")[row:stop, first:end].astype(np.float32, copy=False)
        return rows


def _row_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield start and end of ranges of rows that fit into `BYTES_AT_ONCE`."""
    at_once = max(BYTES_AT_ONCE // max(4 * math.prod(shape[1:]), 1), 1)
    for start in range(0, shape[0], at_once):
        yield start, min(start + at_once, shape[0])
