"""Report: tables, images and sequences become one self-contained HTML page.

``report(contents)`` gives the page as text. It reads no file, fetches nothing and runs no script;
everything it shows is in its argument, so a page can be made from plain arrays.

::

    contents.py   what a page is made from
    sample.py     which images are shown: a declared rule, never a choice
    marks.py      a score between its chance levels and its oracle, from the wide table, and in words
    charts.py     scores as SVG, drawn by `reseen.plot`
    embed.py      images as data URIs
    gallery.py    presented against reconstructed, and sequences
    scores.py     the table at the top and the charts
    diagnostic_section.py  the checks, curves and numbers of the diagnostics
    encoding.py   the encoding models: maps, values and words of each analysis
    page.py       the sections, rendered by report.html.j2
"""

from reseen.plot.wording import words
from reseen.report.contents import DenoisingSequence, ReportInput, SubjectReport
from reseen.report.embed import image_uri
from reseen.report.encoding import AnalysisReport, analysis_reports
from reseen.report.gallery import examples
from reseen.report.page import report
from reseen.report.sample import Sample, declared_sample

__all__ = [
    "AnalysisReport",
    "DenoisingSequence",
    "ReportInput",
    "Sample",
    "SubjectReport",
    "analysis_reports",
    "declared_sample",
    "examples",
    "image_uri",
    "report",
    "words",
]
