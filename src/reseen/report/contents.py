"""Contents: data classes with the contents of a report, checked on construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.conditions import main_condition
from reseen.errors import ShapeError
from reseen.headline import choose
from reseen.report.encoding import AnalysisReport
from reseen.tables import SCORE_COLUMNS

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
        Id of the stimulus, 0-based.
    frames
        Shape ``(1 + n_steps, height, width, 3)``, uint8 or floats in [0, 1]: the start, then the image after
        each step; the last is the finished image.

    Raises
    ------
    ShapeError
        If there is no frame, or the frames are not RGB images.
    """

    stimulus_id: int
    frames: NDArray[Any]

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or len(self.frames) == 0 or self.frames.shape[-1] != 3:
            raise ShapeError(
                f"the sequence of stimulus {self.stimulus_id} needs frames (n_steps, height, width, 3); "
                f"found {self.frames.shape}.",
                where="frames",
                expected=("n_steps", "height", "width", 3),
                found=self.frames.shape,
            )


@dataclass(frozen=True)
class ShownCaption:
    """Captions of one item.

    Parameters
    ----------
    decoded
        The decoded caption.
    oracle
        The caption that the same method returns for the true features.
    presented
        A caption that a person wrote of the presented image.
    """

    decoded: str
    oracle: str
    presented: str


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
        Shape ``(n_items, height, width, 3)``, uint8: the presented images.
    images
        ``(level, condition) -> (n_items, n_samples, height, width, 3)`` uint8, where level is ``"result"``,
        ``"permuted"`` or ``"oracle"`` and condition ``"z"``, ``"c"`` or ``"zc"``. Any may be missing.
    score
        Shape ``(n_items,)``: the score that ranks the items, higher is better; NaN if missing.
    alphas
        Feature name -> the ridge penalty chosen for each target, ``(n_targets,)``; several fits are concatenated.
    alpha_grid
        Feature name -> the penalties tried, ``(n_alphas,)``.
    roi_sizes
        ROI -> number of voxels.
    noise_ceiling
        ROI -> proportion in [0, 1] of the variance of the averaged test responses that the image can explain,
        ``(n_voxels,)``; NaN if unknown.
    sequences
        Denoising sequences to show.
    encoding
        Analyses of the encoding models, with painted maps.
    no_maps
        Reason why there are no maps, as a sentence.
    probable
        Most probable captions of each item with their probabilities, if c was decoded with a prior, or t.
    probable_of
        The feature that they belong to: ``"c"`` or ``"t"``.
    captions
        Captions of each item, if captions were decoded.

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
    probable_of: str = ""
    captions: tuple[ShownCaption, ...] = ()

    def __post_init__(self) -> None:
        n_items = len(self.stimulus_id)
        rows = {"presented": len(self.presented), "score": len(self.score)}
        if self.probable:
            rows["probable"] = len(self.probable)
        if self.captions:
            rows["captions"] = len(self.captions)
        for (level, condition), array in self.images.items():
            rows[f"images of {level} {condition}"] = len(array)
        for name, n_rows in rows.items():
            if n_rows != n_items:
                message = f"{self.subject}: {name} has {n_rows} rows; {n_items} items need {n_items}."
                raise ShapeError(message, where=name, expected=n_items, found=n_rows)
        for (level, condition), array in self.images.items():
            if array.ndim != 5 or array.shape[-1] != 3 or array.shape[1] == 0:
                raise ShapeError(
                    f"{self.subject}: images of {level} {condition} must be (n_items, n_samples, height, width, 3); "
                    f"found {array.shape}.",
                    where=f"images of {level} {condition}",
                    expected=(n_items, "n_samples", "height", "width", 3),
                    found=array.shape,
                )


@dataclass(frozen=True)
class ReportInput:
    """Contents of a report.

    Parameters
    ----------
    recipe
        Recipe of the run.
    scores
        Tidy table with the columns ``SCORE_COLUMNS``, one row per value; may be empty.
    subjects
        Contents of each subject.
    provenance
        Provenance of the results. ``"warnings"`` (a list of texts) is at the top of the page; ``"versions"``,
        ``"fingerprints"`` and every other mapping become tables; other values are listed unchanged.
    encoding
        Tidy table of the encoding models, or ``None``.
    diagnostics
        Table of diagnostics (`reseen.evaluate.diagnose_features`), or ``None``.
    checks
        Table of checks (`reseen.evaluate.run_checks`), or ``None``.
    captions
        Table of the scores of decoded captions (`reseen.evaluate.score_captions`), or ``None``.
    retrieval
        Table of retrieval (`reseen.retrieval.retrieve`), or ``None``.
    stimuli
        Category of the stimuli, see `reseen.headline.choose`.
    recipe_text
        Text of the recipe; by default it is written from ``recipe``.

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
    captions: pd.DataFrame | None = None
    retrieval: pd.DataFrame | None = None
    stimuli: str = ""
    recipe_text: str | None = None

    def __post_init__(self) -> None:
        missing = [name for name in SCORE_COLUMNS if name not in self.scores.columns]
        if missing:
            message = f"the scores have no column {missing[0]!r}; they need {', '.join(SCORE_COLUMNS)}."
            raise ShapeError(message, where="scores", expected=missing[0], found=tuple(self.scores.columns))

    @property
    def score_name(self) -> str:
        """Name of the score that ranks the images (``SubjectReport.score``): the headline, in words."""
        rule, condition = choose(self.scores, self.stimuli), main_condition(self.recipe.reconstruct.conditions)
        return "no score" if rule is None else f"two-way identification of {condition} by {rule.comparison}"
