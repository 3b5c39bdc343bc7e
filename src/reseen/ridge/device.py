"""Device of the ridge regression: numpy, or torch if the caller requests it.

Arrays of both support ``@``, ``.T``, slices and broadcasting. `Device.xp` is the module of the functions that have the
same name in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import DataError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Array = Any  # a numpy array, or a torch tensor


@dataclass(frozen=True)
class Device:
    """Device by name: ``"numpy"``, or a torch device with float64, such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises a DataError if torch has no such device here, or if the device has no float64, such as ``"mps"``.
    """

    name: str = "numpy"

    def __post_init__(self) -> None:
        try:
            self.put(np.zeros(1))
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"the ridge regression cannot run on device {self.name!r}: {reason}. "
                "Use 'numpy', or a torch device of this machine that supports float64.",
                where="device",
                found=self.name,
            ) from error

    @property
    def is_numpy(self) -> bool:
        """Whether arrays are numpy's, so that parts are calculated in parallel on the cores."""
        return self.name == "numpy"

    @property
    def xp(self) -> Any:
        """Module of the arrays: numpy or torch."""
        if self.is_numpy:
            return np
        import torch

        return torch

    def put(self, array: NDArray[Any]) -> Array:
        """Return a numpy array as an array of this device, in the same precision."""
        return np.ascontiguousarray(array) if self.is_numpy else self.xp.asarray(array, device=self.name)

    def get(self, array: Array) -> NDArray[Any]:
        """Return an array of this device as a numpy array."""
        return np.asarray(array if self.is_numpy else array.cpu())

    def single(self, array: Array) -> Array:
        """Return an array in float32."""
        return self.xp.asarray(array, dtype=self.xp.float32)

    def double(self, array: Array) -> Array:
        """Return an array in float64."""
        return self.xp.asarray(array, dtype=self.xp.float64)

    def dots(self, a: Array, b: Array) -> Float64:
        """Return the scalar product of each column of ``a`` with the same column of ``b``, ``(n_columns,)``."""
        if self.is_numpy:
            return np.asarray(np.einsum("ij,ij->j", a, b), dtype=np.float64)
        return np.asarray((a * b).sum(0).double().cpu())
