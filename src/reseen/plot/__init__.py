"""Plot: figures of images, scores, decoders and encoding models, drawn by matplotlib.

Each public function returns a matplotlib ``Figure`` that a notebook displays and `save` writes; with ``ax=`` it draws
into given axes. No function uses ``pyplot``, so no figure stays open. The same functions draw the report and the files
for print.

::

    image_rows.py        originals and reconstructions (the paper's Figure 4), denoising sequences
    score_panels.py      identification accuracy and pixel scores (Figure 5)
    analysis_figures.py  an analysis of encoding models, with values of each ROI (Figures 6 to 9)
    flat_maps.py         numbers of voxels as maps; cortex_views.py: the cortex, flat and inflated; mosaic.py: slices
    alignment_curves.py  an alignment of two subjects over the sessions of the target
    decoders.py          ridge penalties, noise ceilings, curves of diagnostics
    rows.py              values with intervals, one row each
    figure.py            new figures, files, SVG for a web page; colours.py; wording.py
"""

from reseen.plot.alignment_curves import alignment
from reseen.plot.analysis_figures import encoding
from reseen.plot.decoders import Curve, curves, noise_ceilings, penalties
from reseen.plot.figure import save
from reseen.plot.flat_maps import CorticalMaps, flat_map
from reseen.plot.image_rows import denoising, images
from reseen.plot.score_panels import scores

__all__ = [
    "CorticalMaps",
    "Curve",
    "alignment",
    "curves",
    "denoising",
    "encoding",
    "flat_map",
    "images",
    "noise_ceilings",
    "penalties",
    "save",
    "scores",
]
