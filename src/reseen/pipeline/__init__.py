"""Pipeline: the stages of a recipe, over one results folder; each stage is a file named after it.

::

    stages.py        STAGES and run(): for each subject, for each stage
    context.py       Run and SubjectRun: recipe, folder, model, data and features that stages share
    simulate.py extract.py decode.py encode.py reconstruct.py evaluate.py report.py
    controls.py      chance levels without responses, decoders without some images, and repetitions
    stacks.py        images of a subject, read on demand
    tables.py        one table of each subject, and all of them joined
    maps.py          encoding results as maps, figures and files for other programs
    image_writer.py  threads that write images
    merge.py         join results folders of different subjects
    raters.py        a test with people as raters
    log.py           dated lines of progress
"""

from reseen.pipeline.merge import merge
from reseen.pipeline.raters import write_page
from reseen.pipeline.stages import STAGES, run

__all__ = ["STAGES", "merge", "run", "write_page"]
