"""Raters: people choose which of two images was reconstructed from the one above them.

The two-alternative test of Takagi & Nishimoto's Figure 5: an original, its reconstruction and that of another test
image, both made in the same way. A page asks, without a server or a network; files of answers come back and are
scored.

::

    design.py    pairs of images, their sides and order: random by a seed, balanced
    page.py      the design and its images as one HTML page (page.html.j2, page.css, page.js)
    answers.py   the files that the page saves, and what is refused
    scoring.py   accuracy of each condition, with intervals and signed-rank tests
"""

from reseen.raters.answers import Answers, read_answers
from reseen.raters.design import CATCH, Design, Question, draw_design
from reseen.raters.page import PRESENTED, page
from reseen.raters.scoring import COLUMNS, score_answers

__all__ = [
    "CATCH",
    "COLUMNS",
    "PRESENTED",
    "Answers",
    "Design",
    "Question",
    "draw_design",
    "page",
    "read_answers",
    "score_answers",
]
