"""Place of voxels: the grid of a volume in millimetres, or the vertices of a standard surface."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.fsaverage import SURFACES
from reseen.datasets.volumes import Affine, Shape
from reseen.errors import ShapeError


@dataclass(frozen=True, eq=False)
class Place:
    """Place of each voxel.

    Parameters
    ----------
    space
        Name of the space, such as ``"T1w"`` or ``"MNI152NLin2009cAsym"``, or of a standard surface
        (`reseen.datasets.fsaverage.SURFACES`).
    shape
        Shape of the volume (X, Y, Z). Of a surface it is (2, n_vertices, 1): hemisphere (left first), vertex.
    index
        Shape ``(n_voxels,)``: C-order index of each voxel into ``shape``.
    affine
        Shape ``(4, 4)``: from voxels of the volume to millimetres. None for a surface, or if no header gives one.
    """

    space: str
    shape: Shape
    index: NDArray[np.int64]
    affine: Affine | None = None

    def __post_init__(self) -> None:
        size = int(np.prod(self.shape))
        if len(self.index) and not 0 <= self.index.min() <= self.index.max() < size:
            raise ShapeError(
                f"voxels have numbers from {self.index.min()} to {self.index.max()}; the grid {self.shape} of "
                f"{self.space} has {size}.",
                where="index",
                expected=size,
                found=int(self.index.max()),
            )
        if self.on_surface and self.shape != (2, SURFACES[self.space], 1):
            raise ShapeError(
                f"{self.space} has the shape {(2, SURFACES[self.space], 1)}: hemisphere, vertex; found {self.shape}.",
                where="shape",
                expected=(2, SURFACES[self.space], 1),
                found=self.shape,
            )

    @property
    def on_surface(self) -> bool:
        """Whether voxels are vertices of a standard surface."""
        return self.space in SURFACES

    def take(self, columns: NDArray[Any]) -> Place:
        """Keep some voxels, chosen by a mask or by number."""
        return replace(self, index=self.index[columns])

    def millimetres(self) -> NDArray[np.float64] | None:
        """Return the position of each voxel's centre in millimetres, ``(n_voxels, 3)``; None without an affine."""
        if self.affine is None:
            return None
        voxels = np.stack(np.unravel_index(self.index, self.shape), axis=1)
        centres: NDArray[np.float64] = voxels @ self.affine[:3, :3].T + self.affine[:3, 3]
        return centres
