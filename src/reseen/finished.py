"""Finished: results of a run, as scores, images, decoded features and decoders."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.checks import count_statuses
from reseen.conditions import features_of, main_condition
from reseen.decode import Decoder
from reseen.diagnosis import Diagnostics
from reseen.errors import ResultsError
from reseen.evaluate import run_checks
from reseen.features import Features
from reseen.files import shown
from reseen.headline import stimuli_of
from reseen.reconstruction import count_samples
from reseen.results import DecodedCaption, ResultsFolder, load_captions
from reseen.scores import Scores
from reseen.tables import IMAGE_LEVELS, Level

if TYPE_CHECKING:
    import pandas as pd

Name = TypeVar("Name", bound=str)


class Results(ResultsFolder):
    """Results folder of a run, to be read from a notebook: ``reseen.Results.read(folder)``.

    Reading a result that the run did not write raises an error that names it.

    Examples
    --------
    >>> results = Results.read(finished_run)
    >>> results.subjects
    ('subj01',)
    >>> results.images("zc").dtype, results.images("zc").ndim
    (dtype('uint8'), 5)
    >>> len(results.decoded("z")) == len(results.images("zc"))
    True
    """

    def __repr__(self) -> str:
        conditions = ", ".join(self.recipe.reconstruct.conditions)
        lines = [
            f"Results of recipe {self.recipe.name}: {', '.join(self.subjects)}",
            f"conditions: {conditions}; model: {self.recipe.model.name}",
        ]
        if self._is_scored():
            lines.append(f"checks: {count_statuses(self.diagnostics.checks['status'])}")
        return "\n  ".join([*lines, f"folder: {self.path}"])

    def _is_scored(self) -> bool:
        return all((self.path / f"{name}.csv").is_file() for name in ("scores", "diagnostics"))

    def _repr_html_(self) -> str:
        """Return the headline for notebooks, with a link to the report."""
        report = self.path / "report.html"
        link = f'<p><a href="{html.escape(report.resolve().as_uri())}">report.html</a></p>' if report.is_file() else ""
        scores = self.scores._repr_html_() if (self.path / "scores.csv").is_file() else ""
        checks = self.diagnostics._repr_html_() if self._is_scored() else ""
        return f"<pre>{html.escape(repr(self))}</pre>{scores}{checks}{link}"

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects."""
        return self.recipe.data.subjects

    @property
    def scores(self) -> Scores:
        """All scores; see `reseen.Scores`."""
        return Scores.read(self.path)

    @property
    def diagnostics(self) -> Diagnostics:
        """Diagnostics and checks of all subjects; see `reseen.Diagnostics`."""
        scores, table = (self.load_table(name) for name in ("scores", "diagnostics"))
        stimuli = stimuli_of(self.provenance, self.subjects)
        return Diagnostics(table, run_checks(scores, table, stimuli=stimuli, n_permutations=self.recipe.n_permuted))

    @property
    def caption_scores(self) -> pd.DataFrame:
        """Scores of the decoded captions of all subjects: the table ``captions.csv``, if a condition has t."""
        return self.load_table("captions")

    def captions(self, subject: str | None = None) -> list[DecodedCaption]:
        """Return the decoded captions of a subject, in the order of `decoded`.

        Parameters
        ----------
        subject
            Name of the subject. Left out: the only one.

        Raises
        ------
        ResultsError
            If no captions were decoded, or there are several subjects and none is named.
        """
        return load_captions(self, self._subject(subject))

    def decoded(self, feature: str, subject: str | None = None) -> Features:
        """Return a decoded feature, one row for each held-out item.

        Parameters
        ----------
        feature
            ``"z"`` or ``"c"``.
        subject
            Name of the subject. Left out: the only one.

        Raises
        ------
        ResultsError
            If the feature was not decoded, or there are several subjects and none is named.
        """
        path = self.decode_path(self._subject(subject), feature)
        if not path.is_file():
            message = f"{shown(self.path)} has no decoded {feature!r}. Run the recipe up to decode."
            raise ResultsError(message, where="feature", found=feature)
        return self.load_features(path)

    def decoder(self, feature: str, subject: str | None = None, *, fold: int = 0) -> Decoder:
        """Return a fitted decoder, which predicts any number of new trials.

        Parameters
        ----------
        feature, subject
            As in `decoded`.
        fold
            Fold of the split that it was fitted in; 0 where the test set is fixed.

        Raises
        ------
        ResultsError
            If there is no such decoder; a user's own estimators are not stored.
        """
        path = self.decode_path(self._subject(subject), f"{feature}_fold{fold}")
        if not path.is_file():
            raise ResultsError(
                f"{shown(self.path)} has no decoder of {feature!r} for fold {fold}. Only decoders of reseen's ridge "
                "are stored, one for each fold.",
                where=path,
            )
        return Decoder.from_arrays(*self.load_arrays(path))

    def images(
        self, condition: str | None = None, subject: str | None = None, *, level: Level = "result"
    ) -> NDArray[np.uint8]:
        """Return the reconstructions of a condition, in the order of `decoded`.

        Parameters
        ----------
        condition
            ``"z"``, ``"c"`` or ``"zc"``. Left out: the condition of the headline.
        subject
            Name of the subject. Left out: the only one.
        level
            ``"result"``, or a chance level or upper bound that the run generated.

        Returns
        -------
        ndarray
            Shape ``(n_items, n_samples, image_size, image_size, 3)``, uint8 RGB.

        Raises
        ------
        ResultsError
            If the condition or level was not generated, or an image was changed since.
        """
        name, conditions = self._subject(subject), self.recipe.reconstruct.conditions
        named = main_condition(conditions) if condition is None else condition
        wanted = self._one_of("condition", named, conditions)
        self._one_of("level", level, IMAGE_LEVELS)
        items = self.decoded(features_of(conditions[0])[-1], name).stimulus_id
        single = len(np.unique(items)) < len(items)
        if level not in ("result", "permuted"):
            items, single = np.unique(items), False
        count = self.recipe.n_permuted if level == "permuted" else count_samples(wanted, self.recipe.reconstruct)
        paths = [
            self.image_path(name, level, wanted, int(stimulus), sample, trial=item if single else None)
            for item, stimulus in enumerate(items)
            for sample in range(count)
        ]
        if not paths or not paths[0].is_file():
            message = f"{shown(self.path)} has no images of level {level!r}, condition {wanted!r}."
            raise ResultsError(message, where="level", found=level)
        loaded = np.stack([self.load_image(path) for path in paths])
        return loaded.reshape(len(items), count, *loaded.shape[1:])

    def _subject(self, subject: str | None) -> str:
        if subject is not None:
            return self._one_of("subject", subject, self.subjects)
        if len(self.subjects) > 1:
            message = f"the run has several subjects: name one of {', '.join(self.subjects)}."
            raise ResultsError(message, where="subject", expected=self.subjects)
        return self.subjects[0]

    def _one_of(self, where: str, found: str, expected: Sequence[Name]) -> Name:
        if found not in expected:
            message = f"{shown(self.path)} has no {where} {found!r}; it has {', '.join(expected)}."
            raise ResultsError(message, where=where, expected=tuple(expected), found=found)
        return expected[expected.index(found)]
