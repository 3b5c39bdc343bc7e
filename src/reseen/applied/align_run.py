"""Align a run: fit every level of an alignment of two of its subjects, score it, and decode test stimuli."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.applied.align_plan import AlignmentPair, AlignmentPlan, check_same_stimuli, choose_sessions, open_pair
from reseen.applied.alignment import AlignedSubject
from reseen.applied.running import apply_run
from reseen.applied.scoring import mean_features
from reseen.datasets.new_trials import NewTrials
from reseen.decode import Decoder
from reseen.decode.alignment_levels import AlignmentLevel, fit_level
from reseen.evaluate import score_alignment
from reseen.features import Features
from reseen.results import ResultsFolder
from reseen.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]
SAVED: tuple[AlignmentLevel, ...] = ("aligned", "combined")
"""Levels whose decoders are kept."""


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
    pair = open_pair(results, source, target, plan, notes)
    n_folds = next(iter(decoders.values()))[0].n_folds
    counts = choose_sessions(plan.n_sessions, pair, n_folds, notes)
    tables, saved, trained = [], {}, [pair.stimuli]
    n_fits = len({_fit_of(point, pair) for point in _points(counts, pair.levels)})
    for number, (name, fitted) in enumerate(decoders.items()):
        known = results.feature_blocks(f"{target}/{name}").load()
        check_same_stimuli(results, pair, known)

        def count(n_done: int, before: int = number * n_fits) -> None:
            if progress is not None:
                progress(f"align {target} with {source}", before + n_done, n_fits * len(decoders))

        decoder, ids = _source_decoder(results, pair, name, fitted, notes)
        trained.append(ids)
        decoded, saved[name] = _fit_levels(results, pair, decoder, known, plan, counts, count)
        tables.append(_score(results, pair, decoder, known, plan, decoded))
    aligned: dict[str, dict[str, Decoder]] = {}
    for level in SAVED:
        if level in pair.levels:
            aligned[level] = {name: fits[level] for name, fits in saved.items()}
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


def _source_decoder(
    results: ResultsFolder, pair: AlignmentPair, name: str, fitted: Sequence[Decoder], notes: list[str]
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


def _fit_of(point: tuple[int, AlignmentLevel], pair: AlignmentPair) -> tuple[int, AlignmentLevel]:
    """Return the fit of a point of a curve; several points may share one."""
    count, level = point
    n_all = len(np.unique(pair.target.session))
    if level == "own_full" or (level == "own_equal" and count == n_all):
        return n_all, "own_full"
    return (0, level) if level == "identity" else point


def _fit_levels(
    results: ResultsFolder,
    pair: AlignmentPair,
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
    pair: AlignmentPair,
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
