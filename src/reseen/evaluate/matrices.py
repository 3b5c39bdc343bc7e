"""Correlations of every original with every reconstruction, in bounded memory however many there are.

Up to `DENSE` items the matrix is computed once and kept. Of more items the features are kept, in temporary files where
they are large, and rows of the matrix are computed when they are asked for.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ResultsError
from reseen.metrics import Direction, Floats, correlation_matrix

DENSE = 1024
"""Items of which the whole matrix is kept: 8 MB."""
BATCH = 256
"""Images that are prepared and passed through networks together."""
_IN_MEMORY = 160e6  # bytes of features that are not written to a file
_STRIPE = 64e6  # bytes of the rows of a matrix that are computed together
_COLUMNS = 512  # items of the other side at a time


class Rows:
    """Rows of one shape and type, appended in blocks and read by number.

    Parameters
    ----------
    n_rows
        How many there will be.
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._parts: list[NDArray[Any]] = []
        self._file: Any = None
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float32)

    def append(self, block: NDArray[Any]) -> None:
        """Append some rows.

        Raises
        ------
        ResultsError
            If the temporary folder has no room for them.
        """
        self._shape, self._dtype = block.shape[1:], block.dtype
        if self._file is None and self._n_rows * math.prod(self._shape) * block.itemsize > _IN_MEMORY:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed with this object)
            weakref.finalize(self, self._file.close)
        if self._file is None:
            self._parts.append(block)
            return
        try:
            self._file.write(np.ascontiguousarray(block).data)
        except OSError as error:
            raise ResultsError(
                f"cannot write features to the temporary folder {tempfile.gettempdir()}: {error.strerror}. Make room "
                "there, or name another folder in TMPDIR."
            ) from error

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read rows by number, ``(n, ...)``."""
        if self._file is None:
            if len(self._parts) > 1:
                self._parts = [np.concatenate(self._parts)]
            return self._parts[0][rows]
        found = np.empty((len(rows), *self._shape), dtype=self._dtype)
        size = found[:1].nbytes
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for start, stop in zip([0, *breaks], [*breaks, len(rows)], strict=True):  # stretches of successive rows
            self._file.seek(int(rows[start]) * size)
            self._file.readinto(found[start:stop].reshape(-1).view(np.uint8).data)
        return found

    def flat(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Read rows by number as ``(n, n_features)``."""
        return self[rows].reshape(len(rows), -1)


class Correlations:
    """Pearson's r of every original with every reconstruction, averaged over draws.

    Parameters
    ----------
    truth
        Features of the originals.
    n_items, n_draws
        How many originals, and how many draws there will be.
    """

    def __init__(self, truth: Rows, n_items: int, n_draws: int) -> None:
        self._truth, self._n_items, self._n_draws = truth, n_items, n_draws
        self._drawn: list[Rows] = []
        self._matrix = np.zeros((n_items, n_items)) if n_items <= DENSE else None

    def add(self, drawn: Rows) -> None:
        """Add the features of one draw of each reconstruction."""
        if self._matrix is None:
            self._drawn.append(drawn)
            return
        every = np.arange(self._n_items)
        self._matrix += correlation_matrix(self._truth.flat(every), drawn.flat(every)) / self._n_draws

    def stripes(self, items: NDArray[np.int64], direction: Direction) -> Iterator[tuple[int, Floats]]:
        """Yield rows of the matrix of some items; see `stripes`."""
        if self._matrix is not None:
            yield from stripes(self._matrix, items, direction)
            return
        step = max(1, int(_STRIPE // (8 * len(items))))
        for first in range(0, len(items), step):
            yield first, self._rows(items[first : first + step], items, direction)

    def _rows(self, fixed: NDArray[np.int64], others: NDArray[np.int64], direction: Direction) -> Floats:
        found = np.zeros((len(fixed), len(others)))
        for drawn in self._drawn:
            one, two = (self._truth, drawn) if direction == "original" else (drawn, self._truth)
            features = one.flat(fixed)
            for start in range(0, len(others), _COLUMNS):
                part = slice(start, start + _COLUMNS)
                found[:, part] += correlation_matrix(features, two.flat(others[part])) / self._n_draws
        return found


def stripes(
    matrix: Floats | Correlations, items: NDArray[np.int64], direction: Direction
) -> Iterator[tuple[int, Floats]]:
    """Yield rows of a matrix of some items, a few at a time.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``: original, reconstruction.
    items
        Shape ``(n_items,)``: rows and columns that count.
    direction
        Whether rows are originals or reconstructions.

    Yields
    ------
    Number of the first row among the items, and rows ``(n_fixed, n_items)``.
    """
    if isinstance(matrix, Correlations):
        yield from matrix.stripes(items, direction)
        return
    chosen = matrix[np.ix_(items, items)]
    yield 0, chosen if direction == "original" else chosen.T
