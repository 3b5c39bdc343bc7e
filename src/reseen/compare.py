"""Compare: results folders side by side, test image by test image.

Two runs are compared by what each test image scores in both, from ``images.csv``: the images are harder or easier
alike, so their differences say more than two intervals beside each other. What is not the same quantity is refused.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import statistics
from reseen.errors import ResultsError
from reseen.files.shell import shell_line
from reseen.recipe import identity
from reseen.results import SCORED_SIZE_OF, TEST_IMAGES_OF, VERSION_OF, ResultsFolder
from reseen.tables import BUILTIN, IMAGE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

WORDS = tuple(column for column in IMAGE_COLUMNS if column not in ("level", "stimulus_id", "value"))
"""What a number is of; two numbers are paired where all of this is the same."""
COLUMNS = ("results", *WORDS, "reference", "value", "difference", "low", "high", "p", "p_holm", "n")
"""The columns of a comparison: which other folder; its ``value`` beside the ``reference``'s, and their difference."""

_SCORED_BY, _OF_PROTOCOL = "network ", " of "  # an evaluation network of a protocol; of reseen's own, its name alone
_SCORING_LIBRARIES = ("scikit-image", "pillow", "torch")


def compare(
    reference: ResultsFolder,
    others: Sequence[ResultsFolder],
    *,
    level: str = "result",
    n_bootstrap: int = 2000,
    n_permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare other results with a reference, image by image.

    Parameters
    ----------
    reference, others
        Results folders that were scored.
    level
        Of which images: ``"result"``, or ``"oracle"`` for what the generators make of the true z and c.
    n_bootstrap, n_permutations, seed
        How many resamplings of stimuli and how many exchanges of the two results, and their seed.

    Returns
    -------
    A table of `COLUMNS`. ``difference`` is the mean over stimuli of other minus reference, items of one stimulus
    averaged first; ``low`` and ``high`` are the middle 95 % of resamplings of stimuli; ``p`` is two-sided, from
    exchanging the two values of a stimulus by chance; ``p_holm`` is corrected for all rows of the same folder in which
    any image differs.

    Raises
    ------
    ResultsError
        If a folder was not scored, or if two were scored on other images or otherwise: the message says in what.
    """
    import pandas as pd

    if not others:
        raise ResultsError("comparing needs two results folders or more; the first is the reference.")
    tables = []
    for other in others:
        subjects = _shared_subjects(reference, other)
        for subject in subjects:
            _check_images(reference, other, subject)
        _warn_of_versions(reference, other)
        pairs = _paired(reference, other, subjects, level)
        rows = [row for pair in pairs for row in _rows(*pair, n_bootstrap, n_permutations, seed)]
        table = pd.DataFrame(rows)
        table["p_holm"] = np.nan_to_num(statistics.holm(table["p"]), nan=1.0)
        table["p"] = table["p"].fillna(1.0)
        tables.append(table.assign(results=str(other.path))[list(COLUMNS)])
    return pd.concat(tables, ignore_index=True)


def settings_that_differ(reference: ResultsFolder, other: ResultsFolder) -> list[str]:
    """Name each value of the recipe that differs and could change a result: the reference's, then the other's."""
    ours, theirs = identity(reference.recipe), identity(other.recipe)
    return [
        f"{where}: {json.dumps(ours.get(where))} -> {json.dumps(theirs.get(where))}"
        for where in dict.fromkeys((*ours, *theirs))
        if ours.get(where) != theirs.get(where)
    ]


# ------------------------------------------------------------------------------------------------ may they be compared


def _shared_subjects(reference: ResultsFolder, other: ResultsFolder) -> list[str]:
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


def _check_images(reference: ResultsFolder, other: ResultsFolder, subject: str) -> None:
    """Refuse scores of other test images, known by the digest that was stored with them."""
    ours, theirs = (_claimed(results, TEST_IMAGES_OF + subject) for results in (reference, other))
    if ours != theirs:
        ids = [set(_scored(results, subject)["stimulus_id"]) for results in (reference, other)]
        raise ResultsError(
            f"{other.path} was scored on other test images of {subject} than {reference.path}: {len(ids[0])} there, "
            f"{len(ids[1])} here, {len(ids[0] & ids[1])} ids in common. A score depends on its images and their "
            "number: run both recipes on the same data, with the same data.test, n_test and test_trials."
        )


def _warn_of_versions(reference: ResultsFolder, other: ResultsFolder) -> None:
    """Warn where a library that scores are made by is another."""
    for library in _SCORING_LIBRARIES:
        versions = [results.provenance.get(VERSION_OF + library) for results in (reference, other)]
        if versions[0] != versions[1]:
            warnings.warn(
                f"{reference.path} was scored with {library} {versions[0]}, {other.path} with {versions[1]}: "
                "small differences may come from that.",
                stacklevel=3,
            )


def _protocols_apart(reference: ResultsFolder, other: ResultsFolder, subject: str) -> dict[str, str]:
    """Return the protocols whose numbers are other quantities in the two, and in what: another network or another size.

    reseen's own protocol scores images at the size at which they were generated; the others say a size.
    """
    ours, theirs = reference.provenance, other.provenance
    found = {}
    for name in (SCORED_SIZE_OF + subject, *(name for name in ours if name.startswith(_SCORED_BY))):
        if name in theirs and ours[name] != theirs[name]:
            protocol = name.partition(_OF_PROTOCOL)[2] if name.startswith(_SCORED_BY) else ""
            found[protocol or BUILTIN] = f"{name} is {ours[name]} there, {theirs[name]} here"
    return found


def _claimed(results: ResultsFolder, name: str) -> str:
    known = results.provenance
    if name not in known:
        raise ResultsError(
            f"{results.path} has no record of the {name}: it was not scored, or by an older reseen. "
            f"Run `{shell_line('reseen', 'evaluate', results.path / 'recipe.toml', '--out', results.path)}`."
        )
    return known[name]


# ------------------------------------------------------------------------------------------------ pairs of numbers


def _scored(results: ResultsFolder, subject: str) -> pd.DataFrame:
    """Read what each image of a subject scores by itself."""
    table = results.load_table("images")
    return table[table["subject"] == subject]


def _paired(
    reference: ResultsFolder, other: ResultsFolder, subjects: Sequence[str], level: str
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return each subject's numbers that both have, and what each stimulus scores, twice ``(n_numbers, n_stimuli)``."""
    for subject in subjects:
        unlike = _protocols_apart(reference, other, subject)
        ours, theirs = (_matrix(results, subject, level, without=unlike) for results in (reference, other))
        if unlike:
            warnings.warn(
                f"left out, for they are other quantities in {reference.path} (there) and {other.path} (here): scores "
                f"of {subject} by protocol {'; '.join(f'{protocol}: {why}' for protocol, why in unlike.items())}.",
                stacklevel=4,
            )
        both = ours.index[ours.index.isin(theirs.index)]
        apart = _apart(ours.index, theirs.index)
        if both.empty:
            raise ResultsError(
                f"{reference.path} and {other.path} have no score in common for {subject} at level {level!r}: "
                f"{apart}. Numbers of different protocols, networks or conditions are never compared."
            )
        if apart:
            warnings.warn(
                f"left out, since only one of {reference.path} (there) and {other.path} (here) has it: {apart}.",
                stacklevel=4,
            )
        yield ours.loc[both], theirs.loc[both]


def _matrix(results: ResultsFolder, subject: str, level: str, *, without: Mapping[str, str]) -> pd.DataFrame:
    """Arrange one level: a row for each number, a column for each stimulus; items of one stimulus are averaged."""
    import pandas as pd

    scored = _scored(results, subject)
    chosen = scored[scored["level"] == level]
    if chosen.empty:
        known = ", ".join(scored["level"].unique())
        raise ResultsError(f"{results.path} has no scores of {subject} at level {level!r}; it has {known}.")
    chosen = chosen[~chosen["protocol"].isin(without)]
    if chosen.empty:
        raise ResultsError(
            f"{results.path} and what it is compared with were scored by other protocols, for {subject}: "
            f"{'; '.join(without.values())}. These are other quantities under one name; score both in the same way."
        )
    words = [column for column in WORDS if column in scored]
    values = chosen.groupby([*words, "stimulus_id"])["value"].mean().unstack("stimulus_id")
    order = pd.MultiIndex.from_frame(chosen[words].drop_duplicates())
    return values.reindex(order)


def _apart(ours: pd.Index[Any], theirs: pd.Index[Any]) -> str:
    """Return which words only one of the two has."""
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
    """Return a row for each number of one subject."""
    before, after = ours.to_numpy(np.float64).T, theirs.to_numpy(np.float64).T
    difference = after - before
    weights = statistics.bootstrap_weights(ours.columns.to_numpy(), n_bootstrap, seed=seed)
    p = statistics.sign_flip_p(difference, n_permutations, seed=seed)
    p[(np.nan_to_num(difference) == 0).all(axis=0)] = np.nan  # the same images: there is nothing to be tested
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
