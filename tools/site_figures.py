"""Save the figures that a tutorial makes: those of `reseen.plot`, which pyplot does not know."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

DOTS_PER_INCH = 160
"""Sharp on a screen with two pixels for each point, for figures up to 5 inches; readable for wider ones."""
_SAVED: weakref.WeakSet[Figure] = weakref.WeakSet()


def _get_sg_image_scraper() -> Any:
    """Return the function below: the name by which sphinx-gallery asks a module for it."""
    return scrape


def scrape(_block: object, block_vars: Mapping[str, Any], gallery_conf: Mapping[str, Any]) -> str:
    """Write each new figure among the variables of a script as PNG, and return the text that shows them."""
    names = block_vars["image_path_iterator"]
    paths = []
    for value in list(block_vars["example_globals"].values()):
        if isinstance(value, Figure) and value not in _SAVED:
            _SAVED.add(value)
            path = Path(next(names))
            value.savefig(path, dpi=DOTS_PER_INCH, facecolor="white")
            paths.append(str(path))
    return figure_rst(paths, gallery_conf["src_dir"])
