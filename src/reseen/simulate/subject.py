"""Content of one subject's files in NSD's layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SubjectTree:
    """Data from which the files of one subject are written.

    Parameters
    ----------
    name
        ``"subj01"``, ``"subj02"`` ...: the number is the subject's row in the design.
    stimulus_id
        For each session the presented stimuli, ``(n_trials,)``, 0-based, in order of presentation.
    betas
        For each session ``(n_trials, n_voxels)`` float32, per cent signal change; iterated once.
    volume_shape
        (X, Y, Z).
    voxel_index
        Shape ``(n_voxels,)``: C-order index into the volume.
    rois
        Atlas -> labels (X, Y, Z): -1 no cortex, 0 unlabelled cortex, 1... as in ``nsd_facts.ROI_LABELS``.
    ncsnr
        Shape ``(n_voxels,)``: noise ceiling signal-to-noise ratio.
    affine
        (4, 4): voxel to scanner millimetres; default: 1.8 mm cubes.
    brainmask
        (X, Y, Z) bool; default: the voxels.
    vertex_files
        Path of an MGH file within the tree (transforms, labels) -> its content, ``(n_vertices, n_columns)``.
    """

    name: str
    stimulus_id: Sequence[NDArray[np.int64]]
    betas: Iterable[NDArray[np.float32]]
    volume_shape: tuple[int, int, int]
    voxel_index: NDArray[np.int64]
    rois: Mapping[str, NDArray[np.integer[Any]]]
    ncsnr: NDArray[np.float32]
    affine: NDArray[np.float64] | None = None
    brainmask: NDArray[np.bool_] | None = None
    vertex_files: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def row(self) -> int:
        """The subject's row in the design."""
        return int(self.name.removeprefix("subj")) - 1
