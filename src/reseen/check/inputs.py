"""Inputs: data and model of a run before it starts; each is loaded at most once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen import datasets
from reseen.analyses import AUTO, analyses, true_features
from reseen.check.sizes import Sizes, guess_sizes, sizes_of
from reseen.conditions import FEATURES
from reseen.datasets import Outline
from reseen.datasets.nsd_facts import TRUTH
from reseen.datasets.nsd_protocol import N_REPEATS, choose_trials, describe_choice, list_sessions_of
from reseen.datasets.nsd_rois import parse_roi
from reseen.datasets.splits import make_split
from reseen.errors import ModelError, RecipeError, ReseenError
from reseen.executor import Progress
from reseen.files import shown
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.captioner import Captioner, load_captioner
from reseen.ldm.devices import choose_precision
from reseen.recipe import Recipe, with_changes
from reseen.simulate import BETAS, SPACE, plan_of
from reseen.split import Split
from reseen.subject import Subject

SIMULATED_ATLASES = ("streams", "nsdgeneral", "prf-visualrois")
"""Atlases of simulated subjects."""


def data_path(recipe: Recipe, out: Path) -> Path | None:
    """Return the path of the data; a simulated subject without a path of its own is in the results folder."""
    if recipe.data.path is None and recipe.data.kind == "simulated":
        return out / "data"
    return recipe.data.path


def with_precision(recipe: Recipe, device: str) -> Recipe:
    """Return a recipe whose ``model.precision`` is the one that a device computes with, never ``"auto"``.

    The results folder records the precision, so that a run on another device is refused where it would compute with
    another one.
    """
    return with_changes(recipe, {"model.precision": choose_precision(recipe.model.precision, device)})


class _Own(NamedTuple):
    """Outline of a subject's own data and their description for `reseen check`, or the errors that prevent them."""

    outline: Outline | ReseenError
    description: str | ReseenError


class Inputs:
    """Data and model of a run, before anything is computed or written.

    Parameters
    ----------
    recipe
        Recipe of the run.
    out
        The results folder.
    device
        Device of the model's networks.
    thorough
        Check and describe every file, as `reseen check` does, not only the reasons to refuse a run.
    fetch
        Download a model of the hub that is not in the local cache.
    needs_trials
        Whether the run reads betas; its first stages need images and captions alone.
    progress
        Callback ``(step, n_done, n_total)``.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        *,
        device: str = "cpu",
        thorough: bool = False,
        fetch: bool = False,
        needs_trials: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.device = device
        self.thorough = thorough
        self.fetch = fetch
        self.needs_trials = needs_trials
        self.path = data_path(recipe, out)
        self.data = recipe.data.model_copy(update={"path": self.path})
        self.warned: list[str] = []
        self.readable = True
        self._progress = progress
        self._opened: dict[str, tuple[Subject, list[str]]] = {}
        self._own: dict[str, _Own] = {}

    @property
    def to_simulate(self) -> bool:
        """Whether the run writes the data itself: simulated subjects that do not exist yet."""
        return self.recipe.data.kind == "simulated" and self.path is not None and not (self.path / TRUTH).is_file()

    @property
    def model(self) -> LatentDiffusion:
        """The model of the recipe.

        Raises
        ------
        ModelError
            If it cannot be loaded.
        """
        if isinstance(self._loaded, ReseenError):
            raise self._loaded
        return self._loaded

    @property
    def has_model(self) -> bool:
        """Whether the model can be loaded."""
        return not isinstance(self._loaded, ReseenError)

    @cached_property
    def _loaded(self) -> LatentDiffusion | ReseenError:
        try:
            return self._load()
        except ReseenError as error:
            return error

    def _load(self) -> LatentDiffusion:
        section = self.recipe.model
        progress = None if self.thorough else self._progress  # `reseen check` names the model in a finding
        if progress is not None:
            progress("load the model", 0, 1)
        ldm = load_model(
            section.name,
            revision=section.revision,
            precision=section.precision,
            device=self.device,
            compiled=section.compiled and not self.thorough,
            image_adapter=section.image_adapter,
            fetch=self.fetch,
        )
        if progress is not None:
            progress("load the model", 1, 1)
        return ldm

    @cached_property
    def captioner(self) -> Captioner:
        """The captioner of the recipe.

        Raises
        ------
        ModelError
            If it cannot be loaded, or is of another type than ``decode.captions``.
        """
        name, kind = self.recipe.model.captioner, self.recipe.decode.captions
        assert name is not None  # the recipe refuses captions without a captioner
        found = load_captioner(name, side=self.recipe.extract.captioner_side, device=self.device)
        if found.kind != kind:
            raise ModelError(
                f"{shown(name)} is a {found.kind}, and decode.captions is {kind!r}. Change one of them.",
                where="decode.captions",
                expected=found.kind,
                found=kind,
            )
        return found

    @property
    def outlines(self) -> Mapping[str, Outline]:
        """The outline of each subject.

        Raises
        ------
        DataError, RecipeError
            As `reseen.datasets.open_subject`.
        """
        if isinstance(self._outlined, ReseenError):
            raise self._outlined
        return self._outlined

    @property
    def known(self) -> Mapping[str, Outline]:
        """The outline of each subject, or nothing where they cannot be computed; `outlines` raises the reason."""
        return {} if isinstance(self._outlined, ReseenError) else self._outlined

    @cached_property
    def _outlined(self) -> Mapping[str, Outline] | ReseenError:
        try:
            return {subject: self._outline(subject) for subject in self.data.subjects}
        except ReseenError as error:
            return error

    @property
    def sizes(self) -> Sizes:
        """Sizes of a subject's data: counted, or estimated from the recipe where they cannot be read."""
        known = self.known
        return sizes_of(list(known.values()), self.data) if known else guess_sizes(self.recipe)

    @property
    def needed_features(self) -> tuple[str, ...]:
        """Features without denoising that the recipe needs: to decode, to encode from, or to denoise."""
        return true_features(self.recipe.reconstruct.conditions, analyses(self.recipe.encode, auto=(AUTO,)))

    @property
    def needs_captions(self) -> bool:
        """Whether c or t is decoded, used for encoding, or steers the denoising of an encoding feature."""
        return any(FEATURES[name].from_captions for name in self.needed_features)

    def open_subject(self, subject: str, *, keep: Path | None, progress: Callable[[int, int], None]) -> Subject:
        """Return a subject's data; data that were read for its outline are not read again.

        Parameters and errors are those of `reseen.datasets.open_subject`.
        """
        if subject not in self._opened:
            return datasets.open_subject(self.data, subject, keep=keep, progress=progress)
        found, messages = self._opened.pop(subject)
        for message in messages:
            warnings.warn(message, stacklevel=2)
        progress(1, 1)
        return found

    def _outline(self, subject: str) -> Outline:
        if self.to_simulate:
            return _planned(self.recipe)
        if self.data.is_nsd:
            return datasets.outline(self.data, subject) if self.needs_trials else self._outline_of_stimuli(subject)
        found = self._read_own(subject).outline
        if isinstance(found, ReseenError):
            raise found
        return found

    def describe(self, subject: str) -> str:
        """Return the contents of a subject's own data in words, for `reseen check`.

        Raises
        ------
        DataError, RecipeError
            As `reseen.datasets.open_subject`.
        """
        found = self._read_own(subject).description
        if isinstance(found, ReseenError):
            raise found
        return found

    def _read_own(self, subject: str) -> _Own:
        """Read a subject's own data, once."""
        if subject not in self._own:
            try:
                self._own[subject] = self._open_own(subject)
            except ReseenError as error:
                self._own[subject] = _Own(error, error)
        return self._own[subject]

    def _open_own(self, subject: str) -> _Own:
        progress = None if self._progress is None else partial(self._progress, f"read {subject}")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = datasets.overview(self.data, subject, progress)
            description = found.describe() if self.thorough else ""
        messages = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        self.warned += messages
        try:
            opened, outline = found.open()
        except ReseenError as error:
            return _Own(error, description)
        if found.is_read and not self.thorough and len(self.data.subjects) == 1:  # at most one subject in memory
            self._opened[subject] = opened, messages
        return _Own(outline, description)

    def _outline_of_stimuli(self, subject: str) -> Outline:
        """Return the outline without betas, in which each stimulus has one trial, or one in each fold that tests it."""
        found = datasets.open_subject(self.data, subject)
        split = found.split
        if split.group is None:
            return Outline(split.used, split, {}, 0, None, found.stimuli)
        tests = [test for _, test in split.folds]
        fold = np.repeat(np.arange(len(tests)), [len(test) for test in tests])
        return Outline(np.concatenate(tests), Split(split.folds, fold), {}, 0, None, found.stimuli)


