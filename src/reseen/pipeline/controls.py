"""Controls: what a full run decodes and makes beside the result, and what a finished decoder says of repetitions.

``chance_mean``, ``chance_random`` and ``chance_noise`` use no responses: they are generated from the mean z and c of
the training stimuli, from z and c of a random training stimulus for each test stimulus, and from neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reseen import diagnostics
from reseen.decode import Decoder
from reseen.evaluate import AT_RANDOM, CLUSTERS
from reseen.features import Features
from reseen.pipeline.context import SubjectRun
from reseen.tables import Level
from reseen.trials import Split

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


N_CLUSTERS = 8
"""Kinds of images, by c, of which one at a time is left out of the training."""
STORED_WITHOUT_RESPONSES: tuple[Level, ...] = ("chance_mean", "chance_random")
"""Levels without responses whose features are kept; the third, ``chance_noise``, has none."""
_FILE = {CLUSTERS: "without_cluster", AT_RANDOM: "without_some"}
_CLUSTERS = "clusters"


def decode_controls(subject: SubjectRun) -> bool:
    """Decode what a full run needs beside the result; each file is written once."""
    worked = False
    for name in subject.run.decoded_names:
        for level in STORED_WITHOUT_RESPONSES:
            if not _is_there(subject, f"{level}_{name}"):
                _save(subject, f"{level}_{name}", _without_responses(subject, name, level))
                worked = True
        for how in _FILE if subject.recipe.decode.elsewhere(name) is None else ():
            if not _is_there(subject, f"{_FILE[how]}_{name}"):
                _save(subject, f"{_FILE[how]}_{name}", _left_out(subject, name, how))
                worked = True
    return worked


def chance_features(subject: SubjectRun, level: Level, name: str) -> Features:
    """Return the features from which images of a level without responses are generated, one row for each image."""
    return subject.stored(f"{level}_{name}")


def left_out(subject: SubjectRun, name: str) -> dict[str, tuple[Features, Split]]:
    """Return what decoders without some of the training images make of the test images, and what these were."""
    return {how: (subject.stored(f"{stem}_{name}"), _split(subject, how)) for how, stem in _FILE.items()}


def repetitions(subject: SubjectRun, name: str) -> tuple[Features, Features]:
    """Decode the first showing of each test stimulus that was shown again, and the mean of its other showings."""
    shape = subject.true(name).array.shape[1:]
    parts: tuple[list[Features], list[Features]] = ([], [])
    for fold, (_, test) in enumerate(subject.split.folds):
        shown = subject.trials.select(test)
        ids, first, count = np.unique(shown.stimulus_id, return_index=True, return_counts=True)
        again = first[count > 1]
        if not len(again):
            continue
        others = np.setdiff1d(np.flatnonzero(np.isin(shown.stimulus_id, ids[count > 1])), again)
        decoder = Decoder.from_arrays(*subject.results.load_arrays(_path(subject, f"{name}_fold{fold}")))
        for part, rows in zip(parts, (shown.take(again), shown.take(others).average()), strict=True):
            part.append(decoder.predict(rows))
    return _join(name, shape, parts[0]), _join(name, shape, parts[1])


def _without_responses(subject: SubjectRun, name: str, level: Level) -> Features:
    """Return one row for each test stimulus, or where all get the same, for the first of each fold."""
    true = subject.true(name)
    rows, ids = [], []
    for fold, (train, test) in enumerate(subject.split.folds):
        if level == "chance_mean":
            known = true.rows(train)
            rows.append(known.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32))
            ids.append(test[:1])
        else:
            drawn = np.random.default_rng([subject.recipe.seed, 6, fold]).choice(train, len(test))
            rows.append(true.rows(drawn))
            ids.append(test)
    return _in_order(Features(name, np.concatenate(rows), np.concatenate(ids)))


def _left_out(subject: SubjectRun, name: str, how: str) -> Features:
    decoding = subject.decoding(name, _split(subject, how))
    progress = subject.run.counter(f"decode {name} of {subject.name}, {how} left out")
    return decoding.run(weights=False, executor=subject.run.executor, progress=progress)[1]


def _split(subject: SubjectRun, how: str) -> Split:
    """Return the split that tests each stimulus with a decoder fitted without its group."""
    split = subject.split
    path = _path(subject, _CLUSTERS)
    if not _is_there(subject, _CLUSTERS):
        ids = np.unique(np.concatenate([part for fold in split.folds for part in fold]))
        sorted_by = subject.run.decoded_names[-1]  # c, but where z alone is decoded
        shown = Features(sorted_by, subject.true(sorted_by).rows(ids), ids)
        groups = sort_stimuli(shown, split, seed=subject.recipe.seed)
        arrays = {"stimulus_id": ids, **{stem: groups[how] for how, stem in _FILE.items()}}
        subject.results.save_arrays(path, arrays, subject.computed_by("decode"))
    kept, _ = subject.results.load_arrays(path)
    return without_groups(split, kept["stimulus_id"], kept[_FILE[how]])


def sort_stimuli(features: Features, split: Split, *, seed: int) -> dict[str, NDArray[np.int64]]:
    """Sort stimuli into clusters of their features, and into groups of the same sizes that hold stimuli of all kinds.

    Returns
    -------
    ``CLUSTERS`` and ``AT_RANDOM`` -> the group of each stimulus, ``(n_stimuli,)``. Each group has as many test stimuli
    as the cluster of its number, and as many others. Where all features are alike, both are groups of all kinds.
    """
    found = diagnostics.clusters(features.flat, N_CLUSTERS, seed=seed)
    rng = np.random.default_rng([seed, 7])
    if not found.any():
        found = rng.permutation(np.arange(len(found)) % N_CLUSTERS)
    mixed = found.copy()
    tested = np.isin(features.stimulus_id, split.test_ids)
    for part in (tested, ~tested):
        mixed[part] = rng.permutation(found[part])
    return {CLUSTERS: found, AT_RANDOM: mixed}


def without_groups(split: Split, stimulus_id: NDArray[np.int64], group: NDArray[np.int64]) -> Split:
    """Test the test stimuli of each group with what is trained on all training stimuli of other groups."""
    known = np.unique(np.concatenate([train for train, _ in split.folds]))
    folds = []
    for number in np.unique(group):
        test = np.intersect1d(split.test_ids, stimulus_id[group == number])
        if len(test):
            folds.append((np.setdiff1d(known, stimulus_id[group == number]), test))
    return Split(tuple(folds))


def _join(name: str, shape: Sequence[int], parts: Sequence[Features]) -> Features:
    if not parts:
        return Features(name, np.empty((0, *shape), dtype=np.float32), np.empty(0, dtype=np.int64))
    array, ids = (np.concatenate([getattr(part, what) for part in parts]) for what in ("array", "stimulus_id"))
    return _in_order(Features(name, array, ids))


def _in_order(features: Features) -> Features:
    order = np.argsort(features.stimulus_id, kind="stable")
    return Features(features.name, features.array[order], features.stimulus_id[order])


def _path(subject: SubjectRun, stem: str) -> Path:
    return subject.decode_path(stem)


def _is_there(subject: SubjectRun, stem: str) -> bool:
    return subject.results.has_arrays(_path(subject, stem), subject.computed_by("decode"))


def _save(subject: SubjectRun, stem: str, features: Features) -> None:
    subject.results.save_features(_path(subject, stem), features, subject.computed_by("decode"))
