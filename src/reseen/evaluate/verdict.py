"""Read the table of scores: the headline rows, and in plain words what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from reseen import statistics
from reseen.evaluate.guessing import percent, said_of_reading
from reseen.protocols import PROTOCOLS
from reseen.tables import (
    FEATURES,
    GAP_CLOSED,
    NULL_SD,
    P_VALUE,
    first_protocol,
    is_retrieved,
    main_condition,
    says_of_score,
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
    "floor_mean",
    "floor_noise",
    "floor_random",
    "result",
    "low",
    "high",
    "ceiling",
    "gap_closed",
    "null_sds",
    "p",
    "n",
)
"""The columns of `summary`: ``null_sds`` is how many null standard deviations the result lies above its floor."""

LISTING_COLUMNS = (
    *("protocol", "condition", "metric", "observer", "layer", "direction"),
    *("floor_repaired", "result", "low", "high", "p", "n"),
)
"""The columns of `listing`."""

_WITHOUT_BRAIN = {
    "floor_mean": "the mean z and c",
    "floor_noise": "noise without a caption",
    "floor_random": "z and c of random training pictures",
}
_NONE = (float("nan"), float("nan"), float("nan"), 0)


def summary(scores: DataFrame, *, observer: str | None = None) -> DataFrame:
    """Give the headline rows, one for each score with its floors and ceiling beside it.

    Two-way identification with the original held fixed, by an observer's late and early layers (its last and first
    where it names them otherwise); pixel correlation and SSIM; identification of decoded features. All test pictures,
    and by the late layer each subset too. Of the protocol ``builtin``, or where that was not asked for of the first,
    which may hold the reconstruction fixed.

    Parameters
    ----------
    scores
        A table of `COLUMNS`, of any number of subjects; read back from CSV it may hold NaN for empty words.
    observer
        The judge of the headline; left out: ``"judge"``, or the first observer where there is none of that name.

    Returns
    -------
    A table of `SUMMARY_COLUMNS`.
    """
    import pandas as pd

    known = _numbers(scores)
    judge, layers = _judge(known, observer)
    held = {key[5] for key in known if key[2:4] == ("identification", judge)}
    direction = "original" if "original" in held or not held else held.pop()
    kinds = [(f"{judge} {layer}", ("identification", judge, layer, direction)) for layer in layers]
    kinds += [("pixcorr", ("pixcorr", "", "", "")), ("ssim", ("ssim", "", "", ""))]
    kinds += [("features", ("identification", FEATURES, "", "original"))]
    lines = []
    for subject in dict.fromkeys(key[0] for key in known):
        for score, kind in kinds:
            subsets = dict.fromkeys(key[6] for key in known if key[0] == subject and key[2:6] == kind)
            for subset in subsets:
                if subset != "all" and score != kinds[0][0]:
                    continue
                for condition in dict.fromkeys(key[1] for key in known if key[0] == subject and key[2:6] == kind):
                    words = {"subject": subject, "score": score, "subset": subset, "condition": condition}
                    lines.append({**words, **_line(known, subject, condition, kind, subset)})
    return pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))


def listing(scores: DataFrame) -> DataFrame:
    """Give every score of all pictures, of every protocol, with its floor, interval and p in one row.

    Parameters
    ----------
    scores
        A table of `COLUMNS`, of one subject.

    Returns
    -------
    A table of `LISTING_COLUMNS`, in the order of the protocols.
    """
    import pandas as pd

    words = ["protocol", "condition", "metric", "observer", "layer", "direction"]
    whole = scores[scores["subset"] == "all"].fillna(dict.fromkeys(words, ""))
    lines: dict[tuple[str, ...], dict[str, object]] = {}
    for row in whole.to_dict("records"):
        key = tuple(str(row[word]).removesuffix(P_VALUE) if word == "metric" else str(row[word]) for word in words)
        line = lines.setdefault(key, dict(zip(words, key, strict=True)))
        if str(row["metric"]).endswith(P_VALUE):
            line["p"] = row["value"]
        elif row["level"] == "result":
            line.update(result=row["value"], low=row["low"], high=row["high"], n=row["n"])
        elif row["level"] == "floor_repaired":
            line["floor_repaired"] = row["value"]
    scored = [line for line in lines.values() if not says_of_score(str(line["metric"]))]
    return pd.DataFrame(scored, columns=list(LISTING_COLUMNS))


def verdict(
    scores: DataFrame, reading: DataFrame | None = None, *, observer: str | None = None, n_shuffles: int = 1
) -> str:
    """Say in plain words what the scores show, a paragraph for each subject, by rules stated here.

    Of two scores one is *above* the other when each lies outside the other's interval; otherwise they are *level*.
    A score *carries what was seen* when it lies at least three null standard deviations above its re-paired floor,
    *hints at it* from two on, and else is *not told from chance*. A shuffled-training floor is *at chance* within three
    null standard deviations, ``sqrt(1 / (12 n k))`` of n pictures and k shuffles, of one half; what lies below is no
    leak: stimuli were left out in turn, or by the protocol a tie loses. The nearest training picture is the best of the
    retrieved conditions. All by two-way identification with the original held fixed. Where pictures were made without
    the brain, it is said what the best of them get; a result is *above* that where its interval is. That the picture of
    the mean z and c does as well pixel by pixel is said where it does. What the decoded features show by themselves
    follows, by the rules of `reseen.evaluate.guessing.said_of_reading`.

    Parameters
    ----------
    scores, observer
        See `summary`.
    reading
        The table of `evaluate_reading`; left out: nothing is said of it.
    n_shuffles
        Over how many shuffles the shuffled-training floor was averaged.

    Returns
    -------
    Text; empty where no observer scored a picture and there is no ``reading``.
    """
    headline = summary(scores, observer=observer)
    judged = [score for score in dict.fromkeys(headline["score"]) if score not in ("pixcorr", "ssim", "features")]
    said: dict[str, list[str]] = {}
    ties = _ties_lose(scores)
    for subject, rows in headline.groupby("subject", sort=False) if judged else ():
        mine: dict[tuple[str, str, str], Line] = {
            (row["score"], row["subset"], row["condition"]): {name: float(row[name]) for name in SUMMARY_COLUMNS[4:]}
            for row in rows.to_dict("records")
        }
        said[str(subject)] = list(_sentences(mine, judged, n_shuffles, ties_lose=ties))
    for name, sentences in (said_of_reading(reading) if reading is not None else {}).items():
        said[name] = [*said.get(name, []), *sentences]
    return "\n".join(f"{subject}: {' '.join(sentences)}" for subject, sentences in said.items())


def _sentences(
    mine: Mapping[tuple[str, str, str], Line], judged: list[str], n_shuffles: int, *, ties_lose: bool
) -> Iterator[str]:
    late, early = judged[0], judged[-1]
    at = {condition: line for (score, subset, condition), line in mine.items() if (score, subset) == (late, "all")}
    made = [condition for condition in at if not is_retrieved(condition)]
    if not made:
        return
    main = main_condition(made)
    yield _against_chance(main, at[main], late)
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
    yield from _floor(at[main], n_shuffles, ties_lose=ties_lose)
    yield from _without_brain(main, at[main])
    yield from _mean_picture(main, mine)


def _whose(score: str) -> str:
    """Say whose layer a score is by: ``judge late`` is the judge's late layer."""
    observer, _, layer = score.rpartition(" ")
    return f"the {observer.replace('_', ' ')}'s {layer} layer"


