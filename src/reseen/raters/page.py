"""Page: the questions of all raters and their images as one file that needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping

from reseen.raters.design import CATCH, Design, Question

PRESENTED = "presented"
"""In the place of a condition: the image that was shown."""
Image = tuple[str, str, int]
"""Subject, condition or `PRESENTED`, stimulus."""


def shown(question: Question) -> tuple[Image, Image, Image]:
    """Return the images of a question: the original, the one on the left and the one on the right."""
    condition = PRESENTED if question.condition == CATCH else question.condition
    right, wrong = ((question.subject, condition, which) for which in (question.stimulus_id, question.distractor))
    pair = (right, wrong) if question.side == "left" else (wrong, right)
    return ((question.subject, PRESENTED, question.stimulus_id), *pair)


def page(design: Design, images: Mapping[Image, str], *, title: str) -> str:
    """Make the page that asks.

    Parameters
    ----------
    design
        What is asked.
    images
        Every image of the questions as a data URI.
    title
        What the raters' files are named after, such as the recipe's name.

    Returns
    -------
    str
        HTML; write it as UTF-8. The right answers are not in it, and images stand in an order that tells nothing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("reseen.raters", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    every = sorted(set(images.values()))
    place = {uri: number for number, uri in enumerate(every)}
    sheets = [[[place[images[which]] for which in shown(question)] for question in sheet] for sheet in design.sheets]
    data = {"design": design.fingerprint, "title": title, "images": every, "sheets": sheets}
    return pages.get_template("page.html.j2").render(title=title, n_raters=len(sheets), data=data)
