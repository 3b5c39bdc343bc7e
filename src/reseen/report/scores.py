"""Scores: the table at the top of a report, and the charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reseen.headline import Headline
from reseen.plot import wording
from reseen.published import published_of
from reseen.report import charts, marks
from reseen.report.marks import Mark
from reseen.tables import BUILTIN, FEATURES, IDENTIFICATION, first_protocol
from reseen.wide import wide

if TYPE_CHECKING:
    import pandas as pd

PIXEL_METRICS = ("pixcorr", "ssim")


@dataclass(frozen=True)
class Table:
    """Table at the top: one row per subject and condition, a description, and a caution."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    about: str
    caveat: str


def headline(found: Sequence[Mark], head: Headline | None, n_permutations: int) -> Table | None:
    """Return scores of the headline's layers on all images; its own layer is last, with chance levels and oracle."""
    complete = [mark for mark in _of_protocol(found, head) if mark.key.subset in ("", "all")]
    first = _of_headline(complete, head) or _without_network(complete)
    if not first:
        return None
    layers = marks.unique(mark.key.layer for mark in first)
    if head is not None:
        layers = sorted(layers, key=lambda layer: layer == head.layer)
    pixels = [mark for mark in complete if mark.key.metric in PIXEL_METRICS and mark.key.condition]
    rows: list[dict[str, Any]] = []
    for subject in marks.unique(mark.key.subject for mark in first):
        for condition in marks.unique(mark.key.condition for mark in first):
            mine = [mark for mark in first if (mark.key.subject, mark.key.condition) == (subject, condition)]
            beside = [mark for mark in pixels if (mark.key.subject, mark.key.condition) == (subject, condition)]
            if mine:
                first_row = not rows or rows[-1]["subject"] != subject
                rows.append({**_headline_row(subject, condition, mine, beside, layers), "first": first_row})
    key = first[0].key
    names = [layer or wording.words(key.network or key.metric) for layer in layers]
    network = f" by {wording.words(key.network)}" if key.network else ""
    about = f"{wording.words(key.metric)}{network}{_direction(key.direction)}"
    about = about[0].upper() + about[1:]
    if not about.endswith("?"):
        about += "."
    if head is not None:
        about += f" {head.why}"
    permuted = f"permuted ({n_permutations})" if n_permutations else "permuted"
    columns = (*names, "mismatched", permuted, "oracle", "gap closed")
    return Table(columns, tuple(rows), about, head.caveat if head is not None else "")


def _of_protocol(found: Sequence[Mark], head: Headline | None) -> list[Mark]:
    """Keep marks of the headline's protocol, or of the first protocol without a headline; all marks without images."""
    images = [mark for mark in found if mark.key.network != FEATURES]
    protocol = first_protocol(mark.key.protocol for mark in images) if head is None else head.protocol
    return [mark for mark in images if mark.key.protocol == protocol] or list(found)


def _of_headline(found: Sequence[Mark], head: Headline | None) -> list[Mark]:
    """Keep marks of the headline's network and direction, of all layers."""
    if head is None:
        return []
    wanted = (IDENTIFICATION, head.network, head.direction, head.protocol)
    return [mark for mark in found if _family(mark) == wanted]


def chance_levels(found: Sequence[Mark], head: Headline | None) -> list[dict[str, Any]]:
    """Return the result with chance levels without responses: rows of the headline's layer and of pixel scores.

    Empty if there are no such images.
    """
    complete = [mark for mark in _of_protocol(found, head) if mark.key.subset in ("", "all")]
    chosen = [mark for mark in _of_headline(complete, head) if head is not None and mark.key.layer == head.layer]
    chosen += [mark for metric in PIXEL_METRICS for mark in complete if mark.key.metric == metric]
    several = len(marks.unique(mark.key.subject for mark in chosen)) > 1
    rows = []
    for mark in chosen:
        beside = [mark.chance_mean, mark.chance_noise, mark.chance_random]
        if all(map(math.isnan, beside)):
            continue
        values = [mark.mismatched, mark.permuted, *beside, mark.result, mark.oracle]
        words = [mark.key.subject if several else "", wording.words(mark.key.metric), mark.key.layer]
        rows.append(
            {
                "score": ", ".join(filter(None, words)),
                "condition": mark.key.condition,
                "values": [marks.show(value, mark.key.metric) for value in values],
            }
        )
    return rows


def published(scores: pd.DataFrame) -> list[dict[str, str]]:
    """Return published values of the same protocol, score, n and subjects as the mean over subjects; may be empty."""
    table = wide(scores).reset_index()
    subjects = marks.unique(scores["subject"])
    is_mean = table["subject"].isin(table["subject"].tail(1))  # the mean over subjects, or the only subject
    rows = []
    for score in table[is_mean & table["result"].notna()].to_dict("records"):
        metric, network = score["metric"], score["network"]
        by = f" by {wording.words(network)}" if network else ""
        words = [wording.words(metric) + by, score["layer"], score["condition"]]
        rows += [
            {
                "score": ", ".join(filter(None, words)),
                "subjects": ", ".join(subjects),
                "n": str(value.n),
                "result": marks.show(score["result"], metric),
                "system": value.system + ("" if value.checked else " (unverified)"),
                "value": marks.show(value.value, metric),
                "source": value.source,
            }
            for value in published_of(score, subjects)
        ]
    return rows


def _without_network(complete: Sequence[Mark]) -> list[Mark]:
    """Return marks of pixel correlation, or of the first metric if there is none."""
    metrics = marks.unique(mark.key.metric for mark in complete)
    metric = "pixcorr" if "pixcorr" in metrics else next(iter(metrics), "")
    family = [mark for mark in complete if mark.key.metric == metric]
    return [mark for mark in family if mark.key.direction == family[0].key.direction]


