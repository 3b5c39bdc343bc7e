"""Page: one HTML page that shows live trials; its script and its style are in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reseen.plot.colours import PAGE


def page(about: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    about
        ``title``; ``facts``, a list of sentences; ``start``, name of the image that is there at once, or ``""``;
        ``condition``; ``images``, whether images are generated; ``notes``, facts that limit the interpretation.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("reseen.live", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return pages.get_template("page.html.j2").render(about=about, colours=PAGE)
