"""Read the table of scores: the headline rows, and in plain words what they show."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.evaluate.guessing import percent, said_of_reading
from reseen.headline import IDENTIFICATION, Headline, choose
from reseen.protocols import PROTOCOLS
from reseen.tables import (
    FEATURES,
    GAP_CLOSED,
    NULL_SD,
    P_VALUE,
    PIXELS,
    first_protocol,
    is_retrieved,
    main_condition,
)
from reseen.tables import SCORE_COLUMNS as COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame

    Numbers = tuple[float, float, float, int]
    Line = Mapping[str, float]

SUMMARY_COLUMNS = (
    "subject",
    "score",
    "subset",
    "condition",
    "floor_repaired",
    "floor_shuffled",
    "shuffled_low",
    "shuffled_high",
    "floor_mean",
    "floor_noise",
    "floor_random",
    "result",
    "low",
    "high",
    "ceiling",
    "gap_closed",
    "null_sd",
    "null_sds",
    "p",
    "n",
)
"""The columns of `summary`: ``null_sd`` is the standard deviation over wrong pairings, ``null_sds`` how many of them
the result is above their mean."""

_WITHOUT_BRAIN = {
    "floor_mean": "the mean z and c",
    "floor_noise": "noise without a caption",
    "floor_random": "z and c of random training pictures",
}
_NONE = (float("nan"), float("nan"), float("nan"), 0)


def summary(scores: DataFrame, *, stimuli: str = "") -> DataFrame:
    """Return the headline rows, one for each score with its chance levels and ceiling beside it.

    Two-way identification as `reseen.headline.choose` says, by the layer of the headline and by the network's other
    end; pixel correlation and SSIM of the same protocol; identification of decoded features. All test pictures, and by
    the headline each subset too.

    Parameters
    ----------
    scores
        A table of `COLUMNS`, of any number of subjects; read back from CSV it may hold NaN for empty words.
    stimuli
        Kind of the stimuli, see `reseen.headline.choose`.

    Returns
    -------
    A table of `SUMMARY_COLUMNS`.
    """
    import pandas as pd

    head = choose(scores, stimuli)
    known = _numbers(scores, head)
    kinds: list[tuple[str, tuple[str, ...]]] = []
    for layer in head.layers if head is not None else ():
        assert head is not None
        kinds.append((f"{head.observer} {layer}".strip(), (IDENTIFICATION, head.observer, layer, head.direction)))
    first = kinds[0][0] if kinds else ""
    kinds += [("pixcorr", ("pixcorr", "", "", "")), ("ssim", ("ssim", "", "", ""))]
    kinds += [("features", ("identification", FEATURES, "", "original"))]
    lines = []
    for subject in dict.fromkeys(key[0] for key in known):
        for score, kind in kinds:
            subsets = dict.fromkeys(key[6] for key in known if key[0] == subject and key[2:6] == kind)
            for subset in subsets:
                if subset != "all" and score != first:
                    continue
                for condition in dict.fromkeys(key[1] for key in known if key[0] == subject and key[2:6] == kind):
                    words = {"subject": subject, "score": score, "subset": subset, "condition": condition}
                    lines.append({**words, **_line(known, subject, condition, kind, subset)})
    return pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))


def verdict(scores: DataFrame, reading: DataFrame | None = None, *, stimuli: str = "", n_shuffles: int = 1) -> str:
    """Summarise the scores in words, a paragraph for each subject, by the rules stated here.

    Of two scores one is *above* the other when each lies outside the other's interval; otherwise they are *level*.
    A score *carries what was seen* when it lies at least three standard deviations of wrong pairings above their mean,
    *hints at it* from two on, and else is *not told from chance*. Decoders fitted on k permutations of the labels are
    *not told from chance* unless they differ from one half by two nulls: by three standard deviations of wrong pairings
    over ``sqrt(k)``, and by Student's t over the permutations, at 5 % for all identifications of `summary` together
    (Bonferroni). One permutation makes all images lean to one side, so that scores of permutations may spread more than
    those of wrong pairings. The nearest training picture is the best of the retrieved conditions. All by the headline
    (`reseen.headline.choose`), whose caveat is repeated.
    Where pictures were made without the brain, it is said what the best of them get; a result is *above* that where its
    interval is. That the picture of the mean z and c does as well pixel by pixel is said where it does. What the
    decoded features show by themselves follows, by the rules of `reseen.evaluate.guessing.said_of_reading`.

    Parameters
    ----------
    scores, stimuli
        See `summary`.
    reading
        The table of `diagnose_features`; left out: nothing is said of it.
    n_shuffles
        Over how many shuffles the shuffled-training floor was averaged.

    Returns
    -------
    Text; empty where no observer scored a picture and there is no ``reading``.
    """
    headline, head = summary(scores, stimuli=stimuli), choose(scores, stimuli)
    judged = [score for score in dict.fromkeys(headline["score"]) if score not in ("pixcorr", "ssim", "features")]
    said: dict[str, list[str]] = {}
    caveat = head.caveat if head is not None else ""
    for subject, rows in headline.groupby("subject", sort=False) if judged else ():
        mine: dict[tuple[str, str, str], Line] = {
            (row["score"], row["subset"], row["condition"]): {name: float(row[name]) for name in SUMMARY_COLUMNS[4:]}
            for row in rows.to_dict("records")
        }
        permuted = list(_permuted(rows.to_dict("records"), n_shuffles, ties_lose=_ties_lose(head)))
        said[str(subject)] = list(_sentences(mine, judged, caveat, permuted))
    for name, sentences in (said_of_reading(reading) if reading is not None else {}).items():
        said[name] = [*said.get(name, []), *sentences]
    return "\n".join(f"{subject}: {' '.join(sentences)}" for subject, sentences in said.items())


def _sentences(
    mine: Mapping[tuple[str, str, str], Line], judged: list[str], caveat: str, permuted: list[str]
) -> Iterator[str]:
    late, early = judged[0], judged[-1]
    at = {condition: line for (score, subset, condition), line in mine.items() if (score, subset) == (late, "all")}
    made = [condition for condition in at if not is_retrieved(condition)]
    if not made:
        return
    main = main_condition(made)
    yield _against_chance(main, at[main], late)
    if caveat:
        yield caveat
    others = [condition for condition in made if condition != main]
    if others:
        parts = [f"{_order(at[main], at[other])} {other} ({_share(at[other])})" for other in others]
        yield f"There it is {' and '.join(parts)}."
    nearest = max((c for c in at if is_retrieved(c)), key=lambda c: at[c]["result"], default=None)
    if nearest is not None:
        line = at[nearest]
        yield f"It is {_order(at[main], line)} the training picture nearest to decoded {nearest[-1]} ({_share(line)})."
    if "z" in others and early != late:
        z, both = mine[early, "all", "z"], mine[early, "all", main]
        yield f"By {_whose(early)}, z ({_share(z)}) is {_order(z, both)} {main} ({_share(both)})."
    seen, novel = mine.get((late, "seen", main)), mine.get((late, "novel", main))
    if seen and novel:
        order = _order(novel, seen)
        yield f"Novel pictures ({_share(novel)}) are {order} those like the ones trained on ({_share(seen)})."
    yield from permuted
    yield from _without_brain(main, at[main])
    yield from _mean_picture(main, mine)


def _whose(score: str) -> str:
    """Return whose layer a score is by: ``judge late`` is the judge's late layer."""
    if score == PIXELS:
        return "pixel correlation"
    observer, _, layer = score.rpartition(" ")
    return f"the {observer.replace('_', ' ')}'s {layer} layer"


