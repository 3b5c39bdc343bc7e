"""Applied: decoders of a finished run on new trials of the same voxels, with images and scores.

::

    running.py    features, images and scores of new trials
    scoring.py    true features, presented images, scores
    contents.py   the results in memory, and the folder that has them
"""

from reseen.applied.contents import Applied
from reseen.applied.running import apply_run, choose_conditions, read_trials

__all__ = ["Applied", "apply_run", "choose_conditions", "read_trials"]
