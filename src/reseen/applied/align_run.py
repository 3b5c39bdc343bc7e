"""Align a run: fit every level of an alignment of two of its subjects, score it, and decode test stimuli."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.applied.alignment import AlignedSubject
from reseen.applied.running import apply_run
from reseen.applied.scoring import mean_features
from reseen.conditions import features_of
from reseen.datasets.new_trials import NewTrials
from reseen.datasets.opening import open_subject
from reseen.decode import Decoder
from reseen.decode.alignment import AlignmentRoute
from reseen.decode.alignment_levels import AlignmentLevel, AlignmentProtocol, alignment_stimuli, fit_level
from reseen.errors import DataError, RecipeError
from reseen.evaluate import score_alignment
from reseen.features import Features
from reseen.results import ResultsFolder
from reseen.split import Split
from reseen.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
LEVELS: tuple[AlignmentLevel, ...] = ("aligned", "combined", "own_shared", "own_equal", "own_full", "permuted")
"""Levels that are compared; in a common space of both subjects, also ``"identity"``."""
EVERY_LEVEL: tuple[AlignmentLevel, ...] = (*LEVELS, "identity")
SAVED: tuple[AlignmentLevel, ...] = ("aligned", "combined")
"""Levels whose decoders are kept."""
COMMON_SPACES = ("fsaverage", "fsLR", "MNI")
"""First letters of the names of spaces in which equal indices are the same place in all subjects."""
MOST_TEST = 300
"""Largest number of test stimuli that ``own_stimuli`` chooses by itself; at most a fifth of the target's own."""
N_COMPARED = 100
"""Largest number of shared stimuli whose features are compared between subjects."""
SAME_STIMULUS = 0.05
"""Largest difference of a stimulus' feature between subjects, in standard deviations: rounding of batches."""
Sessions = Sequence[int | Literal["all"]]
USUAL_SESSIONS: Sessions = (1, 2, 4, "all")


@dataclass(frozen=True)
class AlignmentPlan:
    """Settings of an alignment; see `reseen.Results.align`."""

    protocol: AlignmentProtocol
    through: AlignmentRoute
    n_sessions: Sessions | None
    n_align: int | None
    n_test: int | None
    levels: Sequence[AlignmentLevel] | None
    seed: int


@dataclass(frozen=True)
class _Pair:
    """Trials of both subjects, stimuli and levels of their alignment."""

    names: tuple[str, str]
    source: Trials
    target: Trials
    split: Split
    stimuli: NDArray[np.int64]
    test: NDArray[np.int64]
    levels: tuple[AlignmentLevel, ...]


def align_run(
    results: ResultsFolder,
    decoders: Mapping[str, Sequence[Decoder]],
    source: str,
    target: str,
    plan: AlignmentPlan,
    *,
    conditions: Sequence[str],
    device: str,
    progress: Progress | None,
) -> AlignedSubject:
    """Fit and score every level of an alignment; see `reseen.Results.align`.

    Parameters
    ----------
    results
        Results folder of the run.
    decoders
        Decoders of the source of each fold, by feature.
    source, target
        Names of both subjects.
    plan
        Settings of the alignment.
    conditions, device, progress
        As in `reseen.Results.align`.
    """
    import pandas as pd

    notes: list[str] = []
    pair = _open_pair(results, source, target, plan, notes)
    n_folds = next(iter(decoders.values()))[0].n_folds
    counts = _choose_sessions(plan.n_sessions, pair, n_folds, notes)
    tables, saved, trained = [], {}, [pair.stimuli]
    n_fits = len({_fit_of(point, pair) for point in _points(counts, pair.levels)})
    for number, (name, fitted) in enumerate(decoders.items()):
        known = results.feature_blocks(f"{target}/{name}").load()
        _check_same_stimuli(results, pair, known)

        def count(n_done: int, before: int = number * n_fits) -> None:
            if progress is not None:
                progress(f"align {target} with {source}", before + n_done, n_fits * len(decoders))

        decoder, ids = _source_decoder(results, pair, name, fitted, notes)
        trained.append(ids)
        decoded, saved[name] = _fit_levels(results, pair, decoder, known, plan, counts, count)
        tables.append(_score(results, pair, decoder, known, plan, decoded))
    kept = [level for level in SAVED if level in pair.levels]
    aligned: dict[str, dict[str, Decoder]] = {
        level: {name: fits[level] for name, fits in saved.items()} for level in kept
    }
    fitted_on = np.unique(np.concatenate(trained))
    applied = None
    if "aligned" in aligned:
        applied = apply_run(
            results,
            {name: (decoder,) for name, decoder in aligned["aligned"].items()},
            NewTrials(_with_index(pair.target.select(pair.test)), True),
            target,
            conditions=conditions,
            scaling=None,
            average=True,
            device=device,
            progress=progress,
            trained=fitted_on,
        )
        notes += applied.notes
    return AlignedSubject(
        results.recipe.name,
        source,
        target,
        plan.protocol,
        plan.through,
        pd.concat(tables, ignore_index=True),
        aligned,
        pair.stimuli,
        pair.test,
        fitted_on,
        applied,
        tuple(dict.fromkeys(notes)),
    )


