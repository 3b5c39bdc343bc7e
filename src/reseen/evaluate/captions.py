"""Score decoded captions against the captions that people wrote of the presented images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import statistics
from reseen.errors import ShapeError
from reseen.metrics.captions import CAPTION_METRICS, COCO, CaptionCounts, CaptionReferences
from reseen.metrics.scores import Floats
from reseen.tables import CAPTION_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

N_DRAWS = 20
"""Default number of draws behind each chance level."""


def score_captions(
    captions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    oracle: Sequence[str] | None = None,
    training: Sequence[str] = (),
    stimulus_id: NDArray[np.int64] | None = None,
    subject: str = "",
    feature: str = "t",
    seed: int = 0,
    n_bootstrap: int = 1000,
    n_draws: int = N_DRAWS,
) -> DataFrame:
    """Score decoded captions by BLEU, ROUGE-L and CIDEr, with chance levels, oracle and ceiling.

    Parameters
    ----------
    captions
        Decoded caption of each item.
    references
        For each item, the captions that people wrote of its image.
    oracle
        Caption of each item that the same method returns for the true features. Left out: there is no oracle.
    training
        Captions of training images, from which the chance level ``chance_random`` is drawn. Left out: there is none.
    stimulus_id
        Shape ``(n_items,)``: ids repeat where items are single trials. Left out: all items are different stimuli.
    subject, feature
        For the table.
    seed, n_bootstrap, n_draws
        Seed of all draws; number of resamplings of stimuli behind each interval, and of draws behind each chance level.

    Returns
    -------
    DataFrame
        Columns `reseen.tables.CAPTION_COLUMNS`; protocol ``"coco2015"``. Levels: ``mismatched``, the decoded captions
        with the references of other images; ``chance_random``, a random training caption for each item; ``result``;
        ``oracle``; ``ceiling``, one caption of an image against the others, if every image has two or more. The
        interval of a chance level is over its draws; other intervals are over resampled stimuli.

    Raises
    ------
    ShapeError
        If there is not one caption and one list of references for each item, or there are fewer than two stimuli.

    Examples
    --------
    >>> references = [["a red car", "a car"], ["two dogs run", "dogs on grass"]]
    >>> table = score_captions(["a red car", "a dog"], references)
    >>> float(table.set_index(["metric", "level"])["value"].round(3)["bleu1", "result"])
    0.491
    """
    import pandas as pd

    known = CaptionReferences(references, stimulus_id)
    result = known.compare(captions)
    weights = statistics.bootstrap_weights(known.labels, n_bootstrap, seed=seed)
    rows = _chance_rows("mismatched", _mismatched(captions, known, n_draws, seed))
    if len(training):
        rows += _chance_rows("chance_random", _random(training, known, n_draws, seed))
    rows += _rows("result", [result], weights)
    if oracle is not None:
        rows += _rows("oracle", [known.compare(oracle)], weights)
    if min(len(own) for own in references) > 1:
        rows += _rows("ceiling", _ceiling(references, known.labels), weights)
    fixed = {"subject": subject, "feature": feature, "protocol": COCO, "n": len(known)}
    order = {metric: number for number, metric in enumerate(CAPTION_METRICS)}
    rows.sort(key=lambda row: order[str(row["metric"])])  # stable: levels stay in their order
    return pd.DataFrame([{**fixed, **row} for row in rows], columns=list(CAPTION_COLUMNS))


def _mismatched(captions: Sequence[str], known: CaptionReferences, n_draws: int, seed: int) -> list[dict[str, Floats]]:
    """Score the captions with the references of other images, once for each draw."""
    pairings = statistics.derangements(known.labels, n_draws, seed=seed)
    scores = []
    for pairing in pairings:
        scores.append(known.compare([captions[row] for row in pairing]).scores())
    return scores


def _random(training: Sequence[str], known: CaptionReferences, n_draws: int, seed: int) -> list[dict[str, Floats]]:
    """Score random training captions, one for each item, once for each draw."""
    if isinstance(training, str):
        raise ShapeError("training must be a list of captions; found one text.", where="training", found=training)
    rng = np.random.default_rng([seed, 8])
    drawn = rng.integers(len(training), size=(n_draws, len(known)))
    scores = []
    for numbers in drawn:
        scores.append(known.compare([training[number] for number in numbers]).scores())
    return scores


def _ceiling(references: Sequence[Sequence[str]], labels: NDArray[np.int64]) -> list[CaptionCounts]:
    """Compare the first, second ... caption of each image with its other captions.

    There are as many comparisons as the image with the fewest captions has captions.
    """
    found = []
    for number in range(min(len(own) for own in references)):
        others = [[*own[:number], *own[number + 1 :]] for own in references]
        found.append(CaptionReferences(others, labels).compare([own[number] for own in references]))
    return found


def _chance_rows(level: str, draws: Sequence[dict[str, Floats]]) -> list[dict[str, object]]:
    """Return the mean over draws and the middle 95 % of them."""
    rows: list[dict[str, object]] = []
    for metric in CAPTION_METRICS:
        values = np.array([draw[metric][0] for draw in draws])
        low, high = statistics.interval(values)
        rows.append({"metric": metric, "level": level, "value": float(values.mean()), "low": low, "high": high})
    return rows


def _rows(level: str, compared: Sequence[CaptionCounts], weights: Floats) -> list[dict[str, object]]:
    """Return the mean over comparisons, with its interval over resampled stimuli."""
    values, replicates = [counts.scores() for counts in compared], [counts.scores(weights) for counts in compared]
    rows: list[dict[str, object]] = []
    for metric in CAPTION_METRICS:
        value = float(np.mean([scores[metric][0] for scores in values]))
        low, high = statistics.interval(np.mean([scores[metric] for scores in replicates], axis=0))
        rows.append({"metric": metric, "level": level, "value": value, "low": low, "high": high})
    return rows
