"""Order: which stages a run needs, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reseen.errors import RecipeError, ReseenError, ResultsError
from reseen.executor import Executor, Serial
from reseen.ldm.devices import check_device
from reseen.pipeline import extraction, picturing, scoring, showing, stages
from reseen.pipeline.job import Job, with_precision
from reseen.pipeline.log import LOG, logging
from reseen.pipeline.plan import require
from reseen.pipeline.prospect import Progress, Prospect
from reseen.recipe import Recipe, with_changes
from reseen.results import Results

STAGES: dict[str, tuple[Callable[[Job], bool], tuple[str, ...]]] = {
    "simulate": (stages.simulate_stage, ()),
    "extract": (extraction.extract_stage, ("simulate",)),
    "decode": (stages.decode_stage, ("extract",)),
    "encode": (stages.encode_stage, ("extract",)),
    "reconstruct": (picturing.reconstruct_stage, ("decode",)),
    "evaluate": (scoring.evaluate_stage, ("reconstruct",)),
    "report": (showing.report_stage, ("encode", "evaluate")),
}
"""Each stage: the function that returns whether there was anything to do, and the stages that must have run before."""
BY_SUBJECT = ("extract", "decode", "encode", "reconstruct", "evaluate")
"""Stages that work on each subject by itself."""
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
"""Files of a results folder that say how it was made, and are no results."""


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
    """Run a recipe into a results folder, up to a stage; what is there already is not made again.

    A run that was stopped, in whatever way, goes on where it was and ends with the same files as an unbroken one.

    Parameters
    ----------
    recipe
        What to run.
    out
        The results folder.
    until
        The last stage: a key of `STAGES`. Stages that it does not need are left out.
    data
        Where the data lie, instead of the recipe's ``data.path``.
    device
        Where the model's networks lie.
    report_anew
        Write the report again even if there is one.
    progress
        Called with what is being done, how much of it is done and how much there is.
    executor
        Who decodes and reconstructs (`reseen.executor.open_executor`); left out: this process.

    Raises
    ------
    RecipeError
        If there is no such stage, or the recipe does not fit the data.
    DataError, ModelError
        If data or model cannot be read.
    ResultsError
        If the folder holds other results, is in use or cannot be written, or if digital subjects are of another recipe.
    ClusterError
        If the executor cannot reach its workers, or loses them.
    """
    if until not in STAGES:
        raise RecipeError(f"there is no stage {until!r}; the stages are {', '.join(STAGES)}.")
    if data is not None:
        recipe = with_changes(recipe, {"data.path": data})
    check_device(device)
    recipe = with_precision(recipe, device)
    prospect = Prospect(recipe, Path(out), device=device, fetch=True, progress=progress)
    begun = Results(Path(out), recipe).times
    require(prospect, [stage for stage in needed(until) if stage not in begun])
    with (
        _leaving_nothing(Path(out)),
        Results.open(out, recipe) as results,
        logging(results.path, f"{until} on {device}", progress) as tell,
    ):
        executor = executor or Serial()
        executor.progress = tell
        job = Job(recipe, results, device, tell, executor, prospect=prospect)
        if report_anew:
            (results.path / "report.html").unlink(missing_ok=True)
        if "evaluate" in needed(until):
            scoring.claim_observers(job)  # one that is not there is better known before hours of sampling
        _run_stages(job, needed(until))
    return results


def _run_stages(job: Job, wanted: Sequence[str]) -> None:
    """Run stages: of several subjects one after the other, so that the betas of each are read once.

    The last pass is over all subjects: it joins their tables and writes the report.
    """
    if "simulate" in wanted:
        _run_stage(job, "simulate")
    if len(job.subjects) > 1:
        for subject in job.subjects:
            with job.one(subject):
                for stage in (stage for stage in wanted if stage in BY_SUBJECT):
                    _run_stage(job, stage)
    for stage in (stage for stage in wanted if stage != "simulate"):
        _run_stage(job, stage)


def _run_stage(job: Job, stage: str) -> None:
    with _timed(job, stage) as note:
        note(STAGES[stage][0](job))


@contextmanager
def _leaving_nothing(out: Path) -> Iterator[None]:
    """Remove the records of a run that failed before it had any result, and the folders that were made for it.

    So a first command that fails does not claim the folder for its recipe.
    """
    made = [path for path in (out, *out.parents) if not path.exists()]
    is_new = not (out / "recipe.toml").exists()
    try:
        yield
    except ReseenError:
        if is_new and out.is_dir() and all(path.name in RECORDS for path in out.iterdir()):
            with suppress(OSError):
                for path in out.iterdir():
                    path.unlink()
                for path in made:
                    path.rmdir()
        raise


def needed(until: str) -> list[str]:
    """Return the stages that a stage needs and itself, in the order of running."""
    wanted: set[str] = set()
    stack = [until]
    while stack:
        stage = stack.pop()
        wanted.add(stage)
        stack += STAGES[stage][1]
    return [stage for stage in STAGES if stage in wanted]


@contextmanager
def _timed(job: Job, stage: str) -> Iterator[Callable[[bool], None]]:
    """Add up the time a stage takes, also when it is broken off; a stage that finds all done adds nothing."""
    worked = [True]
    start = time.monotonic()
    job.results.begin_stage(stage, job.device)
    try:
        yield lambda did: worked.__setitem__(0, did)
    except BaseException:
        with suppress(ResultsError):  # of a full disk, say: what broke the stage off is the error to report
            job.results.end_stage(stage, time.monotonic() - start)
        raise
    job.results.end_stage(stage, time.monotonic() - start if worked[0] else None)