def _headline_row(
    subject: str, condition: str, mine: Sequence[Mark], beside: Sequence[Mark], layers: Sequence[str]
) -> dict[str, Any]:
    """Return the row of a subject and condition, from marks of the headline and (``beside``) of pixel scores."""
    by_layer = {mark.key.layer: mark for mark in mine}
    last = by_layer.get(layers[-1], mine[-1])
    undefined = "–" if math.isnan(last.oracle) else "undefined"
    metric = last.key.metric
    pixels = {mark.key.metric: marks.show(mark.result, mark.key.metric) for mark in beside}
    return {
        "subject": subject,
        "condition": condition,
        "words": wording.words(condition),
        "n": last.n or "–",
        "layers": [_cell(by_layer.get(layer)) for layer in layers],
        "beside": [marks.show(value, metric) for value in (last.mismatched, last.permuted, last.oracle)],
        "gap": undefined if math.isnan(last.gap_closed) else wording.percent(last.gap_closed),
        "pixels": [pixels.get(name, "–") for name in PIXEL_METRICS],
    }


def _cell(mark: Mark | None) -> tuple[str, str]:
    return ("–", "") if mark is None else (marks.show(mark.result, mark.key.metric), marks.interval(mark))


def _direction(direction: str) -> str:
    descriptions = {
        "original": "; for each presented image: is its own reconstruction more similar to it than another?",
        "reconstruction": "; for each reconstruction: is it more similar to its own presented image than to another?",
    }
    return descriptions.get(direction, f"; {direction}" if direction else "")


@dataclass(frozen=True)
class Question:
    """Group of charts: title, description and scores; the main groups are not folded."""

    title: str
    about: str
    chosen: list[Mark]
    main: bool = True


def chart_groups(found: Sequence[Mark], head: Headline | None) -> list[dict[str, Any]]:
    """Return one group of charts per question, each with one chart per subject."""
    questions = list(_questions(found, head))
    return [{"title": q.title, "about": q.about, "main": q.main, "figures": list(_figures(q))} for q in questions]


def _figures(question: Question) -> Iterator[dict[str, Any]]:
    for subject in marks.unique(mark.key.subject for mark in question.chosen):
        mine = [mark for mark in question.chosen if mark.key.subject == subject]
        summary = marks.reading(mine)
        chart = charts.score_chart(mine, f"{question.title}, {subject}. {summary}")
        yield {"subject": subject, "chart": chart, "reading": summary}


def _questions(found: Sequence[Mark], head: Headline | None) -> Iterator[Question]:
    """Return the groups of charts: the headline, then scores without a network, then other networks and directions."""
    identified = [mark for mark in found if marks.is_identification(mark.key.metric) and mark.key.network]
    main = _of_headline(identified, head)
    if main:
        yield from _family_questions(main, main=True)
    others = [mark for mark in found if mark not in identified]
    yield from _without_networks([mark for mark in others if mark.key.subset in ("", "all")])
    for family in dict.fromkeys(_family(mark) for mark in identified):
        if not main or family != _family(main[0]):
            yield from _family_questions([mark for mark in identified if _family(mark) == family], main=False)


def _family(mark: Mark) -> tuple[str, str, str, str]:
    return mark.key.metric, mark.key.network, mark.key.direction, mark.key.protocol


def _by_protocol(protocol: str) -> str:
    """Return the protocol of a chart if it is not reseen's own."""
    return "" if protocol in ("", BUILTIN) else f", protocol {protocol}"


def _family_questions(family: Sequence[Mark], *, main: bool) -> Iterator[Question]:
    key = family[0].key
    side = {"original": ", presented image held fixed", "reconstruction": ", reconstruction held fixed"}
    title = f"{wording.words(key.metric)} by {wording.words(key.network)}{side.get(key.direction, '')}"
    title = title[0].upper() + title[1:] + _by_protocol(key.protocol)
    complete = [mark for mark in family if mark.key.subset in ("", "all")]
    if complete:
        about = _direction(key.direction).removeprefix("; ").capitalize()
        if key.network == "image_encoder":
            about = f"This network shares its training with c, which favours c and zc. {about}"
        yield Question(title, about, complete, main)
    split = [mark for mark in family if mark.key.subset not in ("", "all")]
    if split:
        layer = split[-1].key.layer
        about = f"The {layer} layer's comparisons, scored" if layer else "The same comparisons, scored"
        about += " separately for each category of test image."
        last = [mark for mark in split if mark.key.layer == layer]
        yield Question(f"{title}: by category of image", about, last, main)


def _without_networks(rest: Sequence[Mark]) -> Iterator[Question]:
    """Return one chart of pixel scores, and one of every other metric."""
    about = "Each reconstruction compared with its presented image, pixel by pixel; semantic content does not count."
    for protocol in marks.unique(mark.key.protocol for mark in rest):
        pixels = [mark for mark in rest if mark.key.metric in PIXEL_METRICS and mark.key.protocol == protocol]
        if pixels:
            title, main = "Pixel scores" + _by_protocol(protocol), protocol in ("", BUILTIN)
            yield Question(title, about, sorted(pixels, key=lambda m: PIXEL_METRICS.index(m.key.metric)), main)
    others = [mark for mark in rest if mark.key.metric not in PIXEL_METRICS]
    for family in dict.fromkeys(_family(mark) for mark in others):
        metric, network, direction, protocol = family
        title = wording.words(metric)
        if network:
            title += f" by {wording.words(network)}"
        if direction:
            title += f", {direction} held fixed"
        chosen = [mark for mark in others if _family(mark) == family]
        yield Question(title[0].upper() + title[1:] + _by_protocol(protocol), "", chosen, protocol in ("", BUILTIN))