def _against_chance(condition: str, line: Line, score: str) -> str:
    sds = line["null_sds"]
    claim = "carry what was seen" if sds >= 3 else "hint at what was seen" if sds >= 2 else "are not told from chance"
    text = f"By {_whose(score)}, {condition} pictures {claim}: {_share(line)} of the pairs are told apart"
    if np.isfinite(sds):
        floor = percent(line["floor_repaired"])
        text += f", {sds:.1f} standard deviations of wrong pairings above their mean of {floor}"
    if np.isfinite(line["gap_closed"]):
        text += f", and {percent(line['gap_closed'])} of the way to the ceiling of {percent(line['ceiling'])}"
    text += f" (n = {line['n']:.0f})."
    if np.isfinite(line["ceiling"]) and not np.isfinite(line["gap_closed"]):
        text += f" The gap closed is undefined: the ceiling of {percent(line['ceiling'])} is not above chance."
    return text


def _permuted(rows: Sequence[Mapping[Hashable, Any]], n_permutations: int, *, ties_lose: bool) -> Iterator[str]:
    """Yield whether decoders fitted on permuted labels are at chance, by every identification that is printed.

    A level differs from chance if it does by both nulls: by Student's t over the permutations, at 5 % for all scores
    together (Bonferroni), and by three standard deviations of wrong pairings, divided by the square root of the number
    of permutations.
    """
    found = [
        row
        for row in rows
        if row["subset"] == "all" and row["score"] not in ("pixcorr", "ssim") and np.isfinite(row["floor_shuffled"])
    ]
    if not found:
        return
    values = [float(row["floor_shuffled"]) for row in found]
    span = percent(values[0]) if len(found) == 1 else f"{percent(min(values))} to {percent(max(values))}"
    if n_permutations < 2:
        yield f"Decoders fitted on one permutation of the labels get {span}; one does not tell chance from a leak."
        return
    told = f"over {n_permutations} permutations"
    bound = 3 / np.sqrt(n_permutations)
    apart = [
        row
        for row in found
        if _p_of_chance(row, n_permutations) < 0.05 / len(found)
        and abs(float(row["floor_shuffled"]) - 0.5) > bound * float(row["null_sd"])
    ]
    if not apart:
        every = "by the one score" if len(found) == 1 else f"by each of the {len(found)} identifications"
        yield f"Decoders fitted on permuted labels are not told from chance {every} ({span}, {told})."
    for row in apart:
        side = "ABOVE chance: look for a leak" if row["floor_shuffled"] > 0.5 else "below chance"
        if ties_lose and row["floor_shuffled"] < 0.5:
            side += ", where ties lose and images that are all alike score 0"
        name = f"{row['condition']} by {row['score']}"
        yield f"Decoders fitted on permuted labels are {side} ({name}: {percent(row['floor_shuffled'])}, {told})."


