"""Blocks: one feature space on disk, in files of some stimuli each, read by stimuli or by features.

Every file is a safetensors file of ``array (n, ...)``, in single or half precision, and ``stimulus_id (n,)``. Its
metadata say of how many files the whole is made, so that a part is not taken for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reseen.errors import ResultsError
from reseen.features import Features, find_rows
from reseen.files import opening_tensors

BYTES_AT_ONCE = 256_000_000
"""A block takes up no more memory than this, in single precision, unless one stimulus does."""


@dataclass(frozen=True)
class FeatureBlocks:
    """One feature space on disk.

    Parameters
    ----------
    name
        What the features are.
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
            If there is none, one is damaged or missing, or they do not belong together.
        """
        found = [_look(path) for path in paths]
        wanted = found[0][2] if found else 0
        if not found or len(found) != wanted:
            raise ResultsError(
                f"the features {name} are not there, or not whole: {len(found)} of {wanted or 'their'} files are. "
                "Run the recipe again, up to the stage extract or further."
            )
        shapes = {shape[1:] for shape, _, _ in found}
        if len(shapes) > 1:
            raise ResultsError(f"the files of {name} hold rows of different shapes. Delete them and run again.")
        parts = [(path, *rows) for path, (shape, _, _) in zip(paths, found, strict=True) for rows in _stretches(shape)]
        ids = np.concatenate([ids for _, ids, _ in found])
        return cls(name, (len(ids), *shapes.pop()), ids, tuple(parts))

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.stimulus_id)

    def __iter__(self) -> Iterator[Features]:
        """Read block after block, in single precision, with the ids of its stimuli."""
        start = 0
        for path, row, stop in self.parts:
            end = start + stop - row
            yield Features(self.name, _read(path, row, stop), self.stimulus_id[start:end])
            start = end

    def slices(self, bytes_at_once: int = 4 * BYTES_AT_ONCE) -> Iterator[NDArray[np.float32]]:
        """Read slice after slice of the features, each for all items, so that every byte is read once.

        This is what accumulates a Gram matrix of the items: the sum of ``slice @ slice.T`` over all slices.

        Parameters
        ----------
        bytes_at_once
            Memory of a slice; one is as many channels (rows of the first axis of one item) as fit, and at least one.

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
        """Return the rows of these stimuli a few columns at a time, ``(n_stimuli, n_columns)`` float32.

        Blocks hold about ``width`` columns: as many channels as fit, and at least one.

        Raises
        ------
        ShapeError
            If a stimulus has no row here, or several.
        """
        rows = find_rows(self.name, self.stimulus_id, stimulus_id)
        for part in self.slices(4 * len(self) * width):
            yield part[rows]

    def load(self) -> Features:
        """Read the whole, in single precision, for those that fit in memory."""
        array = np.empty(self.shape, dtype=np.float32)
        start = 0
        for block in self:
            array[start : start + len(block)] = block.array
            start += len(block)
        return Features(self.name, array, self.stimulus_id)


def are_whole(paths: Sequence[Path]) -> bool:
    """Return whether these are all the files of a feature space."""
    return bool(paths) and _look(paths[0])[2] == len(paths)


def rows_at_once(bytes_per_row: int) -> int:
    """Return how many stimuli a block has: at most 64, a multiple of 8 where it can be, and at least one."""
    fitting = min(max(BYTES_AT_ONCE // max(bytes_per_row, 1), 1), 64)
    return fitting if fitting < 8 else fitting // 8 * 8


def _look(path: Path) -> tuple[tuple[int, ...], NDArray[np.int64], int]:
    """Return the shape of a file's array, its stimulus ids, and of how many files it is one."""
    with opening_tensors(path) as (file, computed_by):
        shape = tuple(file.get_slice("array").get_shape())
        return shape, file.get_tensor("stimulus_id"), int(computed_by.get("n_files", "1"))


def _read(path: Path, row: int, stop: int, first: int = 0, end: int | None = None) -> NDArray[np.float32]:
    """Read some rows of a file, and of each the channels from first to end."""
    with opening_tensors(path) as (file, _):
        rows: NDArray[np.float32] = file.get_slice("array")[row:stop, first:end].astype(np.float32, copy=False)
        return rows


def _stretches(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    at_once = max(BYTES_AT_ONCE // max(4 * math.prod(shape[1:]), 1), 1)
    for start in range(0, shape[0], at_once):
        yield start, min(start + at_once, shape[0])
