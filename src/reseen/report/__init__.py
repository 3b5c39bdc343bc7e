"""Report: tables, pictures and films become one self-contained HTML page.

``report(contents)`` gives the page as text. It reads no file, fetches nothing and runs no script;
everything it shows is in its argument, so a page can be made from plain arrays.

::

    contents.py   what a page is made from
    sample.py     which pictures are shown: a declared rule, never a choice
    marks.py      a score between its floors and its ceiling, read from the tidy table, and said in words
    charts.py     hand-written SVG
    embed.py      pictures as data URIs
    gallery.py    presented against reconstructed, and films
    scores.py     the table at the top and the charts
    reading.py    reading or guessing: what the decoded features show
    encoding.py   the encoding models: which maps, bars and words each analysis shows
    cortex.py     the cortex, flat and inflated; colours.py: scales that colour-blind eyes can read
    bars.py       their charts on the page; figures.py: the same for print; section.py: their part of the page
    page.py       the sections, rendered by report.html.j2
"""

from reseen.report.contents import Film, ReportInput, SubjectReport
from reseen.report.embed import picture_uri
from reseen.report.encoding import AnalysisReport, CorticalMaps, analysis_reports
from reseen.report.figures import draw
from reseen.report.marks import words
from reseen.report.page import report
from reseen.report.sample import Sample, declared_sample

__all__ = [
    "AnalysisReport",
    "CorticalMaps",
    "Film",
    "ReportInput",
    "Sample",
    "SubjectReport",
    "analysis_reports",
    "declared_sample",
    "draw",
    "picture_uri",
    "report",
    "words",
]
