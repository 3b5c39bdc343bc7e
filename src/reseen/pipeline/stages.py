"""Stages of a recipe, subject by subject; existing results are not computed again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reseen.check import Inputs, require, with_precision
from reseen.errors import RecipeError, ReseenError, ResultsError
from reseen.executor import Executor, Progress, Serial
from reseen.finished import Results
from reseen.ldm.devices import check_device
from reseen.pipeline.context import Run, SubjectRun
from reseen.pipeline.decode import decode
from reseen.pipeline.encode import encode
from reseen.pipeline.evaluate import evaluate, prepare_networks
from reseen.pipeline.extract import extract
from reseen.pipeline.log import LOG, logging
from reseen.pipeline.reconstruct import reconstruct
from reseen.pipeline.report import report
from reseen.pipeline.simulate import simulate
from reseen.pipeline.tables import join_tables
from reseen.recipe import Recipe, with_changes
from reseen.results import ResultsFolder


@dataclass(frozen=True)
class Stage:
    """One stage: its work on one subject or on the complete run, and the data that it reads and writes.

    Parameters
    ----------
    work
        Function of a `SubjectRun`, or of the `Run` if ``by_subject`` is False. It computes missing results and returns
        whether any were missing.
    after
        Stages that must have run before.
    reads
        Parts of the data that it reads: ``"stimuli"`` means images and captions, ``"trials"`` also betas.
    writes
        Patterns of the files that it writes in the results folder; ``*/`` matches a subject's folder.
    tables
        Tables that it writes for each subject, and that are joined when every subject has one; ``captions`` only if
        the recipe decodes captions, ``encoding`` only if it has encoding models.
    by_subject
        Whether it runs for each subject, or once for the complete run.
    """

    work: Callable[[Any], bool]
    after: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tables: tuple[str, ...] = ()
    by_subject: bool = True


STAGES: dict[str, Stage] = {
    "simulate": Stage(simulate, (), (), ("data/*",), by_subject=False),
    "extract": Stage(extract, ("simulate",), ("stimuli",), ("features/*",)),
    "decode": Stage(
        decode, ("extract",), ("stimuli", "trials"), ("*/decode/*", "*/captions.jsonl", "*/trials.csv", "kept/*")
    ),
    "encode": Stage(
        encode, ("extract",), ("stimuli", "trials"), ("*/encode/*", "derivatives/*", "kept/*"), ("encoding",)
    ),
    "reconstruct": Stage(reconstruct, ("decode",), (), ("*/images/*",)),
    "evaluate": Stage(
        evaluate,
        ("reconstruct",),
        ("stimuli", "trials"),
        ("kept/*",),
        ("scores", "images", "diagnostics", "retrieval", "captions"),
    ),
    "report": Stage(
        report, ("encode", "evaluate"), ("stimuli", "trials"), ("report.html", "figures/*"), by_subject=False
    ),
}
"""Stages in the order of running."""
RECORDS = (
    "recipe.toml",
    "provenance.json",
    "times.json",
    "warnings.json",
    "checksums.json",
    LOG,
    ".lock",
    ".lock.held",
)
"""Files of a results folder that record how it was computed; they are not results."""


def run(
    recipe: Recipe,
    out: Path | str,
    *,
    until: str = "report",
    data: Path | None = None,
    device: str = "cpu",
    report_anew: bool = False,
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Results:
    """Run a recipe into a results folder, up to a stage; existing results are not computed again.

    A run that was stopped resumes, and writes the same files as an uninterrupted run.

    Parameters
    ----------
    recipe
        The recipe to run.
    out
        The results folder.
    until
        The last stage: a key of `STAGES`. Stages that it does not need are left out.
    data
        Folder or file of the data, instead of the recipe's ``data.path``.
    device
        Device of the model's networks.
    report_anew
        Write the report again even if there is one.
    progress
        Callback ``(step, n_done, n_total)``.
    executor
        Executor of decoding and reconstruction (`reseen.executor.open_executor`); left out: this process.

    Returns
    -------
    The results, as `reseen.Results.read` returns them; results of later stages are missing.

    Raises
    ------
    RecipeError
        If there is no such stage, or the recipe does not fit the data.
    DataError, ModelError
        If data or model cannot be read.
    ResultsError
        If the folder has other results, is in use or cannot be written, or simulated subjects are of another recipe.
    ClusterError
        If the executor cannot reach its workers, or loses them.
    """
    if until not in STAGES:
        message = f"there is no stage {until!r}; the stages are {', '.join(STAGES)}."
        raise RecipeError(message, where="until", expected=tuple(STAGES), found=until)
    out = Path(out)
    if data is not None:
        recipe = with_changes(recipe, {"data.path": data})
    check_device(device)
    recipe = with_precision(recipe, device)
    wanted = needed(until)
    started = ResultsFolder(out, recipe).times
    missing = [stage for stage in wanted if stage not in started]
    needs_trials = any("trials" in STAGES[stage].reads for stage in wanted)
    inputs = Inputs(recipe, out, device=device, fetch=True, needs_trials=needs_trials, progress=progress)
    require(inputs, missing)
    with (
        _removing_empty(out),
        ResultsFolder.open(out, recipe) as results,
        logging(results.path, f"run up to {until} on {device}", progress) as logged,
    ):
        executor = executor or Serial()
        executor.progress = logged
        if report_anew:
            (results.path / "report.html").unlink(missing_ok=True)
        _run_stages(Run(recipe, results, device, progress=logged, executor=executor, inputs=inputs), wanted)
    return Results.read(out)


def _run_stages(run: Run, wanted: Sequence[str]) -> None:
    """Run stages subject by subject, so that the betas of each are read once; then join tables and write the report."""
    if "evaluate" in wanted:
        prepare_networks(run)
    if "simulate" in wanted:
        _run_stage(run, "simulate", run)
    by_subject = [stage for stage in wanted if STAGES[stage].by_subject]
    for subject in run.subjects:
        for stage in by_subject:
            _run_stage(run, stage, subject)
    join_tables(run, [table for stage in by_subject for table in STAGES[stage].tables])
    if "report" in wanted:
        _run_stage(run, "report", run)


def _run_stage(run: Run, stage: str, part: Run | SubjectRun) -> None:
    """Run a stage and record its time, also after an error; a stage without missing results adds no time."""
    start = time.monotonic()
    run.results.begin_stage(stage, run.device)
    try:
        worked = STAGES[stage].work(part)
    except BaseException:
        with suppress(ResultsError):  # for example of a full disk: the first error is raised
            run.results.end_stage(stage, time.monotonic() - start)
        raise
    run.results.end_stage(stage, time.monotonic() - start if worked else None)


@contextmanager
def _removing_empty(out: Path) -> Iterator[None]:
    """Remove the records of a run that failed before its first result, and the folders that were created for it.

    A first command that fails then does not reserve the folder for its recipe.
    """
    created = [path for path in (out, *out.parents) if not path.exists()]
    is_new = not (out / "recipe.toml").exists()
    try:
        yield
    except ReseenError:
        if is_new and out.is_dir() and all(path.name in RECORDS for path in out.iterdir()):
            with suppress(OSError):
                for path in out.iterdir():
                    path.unlink()
                for path in created:
                    path.rmdir()
        raise


def needed(until: str) -> list[str]:
    """Return a stage and all stages that it needs, in the order of running."""
    wanted: set[str] = set()
    stack = [until]
    while stack:
        stage = stack.pop()
        wanted.add(stage)
        stack += STAGES[stage].after
    return [stage for stage in STAGES if stage in wanted]
