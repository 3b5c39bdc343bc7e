"""Names and facts of NSD-Imagery: its runs, its targets, and the paths of its files.

Sources: the NSD data manual (720 events, order of runs) and the names, columns and cells that public readers of these
files use. No file of NSD-Imagery was read for this module. Two facts stay unverified: whether the cue or the detection
comes first in the betas of an attention trial, and the content of the second column of ``C_pair_list.mat``. No score
depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from reseen.datasets.nsd_facts import NsdFiles

Task = Literal["vision", "imagery", "attention"]
DecodedTask = Literal["vision", "imagery"]
DECODED_TASKS: tuple[DecodedTask, ...] = get_args(DecodedTask)
"""Tasks whose events are labelled: a target was presented, or imagined."""
NAME, TITLE, OPTION = "nsdimagery", "NSD-Imagery", "--imagery"
SETS = ("A", "B", "C")
"""Sets of targets: A simple (bars and crosses), B complex (five natural scenes and one artwork), C words."""
SETS_WITH_IMAGES = ("A", "B")
TARGETS_PER_SET = 6
TRIALS_PER_RUN = 48
"""Each target of a set is presented or imagined eight times in a run."""
N_EVENTS = 720
COLUMNS = (
    *("SUBJECT", "SESSION", "RUN", "TRIAL", "CONDITION", "CUE", "FRAMEFILE", "IMAGEFILE", "GROUNDTRUTH", "ISCORRECT"),
    *("CHANGEMIND", "TOTAL1", "TOTAL2", "BUTTON", "TRIALONSET", "TRIALEND", "IMAGEONSET", "IMAGESERIESENDS"),
    *("FINALDECISIONTIME", "RT"),
)
"""Columns of the behavioural files, one row per trial."""
LABEL_COLUMN: dict[Task, str] = {"vision": "CONDITION", "imagery": "CUE"}
"""Column with the letter of the target: of the presented image, or of the cue to imagine one; attention has none."""


@dataclass(frozen=True)
class Run:
    """One run of NSD-Imagery.

    Parameters
    ----------
    name
        Name in the files, such as ``"imgA_1"``.
    task
        What the subject did.
    target_set
        One of `SETS`.
    """

    name: str
    task: Task
    target_set: str

    @property
    def n_events(self) -> int:
        """Number of betas: an attention trial has two modelled epochs."""
        return TRIALS_PER_RUN * (2 if self.task == "attention" else 1)


_TASKS: dict[str, Task] = {"vis": "vision", "att": "attention", "img": "imagery"}
RUNS = tuple(
    Run(name, _TASKS[name[:3]], name[3])
    for name in (
        *("visA", "attA", "imgA_1", "visB", "attB", "imgB_1", "visC", "attC", "imgC_1"),
        *("imgA_2", "imgB_2", "imgC_2"),
    )
)
"""The 12 runs in the order of their betas: 9 runs of 48 and 3 of 96, 720 in total."""


def trials_path(files: NsdFiles, run: Run) -> Path:
    """Return the behavioural file of a run."""
    return files.root / f"nsddata/bdata/nsdimagery/nsdimagery_{files.subject}_{run.name}.tsv"


def pair_list_path(files: NsdFiles, target_set: str) -> Path:
    """Return the table of a set: number, file name and cue letter of each target, cell ``pair_list`` (6, 3)."""
    return files.root / f"nsddata/experiments/nsdimagery/{target_set}_pair_list.mat"


def target_image_path(files: NsdFiles, target_set: str, name: str) -> Path:
    """Return the image of a target of set A or B."""
    return files.root / f"nsddata/experiments/nsdimagery/rawtargetimages/set{target_set}/{name}"
