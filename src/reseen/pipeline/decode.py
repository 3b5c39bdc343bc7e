"""Decode: fit the decoders of a subject and predict the held-out items, with true and with permuted labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reseen.datasets.predictions import predictions_path, read_predictions
from reseen.decode import Decoder, Decoding
from reseen.decode.estimators import RIDGE
from reseen.decode.prior import Candidates, DecodingUnderPrior
from reseen.files.reading import shown
from reseen.pipeline.context import SubjectRun, decoded_stem
from reseen.pipeline.controls import decode_controls
from reseen.plugins import fingerprint_of, load_object
from reseen.results import DecodedCaption, has_captions, save_captions
from reseen.tables import TRIAL_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def decode(subject: SubjectRun) -> bool:
    """Fit the decoder of each feature and predict the held-out items; return whether any result was missing."""
    run, results = subject.run, subject.results
    own = run.recipe.decode.decoder
    if own != RIDGE:
        results.claim(f"decoder {own}", fingerprint_of(load_object(own, "decode.decoder")))
    worked = _copy_trial_table(subject)
    computed_by = subject.computed_by("decode")
    linear = None
    for name in run.decoded_names:
        permutations = (None, *range(run.recipe.n_permuted))
        paths = {permutation: subject.decode_path(decoded_stem(name, permutation)) for permutation in permutations}
        missing = [permutation for permutation, path in paths.items() if not results.has_arrays(path, computed_by)]
        if name == "t" and None not in missing and not has_captions(results, subject.name):
            missing.insert(0, None)
        if missing and run.recipe.decode.elsewhere(name) is not None:
            _copy_predictions(subject, name)
        elif missing and name == "t" and run.recipe.states is not None:
            _write_captions(subject, missing, run.recipe.states)
        elif missing:
            linear = subject.decoding(name, subject.split, linear)
            _decode(subject, name, missing, linear)
        worked = worked or bool(missing)
    if run.recipe.evaluate.full:
        worked = decode_controls(subject) or worked
    return worked


def _copy_trial_table(subject: SubjectRun) -> bool:
    """Copy a lab's trial table with the stimulus id of each trial; return whether it was missing.

    A lab's own columns, such as reaction times, can then be joined with every table on ``stimulus_id``.
    """
    import pandas as pd

    name = f"{subject.name}/trials"
    if not subject.columns or subject.results.has_table(name, TRIAL_COLUMNS):
        return False
    subject.results.save_table(name, pd.DataFrame({"stimulus_id": subject.facts.stimulus_id, **subject.columns}))
    return True


def _copy_predictions(subject: SubjectRun, name: str) -> None:
    """Copy predictions of other software into the results folder."""
    path = subject.recipe.decode.elsewhere(name)
    assert path is not None
    averaged = subject.recipe.data.test_trials == "averaged"
    ids, fold = subject.split.items(subject.facts.stimulus_id, averaged=averaged)
    shape = subject.true(name).array.shape[1:]
    found, digest = read_predictions(predictions_path(path, subject.name), name, shape, ids)
    subject.results.claim(f"predictions of {name} of {subject.name}", digest)
    subject.results.add_warning(
        f"{name} of {subject.name} was predicted elsewhere and read from {shown(path)}. No decoder was fitted here, so "
        "there are no scores of decoders fitted on permuted labels."
    )
    if subject.split.group is not None:
        found = replace(found, fold=fold)
    subject.results.save_features(subject.decode_path(name), found, subject.computed_by("decode"))


def _decode(subject: SubjectRun, name: str, permutations: Sequence[int | None], linear: Decoding) -> None:
    """Fit one feature's decoders; predictions are written last, and mark a permutation as complete."""
    run, results = subject.run, subject.results
    computed_by = subject.computed_by("decode")
    under_prior = DecodingUnderPrior(linear) if run.uses_prior(name) else None
    for permutation in permutations:
        stem = decoded_stem(name, permutation)
        if under_prior is None or permutation is None:
            with _decoding(subject, stem) as progress:
                decoders, decoded = linear.run(permutation=permutation, executor=run.executor, progress=progress)
            if run.keeps_decoder(name):
                _save_decoders(subject, stem, decoders, computed_by)
        if under_prior is not None:
            with _decoding(subject, f"{stem} under its prior") as progress:
                oracle = name == "t" and permutation is None
                decoded, found = under_prior.run(permutation=permutation, oracle=oracle, progress=progress)
            if name == "t":
                decoded = replace(decoded, array=subject.true(name).rows(found.stimulus_id[:, 0]))
            if permutation is None:
                arrays = {key: array for key, array in vars(found).items() if array is not None}
                results.save_arrays(subject.decode_path(f"{name}_candidates"), arrays, computed_by)
                if found.of_true is not None:
                    _save_captions(subject, decoded.stimulus_id, found, found.of_true)
        results.save_features(subject.decode_path(stem), decoded, computed_by)


def _write_captions(subject: SubjectRun, permutations: Sequence[int | None], states: str) -> None:
    """Write captions from decoded hidden states; t is the conditioning of the captions."""
    run, results, captioner = subject.run, subject.results, subject.run.captioner
    for permutation in permutations:
        decoded, stem = subject.decoded(states, permutation=permutation), decoded_stem("t", permutation)
        with _decoding(subject, f"{stem}: write captions") as progress:
            captions = captioner.states_to_captions(decoded.array)
            if permutation is None:
                true = subject.true_of_tested(states)  # sorted by stimulus, each once
                oracle = captioner.states_to_captions(true.array)
                row = true.where(decoded.stimulus_id)
                items = zip(decoded.stimulus_id.tolist(), captions, row.tolist(), strict=True)
                written = [DecodedCaption(item, caption, oracle[number]) for item, caption, number in items]
                save_captions(results, subject.name, written)
            conditioning = run.model.text_to_conditioning(captions)
            progress(1, 1)
        features = replace(decoded, name="t", array=conditioning)
        results.save_features(subject.decode_path(stem), features, subject.computed_by("decode"))


def _save_captions(
    subject: SubjectRun, items: NDArray[np.int64], found: Candidates, of_true: NDArray[np.int64]
) -> None:
    """Write the decoded caption of each item, and the one that the true features select."""
    captions = []
    for row, item in enumerate(items.tolist()):
        training, oracle = int(found.stimulus_id[row, 0]), int(of_true[row])
        captions.append(
            DecodedCaption(
                stimulus_id=item,
                caption=subject.stimuli.captions(training)[0],
                training_stimulus_id=training,
                probability=round(float(found.probability[row, 0]), 6),
                oracle_caption=subject.stimuli.captions(oracle)[0],
                oracle_training_stimulus_id=oracle,
            )
        )
    save_captions(subject.results, subject.name, captions)


def _save_decoders(subject: SubjectRun, stem: str, decoders: Sequence[Decoder], computed_by: Mapping[str, str]) -> None:
    """Write the decoder of each fold; with permuted labels there are none."""
    for fold, decoder in enumerate(decoders):
        arrays, described = decoder.describe()
        subject.results.save_arrays(subject.decode_path(f"{stem}_fold{fold}"), arrays, {**computed_by, **described})


@contextmanager
def _decoding(subject: SubjectRun, what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the progress callback of a decoding, and record its warnings."""
    progress = subject.run.counter(f"decode {what} of {subject.name}")
    progress(0, 1)  # the number of blocks is known after the first one
    with subject.run.recording_warnings():
        yield progress
