"""Compare: results folders side by side, test picture by test picture.

Two runs are compared by what each test picture scores in both, from ``pictures.csv``: the pictures are harder or easier
alike, so their differences say more than two intervals beside each other. What is not the same quantity is refused.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import statistics
from reseen.errors import ResultsError
from reseen.recipe import identity
from reseen.results import SCORED_SIZE_OF, TEST_PICTURES_OF, VERSION_OF, Results
from reseen.tables import PICTURE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

WORDS = tuple(column for column in PICTURE_COLUMNS if column not in ("level", "stimulus_id", "value"))
"""What a number is of; two numbers are paired where all of this is the same."""
COLUMNS = ("results", *WORDS, "reference", "value", "difference", "low", "high", "p", "p_holm", "n")
"""The columns of a comparison: which other folder; its ``value`` beside the ``reference``'s, and their difference."""

_SCORED_BY = ("observer ",)
_SCORING_LIBRARIES = ("scikit-image", "pillow", "torch")


def compare(
    reference: Results,
    others: Sequence[Results],
    *,
    level: str = "result",
    n_bootstrap: int = 2000,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Set other results beside a reference, picture by picture.

    Parameters
    ----------
    reference, others
        Results folders that were scored.
    level
        Of which pictures: ``"result"``, or ``"ceiling"`` for what the generators make of the true z and c.
    n_bootstrap, n_permutations, seed
        How many resamplings of stimuli and how many exchanges of the two results, and their seed.

    Returns
    -------
    A table of `COLUMNS`. ``difference`` is the mean over stimuli of other minus reference, items of one stimulus
    averaged first; ``low`` and ``high`` are the middle 95 % of resamplings of stimuli; ``p`` is two-sided, from
    exchanging the two values of a stimulus by chance; ``p_holm`` is corrected for all rows of the same folder in which
    any picture differs.

    Raises
    ------
    ResultsError
        If a folder was not scored, or if two were scored on other pictures or otherwise: the message says in what.
    """
    import pandas as pd

    if not others:
        raise ResultsError("comparing needs two results folders or more; the first is the reference.")
    tables = []
    for other in others:
        subjects = _shared_subjects(reference, other)
        for subject in subjects:
            _check_pictures(reference, other, subject)
        _check_protocol(reference, other, subjects)
        pairs = _paired(reference, other, subjects, level)
        rows = [row for pair in pairs for row in _rows(*pair, n_bootstrap, n_permutations, seed)]
        table = pd.DataFrame(rows)
        table["p_holm"] = np.nan_to_num(statistics.holm(table["p"]), nan=1.0)
        table["p"] = table["p"].fillna(1.0)
        tables.append(table.assign(results=str(other.path))[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True)


def settings_that_differ(reference: Results, other: Results) -> list[str]:
    """Name each value of the recipe that differs and could change a result: the reference's, then the other's."""
    ours, theirs = identity(reference.recipe), identity(other.recipe)
    return [
        f"{where}: {json.dumps(ours.get(where))} -> {json.dumps(theirs.get(where))}"
        for where in dict.fromkeys((*ours, *theirs))
        if ours.get(where) != theirs.get(where)
    ]


# ------------------------------------------------------------------------------------------------ may they be compared


def _shared_subjects(reference: Results, other: Results) -> list[str]:
    ours, theirs = reference.recipe.data.subjects, other.recipe.data.subjects
    shared = [subject for subject in ours if subject in theirs]
    if not shared:
        raise ResultsError(
            f"{reference.path} and {other.path} share no subject: {', '.join(ours)} there, {', '.join(theirs)} here. "
            "Subjects are compared one by one."
        )
    if set(ours) != set(theirs):
        warnings.warn(f"{reference.path} and {other.path} share {', '.join(shared)} alone.", stacklevel=3)
    return shared


def _check_pictures(reference: Results, other: Results, subject: str) -> None:
    """Refuse scores of other test pictures, known by the digest that was stored with them."""
    ours, theirs = (_claimed(results, TEST_PICTURES_OF + subject) for results in (reference, other))
    if ours != theirs:
        ids = [set(_scored(results, subject)["stimulus_id"]) for results in (reference, other)]
        raise ResultsError(
            f"{other.path} was scored on other test pictures of {subject} than {reference.path}: {len(ids[0])} there, "
            f"{len(ids[1])} here, {len(ids[0] & ids[1])} ids in common. A score depends on its pictures and their "
            "number: run both recipes on the same data, with the same data.test, n_test and test_trials."
        )


def _check_protocol(reference: Results, other: Results, subjects: Sequence[str]) -> None:
    """Refuse scores that were made in another way, and warn where a library that makes them is another."""
    ours, theirs = reference.provenance, other.provenance
    sizes = [SCORED_SIZE_OF + subject for subject in subjects]
    for name in (*sizes, *(name for name in ours if name.startswith(_SCORED_BY))):
        if name in theirs and ours[name] != theirs[name]:
            raise ResultsError(
                f"{other.path} was scored by another protocol than {reference.path}: {name} is {theirs[name]}, "
                f"there {ours[name]}. These are other quantities under one name; score both in the same way."
            )
    for library in _SCORING_LIBRARIES:
        versions = [known.get(VERSION_OF + library) for known in (ours, theirs)]
        if versions[0] != versions[1]:
            warnings.warn(
                f"{reference.path} was scored with {library} {versions[0]}, {other.path} with {versions[1]}: "
                "small differences may come from that.",
                stacklevel=3,
            )


def _claimed(results: Results, name: str) -> str:
    known = results.provenance
    if name not in known:
        raise ResultsError(
            f"{results.path} has no record of the {name}: it was not scored, or by an older reseen. "
            f"Run `reseen evaluate {results.path / 'recipe.toml'} --out {results.path}`."
        )
    return known[name]


# ------------------------------------------------------------------------------------------------ pairs of numbers


def _scored(results: Results, subject: str) -> pd.DataFrame:
    """Read what each picture of a subject scores by itself."""
    table = results.load_table("pictures")
    words = [column for column in WORDS if column in table]
    table = table.astype(dict.fromkeys(words, object)).fillna(dict.fromkeys(words, ""))
    return table[table["subject"] == subject]


def _paired(
    reference: Results, other: Results, subjects: Sequence[str], level: str
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Give each subject's numbers that both have, and what each stimulus scores, twice ``(n_numbers, n_stimuli)``."""
    for subject in subjects:
        ours, theirs = (_matrix(results, subject, level) for results in (reference, other))
        both = ours.index[ours.index.isin(theirs.index)]
        apart = _apart(ours.index, theirs.index)
        if both.empty:
            raise ResultsError(
                f"{reference.path} and {other.path} have no score in common for {subject} at level {level!r}: "
                f"{apart}. Numbers of different protocols, observers or conditions are never compared."
            )
        if apart:
            warnings.warn(
                f"left out, since only one of {reference.path} (there) and {other.path} (here) has it: {apart}.",
                stacklevel=4,
            )
        yield ours.loc[both], theirs.loc[both]


def _matrix(results: Results, subject: str, level: str) -> pd.DataFrame:
    """Lay out one level: a row for each number, a column for each stimulus; items of one stimulus are averaged."""
    import pandas as pd

    scored = _scored(results, subject)
    chosen = scored[scored["level"] == level]
    if chosen.empty:
        known = ", ".join(scored["level"].unique())
        raise ResultsError(f"{results.path} has no scores of {subject} at level {level!r}; it has {known}.")
    words = [column for column in WORDS if column in scored]
    values = chosen.groupby([*words, "stimulus_id"])["value"].mean().unstack("stimulus_id")
    order = pd.MultiIndex.from_frame(chosen[words].drop_duplicates())
    return values.reindex(order)


def _apart(ours: pd.Index[Any], theirs: pd.Index[Any]) -> str:
    """Say which words only one of the two has."""
    found = []
    for word in map(str, ours.names):
        first, second = (set(index.get_level_values(word)) for index in (ours, theirs))
        if first ^ second:
            sides = (", ".join(sorted(side)) or "none" for side in (first - second, second - first))
            found.append(f"{word}: {' there, '.join(sides)} here")
    return "; ".join(found)


def _rows(
    ours: pd.DataFrame, theirs: pd.DataFrame, n_bootstrap: int, n_permutations: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Give a row for each number of one subject."""
    before, after = ours.to_numpy(np.float64).T, theirs.to_numpy(np.float64).T
    difference = after - before
    weights = statistics.bootstrap_weights(ours.columns.to_numpy(), n_bootstrap, seed=seed)
    p = statistics.sign_flip_p(difference, n_permutations, seed=seed)
    p[(np.nan_to_num(difference) == 0).all(axis=0)] = np.nan  # the same pictures: there is nothing to be tested
    for number, key in enumerate(ours.index):
        low, high = statistics.interval(statistics.bootstrap_mean(difference[:, number], weights))
        yield {
            **dict(zip(map(str, ours.index.names), key, strict=True)),
            "reference": float(statistics.nan_mean(before[:, number])),
            "value": float(statistics.nan_mean(after[:, number])),
            "difference": float(statistics.nan_mean(difference[:, number])),
            "low": low,
            "high": high,
            "p": float(p[number]),
            "n": int(np.isfinite(difference[:, number]).sum()),
        }
