"""Write a simulated session in the layout of NSD-Imagery; see `reseen.datasets.imagery_files`.

The design matrix of the GLM (``designmatrixGLMsingle.mat``) and the frames of the stimuli are not written: no reader of
reseen needs them.
"""

from __future__ import annotations

import csv
import io

import numpy as np
from PIL import Image

from reseen.datasets.experiment_files import experiment_paths
from reseen.datasets.imagery_files import (
    COLUMNS,
    RUNS,
    SETS,
    SETS_WITH_IMAGES,
    TARGETS_PER_SET,
    Run,
    pair_list_path,
    target_image_path,
    trials_path,
)
from reseen.datasets.nsd_facts import NsdFiles
from reseen.simulate.experiment import mat_content
from reseen.simulate.imagery import LETTERS, DrawnTargets, ImageryScan
from reseen.simulate.layout import in_folder, write_betas
from reseen.simulate.subject import SubjectTree

TRIAL_SECONDS = 8.0


def write_targets(files: NsdFiles, targets: DrawnTargets) -> None:
    """Write the tables of the three sets, and the images of sets A and B."""
    for place, target_set in enumerate(SETS):
        names = targets.names[place * TARGETS_PER_SET : (place + 1) * TARGETS_PER_SET]
        cells = np.empty((TARGETS_PER_SET, 3), dtype=object)
        for row, (name, letter) in enumerate(zip(names, LETTERS[target_set], strict=True)):
            cells[row] = [float(row + 1), name, letter]
        in_folder(pair_list_path(files, target_set)).write_bytes(mat_content({"pair_list": cells}))
        if target_set in SETS_WITH_IMAGES:
            for row, name in enumerate(names):
                image = Image.fromarray(targets.images[place * TARGETS_PER_SET + row])
                image.save(in_folder(target_image_path(files, target_set, name)), format="PNG")


def write_imagery(files: NsdFiles, subject: SubjectTree, scan: ImageryScan, *, nifti: bool) -> None:
    """Write betas and behavioural files of one subject."""
    (path,) = experiment_paths(files, "nsdimagery")
    write_betas(path, scan.betas, subject, nifti=nifti)
    for position, run in enumerate(RUNS):
        content = _trial_table(subject, run, position, scan)
        in_folder(trials_path(files, run)).write_text(content, encoding="utf-8", newline="")


def _trial_table(subject: SubjectTree, run: Run, position: int, scan: ImageryScan) -> str:
    """Return the behavioural file of a run. A simulated subject presses no button: these columns are NaN."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="NaN", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    letters = LETTERS[run.target_set]
    pairs = zip(scan.condition[position].tolist(), scan.cue[position].tolist(), strict=True)
    for trial, (condition, cue) in enumerate(pairs):
        known = {
            "SUBJECT": subject.row + 1,
            "SESSION": 1,
            "RUN": position + 1,
            "TRIAL": trial + 1,
            "CONDITION": letters[condition],
            "CUE": letters[cue],
            "GROUNDTRUTH": int(condition == cue),
            "TRIALONSET": trial * TRIAL_SECONDS,
            "TRIALEND": (trial + 1) * TRIAL_SECONDS,
        }
        writer.writerow(known)
    return buffer.getvalue()
