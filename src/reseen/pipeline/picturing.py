"""The stage of the pictures: which there are, where they lie, and the batches in which they are made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import reconstruction
from reseen.errors import ResultsError
from reseen.features import Features
from reseen.files.reading import shown
from reseen.pipeline.controls import WITHOUT_BRAIN, floor_features
from reseen.pipeline.job import Job
from reseen.pipeline.writing import Save, Writer
from reseen.plugins import fingerprint_of
from reseen.recipe import Condition, Recipe
from reseen.results import Results
from reseen.tables import NO_BRAIN, Level

if TYPE_CHECKING:
    from numpy.typing import NDArray


N_WRITERS = 8
"""Threads that write the images of a unit on a worker."""
SEEN_SECONDS = 90
"""How long a file that another machine wrote may take to be seen."""


@dataclass(frozen=True)
class Pictures:
    """Images of one subject, level and condition, and their paths.

    Parameters
    ----------
    subject, level, condition
        Which.
    stimulus_id
        Shape ``(n_items,)``.
    paths
        For each item, a path for each draw.
    """

    subject: str
    level: Level
    condition: Condition
    stimulus_id: NDArray[np.int64]
    paths: tuple[tuple[Path, ...], ...]

    @property
    def label(self) -> str:
        """Name of the work, for progress."""
        return f"reconstruct {self.subject} {self.level} {self.condition}"

    def missing(self, results: Results) -> dict[tuple[int, int], Path]:
        """Return the path of each image that is not made yet, by item and draw; those that are there are verified."""
        every = {(item, draw): path for item, row in enumerate(self.paths) for draw, path in enumerate(row)}
        return {which: path.absolute() for which, path in every.items() if not results.has_picture(path)}


def levels(recipe: Recipe) -> tuple[Level, ...]:
    """Return the levels that pictures are made at."""
    wanted: list[Level] = ["result"]
    wanted += ["floor_shuffled"] if recipe.n_permuted else []
    wanted += NO_BRAIN if recipe.evaluate.full else ()
    wanted += ["ceiling"] if recipe.evaluate.ceiling else []
    return tuple(wanted)


def conditions_at(recipe: Recipe, level: Level) -> tuple[Condition, ...]:
    """Return the conditions that a level makes pictures in; noise without a caption is the same for all that draw."""
    conditions = recipe.reconstruct.conditions
    if level == "floor_noise":
        return ("c",) if any("c" in condition for condition in conditions) else ()
    return conditions


def draws_at(recipe: Recipe, level: Level, condition: Condition) -> int:
    """Return how many pictures of each item a level has; at the shuffled floor one from each shuffle."""
    if level == "floor_shuffled":
        return recipe.n_permuted
    return reconstruction.n_draws(condition, recipe.reconstruct)


def pictures_of(job: Job, subject: str) -> Iterator[Pictures]:
    """Return every set of pictures of a subject, level by level.

    Items of ``result`` and ``floor_shuffled`` are those decoded, which may be single trials; those of ``floor_mean``
    one stimulus of each fold, which stands for all of them; those of other levels the stimuli themselves, each once.
    Draw k of ``floor_shuffled`` is made from the features of shuffle k.
    """
    decoded = job.decoded(subject, job.recipe.reconstruct.conditions[0][-1]).stimulus_id
    for level in levels(job.recipe):
        ids = decoded if level in ("result", "floor_shuffled") else np.unique(decoded)
        if level == "floor_mean":
            ids = floor_features(job, subject, level, conditions_at(job.recipe, level)[0][0]).stimulus_id
        single = len(np.unique(ids)) < len(ids)
        for condition in conditions_at(job.recipe, level):
            paths = tuple(
                tuple(
                    job.results.picture_path(
                        subject, level, condition, int(stimulus), draw, trial=item if single else None
                    )
                    for draw in range(draws_at(job.recipe, level, condition))
                )
                for item, stimulus in enumerate(ids)
            )
            yield Pictures(subject, level, condition, ids, paths)


@dataclass(frozen=True)
class Batch:
    """One unit of work: some pictures of one subject, level and condition that are not made yet.

    Parameters
    ----------
    label, subject, level, condition, stimulus_id
        Of the `Pictures` they belong to.
    shuffle
        Which shuffle's features they are made from, at the shuffled floor.
    paths
        ``(item, draw)`` -> where to write.
    """

    label: str
    subject: str
    level: Level
    condition: Condition
    stimulus_id: NDArray[np.int64]
    shuffle: int | None
    paths: Mapping[tuple[int, int], Path]


def reconstruct_stage(job: Job) -> bool:
    """Make every picture that is not there yet."""
    worked = False
    name = job.recipe.reconstruct.sampler
    if name != "ddim":
        job.results.claim(f"sampler {name}", fingerprint_of(reconstruction.find_sampler(name)))
    for subject in job.subjects:
        every = list(pictures_of(job, subject))
        batches = [batch for pictures in every for batch in _batches(job, pictures)]
        total = {pictures.label: sum(map(len, pictures.paths)) for pictures in every}
        done = dict(total)
        for batch in batches:
            done[batch.label] -= len(batch.paths)
        with job.noting_warnings(), _writing_behind(job):
            for number, _ in job.executor.run(_reconstruct, batches, job):
                label = batches[number].label
                done[label] += len(batches[number].paths)
                job.tell(label, done[label], total[label])
        _check_written(batches)
        worked = worked or bool(batches)
    return worked


def _batches(job: Job, pictures: Pictures) -> Iterator[Batch]:
    """Cut the pictures that are missing into units of work, at the shuffled floor each draw alone."""
    parts: dict[int | None, list[tuple[tuple[int, int], Path]]] = {}
    for (item, draw), path in pictures.missing(job.results).items():
        shuffle = draw if pictures.level == "floor_shuffled" else None
        parts.setdefault(shuffle, []).append(((item, draw), path))
    size = job.recipe.reconstruct.batch_size
    of = pictures.label, pictures.subject, pictures.level, pictures.condition, pictures.stimulus_id
    for shuffle, part in parts.items():
        for start in range(0, len(part), size):
            yield Batch(*of, shuffle, dict(part[start : start + size]))


@contextmanager
def _writing_behind(job: Job) -> Iterator[None]:
    """Write images of this process while the next ones are generated; at the end all are on disk.

    A kill costs the batch that is being made and what waits of the one before.
    """
    try:
        with Writer(job.results.save_picture, job.recipe.reconstruct.batch_size) as job.writer:
            yield
    finally:
        job.writer = None


def _reconstruct(job: Job, batch: Batch) -> None:
    """Compute the images of one batch, unless somebody has made them in the meantime."""
    z, c = (_given(job, batch, name) if name in batch.condition else None for name in ("z", "c"))
    with _saving(job) as save:
        reconstruction.generate(
            job.ldm(),
            batch.condition,
            z,
            c,
            recipe=job.recipe.reconstruct,
            seed=job.recipe.seed,
            subject=batch.subject,
            write=lambda item, draw, picture: save(batch.paths[item, draw], picture),
            jobs=[which for which, path in batch.paths.items() if not path.is_file()],
        )


@contextmanager
def _saving(job: Job) -> Iterator[Save]:
    """Return what writes an image of a unit: the writer that outlives the unit, or on a worker one for the unit.

    A unit of a worker ends when its images are on disk. Several threads write them, so that a GPU waits little.
    """
    if job.writer is not None:
        yield job.writer.put
        return
    with Writer(job.results.save_picture, job.recipe.reconstruct.batch_size, n_threads=N_WRITERS) as writer:
        yield writer.put


def _check_written(batches: Sequence[Batch]) -> None:
    """Check that every image of units that are done is there.

    On a network disk, a file that another machine wrote can take up to a minute to be seen.

    Raises
    ------
    ResultsError
        If one is missing.
    """
    end = time.monotonic() + SEEN_SECONDS
    missing = [path for batch in batches for path in batch.paths.values()]
    while missing := [path for path in missing if not path.is_file()]:
        if time.monotonic() >= end:
            raise ResultsError(
                f"{len(missing)} images that were written are not there; the first is {shown(missing[0])}. Check that "
                "every worker sees the same results folder and run the same command again: it makes them again."
            )
        time.sleep(1)


def _given(job: Job, batch: Batch, name: str) -> Features:
    """Return the features that a set of pictures is made from, one row for each item; the last are kept."""

    def read() -> Features:
        if batch.level in WITHOUT_BRAIN:
            return floor_features(job, batch.subject, batch.level, name)
        if batch.level == "floor_noise":
            empty = job.ldm().text_to_conditioning([""])
            return Features(name, np.repeat(empty, len(batch.stimulus_id), axis=0), batch.stimulus_id)
        if batch.level != "ceiling":
            return job.decoded(batch.subject, name, shuffle=batch.shuffle)
        true = job.true(batch.subject, name)
        return Features(name, true.rows(batch.stimulus_id), batch.stimulus_id)

    return job.keep(f"given {name}", (batch.subject, batch.level, batch.shuffle), read)