def choose_features(
    features: Sequence[str] | None, conditions: Sequence[str] | None, chosen: tuple[str, ...], known: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the features to align and the conditions to generate images of.

    Parameters
    ----------
    features, conditions
        As they were asked for; None: not named.
    chosen
        Conditions after `choose_conditions`.
    known
        Features that the run decoded.

    Raises
    ------
    RecipeError
        If a feature was not decoded, or a named condition needs a feature that is not named.
    """
    needed = tuple(dict.fromkeys(name for condition in chosen for name in features_of(condition)))
    if features is None:
        return needed or known, chosen
    named = tuple(dict.fromkeys(features))
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        raise RecipeError(
            f"the run did not decode {unknown[0] if unknown else 'any of no features'!r}; it decoded "
            f"{', '.join(known)}. Choose other features.",
            where="features",
            expected=known,
            found=named,
        )
    missing = [name for name in needed if name not in named]
    if missing and conditions:
        raise RecipeError(
            f"images of {', '.join(chosen)} need {missing[0]!r}, which is not among the features {', '.join(named)}. "
            "Add it, or leave the images out.",
            where="features",
            expected=needed,
            found=named,
        )
    return named, () if missing else chosen


def _open_pair(results: ResultsFolder, source: str, target: str, plan: AlignmentPlan, notes: list[str]) -> _Pair:
    """Read the trials of both subjects, and choose stimuli and levels."""
    opened = open_subject(results.data, source)
    one, other = opened.trials, open_subject(results.data, target).trials
    n_test = plan.n_test
    if n_test is None and plan.protocol == "own_stimuli":
        n_own = len(np.setdiff1d(other.stimulus_id, one.stimulus_id))
        n_test = min(MOST_TEST, n_own // 5)
    stimuli, test = alignment_stimuli(one, other, plan.protocol, n_align=plan.n_align, n_test=n_test, seed=plan.seed)
    spaces = (results.data.space, one.space, other.space)
    common = any(space.startswith(COMMON_SPACES) for space in spaces)
    usual = EVERY_LEVEL if common else LEVELS
    levels = usual if plan.levels is None else tuple(dict.fromkeys(plan.levels))
    unknown = [level for level in levels if level not in EVERY_LEVEL]
    if unknown or not levels:
        raise RecipeError(
            f"there is no level {unknown[0] if unknown else ''!r}; the levels are {', '.join(EVERY_LEVEL)}.",
            where="levels",
            expected=EVERY_LEVEL,
            found=levels,
        )
    if "identity" in levels and not common:
        notes.append(
            "The level identity uses the target's voxels as if they were those of the source. The data are not in a "
            "common space of both subjects, so that equal indices may be other places."
        )
    return _Pair((source, target), one, other, opened.split, stimuli, test, levels)


def _choose_sessions(asked: Sessions | None, pair: _Pair, n_folds: int, notes: list[str]) -> list[int]:
    """Return the numbers of sessions of the curve, ascending."""
    sessions = np.unique(pair.target.session)
    most = len(sessions)
    numbers: list[int] = [most if count == "all" else count for count in asked or USUAL_SESSIONS]
    wanted = sorted(set(numbers))
    if asked is None:
        wanted = [count for count in wanted if count <= most]
    if not wanted or wanted[0] < 1 or wanted[-1] > most:
        raise DataError(
            f"{pair.names[1]} has {most} session{'s' * (most != 1)}; numbers from 1 to {most}, or all, are expected.",
            where="n_sessions",
            expected=most,
            found=wanted,
        )
    found = []
    for count in wanted:
        seen = pair.target.stimulus_id[np.isin(pair.target.session, sessions[:count])]
        n_seen = len(np.intersect1d(seen, pair.stimuli))
        if n_seen >= n_folds:
            found.append(count)
        elif asked is None and count < most:
            notes.append(f"{count} of the target's sessions have {n_seen} alignment stimuli, too few to fit a decoder.")
        else:
            raise DataError(
                f"{count} of the sessions of {pair.names[1]} have {n_seen} alignment stimuli; a decoder needs "
                f"{n_folds} or more. Choose more sessions or a larger n_align.",
                where="n_sessions",
                expected=n_folds,
                found=n_seen,
            )
    return found


def _check_same_stimuli(results: ResultsFolder, pair: _Pair, known: Features) -> None:
    """Check that shared ids name the same stimuli, by the features of both subjects."""
    blocks = results.feature_blocks(f"{pair.names[0]}/{known.name}")
    shared = np.intersect1d(pair.source.stimulus_id, pair.target.stimulus_id)
    spread = float(known.array.std())
    for stimulus in shared[:: max(1, len(shared) // N_COMPARED)].tolist():
        difference = np.abs(blocks.row(stimulus) - known.rows([stimulus])[0]).max()
        if difference > SAME_STIMULUS * spread:
            raise DataError(
                f"stimulus {stimulus} is another image for {pair.names[0]} than for {pair.names[1]}: its {known.name} "
                "differs. An alignment needs data in which an id names the same image for all subjects.",
                where="stimulus_id",
                found=stimulus,
            )


def _source_decoder(
    results: ResultsFolder, pair: _Pair, name: str, fitted: Sequence[Decoder], notes: list[str]
) -> tuple[Decoder, NDArray[np.int64]]:
    """Return a decoder of the source that was fitted on no test stimulus, and its training stimuli."""
    train = pair.split.folds[0][0]
    if len(fitted) == 1 and not len(np.intersect1d(train, pair.test)):
        return fitted[0], train
    notes.append(
        f"The decoders of {pair.names[0]} in the run were fitted on test stimuli, or on other folds. They were fitted "
        "anew on all of its other stimuli."
    )
    kept = np.setdiff1d(pair.source.stimulus_id, pair.test)
    known = results.feature_blocks(f"{pair.names[0]}/{name}").load()
    decoder = Decoder(**fitted[0].get_params(deep=False))
    return decoder.fit(_rows(results, pair.source.select(kept)), known), kept


def _points(counts: Sequence[int], levels: Sequence[AlignmentLevel]) -> list[tuple[int, AlignmentLevel]]:
    """Return every pair of a number of sessions and a level."""
    return [(count, level) for count in counts for level in levels]


def _fit_of(point: tuple[int, AlignmentLevel], pair: _Pair) -> tuple[int, AlignmentLevel]:
    """Return the fit of a point of a curve; several points may share one."""
    count, level = point
    n_all = len(np.unique(pair.target.session))
    if level == "own_full" or (level == "own_equal" and count == n_all):
        return n_all, "own_full"
    return (0, level) if level == "identity" else point


def _fit_levels(
    results: ResultsFolder,
    pair: _Pair,
    source: Decoder,
    known: Features,
    plan: AlignmentPlan,
    counts: Sequence[int],
    progress: Callable[[int], None],
) -> tuple[dict[tuple[int, str], tuple[Features, int]], dict[AlignmentLevel, Decoder]]:
    """Fit every level on every number of sessions.

    Returns
    -------
    decoded
        (number of sessions, level) -> averaged test stimuli, decoded, and the number of the target's trials of the fit.
    saved
        Decoders of `SAVED`, of the largest number of sessions.
    """
    items = pair.target.select(pair.test).average()
    full = _rows(results, pair.target)
    sessions = np.unique(pair.target.session)
    fits: dict[tuple[int, AlignmentLevel], tuple[Features, int]] = {}
    decoded: dict[tuple[int, str], tuple[Features, int]] = {}
    saved: dict[AlignmentLevel, Decoder] = {}
    progress(0)
    for count in counts:
        now = _rows(results, pair.target.take(np.flatnonzero(np.isin(pair.target.session, sessions[:count]))))
        ids = np.intersect1d(now.stimulus_id, pair.stimuli)
        for level in pair.levels:
            fit = _fit_of((count, level), pair)
            if fit not in fits:
                decoder = fit_level(
                    fit[1],
                    source,
                    pair.source,
                    now,
                    known,
                    test=pair.test,
                    full_trials=full,
                    stimuli=ids,
                    rois=source.rois,
                    through=plan.through,
                    seed=plan.seed,
                )
                fits[fit] = decoder.predict(items), _count_trials(fit[1], now, full, ids, pair.test)
                if fit[1] in SAVED:
                    saved[fit[1]] = decoder  # later counts replace it
                progress(len(fits))
            decoded[count, level] = fits[fit]
    return decoded, saved


def _count_trials(
    level: AlignmentLevel, now: Trials, full: Trials, stimuli: NDArray[np.int64], test: NDArray[np.int64]
) -> int:
    """Return the number of the target's trials that a level was fitted on."""
    if level == "identity":
        return 0
    trials = full if level == "own_full" else now
    if level in ("own_equal", "own_full"):
        used = ~np.isin(trials.stimulus_id, test)
    else:
        used = np.isin(trials.stimulus_id, stimuli)
    return int(trials.n_repetitions[used].sum())


def _score(
    results: ResultsFolder,
    pair: _Pair,
    source: Decoder,
    known: Features,
    plan: AlignmentPlan,
    decoded: Mapping[tuple[int, str], tuple[Features, int]],
) -> pd.DataFrame:
    """Score one feature; all levels are centred by the mean of the source decoder's training features."""
    ids = next(iter(decoded.values()))[0].stimulus_id
    words = (*pair.names, plan.protocol, plan.through, known.name)
    return score_alignment(
        {point: found.flat for point, (found, _) in decoded.items()},
        known.rows(ids).reshape(len(ids), -1),
        mean_features([source]),
        n_trials={point: n_trials for point, (_, n_trials) in decoded.items()},
        words=dict(zip(("source", "target", "protocol", "through", "feature"), words, strict=True)),
        n_bootstrap=results.recipe.evaluate.n_bootstrap,
        seed=results.recipe.seed,
    )


def _rows(results: ResultsFolder, trials: Trials) -> Trials:
    """Return the rows of a fit: single trials, or averages where the run fitted its decoders on these."""
    return trials.average() if results.data.train_trials == "averaged" else trials


def _with_index(trials: Trials) -> Trials:
    """Return trials whose voxels have an index: their number, for data without a volume."""
    if trials.voxel_index is not None:
        return trials
    return replace(trials, voxel_index=np.arange(trials.betas.shape[1]))