def _p_of_chance(row: Mapping[Hashable, Any], n_permutations: int) -> float:
    """Return the two-sided p of the permuted level against one half, from its interval over permutations."""
    from scipy.stats import t

    value, low, high = (float(row[name]) for name in ("floor_shuffled", "shuffled_low", "shuffled_high"))
    half, distance = max(value - low, high - value), abs(value - 0.5)  # one end may be cut off at 0 or 1
    freedom = n_permutations - 1
    if half == 0:
        return 1.0 if distance == 0 else 0.0
    return float(2 * t.sf(distance / half * t.ppf(0.975, freedom), freedom))


def _ties_lose(head: Headline | None) -> bool:
    """Return whether a tie loses by the protocol of the headline."""
    return head is not None and head.protocol in PROTOCOLS and PROTOCOLS[head.protocol].ties == "lose"


def _without_brain(condition: str, line: Line) -> Iterator[str]:
    """Return what the best of the floors that know nothing of the brain gets, and whether the result lies above it."""
    known = {name: line[level] for level, name in _WITHOUT_BRAIN.items() if np.isfinite(line[level])}
    if known:
        best = max(known, key=lambda name: known[name])
        order = "above that" if line["low"] > known[best] else "NOT above that"
        most = f"{percent(known[best])} at most (from {best})"
        yield f"Pictures made without the brain get {most}; {condition} is {order}."


def _mean_picture(condition: str, mine: Mapping[tuple[str, str, str], Line]) -> Iterator[str]:
    for score, name in (("pixcorr", "pixel correlation"), ("ssim", "SSIM")):
        line = mine.get((score, "all", condition))
        if line and np.isfinite(line["floor_mean"]) and not line["low"] > line["floor_mean"]:
            yield (
                f"By {name} one picture for all, of the mean z and c, does as well ({line['floor_mean']:.2f}; "
                f"{condition} {line['result']:.2f})."
            )


def _order(a: Line, b: Line) -> str:
    if a["result"] > b["high"] and b["result"] < a["low"]:
        return "above"
    if a["result"] < b["low"] and b["result"] > a["high"]:
        return "below"
    return "level with"


def _share(line: Line) -> str:
    return percent(line["result"])


def _line(
    known: Mapping[tuple[str, ...], Numbers], subject: str, condition: str, kind: tuple[str, ...], subset: str
) -> dict[str, float]:
    def numbers(level: str, suffix: str = "") -> Numbers:
        return known.get((subject, condition, kind[0] + suffix, *kind[1:], subset, level), _NONE)

    result, floor, sd = numbers("result"), numbers("floor_repaired"), numbers("result", NULL_SD)
    return {
        "floor_repaired": floor[0],
        **dict(zip(("floor_shuffled", "shuffled_low", "shuffled_high"), numbers("floor_shuffled")[:3], strict=True)),
        **{level: numbers(level)[0] for level in _WITHOUT_BRAIN},
        "result": result[0],
        "low": result[1],
        "high": result[2],
        "ceiling": numbers("ceiling")[0],
        "gap_closed": numbers("result", GAP_CLOSED)[0],
        "null_sd": sd[0],
        "null_sds": (result[0] - floor[0]) / sd[0] if sd[0] > 0 else float("nan"),
        "p": numbers("result", P_VALUE)[0],
        "n": result[3],
    }


def _numbers(scores: DataFrame, head: Headline | None) -> dict[tuple[str, ...], Numbers]:
    """Index the features' rows and those of the headline's protocol by their words, from ``subject`` to ``level``."""
    of_features = scores["observer"] == FEATURES
    protocol = first_protocol(scores["protocol"][~of_features]) if head is None else head.protocol
    scores = scores[of_features | (scores["protocol"] == protocol)]
    words = scores[[column for column in COLUMNS[:9] if column != "protocol"]].fillna("").astype(str)
    values = (scores[column] for column in COLUMNS[9:])
    return {
        key: (float(value), float(low), float(high), int(n))
        for key, value, low, high, n in zip(words.itertuples(index=False, name=None), *values, strict=True)
    }
