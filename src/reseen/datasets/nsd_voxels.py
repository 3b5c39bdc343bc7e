"""Find the voxels, or the vertices of fsaverage, of ROIs in NSD's atlases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.grids import read_on_grid
from reseen.datasets.nsd_facts import NsdFiles, find_label
from reseen.datasets.vertices import label_files, read_labels, read_ncsnr
from reseen.datasets.volumes import Shape
from reseen.errors import DataError, RecipeError


@dataclass(frozen=True)
class RoiVoxels:
    """Voxels of some ROIs.

    Parameters
    ----------
    index
        Shape ``(n_voxels,)``, sorted: C-order index into ``shape``.
    shape
        Shape of the volume (X, Y, Z).
    rois
        Name -> mask of its voxels, ``(n_voxels,)``.
    """

    index: NDArray[np.int64]
    shape: Shape
    rois: Mapping[str, NDArray[np.bool_]]

    def keep(self, mask: NDArray[np.bool_]) -> RoiVoxels:
        """Keep some of the voxels, ``(n_voxels,)``."""
        return RoiVoxels(self.index[mask], self.shape, {roi: rows[mask] for roi, rows in self.rois.items()})


def atlases(rois: Sequence[str]) -> dict[str, list[str]]:
    """Return the atlases of some ROIs, and the ROIs of each atlas.

    Raises
    ------
    RecipeError
        If no atlas has an ROI.
    """
    found: dict[str, list[str]] = {}
    for roi in rois:
        found.setdefault(_label(roi)[0], []).append(roi)
    return found


def atlas_paths(files: NsdFiles, atlas: str) -> Sequence[Path]:
    """List the files of an atlas."""
    return label_files(files, atlas) if files.on_fsaverage else [files.roi(atlas)]


def find_voxels(files: NsdFiles, rois: Sequence[str], shape: Shape) -> RoiVoxels:
    """Read the atlases and return the union of the ROIs.

    Raises
    ------
    DataError
        If an atlas is missing, damaged or of another shape than the betas, or has no voxel of an ROI.
    RecipeError
        If no atlas has an ROI.
    """
    masks: dict[str, NDArray[np.bool_]] = {}
    for atlas, names in atlases(rois).items():
        labels = read_labels(files, atlas) if files.on_fsaverage else read_on_grid(files, files.roi(atlas), shape)
        for roi in names:
            masks[roi] = np.isin(labels.ravel(), sorted(_label(roi)[1]))
            if not masks[roi].any():
                where = " and ".join(map(str, atlas_paths(files, atlas)))
                raise DataError(f"{where} has no voxel labelled {roi}; take it out of data.rois.")
    index = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
    return RoiVoxels(index, shape, {roi: masks[roi][index] for roi in rois})


def find_ncsnr(files: NsdFiles, voxels: RoiVoxels) -> NDArray[np.float32] | None:
    """Read the noise ceiling signal-to-noise ratio of some voxels, ``(n_voxels,)``; None if there is no file.

    Raises
    ------
    DataError
        If a file is damaged or on another grid than the betas, or a value is negative or not finite.
    """
    if files.on_fsaverage:
        ncsnr = read_ncsnr(files)
    else:
        ncsnr = read_on_grid(files, files.ncsnr, voxels.shape) if os.path.lexists(files.ncsnr) else None
    if ncsnr is None:
        return None
    found = ncsnr.ravel()[voxels.index]
    bad = np.ones(len(found), dtype=bool) if np.iscomplexobj(found) else ~(np.isfinite(found) & (found >= 0))
    if bad.any():
        raise DataError(
            f"{' and '.join(map(str, files.ncsnr_files()))} has a negative, complex or no finite number in "
            f"{np.sum(bad)} of {len(found)} ROI voxels; ncsnr is 0 or more. Fetch it again, or remove it to run "
            "without noise ceilings."
        )
    return found.astype(np.float32)


def _label(roi: str) -> tuple[str, frozenset[int]]:
    known = find_label(roi)
    if known is None:
        raise RecipeError(
            f"data.rois: there is no ROI {roi!r}. Name one of NSD's (early, ventral, V1, FFA-1, nsdgeneral ...) or "
            "atlas:label, such as HCP_MMP1:1."
        )
    return known
