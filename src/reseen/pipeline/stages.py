"""Stages: from one file of the results folder to the next; each says whether there was anything to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reseen import encode, simulate
from reseen.analyses import in_order, layers_of
from reseen.datasets.nsd_facts import TRUTH
from reseen.datasets.nsd_pictures import read_truth
from reseen.datasets.predictions import predictions_path, read_predictions
from reseen.decode import Decoder, held_out
from reseen.decode.estimators import RIDGE
from reseen.decode.prior import DecodingUnderPrior
from reseen.errors import ResultsError
from reseen.files import writing_folder
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.pipeline.controls import decode_controls
from reseen.pipeline.job import Job, decoded_stem
from reseen.pipeline.mapping import export_maps
from reseen.pipeline.prospect import Progress
from reseen.plugins import fingerprint_of, load_object
from reseen.recipe import Recipe
from reseen.tables import ENCODING_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

# ---------------------------------------------------------------------------------------------------- simulate


def simulate_stage(job: Job) -> bool:
    """Write the digital subject, unless the data are somebody's own or already there."""
    path = job.data.path
    if job.recipe.data.kind != "digital" or path is None or (path / TRUTH).is_file():
        return False
    job.ldm()  # a model that cannot be loaded is better known before a subject is drawn
    write_data_set(job.recipe, path, progress=job.progress)
    return True


def check_settings(recipe: Recipe, path: Path | None) -> None:
    """Compare simulated subjects in a folder with the recipe that is to use them.

    Drawn pictures and the user's own are held against it alike: every setting decides both. Data of an older version
    tell their seed alone.

    Raises
    ------
    ResultsError
        If a setting of section ``simulate`` is another one than the data were made with.
    DataError
        If the file that tells these is damaged.
    """
    if recipe.data.kind != "digital" or path is None:
        return
    told = read_truth(path / TRUTH)
    made = told.get("simulate", {"seed": told["seed"]} if "seed" in told else {})
    wanted = recipe.simulate.model_dump(mode="json")
    if differ := [name for name, value in wanted.items() if made.get(name, value) != value]:
        values = "; ".join(
            f"simulate.{name}: expected {shown(str(made[name]))}, found {wanted[name]}" for name in differ
        )
        options = [word for name in differ for word in ("--set", f"simulate.{name}={made[name]}")]
        raise ResultsError(
            f"{shown(path)} holds digital subjects of another recipe. Expected is what they were made with, found is "
            f"what this recipe asks for: {values}. Use them with {shell_line(*options)}, or name another --data or "
            "--out."
        )


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
    own = job.recipe.decode.decoder
    if own != RIDGE:
        job.results.claim(f"decoder {own}", fingerprint_of(load_object(own, "decode.decoder")))
    for subject in job.subjects:
        for name in job.decoded_names:
            shuffles = (None, *range(job.recipe.n_permuted))
            paths = {shuffle: job.results.decode_path(subject, decoded_stem(name, shuffle)) for shuffle in shuffles}
            made_by = job.made_by("decode", subject)
            missing = [shuffle for shuffle, path in paths.items() if not job.results.has_arrays(path, made_by)]
            if missing and job.recipe.decode.elsewhere(name) is not None:
                _take_predictions(job, subject, name)
            elif missing:
                _decode(job, subject, name, missing)
            worked = worked or bool(missing)
        if job.recipe.evaluate.full:
            worked = decode_controls(job, subject) or worked
    return worked


def _take_predictions(job: Job, subject: str, name: str) -> None:
    """Copy predictions that were made elsewhere into the results folder."""
    path = job.recipe.decode.elsewhere(name)
    assert path is not None
    trials, _, split = job.facts(subject)
    ids = held_out(trials, split, test_trials=job.recipe.data.test_trials).stimulus_id
    shape = job.true(subject, name).array.shape[1:]
    found, digest = read_predictions(predictions_path(path, subject), name, shape, ids)
    job.results.claim(f"predictions of {name} of {subject}", digest)
    job.results.add_warning(
        f"{name} of {subject} was predicted elsewhere and read from {shown(path)}. No decoder was fitted here, so that "
        "there are no scores of decoders fitted on permuted labels."
    )
    job.results.save_features(job.results.decode_path(subject, name), found, job.made_by("decode", subject))


def _decode(job: Job, subject: str, name: str, shuffles: Sequence[int | None]) -> None:
    """Fit one feature's decoders, true and shuffled; predictions are written last, and say that a shuffle is whole."""
    made_by = job.made_by("decode", subject)
    _, _, split = job.facts(subject)
    linear = job.decoding(subject, name, split)
    under_prior = DecodingUnderPrior(linear) if job.under_prior(name) else None
    for shuffle in shuffles:
        stem = decoded_stem(name, shuffle)
        if under_prior is None or shuffle is None:
            with _decoding(job, subject, stem) as progress:
                decoders, decoded = linear.run(shuffle=shuffle, executor=job.executor, progress=progress)
            if job.keeps_decoder(name):
                _save_decoders(job, subject, stem, decoders, made_by)
        if under_prior is not None:
            with _decoding(job, subject, f"{stem} under its prior") as progress:
                decoded, found = under_prior.run(shuffle=shuffle, progress=progress)
            if shuffle is None:
                job.results.save_arrays(job.candidates_path(subject, name), vars(found), made_by)
        job.results.save_features(job.results.decode_path(subject, stem), decoded, made_by)


def _save_decoders(job: Job, subject: str, stem: str, decoders: Sequence[Decoder], made_by: Mapping[str, str]) -> None:
    """Write the decoder of each fold; there is none of a shuffle."""
    for fold, decoder in enumerate(decoders):
        arrays, described = decoder.describe()
        job.results.save_arrays(
            job.results.decode_path(subject, f"{stem}_fold{fold}"), arrays, {**made_by, **described}
        )


@contextmanager
def _decoding(job: Job, subject: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Report a decoding, record its warnings, and return the counter of its blocks."""
    job.tell(f"decode {what} of {subject}", 0, 1)  # of how many blocks, the first to be done will say
    with job.noting_warnings():
        yield job.counter(f"decode {what} of {subject}")


# ---------------------------------------------------------------------------------------------------- encode


def encode_stage(job: Job) -> bool:
    """Fit the encoding models; the table is joined, and each voxel's numbers lie beside it, also as maps if asked."""
    worked = tabulate(job, "encoding", _encode, ENCODING_COLUMNS)
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
    """Return feature spaces one at a time; what was done with one is done when the next is asked for."""
    for done, name in enumerate(names):
        job.tell(f"encode {subject}", done, len(names))
        yield job.blocks(subject, name)
    job.tell(f"encode {subject}", len(names), len(names))


def tabulate(job: Job, name: str, make: Callable[[Job, str], pd.DataFrame], columns: Sequence[str]) -> bool:
    """Make one table for each subject that has none yet, and join them; return whether there was anything to do.

    The tables are joined when stages work on all subjects, and not while they work on one.

    One with other columns, as an older version wrote it, counts as none. The report goes with what it was made from.
    """
    import pandas as pd

    if job.results.has_table(name, columns):
        return False
    (job.results.path / "report.html").unlink(missing_ok=True)
    parts = [f"{subject}/{name}" for subject in job.subjects]
    for subject, part in zip(job.subjects, parts, strict=True):
        if not job.results.has_table(part, columns):
            job.results.save_table(part, make(job, subject))
    if job.only is None:
        job.results.save_table(name, pd.concat([job.results.load_table(part) for part in parts], ignore_index=True))
    return True
