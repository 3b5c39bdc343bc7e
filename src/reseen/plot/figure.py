"""Figure: new figures, reproducible files, and SVG for a web page."""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reseen.errors import ShapeError
from reseen.files import writing
from reseen.plot import colours

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHART_WIDTH = 4.4
"""Width of a chart in inches; its text has 9 points."""
DOTS_PER_INCH = 150
_TIP = "tip:"
_DRAWN = re.compile(r' (?:d|x|y|width|height|transform)="[^"]*"')
"""Attributes that hold coordinates."""
_GROUP = re.compile(r"<g> ((?:(?!</?g[ >]).)*)</g> ?")
"""A group without a name or groups in it."""
_NO_DATE = {"Date": None, "Creator": None, "Format": None, "Type": None}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, which a notebook shows and pyplot does not keep."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that is not known to pyplot and shows itself in a notebook as PNG."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return NotebookFigure(figsize=(width, height), dpi=110, layout="constrained")


def axes_of(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure and axes to draw in: the given ones, or new ones of a size in inches."""
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.subplots()
    given = ax.get_figure(root=True)
    assert given is not None
    return given, ax


def tip(artist: Artist, text: str) -> None:
    """Set the title of an artist in SVG: a tooltip, which screen readers read aloud."""
    artist.set_gid(_TIP + text)


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure as ``.png``, ``.svg`` or ``.pdf``, by the ending of the path; equal figures give equal bytes.

    Raises
    ------
    ShapeError
        If the path has another ending.
    ResultsError
        If the file cannot be written.

    Examples
    --------
    >>> import numpy as np, reseen
    >>> figure = reseen.plot.penalties(np.array([1.0, 10.0, 10.0]))
    >>> reseen.plot.save(figure, "penalties.svg")
    """
    kind = Path(path).suffix.removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        message = f"{path}: expected a name that ends in .png, .svg or .pdf."
        raise ShapeError(message, where=path, expected=("png", "svg", "pdf"), found=kind)
    if kind == "svg":
        content = _titles(_svg(figure, "reseen")).encode()
    else:
        buffer = io.BytesIO()
        dates: dict[str, Any] = {"Software": None} if kind == "png" else {"CreationDate": None, "ModDate": None}
        figure.savefig(buffer, format=kind, dpi=DOTS_PER_INCH, metadata=dates)
        content = buffer.getvalue()
    with writing(Path(path)) as part:
        part.write_bytes(content)


def page_svg(figure: Figure, label: str) -> Markup:
    """Return a figure as SVG in a web page: without a background, in the page's font and the page's colours.

    Parameters
    ----------
    figure
        Figure whose backgrounds are removed.
    label
        Text that is read aloud in place of the image; no other figure of the page has the same one.
    """
    from markupsafe import Markup

    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set_visible(False)
    text = _svg(figure, label)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>|<clipPath.*?</clipPath>", "", text, flags=re.S)
    body = body[body.index(">", body.index("<svg")) + 1 :]
    body = re.sub(r' clip-path="[^"]*"| transform="rotate\(-?0[^"]*"', "", body)
    body = _DRAWN.sub(lambda found: re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}", found[0]), body)
    body = re.sub(r"font-family: [^;\"]*;? ?|; stroke-linecap: square|; stroke-linejoin: miter", "", body)
    body = re.sub(r"#[0-9a-f]{6}", lambda colour: colours.css(colour[0]), body)
    body = re.sub(r"\s*\n\s*", " ", re.sub(r'<g id="(?!tip:)[^"]*">', "<g>", body))
    body = re.sub(r'<defs>\s*</defs>|<g id="[^"]*"/>', "", body)
    while (shorter := _GROUP.sub(r"\1", body)) != body:  # groups may be nested
        body = shorter
    return Markup(f'<svg {box[0]} role="img" aria-label="{escape(label)}">{_titles(body)}')


def _svg(figure: Figure, salt: str) -> str:
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=_NO_DATE)
    return buffer.getvalue()


def _titles(svg: str) -> str:
    """Replace the names of groups from `tip` by titles."""
    return re.sub(rf'<g id="{_TIP}([^"]*)">', r"<g><title>\1</title>", svg)
