"""Pipeline: the stages of a recipe, over one results folder; each stage is a file named after it.

::

    stages.py        STAGES and run(): for each subject, for each stage
    context.py       Run and SubjectRun: recipe, folder, model, data and features that stages share
    simulate.py extract.py decode.py encode.py reconstruct.py evaluate.py report.py
    controls.py      what a full run decodes beside the result
    stacks.py        the images of a subject, read when they are asked for
    tables.py        one table of each subject, and all of them joined
    maps.py          encoding results as maps, figures and files for other programs
    image_writer.py  images go to disk in threads of their own
    merge.py         join results folders of different subjects
    raters.py        a test for people as raters
    log.py           dated lines of what is being done
"""

from reseen.pipeline.merge import merge
from reseen.pipeline.raters import write_page
from reseen.pipeline.stages import STAGES, run

__all__ = ["STAGES", "merge", "run", "write_page"]
