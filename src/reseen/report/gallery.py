"""Gallery: images and denoising sequences of a report, selected by the declared rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen import plot
from reseen.conditions import CONDITIONS, FEATURES, decoded_features, features_of, in_role, is_denoised
from reseen.report.contents import DenoisingSequence, ReportInput, SubjectReport
from reseen.report.embed import evenly, image_uri, sprite_uri
from reseen.report.sample import Sample, declared_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reseen.recipe import Recipe

TITLES = {"best": "Best", "median": "Median", "worst": "Worst", "random": "At random"}
STORED_WITHOUT_RESPONSES = {
    "chance_mean": "mean features",
    "chance_noise": "noise",
    "chance_random": "random training image",
}
N_STRIP = 8
"""Number of steps of a sequence that are shown side by side."""


def _columns(subject: SubjectReport) -> list[tuple[str, str, str]]:
    """List level, condition and heading of the columns: results, then oracle and permuted of the last condition."""
    conditions: list[str] = [condition for condition in CONDITIONS if ("result", condition) in subject.images]
    conditions += [name for level, name in subject.images if level == "result" and name not in CONDITIONS]
    columns = [("result", condition, condition) for condition in conditions]
    for level in ("oracle", "permuted"):
        last = next((condition for condition in reversed(conditions) if (level, condition) in subject.images), None)
        if last is not None:
            columns.append((level, last, f"{last}, {level}"))
    return columns


def gallery(subject: SubjectReport, contents: ReportInput) -> dict[str, Any]:
    """Return the selected items of a subject: presented images, reconstructions, oracle and permuted.

    Every image is sample 0. All samples of the last condition are listed separately.
    """
    recipe = contents.recipe
    sample = declared_sample(subject.score, n_random=recipe.report.n_random, seed=recipe.seed)
    columns = _columns(subject)
    last = next((column for column in reversed(columns) if column[0] == "result"), None)
    n_samples = {array.shape[1] for array in subject.images.values()}
    groups = []
    for name, items in sample.groups:
        rows = [_row(subject, item, f"{name} {k}", columns) for k, item in enumerate(items, start=1)]
        groups.append({"title": TITLES[name], "rows": rows})
    samples = []
    shown = list(sample.labelled)
    if last is not None and subject.images[last[:2]].shape[1] > 1:
        samples = [_all_samples(subject, item, last[1]) for item in shown]
    return {
        "subject": subject.subject,
        "without_responses": _without_responses(subject, shown),
        "rule": sample.rule(contents.score_name),
        "under_prior": subject.probable_of,
        "several": max(n_samples, default=1) > 1,
        "groups": groups,
        "samples": samples,
        "sample_condition": last[1] if last else "",
    }


def _row(subject: SubjectReport, item: int, label: str, columns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    name = _item_name(subject, item)
    cells = [_shown(subject.presented[item], "presented", f"{name}: the presented image", "presented")]
    for level, condition, heading in columns:
        alt = f"{name}: {_describe(level, condition)}"
        cells.append(_shown(subject.images[level, condition][item, 0], heading, alt, level))
    score = float(subject.score[item])
    probable = subject.probable[item] if subject.probable else ()
    return {
        "label": label,
        "item": name,
        "score": "no score" if math.isnan(score) else f"score {score:.2f}",
        "cells": cells,
        "probable": [(f"{probability:.2f}", caption) for probability, caption in probable],
    }


def describe_conditions(recipe: Recipe) -> list[tuple[str, str]]:
    """Return each feature and each condition of a recipe with its meaning, for the glossary."""
    names = decoded_features(recipe.reconstruct.conditions)
    about = {name: FEATURES[name].about for name in names}
    if recipe.states is not None:
        about["t"] = f"the caption that {recipe.states.upper()} writes from its decoded hidden states"
    meanings = {name: f"{about[name]}, decoded from {', '.join(recipe.decode.rois_of(name))}" for name in names}
    for condition in recipe.reconstruct.conditions:
        features = features_of(condition)
        begin = "denoised from noise" if in_role(condition, "start") is None else f"started from {features[0]}"
        if not is_denoised(condition):
            meanings[condition] += "; as condition: the image of it alone, without denoising"
        elif condition in meanings:
            meanings[condition] += f"; as condition: {begin} under it alone"
        else:
            meanings[condition] = f"images from {' and '.join(features)}, {begin}"
    return [(name, f"{meaning[0].upper()}{meaning[1:]}.") for name, meaning in meanings.items()]


def _describe(level: str, condition: str) -> str:
    return {
        "result": f"reconstruction from decoded {condition}",
        "oracle": f"the same generator with the true {condition}",
        "permuted": f"reconstruction of {condition} by decoders fitted on permuted responses",
        "chance_mean": f"{condition} of the mean z and c of the training images",
        "chance_noise": "noise without a caption",
        "chance_random": f"{condition} of a random training image",
    }.get(level, f"{level} {condition}")


def _shown(image: Any, caption: str, alt: str, level: str = "result") -> dict[str, str]:
    return {"uri": image_uri(image), "caption": caption, "alt": alt, "level": level}


def _item_name(subject: SubjectReport, item: int) -> str:
    stimulus = subject.stimulus_id[item]
    alone = np.count_nonzero(subject.stimulus_id == stimulus) == 1
    return f"stimulus {stimulus}" if alone else f"stimulus {stimulus}, trial {item}"


def _all_samples(subject: SubjectReport, item: int, condition: str) -> dict[str, Any]:
    name = _item_name(subject, item)
    images = subject.images["result", condition][item]
    cells = [_shown(subject.presented[item], "presented", f"{name}: the presented image", "presented")]
    cells += [_shown(image, f"sample {k}", f"{name}: {condition}, sample {k}") for k, image in enumerate(images)]
    return {"item": name, "cells": cells}


def _without_responses(subject: SubjectReport, items: Sequence[int]) -> list[dict[str, Any]]:
    """Return chance levels without responses, of the last condition, for some items."""
    columns = []
    for level, heading in STORED_WITHOUT_RESPONSES.items():
        conditions = [condition for condition in CONDITIONS if (level, condition) in subject.images]
        columns += [(level, conditions[-1], heading)] if conditions else []
    return [_row(subject, item, "", columns) for item in items] if columns else []


def across(contents: ReportInput) -> dict[str, Any] | None:
    """Return the same images for all subjects; None for one subject, or if the subjects share no image."""
    shared = _shared(contents)
    if shared is None:
        return None
    condition, items, sample = shared
    first = contents.subjects[0]
    rows = []
    for position, name in sample.labelled.items():
        item = f"stimulus {first.stimulus_id[items[0][position]]}"
        cells = [_shown(first.presented[items[0][position]], "presented", "the presented image", "presented")]
        for subject, mine in zip(contents.subjects, items, strict=True):
            image = subject.images["result", condition][mine[position], 0]
            cells.append(_shown(image, subject.subject, f"{item}: reconstructed from responses of {subject.subject}"))
        rows.append({"label": name, "item": item, "score": "", "cells": cells, "probable": []})
    rule = sample.rule(f"the mean over subjects of {contents.score_name}")
    return {"condition": condition, "rows": rows, "rule": rule}


def _shared(contents: ReportInput) -> tuple[str, list[list[int]], Sample] | None:
    """Return the condition, each subject's rows and the sample of the stimuli that all subjects share."""
    subjects = contents.subjects
    if len(subjects) < 2:
        return None
    stimuli = sorted(set.intersection(*(set(subject.stimulus_id.tolist()) for subject in subjects)))
    in_all = set.intersection(*(set(subject.images) for subject in subjects))
    conditions = [c for c in reversed(CONDITIONS) if ("result", c) in in_all]
    if not stimuli or not conditions:
        return None
    items = [_positions(subject.stimulus_id, stimuli) for subject in subjects]
    scores = np.stack([subject.score[rows] for subject, rows in zip(subjects, items, strict=True)])
    return conditions[0], items, _few(scores.mean(axis=0), contents)


