"""Check: what a run needs, before hours are spent; a run starts with the same checks.

::

    checks.py        check(), require() and the list of all checks
    inputs.py        data and model, each loaded at most once
    files.py         the files of each subject, and how to get those that are missing
    requirements.py  whether the recipe asks for what the data hold
    costs.py         space and time
    sizes.py         sizes of the data, counted or guessed
    finding.py       result of one check
"""

from reseen.check.checks import check, require
from reseen.check.finding import Finding
from reseen.check.inputs import Inputs, with_precision

__all__ = ["Finding", "Inputs", "check", "require", "with_precision"]
