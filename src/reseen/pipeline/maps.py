"""Mapping: from each voxel's encoding numbers to maps, figures and files for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reseen import plot, report
from reseen.datasets.derivatives import Maps, check_placed, describe_folder, write_gifti, write_nifti, write_vertices
from reseen.datasets.surface import read_affine
from reseen.datasets.vertices import way_to_fsaverage
from reseen.errors import DataError
from reseen.pipeline.context import SubjectRun
from reseen.results import ResultsFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from reseen.trials import Trials

NOT_MAPPED = ("voxel_index", "alpha", "p")
"""What of the voxels' numbers is not written as a map; q says what p says."""


def cortical_maps(subject: SubjectRun) -> tuple[plot.CorticalMaps | None, str]:
    """Carry a subject's encoding numbers to fsaverage5; where that cannot be, give a sentence that says why."""
    trials = subject.facts
    if trials.voxel_index is None or trials.volume_shape is None:
        return None, "There are no maps: these voxels have no place in a volume."
    try:
        surface = way_to_fsaverage(subject.run.data, subject.name, trials.volume_shape).coarse()
    except DataError as error:
        return None, f"There are no maps: {error}"
    voxels, computed_by = subject.results.load_arrays(subject.results.encode_path(subject.name))
    index = trials.voxel_index
    significant = {
        name.removeprefix("q/"): surface.labels((q <= subject.recipe.encode.fdr).astype(np.int64), index)
        for name, q in voxels.items()
        if name.startswith("q/")
    }
    maps = plot.CorticalMaps(
        values={k: surface.values(v, index) for k, v in voxels.items() if k.startswith(("r/", "split/"))},
        significant=significant,
        winners={k.removeprefix("winner/"): surface.labels(v, index) for k, v in voxels.items() if "winner/" in k},
        layers=tuple(json.loads(computed_by.get("layers", "[]"))),
        regions=surface.labels(_regions(trials), index),
        region_names=tuple(trials.rois),
    )
    return maps, ""


def _regions(trials: Trials) -> NDArray[np.int64]:
    """Return the number of each voxel's ROI; of several that overlap the first, in the order of the recipe."""
    masks = np.stack(list(trials.rois.values()))
    return np.where(masks.any(axis=0), masks.argmax(axis=0), -1)


def write_figures(subject: SubjectRun, analyses: Sequence[report.AnalysisReport]) -> None:
    """Write each analysis as PNG and as SVG: the paper's Figures 6 to 9."""
    for analysis in analyses:
        save_figure(subject.results, f"{subject.name}_{analysis.name}", analysis.draw(subject.name))


def save_figure(results: ResultsFolder, name: str, figure: Figure) -> None:
    """Write a figure for print as PNG and as SVG."""
    for kind in ("png", "svg"):
        plot.save(figure, results.figure_path(name, kind))
        figure.set_layout_engine("none")  # the parts stay where the first file has them


def export_maps(subject: SubjectRun) -> bool:
    """Write the maps that the recipe asks for and that are not there yet; return whether there were any.

    Raises
    ------
    ResultsError
        If the voxels have no place in a volume.
    DataError
        If a transform file is missing.
    """
    name, data = subject.name, subject.run.data
    root = subject.results.path / "derivatives"
    missing = [kind for kind in subject.recipe.encode.export if not (root / f".{name}_{kind}").is_file()]
    for done, kind in enumerate(missing):
        subject.run.tell(f"write maps of {name}", done, len(missing))
        describe_folder(root)
        trials = subject.facts
        check_placed(name, trials.volume_shape)
        assert trials.voxel_index is not None
        assert trials.volume_shape is not None
        maps = _maps(subject, trials.voxel_index, trials.volume_shape)
        if kind == "nifti":
            write_nifti(root, maps, subject.recipe.data.space, read_affine(data, name, trials.volume_shape))
        else:
            write = write_gifti if kind == "gifti" else write_vertices
            write(root, maps, way_to_fsaverage(data, name, trials.volume_shape))
        (root / f".{name}_{kind}").touch()
    return bool(missing)


def _maps(subject: SubjectRun, index: NDArray[np.int64], shape: tuple[int, int, int]) -> Maps:
    voxels, computed_by = subject.results.load_arrays(subject.results.encode_path(subject.name))
    kept = {name: array for name, array in voxels.items() if name.partition("/")[0] not in NOT_MAPPED}
    return Maps(subject.name, kept, index, shape, json.loads(computed_by.get("layers", "[]")))
