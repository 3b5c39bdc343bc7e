"""Showing: what the report shows, gathered from the results folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import metrics, reconstruct, report
from reseen.evaluate import verdict
from reseen.observers import Observer, load_observer
from reseen.pipeline.job import Job
from reseen.pipeline.mapping import cortical_maps, write_figures
from reseen.pipeline.scoring import Stacks, main_condition
from reseen.recipe import to_toml
from reseen.results import VERSION_OF
from reseen.ridge import RidgeMap
from reseen.tables import NO_BRAIN, is_retrieved

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
    scores, reading, encoding = (job.results.load_table(name) for name in ("scores", "reading", "encoding"))
    subjects = []
    for done, subject in enumerate(job.subjects):
        job.tell("write the report", done, len(job.subjects))
        subjects.append(_subject(job, subject, encoding[encoding["subject"] == subject]))
        write_figures(job, subject, subjects[-1].encoding)
    contents = report.ReportInput(
        recipe=job.recipe,
        scores=scores,
        subjects=tuple(subjects),
        verdict=verdict(scores, reading, n_shuffles=job.recipe.evaluate.n_shuffles),
        reading=reading,
        provenance=_provenance(job),
        encoding=encoding,
        score_name=_score_name(job),
        recipe_text=to_toml(job.recipe),
    )
    job.results.save_text("report.html", report.report(contents))
    job.tell("write the report", len(job.subjects), len(job.subjects))
    return True


def _subject(job: Job, subject: str, encoding: pd.DataFrame) -> report.SubjectReport:
    trials, stimuli, _ = job.brain(subject)
    cortical, no_maps = cortical_maps(job, subject, trials)
    stacks = Stacks(job, subject, largest=THUMBNAIL)
    ids = stacks.stimulus_id
    pictures = {key: stacks[key] for key in stacks if not is_retrieved(key[1]) and key[0] not in NO_BRAIN}
    pictures |= {key: stacks[key][:, :1] for key in stacks if key[0] in NO_BRAIN and key[1] == main_condition(job)}
    presented = stimuli.images(ids)
    score = _ranking(job, presented, ids, pictures)
    maps = {name: _maps(job, subject, name) for name in job.decoded_names}
    return report.SubjectReport(
        subject=subject,
        stimulus_id=ids,
        presented=presented,
        pictures=pictures,
        score=score,
        alphas={name: np.concatenate([fold.alpha for fold in folds]) for name, folds in maps.items()},
        alpha_grid={name: np.unique(np.concatenate([fold.alphas for fold in folds])) for name, folds in maps.items()},
        roi_sizes={name: int(mask.sum()) for name, mask in trials.rois.items()},
        noise_ceiling=_ceilings(trials, ids),
        films=_films(job, subject, score),
        encoding=report.analysis_reports(encoding, cortical, job.recipe.encode),
        no_maps=no_maps,
        probable=_probable(job, subject, stimuli),
    )


def _probable(job: Job, subject: str, stimuli: Stimuli) -> tuple[tuple[tuple[float, str], ...], ...]:
    """Give each item's most probable captions, where c was decoded under them: of each candidate the first."""
    if not job.under_prior("c"):
        return ()
    found, _ = job.results.load_arrays(job.candidates_path(subject, "c"))
    every = zip(found["stimulus_id"], found["probability"], strict=True)
    return tuple(
        tuple((float(share), stimuli.captions(int(stimulus))[0]) for stimulus, share in zip(ids, shares, strict=True))
        for ids, shares in every
    )


def _judge(job: Job) -> tuple[Observer, str]:
    """Give the observer that ranks the pictures, and its layer: the first, and the last."""
    observer = load_observer(job.recipe.evaluate.observers[0])
    return observer, observer.layers[-1]


def _score_name(job: Job) -> str:
    observer, layer = _judge(job)
    return f"two-way identification of {main_condition(job)} by {report.words(observer.name)}'s {layer} layer"


def _ranking(
    job: Job, presented: NDArray[np.uint8], ids: NDArray[np.int64], pictures: dict[tuple[str, str], NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Score each item alone, ``(n_items,)``: the share of other items' pictures that look less like what was shown."""
    observer, layer = _judge(job)
    stack = pictures["result", main_condition(job)]
    true = observer.look(presented)[layer]
    draws = [observer.look(stack[:, draw])[layer] for draw in range(stack.shape[1])]
    r = np.mean([metrics.correlation_matrix(true, draw) for draw in draws], axis=0)
    return metrics.identification_from_correlations(r, direction="original", labels=ids)


def _maps(job: Job, subject: str, name: str) -> list[RidgeMap]:
    folder = job.results.decode_path(subject, name).parent
    return [RidgeMap.load(path) for path in sorted(folder.glob(f"{name}_fold*.safetensors"))]


def _ceilings(trials: Trials, ids: NDArray[np.int64]) -> dict[str, NDArray[np.floating[Any]]]:
    """Give each ROI's noise ceilings for the test responses as they were decoded: averaged or single."""
    if trials.ncsnr is None:
        return {}
    tested = trials.select(ids)
    averaged = len(np.unique(ids)) == len(ids)
    n_repetitions = tested.average().n_repetitions if averaged else tested.n_repetitions
    ceiling = metrics.noise_ceiling(trials.ncsnr, n_repetitions)
    return {name: ceiling[mask] for name, mask in trials.rois.items()}


def _films(job: Job, subject: str, score: NDArray[np.float64]) -> tuple[report.Film, ...]:
    """Film the first draw of the first few pictures that the report draws at random."""
    condition = main_condition(job)
    if "c" not in condition or not job.recipe.report.n_films:
        return ()
    sample = report.declared_sample(score, n_random=job.recipe.report.n_random, seed=job.recipe.seed)
    z = job.decoded(subject, "z") if "z" in condition else None
    c = job.decoded(subject, "c")
    films = []
    for item in sample.random[: job.recipe.report.n_films]:
        frames = reconstruct.film(
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
        "times": {stage: entry["seconds"] for stage, entry in job.results.times.items()},
        "devices": {stage: entry["device"] for stage, entry in job.results.times.items()},
        "fingerprints": {name: value for name, value in known.items() if not name.startswith(VERSION_OF)},
        "versions": {
            name.removeprefix(VERSION_OF): value for name, value in known.items() if name.startswith(VERSION_OF)
        },
    }
