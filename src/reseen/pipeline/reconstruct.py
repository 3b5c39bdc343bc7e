"""Reconstruct: the images of a subject, their paths, and the batches in which they are generated."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import reconstruction
from reseen.conditions import features_of
from reseen.errors import ResultsError
from reseen.features import Features
from reseen.files.reading import shown
from reseen.pipeline.context import Run, SubjectRun
from reseen.pipeline.controls import STORED_WITHOUT_RESPONSES, chance_features
from reseen.pipeline.image_writer import Save, Writer
from reseen.plugins import fingerprint_of
from reseen.recipe import Condition
from reseen.reconstruction.levels import conditions_at, levels_of, samples_at
from reseen.results import ResultsFolder
from reseen.tables import Level

if TYPE_CHECKING:
    from numpy.typing import NDArray


N_WRITERS = 8
"""Number of threads that write the images of a task on a worker."""
SEEN_SECONDS = 90
"""Maximum delay, in seconds, until a file of another machine is visible on a network disk."""


@dataclass(frozen=True)
class Images:
    """Images of one subject, level and condition, and their paths.

    Parameters
    ----------
    subject, level, condition
        Name of the subject, and level and condition of the images.
    stimulus_id
        Stimulus of each item, ``(n_items,)``.
    paths
        For each item, a path for each sample.
    """

    subject: str
    level: Level
    condition: Condition
    stimulus_id: NDArray[np.int64]
    paths: tuple[tuple[Path, ...], ...]

    @property
    def label(self) -> str:
        """Name of the step, for progress."""
        return f"reconstruct {self.subject} {self.level} {self.condition}"

    def missing(self, results: ResultsFolder) -> dict[tuple[int, int], Path]:
        """Return the path of each missing image, by item and sample; existing images are verified."""
        missing = {}
        for item, row in enumerate(self.paths):
            for sample, path in enumerate(row):
                if not results.has_image(path):
                    missing[item, sample] = path.absolute()
        return missing


def images_of(subject: SubjectRun) -> Iterator[Images]:
    """Yield every set of images of a subject, level by level.

    ``result`` and ``permuted`` have the decoded items, which may be single trials; ``chance_mean`` has the first test
    stimulus of each fold, since its images are equal within a fold; other levels have each test stimulus once. Sample k
    of ``permuted`` is generated from the features of permutation k.
    """
    recipe = subject.recipe
    decoded = subject.decoded(features_of(recipe.reconstruct.conditions[0])[-1]).stimulus_id
    for level in levels_of(recipe):
        ids = decoded if level in ("result", "permuted") else np.unique(decoded)
        if level == "chance_mean":
            ids = chance_features(subject, level, subject.run.decoded_names[0]).stimulus_id
        for condition in conditions_at(recipe, level):
            yield Images(subject.name, level, condition, ids, _paths(subject, level, condition, ids))


def _paths(
    subject: SubjectRun, level: Level, condition: Condition, ids: NDArray[np.int64]
) -> tuple[tuple[Path, ...], ...]:
    """Return the paths of each item's images; names of single trials have the number of the item."""
    n_samples = samples_at(subject.recipe, level, condition)
    single = len(np.unique(ids)) < len(ids)
    paths = []
    for item, stimulus in enumerate(ids.tolist()):
        trial = item if single else None
        path_of = partial(subject.results.image_path, subject.name, level, condition, stimulus, trial=trial)
        paths.append(tuple(map(path_of, range(n_samples))))
    return tuple(paths)


@dataclass(frozen=True)
class Batch:
    """One task: some missing images of one subject, level and condition.

    Parameters
    ----------
    label, subject, level, condition, stimulus_id
        As in their `Images`.
    permutation
        Permutation whose features they are generated from, at level ``permuted``.
    paths
        ``(item, sample)`` -> path of the image.
    """

    label: str
    subject: str
    level: Level
    condition: Condition
    stimulus_id: NDArray[np.int64]
    permutation: int | None
    paths: Mapping[tuple[int, int], Path]


