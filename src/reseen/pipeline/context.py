"""Context of a run: data that its stages share, and one subject's data, features and decoded features."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TextIO

import numpy as np

from reseen.analyses import Analysis
from reseen.blocks import FeatureBlocks
from reseen.check import Inputs
from reseen.conditions import in_role, main_condition
from reseen.decode import Decoding
from reseen.decode.estimators import RIDGE
from reseen.executor import Executor, Progress, Serial, check_seen
from reseen.features import Features
from reseen.ldm import LatentDiffusion
from reseen.ldm.captioner import Captioner
from reseen.ldm.recording_plan import analyses_of
from reseen.networks import Panel
from reseen.pipeline.image_writer import Writer
from reseen.recipe import Recipe
from reseen.reconstruction.pixels import is_grey
from reseen.results import GREY_OF, ResultsFolder
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import Trials

N_HASHED_IMAGES = 16
"""Number of images in a subject's fingerprint, at equal distances among the presented ones."""


class Run:
    """Recipe, results folder and model of a run.

    Parameters
    ----------
    recipe
        Recipe of the run.
    results
        Results folder.
    device
        Device of the model's networks.
    progress
        Callback ``(step, n_done, n_total)``.
    executor
        Executor of the tasks of decoding and reconstruction. Left out: this process.
    inputs
        Loader of data and model, which keeps what it loaded to check the recipe. Left out: a new one.
    """

    def __init__(
        self,
        recipe: Recipe,
        results: ResultsFolder,
        device: str = "cpu",
        *,
        progress: Progress | None = None,
        executor: Executor | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        self.recipe = recipe
        self.results = results
        self.device = device
        self.progress = progress
        self.executor = executor or Serial()
        self.inputs = inputs or Inputs(recipe, results.path, device=device, fetch=True, progress=progress)
        self.data = self.inputs.data
        self.writer: Writer | None = None
        """Writer of images in its own threads, while this process generates them."""
        self.panels: list[Panel] | None = None
        """Evaluation networks of the recipe's protocols, after they are loaded."""
        self._subjects: dict[str, SubjectRun] = {}
        self._current: SubjectRun | None = None

    @property
    def needs_gpu(self) -> bool:
        """Whether a task of reconstruction needs a GPU of its own."""
        return self.device.startswith("cuda")

    def share(self, _folder: Path) -> Callable[[], Run]:
        """Return a function that creates the same run on a worker, which loads data and model by itself."""
        return partial(_join, self.recipe, self.results.path.resolve(), self.device)

    def subject(self, name: str) -> SubjectRun:
        """Return one subject's part of the run; the betas and features of the previous subject are released."""
        if name not in self._subjects:
            self._subjects[name] = SubjectRun(self, name)
        found = self._subjects[name]
        if self._current is not None and self._current is not found:
            self._current.release()
        self._current = found
        return found

    @property
    def subjects(self) -> Iterator[SubjectRun]:
        """Part of each subject of the recipe, in its order."""
        return map(self.subject, self.recipe.data.subjects)

    @cached_property
    def model(self) -> LatentDiffusion:
        """The model, after a comparison with the one that the results were started with."""
        model = self.inputs.model
        self.results.claim("model", model.fingerprint)
        return model

    @property
    def decoded_names(self) -> tuple[str, ...]:
        """Features that are decoded."""
        return self.recipe.decoded

    @cached_property
    def captioner(self) -> Captioner:
        """The captioner, after a comparison with the one that the results were started with."""
        captioner = self.inputs.captioner
        self.results.claim("captioner", captioner.fingerprint)
        return captioner

    @property
    def main_condition(self) -> str:
        """Condition of the headline."""
        return main_condition(self.recipe.reconstruct.conditions)

    def analyses(self) -> tuple[Analysis, ...]:
        """List the encoding analyses that the recipe asks for."""
        return analyses_of(self.recipe, lambda: self.model)

    def uses_prior(self, name: str) -> bool:
        """Return whether a feature is decoded by the probabilities of the training stimuli: t, or c by the recipe."""
        if name not in self.decoded_names:
            return False
        return (name == "t" and self.recipe.states is None) or (
            name == "c" and self.recipe.decode.c_prior == "captions"
        )

    @property
    def shown_prior(self) -> str | None:
        """Feature whose most probable training captions the report shows: that of the images, or None."""
        text = in_role(self.main_condition, "text")
        return text if text is not None and self.uses_prior(text) else None

    def fits_decoder(self, name: str) -> bool:
        """Return whether a decoder of a feature is fitted: not for predictions from elsewhere and written captions."""
        written = name == "t" and self.recipe.states is not None
        return not written and self.recipe.decode.elsewhere(name) is None

    def keeps_decoder(self, name: str) -> bool:
        """Return whether the decoder of a feature is written to the results folder.

        A user's own estimator could only be stored as a pickle, and predictions from elsewhere have no decoder.
        """
        return self.recipe.decode.decoder == RIDGE and self.fits_decoder(name)

    def report_progress(self, step: str, n_done: int, n_total: int) -> None:
        """Call ``progress``, if there is one."""
        if self.progress is not None:
            self.progress(step, n_done, n_total)

    def counter(self, step: str) -> Callable[[int, int], None]:
        """Return a callback ``(n_done, n_total)`` for one step."""
        return partial(self.report_progress, step)

    @contextmanager
    def recording_warnings(self) -> Iterator[None]:
        """Record each warning for the report as it occurs, and warn as usual."""
        filters, show = list(warnings.filters), warnings.showwarning

        def record(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,  # noqa: ARG001
            line: str | None = None,  # noqa: ARG001
        ) -> None:
            if issubclass(category, UserWarning):
                self.results.add_warning(str(message))
            with warnings.catch_warnings():
                warnings.filters, warnings.showwarning = filters, show
                warnings.warn_explicit(message, category, filename, lineno)

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = record
            yield


def _join(recipe: Recipe, path: Path, device: str) -> Run:
    """Create the run on a worker."""
    check_seen(path)
    return Run(recipe, ResultsFolder.join(path, recipe), device)


class SubjectRun:
    """One subject of a run: data, features and decoded features, each read at its first use.

    Parameters
    ----------
    run
        The run.
    name
        Name of the subject.
    """

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.recipe = run.recipe
        self.results = run.results
        self._opened: Subject | None = None
        self._trials: Trials | None = None
        self._facts: Trials | None = None
        self._label_check = ""
        # Only z and c are cached: true z of 10,000 stimuli needs 0.26 GB, true c 2.4 GB. Images are generated from z
        # and c of the held-out stimuli, true and decoded, which are cached too.
        self.true = lru_cache(maxsize=2)(self._read_true)
        self.true_of_tested = lru_cache(maxsize=2)(self._read_true_of_tested)
        self.stored = lru_cache(maxsize=2)(self._read_stored)

    # ------------------------------------------------------------------------------------------------------ data

    def _open(self) -> Subject:
        """Return the subject's data after a comparison of its stimuli with those that the results were started with."""
        if self._opened is None:
            keep, progress = self.results.kept_folder(self.name), self.run.counter(f"read {self.name}")
            with self.run.recording_warnings():
                self._opened = self.run.inputs.open_subject(self.name, keep=keep, progress=progress)
                if known := self._opened.split.warning:
                    warnings.warn(f"{self.name}: {known}", stacklevel=2)
            fingerprint = stimuli_fingerprint(self._opened.stimuli, self._opened.split)
            self.results.claim(f"images and captions of {self.name}", fingerprint)
        return self._opened

    @cached_property
    def stimuli(self) -> Stimuli:
        """Images and captions; no betas are read."""
        return self._open().stimuli

    @property
    def columns(self) -> Mapping[str, Sequence[str]]:
        """Columns of a lab's trial table, one text per trial; none for other data."""
        return self._open().columns

    @cached_property
    def split(self) -> Split:
        """Training and test stimuli; no betas are read."""
        return self._open().split

    @property
    def trials(self) -> Trials:
        """Responses to single trials; they are read and compared once, and kept until `release`."""
        return self._trials if self._trials is not None else self._read_trials()

    @property
    def facts(self) -> Trials:
        """Trials without betas: stimulus ids, sessions, ROIs, noise ceilings and voxel positions."""
        if self._facts is None:
            self._read_trials()
        assert self._facts is not None
        return self._facts

    @property
    def label_check(self) -> str:
        """Sentence on how similar the responses to the same image are, which shows whether ids fit the betas."""
        _ = self.facts  # the labels are checked when the trials are read
        return self._label_check

    @cached_property
    def grey(self) -> bool:
        """Whether images are written in grey: by the recipe, or because all training images are grey."""
        choice = self.recipe.reconstruct.grey
        if choice != "auto":
            return choice
        key = f"{GREY_OF}{self.name}"
        if key not in self.results.provenance:
            trained = np.unique(np.concatenate([train for train, _ in self.split.folds]))
            every = all(is_grey(self.stimuli.image(int(stimulus))) for stimulus in trained)
            self.results.claim(key, "yes" if every else "no")
        return self.results.provenance[key] == "yes"

    def _read_trials(self) -> Trials:
        """Read the trials; warn of labels that do not fit the betas and of approximate noise ceilings."""
        progress = self.run.counter(f"read {self.name}")
        progress(0, 1)
        data = self._open()
        with self.run.recording_warnings():
            trials = data.trials
            progress(1, 1)
            checked = trials.check_labels(seed=self.recipe.seed)
            if checked.problem:
                warnings.warn(f"{self.name}: {checked.problem}", stacklevel=2)
            standardised = self.recipe.data.zscore_sessions or not self.recipe.data.is_nsd
            if trials.ncsnr is not None and not standardised:
                warnings.warn(
                    f"{self.name}: NSD's ncsnr is defined on betas standardised within sessions, and "
                    "data.zscore_sessions is false. Noise ceilings, and scores divided by them, are approximate.",
                    stacklevel=2,
                )
        self.results.claim(f"data of {self.name}", trials_fingerprint(trials, data.split))
        no_betas = np.broadcast_to(np.float32(0), trials.betas.shape)  # a view of one number
        self._facts = replace(trials, betas=no_betas, scaling=None)
        self._label_check = checked.comparison
        self._trials = trials
        return trials

    def release(self) -> None:
        """Release betas and features, so that only one subject's are in memory."""
        self._opened = self._trials = None
        for cached in (self.true, self.true_of_tested, self.stored):
            cached.cache_clear()

    # -------------------------------------------------------------------------------------------------- features

    def _read_true(self, name: str) -> Features:
        """Return the features that the model computes from the presented stimuli."""
        return self.blocks(name).load()

    def blocks(self, name: str) -> FeatureBlocks:
        """Return the same features, to be read block by block if they do not fit in memory."""
        return self.results.feature_blocks(f"{self.name}/{name}")

    def decoded(self, name: str, *, permutation: int | None = None) -> Features:
        """Return decoded features of the held-out items, of a permutation by decoders fitted on permuted labels."""
        return self.stored(decoded_stem(name, permutation))

    def _read_true_of_tested(self, name: str) -> Features:
        """Return the true features of the held-out stimuli, sorted by id."""
        ids = np.unique(self.decoded(name).stimulus_id)
        return Features(name, self.true(name).rows(ids), ids)

    def _read_stored(self, stem: str) -> Features:
        """Return features of the decode stage by the stem of their file, such as ``"chance_mean_z"``."""
        return self.results.load_features(self.decode_path(stem), self.computed_by("decode"))

    def decoding(self, name: str, split: Split, previous: Decoding | None = None) -> Decoding:
        """Return the decoding of a feature; it shares the factored responses of a ``previous`` one if it can."""
        recipe = self.recipe
        if previous is not None and previous.can_share(name, recipe.decode.rois_of(name)):
            return previous.of(self.true(name))
        return Decoding(
            self.trials,
            split,
            self.true(name),
            rois=recipe.decode.rois_of(name),
            recipe=recipe.decode,
            seed=recipe.seed,
            train_trials=recipe.data.train_trials,
            test_trials=recipe.data.test_trials,
            # numpy is faster than torch on a CPU
            device=self.run.device if self.run.needs_gpu else "numpy",
        )

    def computed_by(self, stage: str) -> dict[str, str]:
        """Return the settings that a stage's arrays are computed by: see `ResultsFolder.computed_by`."""
        return self.results.computed_by(stage, self.name)

    def decode_path(self, stem: str) -> Path:
        """Return the path of a file of this subject's decoding."""
        return self.results.decode_path(self.name, stem)


def decoded_stem(name: str, permutation: int | None) -> str:
    """Return the file stem of a decoded feature: ``z``, or ``permuted0_z`` for the first permutation."""
    return name if permutation is None else f"permuted{permutation}_{name}"


def stimuli_fingerprint(stimuli: Stimuli, split: Split) -> str:
    """Return the SHA-256 of the ids and captions of all stimuli that are used, and of some of their images."""
    total = hashlib.sha256(np.ascontiguousarray(split.used).data)
    for stimulus in split.used:
        total.update("\n".join(stimuli.captions(int(stimulus))).encode() + b"\0")
    rows = np.linspace(0, len(split.used) - 1, min(N_HASHED_IMAGES, len(split.used))).astype(int)
    for stimulus in split.used[rows]:
        total.update(stimuli.image(int(stimulus)).tobytes())
    return f"sha256:{total.hexdigest()}"


def trials_fingerprint(trials: Trials, split: Split) -> str:
    """Return the SHA-256 of all betas, their labels and ROIs, and of the folds."""
    total = hashlib.sha256()
    for array in (trials.betas, trials.stimulus_id, trials.session, trials.n_repetitions):
        total.update(np.ascontiguousarray(array).data)
    for name in sorted(trials.rois):
        total.update(name.encode() + np.packbits(trials.rois[name]).tobytes())
    for fold in split.folds:
        for ids in fold:
            total.update(np.asarray(ids, dtype=np.int64).tobytes())
    if split.group is not None:
        total.update(split.group.tobytes())
    return f"sha256:{total.hexdigest()}"
