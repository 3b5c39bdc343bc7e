"""Contents: what a report is made from, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.errors import ShapeError
from reseen.headline import choose
from reseen.report.encoding import AnalysisReport
from reseen.tables import SCORE_COLUMNS, main_condition

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from reseen.recipe import Recipe


@dataclass(frozen=True)
class DenoisingSequence:
    """Denoising sequence of one image.

    Parameters
    ----------
    stimulus_id
        Which stimulus, 0-based.
    frames
        Shape ``(1 + n_steps, height, width, 3)``, uint8 or floats in [0, 1]: where it starts, and the image after
        each step; the last is the finished one.

    Raises
    ------
    ShapeError
        If there is no frame, or the frames are no RGB images.
    """

    stimulus_id: int
    frames: NDArray[Any]

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or len(self.frames) == 0 or self.frames.shape[-1] != 3:
            raise ShapeError(
                f"the sequence of stimulus {self.stimulus_id} needs frames (n_steps, height, width, 3); "
                f"found {self.frames.shape}."
            )


@dataclass(frozen=True)
class SubjectReport:
    """Contents of the report about one subject; the items are its test images (or single test trials).

    Parameters
    ----------
    subject
        Name, such as ``"subj01"``.
    stimulus_id
        Shape ``(n_items,)``, 0-based; ids repeat where items are single trials.
    presented
        Shape ``(n_items, height, width, 3)``, uint8: what was shown.
    images
        ``(level, condition) -> (n_items, n_samples, height, width, 3)`` uint8, where level is ``"result"``,
        ``"permuted"`` or ``"oracle"`` and condition ``"z"``, ``"c"`` or ``"zc"``. Any may be missing.
    score
        Shape ``(n_items,)``: the score that ranks the items, higher is better; NaN where there is none.
    alphas
        Feature name -> the ridge penalty chosen for each target, ``(n_targets,)``; several fits laid end to end.
    alpha_grid
        Feature name -> the penalties tried, ``(n_alphas,)``.
    roi_sizes
        ROI -> number of voxels.
    noise_ceiling
        ROI -> share in [0, 1] of the variance of the averaged test responses that the image can explain,
        ``(n_voxels,)``; NaN where unknown.
    sequences
        The sequences to show.
    encoding
        The analyses of the encoding models, painted.
    no_maps
        Why they have no maps, in a sentence.
    probable
        For each item its most probable captions, each with its probability, where c was decoded under them.

    Raises
    ------
    ShapeError
        If the arrays do not have one row for each item.
    """

    subject: str
    stimulus_id: NDArray[np.int64]
    presented: NDArray[np.uint8]
    images: Mapping[tuple[str, str], NDArray[np.uint8]]
    score: NDArray[np.floating[Any]]
    alphas: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    alpha_grid: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    roi_sizes: Mapping[str, int] = field(default_factory=dict)
    noise_ceiling: Mapping[str, NDArray[np.floating[Any]]] = field(default_factory=dict)
    sequences: tuple[DenoisingSequence, ...] = ()
    encoding: tuple[AnalysisReport, ...] = ()
    no_maps: str = ""
    probable: tuple[tuple[tuple[float, str], ...], ...] = ()

    def __post_init__(self) -> None:
        n_items = len(self.stimulus_id)
        rows = {"presented": len(self.presented), "score": len(self.score)}
        rows |= {"probable captions": len(self.probable)} if self.probable else {}
        rows |= {f"images of {level} {condition}": len(array) for (level, condition), array in self.images.items()}
        for name, n_rows in rows.items():
            if n_rows != n_items:
                raise ShapeError(f"{self.subject}: {name} has {n_rows} rows; {n_items} items need {n_items}.")
        for (level, condition), array in self.images.items():
            if array.ndim != 5 or array.shape[-1] != 3 or array.shape[1] == 0:
                raise ShapeError(
                    f"{self.subject}: images of {level} {condition} must be (n_items, n_samples, height, width, 3); "
                    f"found {array.shape}."
                )


@dataclass(frozen=True)
class ReportInput:
    """Contents of a report.

    Parameters
    ----------
    recipe
        What ran.
    scores
        Tidy table with the columns ``SCORE_COLUMNS``, one row per number; may be empty.
    subjects
        What to show of each subject.
    provenance
        What made the results. ``"warnings"`` (a list of texts) stands at the top of the page; ``"versions"``,
        ``"fingerprints"`` and every other mapping become tables; everything else is listed as it is.
    encoding
        Tidy table of the encoding models, or ``None``.
    diagnostics
        Table of diagnostics (`reseen.evaluate.diagnose_features`), or ``None``.
    checks
        Table of checks (`reseen.evaluate.run_checks`), or ``None``.
    stimuli
        Category of the stimuli, see `reseen.headline.choose`.
    recipe_text
        The recipe as it was written; left out, it is printed from ``recipe``.

    Raises
    ------
    ShapeError
        If the scores lack a column.
    """

    recipe: Recipe
    scores: pd.DataFrame
    subjects: tuple[SubjectReport, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    encoding: pd.DataFrame | None = None
    diagnostics: pd.DataFrame | None = None
    checks: pd.DataFrame | None = None
    stimuli: str = ""
    recipe_text: str | None = None

    def __post_init__(self) -> None:
        missing = [name for name in SCORE_COLUMNS if name not in self.scores.columns]
        if missing:
            raise ShapeError(f"the scores have no column {missing[0]!r}; they need {', '.join(SCORE_COLUMNS)}.")

    @property
    def score_name(self) -> str:
        """What ranks the images (``SubjectReport.score``), in words: the headline."""
        rule, condition = choose(self.scores, self.stimuli), main_condition(self.recipe.reconstruct.conditions)
        return "no score" if rule is None else f"two-way identification of {condition} by {rule.comparison}"
