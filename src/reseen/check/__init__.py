"""Check: the requirements of a run; a run starts with the same checks.

::

    checks.py        check(), require() and the list of all checks
    inputs.py        data and model, each loaded at most once
    files.py         the files of each subject, and commands that fetch missing ones
    experiments.py   the files of NSD-Imagery and NSD-synthetic
    requirements.py  whether the data have all that the recipe needs
    costs.py         disk space, decoders and time
    sizes.py         sizes of the data, counted or estimated
    finding.py       result of one check
"""

from reseen.check.checks import check, require
from reseen.check.experiments import check_experiment
from reseen.check.finding import Finding
from reseen.check.inputs import Inputs, data_path, with_precision

__all__ = ["Finding", "Inputs", "check", "check_experiment", "data_path", "require", "with_precision"]