def _planned(recipe: Recipe) -> Outline:
    """Return the outline of a subject that the run will simulate; the plan of its trials gives the ids.

    Raises
    ------
    RecipeError
        If the recipe needs something that simulated subjects do not have.
    """
    data, made = recipe.data, recipe.simulate
    names = [f"subj{number:02d}" for number in range(1, made.n_subjects + 1)]
    for subject in data.subjects:
        if subject not in names:
            message = f"data.subjects names {subject}; simulate writes {', '.join(names)}. Name one of these."
            raise RecipeError(message, where="data.subjects", expected=tuple(names), found=subject)
    for key, value, only in (("space", data.space, SPACE), ("betas", data.betas, BETAS)):
        if value != only:
            message = f"data.{key} is {value!r}; simulated subjects have only {only!r}. Leave data.{key} out."
            raise RecipeError(message, where=f"data.{key}", expected=only, found=value)
    last = max(data.sessions) if isinstance(data.sessions, tuple) else data.sessions
    if last is not None and last > made.n_sessions:
        message = f"data.sessions is {data.sessions}, and simulate.n_sessions {made.n_sessions}. Change one of them."
        raise RecipeError(message, where="data.sessions", expected=made.n_sessions, found=data.sessions)
    for roi in data.rois:
        known = parse_roi(roi)
        if known is None or known.atlas not in SIMULATED_ATLASES:
            raise RecipeError(
                f"data.rois: simulated subjects have no ROI {roi!r}. Name some of the atlases "
                f"{', '.join(SIMULATED_ATLASES)}, such as early, ventral or V1.",
                where="data.rois",
                found=roi,
            )
    plan = plan_of(made)
    read = list_sessions_of(data.sessions, range(1, len(plan) + 1))
    stimulus_id: NDArray[np.int64] = np.concatenate([plan[number - 1] for number in read])  # of each trial
    session = np.repeat(read, [len(plan[number - 1]) for number in read])
    repeats = np.bincount(np.concatenate(plan), minlength=made.n_test)[: made.n_test]
    used, test = choose_trials(
        data, session, stimulus_id, np.arange(made.n_test), lambda: np.flatnonzero(repeats == N_REPEATS)
    )
    stimulus_id, session = stimulus_id[used], session[used]
    split = make_split(data, stimulus_id, {}, test=test, labels={"sessions": session})
    n_voxels = guess_sizes(recipe).n_voxels
    note = describe_choice(data, session, stimulus_id, split)
    return Outline(stimulus_id, split, {}, n_voxels, None, None, note=note)
