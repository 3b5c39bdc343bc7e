"""Job: what the stages of one run share."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from reseen.analyses import AUTO, Analysis, analyses, decoded_features
from reseen.blocks import FeatureBlocks
from reseen.decode import Decoding
from reseen.decode.estimators import RIDGE
from reseen.executor import Executor, Serial, check_seen
from reseen.features import Features
from reseen.ldm import LatentDiffusion
from reseen.ldm.devices import choose_precision
from reseen.ldm.recording import default_layers
from reseen.pipeline.prospect import Brain, Progress, Prospect, data_path
from reseen.pipeline.writing import Writer
from reseen.recipe import DataRecipe, Recipe, with_changes
from reseen.results import Results
from reseen.stimuli import Stimuli
from reseen.tables import main_condition
from reseen.trials import Split, Trials

T = TypeVar("T")
N_SAMPLED_PICTURES = 16


@dataclass
class Job:
    """Recipe and results folder of a run, with data and model, which are loaded when they are needed.

    Parameters
    ----------
    recipe
        What to run.
    results
        Where to.
    device
        Where the model's networks lie.
    progress
        Whom to tell.
    executor
        Who does the units of decoding and reconstruction.
    writer
        Who writes pictures behind the back of the units that are done here, while the stage lasts.
    prospect
        What was loaded to check the recipe before the run, so that it is not loaded again.
    """

    recipe: Recipe
    results: Results
    device: str = "cpu"
    progress: Progress | None = None
    executor: Executor = field(default_factory=Serial)
    writer: Writer | None = None
    prospect: Prospect | None = field(default=None, repr=False)
    only: str | None = None
    """The one subject that stages work on; None: all."""
    _kept: dict[str, tuple[Hashable, Any]] = field(default_factory=dict, repr=False)
    _facts: dict[str, Brain] = field(default_factory=dict, repr=False)
    _likeness: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def needs_gpu(self) -> bool:
        """Whether a unit of reconstruction needs a GPU of its own."""
        return self.device.startswith("cuda")

    @property
    def ridge_device(self) -> str:
        """Device on which decoders are fitted: the GPU where there is one, else numpy, which is fastest on a CPU."""
        return self.device if self.needs_gpu else "numpy"

    @property
    def decoded_names(self) -> tuple[str, ...]:
        """Features that the recipe's conditions need."""
        return decoded_features(self.recipe.reconstruct.conditions)

    @property
    def main_condition(self) -> str:
        """Condition of the headline."""
        return main_condition(self.recipe.reconstruct.conditions)

    def decoding(self, subject: str, name: str, split: Split) -> Decoding:
        """Return the decoding of one of a subject's features; each fold of the split has a decoder."""
        recipe = self.recipe
        return Decoding(
            self.brain(subject)[0],
            split,
            self.true(subject, name),
            rois=recipe.decode.rois_of(name),
            recipe=recipe.decode,
            seed=recipe.seed,
            train_trials=recipe.data.train_trials,
            test_trials=recipe.data.test_trials,
            device=self.ridge_device,
        )

    def under_prior(self, name: str) -> bool:
        """Return whether a feature the recipe decodes is a mean of what the training stimuli's are."""
        return name == "c" and name in self.decoded_names and self.recipe.decode.c_prior == "captions"

    def keeps_decoder(self, name: str) -> bool:
        """Return whether the decoder of a feature is written to the results folder.

        An estimator of a user's own would be a pickle, and predictions that were made elsewhere have no decoder.
        """
        return self.recipe.decode.decoder == RIDGE and self.recipe.decode.elsewhere(name) is None

    def candidates_path(self, subject: str, name: str) -> Path:
        """Return where it lies which training stimuli such a mean is of."""
        return self.results.decode_path(subject, f"{name}_candidates")

    def lend(self, _folder: Path) -> Callable[[], Job]:
        """Return what makes the same job on a worker, which loads data and model by itself."""
        return partial(_join, self.recipe, self.results.path.resolve(), self.device)

    @property
    def data(self) -> DataRecipe:
        """Section about data, with its path."""
        return self.recipe.data.model_copy(update={"path": data_path(self.recipe, self.results.path)})

    @property
    def subjects(self) -> Sequence[str]:
        """Subjects that stages work on."""
        return self.recipe.data.subjects if self.only is None else (self.only,)

    @contextmanager
    def one(self, subject: str) -> Iterator[None]:
        """Restrict stages to one subject, so that its betas are read once for all of them."""
        self.only = subject
        try:
            yield
        finally:
            self.only = None

    def facts(self, subject: str) -> Brain:
        """Return a subject's data without betas: they are read once, and what else is known of the trials is kept.

        The betas of these trials are zeros that take no memory.
        """
        if subject not in self._facts:
            trials, stimuli, split = self.brain(subject)
            none = np.broadcast_to(np.float32(0), trials.betas.shape)
            self._facts[subject] = replace(trials, betas=none, scaling=None), stimuli, split
        return self._facts[subject]

    def likeness(self, subject: str) -> str:
        """Describe whether responses to the same image are alike, which shows whether ids belong to the betas."""
        if subject not in self._likeness:
            self.brain(subject)
        return self._likeness[subject]

    def brain(self, subject: str) -> Brain:
        """Read a subject's data; the last subject's are kept, and all are held against what the results began with."""

        def read() -> Brain:
            self.tell(f"read {subject}", 0, 1)
            with self.noting_warnings():
                keep = self.results.kept_folder(subject)
                found = self.looked_at.brain(subject, keep=keep, progress=self.counter(f"read {subject}"))
                trials = found[0]
                checked = trials.check_labels(seed=self.recipe.seed)
                self._likeness[subject] = checked.comparison
                if checked.problem:
                    warnings.warn(f"{subject}: {checked.problem}", stacklevel=2)
                if (
                    self.recipe.data.kind != "arrays"
                    and trials.ncsnr is not None
                    and not self.recipe.data.zscore_sessions
                ):
                    warnings.warn(
                        f"{subject}: NSD's ncsnr is defined on betas standardised within sessions, and "
                        "data.zscore_sessions is false. Noise ceilings, and scores divided by them, are approximate.",
                        stacklevel=2,
                    )
            self.results.claim(f"data of {subject}", fingerprint(*found))
            return found

        return self.keep("brain", subject, read)

    def ldm(self) -> LatentDiffusion:
        """Return the model, after a comparison with the one that the results were begun with."""

        def load_model() -> LatentDiffusion:
            ldm = self.looked_at.model
            self.results.claim("model", ldm.fingerprint)
            return ldm

        return self.keep("model", self.recipe.model.name, load_model)

    @property
    def looked_at(self) -> Prospect:
        """What loads data and model, or loaded them to check the recipe before the run."""
        if self.prospect is None:
            self.prospect = Prospect(
                self.recipe, self.results.path, device=self.device, fetch=True, progress=self.progress
            )
        return self.prospect

    def keep(self, kind: str, which: Hashable, make: Callable[[], T]) -> T:
        """Return what was made last of its kind; another one of the kind is let go of before this one is made."""
        if kind in self._kept and self._kept[kind][0] != which:
            del self._kept[kind]
        if kind not in self._kept:
            self._kept[kind] = which, make()
        kept: T = self._kept[kind][1]
        return kept

    def true(self, subject: str, name: str) -> Features:
        """Return the features that the model makes of what a subject was shown."""
        return self.blocks(subject, name).load()

    def blocks(self, subject: str, name: str) -> FeatureBlocks:
        """Return the same features, to be read block by block where they do not fit in memory."""
        return self.results.feature_blocks(f"{subject}/{name}")

    def analyses(self) -> tuple[Analysis, ...]:
        """List the encoding analyses that the recipe asks for."""
        return analyses_of(self.recipe, self.ldm)

    def decoded(self, subject: str, name: str, *, shuffle: int | None = None) -> Features:
        """Return the features decoded from a subject's brain, or by decoders fitted on the rows of a shuffle."""
        path = self.results.decode_path(subject, decoded_stem(name, shuffle))
        self.results.has_arrays(path, self.made_by("decode", subject))
        return self.results.load_features(path)

    def made_by(self, stage: str, subject: str) -> dict[str, str]:
        """Return what a stage's arrays are computed by: see `Results.made_by`."""
        return self.results.made_by(stage, subject)

    def tell(self, doing: str, done: int, total: int) -> None:
        """Report how much of a piece of work is done."""
        if self.progress is not None:
            self.progress(doing, done, total)

    def counter(self, doing: str) -> Callable[[int, int], None]:
        """Return a callback ``(done, total)`` about one piece of work."""
        return lambda done, total: self.tell(doing, done, total)

    @contextmanager
    def noting_warnings(self) -> Iterator[None]:
        """Note what is warned of for the report, each warning as it comes, and warn all the same."""
        filters, show = list(warnings.filters), warnings.showwarning

        def note(
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
            warnings.showwarning = note
            yield


def decoded_stem(name: str, shuffle: int | None) -> str:
    """Name the file of a decoded feature: ``z``, or ``shuffled0_z`` for the first shuffle."""
    return name if shuffle is None else f"shuffled{shuffle}_{name}"


def analyses_of(recipe: Recipe, ldm: Callable[[], LatentDiffusion]) -> tuple[Analysis, ...]:
    """List the encoding analyses that a recipe asks for; the model is needed only to choose layers."""
    return analyses(recipe.encode, auto=default_layers(ldm()) if AUTO in recipe.encode.layers else ())


def _join(recipe: Recipe, path: Path, device: str) -> Job:
    """Take up a job on a worker."""
    check_seen(path)
    return Job(recipe, Results.join(path, recipe), device)


def with_precision(recipe: Recipe, device: str) -> Recipe:
    """Return a recipe whose ``model.precision`` is the one that a device computes with, never ``"auto"``.

    The results folder records the precision, so that a run on another device is refused where it would compute with
    another one.
    """
    return with_changes(recipe, {"model.precision": choose_precision(recipe.model.precision, device)})


def fingerprint(trials: Trials, stimuli: Stimuli, split: Split) -> str:
    """Return the SHA-256 of a subject's data: all betas, labels, ROIs and folds, and a sample of the pictures."""
    total = hashlib.sha256()
    for array in (trials.betas, trials.stimulus_id, trials.session, trials.n_repetitions):
        total.update(np.ascontiguousarray(array).data)
    for name in sorted(trials.rois):
        total.update(name.encode() + np.packbits(trials.rois[name]).tobytes())
    for part in (ids for fold in split.folds for ids in fold):
        total.update(np.asarray(part, dtype=np.int64).tobytes())
    shown = np.unique(trials.stimulus_id)
    for stimulus in shown[np.linspace(0, len(shown) - 1, min(N_SAMPLED_PICTURES, len(shown))).astype(int)]:
        total.update(stimuli.image(int(stimulus)).tobytes() + "\n".join(stimuli.captions(int(stimulus))).encode())
    return f"sha256:{total.hexdigest()}"
