"""Mapping: from each voxel's encoding numbers to maps, figures and files for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reseen import report
from reseen.datasets.derivatives import Maps, describe_folder, write_gifti, write_nifti, write_vertices
from reseen.datasets.surface import read_affine
from reseen.datasets.vertices import way_to_fsaverage
from reseen.errors import DataError, ResultsError
from reseen.files import writing
from reseen.pipeline.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reseen.trials import Trials

DOTS_PER_INCH = 150
NOT_MAPPED = ("voxel_index", "alpha", "p")
"""What of the voxels' numbers is not written as a map; q says what p says."""


def cortical_maps(job: Job, subject: str, trials: Trials) -> tuple[report.CorticalMaps | None, str]:
    """Carry a subject's encoding numbers to fsaverage5; where that cannot be, give a sentence that says why."""
    if trials.voxel_index is None or trials.volume_shape is None:
        return None, "There are no maps: these voxels have no place in a volume."
    try:
        surface = way_to_fsaverage(job.data, subject, trials.volume_shape).coarse()
    except DataError as error:
        return None, f"There are no maps: {error}"
    voxels, made_by = job.results.load_arrays(job.results.encode_path(subject))
    index = trials.voxel_index
    significant = {
        name.removeprefix("q/"): surface.labels((q <= job.recipe.encode.fdr).astype(np.int64), index)
        for name, q in voxels.items()
        if name.startswith("q/")
    }
    maps = report.CorticalMaps(
        values={k: surface.values(v, index) for k, v in voxels.items() if k.startswith(("r/", "split/"))},
        significant=significant,
        winners={k.removeprefix("winner/"): surface.labels(v, index) for k, v in voxels.items() if "winner/" in k},
        layers=tuple(json.loads(made_by.get("layers", "[]"))),
        regions=surface.labels(_regions(trials), index),
        region_names=tuple(trials.rois),
    )
    return maps, ""


def _regions(trials: Trials) -> NDArray[np.int64]:
    """Return the number of each voxel's ROI; of several that overlap the first, in the order of the recipe."""
    masks = np.stack(list(trials.rois.values()))
    return np.where(masks.any(axis=0), masks.argmax(axis=0), -1)


def write_figures(job: Job, subject: str, analyses: Sequence[report.AnalysisReport]) -> None:
    """Write each analysis as PNG and as SVG, the same bytes from the same numbers."""
    from matplotlib import rc_context

    for analysis in analyses:
        with rc_context({"svg.hashsalt": "reseen", "svg.fonttype": "none"}):
            figure = report.draw(analysis, subject)
            for kind, told in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                with writing(job.results.figure_path(subject, analysis.name, kind)) as part:
                    figure.savefig(part, format=kind, dpi=DOTS_PER_INCH, metadata=told)


def export_maps(job: Job) -> bool:
    """Write the maps that the recipe asks for and that are not there yet; say whether there were any.

    Raises
    ------
    ResultsError
        If the voxels have no volume to lie in.
    DataError
        If a transform file is missing.
    """
    wanted = job.recipe.encode.export
    root = job.results.path / "derivatives"
    marks = {(subject, kind): root / f".{subject}_{kind}" for subject in job.subjects for kind in wanted}
    missing = [key for key, mark in marks.items() if not mark.is_file()]
    if missing:
        describe_folder(root)
    for done, (subject, kind) in enumerate(missing):
        job.tell("write maps", done, len(missing))
        trials = job.facts(subject)[0]
        check_placed(subject, trials.volume_shape)
        assert trials.voxel_index is not None
        assert trials.volume_shape is not None
        maps = _described(job, subject, trials.voxel_index, trials.volume_shape)
        if kind == "nifti":
            write_nifti(root, maps, job.recipe.data.space, read_affine(job.data, subject, trials.volume_shape))
        else:
            write = write_gifti if kind == "gifti" else write_vertices
            write(root, maps, way_to_fsaverage(job.data, subject, trials.volume_shape))
        marks[subject, kind].touch()
    return bool(missing)


def check_placed(subject: str, volume_shape: tuple[int, int, int] | None) -> None:
    """Refuse maps of voxels that have no place in a volume.

    Raises
    ------
    ResultsError
        If they have none.
    """
    if volume_shape is None:
        raise ResultsError(
            f"encode.export asks for maps; the voxels of {subject} have no place in a volume. Leave encode.export out."
        )


def _described(job: Job, subject: str, index: NDArray[np.int64], shape: tuple[int, int, int]) -> Maps:
    voxels, made_by = job.results.load_arrays(job.results.encode_path(subject))
    kept = {name: array for name, array in voxels.items() if name.partition("/")[0] not in NOT_MAPPED}
    return Maps(subject, kept, index, shape, json.loads(made_by.get("layers", "[]")))
