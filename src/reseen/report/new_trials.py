"""New trials: one page about decoders of a finished run on trials that came later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.headline import choose
from reseen.plot import colours
from reseen.report import marks, scores
from reseen.report.embed import evenly, image_uri
from reseen.report.page import load_template, table_rows
from reseen.report.retrieval_section import retrieval_section
from reseen.tables import SCORE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

MOST_ITEMS = 60
"""Largest number of items whose images are on the page."""
MOST_SAMPLES = 5
"""Largest number of samples of an item on the page."""
SCALING_SENTENCES: Mapping[str, str] = {
    "session": "Each voxel is standardised by the mean and the standard deviation of all new trials of its session. "
    "A prediction therefore depends on the other trials of the session.",
    "training": "Each voxel is standardised by the statistics of the training sessions. A prediction depends on no "
    "other new trial.",
    "causal": "Each voxel is standardised by running statistics of its session, which start from those of the training "
    "sessions. A prediction depends on no later trial.",
}
"""What each rule of standardisation means for a prediction."""


@dataclass(frozen=True)
class NewTrialsReport:
    """Contents of the page.

    Parameters
    ----------
    recipe_name, subject
        Name of the run's recipe, and of the subject.
    scaling
        Rule of standardisation, a key of `SCALING_SENTENCES`.
    labels
        Label of each item.
    features
        Shape of one item of each decoded feature.
    images
        Reconstructions by condition, ``(n_items, n_samples, side, side, 3)`` uint8.
    presented
        Presented image of each item, ``(n_items, side, side, 3)`` uint8; None if unknown.
    sd
        Median predictive standard deviation over the numbers of each feature; empty if unknown.
    coverage
        Measured coverage of intervals, with the columns feature, nominal, measured and n; None if unknown.
    scores
        Table with the columns of ``scores.csv``; None without known stimuli.
    retrieval
        Table of retrieval (`reseen.evaluate.score_retrieval`); None without known stimuli.
    stimuli
        Category of the stimuli, which decides about the headline.
    notes
        Facts that limit the interpretation.
    """

    recipe_name: str
    subject: str
    scaling: str
    labels: Sequence[str]
    features: Mapping[str, tuple[int, ...]]
    images: Mapping[str, NDArray[np.uint8]]
    presented: NDArray[np.uint8] | None
    sd: Mapping[str, float]
    coverage: pd.DataFrame | None
    scores: pd.DataFrame | None
    retrieval: pd.DataFrame | None
    stimuli: str
    notes: Sequence[str]


def new_trials_report(contents: NewTrialsReport) -> str:
    """Return the page as text; write it as UTF-8. The same contents give the same text."""
    groups, rows = [], []
    if contents.scores is not None:
        found = marks.read_marks(contents.scores)
        groups = scores.chart_groups(found, choose(contents.scores, contents.stimuli))
        rows = table_rows(contents.scores, SCORE_COLUMNS)
    items = shown_items(contents, MOST_ITEMS)
    return load_template("new_trials.html.j2").render(
        colours=colours.PAGE,
        recipe_name=contents.recipe_name,
        subject=contents.subject,
        scaling=contents.scaling,
        scaling_sentence=SCALING_SENTENCES[contents.scaling],
        notes=contents.notes,
        n_items=len(contents.labels),
        n_shown=len(items),
        features=[
            (name, " × ".join(map(str, shape)), f"{contents.sd[name]:.3g}" if name in contents.sd else "unknown")
            for name, shape in contents.features.items()
        ],
        coverage=[] if contents.coverage is None else table_rows(contents.coverage, list(contents.coverage.columns)),
        items=items,
        has_images=bool(contents.images) or contents.presented is not None,
        score_groups=groups,
        score_columns=SCORE_COLUMNS,
        score_rows=rows,
        retrieval=retrieval_section(contents.retrieval),
    )


def shown_items(contents: NewTrialsReport, most: int) -> list[dict[str, Any]]:
    """Return label and images of at most ``most`` items, evenly spaced, for ``items.html.j2``."""
    chosen = evenly(len(contents.labels), most)
    return [{"label": contents.labels[item], "cells": list(_cells(contents, item))} for item in chosen]


def _cells(contents: NewTrialsReport, item: int) -> Iterator[dict[str, Any]]:
    """Yield the images of one item: the presented one, then the samples of each condition."""
    label = contents.labels[item]
    if contents.presented is not None:
        alt = f"presented image of {label}"
        yield {"uri": image_uri(contents.presented[item]), "caption": "presented", "alt": alt, "level": "presented"}
    for condition, stack in contents.images.items():
        for sample, image in enumerate(stack[item, :MOST_SAMPLES]):
            caption = condition if stack.shape[1] == 1 else f"{condition}, sample {sample}"
            alt = f"reconstruction of {label} from decoded {caption}"
            yield {"uri": image_uri(image), "caption": caption, "alt": alt, "level": "result"}
