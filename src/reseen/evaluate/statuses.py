"""Statuses: apply the checks to the tables of scores and of diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reseen.checks import (
    CHECK_COLUMNS,
    CHECKS,
    DUPLICATED,
    MOSTLY_DUPLICATED,
    PASS,
    Found,
    Number,
    Row,
    against,
    by_chance,
    check_row,
)
from reseen.conditions import main_condition
from reseen.headline import Headline, choose, summary
from reseen.protocols import PROTOCOLS
from reseen.tables import FEATURES, is_retrieved, retrieving_feature

if TYPE_CHECKING:
    import pandas as pd

_WITHOUT_RESPONSES = {
    "chance_mean": "the mean z and c",
    "chance_noise": "noise without a caption",
    "chance_random": "z and c of random training images",
}


def run_checks(
    scores: pd.DataFrame | None, diagnostics: pd.DataFrame | None, *, stimuli: str = "", n_permutations: int = 1
) -> pd.DataFrame:
    """Apply the checks to the tables of a run.

    Parameters
    ----------
    scores
        Tidy table with the columns `reseen.tables.SCORE_COLUMNS`, of any number of subjects, or ``None``.
    diagnostics
        Table with the columns `reseen.tables.DIAGNOSTIC_COLUMNS`, or ``None``.
    stimuli
        Category of the stimuli, see `reseen.headline.choose`.
    n_permutations
        Number of permutations of the labels behind the permuted level.

    Returns
    -------
    DataFrame
        Table of `CHECK_COLUMNS`: one row for each check, subject, feature and setting with its numbers in the tables.
    """
    import pandas as pd

    rows: list[Row] = []
    rule = None
    if scores is not None and len(scores):
        rule = choose(scores, stimuli)
        for subject, found in summary(scores, rule).groupby("subject", sort=False):
            checked = _check_scores(found.to_dict("records"), rule, n_permutations)
            rows += [{"subject": subject, **row} for row in checked]
    if diagnostics is not None:
        for key, found in diagnostics.groupby(["subject", "feature"], sort=False):
            checked = _check_diagnostics(str(key[1]), found.to_dict("records"), rule)
            rows += [{"subject": key[0], **row} for row in checked]
    table = pd.DataFrame(rows, columns=list(CHECK_COLUMNS))
    return table.sort_values("subject", key=lambda names: pd.factorize(names)[0], kind="stable", ignore_index=True)


# ------------------------------------------------------------------------------------------------ scores


def _number(row: Mapping[Any, Any], *columns: str) -> Number:
    """Return the number in these columns of a row: value, low, high and chance."""
    value, low, high, chance, sd = (float(row[name]) for name in (*columns, "chance_sd"))
    return Number(value, low, high, chance, sd, int(row["n"]))


def _score(row: Mapping[Any, Any], chance: str = "chance_mismatched") -> Number:
    return _number(row, "result", "low", "high", chance)


def _check_scores(rows: list[dict[Any, Any]], rule: Headline | None, n_permutations: int) -> Iterator[Row]:
    """Yield the checks of one subject's scores, from the rows of `reseen.headline.summary`."""
    first = [row for row in rows if rule is not None and row["score"] == rows[0]["score"]]
    complete = {str(row["condition"]): row for row in first if row["subset"] == "all"}
    conditions = list(complete) or [row["condition"] for row in rows]
    main = main_condition(name for name in conditions if not is_retrieved(name))
    if rule is not None and main in complete:
        subsets = {str(row["subset"]): row for row in first if row["condition"] == main}
        yield from _check_headline(f"{main} images ({rule.comparison})", main, complete, subsets)
    for row in rows:
        if row["score"] in ("pixcorr", "ssim") and row["condition"] == main and math.isfinite(row["chance_mean"]):
            name = "pixel correlation" if row["score"] == "pixcorr" else "SSIM"
            number = _score(row, "chance_mean")
            found: Found = ("pass", "above") if number.low > number.chance else ("warn", "by its interval NOT above")
            yield check_row("one image for all", f"{main} images", number, found, number.chance, name)
    yield from _check_permuted(rows, rule, n_permutations)


def _check_headline(
    feature: str, main: str, complete: Mapping[str, Mapping[Any, Any]], subsets: Mapping[str, Mapping[Any, Any]]
) -> Iterator[Row]:
    """Yield the checks of the headline.

    ``complete`` has the row of all images for each condition, ``subsets`` that of each subset for the main one.
    """
    row = complete[main]
    result = _score(row)
    for subset, part in subsets.items():
        yield by_chance("identification", feature, _score(part), "" if subset == "all" else f" of {subset} images")
    if math.isfinite(row["upper_bound"]):
        oracle = result._replace(value=float(row["upper_bound"]), low=math.nan, high=math.nan)
        # gap_closed in scores.csv is NaN where the oracle is not above chance
        found: Found = ("pass", "above") if math.isfinite(row["gap_closed"]) else ("fail", "not above")
        yield check_row("oracle", feature, oracle, found, oracle.threshold)
    scored = {name: _score(other) for name, other in complete.items() if name != main}
    for name in scored:
        if not is_retrieved(name):
            yield against("one condition", feature, result, scored[name], name)
    nearest = max(filter(is_retrieved, scored), key=lambda name: scored[name].value, default=None)
    if nearest is not None:
        yield against("retrieval", feature, result, scored[nearest], retrieving_feature(nearest))
    if {"seen", "novel"} <= set(subsets):
        seen, novel = (_score(subsets[name]) for name in ("seen", "novel"))
        yield against("novel combinations", feature, novel, seen, "", mildly=True)
    known = {name: float(row[name]) for name in _WITHOUT_RESPONSES if math.isfinite(row[name])}
    if known:
        best = max(known, key=lambda name: known[name])
        found = ("pass", "above") if result.low > known[best] else ("fail", "by its interval NOT above")
        setting = _WITHOUT_RESPONSES[best]
        yield check_row("without responses", feature, _score(row, best), found, known[best], setting)


