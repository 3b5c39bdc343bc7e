"""Files of another experiment of NSD's subjects, to which the decoders of a run can be applied."""

from __future__ import annotations

from pathlib import Path

from reseen.check.files import count_files, describe_state, fetch, is_from_nsd
from reseen.check.finding import Finding, refused
from reseen.datasets import FileCheck
from reseen.datasets.experiments import Experiment, experiment_inventory, find_experiment
from reseen.datasets.new_trials import refuse_other_kinds
from reseen.errors import DataError, ReseenError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe


def check_experiment(data: DataRecipe, name: str) -> list[Finding]:
    """Check the files of an experiment for each subject of a recipe, without downloading anything.

    Parameters
    ----------
    data
        Section ``data`` of the recipe.
    name
        ``"nsdimagery"``, ``"nsdsynthetic"``, or the name of some of their trials, as for ``reseen apply``.

    Returns
    -------
    list
        One finding for each subject; where files of NSD are missing, another one with the commands that download them.

    Raises
    ------
    DataError
        If there is no such experiment.
    """
    experiment = find_experiment(name)
    try:
        refuse_other_kinds(data)
    except ReseenError as error:
        return [refused(experiment.title, error)]
    findings: list[Finding] = []
    known: dict[Path, FileCheck] = {}
    for subject in data.subjects:
        try:
            every = experiment_inventory(data, subject, experiment)
        except ReseenError as error:
            findings.append(refused(f"{experiment.title} of {subject}", error))
            continue
        listed = [file for file in every if file.path not in known]
        known.update({file.path: file for file in listed})
        findings.append(_state(data, experiment, subject, listed))
    needed = [file for file in known.values() if not file.ok and not file.blocked]
    if needed and is_from_nsd(data):
        findings.append(fetch(data, needed, []))
    return findings


def _state(data: DataRecipe, experiment: Experiment, subject: str, files: list[FileCheck]) -> Finding:
    """Return number and size of the files of one subject, and the problem of each that cannot be used."""
    what, root = f"{experiment.title} of {subject}", data.path or Path()
    bad = [file for file in files if not file.ok]
    if not bad:
        return Finding(what, f"{count_files(files)}, in {root}: {files[0].note}")
    found, more = describe_state(root, files)
    if experiment.later and any(file.size is None for file in bad):
        more.append(experiment.later)
    if not is_from_nsd(data):
        more.append(f"write the simulated subject again, into an empty folder: reseen simulate {experiment.option}")
    message = bad[0].note if bad[0].size is not None else f"{shown(bad[0].path)} is {bad[0].note}"
    return Finding(what, found, tuple(more), DataError(message, where=bad[0].path))
