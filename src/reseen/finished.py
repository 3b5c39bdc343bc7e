"""Finished: results of a run, as scores, images, decoded features and decoders."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.applied import DecodersFolder
from reseen.checks import count_statuses
from reseen.conditions import features_of, main_condition
from reseen.cortical import cortical_maps
from reseen.datasets.opening import open_subject
from reseen.decode.new_trials import ScalingRule
from reseen.defaults import GALLERY, LIVE_STEPS
from reseen.diagnosis import Diagnostics
from reseen.errors import ResultsError
from reseen.evaluate import panels_of, run_checks
from reseen.export import ImageFiles, export_images, image_files
from reseen.features import Features
from reseen.files import shown
from reseen.headline import stimuli_of
from reseen.live import LiveDecoder, choose_condition, open_decoder
from reseen.results import DecodedCaption, load_captions
from reseen.retrieval import retrieve
from reseen.scores import Scores
from reseen.subject import Subject
from reseen.tables import IMAGE_LEVELS, Level

if TYPE_CHECKING:
    import pandas as pd

    from reseen.plot import CorticalMaps

Name = TypeVar("Name", bound=str)


class Results(DecodersFolder):
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
        """Scores of the decoded captions of all subjects (table ``captions.csv``), if a condition has t."""
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

    def live(
        self,
        subject: str | None = None,
        *,
        condition: str | None = None,
        scaling: ScalingRule = "causal",
        n_steps: int = LIVE_STEPS,
        images: bool = True,
        device: str = "cpu",
    ) -> LiveDecoder:
        """Return a decoder of single trials that arrive one by one; ``reseen live`` serves it as a page.

        Parameters
        ----------
        subject
            Name of the subject. Left out: the only one.
        condition
            Condition of the images. Left out: that of the headline.
        scaling
            ``"causal"``: running statistics of the session; ``"training"``: those of the training sessions.
        n_steps
            Steps of the sampler DPM-Solver++; one sample of each trial is generated.
        images
            Load the model, to generate images.
        device
            Device of the model's networks.

        Raises
        ------
        RecipeError
            If the run did not decode what the condition needs, or the rule needs later trials.
        ResultsError
            If the decoders are not stored, or the model is another one.

        Examples
        --------
        >>> import numpy as np
        >>> from reseen import Trials
        >>> live = Results.read(finished_run).live(condition="zc", n_steps=2)
        >>> betas = np.random.default_rng(0).normal(size=(1, 40))
        >>> trial = live.decode(Trials(betas, [0], voxel_index=np.arange(40)))
        >>> list(trial.features), live.start_image(trial).shape
        (['z'], (32, 32, 3))
        >>> live.image(trial).shape, list(trial.features)
        ((32, 32, 3), ['z', 'c'])
        """
        name = self._subject(subject)
        chosen = choose_condition(self, condition)
        return open_decoder(
            self,
            {feature: self.decoders(feature, name) for feature in features_of(chosen)},
            name,
            condition=chosen,
            scaling=scaling,
            n_steps=n_steps,
            images=images,
            device=device,
        )

    def retrieval(self, subject: str | None = None, *, size: int = GALLERY, device: str = "cpu") -> pd.DataFrame:
        """Score how often the right item is the most similar one of a random gallery.

        Of every decoded feature, and of every layer of the evaluation networks of the run. The accuracy is exact: the
        expectation over all galleries of this size. The data of the run are read again.

        Parameters
        ----------
        subject
            Name of the subject. Left out: the only one.
        size
            Number of items in a gallery, with the right one; all stimuli, if there are fewer.
        device
            Device of the evaluation networks.

        Returns
        -------
        DataFrame
            Columns `reseen.tables.RETRIEVAL_COLUMNS`. Protocol ``builtin``: correlation, of features after their
            training mean is subtracted. ``mindeye2``: cosine of the numbers as they are. Both directions are named by
            ``query`` and ``gallery``. A run writes the same table for galleries of 300, ``retrieval.csv``.

        Raises
        ------
        DataError
            If the data of the run cannot be read.
        ResultsError
            If the run did not decode and reconstruct.

        Source: closed form of the simulation in MindEye (Scotti et al. 2023).

        Examples
        --------
        >>> found = Results.read(finished_run).retrieval(size=3)
        >>> found["metric"].unique().tolist(), sorted(found["protocol"].unique())
        (['top1@3'], ['builtin', 'mindeye2'])
        """
        name = self._subject(subject)
        opened = open_subject(self.data, name)
        return retrieve(
            self,
            Subject(lambda: opened.trials, opened.stimuli, opened.split, name=name),
            lambda feature: self.feature_blocks(f"{name}/{feature}").load(),
            lambda level, condition: self.images(condition, name, level=level),
            panels_of(self.recipe.evaluate, device=device),
            size=size,
        )

    def maps(self, subject: str | None = None) -> CorticalMaps:
        """Return the encoding results of a subject as maps, to be drawn by `reseen.plot.flat_map`.

        The data of the run are read again, for the place of each voxel.

        Parameters
        ----------
        subject
            Name of the subject. Left out: the only one.

        Raises
        ------
        ResultsError
            If the run has no encoding models.
        DataError
            If the data cannot be read, or the voxels have no place in a volume.

        Examples
        --------
        >>> maps = Results.read(encoding_run).maps()
        >>> maps.names
        ('z', 'progress=1')
        >>> maps.values["r/z"]["lh"].shape
        (10242,)
        """
        name = self._subject(subject)
        if not self.encode_path(name).is_file():
            message = f"{shown(self.path)} has no encoding models of {name}. Run the recipe up to encode."
            raise ResultsError(message, where=self.encode_path(name))
        trials = open_subject(self.data, name).trials
        return cortical_maps(self, name, self.data, trials)

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
        files = self._image_files(condition, self._subject(subject), level)
        loaded = np.stack([self.load_image(path) for paths in files.paths for path in paths])
        return loaded.reshape(len(files.paths), -1, *loaded.shape[1:])

    def export(
        self,
        folder: Path | str,
        condition: str | None = None,
        subject: str | None = None,
        *,
        level: str = "result",
        data: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> tuple[Path, Path]:
        """Write presented images and reconstructions as two folders of PNG files, named as `reseen.score` expects.

        Parameters
        ----------
        folder
            Folder to write, new or empty: ``presented/<id>.png`` and ``reconstructed/<id>_<sample>.png``, or
            ``<id>-t<item>_<sample>.png`` of single trials.
        condition, subject, level
            As in `images`.
        data
            Folder or file of the data, if they were moved since the run.
        progress
            Callback ``(step, n_done, n_total)``.

        Returns
        -------
        The paths of both folders.

        Raises
        ------
        ResultsError
            As `images`; or if the folder is not empty or cannot be written.
        DataError
            If the presented images cannot be read.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> presented, made = Results.read(finished_run).export(Path(tempfile.mkdtemp()) / "images", "z")
        >>> len(list(presented.iterdir())), sorted(made.iterdir())[0].name
        (4, '00000_0.png')
        """
        name = self._subject(subject)
        files = self._image_files(condition, name, level)
        return export_images(self, name, files, Path(folder), data=data, progress=progress)

    def _image_files(self, condition: str | None, name: str, level: str) -> ImageFiles:
        conditions = self.recipe.reconstruct.conditions
        named = main_condition(conditions) if condition is None else condition
        wanted, known = self._one_of("condition", named, conditions), self._one_of("level", level, IMAGE_LEVELS)
        decoded = self.decoded(features_of(conditions[0])[-1], name).stimulus_id
        return image_files(self, name, wanted, known, decoded)