def _positions(stimulus_id: NDArray[np.int64], wanted: Sequence[int]) -> list[int]:
    """Return the first position of each wanted stimulus."""
    return [int(np.flatnonzero(stimulus_id == i)[0]) for i in wanted]


def _few(score: NDArray[np.floating[Any]], contents: ReportInput) -> Sample:
    recipe = contents.recipe
    return declared_sample(score, n_random=min(4, recipe.report.n_random), n_each=1, seed=recipe.seed)


def examples(contents: ReportInput) -> Figure | None:
    """Draw a few images for print, the paper's Figure 4; ``None`` if there is no reconstruction.

    The declared rule selects the rows, among the first trials of all stimuli. An image that it selects twice is drawn
    once. Columns are subjects if they share stimuli, otherwise conditions of the first subject. Every image is
    sample 0.
    """
    shared, first = _shared(contents), contents.subjects[0]
    if shared is not None:
        condition, items, sample = shared
        rows = items[0]
        columns = {
            subject.subject: subject.images["result", condition][mine, 0]
            for subject, mine in zip(contents.subjects, items, strict=True)
        }
    else:
        rows = sorted(np.unique(first.stimulus_id, return_index=True)[1].tolist())
        sample = _few(first.score[rows], contents)
        columns = {name: stack[rows, 0] for (level, name), stack in first.images.items() if level == "result"}
    if not columns or not sample.labelled:
        return None
    titles = [f"{name},\nstimulus {first.stimulus_id[rows[k]]}" for k, name in sample.labelled.items()]
    return plot.images(first.presented[rows], columns, rows=list(sample.labelled), titles=titles)


def sequence_strip(subject: SubjectReport, sequence: DenoisingSequence) -> dict[str, Any]:
    """Return a sequence as a strip of steps and as an animation; its last frame stays for a quarter of the time."""
    shown = np.flatnonzero(subject.stimulus_id == sequence.stimulus_id)
    last = len(sequence.frames) - 1
    name = f"stimulus {sequence.stimulus_id}"
    sprite, n_frames = sprite_uri(sequence.frames)
    strip = []
    for step in evenly(last + 1, N_STRIP):
        caption, alt = f"step {step}", f"{name} after step {step} of {last}"
        if step == 0:
            caption, alt = "start", f"{name} before the first step"
        if step == last:
            caption = "result"
        strip.append(_shown(sequence.frames[step], caption, alt))
    presented = None
    if len(shown):
        presented = _shown(subject.presented[shown[0]], "presented", f"{name}: the presented image", "presented")
    return {
        "subject": subject.subject,
        "item": name,
        "n_steps": last,
        "presented": presented,
        "strip": strip,
        "sprite": sprite,
        "n_frames": n_frames,
        "end": round(-100 * (n_frames - 1) / n_frames, 4),
        "seconds": round(max(2.5, n_frames * 0.12) / 0.75, 2),
        "aspect": f"{sequence.frames.shape[2]} / {sequence.frames.shape[1]}",
    }
