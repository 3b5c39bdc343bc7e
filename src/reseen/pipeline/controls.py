"""Controls of a full run: chance levels without responses, decoders without some images, repetitions and single trials.

Images of ``chance_mean`` are generated from the mean z and c of the training stimuli, those of ``chance_random`` from
z and c of a random training stimulus for each test stimulus, and those of ``chance_noise`` from neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reseen import diagnostics
from reseen.conditions import STATES
from reseen.decode import Decoder
from reseen.decode.uncertainty import COVERAGES, inside_intervals, predictive_sd
from reseen.evaluate import AT_RANDOM, CLUSTERS
from reseen.features import Features
from reseen.pipeline.context import SubjectRun
from reseen.split import Split
from reseen.tables import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


N_CLUSTERS = 8
"""Number of clusters of images, by c; one at a time is left out of the training."""
STORED_WITHOUT_RESPONSES: tuple[Level, ...] = ("chance_mean", "chance_random")
"""Levels without responses whose features are stored; the third, ``chance_noise``, has none."""
_FILE = {CLUSTERS: "without_cluster", AT_RANDOM: "without_some"}
_CLUSTERS = "clusters"


def decode_controls(subject: SubjectRun) -> bool:
    """Compute the features of the controls that are not stored yet; return whether any were missing."""
    worked = False
    for name in subject.run.decoded_names:
        for level in STORED_WITHOUT_RESPONSES:
            if not _is_stored(subject, f"{level}_{name}"):
                _save(subject, f"{level}_{name}", _without_responses(subject, name, level))
                worked = True
        if not subject.run.fits_decoder(name):
            continue
        for how, stem in _FILE.items():
            if not _is_stored(subject, f"{stem}_{name}"):
                _save(subject, f"{stem}_{name}", _left_out(subject, name, how))
                worked = True
    return worked


def chance_features(subject: SubjectRun, level: Level, name: str) -> Features:
    """Return the features that images of a level without responses are generated from, one row for each image."""
    return subject.stored(f"{level}_{name}")


def left_out(subject: SubjectRun, name: str) -> dict[str, tuple[Features, Split]]:
    """Return the features that decoders without some training images predict, and the split of these decoders."""
    return {how: (subject.stored(f"{stem}_{name}"), _split(subject, how)) for how, stem in _FILE.items()}


class Presentations(NamedTuple):
    """Test stimuli decoded from some of their presentations.

    Parameters
    ----------
    first, others
        Features of each repeated stimulus: from its first presentation, and from the mean of the others.
    stimulus_id
        Shape ``(n_items,)``: all test stimuli; without items if the decoders do not know their uncertainty.
    inside
        Shape ``(n_coverages, n_items)``: from the first presentation, the proportion of true numbers inside the
        decoder's intervals of each of ``COVERAGES``.
    """

    first: Features
    others: Features
    stimulus_id: NDArray[np.int64]
    inside: NDArray[np.float64]


def decode_presentations(subject: SubjectRun, name: str) -> Presentations:
    """Decode single presentations of the test stimuli, and compare the true features with the decoder's intervals."""
    true, split = subject.true(name), subject.split
    decoded_first, decoded_others = [], []
    tested, inside = [np.empty(0, dtype=np.int64)], [np.empty((len(COVERAGES), 0))]
    for fold in range(len(split.folds)):
        decoder = Decoder.from_arrays(*subject.results.load_arrays(subject.decode_path(f"{name}_fold{fold}")))
        trials = subject.trials.take(split.test_rows(fold, subject.trials.stimulus_id))
        ids, first, count = np.unique(trials.stimulus_id, return_index=True, return_counts=True)
        sd = predictive_sd(decoder)
        if sd is not None:
            predicted = decoder.predict(trials.take(first)).array
            tested.append(ids)
            inside.append(inside_intervals(predicted, true.rows(ids), sd))
        repeated = first[count > 1]
        if not len(repeated):
            continue
        others = np.setdiff1d(np.flatnonzero(np.isin(trials.stimulus_id, ids[count > 1])), repeated)
        number = None if split.group is None else np.full(len(repeated), fold)
        decoded_first.append(replace(decoder.predict(trials.take(repeated)), fold=number))
        decoded_others.append(replace(decoder.predict(trials.take(others).average()), fold=number))
    shape = true.array.shape[1:]
    return Presentations(
        _join(name, shape, decoded_first),
        _join(name, shape, decoded_others),
        np.concatenate(tested),
        np.concatenate(inside, axis=1),
    )


