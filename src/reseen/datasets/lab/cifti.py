"""Read CIFTI files of a run's trials, as the Natural Object Dataset (NOD) has them: ``data.kind = "cifti"``.

Each run has one ``*.dscalar.nii`` file, (trials, grayordinates), such as
``sub-01/results/ses-imagenet01_task-imagenet_run-1/ses-imagenet01_task-imagenet_run-1_beta.dscalar.nii``. Only cortical
vertices are read, by the numbers in the file's BrainModelAxis. ``*_events.tsv`` of the same run says which image each
trial shows; ``run-1`` and ``run-01`` are one run. ``data.roi_files`` names ROIs in ``.dlabel.nii`` or ``.label.gii``.

File names and axes were read from NOD's public code; NOD's own files were not opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.lab.assemble import assemble, locate, need_root
from reseen.datasets.lab.data import LabData, Responses
from reseen.datasets.lab.runs import find_runs, read_run_tables
from reseen.datasets.lab.surfaces import Grayordinates, series_sentence
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

ENDING, SERIES = ".dscalar.nii", ".dtseries.nii"


def read(data: DataRecipe, subject: str) -> LabData:
    """Read the trials of a subject's runs in CIFTI files; responses are read at first use.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    subject
        Name of the subject; of files that name subjects (``sub-01``), its own are read.

    Raises
    ------
    DataError
        If a file is missing, damaged, a time series, or does not fit the others.
    """
    _refuse_series(data)
    runs = {run: Grayordinates(_one(files)) for run, files in find_runs(data, subject, ENDING).items()}
    files = list(runs.values())
    counts = {run: file.n_rows for run, file in runs.items()}
    n_other = files[0].n_other
    notes = (f"{n_other} grayordinates outside of the cortex, which are not read",) if n_other else ()
    return assemble(data, read_run_tables(data, counts), _join(files), notes=notes)


def _refuse_series(data: DataRecipe) -> None:
    """Refuse a folder that has time series and no responses, and a time series that is named as responses."""
    place = need_root(data) if data.responses is None else locate(data, data.responses, "data.responses")
    if place.is_file():
        series = [place] if place.name.endswith(SERIES) else []
    else:
        series = [] if any(place.rglob(f"[!.]*{ENDING}")) else sorted(place.rglob(f"[!.]*{SERIES}"))
    if series:
        raise DataError(series_sentence(series[0]), where=series[0], expected=ENDING, found=SERIES)


def _one(files: Sequence[Path]) -> Path:
    """Return the run's file of responses: the only one, or the only one that is named beta."""
    named = [file for file in files if "beta" in file.name] if len(files) > 1 else list(files)
    if len(named) != 1:
        raise DataError(
            f"{shown(files[0].parent)} has {len(files)} files {ENDING} of one run, such as {shown(files[0].name)} and "
            f"{shown(files[1].name)}; one file with its trials is needed. Name the folder: data.responses.",
            where="data.responses",
            expected=1,
            found=len(files),
        )
    return named[0]


def _join(files: Sequence[Grayordinates]) -> Responses:
    """Return the responses of all runs, one after the other.

    Raises
    ------
    DataError
        If a run has other vertices than the first.
    """
    place = files[0].place
    for file in files[1:]:
        if file.place.shape != place.shape or not np.array_equal(file.place.index, place.index):
            raise DataError(
                f"{shown(file.path)} has other vertices ({len(file.place.index)}) than {shown(files[0].path)} "
                f"({len(place.index)}). Write all runs on the same grayordinates.",
                where=file.path,
                expected=len(place.index),
                found=len(file.place.index),
            )

    def read_columns(columns: NDArray[np.int64]) -> NDArray[np.float32]:
        betas = np.empty((sum(file.n_rows for file in files), len(columns)), dtype=np.float32)
        row = 0
        for file in files:
            for number in range(file.n_rows):  # one trial in memory at a time
                betas[row] = file.row(number, columns)
                row += 1
        return betas

    return Responses(sum(file.n_rows for file in files), len(place.index), read_columns, place)
