"""Maps: encoding results of the voxels as maps, figures and files for other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reseen import plot, report
from reseen.cortical import cortical_maps
from reseen.datasets.derivatives import (
    Maps,
    check_placed,
    describe_folder,
    write_cifti,
    write_gifti,
    write_nifti,
    write_vertices,
)
from reseen.datasets.mapping import map_fs_lr, map_grid, map_surface
from reseen.errors import DataError
from reseen.pipeline.context import SubjectRun
from reseen.results import ResultsFolder

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


NOT_MAPPED = ("voxel_index", "alpha", "p")
"""Arrays of the voxels that are not written as maps; q, which is written, is computed from p."""


def maps_to_report(subject: SubjectRun) -> tuple[plot.CorticalMaps | None, str]:
    """Return the maps of a subject's encoding results; if there are none, None and the reason.

    The reason is empty if the recipe has no encoding models.
    """
    if not subject.recipe.encode.has_models:
        return None, ""
    trials = subject.facts
    if trials.voxel_index is None or trials.volume_shape is None:
        return None, "There are no maps: these voxels have no place in a volume."
    try:
        return cortical_maps(subject.results, subject.name, subject.run.data, trials), ""
    except DataError as error:
        return None, f"There are no maps: {error}"


def write_figures(subject: SubjectRun, analyses: Sequence[report.AnalysisReport]) -> None:
    """Write each analysis as PNG and as SVG: the paper's Figures 6 to 9."""
    for analysis in analyses:
        save_figure(subject.results, f"{subject.name}_{analysis.name}", analysis.draw(subject.name))


def save_figure(results: ResultsFolder, name: str, figure: Figure) -> None:
    """Write a figure for print as PNG and as SVG."""
    for suffix in ("png", "svg"):
        plot.save(figure, results.figure_path(name, suffix))
        figure.set_layout_engine("none")  # both files have the same layout


def export_maps(subject: SubjectRun) -> bool:
    """Write the maps of ``encode.export`` that are missing; return whether any were missing.

    Raises
    ------
    ResultsError
        If the voxels have no positions in a volume.
    DataError
        If a transform file is missing, or the place of the voxels does not allow a format.
    """
    name, data = subject.name, subject.run.data
    root = subject.results.path / "derivatives"
    missing = [kind for kind in subject.recipe.encode.export if not (root / f".{name}_{kind}").is_file()]
    for n_done, kind in enumerate(missing):
        subject.run.report_progress(f"write maps of {name}", n_done, len(missing))
        describe_folder(root)
        trials = subject.facts
        check_placed(name, trials.volume_shape)
        assert trials.voxel_index is not None
        assert trials.volume_shape is not None
        maps = _maps(subject, trials.voxel_index, trials.volume_shape)
        if kind == "nifti":
            write_nifti(root, maps, *map_grid(data, name, trials))
        elif kind == "cifti":
            write_cifti(root, maps, map_fs_lr(name, trials))
        else:
            write = write_gifti if kind == "gifti" else write_vertices
            write(root, maps, map_surface(data, name, trials))
        (root / f".{name}_{kind}").touch()
    return bool(missing)


def _maps(subject: SubjectRun, index: NDArray[np.int64], shape: tuple[int, int, int]) -> Maps:
    voxels, computed_by = subject.results.load_arrays(subject.results.encode_path(subject.name))
    kept = {name: array for name, array in voxels.items() if name.partition("/")[0] not in NOT_MAPPED}
    return Maps(subject.name, kept, index, shape, json.loads(computed_by.get("layers", "[]")))
