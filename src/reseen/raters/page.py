"""Page: the questions of all raters and their images as one self-contained file."""

from __future__ import annotations

from collections.abc import Mapping

from reseen.raters.design import CATCH, Design, Question

PRESENTED = "presented"
"""Name in place of a condition for the original image."""
Image = tuple[str, str, int]
"""Subject, condition or `PRESENTED`, stimulus."""


def shown(question: Question) -> tuple[Image, Image, Image]:
    """Return the images of a question: the original, the one on the left and the one on the right."""
    condition = PRESENTED if question.condition == CATCH else question.condition
    right, wrong = (
        (question.subject, condition, question.stimulus_id),
        (question.subject, condition, question.distractor),
    )
    pair = (right, wrong) if question.side == "left" else (wrong, right)
    return ((question.subject, PRESENTED, question.stimulus_id), *pair)


def page(design: Design, images: Mapping[Image, str], *, title: str) -> str:
    """Return the page for raters.

    Parameters
    ----------
    design
        The questions.
    images
        Every image of the questions as a data URI.
    title
        First part of the names of the raters' files, such as the recipe's name.

    Returns
    -------
    str
        HTML; write it as UTF-8. It does not contain the right answers; the order of the images does not reveal them.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("reseen.raters", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    every = sorted(set(images.values()))
    place = {uri: number for number, uri in enumerate(every)}

    def numbers(question: Question) -> list[int]:
        return [place[images[which]] for which in shown(question)]

    sheets = [list(map(numbers, sheet)) for sheet in design.sheets]
    data = {"design": design.fingerprint, "title": title, "images": every, "sheets": sheets}
    return pages.get_template("page.html.j2").render(title=title, n_raters=len(sheets), data=data)
