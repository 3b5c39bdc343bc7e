"""Contents: decoded features, images and scores of new trials, and the folder that has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reseen.decode.new_trials import ScalingRule
from reseen.decode.uncertainty import interval_of
from reseen.errors import ShapeError
from reseen.features import Features
from reseen.files import write_text, writing, writing_folder
from reseen.report import NewTrialsReport, new_trials_report
from reseen.scores import Scores
from reseen.tables import to_csv

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Applied:
    """Decoded features and images of new trials.

    Parameters
    ----------
    recipe_name, subject
        Name of the run's recipe, and of the subject.
    scaling
        Rule by which the trials were standardised.
    stimulus_id
        Shape ``(n_items,)``: stimulus of each item, or its number where the stimuli are unknown.
    n_repetitions
        Shape ``(n_items,)``: number of trials that each item averages.
    labelled
        Whether the stimuli are known.
    features
        Decoded features by name, one row for each item.
    images
        Reconstructions by condition, ``(n_items, n_samples, image_size, image_size, 3)`` uint8.
    presented
        Shape ``(n_items, side, side, 3)``, uint8: presented images; None if they are unknown.
    sd
        Predictive standard deviation of one item of each feature (`reseen.decode.uncertainty.predictive_sd`); features
        without it, and averages of trials, have none.
    coverage
        Proportion of true values in the intervals, with the columns ``feature``, ``nominal``, ``measured`` and ``n``;
        None without known stimuli.
    scores
        Scores of features and images; None without known stimuli.
    retrieval
        Retrieval, with the columns `reseen.tables.RETRIEVAL_COLUMNS`; None without known stimuli.
    notes
        Facts that limit the interpretation.
    true
        True features of each item by name, ``(n_items, ...)``; empty without known stimuli.
    """

    recipe_name: str
    subject: str
    scaling: ScalingRule
    stimulus_id: NDArray[np.int64]
    n_repetitions: NDArray[np.int64]
    labelled: bool
    features: Mapping[str, Features]
    images: Mapping[str, NDArray[np.uint8]]
    presented: NDArray[np.uint8] | None
    sd: Mapping[str, NDArray[np.float32]]
    coverage: pd.DataFrame | None
    scores: Scores | None
    retrieval: pd.DataFrame | None
    notes: tuple[str, ...]
    true: Mapping[str, NDArray[np.float32]]

    def __repr__(self) -> str:
        parts = [f"{name} {found.array.shape[1:]}" for name, found in self.features.items()]
        images = ", ".join(self.images) or "none"
        return (
            f"Applied: {len(self)} new items of {self.subject}, scaling {self.scaling}\n"
            f"  features: {', '.join(parts)}\n  images: {images}"
        )

    def __len__(self) -> int:
        """Return the number of items: trials, or averages of trials."""
        return len(self.stimulus_id)

    @property
    def labels(self) -> list[str]:
        """Label of each item, such as ``"trial 3, stimulus 17"``."""
        averaged = self.n_repetitions.max(initial=1) > 1
        found = []
        for row, (stimulus, count) in enumerate(zip(self.stimulus_id, self.n_repetitions.tolist(), strict=True)):
            what = f"item {row}, {count} trial{'s' * (count != 1)}" if averaged else f"trial {row}"
            found.append(f"{what}, stimulus {stimulus}" if self.labelled else what)
        return found

    def interval(self, feature: str, coverage: float = 0.8) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the limits in which the true feature of each item is with a probability of ``coverage``.

        Returns
        -------
        low, high
            Shape ``(n_items, ...)`` each.

        Raises
        ------
        ShapeError
            If the predictive standard deviation of the feature is unknown.
        RecipeError
            If the coverage is not between 0 and 1.
        """
        if feature not in self.sd:
            raise ShapeError(
                f"the uncertainty of {feature!r} is unknown: it is learnt from single trials that a ridge held out, "
                "for predictions of single trials.",
                where="feature",
                expected=tuple(self.sd),
                found=feature,
            )
        return interval_of(self.features[feature].array, self.sd[feature], coverage)

    def report(self) -> str:
        """Return the report: one self-contained HTML page."""
        return new_trials_report(self.page)

    @property
    def page(self) -> NewTrialsReport:
        """Contents of the report."""
        return NewTrialsReport(
            recipe_name=self.recipe_name,
            subject=self.subject,
            scaling=self.scaling,
            labels=self.labels,
            features={name: found.array.shape[1:] for name, found in self.features.items()},
            images=self.images,
            presented=self.presented,
            sd={name: float(np.median(found)) for name, found in self.sd.items()},
            coverage=self.coverage,
            scores=None if self.scores is None else self.scores.table,
            retrieval=self.retrieval,
            stimuli="" if self.scores is None else self.scores.stimuli,
            notes=self.notes,
        )

    def save(self, folder: Path | str) -> None:
        """Write features, images, scores and the report into a new folder, completely or not at all.

        ``features/z.npz`` has the arrays ``z``, ``stimulus_id`` and, if it is known, ``sd``. Images are
        ``images/zc/<item>_<sample>.png``; ``items.csv`` has the stimulus of each item. ``scores.csv``,
        ``retrieval.csv`` and ``coverage.csv`` exist for known stimuli; ``report.html`` always.

        Raises
        ------
        ResultsError
            If the folder is not empty or cannot be written.
        """
        with writing_folder(Path(folder)) as part:
            for name, found in self.features.items():
                arrays: dict[str, Any] = {name: found.array, "stimulus_id": found.stimulus_id}
                if name in self.sd:
                    arrays["sd"] = self.sd[name]
                with writing(part / "features" / f"{name}.npz") as path, path.open("wb") as file:
                    np.savez(file, allow_pickle=False, **arrays)
            for condition, stack in self.images.items():
                for item, sample in np.ndindex(*stack.shape[:2]):
                    with writing(part / "images" / condition / f"{item:05d}_{sample}.png") as path:
                        Image.fromarray(stack[item, sample]).save(path, format="PNG")
            write_text(part / "items.csv", to_csv(self.items))
            if self.scores is not None:
                write_text(part / "scores.csv", to_csv(self.scores.table))
            if self.retrieval is not None:
                write_text(part / "retrieval.csv", to_csv(self.retrieval))
            if self.coverage is not None:
                write_text(part / "coverage.csv", to_csv(self.coverage))
            write_text(part / "report.html", self.report())

    @property
    def items(self) -> pd.DataFrame:
        """Table of the items: number, stimulus (empty if unknown) and number of averaged trials."""
        import pandas as pd

        stimulus = self.stimulus_id.tolist() if self.labelled else [""] * len(self)
        columns = {"item": range(len(self)), "stimulus_id": stimulus, "n_repetitions": self.n_repetitions.tolist()}
        return pd.DataFrame(columns)
