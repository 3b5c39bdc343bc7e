"""Correlations of every original with every reconstruction, in bounded memory however many there are.

Up to `DENSE` items the matrix itself is kept. For more items the features are kept, in temporary files if they are
large, and the matrix is computed from them block by block into a temporary file.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ResultsError
from reseen.metrics import Direction, Floats, correlation_matrix

DENSE = 1024
"""Largest number of items whose complete matrix is kept: 8 MB."""
BATCH = 256
"""Images that are prepared and passed through networks together."""
_IN_MEMORY = 64e6  # bytes of features, or of a matrix, that are not written to a file
_STRIPE = 64e6  # bytes of the rows of a matrix that are read together
_SIDE = 1024  # items of either side that are correlated together


class Rows:
    """Rows of one shape and type, appended in blocks and read by number.

    Parameters
    ----------
    n_rows
        Number of rows in the end.
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
            If the temporary folder has no space for them.
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
                f"cannot write features to the temporary folder {tempfile.gettempdir()}: {error.strerror}. Free space "
                "there, or name another folder in TMPDIR.",
                where=Path(tempfile.gettempdir()),
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

    def columns(self, columns: NDArray[np.int64]) -> NDArray[Any]:
        """Read columns by number, ``(n_rows, n)``, of one-dimensional rows; columns between them are read too."""
        if self._file is None:
            return self[np.arange(self._n_rows)][:, columns]
        first, last = int(columns.min()), int(columns.max()) + 1
        found = np.empty((self._n_rows, last - first), dtype=self._dtype)
        for number, row in enumerate(found):
            self._file.seek((number * self._shape[0] + first) * self._dtype.itemsize)
            self._file.readinto(row.view(np.uint8).data)
        return found[:, columns - first]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self._shape) * self._dtype.itemsize


class Correlations:
    """Pearson's r of every original with every reconstruction, averaged over samples.

    Parameters
    ----------
    true
        Features of the originals.
    n_items, n_samples
        Number of originals, and number of samples in the end.
    """

    def __init__(self, true: Rows, n_items: int, n_samples: int) -> None:
        self._true, self._n_items, self._n_samples = true, n_items, n_samples
        self._samples: list[Rows] = []
        self._matrix = np.zeros((n_items, n_items)) if n_items <= DENSE else None
        self._rows: Rows | None = None

    def add(self, sample: Rows) -> None:
        """Add the features of one sample of each reconstruction."""
        if self._matrix is None:
            self._samples.append(sample)
            return
        every = np.arange(self._n_items)
        self._matrix += correlation_matrix(self._true.flat(every), sample.flat(every)) / self._n_samples

    def release(self) -> None:
        """Free a matrix that was computed from kept features; it is computed again when it is needed."""
        self._rows = None

    def stripes(self, items: NDArray[np.int64], direction: Direction) -> Iterator[tuple[int, Floats]]:
        """Yield rows of the matrix of some items; see `stripes`."""
        if self._matrix is not None:
            yield from stripes(self._matrix, items, direction)
            return
        if self._rows is None:
            self._rows = self._compute()
        step = max(1, int(_STRIPE // (8 * len(items))))
        for first in range(0, len(items), step):
            fixed = items[first : first + step]
            if direction == "original":
                yield first, self._rows[fixed][:, items]
            else:
                yield first, np.ascontiguousarray(self._rows.columns(fixed)[items].T)

    def _compute(self) -> Rows:
        """Correlate every original with every reconstruction, `_SIDE` of each at a time."""
        found = Rows(self._n_items)
        parts = [np.arange(start, min(start + _SIDE, self._n_items)) for start in range(0, self._n_items, _SIDE)]
        for fixed in parts:
            rows = np.zeros((len(fixed), self._n_items))
            features = self._true.flat(fixed)
            for sample in self._samples:
                for others in parts:
                    r = correlation_matrix(features, sample.flat(others))
                    rows[:, others[0] : others[-1] + 1] += r / self._n_samples
            found.append(rows)
        return found


def check_space(n_items: int, n_bytes: int, n_stacks: int) -> None:
    """Check that the temporary folder has space for the features of many items and for one matrix.

    Parameters
    ----------
    n_items
        Number of originals.
    n_bytes
        Bytes of the features of one image.
    n_stacks
        Number of images that are scored for each original.

    Raises
    ------
    ResultsError
        If there is too little space. The message states how many images would fit.
    """
    folder = tempfile.gettempdir()
    each, free = n_bytes * (1 + n_stacks), shutil.disk_usage(folder).free
    needed = each * n_items + 8 * n_items**2
    if needed > free:
        fit = int((math.sqrt(each**2 + 32 * free) - each) / 16)  # 8 n**2 + each * n = free
        raise ResultsError(
            f"{n_items:,} images need {needed / 1e9:.3g} GB in the temporary folder {folder}, where "
            f"{free / 1e9:.3g} GB are free: enough for {max(fit, DENSE):,} images. Free space there, name another "
            "folder in TMPDIR, or score fewer images.",
            where=Path(folder),
            expected=needed,
            found=free,
        )


def stripes(
    matrix: Floats | Correlations, items: NDArray[np.int64], direction: Direction
) -> Iterator[tuple[int, Floats]]:
    """Yield rows of a matrix of some items, a few at a time.

    Parameters
    ----------
    matrix
        Shape ``(n, n)``: original, reconstruction.
    items
        Shape ``(n_items,)``: rows and columns to yield.
    direction
        Whether rows are originals or reconstructions.

    Yields
    ------
    Position of the first row among the items, and rows ``(n_fixed, n_items)``.
    """
    if isinstance(matrix, Correlations):
        yield from matrix.stripes(items, direction)
        return
    chosen = matrix[np.ix_(items, items)]
    yield 0, chosen if direction == "original" else chosen.T
