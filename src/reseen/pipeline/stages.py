"""Stages: from one file of the results folder to the next; each says whether there was anything to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen import decode, encode, extract, reconstruct, simulate
from reseen.features import Features
from reseen.files import writing, writing_folder
from reseen.pipeline.job import Job, Progress
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


# ---------------------------------------------------------------------------------------------------- extract


def extract_stage(job: Job) -> bool:
    """Extract z and c of every picture that a subject was shown."""
    worked = False
    for subject in job.subjects:
        paths = {name: job.results.features_path(f"{subject}/{name}") for name in ("z", "c")}
        if all(path.is_file() for path in paths.values()):
            continue
        _, stimuli, split = job.brain(subject)
        shown = np.unique(np.concatenate([ids for fold in split.folds for ids in fold]))
        found = extract.extract(
            stimuli, shown, job.ldm(), recipe=job.recipe.extract, progress=job.counter(f"extract {subject}")
        )
        for name, path in paths.items():
            job.results.save_features(path, found[name], job.made_by("extract", subject))
        worked = True
    return worked


# ---------------------------------------------------------------------------------------------------- decode


def decode_stage(job: Job) -> bool:
    """Fit the decoders of z and c and predict the held-out items, with true and with shuffled brain rows."""
    worked = False
    for subject in job.subjects:
        for name, rois in (("z", job.recipe.decode.z_rois), ("c", job.recipe.decode.c_rois)):
            for shuffled in (False, True) if job.recipe.evaluate.floor_shuffled else (False,):
                stem = f"{'shuffled_' if shuffled else ''}{name}"
                if not job.results.decode_path(subject, stem).is_file():
                    _decode(job, subject, name, rois, shuffled=shuffled)
                    worked = True
    return worked


def _decode(job: Job, subject: str, name: str, rois: Sequence[str], *, shuffled: bool) -> None:
    """Fit one feature's decoders; the predictions are written last, and say that all is there."""
    trials, _, split = job.brain(subject)
    stem = f"{'shuffled_' if shuffled else ''}{name}"
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
            shuffle=shuffled,
        )
    made_by = job.made_by("decode", subject)
    for fold, fitted in enumerate([] if shuffled else maps):
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
    features = [job.true(subject, name) for name in job.recipe.encode.features]
    job.tell(f"encode {subject}", 0, 1)
    with job.noting_warnings():
        table, voxels = encode.encode(trials, split, features, recipe=job.recipe.encode, seed=job.recipe.seed)
    where = {} if trials.voxel_index is None else {"voxel_index": trials.voxel_index}
    job.results.save_arrays(job.results.encode_path(subject), {**voxels, **where}, job.made_by("encode", subject))
    job.tell(f"encode {subject}", 1, 1)
    return table


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
    wanted += ["floor_shuffled"] if recipe.evaluate.floor_shuffled else []
    wanted += ["ceiling"] if recipe.evaluate.ceiling else []
    return tuple(wanted)


def pictures_of(job: Job, subject: str) -> Iterator[Pictures]:
    """Give every set of pictures of a subject, level by level.

    Items of ``result`` and ``floor_shuffled`` are those decoded, which may be single trials; those of ``ceiling`` are
    the stimuli themselves, each once.
    """
    decoded = job.decoded(subject, job.recipe.reconstruct.conditions[0][-1]).stimulus_id
    for level in levels(job.recipe):
        ids = np.unique(decoded) if level == "ceiling" else decoded
        single = len(np.unique(ids)) < len(ids)
        for condition in job.recipe.reconstruct.conditions:
            n_draws = reconstruct.n_draws(condition, job.recipe.reconstruct)
            paths = tuple(
                tuple(
                    job.results.picture_path(
                        subject, level, condition, int(stimulus), draw, trial=item if single else None
                    )
                    for draw in range(n_draws)
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
    z, c = (_given(job, pictures, name) if name in pictures.condition else None for name in ("z", "c"))
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
            progress=job.counter(f"reconstruct {pictures.subject} {pictures.level} {pictures.condition}"),
        )


def _given(job: Job, pictures: Pictures, name: str) -> Features:
    """Give the features that a set of pictures is made from, one row for each item."""
    if pictures.level != "ceiling":
        return job.decoded(pictures.subject, name, shuffled=pictures.level == "floor_shuffled")
    true = job.true(pictures.subject, name)
    return Features(name, true.rows(pictures.stimulus_id), pictures.stimulus_id)
