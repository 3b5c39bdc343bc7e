"""Command ``reseen check``: print the checks of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    json: JsonOption = None,
) -> None:
    """Check in seconds whether a recipe can run.

    A run starts with the same checks: files, ROIs, model, disk space and more. Each is marked ok, NO where the recipe
    cannot run, or -- where a run continues without it. Missing files are listed with the commands that fetch them.
    """
    from reseen import check as checks

    read = read_recipe(recipe, data, model, settings, full=full)
    with progress() as shown:
        findings = checks.check(read, results_folder(read, out), device=device, progress=shown)
    bad = sum(not finding.ok for finding in findings)
    if json != STDOUT:
        _print_findings(recipe, findings, bad)
    if json is not None:
        write_records(json, [_record(finding) for finding in findings])
    raise typer.Exit(1 if bad else 0)


def _print_findings(recipe: str, findings: list[Finding], bad: int) -> None:
    """Print each check with its mark, and whether the recipe can run."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{finding.mark}  {finding.what:<{width}}  {finding.found}")
        for line in finding.more:
            say(f"      {line}")
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
