"""Files of runs, and their events: matched by subject, session, task and run in the names of BIDS.

A number is the same run with and without leading zeros: the results folders of NOD say ``run-1`` where the events files
say ``run-01``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reseen.datasets.lab.assemble import locate, need_root
from reseen.datasets.lab.table import TrialTable, join_tables, read_trial_table
from reseen.errors import DataError
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

Run = tuple[str, str, str, str]
"""Labels of subject, session, task and run; empty where the name has none."""
ENTITIES = ("sub", "ses", "task", "run")


def run_of(path: Path) -> Run:
    """Return the run of a file by its name, or by the folders it is in."""
    sub, ses, task, run = (_number(_label(path, entity)) for entity in ENTITIES)
    return sub, ses, task, run


def _label(path: Path, entity: str) -> str:
    found = (re.search(rf"(?:^|_){entity}-([A-Za-z0-9]+)", part) for part in reversed(path.parts))
    return next((match[1] for match in found if match), "")


def _number(label: str) -> str:
    """Return a label without leading zeros, if it is a number."""
    return str(int(label)) if label.isdecimal() else label


def in_order(run: Run) -> tuple[list[tuple[int, str]], ...]:
    """Return a sort key in which run 10 follows run 9."""
    return tuple(_parts(label) for label in run)


def _parts(label: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.findall(r"\d+|\D+", label)]


def by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key in which trial-2 is before trial-10, and ses-2 before ses-10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def find_runs(
    data: DataRecipe, subject: str, ending: str, without: tuple[str, ...] = ()
) -> Mapping[Run, Sequence[Path]]:
    """Return the subject's files of responses by run, in order.

    Parameters
    ----------
    data
        Section ``data`` of the recipe: ``responses``, or else all files in ``path``.
    subject
        Name of the subject, such as ``"sub-01"`` or ``"subj01"``.
    ending
        End of the names, such as ``".dscalar.nii"``.
    without
        Ends of names that are no responses.

    Raises
    ------
    DataError
        If there is no such file, or none of this subject.
    """
    place = need_root(data) if data.responses is None else locate(data, data.responses, "data.responses")
    files = [place] if place.is_file() else sorted(place.rglob(f"[!.]*{ending}"))
    runs: dict[Run, list[Path]] = {}
    for path in files:
        if not path.name.endswith(without):
            runs.setdefault(run_of(path), []).append(path)
    if not runs:
        raise DataError(
            f"{shown(place)} has no responses in files that end in {ending}. Correct data.path, or name the folder of "
            "the responses: data.responses.",
            where="data.responses",
            expected=ending,
        )
    label = _number(subject.removeprefix("sub-").removeprefix("subj"))
    mine = {run: runs[run] for run in sorted(runs, key=in_order) if run[0] in (label, "")}
    if not mine:
        subjects = sorted({f"sub-{_label(path, 'sub')}" for paths in runs.values() for path in paths})
        raise DataError(
            f"{shown(place)} has files of {', '.join(subjects)}, not of {subject}. Set data.subjects.",
            where="data.subjects",
            expected=tuple(subjects),
            found=subject,
        )
    return mine


def read_run_tables(data: DataRecipe, counts: Mapping[Run, int]) -> TrialTable:
    """Return the trials of all runs: of the table ``data.trials``, or of the events file of each run.

    Parameters
    ----------
    data
        Section ``data`` of the recipe. ``trials`` is a table of all trials in the order of the runs, or the folder of
        the events files.
    counts
        Number of responses of each run, in order.

    Raises
    ------
    DataError
        If a table is missing or damaged, or has another number of trials.
    """
    place = need_root(data) if data.trials is None else locate(data, data.trials, "data.trials")
    if data.trials is not None and place.is_file():
        return read_trial_table(place)
    folder = place if place.is_dir() else place.parent
    events = sorted(folder.rglob("[!.]*events.tsv"))
    return join_tables([_run_table(folder, events, run, count) for run, count in counts.items()])


def read_events(path: Path) -> TrialTable:
    """Read an events file, sorted by onset if it has a column of numbers ``onset``.

    Raises
    ------
    DataError
        If the file is missing, damaged, or has no column of images.
    """
    table = read_trial_table(path)
    try:
        onset = [float(text) for text in table.columns.get("onset", ())]
    except ValueError:
        return table
    return table.take(np.argsort(onset, kind="stable")) if onset else table


def may_be(found: Run, run: Run) -> bool:
    """Return whether two names can be of one run: all labels are equal that both have."""
    return all(one == other or not (one and other) for one, other in zip(found, run, strict=True))


def events_of(folder: Path, events: Sequence[Path], run: Run) -> Path:
    """Return the events file of a run.

    Raises
    ------
    DataError
        If there is none, or several.
    """
    mine = [path for path in events if may_be(run_of(path), run)]
    if len(mine) != 1:
        raise DataError(
            f"{shown(folder)} has {len(mine)} events files of {_name(run)}; one is needed. Name the folder of the "
            "events files, or a table of all trials: data.trials.",
            where="data.trials",
            expected=1,
            found=len(mine),
        )
    return mine[0]


def _name(run: Run) -> str:
    return "_".join(f"{entity}-{label}" for entity, label in zip(ENTITIES, run, strict=True) if label) or "the run"


def _run_table(folder: Path, events: Sequence[Path], run: Run, count: int) -> TrialTable:
    path = events_of(folder, events, run)
    table = read_events(path)
    with_image = np.flatnonzero([bool(name) for name in table.image])
    if len(table) != count and len(with_image) == count:  # events without an image, such as fixation, have no response
        table = table.take(with_image)
    if len(table) != count:
        raise DataError(
            f"{shown(path)} has {len(table)} events, {len(with_image)} of them with an image, and {_name(run)} has "
            f"{count} responses. One event for each response is needed.",
            where=path,
            expected=count,
            found=len(table),
        )
    n_trials = len(table)
    session = table.session if any(table.session) else (run[1],) * n_trials
    return replace(table, session=session, run=table.run if any(table.run) else (run[3],) * n_trials)
