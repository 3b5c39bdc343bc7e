"""Experiments: trials of NSD's other experiments by name, and the files that each experiment needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.datasets import imagery_files, synthetic_files
from reseen.datasets.experiment_files import ExperimentFile, betas_sizes, experiment_paths
from reseen.datasets.imagery_files import DECODED_TASKS, DecodedTask
from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.nsd_betas import check_events
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_imagery import list_imagery_files, read_imagery
from reseen.datasets.nsd_inventory import need_path
from reseen.datasets.nsd_synthetic import list_synthetic_files, read_synthetic
from reseen.datasets.volumes import check_gzip
from reseen.errors import DataError
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Trials

Labelled = tuple[Trials, Stimuli]
"""Trials that are not standardised, and the images of their stimuli."""


@dataclass(frozen=True)
class Experiment:
    """One experiment of NSD beside the main one.

    Parameters
    ----------
    name
        Name in the files, such as ``"nsdimagery"``.
    title
        Name in sentences.
    option
        Option of ``reseen simulate`` that writes a simulated session.
    n_events
        Number of betas.
    list_files
        Function that lists the files of a subject, except betas.
    later
        Sentence about files that are not listed while others are missing; empty if all are.
    """

    name: str
    title: str
    option: str
    n_events: int
    list_files: Callable[[NsdFiles], list[ExperimentFile]]
    later: str = ""


_IMAGERY = Experiment(
    imagery_files.NAME,
    imagery_files.TITLE,
    imagery_files.OPTION,
    imagery_files.N_EVENTS,
    list_imagery_files,
    "the tables of targets name 12 images: check again when the tables are there",
)
_SYNTHETIC = Experiment(
    synthetic_files.NAME,
    synthetic_files.TITLE,
    synthetic_files.OPTION,
    synthetic_files.N_EVENTS,
    list_synthetic_files,
)
EXPERIMENTS: Mapping[str, Experiment] = {experiment.name: experiment for experiment in (_IMAGERY, _SYNTHETIC)}
"""Experiments by their names."""


def _read_task(task: DecodedTask, data: DataRecipe, subject: str, voxel_index: NDArray[np.int64]) -> Labelled:
    found = read_imagery(data, subject, voxel_index)
    return found.of_task(task), found.stimuli


def _read_synthetic(data: DataRecipe, subject: str, voxel_index: NDArray[np.int64]) -> Labelled:
    found = read_synthetic(data, subject, voxel_index)
    return found.trials, found.stimuli


READERS: Mapping[str, Callable[[DataRecipe, str, NDArray[np.int64]], Labelled]] = {
    **{f"{imagery_files.NAME}-{task}": partial(_read_task, task) for task in DECODED_TASKS},
    synthetic_files.NAME: _read_synthetic,
}
"""Names of trials that are in the data folder of a run -> reader: ``nsdimagery-vision``, ``nsdimagery-imagery``,
``nsdsynthetic``."""


def find_experiment(name: str) -> Experiment:
    """Return the experiment of a name, or of the name of some of its trials.

    Raises
    ------
    DataError
        If there is no such experiment.
    """
    known = EXPERIMENTS.get(name.partition("-")[0])
    if known is None:
        raise DataError(
            f"there is no experiment {name!r}. Name one of {', '.join(EXPERIMENTS)}.",
            where="trials",
            expected=tuple(EXPERIMENTS),
            found=name,
        )
    return known


def experiment_inventory(data: DataRecipe, subject: str, experiment: Experiment) -> list[FileCheck]:
    """List the files of an experiment that one subject needs, and check those that exist.

    Raises
    ------
    DataError
        If no data folder was given.
    """
    files = NsdFiles(need_path(data), subject, data.space, data.betas)
    simulated = data.kind == "simulated" or files.truth.exists()
    paths = experiment_paths(files, experiment.name)
    sizes = [None] * len(paths) if simulated else betas_sizes(files, experiment.n_events)
    betas = [
        ExperimentFile(path, partial(_describe_betas, path, experiment), None if path.suffix == ".gz" else size)
        for path, size in zip(paths, sizes, strict=True)
    ]
    found = []
    for file in [*betas, *experiment.list_files(files)]:
        command = f"reseen simulate {experiment.option}" if simulated else files.fetch_command(file.path)
        missing = f"missing. {'Write it again' if simulated else 'Fetch it'}: {command}"
        size = None if simulated else file.size
        found.append(check_file(file.path, file.describe, missing=missing, expected=size))
    return found


def _describe_betas(path: Path, experiment: Experiment) -> str:
    shape = check_events(path, experiment.n_events)
    if path.suffix == ".gz":
        check_gzip(path)
    return f"{experiment.n_events} betas of {shape}"