def _check_permuted(rows: list[dict[Any, Any]], rule: Headline | None, n_permutations: int) -> Iterator[Row]:
    """Compare decoders fitted on permuted labels with one half, by every identification that is printed.

    A score differs from one half if both hold: Student's t over the permutations is significant at 5 % for all scores
    together (Bonferroni), and the difference is three standard deviations of wrong pairings over the square root of the
    number of permutations. Images of one permutation share a bias, so scores of permutations vary more than those of
    wrong pairings. Yields the scores that differ, or else the one furthest from one half.
    """
    pixels = ("pixcorr", "ssim")
    found = [row for row in rows if row["subset"] == "all" and row["score"] not in pixels]
    found = [row for row in found if math.isfinite(row["chance_permuted"])]
    found.sort(key=lambda row: -abs(float(row["chance_permuted"]) - 0.5))
    apart = [row for row in found if _differs(row, len(found), n_permutations)]
    ties_lose = rule is not None and rule.protocol in PROTOCOLS and PROTOCOLS[rule.protocol].ties == "lose"
    for row in apart or found[:1]:
        columns = ("chance_permuted", "permuted_low", "permuted_high", "chance_permuted")
        number = _number(row, *columns)._replace(chance=0.5)
        result: Found = ("pass", "level with")
        if n_permutations < 2:
            result = "warn", "not enough to distinguish a leak from"
        elif apart:
            result = ("fail", "ABOVE") if number.value > 0.5 else ("warn", "below")
        is_feature = row["score"] == FEATURES
        words = {
            "count": f"{n_permutations} permutation{'s' * (n_permutations > 1)}",
            "others": f", as are all {len(found)} identifications" if len(found) > 1 else "",
            "ties": ", where ties lose and images that are all alike score 0" if ties_lose and not is_feature else "",
        }
        feature = f"decoded {row['condition']}" if is_feature else f"{row['condition']} images"
        limit = 0.5 + PASS * number.sd / math.sqrt(n_permutations)
        yield check_row("permuted labels", feature, number, result, limit, str(row["score"]), **words)


def _differs(row: Mapping[Any, Any], n_scores: int, n_permutations: int) -> bool:
    """Return whether the permuted level of a score differs from one half, see `_check_permuted`."""
    from scipy.stats import t

    value, low, high = (float(row[name]) for name in ("chance_permuted", "permuted_low", "permuted_high"))
    # half of the interval is t(0.975) * sd / sqrt(k); one end may be cut off at 0 or 1
    half, distance = max(value - low, high - value), abs(value - 0.5)
    if n_permutations < 2 or not distance > PASS * float(row["chance_sd"]) / math.sqrt(n_permutations):
        return False
    freedom = n_permutations - 1
    p = 2 * t.sf(distance / half * t.ppf(0.975, freedom), freedom) if half > 0 else 0.0
    return bool(p < 0.05 / n_scores)


# ------------------------------------------------------------------------------------------------ diagnostics


def _check_diagnostics(feature: str, rows: list[dict[Any, Any]], rule: Headline | None) -> Iterator[Row]:
    """Yield the checks of one subject's diagnostics of one feature, or of the images of a condition."""
    network = "" if rows[0]["network"] != rows[0]["network"] else str(rows[0]["network"])
    lines = {f"{row['diagnostic']} {row['setting']}": _number(row, "value", "low", "high", "chance") for row in rows}
    feature = f"{feature} ({network})" if network else f"decoded {feature}"
    for name, check in CHECKS.items():
        for line, number in lines.items():
            # the headline is checked with the scores
            is_headline = line == "n_way 2" and rule is not None and network == rule.comparison
            if line.startswith(check.reads) and not is_headline and math.isfinite(number.value):
                yield _check_diagnostic(name, feature, line, number, lines)


def _check_diagnostic(name: str, feature: str, line: str, number: Number, lines: Mapping[str, Number]) -> Row:
    """Return the check of one line of the diagnostics; most are comparisons with chance."""
    setting = line.split(" ", 2)[-1] if line.startswith("pairs") else ""
    found, threshold = number.by_chance(), number.threshold
    words: dict[str, float | str] = {}
    if name == "near duplicates":
        found, threshold = ("pass", "below"), DUPLICATED
        if number.value >= DUPLICATED:
            found = ("fail" if number.value >= MOSTLY_DUPLICATED else "warn"), "at or above"
    elif name == "training similarity":
        found = ("warn", "above") if number.sds >= PASS else ("pass", "not clearly above")
    elif name == "within category":
        between = lines[f"pairs between {setting}"]
        nothing = number._replace(value=math.nan)
        alone, every = (lines.get(line, nothing) for line in (f"pairs {setting} alone", "n_way 2"))
        words = {"between": between.value, "alone": alone.value, "every": every.value}
        # with few pairs: the interval has to end nearer to one half than to the value between categories
        is_apart = number.high < min(between.low, (0.5 + between.value) / 2)
        if found[0] == "fail" and not (between.sds >= PASS and is_apart):
            found = "warn", found[1]
    elif name == "left-out cluster":
        is_less = lines["left_out lost"].low > 0
        words = {"random": lines["left_out at random"].value, "less": "less than " if is_less else ""}
        if found[0] == "pass" and is_less:
            found = "warn", found[1]
    return check_row(name, feature, number, found, threshold, setting, **words)
