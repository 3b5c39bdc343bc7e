"""Report: one self-contained HTML page from tables, images and denoising sequences.

``report(contents)`` returns the page as text. It reads no file and needs no internet; the page has no script.
The argument has all contents of the page, so plain arrays are enough.

::

    contents.py   contents of a page
    sample.py     the declared rule that selects the images
    marks.py      a score with its chance levels and its oracle, from the wide table, and in words
    charts.py     scores as SVG, drawn by `reseen.plot`
    embed.py      images as data URIs
    gallery.py    presented and reconstructed images, denoising sequences
    scores.py     the table at the top and the charts
    diagnostic_section.py  the checks, curves and numbers of the diagnostics
    retrieval_section.py  top-1 accuracy in random galleries
    caption_section.py  decoded captions and their scores
    encoding.py   encoding models: maps, values and a summary of each analysis
    page.py       the sections, rendered by report.html.j2
    new_trials.py a page about new trials, rendered by new_trials.html.j2
    alignment.py  a page about an alignment, rendered by alignment.html.j2; all pages have the style of style.html.j2
"""

from reseen.plot.wording import words
from reseen.report.alignment import AlignmentReport, alignment_report
from reseen.report.contents import DenoisingSequence, ReportInput, ShownCaption, SubjectReport
from reseen.report.embed import image_uri
from reseen.report.encoding import AnalysisReport, analysis_reports
from reseen.report.gallery import examples
from reseen.report.new_trials import SCALING_SENTENCES, NewTrialsReport, new_trials_report
from reseen.report.page import report
from reseen.report.sample import Sample, declared_sample

__all__ = [
    "SCALING_SENTENCES",
    "AlignmentReport",
    "AnalysisReport",
    "DenoisingSequence",
    "NewTrialsReport",
    "ReportInput",
    "Sample",
    "ShownCaption",
    "SubjectReport",
    "alignment_report",
    "analysis_reports",
    "declared_sample",
    "examples",
    "image_uri",
    "new_trials_report",
    "report",
    "words",
]
