"""Pipeline: the verbs in order, over one results folder; what is there already is not made again.

::

    order.py       run(): which stages a run needs, one after the other, each timed
    job.py         what the stages share: data, model, settings, progress
    extraction.py  extract
    stages.py      simulate, decode, encode, reconstruct: from one file of the results folder to the next
    scoring.py     evaluate
    showing.py     report
    rating.py      write_page(): a test for people as raters
    plan.py        check(): the checks that a run begins with, as a list
    prospect.py    what they look at: data and model, loaded once
    needs.py       the files of each subject, and how to get those that are missing
    fitting.py     does the recipe ask for what the data hold?
    costs.py       space and time
    log.py         what is being done, as lines of text
"""

from reseen.pipeline.finding import Finding
from reseen.pipeline.order import STAGES, run
from reseen.pipeline.plan import check
from reseen.pipeline.rating import write_page
from reseen.pipeline.stages import write_data_set

__all__ = ["STAGES", "Finding", "check", "run", "write_data_set", "write_page"]