def reconstruct(subject: SubjectRun) -> bool:
    """Generate every missing image of the subject; return whether any were missing."""
    run = subject.run
    name = run.recipe.reconstruct.sampler
    if ":" in name:  # the user's own function
        run.results.claim(f"sampler {name}", fingerprint_of(reconstruction.find_sampler(name)))
    _ = subject.grey  # decided and recorded here, before workers read it
    batches: list[Batch] = []
    n_total, n_done = {}, {}
    for images in images_of(subject):
        missing = list(_batches(run, images))
        n_total[images.label] = sum(map(len, images.paths))
        n_done[images.label] = n_total[images.label] - sum(len(batch.paths) for batch in missing)
        batches += missing
    with run.recording_warnings(), _writing_behind(run):
        for number, _ in run.executor.run(_reconstruct, batches, run):
            label = batches[number].label
            n_done[label] += len(batches[number].paths)
            run.report_progress(label, n_done[label], n_total[label])
    _check_written(batches)
    return bool(batches)


def _batches(run: Run, images: Images) -> Iterator[Batch]:
    """Divide the missing images into tasks; a task of level ``permuted`` has images of one permutation."""
    parts: dict[int | None, list[tuple[tuple[int, int], Path]]] = {}
    for (item, sample), path in images.missing(run.results).items():
        permutation = sample if images.level == "permuted" else None
        parts.setdefault(permutation, []).append(((item, sample), path))
    size = run.recipe.reconstruct.batch_size
    common = images.label, images.subject, images.level, images.condition, images.stimulus_id
    for permutation, part in parts.items():
        for start in range(0, len(part), size):
            yield Batch(*common, permutation, dict(part[start : start + size]))


@contextmanager
def _writing_behind(run: Run) -> Iterator[None]:
    """Write images of this process while the next ones are generated; at the end all are on disk.

    A kill loses the batch that is being generated, and the images of the previous batch that are not written yet.
    """
    try:
        with Writer(run.results.save_image, run.recipe.reconstruct.batch_size) as run.writer:
            yield
    finally:
        run.writer = None


def _reconstruct(run: Run, batch: Batch) -> None:
    """Generate the images of one batch, except those that another process has written in the meantime."""
    subject = run.subject(batch.subject)
    given = {name: _features(subject, batch, name) for name in features_of(batch.condition)}
    with _saving(run) as save:
        reconstruction.generate(
            run.model,
            batch.condition,
            given,
            recipe=run.recipe.reconstruct,
            seed=run.recipe.seed,
            subject=batch.subject,
            write=lambda item, sample, image: save(batch.paths[item, sample], image),
            jobs=[which for which, path in batch.paths.items() if not path.is_file()],
            as_grey=subject.grey,
        )


@contextmanager
def _saving(run: Run) -> Iterator[Save]:
    """Yield a function that writes an image, by the run's writer or, on a worker, by a writer of the task.

    A worker's task ends when its images are on disk. Several threads write them, so that the GPU waits little.
    """
    if run.writer is not None:
        yield run.writer.put
        return
    with Writer(run.results.save_image, run.recipe.reconstruct.batch_size, n_threads=N_WRITERS) as writer:
        yield writer.put


def _check_written(batches: Sequence[Batch]) -> None:
    """Check that every image of completed tasks is there.

    On a network disk, a file of another machine can be invisible for up to a minute.

    Raises
    ------
    ResultsError
        If an image is missing.
    """
    end = time.monotonic() + SEEN_SECONDS
    missing = [path for batch in batches for path in batch.paths.values()]
    n_written = len(missing)
    while missing := [path for path in missing if not path.is_file()]:
        if time.monotonic() >= end:
            raise ResultsError(
                f"{len(missing)} images that were written are missing; the first is {shown(missing[0])}. Check that "
                "every worker uses the same results folder, and run the same command again to generate them.",
                where=missing[0],
                expected=n_written,
                found=n_written - len(missing),
            )
        time.sleep(1)


def _features(subject: SubjectRun, batch: Batch, name: str) -> Features:
    """Return the features that a set of images is generated from, one row for each item."""
    if batch.level in STORED_WITHOUT_RESPONSES:
        return chance_features(subject, batch.level, name)
    if batch.level == "chance_noise":
        empty = subject.run.model.text_to_conditioning([""])
        return Features(name, np.repeat(empty, len(batch.stimulus_id), axis=0), batch.stimulus_id)
    if batch.level == "oracle":
        return subject.true_of_tested(name)
    return subject.decoded(name, permutation=batch.permutation)
