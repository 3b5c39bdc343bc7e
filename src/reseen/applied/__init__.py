"""Applied: decoders of a finished run on new trials of the same voxels, with images and scores.

::

    running.py    features, images and scores of new trials
    scoring.py    true features, presented images, scores
    contents.py   the results in memory, and the folder that has them
    folder.py     decoders and predictions of a results folder
    imagery.py    protocol nsdimagery2025: vision and imagery of all subjects
    align_run.py  a subject decoded with the decoder of another one; align_plan.py: its trials, stimuli and sessions
    alignment.py  the result of align_run, and the folder that has it
"""

from reseen.applied.alignment import AlignedSubject
from reseen.applied.contents import Applied
from reseen.applied.folder import DecodersFolder
from reseen.applied.imagery import Imagery, apply_imagery
from reseen.applied.running import (
    apply_run,
    choose_conditions,
    generates_grey,
    load_model_of,
    read_trials,
    uncertainty_of,
    voxels_of,
)
from reseen.applied.scoring import stimuli_of_run

__all__ = [
    "AlignedSubject",
    "Applied",
    "DecodersFolder",
    "Imagery",
    "apply_imagery",
    "apply_run",
    "choose_conditions",
    "generates_grey",
    "load_model_of",
    "read_trials",
    "stimuli_of_run",
    "uncertainty_of",
    "voxels_of",
]
