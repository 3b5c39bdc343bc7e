"""Cortical maps of a run: its encoding results on the surface or in the volume that they are drawn on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from reseen.datasets.mapping import Volume, map_target
from reseen.datasets.meshes import find_meshes
from reseen.datasets.vertices import Vertices
from reseen.plot import CorticalMaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reseen.recipe import DataRecipe
    from reseen.results import ResultsFolder
    from reseen.trials import Trials

APPROXIMATE = (
    "from MNI152 to fsaverage by coordinates alone, which is off by several millimetres in the cortex of single people"
)


def cortical_maps(results: ResultsFolder, subject: str, data: DataRecipe, trials: Trials) -> CorticalMaps:
    """Map a subject's encoding results to what they are drawn on.

    Parameters
    ----------
    results
        Results folder of a run with encoding models.
    subject
        Name of the subject.
    data
        Section ``data`` of the recipe, with the path of the data.
    trials
        The subject's trials; their betas are not used.

    Raises
    ------
    DataError
        If the voxels have no place in a volume, or the surface or a transform file is missing or damaged.
    ResultsError
        If the encoding results are missing or damaged.
    """
    surface = map_target(data, subject, trials).coarse()
    on = surface if isinstance(surface, Volume) else find_meshes(surface.space, data.surfaces)
    voxels, computed_by = results.load_arrays(results.encode_path(subject))
    index = trials.voxel_index
    assert index is not None  # `map_target` refuses voxels without a place
    values, significant, winners = {}, {}, {}
    for name, array in voxels.items():  # "r/MODEL", "split/...", "q/MODEL", "winner/ANALYSIS", each (n_voxels,)
        statistic, _, model = name.partition("/")
        if statistic in ("r", "split"):
            values[name] = surface.values(array, index)
        elif statistic == "q":
            significant[model] = surface.labels((array <= results.recipe.encode.fdr).astype(np.int64), index)
        elif statistic == "winner":
            winners[model] = surface.labels(array, index)
    return CorticalMaps(
        values=values,
        significant=significant,
        winners=winners,
        layers=tuple(json.loads(computed_by.get("layers", "[]"))),
        regions=surface.labels(_regions(trials), index),
        region_names=tuple(trials.rois),
        on=on,
        note="" if data.is_nsd or isinstance(surface, Volume | Vertices) else APPROXIMATE,
    )


def _regions(trials: Trials) -> NDArray[np.int64]:
    """Return the number of each voxel's ROI, -1 outside; where ROIs overlap, the first in the order of the recipe."""
    masks = np.stack(list(trials.rois.values()))
    return np.where(masks.any(axis=0), masks.argmax(axis=0), -1)