def _against_chance(condition: str, line: Line, score: str) -> str:
    sds = line["null_sds"]
    claim = "carry what was seen" if sds >= 3 else "hint at what was seen" if sds >= 2 else "are not told from chance"
    text = f"By {_whose(score)}, {condition} pictures {claim}: {_share(line)} of the pairs are told apart"
    if np.isfinite(sds):
        text += f", {sds:.1f} null standard deviations above the re-paired floor of {percent(line['floor_repaired'])}"
    if np.isfinite(line["gap_closed"]):
        text += f", and {percent(line['gap_closed'])} of the way to the ceiling of {percent(line['ceiling'])}"
    return text + f" (n = {line['n']:.0f})."


def _floor(line: Line, n_shuffles: int, *, ties_lose: bool) -> Iterator[str]:
    shuffled = line["floor_shuffled"]
    if not np.isfinite(shuffled):
        return
    if abs(shuffled - 0.5) <= 3 * statistics.null_sd(int(line["n"])) / np.sqrt(n_shuffles):
        yield f"Decoders fitted on shuffled brains are at chance ({percent(shuffled)}), as they must be."
    elif shuffled < 0.5:
        alike = "By this protocol a tie loses, and pictures that are all alike tie: they score 0. " if ties_lose else ""
        yield (
            f"Decoders fitted on shuffled brains are below chance ({percent(shuffled)}). {alike}Where stimuli are left "
            "out in turn that is expected: to know nothing is to predict the mean of the others."
        )
    else:
        yield f"Decoders fitted on shuffled brains are NOT at chance ({percent(shuffled)}): look for a leak."


def _ties_lose(scores: DataFrame) -> bool:
    """Tell whether a tie loses by the protocol of the headline."""
    protocol = first_protocol(scores["protocol"][scores["observer"] != FEATURES])
    return protocol in PROTOCOLS and PROTOCOLS[protocol].ties == "lose"


def _without_brain(condition: str, line: Line) -> Iterator[str]:
    """Say what the best of the floors that know nothing of the brain gets, and whether the result lies above it."""
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
        "floor_shuffled": numbers("floor_shuffled")[0],
        **{level: numbers(level)[0] for level in _WITHOUT_BRAIN},
        "result": result[0],
        "low": result[1],
        "high": result[2],
        "ceiling": numbers("ceiling")[0],
        "gap_closed": numbers("result", GAP_CLOSED)[0],
        "null_sds": (result[0] - floor[0]) / sd[0] if sd[0] > 0 else float("nan"),
        "p": numbers("result", P_VALUE)[0],
        "n": result[3],
    }


def _numbers(scores: DataFrame) -> dict[tuple[str, ...], Numbers]:
    """Index the features' rows and those of one protocol by their words, from ``subject`` to ``level``."""
    of_features = scores["observer"] == FEATURES
    scores = scores[of_features | (scores["protocol"] == first_protocol(scores["protocol"][~of_features]))]
    words = scores[[column for column in COLUMNS[:9] if column != "protocol"]].fillna("").astype(str)
    values = (scores[column] for column in COLUMNS[9:])
    return {
        key: (float(value), float(low), float(high), int(n))
        for key, value, low, high, n in zip(words.itertuples(index=False, name=None), *values, strict=True)
    }


def _judge(known: Mapping[tuple[str, ...], Numbers], observer: str | None) -> tuple[str, list[str]]:
    """Name the observer of the headline, and its late and early layers in this order."""
    looked = dict.fromkeys((key[3], key[4]) for key in known if key[2] == "identification" and key[4])
    names = list(dict.fromkeys(name for name, _ in looked))
    if observer is None:
        observer = "judge" if "judge" in names or not names else names[0]
    layers = [layer for name, layer in looked if name == observer]
    ends: list[str] = [layer for layer in ("late", "early") if layer in layers]
    return observer, ends if len(ends) == 2 else list(dict.fromkeys(layers[-1:] + layers[:1]))
