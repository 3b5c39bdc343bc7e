"""Command ``reseen check``: print the checks of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reseen.cli.options import (
    DataOption,
    DeviceOption,
    FullOption,
    JsonOption,
    ModelOption,
    OutOption,
    RecipeArgument,
    SetOption,
)
from reseen.cli.recipes import read_recipe, results_folder
from reseen.cli.tables import STDOUT, write_records
from reseen.cli.terminal import progress, say

if TYPE_CHECKING:
    from reseen.check import Finding

STATUS = {"ok": "ok", "--": "absent", "NO": "refused"}
"""Word of each mark, for ``--json``."""


def check(
    recipe: RecipeArgument,
    out: OutOption = None,
    data: DataOption = None,
    model: ModelOption = None,
    device: DeviceOption = "cpu",
    settings: SetOption = None,
    full: FullOption = False,
    trials: Annotated[
        str | None,
        typer.Option(
            "--trials",
            metavar="EXPERIMENT",
            help="check only the files of nsdimagery or nsdsynthetic; RECIPE may then be a results folder",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Check in seconds whether a recipe can run.

    A run starts with the same checks: files, ROIs, model, disk space and more. Each is marked ok, NO where the recipe
    cannot run, or -- where a run continues without it. Missing files are listed with the commands that fetch them.
    """
    from reseen import check as checks

    if trials is not None:
        _check_trials(recipe, out, data, settings, trials, json)
    read = read_recipe(recipe, data, model, settings, full=full)
    with progress() as shown:
        findings = checks.check(read, results_folder(read, out), device=device, progress=shown)
    bad = sum(not finding.ok for finding in findings)
    if json != STDOUT:
        _print_findings(recipe, findings, bad)
    if json is not None:
        write_records(json, [_record(finding) for finding in findings])
    raise typer.Exit(1 if bad else 0)


def _check_trials(
    recipe: str, out: Path | None, data: Path | None, settings: list[str] | None, trials: str, json: Path | None
) -> None:
    """Print the files of another experiment, for the subjects of a recipe or of a results folder, and exit."""
    from reseen import check as checks
    from reseen.results import ResultsFolder

    if (Path(recipe) / "recipe.toml").is_file():
        section = ResultsFolder.read(Path(recipe)).data
        section = section if data is None else section.model_copy(update={"path": data.resolve()})
    else:
        read = read_recipe(recipe, data, None, settings)
        section = read.data.model_copy(update={"path": checks.data_path(read, results_folder(read, out))})
    findings = checks.check_experiment(section, trials)
    bad = sum(not finding.ok for finding in findings)
    if json != STDOUT:
        _print_marks(findings)
        say(f"{trials} cannot be read: {bad} to fix." if bad else f"{trials} can be read.")
    if json is not None:
        write_records(json, [_record(finding) for finding in findings])
    raise typer.Exit(1 if bad else 0)


def _print_marks(findings: list[Finding]) -> None:
    """Print each check with its mark."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{finding.mark}  {finding.what:<{width}}  {finding.found}")
        for line in finding.more:
            say(f"      {line}")


def _print_findings(recipe: str, findings: list[Finding], bad: int) -> None:
    """Print each check with its mark, and whether the recipe can run."""
    _print_marks(findings)
    without = [finding.what for finding in findings if finding.absent and finding.what != "warning"]
    if bad:
        say(f"{recipe} cannot run: {bad} to fix.")
    elif without:
        say(f"{recipe} can run, without: {', '.join(without)}.")
    else:
        say(f"{recipe} can run.")


def _record(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.what,
        "status": STATUS[finding.mark],
        "found": finding.found,
        "more": list(finding.more),
    }
