"""Stages: from one file of the results folder to the next; each says whether there was anything to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import decode, encode, reconstruct, simulate
from reseen.analyses import in_order, layers_of
from reseen.features import Features
from reseen.files import writing, writing_folder
from reseen.pipeline.job import Job, Progress, decoded_stem
from reseen.pipeline.mapping import export_maps
from reseen.recipe import Condition, Recipe
from reseen.results import Level, as_metadata

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
            for shuffle in (None, *range(job.recipe.evaluate.n_shuffles)):
                if not job.results.decode_path(subject, decoded_stem(name, shuffle)).is_file():
                    _decode(job, subject, name, rois, shuffle=shuffle)
                    worked = True
    return worked


def _decode(job: Job, subject: str, name: str, rois: Sequence[str], *, shuffle: int | None) -> None:
    """Fit one feature's decoders; the predictions are written last, and say that all is there."""
    trials, _, split = job.brain(subject)
    stem = decoded_stem(name, shuffle)
    job.tell(f"decode {stem} of {subject}", 0, 1)
    with job.noting_warnings():
        maps, decoded = decode.decode(
            trials,
            split,
            job.true(subject, name),
            rois=rois,
            recipe=job.recipe.decode,
            seed=job.recipe.seed,
            train_trials=job.recipe.data.train_trials,
            test_trials=job.recipe.data.test_trials,
            shuffle=shuffle,
        )
    made_by = job.made_by("decode", subject)
    for fold, fitted in enumerate(maps if shuffle is None else []):
        with writing(job.results.decode_path(subject, f"{stem}_fold{fold}")) as part:
            fitted.save(part, as_metadata(made_by))
    job.results.save_features(job.results.decode_path(subject, stem), decoded, made_by)
    job.tell(f"decode {stem} of {subject}", 1, 1)


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
    def missing(self) -> int:
        """Count the pictures that are not made yet."""
        return sum(not path.is_file() for row in self.paths for path in row)


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


def reconstruct_stage(job: Job) -> bool:
    """Make every picture that is not there yet."""
    worked = False
    for subject in job.subjects:
        for pictures in pictures_of(job, subject):
            if pictures.missing:
                _reconstruct(job, pictures)
                worked = True
    return worked


def _reconstruct(job: Job, pictures: Pictures) -> None:
    """Make what is missing of a set of pictures, at the shuffled floor one draw from each shuffle."""
    what = f"reconstruct {pictures.subject} {pictures.level} {pictures.condition}"
    if pictures.level != "floor_shuffled":
        _draw(job, pictures, what)
        return
    for shuffle in range(job.recipe.evaluate.n_shuffles):
        _draw(job, pictures, f"{what} {shuffle + 1}", shuffle)


def _draw(job: Job, pictures: Pictures, what: str, shuffle: int | None = None) -> None:
    z, c = (_given(job, pictures, name, shuffle) if name in pictures.condition else None for name in ("z", "c"))
    with job.noting_warnings():
        reconstruct.reconstruct(
            job.ldm(),
            pictures.condition,
            z,
            c,
            recipe=job.recipe.reconstruct,
            seed=job.recipe.seed,
            subject=pictures.subject,
            write=lambda item, draw, picture: job.results.save_picture(pictures.paths[item][draw], picture),
            done=lambda item, draw: pictures.paths[item][draw].is_file(),
            draws=None if shuffle is None else (shuffle,),
            progress=job.counter(what),
        )


def _given(job: Job, pictures: Pictures, name: str, shuffle: int | None) -> Features:
    """Give the features that a set of pictures is made from, one row for each item."""
    if pictures.level != "ceiling":
        return job.decoded(pictures.subject, name, shuffle=shuffle)
    true = job.true(pictures.subject, name)
    return Features(name, true.rows(pictures.stimulus_id), pictures.stimulus_id)
