"""Find the voxels, or the vertices of a surface, of ROIs in NSD's atlases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.grids import read_on_grid
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_rois import Roi, find_rois, mask_path, need_labels
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
        Shape of the volume (X, Y, Z), or of all vertices.
    rois
        Name -> mask of its voxels, ``(n_voxels,)``.
    """

    index: NDArray[np.int64]
    shape: Shape
    rois: Mapping[str, NDArray[np.bool_]]

    def keep(self, mask: NDArray[np.bool_]) -> RoiVoxels:
        """Keep some of the voxels, ``(n_voxels,)``."""
        return RoiVoxels(self.index[mask], self.shape, {roi: rows[mask] for roi, rows in self.rois.items()})


def atlases(rois: Sequence[Roi]) -> dict[str, list[Roi]]:
    """Return the ROIs of each atlas; a mask is an atlas of its own."""
    found: dict[str, list[Roi]] = {}
    for roi in rois:
        found.setdefault(roi.atlas, []).append(roi)
    return found


def atlas_paths(files: NsdFiles, atlas: Sequence[Roi]) -> Sequence[Path]:
    """List the files of the ROIs of one atlas: labels, and the table of names if one is needed."""
    first = atlas[0]
    if first.is_mask:
        return [mask_path(files, first)]
    labels = label_files(files, first.atlas) if files.on_surface else [files.roi(first.atlas)]
    return [*labels, *([files.color_table(first.atlas)] if any(roi.needs_table for roi in atlas) else [])]


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
    for atlas in atlases(find_rois(files, rois)).values():
        labels = _read_atlas(files, atlas[0], shape).ravel()
        for roi in atlas:
            masks[roi.name] = labels > 0 if roi.is_mask else np.isin(labels, need_labels(files, roi))
            if not masks[roi.name].any():
                where = " and ".join(map(str, atlas_paths(files, atlas)))
                raise DataError(f"{where} has no voxel labelled {roi.name}; take it out of data.rois.")
    index = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
    return RoiVoxels(index, shape, {roi: masks[roi][index] for roi in rois})


def _read_atlas(files: NsdFiles, roi: Roi, shape: Shape) -> NDArray[Any]:
    """Read the labels of an ROI's atlas, or its mask, on the voxels of the betas."""
    if not roi.is_mask:
        if files.on_surface:
            return read_labels(files, roi.atlas, shape)
        return read_on_grid(files, files.roi(roi.atlas), shape)
    if files.on_surface:
        raise RecipeError(
            f"data.rois: the mask {roi.name!r} is a volume, and the betas in {files.space} are on vertices. Name "
            "labels of an atlas, or read the betas of a volume (data.space).",
            where="data.rois",
            found=roi.name,
        )
    return read_on_grid(files, mask_path(files, roi), shape)


def find_ncsnr(files: NsdFiles, voxels: RoiVoxels) -> NDArray[np.float32] | None:
    """Read the noise ceiling signal-to-noise ratio of some voxels, ``(n_voxels,)``; None if there is no file.

    Raises
    ------
    DataError
        If a file is damaged or on another grid than the betas, or a value is negative or not finite.
    """
    if files.on_surface:
        ncsnr = read_ncsnr(files, voxels.shape)
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
