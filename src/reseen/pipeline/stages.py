"""Stages: from one file of the results folder to the next; each says whether there was anything to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import decode, encode, reconstruct, simulate
from reseen.analyses import in_order, layers_of
from reseen.features import Features
from reseen.files import as_metadata, writing_folder
from reseen.pipeline.job import Job, Progress, decoded_stem
from reseen.pipeline.mapping import export_maps
from reseen.recipe import Condition, Recipe
from reseen.tables import Level

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TRUTH = "reseen_truth.json"
"""The file that says that a tree is a digital subject's, whole."""


# ---------------------------------------------------------------------------------------------------- simulate


def simulate_stage(job: Job) -> bool:
    """Write the digital subject, unless the data are somebody's own or already there."""
    path = job.data.path
    if job.recipe.data.kind != "digital" or path is None or (path / TRUTH).is_file():
        return False
    job.ldm()  # a model that cannot be loaded is better known before a subject is drawn
    write_data_set(job.recipe, path, progress=job.progress)
    return True


def write_data_set(
    recipe: Recipe,
    out: Path,
    *,
    pictures: Path | None = None,
    nifti: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a data set of digital subjects; the folder is there whole or not at all.

    Parameters
    ----------
    recipe
        Its section ``simulate`` is followed.
    out
        The folder, which must not hold anything yet.
    pictures
        Folder of pictures and captions to show, instead of drawn ones.
    nifti
        Write the betas as NIfTI too.
    progress
        Called with what is being done, how much of it is done and how much there is.

    Raises
    ------
    ResultsError
        If the folder holds something already, or cannot be written.
    """
    with writing_folder(out) as part:
        simulate.simulate(part, recipe.simulate, pictures=pictures, nifti=nifti, progress=progress)


# ---------------------------------------------------------------------------------------------------- decode


def decode_stage(job: Job) -> bool:
    """Fit the decoders of z and c and predict the held-out items, with true and with shuffled brain rows."""
    worked = False
    for subject in job.subjects:
        for name, rois in (("z", job.recipe.decode.z_rois), ("c", job.recipe.decode.c_rois)):
            shuffles = (None, *range(job.recipe.evaluate.n_shuffles))
            paths = {shuffle: job.results.decode_path(subject, decoded_stem(name, shuffle)) for shuffle in shuffles}
            if missing := [shuffle for shuffle, path in paths.items() if not path.is_file()]:
                _decode(job, subject, name, rois, missing)
                worked = True
    return worked


def _decode(job: Job, subject: str, name: str, rois: Sequence[str], shuffles: Sequence[int | None]) -> None:
    """Fit one feature's decoders, true and shuffled; predictions are written last, and say that a shuffle is whole."""
    trials, _, split = job.brain(subject)
    recipe, made_by = job.recipe, job.made_by("decode", subject)
    decoding = decode.Decoding(
        trials,
        split,
        job.true(subject, name),
        rois=rois,
        recipe=recipe.decode,
        seed=recipe.seed,
        train_trials=recipe.data.train_trials,
        test_trials=recipe.data.test_trials,
    )
    for shuffle in shuffles:
        stem = decoded_stem(name, shuffle)
        job.tell(f"decode {stem} of {subject}", 0, 1)  # of how many blocks, the first to be done will say
        progress = job.counter(f"decode {stem} of {subject}")
        with job.noting_warnings():
            maps, decoded = decoding.run(shuffle=shuffle, executor=job.executor, progress=progress)
        for fold, fitted in enumerate(maps if shuffle is None else []):
            fitted.save(job.results.decode_path(subject, f"{stem}_fold{fold}"), as_metadata(made_by))
        job.results.save_features(job.results.decode_path(subject, stem), decoded, made_by)


# ---------------------------------------------------------------------------------------------------- encode


def encode_stage(job: Job) -> bool:
    """Fit the encoding models; the table is joined, and each voxel's numbers lie beside it, also as maps if asked."""
    worked = tabulate(job, "encoding", _encode)
    return export_maps(job) or worked


def _encode(job: Job, subject: str) -> pd.DataFrame:
    trials, _, split = job.brain(subject)
    names = in_order(job.analyses())
    table, voxels = encode.encode(
        trials, split, _true_in_turn(job, subject, names), recipe=job.recipe.encode, seed=job.recipe.seed
    )
    where = {} if trials.voxel_index is None else {"voxel_index": trials.voxel_index}
    made_by = {**job.made_by("encode", subject), "layers": json.dumps(layers_of(names))}
    job.results.save_arrays(job.results.encode_path(subject), {**voxels, **where}, made_by)
    return table


def _true_in_turn(job: Job, subject: str, names: Sequence[str]) -> Iterator[encode.Columns]:
    """Give feature spaces one at a time; what was done with one is done when the next is asked for."""
    for done, name in enumerate(names):
        job.tell(f"encode {subject}", done, len(names))
        yield job.blocks(subject, name)
    job.tell(f"encode {subject}", len(names), len(names))


def tabulate(job: Job, name: str, make: Callable[[Job, str], pd.DataFrame]) -> bool:
    """Make one table for each subject that has none yet, and join them; say whether there was anything to do."""
    import pandas as pd

    if (job.results.path / f"{name}.csv").is_file():
        return False
    parts = [f"{subject}/{name}" for subject in job.subjects]
    for subject, part in zip(job.subjects, parts, strict=True):
        if not (job.results.path / f"{part}.csv").is_file():
            job.results.save_table(part, make(job, subject))
    job.results.save_table(name, pd.concat([job.results.load_table(part) for part in parts], ignore_index=True))
    return True


# ---------------------------------------------------------------------------------------------------- reconstruct


@dataclass(frozen=True)
class Pictures:
    """Say which pictures one subject, level and condition have, and where they lie.

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
        """Say what is being done."""
        return f"reconstruct {self.subject} {self.level} {self.condition}"

    @property
    def missing(self) -> dict[tuple[int, int], Path]:
        """Give the path of each picture that is not made yet, by item and draw."""
        every = {(item, draw): path for item, row in enumerate(self.paths) for draw, path in enumerate(row)}
        return {which: path.absolute() for which, path in every.items() if not path.is_file()}


def levels(recipe: Recipe) -> tuple[Level, ...]:
    """Give the levels that pictures are made at."""
    wanted: list[Level] = ["result"]
    wanted += ["floor_shuffled"] if recipe.evaluate.n_shuffles else []
    wanted += ["ceiling"] if recipe.evaluate.ceiling else []
    return tuple(wanted)


def draws_at(recipe: Recipe, level: Level, condition: Condition) -> int:
    """Give how many pictures of each item a level has; at the shuffled floor one from each shuffle."""
    if level == "floor_shuffled":
        return recipe.evaluate.n_shuffles
    return reconstruct.n_draws(condition, recipe.reconstruct)


def pictures_of(job: Job, subject: str) -> Iterator[Pictures]:
    """Give every set of pictures of a subject, level by level.

    Items of ``result`` and ``floor_shuffled`` are those decoded, which may be single trials; those of ``ceiling`` are
    the stimuli themselves, each once. Draw k of ``floor_shuffled`` is made from the features of shuffle k.
    """
    decoded = job.decoded(subject, job.recipe.reconstruct.conditions[0][-1]).stimulus_id
    for level in levels(job.recipe):
        ids = np.unique(decoded) if level == "ceiling" else decoded
        single = len(np.unique(ids)) < len(ids)
        for condition in job.recipe.reconstruct.conditions:
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
    """Be one unit of work: some pictures of one subject, level and condition that are not made yet.

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
    for subject in job.subjects:
        every = list(pictures_of(job, subject))
        batches = [batch for pictures in every for batch in _batches(pictures, job.recipe.reconstruct.batch_size)]
        total = {pictures.label: sum(map(len, pictures.paths)) for pictures in every}
        done = dict(total)
        for batch in batches:
            done[batch.label] -= len(batch.paths)
        with job.noting_warnings():
            for number, _ in job.executor.run(_reconstruct, batches, job):
                label = batches[number].label
                done[label] += len(batches[number].paths)
                job.tell(label, done[label], total[label])
        worked = worked or bool(batches)
    return worked


def _batches(pictures: Pictures, size: int) -> Iterator[Batch]:
    """Cut the pictures that are missing into units of work, at the shuffled floor each draw alone."""
    parts: dict[int | None, list[tuple[tuple[int, int], Path]]] = {}
    for (item, draw), path in pictures.missing.items():
        shuffle = draw if pictures.level == "floor_shuffled" else None
        parts.setdefault(shuffle, []).append(((item, draw), path))
    of = pictures.label, pictures.subject, pictures.level, pictures.condition, pictures.stimulus_id
    for shuffle, part in parts.items():
        for start in range(0, len(part), size):
            yield Batch(*of, shuffle, dict(part[start : start + size]))


def _reconstruct(job: Job, batch: Batch) -> None:
    """Make the pictures of one batch, unless somebody has made them in the meantime."""
    z, c = (_given(job, batch, name) if name in batch.condition else None for name in ("z", "c"))
    reconstruct.reconstruct(
        job.ldm(),
        batch.condition,
        z,
        c,
        recipe=job.recipe.reconstruct,
        seed=job.recipe.seed,
        subject=batch.subject,
        write=lambda item, draw, picture: job.results.save_picture(batch.paths[item, draw], picture),
        draws=None if batch.shuffle is None else (batch.shuffle,),
        done=lambda *which: which not in batch.paths or batch.paths[which].is_file(),
    )


def _given(job: Job, batch: Batch, name: str) -> Features:
    """Give the features that a set of pictures is made from, one row for each item; the last are kept."""

    def read() -> Features:
        if batch.level != "ceiling":
            return job.decoded(batch.subject, name, shuffle=batch.shuffle)
        true = job.true(batch.subject, name)
        return Features(name, true.rows(batch.stimulus_id), batch.stimulus_id)

    return job.keep(f"given {name}", (batch.subject, batch.level, batch.shuffle), read)
