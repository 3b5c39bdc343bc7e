"""Encode: predict every voxel from features, and score it on held-out images next to its noise ceiling.

::

    fits.py      rows, folds and targets of a subject; fits of one space or of two
    scores.py    scores of each voxel, and their summaries over ROIs
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from reseen.analyses import ANCHOR, analysis_of
from reseen.encode.encoder import Encoder
from reseen.encode.fits import Columns, Space, fit_alone, fit_together, make_design
from reseen.encode.scores import Sheet
from reseen.errors import ShapeError
from reseen.recipe import EncodeRecipe
from reseen.split import Split
from reseen.tables import ENCODING_COLUMNS as COLUMNS
from reseen.trials import Trials

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["COLUMNS", "Columns", "Encoder", "encode"]


def encode(
    trials: Trials, split: Split, features: Iterable[Columns], *, recipe: EncodeRecipe, seed: int
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Fit every voxel from each feature space, and from pairs of spaces, and score it on held-out images.

    A row is the response to an image, averaged over repetitions, in training and in test. Where the split leaves groups
    of trials out, test rows are averages within a group; r then tests whether a voxel responds to an image in the same
    way again, which any features show that differ between images. The name of a space
    determines its analysis (`reseen.analyses`):

    - ``features``: each space alone.
    - ``noise``, ``denoising``: zc at a strength, or after a proportion of the denoising steps, alone and together
      with z; the joint model's correlation is split between the two.
    - ``layers``: each U-Net layer alone; the best one of each voxel, stage by stage.

    Parameters
    ----------
    trials
        Single trials of one subject.
    split
        Training and test stimuli of each fold.
    features
        Feature spaces that cover the training and the test stimuli, each read a few columns at a time. They are used
        one after the other, so a generator keeps one in memory. ``z`` must come before the spaces that are fitted
        with it.
    recipe
        Folds that choose each voxel's penalty, reduction of the features, null, false discovery rate, resamplings.
    seed
        Determines folds, resamplings and permutations of stimuli.

    Returns
    -------
    table
        One row for each number, see `COLUMNS`. ``model`` joins with ``+`` the spaces that are fitted together,
        ``feature`` is the part that the number describes, ``roi`` one of the subject's or ``"all"``, ``low`` and
        ``high`` are a 95 % interval over resampled test images (NaN if none is computed), ``n`` is the number of
        test images. `reseen.encode.scores` defines each ``statistic``.
    voxels
        Arrays of shape ``(n_voxels,)``, float32 but for the winners: ``ceiling_r``; for each model ``r``, ``r2``,
        ``p``, ``q`` and ``alpha``, such as ``"r/z"``; ``"split/<model>/<feature>"``, ``"unique/<model>/<feature>"``;
        ``"winner/progress=0.2"``, int64, an index into `reseen.analyses.layers_of` the features, -1 where none is
        significant, and ``"margin/progress=0.2"``, how far its r is above the second's, NaN there.

    Raises
    ------
    ShapeError
        If two feature spaces share a name, z comes too late, a stimulus has no feature, or there are too few stimuli or
        test images.
    DataError
        If responses or features are not finite, or features do not vary.
    """
    design = make_design(trials, split, recipe, seed)
    sheet = Sheet(trials, design, recipe, seed)
    anchor: Space | None = None
    for feature in features:
        if feature.name in sheet.models:
            raise ShapeError(f"each feature space needs a name of its own; found {feature.name} twice.")
        analysis = analysis_of(feature.name)
        space, prediction = fit_alone(design, feature, recipe, seed)
        sheet.add(analysis, prediction)
        if feature.name == ANCHOR:
            anchor = space
        if analysis in ("noise", "denoising"):
            if anchor is None:
                raise ShapeError(f"{feature.name} is fitted together with {ANCHOR}, which must come before it.")
            sheet.add(analysis, fit_together(design, anchor, space))
    sheet.compare_layers()
    return sheet.table(), sheet.voxels
