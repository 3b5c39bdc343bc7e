"""Features: an array about stimuli, with the ids of the stimuli it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reseen.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Features:
    """Hold one feature space for some stimuli.

    Parameters
    ----------
    name
        What the array is: ``"z"``, ``"c"``, ``"zc@0.8"``, ...
    array
        Shape ``(n_items, ...)``, float32.
    stimulus_id
        Shape ``(n_items,)``, 0-based. Ids repeat where items are single trials.

    Raises
    ------
    ShapeError
        If there is not one id for each row.
    """

    name: str
    array: NDArray[np.float32]
    stimulus_id: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.stimulus_id.shape != self.array.shape[:1]:
            raise ShapeError(
                f"{self.name}: one stimulus id for each row is needed; "
                f"found {self.stimulus_id.shape} ids for an array of shape {self.array.shape}."
            )

    def __len__(self) -> int:
        """Give the number of items."""
        return len(self.stimulus_id)

    @property
    def flat(self) -> NDArray[np.float32]:
        """Give the array as ``(n_items, n_targets)``."""
        return self.array.reshape(len(self), -1)

    def rows(self, stimulus_id: ArrayLike) -> NDArray[np.float32]:
        """Give the rows of these stimuli, in this order, repeated where an id repeats.

        Raises
        ------
        ShapeError
            As `where`.
        """
        rows: NDArray[np.float32] = self.array[self.where(stimulus_id)]
        return rows

    def where(self, stimulus_id: ArrayLike) -> NDArray[np.int64]:
        """Give the numbers of the rows of these stimuli.

        Raises
        ------
        ShapeError
            If a stimulus has no row here, or several.
        """
        wanted = np.asarray(stimulus_id, dtype=np.int64)
        order = np.argsort(self.stimulus_id, kind="stable")
        known = self.stimulus_id[order]
        if np.any(known[1:] == known[:-1]):
            raise ShapeError(f"{self.name} holds several rows for one stimulus; one row for each is needed.")
        at = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        missing = wanted[known[at] != wanted] if len(known) else wanted
        if len(missing):
            raise ShapeError(
                f"{self.name} has no row for {len(np.unique(missing))} of the stimuli asked for "
                f"(the first is {missing[0]}). Extract the features of these stimuli first."
            )
        found: NDArray[np.int64] = order[at]
        return found
