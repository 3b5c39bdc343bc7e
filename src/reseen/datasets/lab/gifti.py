"""Read GIFTI files of a run's trials: ``data.kind = "gifti"``.

Each run has a file for each hemisphere, ``sub-01_ses-01_task-pics_run-1_hemi-L_space-fsaverage5_betas.func.gii``, with
one data array for each trial. The number of vertices tells the surface: fsaverage5, fsaverage6, fsaverage or fsLR-32k.
``*_events.tsv`` with the run's names says which image each trial shows (see `reseen.datasets.lab.runs`). ROIs are
``.label.gii`` files next to the responses, or ``data.roi_files``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.assemble import assemble
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.place import Place
from reseen.datasets.lab.rois import read_rois
from reseen.datasets.lab.runs import Run, find_runs, read_run_tables
from reseen.datasets.lab.surfaces import SIDES, read_gifti, side_of, surface_place
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

NOT_RESPONSES = (".label.gii", ".surf.gii", ".shape.gii")


def read(data: DataRecipe, subject: str) -> LabData:
    """Read the trials of a subject's runs in GIFTI files; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject; of files that name subjects (``sub-01``), its own are read.

    Raises
    ------
    DataError
        If a file is missing or damaged, a hemisphere is missing, or the numbers of trials or vertices differ.
    """
    runs = {run: _pair(files) for run, files in find_runs(data, subject, ".gii", NOT_RESPONSES).items()}
    responses, counts = _read_headers(list(runs.items()))
    folders = {file.parent for pair in runs.values() for file in pair}
    labels = sorted(file for folder in folders for file in folder.glob("[!.]*.label.gii"))
    assert responses.place is not None
    rois = {} if data.roi_files else read_rois(labels, responses.place)
    return assemble(data, read_run_tables(data, counts), responses, rois=rois)


def _pair(files: Sequence[Path]) -> tuple[Path, Path]:
    """Return the run's files of the left and of the right hemisphere."""
    found = {}
    for side in SIDES:
        mine = found[side] = [file for file in files if side_of(file) == side]
        if len(mine) != 1:
            raise DataError(
                f"{shown(files[0].parent)}: the run of {shown(files[0].name)} has {len(mine)} files of the hemisphere "
                f"{side}; one file with all of its trials is needed. Name the folder of the responses: data.responses.",
                where=files[0].parent,
                expected=1,
                found=len(mine),
            )
    return found["L"][0], found["R"][0]


def _read_headers(runs: Sequence[tuple[Run, tuple[Path, Path]]]) -> tuple[Responses, Mapping[Run, int]]:
    """Return the responses of all runs, and the number of trials of each; check that all files fit each other."""
    counts: dict[Run, int] = {}
    place: Place | None = None
    for run, pair in runs:
        for path in pair:
            arrays = read_gifti(path)[0]
            place = surface_place(path, len(arrays[0])) if place is None else place
            expected = (counts.setdefault(run, len(arrays)), place.shape[1])
            if (len(arrays), len(arrays[0])) != expected:
                raise DataError(
                    f"{shown(path)} has {len(arrays)} trials of {len(arrays[0])} vertices; {expected[0]} trials of "
                    f"{expected[1]} vertices are expected, as in the files before it.",
                    where=path,
                    expected=expected,
                    found=(len(arrays), len(arrays[0])),
                )
    assert place is not None
    n_vertices, n_trials = place.shape[1], sum(counts.values())

    def read_columns(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        betas = np.empty((n_trials, len(columns)), dtype=np.float32)
        first = 0
        for _, pair in runs:
            for number, path in enumerate(pair):  # one file in memory at a time
                mine = columns // n_vertices == number
                arrays = read_gifti(path)[0]
                for row, array in enumerate(arrays, start=first):
                    betas[row, mine] = array[columns[mine] % n_vertices]
            first += len(arrays)
        return betas

    return Responses(n_trials, 2 * n_vertices, read_columns, place), counts
