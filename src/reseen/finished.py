"""Finished: what a run wrote, as scores, images, decoded features and decoders."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reseen.checks import count_statuses
from reseen.decode import Decoder
from reseen.diagnosis import Diagnostics
from reseen.errors import ResultsError
from reseen.evaluate import run_checks
from reseen.features import Features
from reseen.headline import stimuli_of
from reseen.reconstruction import count_samples
from reseen.results import ResultsFolder
from reseen.scores import Scores
from reseen.tables import IMAGE_LEVELS, Level, main_condition


class Results(ResultsFolder):
    """Results folder that a run wrote, to be read from a notebook.

    Get one by ``reseen.Results.read(folder)``. What a run did not write is refused by name.

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

    def decoded(self, feature: str, subject: str | None = None) -> Features:
        """Return a decoded feature, one row for each held-out item.

        Parameters
        ----------
        feature
            ``"z"`` or ``"c"``.
        subject
            Which subject. Left out: the only one.

        Raises
        ------
        ResultsError
            If the feature was not decoded, or there are several subjects and none is named.
        """
        path = self.decode_path(self._subject(subject), feature)
        if not path.is_file():
            raise ResultsError(f"{self.path} holds no decoded {feature!r}. Run the recipe up to decode.")
        return self.load_features(path)

    def decoder(self, feature: str, subject: str | None = None, *, fold: int = 0) -> Decoder:
        """Return a fitted decoder; one new trial is enough for it.

        Parameters
        ----------
        feature, subject
            As in `decoded`.
        fold
            Fold of the split that it was fitted in; 0 where the test set is fixed.

        Raises
        ------
        ResultsError
            If there is no such decoder: estimators of one's own are not kept.
        """
        path = self.decode_path(self._subject(subject), f"{feature}_fold{fold}")
        if not path.is_file():
            raise ResultsError(
                f"{self.path} holds no decoder of {feature!r} for fold {fold}. Decoders are kept where reseen's ridge "
                "was fitted, one for each fold."
            )
        return Decoder.from_arrays(*self.load_arrays(path))

    def images(
        self, condition: str | None = None, subject: str | None = None, *, level: Level = "result"
    ) -> NDArray[np.uint8]:
        """Return the reconstructions of a condition, in the order of `decoded`.

        Parameters
        ----------
        condition
            Such as ``"z"``, ``"c"`` or ``"zc"``. Left out: the condition of the headline.
        subject
            Which subject. Left out: the only one.
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
        wanted = condition if condition is not None else main_condition(conditions)
        if wanted not in conditions:
            raise ResultsError(f"the run has no condition {wanted!r}; it has {', '.join(conditions)}.")
        if level not in IMAGE_LEVELS:
            raise ResultsError(f"there is no level {level!r}; levels are {', '.join(IMAGE_LEVELS)}.")
        items = self.decoded(conditions[0][-1], name).stimulus_id
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
            raise ResultsError(f"{self.path} holds no images of level {level!r}, condition {wanted!r}.")
        return self._load_stack(paths, len(items), count)

    def _load_stack(self, paths: Sequence[Path], n_items: int, n_samples: int) -> NDArray[np.uint8]:
        loaded = np.stack([self.load_image(path) for path in paths])
        return loaded.reshape(n_items, n_samples, *loaded.shape[1:])

    def _subject(self, subject: str | None) -> str:
        if subject is None and len(self.subjects) > 1:
            raise ResultsError(f"the run has several subjects: name one of {', '.join(self.subjects)}.")
        if subject is not None and subject not in self.subjects:
            raise ResultsError(f"the run has no subject {subject!r}; it has {', '.join(self.subjects)}.")
        return self.subjects[0] if subject is None else subject
