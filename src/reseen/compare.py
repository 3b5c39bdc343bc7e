"""Compare: paired differences between results folders, test image by test image.

Two runs are compared by the scores of each test image in ``images.csv``. An image is hard or easy in both runs, so
paired differences are more precise than two separate intervals. Different quantities are refused.
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
"""Columns that identify a number; two numbers are paired where all of them are equal."""
COLUMNS = ("results", *WORDS, "reference", "value", "difference", "low", "high", "p", "p_holm", "n")
"""Columns of a comparison; ``results`` is the other folder, and ``value`` its score."""

# keys of the provenance: "network <name> of <protocol>", of the protocol builtin "network <name>"
_SCORED_BY, _OF_PROTOCOL = "network ", " of "
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
        Level of the images: ``"result"``, or ``"oracle"`` for images generated from the true z and c.
    n_bootstrap, n_permutations, seed
        Number of resamplings of stimuli, number of exchanges of the two results, and their seed.

    Returns
    -------
    A table of `COLUMNS`. ``difference`` is the mean over stimuli of other minus reference; items of one stimulus are
    averaged first. ``low`` and ``high`` are the middle 95 % of resamplings of stimuli. ``p`` is two-sided, from random
    exchanges of the two values of a stimulus. ``p_holm`` is corrected for all rows of the same folder in which any
    image differs.

    Raises
    ------
    ResultsError
        If a folder was not scored, or if two were scored on different images or in different ways.
    """
    import pandas as pd

    if not others:
        raise ResultsError(
            "a comparison needs at least two results folders; the first is the reference.", where="others"
        )
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
    """Return each setting of the recipe that differs and could change a result: the reference's, then the other's."""
    ours, theirs = identity(reference.recipe), identity(other.recipe)
    return [
        f"{where}: {json.dumps(ours.get(where))} -> {json.dumps(theirs.get(where))}"
        for where in dict.fromkeys((*ours, *theirs))
        if ours.get(where) != theirs.get(where)
    ]


# ------------------------------------------------------------------------------------------------ what is comparable


def _shared_subjects(reference: ResultsFolder, other: ResultsFolder) -> list[str]:
    ours, theirs = reference.recipe.data.subjects, other.recipe.data.subjects
    shared = [subject for subject in ours if subject in theirs]
    if not shared:
        raise ResultsError(
            f"{reference.path} and {other.path} share no subject: {', '.join(ours)} there, {', '.join(theirs)} here. "
            "Each subject is compared separately.",
            where=other.path,
            expected=ours,
            found=theirs,
        )
    if set(ours) != set(theirs):
        warnings.warn(f"{reference.path} and {other.path} share only {', '.join(shared)}.", stacklevel=3)
    return shared


def _check_images(reference: ResultsFolder, other: ResultsFolder, subject: str) -> None:
    """Refuse scores of different test images, by the digest that is stored with them."""
    ours, theirs = (_recorded(results, TEST_IMAGES_OF + subject) for results in (reference, other))
    if ours != theirs:
        ids = [set(_scored(results, subject)["stimulus_id"]) for results in (reference, other)]
        raise ResultsError(
            f"{other.path} was scored on other test images of {subject} than {reference.path}: {len(ids[0])} there, "
            f"{len(ids[1])} here, {len(ids[0] & ids[1])} ids in common. A score depends on its images and their "
            "number: run both recipes on the same data, with the same data.test, n_test and test_trials.",
            where=other.path,
            expected=ours,
            found=theirs,
        )


def _warn_of_versions(reference: ResultsFolder, other: ResultsFolder) -> None:
    """Warn if the version of a library that computes scores differs."""
    for library in _SCORING_LIBRARIES:
        versions = [results.provenance.get(VERSION_OF + library) for results in (reference, other)]
        if versions[0] != versions[1]:
            warnings.warn(
                f"{reference.path} was scored with {library} {versions[0]}, {other.path} with {versions[1]}: "
                "small differences may come from that.",
                stacklevel=3,
            )


def _protocols_apart(reference: ResultsFolder, other: ResultsFolder, subject: str) -> dict[str, str]:
    """Return the protocols whose numbers are different quantities, with the difference: another network or size.

    reseen's own protocol scores images at the size at which they were generated; the others define a size.
    """
    ours, theirs = reference.provenance, other.provenance
    found = {}
    for name in (SCORED_SIZE_OF + subject, *(name for name in ours if name.startswith(_SCORED_BY))):
        if name in theirs and ours[name] != theirs[name]:
            protocol = name.partition(_OF_PROTOCOL)[2] if name.startswith(_SCORED_BY) else ""
            found[protocol or BUILTIN] = f"{name} is {ours[name]} there, {theirs[name]} here"
    return found


def _recorded(results: ResultsFolder, name: str) -> str:
    known = results.provenance
    if name not in known:
        raise ResultsError(
            f"{results.path} has no record of the {name}: it was not scored, or by an older reseen. "
            f"Run `{shell_line('reseen', 'evaluate', results.path / 'recipe.toml', '--out', results.path)}`.",
            where=results.path,
            expected=name,
        )
    return known[name]


# ------------------------------------------------------------------------------------------------ pairs of numbers


def _scored(results: ResultsFolder, subject: str) -> pd.DataFrame:
    """Read the score of each image of a subject by itself."""
    table = results.load_table("images")
    return table[table["subject"] == subject]


def _paired(
    reference: ResultsFolder, other: ResultsFolder, subjects: Sequence[str], level: str
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Yield for each subject the scores of each stimulus in both folders, ``(n_numbers, n_stimuli)`` each."""
    for subject in subjects:
        unlike = _protocols_apart(reference, other, subject)
        ours, theirs = (_matrix(results, subject, level, without=unlike) for results in (reference, other))
        if unlike:
            listed = "; ".join(f"{protocol}: {why}" for protocol, why in unlike.items())
            warnings.warn(
                f"left out, since they are different quantities in {reference.path} (there) and {other.path} (here): "
                f"scores of {subject} by protocol {listed}.",
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
    """Return one level: a row for each number, a column for each stimulus; items of one stimulus are averaged."""
    import pandas as pd

    scored = _scored(results, subject)
    chosen = scored[scored["level"] == level]
    if chosen.empty:
        known = ", ".join(scored["level"].unique())
        raise ResultsError(
            f"{results.path} has no scores of {subject} at level {level!r}; it has {known}.",
            where=results.path,
            expected=level,
            found=tuple(scored["level"].unique()),
        )
    chosen = chosen[~chosen["protocol"].isin(without)]
    if chosen.empty:
        raise ResultsError(
            f"{results.path} and the other folder were scored in different ways for {subject}: "
            f"{'; '.join(without.values())}. These are different quantities of one name; score both in the same way.",
            where=results.path,
            found=tuple(without),
        )
    words = [column for column in WORDS if column in scored]
    values = chosen.groupby([*words, "stimulus_id"])["value"].mean().unstack("stimulus_id")
    order = pd.MultiIndex.from_frame(chosen[words].drop_duplicates())
    return values.reindex(order)


def _apart(ours: pd.Index[Any], theirs: pd.Index[Any]) -> str:
    """Return the words that only one of the two has."""
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
    p[(np.nan_to_num(difference) == 0).all(axis=0)] = np.nan  # equal scores: there is nothing to test
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
