"""Report: read the contents of the report from the results folder, and write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import metrics, plot, reconstruction
from reseen import report as page
from reseen.conditions import features_of, is_denoised
from reseen.decode import held_out
from reseen.errors import ResultsError
from reseen.evaluate import run_checks
from reseen.files import opening_tensors, shown
from reseen.headline import Headline, choose, stimuli_of
from reseen.pipeline.context import Run, SubjectRun
from reseen.pipeline.maps import maps_to_report, save_figure, write_figures
from reseen.pipeline.stacks import Stacks
from reseen.recipe import to_toml
from reseen.results import VERSION_OF, load_captions
from reseen.scores import Scores
from reseen.tables import ENCODING_COLUMNS, WITHOUT_RESPONSES, is_retrieved

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

THUMBNAIL = 128
"""Largest side of an image in the report, in pixels."""


def report(run: Run) -> bool:
    """Write the report; return whether it was missing."""
    import pandas as pd

    results = run.results
    if (results.path / "report.html").is_file():
        return False
    scores, diagnostics = results.load_table("scores"), results.load_table("diagnostics")
    has_models = run.recipe.encode.has_models
    encoding = results.load_table("encoding") if has_models else pd.DataFrame(columns=ENCODING_COLUMNS)
    stimuli = stimuli_of(results.provenance, run.recipe.data.subjects)
    head = choose(scores, stimuli)
    ranking = _ranking(run, head)
    n_subjects = len(run.recipe.data.subjects)
    progress = run.counter("write the report")
    subjects = []
    for n_done, subject in enumerate(run.subjects):
        progress(n_done, n_subjects)
        own_ranking = ranking[ranking["subject"] == subject.name]
        own_encoding = encoding[encoding["subject"] == subject.name]
        subjects.append(_report_subject(subject, own_ranking, own_encoding))
        write_figures(subject, subjects[-1].encoding)
    contents = page.ReportInput(
        recipe=run.recipe,
        scores=scores,
        subjects=tuple(subjects),
        checks=run_checks(scores, diagnostics, stimuli=stimuli, n_permutations=run.recipe.n_permuted),
        stimuli=stimuli,
        diagnostics=diagnostics,
        provenance=_provenance(run),
        encoding=encoding,
        captions=results.load_table("captions") if run.recipe.decodes_captions else None,
        retrieval=results.load_table("retrieval"),
        recipe_text=to_toml(run.recipe),
    )
    examples = page.examples(contents)
    if examples is not None:
        save_figure(results, "examples", examples)
    if head is not None:
        save_figure(results, "identification", plot.scores(Scores(scores, stimuli=stimuli), every_network=True))
    results.save_text("report.html", page.report(contents))
    progress(n_subjects, n_subjects)
    return True


def _report_subject(subject: SubjectRun, ranking: pd.DataFrame, encoding: pd.DataFrame) -> page.SubjectReport:
    run, trials = subject.run, subject.facts
    cortical, no_maps = maps_to_report(subject)
    stacks = Stacks(subject, largest=THUMBNAIL)
    ids = stacks.stimulus_id
    images: dict[tuple[str, str], NDArray[np.uint8]] = {}
    without_responses: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for level, condition in stacks:
        if level in WITHOUT_RESPONSES:
            if condition == run.main_condition:
                without_responses[level, condition] = stacks[level, condition][:, :1]  # one sample
        elif not is_retrieved(condition):
            images[level, condition] = stacks[level, condition]
    score = ranking["value"].to_numpy() if len(ranking) else np.full(len(ids), np.nan)
    ridges = [name for name in run.decoded_names if run.keeps_decoder(name)]
    return page.SubjectReport(
        subject=subject.name,
        stimulus_id=ids,
        presented=subject.stimuli.images(ids),
        images=images | without_responses,
        score=score,
        alphas={name: _of_folds(subject, name, "alpha") for name in ridges},
        alpha_grid={name: np.unique(_of_folds(subject, name, "alphas")) for name in ridges},
        roi_sizes={name: int(mask.sum()) for name, mask in trials.rois.items()},
        noise_ceiling=_noise_ceilings(subject),
        sequences=_sequences(subject, score),
        encoding=page.analysis_reports(encoding, cortical, run.recipe.encode),
        no_maps=no_maps,
        probable=_probable(subject),
        probable_of=subject.run.shown_prior or "",
        captions=_captions(subject),
    )


def _captions(subject: SubjectRun) -> tuple[page.ShownCaption, ...]:
    """Return each item's decoded caption with its oracle and the first caption that a person wrote."""
    if not subject.recipe.decodes_captions:
        return ()
    return tuple(
        page.ShownCaption(found.caption, found.oracle_caption, subject.stimuli.captions(found.stimulus_id)[0])
        for found in load_captions(subject.results, subject.name)
    )


