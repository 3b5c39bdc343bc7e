"""Stimuli: presented images and true features of known stimuli, read from the run and its data."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from reseen.applied import stimuli_of_run
from reseen.blocks import FeatureBlocks
from reseen.errors import ReseenError
from reseen.results import ResultsFolder


class KnownStimuli:
    """Presented images and true features, one stimulus at a time.

    Parameters
    ----------
    results, subject
        The run.
    feature
        Feature whose true values are read.

    Attributes
    ----------
    notes
        Reasons why images are not shown.
    """

    def __init__(self, results: ResultsFolder, subject: str, feature: str) -> None:
        self.notes: list[str] = []
        self._images = stimuli_of_run(results, subject, self.notes)
        self._features: FeatureBlocks | None = None
        with suppress(ReseenError):  # features of a run may be deleted once its decoders are fitted
            self._features = results.feature_blocks(f"{subject}/{feature}")

    def image(self, stimulus_id: int) -> NDArray[np.uint8] | None:
        """Return the presented image, ``(side, side, 3)``; None for a stimulus that is not one of the run."""
        if self._images is None:
            return None
        try:
            return self._images.image(stimulus_id)
        except ReseenError:
            return None

    def true(self, stimulus_id: int) -> NDArray[np.float32] | None:
        """Return the true feature, ``(...)``; None for a stimulus that is not one of the run."""
        if self._features is None or stimulus_id not in self._features.stimulus_id:
            return None
        try:
            return self._features.row(stimulus_id)
        except ReseenError:  # deleted or changed since
            return None
