"""Where the ridge calculates: numpy, or torch on a device that the caller names. Nothing moves elsewhere by itself.

Arrays on a device are numpy arrays or torch tensors; both know ``@``, ``.T``, slices and broadcasting. What they spell
differently is here.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Do with an array what numpy and torch spell differently.

    Parameters
    ----------
    name
        ``"numpy"``, or a device of torch: ``"cpu"``, ``"cuda"``, ``"cuda:1"``. It needs float64, which ``"mps"`` lacks.

    Raises
    ------
    DataError
        If torch has no such device here, or the device has no float64.
    """

    name: str = "numpy"

    def __post_init__(self) -> None:
        if self.name == "numpy":
            return
        import torch

        try:
            torch.zeros(1, dtype=torch.float64, device=self.name)
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"the ridge cannot calculate on device {self.name!r}: {reason}. "
                "Name one that torch has here and that knows float64, or 'numpy'."
            ) from error

    def put(self, array: NDArray[Any]) -> Array:
        """Bring a numpy array here; its numbers keep their precision."""
        if self.name == "numpy":
            return np.ascontiguousarray(array)
        import torch

        return torch.as_tensor(np.ascontiguousarray(array), device=self.name)

    def get(self, array: Array) -> NDArray[Any]:
        """Bring an array back to numpy."""
        return np.asarray(array) if self.name == "numpy" else np.asarray(array.cpu().numpy())

    def zeros(self, *shape: int, double: bool = False) -> Array:
        """Return zeros, float32 or float64."""
        if self.name == "numpy":
            return np.zeros(shape, dtype=np.float64 if double else np.float32)
        import torch

        return torch.zeros(shape, dtype=torch.float64 if double else torch.float32, device=self.name)

    def join(self, parts: Sequence[Array]) -> Array:
        """Stack arrays by rows."""
        if self.name == "numpy":
            return np.concatenate(parts)
        import torch

        return torch.cat(list(parts))

    def single(self, array: Array) -> Array:
        """Return float32."""
        return array.astype(np.float32, copy=False) if self.name == "numpy" else array.float()

    def double(self, array: Array) -> Array:
        """Return float64."""
        return array.astype(np.float64, copy=False) if self.name == "numpy" else array.double()

    def eigh(self, matrix: Array) -> tuple[Float64, Array]:
        """Return the eigenvalues of a symmetric float64 matrix, ascending, and its eigenvectors as columns, here."""
        if self.name == "numpy":
            values, vectors = np.linalg.eigh(matrix)
            return values, vectors
        import torch

        values, vectors = torch.linalg.eigh(matrix)
        return np.asarray(values.cpu().numpy()), vectors

    def eigvalsh(self, matrix: Array) -> Float64:
        """Return the eigenvalues of a symmetric float64 matrix, ascending."""
        if self.name == "numpy":
            return np.linalg.eigvalsh(matrix)
        import torch

        return np.asarray(torch.linalg.eigvalsh(matrix).cpu().numpy())

    def upper_factor(self, matrix: Array) -> Array:
        """Return R of the QR factors of a tall matrix, so that ``R.T @ R`` equals ``matrix.T @ matrix``."""
        if self.name == "numpy":
            return np.linalg.qr(matrix, mode="r")
        import torch

        return torch.linalg.qr(matrix, mode="r")[1]

    def dots(self, a: Array, b: Array) -> Float64:
        """Return the scalar product of each column of a with that of b, ``(n_columns,)`` float64 in numpy."""
        if self.name == "numpy":
            return np.asarray(np.einsum("ij,ij->j", a, b), dtype=np.float64)
        return np.asarray((a * b).sum(0).double().cpu().numpy())
