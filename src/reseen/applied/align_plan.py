"""Plan of an alignment: its settings, the trials of both subjects, their stimuli, levels and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import features_of
from reseen.datasets.opening import open_subject
from reseen.decode.alignment import AlignmentRoute
from reseen.decode.alignment_levels import AlignmentLevel, AlignmentProtocol, alignment_stimuli
from reseen.errors import DataError, RecipeError
from reseen.features import Features
from reseen.results import ResultsFolder
from reseen.split import Split
from reseen.trials import Trials

LEVELS: tuple[AlignmentLevel, ...] = ("aligned", "combined", "own_shared", "own_equal", "own_full", "permuted")
"""Levels that are compared; in a common space of both subjects, also ``"identity"``."""
EVERY_LEVEL: tuple[AlignmentLevel, ...] = (*LEVELS, "identity")
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
class AlignmentPair:
    """Trials of both subjects, stimuli and levels of their alignment."""

    names: tuple[str, str]
    source: Trials
    target: Trials
    split: Split
    stimuli: NDArray[np.int64]
    test: NDArray[np.int64]
    levels: tuple[AlignmentLevel, ...]


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
    if not named or not set(named) <= set(known):
        raise RecipeError(
            f"features names {', '.join(named) or 'none'}; the run decoded {', '.join(known)}. Choose one or more of "
            "these.",
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


def open_pair(results: ResultsFolder, source: str, target: str, plan: AlignmentPlan, notes: list[str]) -> AlignmentPair:
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
    if not levels or not set(levels) <= set(EVERY_LEVEL):
        raise RecipeError(
            f"levels names {', '.join(levels) or 'none'}; the levels are {', '.join(EVERY_LEVEL)}. Choose one or more "
            "of these.",
            where="levels",
            expected=EVERY_LEVEL,
            found=levels,
        )
    if "identity" in levels and not common:
        notes.append(
            "The level identity uses the target's voxels as if they were those of the source. The data are not in a "
            "common space of both subjects, so that equal indices may be other places."
        )
    return AlignmentPair((source, target), one, other, opened.split, stimuli, test, levels)


def choose_sessions(asked: Sessions | None, pair: AlignmentPair, n_folds: int, notes: list[str]) -> list[int]:
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


def check_same_stimuli(results: ResultsFolder, pair: AlignmentPair, known: Features) -> None:
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
