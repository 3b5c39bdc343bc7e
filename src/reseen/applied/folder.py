"""Folder: decoders that a finished run stored, and their predictions from new trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from reseen.applied.align_plan import AlignmentPlan, Sessions, choose_features
from reseen.applied.align_run import align_run
from reseen.applied.alignment import AlignedSubject, read_decoders
from reseen.applied.contents import Applied
from reseen.applied.imagery import Imagery, apply_imagery
from reseen.applied.running import apply_run, choose_conditions, read_trials
from reseen.conditions import decoded_features
from reseen.datasets.new_trials import NewTrials
from reseen.decode import Decoder
from reseen.decode.alignment import AlignmentRoute
from reseen.decode.alignment_levels import AlignmentLevel, AlignmentProtocol
from reseen.decode.new_trials import ScalingRule
from reseen.errors import ResultsError
from reseen.files import shown
from reseen.results import ResultsFolder
from reseen.stimuli import Stimuli
from reseen.trials import Trials

Name = TypeVar("Name", bound=str)


class DecodersFolder(ResultsFolder):
    """Results folder of a run that decoded; `reseen.Results` is the complete class."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects."""
        return self.recipe.data.subjects

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

    def decoders(self, feature: str, subject: str | None = None) -> tuple[Decoder, ...]:
        """Return the fitted decoders of a feature, one for each fold of the split.

        Raises
        ------
        ResultsError
            As `decoder`, if there is none.
        """
        first = self.decoder(feature, subject)
        name, n_folds = self._subject(subject), 1
        while self.decode_path(name, f"{feature}_fold{n_folds}").is_file():
            n_folds += 1
        return (first, *(self.decoder(feature, name, fold=fold) for fold in range(1, n_folds)))

    def apply(
        self,
        trials: Trials | Path | str,
        subject: str | None = None,
        *,
        labelled: bool = True,
        stimuli: Stimuli | None = None,
        conditions: Sequence[str] | None = None,
        scaling: ScalingRule | None = None,
        average: bool = False,
        decoders: Path | str | None = None,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Applied:
        """Decode new trials of the same subject and the same voxels, and generate their images.

        Voxels are matched by their index (``Trials.voxel_index``), never by their order. Where the split has several
        folds, predictions are means over the decoders of all folds.

        Parameters
        ----------
        trials
            New trials in order of presentation; or a file of them, see `reseen.datasets.new_trials`.
        subject
            Name of the subject. Left out: the only one.
        labelled
            Whether ``trials.stimulus_id`` names stimuli, and does not only number the trials. A file says it itself.
        stimuli
            Images of the stimuli. Left out: ``stimulus_id`` has the ids of the run.
        conditions
            Conditions to generate images of, such as ``["z", "zc"]``. Left out: the condition of the headline; an empty
            list: no images, and the model is not loaded.
        scaling
            Mean and standard deviation that standardise each voxel: ``"session"``, those of all new trials of the same
            session; ``"training"``, those of the training sessions; ``"causal"``, running ones of the trials so far,
            for live use. See `reseen.decode.new_trials`. Left out: ``"session"`` where the run standardised its own
            sessions, else ``"training"``. Only ``"session"`` uses later trials.
        average
            Average the trials of each stimulus before the prediction.
        decoders
            Folder of decoders in place of those of the run, such as ``decoders/aligned`` of a folder that
            ``reseen align`` wrote.
        device
            Device of the model's networks.
        progress
            Callback ``(step, n_done, n_total)``.

        Raises
        ------
        ShapeError
            If the trials lack voxels of the decoders, have no voxel indices, or are in another volume.
        DataError
            If the file cannot be read, a stimulus is unknown, or a session has too few trials.
        RecipeError
            If the run did not decode what a condition needs.
        ResultsError
            If the decoders are not stored, or the model is another one.

        Examples
        --------
        >>> import numpy as np
        >>> from reseen import Results, Trials
        >>> results = Results.read(finished_run)
        >>> decoder = results.decoder("z")
        >>> rng = np.random.default_rng(0)
        >>> new = Trials(rng.normal(size=(2, 40)), np.arange(2), voxel_index=rng.permutation(40))
        >>> results.apply(new, labelled=False, scaling="training", conditions=["z"]).images["z"].shape[:2]
        (2, 1)
        """
        name = self._subject(subject)
        chosen = choose_conditions(self, conditions)
        needed = decoded_features(chosen or self.recipe.reconstruct.conditions)
        trained = None
        fitted: Mapping[str, Sequence[Decoder]]
        if decoders is None:
            fitted = {feature: self.decoders(feature, name) for feature in needed}
        else:
            fitted, trained = read_decoders(Path(decoders), needed)
        if isinstance(trials, Trials):
            new = NewTrials(trials, labelled, stimuli)
        else:
            new = read_trials(Path(trials), self, fitted, name)
        return apply_run(
            self,
            fitted,
            new,
            name,
            conditions=chosen,
            scaling=scaling,
            average=average,
            device=device,
            progress=progress,
            trained=trained,
        )

    def align(
        self,
        source: str,
        target: str,
        *,
        protocol: AlignmentProtocol = "shared_split",
        through: AlignmentRoute = "features",
        features: Sequence[str] | None = None,
        n_sessions: Sessions | None = None,
        n_align: int | None = None,
        n_test: int | None = None,
        levels: Sequence[AlignmentLevel] | None = None,
        seed: int = 0,
        conditions: Sequence[str] | None = None,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> AlignedSubject:
        """Decode one subject of the run with the decoder of another one, next to its own data of equal minutes.

        The source decoder is that of the run. If the run fitted it on test stimuli, or in several folds, it is fitted
        anew without them. The betas of both subjects are read again.

        Parameters
        ----------
        source, target
            Names of the subject of the decoder, and of the subject that is decoded.
        protocol, n_align, n_test, seed
            As in `alignment_stimuli`. For ``"own_stimuli"``, ``n_test`` left out is a fifth of the target's own
            stimuli, at most 300.
        through
            As in `align`.
        features
            Features to decode. Left out: those that the conditions need.
        n_sessions
            Numbers of sessions of the target, from its first one on, such as ``[1, 2, "all"]``: the places of the
            curve. Left out: 1, 2, 4 and all.
        levels
            Levels of `compare_alignment`. Left out: ``aligned``, ``combined``, ``own_shared``, ``own_equal``,
            ``own_full`` and ``permuted``; and ``identity`` if the data are in a common space, such as fsaverage.
        conditions
            Conditions of the images of test stimuli, from the decoders of the level ``aligned`` and the largest number
            of sessions. Left out: that of the headline, if its features are decoded; an empty list: no images.
        device
            Device of the model's networks, and of the ridge unless it is ``"cpu"``.
        progress
            Callback ``(step, n_done, n_total)``.

        Raises
        ------
        ResultsError
            If a subject is not in the run, or its decoders or features are not stored.
        ShapeError
            If the subjects share no stimuli, or too few for the protocol; or ``identity`` is asked for and the voxels
            differ.
        DataError
            If the target has fewer sessions, an id names different images, or the betas cannot be read.
        RecipeError
            If a feature, condition, protocol, route or level is unknown.

        Examples
        --------
        >>> aligned = Results.read(run_of_two).align("subj01", "subj02", n_sessions=[1, "all"], conditions=["z"])
        >>> aligned.table.query("metric == 'identification'")["n_sessions"].unique().tolist()
        [1, 2]
        >>> aligned.applied.images["z"].shape[:2], list(aligned.decoders)
        ((4, 1), ['aligned', 'combined'])
        """
        one, other = self._two_subjects(source, target)
        known = decoded_features(self.recipe.reconstruct.conditions)
        chosen = choose_conditions(self, conditions)
        names, chosen = choose_features(features, conditions, chosen, known)
        decoders = {}
        for feature in names:
            fitted = self.decoders(feature, one)
            decoders[feature] = [
                decoder.set_params(device="numpy" if device == "cpu" else device) for decoder in fitted
            ]
        plan = AlignmentPlan(protocol, through, n_sessions, n_align, n_test, levels, seed)
        return align_run(self, decoders, one, other, plan, conditions=chosen, device=device, progress=progress)

    def _two_subjects(self, source: str, target: str) -> tuple[str, str]:
        """Return the names of two subjects of the run."""
        if len(self.subjects) < 2:
            raise ResultsError(
                f"{shown(self.path)} has one subject, {self.subjects[0]}; an alignment needs two. Add a subject to "
                "data.subjects, or join runs of single subjects with reseen merge.",
                where="subject",
                expected=2,
                found=1,
            )
        one, other = self._subject(source), self._subject(target)
        if one == other:
            raise ResultsError(
                f"the source and the target are both {one}. Name two subjects of {', '.join(self.subjects)}.",
                where="target",
                expected=[name for name in self.subjects if name != one],
                found=one,
            )
        return one, other

    def imagery(
        self,
        subjects: Sequence[str] | None = None,
        *,
        data: Path | str | None = None,
        conditions: Sequence[str] | None = None,
        scaling: ScalingRule | None = None,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Imagery:
        """Decode NSD-Imagery with the decoders of the run, and score seen and imagined targets side by side.

        The trials of each target are averaged: 8 of vision, 16 of imagery. Scores are those of `score_imagery`
        (protocol ``nsdimagery2025``), of every decoded feature and of every layer of the evaluation networks.

        Parameters
        ----------
        subjects
            Names of subjects, over which scores are pooled. Left out: all of the run.
        data
            Folder with the files of NSD-Imagery. Left out: the data folder of the run.
        conditions, scaling, device, progress
            As in `apply`. Under ``"session"``, the default, a run is standardised by all of its trials.

        Raises
        ------
        DataError
            If the run's data are not in NSD's layout, or files are missing; the message has the download commands.
        RecipeError, ResultsError
            As `apply`.
        """
        names = self.subjects if subjects is None else tuple(self._subject(name) for name in subjects)
        chosen = choose_conditions(self, conditions)
        needed = decoded_features(chosen or self.recipe.reconstruct.conditions)
        read = self.data if data is None else self.data.model_copy(update={"path": Path(data)})
        decoders = {}
        for name in names:
            decoders[name] = {feature: self.decoders(feature, name) for feature in needed}
        return apply_imagery(
            self,
            decoders,
            read,
            conditions=chosen,
            scaling=scaling,
            device=device,
            progress=progress,
        )

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
