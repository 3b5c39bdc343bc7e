"""Features: an array with one row for each item, and the stimulus ids of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reseen.errors import ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """One feature of some stimuli, such as their image latents z.

    Parameters
    ----------
    name
        Name of the feature: ``"z"``, ``"c"``, ``"zc@strength=0.8"``, ...
    array
        Shape ``(n_items, ...)``, float32.
    stimulus_id
        Shape ``(n_items,)``, 0-based. Ids repeat if items are single trials.
    fold
        Shape ``(n_items,)``: fold whose decoder predicted each item. Left out where the stimulus determines it.

    Raises
    ------
    ShapeError
        If there is not one id, and one fold if any, for each row.

    Examples
    --------
    >>> import numpy as np
    >>> Features("z", np.zeros((5, 4, 40, 40), dtype=np.float32), np.arange(5))
    Features z: 5 stimuli of shape (4, 40, 40), float32
    """

    name: str
    array: NDArray[np.float32]
    stimulus_id: NDArray[np.int64]
    fold: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.stimulus_id.shape != self.array.shape[:1]:
            raise ShapeError(
                f"{self.name}: one stimulus id for each row is needed; "
                f"found {self.stimulus_id.shape} ids for an array of shape {self.array.shape}.",
                where="stimulus_id",
                expected=self.array.shape[:1],
                found=self.stimulus_id.shape,
            )
        if self.fold is not None and self.fold.shape != self.stimulus_id.shape:
            raise ShapeError(
                f"{self.name}: fold has shape {self.fold.shape}; the rows need {self.stimulus_id.shape}.",
                where="fold",
                expected=self.stimulus_id.shape,
                found=self.fold.shape,
            )

    def __repr__(self) -> str:
        n_stimuli = len(np.unique(self.stimulus_id))
        items = f"{n_stimuli:,} stimuli" if n_stimuli == len(self) else f"{len(self):,} trials of {n_stimuli:,} stimuli"
        return f"Features {self.name}: {items} of shape {self.array.shape[1:]}, {self.array.dtype}"

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.stimulus_id)

    @property
    def flat(self) -> NDArray[np.float32]:
        """The array as ``(n_items, n_targets)``."""
        return self.array.reshape(len(self), -1)

    def of_fold(self, fold: int, tested: ArrayLike) -> NDArray[np.int64]:
        """Return the rows of the items that a fold tests, whose test stimuli are ``tested``."""
        return np.flatnonzero(np.isin(self.stimulus_id, tested) if self.fold is None else self.fold == fold)

    def rows(self, stimulus_id: ArrayLike) -> NDArray[np.float32]:
        """Return the rows of these stimuli, in this order, repeated where an id repeats.

        Raises
        ------
        ShapeError
            As `where`.
        """
        rows: NDArray[np.float32] = self.array[self.where(stimulus_id)]
        return rows

    def where(self, stimulus_id: ArrayLike) -> NDArray[np.int64]:
        """Return the numbers of the rows of these stimuli.

        Raises
        ------
        ShapeError
            If a stimulus has no row, or several rows.
        """
        return find_rows(self.name, self.stimulus_id, stimulus_id)

    def columns(self, stimulus_id: ArrayLike, width: int) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of these stimuli, some columns at a time, ``(n_stimuli, <=width)`` float32.

        If the array is mapped from a file, only these columns are in memory.

        Raises
        ------
        ShapeError
            If a stimulus has no row, or several rows.
        """
        rows = self.where(stimulus_id)
        for start in range(0, self.flat.shape[1], width):
            yield self.flat[:, start : start + width][rows].astype(np.float32, copy=False)


def find_rows(name: str, known: NDArray[np.int64], wanted: ArrayLike) -> NDArray[np.int64]:
    """Find the row of each wanted stimulus among the known ids of a feature, ``(n_wanted,)``.

    Raises
    ------
    ShapeError
        If a stimulus has no row, or several rows.
    """
    ids = np.asarray(wanted, dtype=np.int64)
    order = np.argsort(known, kind="stable")
    known = known[order]
    repeated = known[1:][known[1:] == known[:-1]]
    if len(repeated):
        raise ShapeError(
            f"{name} has several rows for stimulus {repeated[0]}; one row for each stimulus is needed.",
            where=name,
            found=int(repeated[0]),
        )
    at = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
    missing = ids[known[at] != ids] if len(known) else ids
    if len(missing):
        raise ShapeError(
            f"{name} has no row for {len(np.unique(missing))} of the requested stimuli (the first is {missing[0]}). "
            "Extract the features of these stimuli first.",
            where=name,
            expected=int(missing[0]),
        )
    row: NDArray[np.int64] = order[at]
    return row