def _probable(subject: SubjectRun) -> tuple[tuple[tuple[float, str], ...], ...]:
    """Return each item's most probable training stimuli: probability and first caption of each."""
    name = subject.run.shown_prior
    if name is None:
        return ()
    found, _ = subject.results.load_arrays(subject.decode_path(f"{name}_candidates"))
    items = []
    for ids, probabilities in zip(found["stimulus_id"], found["probability"], strict=True):
        first = [subject.stimuli.captions(stimulus)[0] for stimulus in ids.tolist()]
        items.append(tuple(zip(probabilities.tolist(), first, strict=True)))
    return tuple(items)


def _ranking(run: Run, head: Headline | None) -> pd.DataFrame:
    """Return the rows of ``images.csv`` that rank images: the headline score of each image."""
    each = run.results.load_table("images")
    rows = each[(each["level"] == "result") & (each["condition"] == run.main_condition)]
    return rows.iloc[:0] if head is None else head.rows(rows)


def _of_folds(subject: SubjectRun, name: str, which: str) -> NDArray[np.float64]:
    """Read one array of every fold's decoder, without its weights."""
    arrays = []
    for fold in range(len(subject.split.folds)):
        path = subject.decode_path(f"{name}_fold{fold}")
        if not subject.results.has_arrays(path, subject.computed_by("decode")):
            raise ResultsError(
                f"{shown(path)} is missing. Delete {shown(subject.decode_path(name))} too and run the recipe again, "
                "which writes both.",
                where=path,
            )
        with opening_tensors(path) as (file, _):
            arrays.append(file.get_tensor(which))
    return np.concatenate(arrays)


def _noise_ceilings(subject: SubjectRun) -> dict[str, NDArray[np.floating[Any]]]:
    """Return each ROI's noise ceilings for the test responses as they are decoded: averaged or single trials."""
    trials = subject.facts
    if trials.ncsnr is None:
        return {}
    tested = held_out(trials, subject.split, test_trials=subject.recipe.data.test_trials)
    # ncsnr² / (ncsnr² + 1/k) for averages of k trials
    ceiling = metrics.noise_ceiling(trials.ncsnr, tested.n_repetitions)
    return {name: ceiling[mask] for name, mask in trials.rois.items()}


def _sequences(subject: SubjectRun, score: NDArray[np.float64]) -> tuple[page.DenoisingSequence, ...]:
    """Record the denoising of the first sample of the first few images that the report chooses at random."""
    run, condition = subject.run, subject.run.main_condition
    if not is_denoised(condition) or not run.recipe.report.n_sequences:
        return ()
    chosen = page.declared_sample(score, n_random=run.recipe.report.n_random, seed=run.recipe.seed)
    decoded = {name: subject.decoded(name) for name in features_of(condition)}
    ids = next(iter(decoded.values())).stimulus_id
    sequences = []
    for item in chosen.random[: run.recipe.report.n_sequences]:
        frames = reconstruction.denoising_sequence(
            run.model,
            condition,
            {name: features.array[item] for name, features in decoded.items()},
            recipe=run.recipe.reconstruct,
            seed=run.recipe.seed,
            subject=subject.name,
            stimulus_id=int(ids[item]),
            as_grey=subject.grey,
        )
        sequences.append(page.DenoisingSequence(int(ids[item]), frames))
    return tuple(sequences)


def _provenance(run: Run) -> dict[str, Any]:
    fingerprints, versions = {}, {}
    for name, value in run.results.provenance.items():
        if name.startswith(VERSION_OF):
            versions[name.removeprefix(VERSION_OF)] = value
        else:
            fingerprints[name] = value
    return {
        "fingerprint": run.results.fingerprint,
        "safety_checker": "off: every image is shown as the model generated it",
        "warnings": run.results.warnings,
        "times": "times.json has the seconds and the device of each stage, which differ between two equal runs",
        "same images": {subject.name: subject.label_check for subject in run.subjects},
        "fingerprints": fingerprints,
        "versions": versions,
    }
