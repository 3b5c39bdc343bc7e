"""Raters: people choose which of two images was reconstructed from the one above them.

The two-alternative test of Takagi & Nishimoto's Figure 5: an original, its reconstruction and that of another test
image, both generated in the same way. A page shows the questions, without a server or the internet, and saves files of
answers, which are scored.

::

    design.py    pairs of images, their sides and order: random by a seed, balanced
    page.py      the design and its images as one HTML page (page.html.j2, page.css, page.js)
    answers.py   the files that the page saves, checked against the design
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
