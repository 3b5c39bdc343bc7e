"""Scoring: accuracy of raters in each condition, with intervals and tests, and differences between conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import statistics
from reseen.raters.answers import Answers
from reseen.raters.design import CATCH, Design

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("statistic", "subject", "condition", "against", "rater"),
    *("value", "low", "high", "p", "p_holm", "n_raters", "n_images"),
)
"""Columns of ``raters.csv``."""
CHANCE = 0.5

Floats = NDArray[np.float64]
_Item = tuple[str, int]


def score_answers(
    design: Design, answers: Sequence[Answers], *, n_bootstrap: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Score the answers of several raters.

    Parameters
    ----------
    design
        The questions.
    answers
        Answers of each rater (`reseen.raters.read_answers`).
    n_bootstrap, seed
        Number of resamplings, and their seed.

    Returns
    -------
    A table of `COLUMNS`. ``accuracy`` is that of each condition, over all subjects and for each; ``difference`` is
    between two conditions. An image that several subjects saw is one image: it is averaged over them first. ``low`` and
    ``high`` are the middle 95 % of resamplings of raters and of images together. ``p`` is a two-sided signed-rank test
    over images, each averaged over raters, against one half or against the other condition. ``p_holm`` is corrected for
    all tests of the same statistic. ``rater_accuracy``, ``rater_catch`` and ``rater_seconds`` (median) are of each
    rater.
    """
    import pandas as pd

    correct = _correct(design, answers)
    rows: list[dict[str, Any]] = []
    tested = {
        "accuracy": list(_accuracies(correct, n_bootstrap, seed)),
        "difference": list(_differences(correct, n_bootstrap, seed)),
    }
    for statistic, found in tested.items():
        corrected = statistics.holm([row["p"] for row in found])
        rows += [{"statistic": statistic, **row, "p_holm": p} for row, p in zip(found, corrected, strict=True)]
    rows += _by_subject(correct, n_bootstrap, seed)
    rows += _by_rater(design, answers)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _correct(design: Design, answers: Sequence[Answers]) -> dict[str, dict[_Item, Floats]]:
    """Return for each condition and image whether each rater chose the right answer, ``(n_raters,)``."""
    table: dict[str, dict[_Item, Floats]] = {}
    for row, given in enumerate(answers):
        for question, side in zip(design.sheets[given.rater - 1], given.sides, strict=True):
            if question.condition != CATCH:
                items = table.setdefault(question.condition, {})
                item = items.setdefault((question.subject, question.stimulus_id), np.full(len(answers), np.nan))
                item[row] = side == question.side
    return {condition: dict(sorted(items.items())) for condition, items in sorted(table.items(), key=_by_length)}


def _by_length(entry: tuple[str, object]) -> tuple[int, int]:
    """Return a key that sorts conditions in the order z, c, zc."""
    return len(entry[0]), -ord(entry[0][0])


def _by_image(items: Mapping[_Item, Floats]) -> Floats:
    """Return the mean over the subjects of each image, ``(n_raters, n_images)``: images are sampled, not subjects."""
    of_image: dict[int, list[Floats]] = {}
    for (_, stimulus_id), right in items.items():
        of_image.setdefault(stimulus_id, []).append(right)
    return np.stack([np.mean(of_image[which], axis=0) for which in sorted(of_image)], axis=1)


def _accuracies(correct: Mapping[str, Mapping[_Item, Floats]], n_bootstrap: int, seed: int) -> Iterator[dict[str, Any]]:
    for condition, items in correct.items():
        matrix = _by_image(items)
        p = statistics.signed_rank_p(matrix.mean(axis=0) - CHANCE)
        words = {"subject": "all", "condition": condition, "against": "chance"}
        yield {**words, **_mean(matrix, n_bootstrap, seed), "p": p}


def _differences(
    correct: Mapping[str, Mapping[_Item, Floats]], n_bootstrap: int, seed: int
) -> Iterator[dict[str, Any]]:
    for against, condition in combinations(correct, 2):
        matrix = _by_image(correct[condition]) - _by_image(correct[against])
        p = statistics.signed_rank_p(matrix.mean(axis=0))
        words = {"subject": "all", "condition": condition, "against": against}
        yield {**words, **_mean(matrix, n_bootstrap, seed), "p": p}


def _by_subject(correct: Mapping[str, Mapping[_Item, Floats]], n_bootstrap: int, seed: int) -> Iterator[dict[str, Any]]:
    """Return each subject's accuracy if there are several subjects."""
    subjects = sorted({subject for items in correct.values() for subject, _ in items})
    for subject in subjects if len(subjects) > 1 else ():
        for condition, items in correct.items():
            mine = [found for (item_subject, _), found in items.items() if item_subject == subject]
            matrix = np.stack(mine, axis=1)
            words = {"statistic": "accuracy", "subject": subject, "condition": condition}
            yield {**words, **_mean(matrix, n_bootstrap, seed)}


def _by_rater(design: Design, answers: Sequence[Answers]) -> Iterator[dict[str, Any]]:
    for given in answers:
        sheet = design.sheets[given.rater - 1]
        right = np.array([side == question.side for question, side in zip(sheet, given.sides, strict=True)])
        caught = np.array([question.condition == CATCH for question in sheet])
        values = {"rater_accuracy": right[~caught].mean(), "rater_seconds": np.median(given.seconds)}
        if caught.any():
            values["rater_catch"] = right[caught].mean()
        for statistic, value in values.items():
            yield {"statistic": statistic, "rater": given.rater, "value": float(value), "n_raters": 1}


def _mean(matrix: Floats, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Return the mean over raters and images ``(n_raters, n_images)``, with an interval over both."""
    n_raters, n_images = matrix.shape
    raters = statistics.bootstrap_weights(np.arange(n_raters), n_bootstrap, seed=seed)
    images = statistics.bootstrap_weights(np.arange(n_images), n_bootstrap, seed=seed + 1)
    # (n_bootstrap, n_images); the weights of each resampling add up to n_raters and to n_images
    replicates = ((raters @ matrix) * images).sum(axis=1) / matrix.size
    low, high = statistics.interval(replicates)
    return {"value": float(matrix.mean()), "low": low, "high": high, "n_raters": n_raters, "n_images": n_images}