def _without_responses(subject: SubjectRun, name: str, level: Level) -> Features:
    """Return one row for each test stimulus; for ``chance_mean``, whose rows are equal, only one for each fold.

    The random training stimulus of a test stimulus is of the first fold that tests it.
    """
    true, split = subject.true(name), subject.split
    rows, ids = [], []
    done = np.empty(0, dtype=np.int64)
    for fold, (train, test) in enumerate(split.folds):
        if level == "chance_mean":
            mean = true.rows(train).mean(axis=0, dtype=np.float64, keepdims=True)
            rows.append(mean.astype(np.float32))
            ids.append(np.array([fold_image_id(split, fold)]))
        else:
            rng = np.random.default_rng([subject.recipe.seed, 6, fold])
            chosen, new = rng.choice(train, len(test)), ~np.isin(test, done)
            rows.append(true.rows(chosen[new]))
            ids.append(test[new])
            done = np.union1d(done, test)
    return _in_order(Features(name, np.concatenate(rows), np.concatenate(ids)))


def fold_image_id(split: Split, fold: int) -> int:
    """Return the id of a fold's image of ``chance_mean``: its first test stimulus, or its number.

    Where groups of trials are left out, several folds may test the same stimuli.
    """
    return int(split.folds[fold][1][0]) if split.group is None else fold


def _left_out(subject: SubjectRun, name: str, how: str) -> Features:
    decoding = subject.decoding(name, _split(subject, how))
    progress = subject.run.counter(f"decode {name} of {subject.name}, {how} left out")
    return decoding.run(weights=False, executor=subject.run.executor, progress=progress)[1]


def _split(subject: SubjectRun, how: str) -> Split:
    """Return the split that tests each stimulus with a decoder fitted without its group."""
    split, path = subject.split, subject.decode_path(_CLUSTERS)
    if not _is_stored(subject, _CLUSTERS):
        ids = split.used
        names = subject.run.decoded_names
        feature = "c" if "c" in names else next(name for name in names if name not in STATES)
        true = Features(feature, subject.true(feature).rows(ids), ids)
        groups = group_stimuli(true, split, seed=subject.recipe.seed)
        arrays = {"stimulus_id": ids, **{stem: groups[how] for how, stem in _FILE.items()}}
        subject.results.save_arrays(path, arrays, subject.computed_by("decode"))
    stored, _ = subject.results.load_arrays(path)
    return without_groups(split, stored["stimulus_id"], stored[_FILE[how]])


def group_stimuli(features: Features, split: Split, *, seed: int) -> dict[str, NDArray[np.int64]]:
    """Divide stimuli into clusters of their features, and into random groups of the same sizes.

    Returns
    -------
    ``CLUSTERS`` and ``AT_RANDOM`` -> the group of each stimulus, ``(n_stimuli,)``. Each random group has as many test
    and as many training stimuli as the cluster of its number. If all features are equal, both are random.
    """
    cluster = diagnostics.clusters(features.flat, N_CLUSTERS, seed=seed)
    rng = np.random.default_rng([seed, 7])
    if not cluster.any():
        cluster = rng.permutation(np.arange(len(cluster)) % N_CLUSTERS)
    at_random = cluster.copy()
    tested = np.isin(features.stimulus_id, split.test_ids)
    for part in (tested, ~tested):
        at_random[part] = rng.permutation(cluster[part])
    return {CLUSTERS: cluster, AT_RANDOM: at_random}


def without_groups(split: Split, stimulus_id: NDArray[np.int64], group: NDArray[np.int64]) -> Split:
    """Return the split with one fold for each group: its test stimuli, and the training stimuli of other groups."""
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
    array = np.concatenate([part.array for part in parts])
    ids = np.concatenate([part.stimulus_id for part in parts])
    folds = [part.fold for part in parts if part.fold is not None]
    return _in_order(Features(name, array, ids, np.concatenate(folds) if folds else None))


def _in_order(features: Features) -> Features:
    order = np.argsort(features.stimulus_id, kind="stable")
    fold = None if features.fold is None else features.fold[order]
    return Features(features.name, features.array[order], features.stimulus_id[order], fold)


def _is_stored(subject: SubjectRun, stem: str) -> bool:
    return subject.results.has_arrays(subject.decode_path(stem), subject.computed_by("decode"))


def _save(subject: SubjectRun, stem: str, features: Features) -> None:
    subject.results.save_features(subject.decode_path(stem), features, subject.computed_by("decode"))
