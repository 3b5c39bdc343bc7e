"""Showing: what the report shows, gathered from the results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import metrics, reconstruction, report
from reseen.errors import ResultsError
from reseen.evaluate import verdict
from reseen.files import opening_tensors, shown
from reseen.headline import IDENTIFICATION, Headline, choose, stimuli_of
from reseen.pipeline.job import Job
from reseen.pipeline.mapping import cortical_maps, write_figures
from reseen.pipeline.scoring import Stacks
from reseen.recipe import to_toml
from reseen.results import VERSION_OF
from reseen.tables import NO_BRAIN, PIXELS, is_retrieved

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from reseen.stimuli import Stimuli
    from reseen.trials import Trials

THUMBNAIL = 128
"""Largest side of a picture in the report, in pixels."""


def report_stage(job: Job) -> bool:
    """Write report.html."""
    if (job.results.path / "report.html").is_file():
        return False
    scores, reading, encoding = (job.results.load_table(name) for name in ("scores", "diagnostics", "encoding"))
    stimuli = stimuli_of(job.results.provenance, job.subjects)
    head = choose(scores, stimuli)
    ranking, subjects = _ranking(job, head), []
    for done, subject in enumerate(job.subjects):
        job.tell("write the report", done, len(job.subjects))
        ranked, encoded = (table[table["subject"] == subject] for table in (ranking, encoding))
        subjects.append(_subject(job, subject, ranked, encoded))
        write_figures(job, subject, subjects[-1].encoding)
    contents = report.ReportInput(
        recipe=job.recipe,
        scores=scores,
        subjects=tuple(subjects),
        verdict=verdict(scores, reading, stimuli=stimuli, n_shuffles=job.recipe.n_permuted),
        stimuli=stimuli,
        reading=reading,
        provenance=_provenance(job),
        encoding=encoding,
        score_name=_score_name(job, head),
        recipe_text=to_toml(job.recipe),
    )
    job.results.save_text("report.html", report.report(contents))
    job.tell("write the report", len(job.subjects), len(job.subjects))
    return True


def _subject(job: Job, subject: str, ranking: pd.DataFrame, encoding: pd.DataFrame) -> report.SubjectReport:
    trials, stimuli, _ = job.facts(subject)
    cortical, no_maps = cortical_maps(job, subject, trials)
    stacks = Stacks(job, subject, largest=THUMBNAIL)
    ids = stacks.stimulus_id
    pictures = {key: stacks[key] for key in stacks if not is_retrieved(key[1]) and key[0] not in NO_BRAIN}
    pictures |= {key: stacks[key][:, :1] for key in stacks if key[0] in NO_BRAIN and key[1] == job.main_condition}
    score = ranking["value"].to_numpy() if len(ranking) else np.full(len(ids), np.nan)
    ridges = [name for name in job.decoded_names if job.keeps_decoder(name)]
    return report.SubjectReport(
        subject=subject,
        stimulus_id=ids,
        presented=stimuli.images(ids),
        pictures=pictures,
        score=score,
        alphas={name: _of_folds(job, subject, name, "alpha") for name in ridges},
        alpha_grid={name: np.unique(_of_folds(job, subject, name, "alphas")) for name in ridges},
        roi_sizes={name: int(mask.sum()) for name, mask in trials.rois.items()},
        noise_ceiling=_ceilings(trials, ids),
        films=_films(job, subject, score),
        encoding=report.analysis_reports(encoding, cortical, job.recipe.encode),
        no_maps=no_maps,
        probable=_probable(job, subject, stimuli),
    )


def _probable(job: Job, subject: str, stimuli: Stimuli) -> tuple[tuple[tuple[float, str], ...], ...]:
    """Return each item's most probable captions, where c was decoded under them: of each candidate the first."""
    if not job.under_prior("c"):
        return ()
    found, _ = job.results.load_arrays(job.candidates_path(subject, "c"))
    every = zip(found["stimulus_id"], found["probability"], strict=True)
    return tuple(
        tuple((float(share), stimuli.captions(int(stimulus))[0]) for stimulus, share in zip(ids, shares, strict=True))
        for ids, shares in every
    )


def _ranking(job: Job, head: Headline | None) -> pd.DataFrame:
    """Take the rows of ``pictures.csv`` that rank images: what each scores by the headline."""
    each = job.results.load_table("pictures")
    rows = each[(each["level"] == "result") & (each["condition"] == job.main_condition)]
    return rows.iloc[:0] if head is None else head.rows(rows)


def _score_name(job: Job, head: Headline | None) -> str:
    if head is None:
        return "no score"
    by = report.words(head.observer) + (f"'s {head.layer} layer" if head.layer else "")
    by = "pixel correlation" if head.observer == PIXELS else by
    return f"{report.words(IDENTIFICATION)} of {job.main_condition} by {by}"


def _of_folds(job: Job, subject: str, name: str, which: str) -> NDArray[np.float64]:
    """Read one array of every fold's decoder, and leave its weights on the disk."""
    arrays = []
    decoded = job.results.decode_path(subject, name)
    for fold in range(len(job.facts(subject)[2].folds)):
        path = job.results.decode_path(subject, f"{name}_fold{fold}")
        if not job.results.has_arrays(path, job.made_by("decode", subject)):
            raise ResultsError(
                f"{shown(path)} is missing. Delete {shown(decoded)} too and run the recipe again: both are made again."
            )
        with opening_tensors(path) as (file, _):
            arrays.append(file.get_tensor(which))
    return np.concatenate(arrays)


def _ceilings(trials: Trials, ids: NDArray[np.int64]) -> dict[str, NDArray[np.floating[Any]]]:
    """Return each ROI's noise ceilings for the test responses as they were decoded: averaged or single."""
    if trials.ncsnr is None:
        return {}
    tested = trials.select(ids)
    averaged = len(np.unique(ids)) == len(ids)
    n_repetitions = tested.average().n_repetitions if averaged else tested.n_repetitions
    ceiling = metrics.noise_ceiling(trials.ncsnr, n_repetitions)
    return {name: ceiling[mask] for name, mask in trials.rois.items()}


def _films(job: Job, subject: str, score: NDArray[np.float64]) -> tuple[report.Film, ...]:
    """Film the first draw of the first few pictures that the report draws at random."""
    condition = job.main_condition
    if "c" not in condition or not job.recipe.report.n_films:
        return ()
    sample = report.declared_sample(score, n_random=job.recipe.report.n_random, seed=job.recipe.seed)
    z = job.decoded(subject, "z") if "z" in condition else None
    c = job.decoded(subject, "c")
    films = []
    for item in sample.random[: job.recipe.report.n_films]:
        frames = reconstruction.denoising_sequence(
            job.ldm(),
            None if z is None else z.array[item],
            c.array[item],
            recipe=job.recipe.reconstruct,
            seed=job.recipe.seed,
            subject=subject,
            stimulus_id=int(c.stimulus_id[item]),
        )
        films.append(report.Film(int(c.stimulus_id[item]), frames))
    return tuple(films)


def _provenance(job: Job) -> dict[str, Any]:
    known = job.results.provenance
    return {
        "fingerprint": job.results.fingerprint,
        "safety_checker": "off: every picture is shown as the model made it",
        "warnings": job.results.warnings,
        "times": "times.json holds the seconds and the device of each stage: they differ between two equal runs",
        "same images": {subject: job.likeness(subject) for subject in job.subjects},
        "fingerprints": {name: value for name, value in known.items() if not name.startswith(VERSION_OF)},
        "versions": {
            name.removeprefix(VERSION_OF): value for name, value in known.items() if name.startswith(VERSION_OF)
        },
    }
