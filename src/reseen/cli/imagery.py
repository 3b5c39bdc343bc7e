"""Command ``reseen imagery``: seen and imagined targets of NSD-Imagery, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reseen.cli.options import JsonOption, conditions_of
from reseen.cli.tables import STDOUT, chance, number, write_records
from reseen.cli.terminal import progress, say, say_table

if TYPE_CHECKING:
    import pandas as pd


def imagery(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="results folder of a finished run")],
    subject: Annotated[
        list[str] | None, typer.Option("--subject", help="subject; repeatable [default: all, scores are pooled]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="folder with NSD-Imagery [default: the data folder of the run]")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", help="condition of the images; repeatable [default: that of the headline]"),
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="score features only")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to write, new [default: RESULTS-imagery, beside RESULTS]")
    ] = None,
    json: JsonOption = None,
    device: Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")] = "cpu",
) -> None:
    """Decode NSD-Imagery, and score vision and imagery by the protocol nsdimagery2025.

    Both scorers are shown: the published one, whose chance is one half minus 1 / (n - 1), and the corrected one; and
    the margin, the correlation with the right target minus the mean of the others. p of identification is exact, over
    all pairings of targets and reconstructions, pooled over subjects.
    """
    from reseen.files import check_vacant
    from reseen.finished import Results
    from reseen.pipeline.log import logging

    conditions = conditions_of(condition, no_images=no_images)
    folder = out or results.resolve().with_name(f"{results.resolve().name}-imagery")
    check_vacant(folder)
    with progress() as shown, logging(folder, f"imagery of {results} on {device}", shown) as logged:
        found = Results.read(results).imagery(subject, data=data, conditions=conditions, device=device, progress=logged)
        found.save(folder)
    if json is not None:
        write_records(json, found.table)
    if json != STDOUT:
        _show(found.table)
        say(f"all scores: {folder / 'imagery.csv'}")


def _show(table: pd.DataFrame) -> None:
    """Print the scores of all targets: of all subjects pooled, or of the only subject."""
    from rich.table import Table

    main = table[(table["subject"] == table["subject"].iloc[0]) & (table["targets"] == table["targets"].iloc[0])]
    first = main.iloc[0]
    who = f"subjects: {first['n_subjects']} ({first['subject']})"
    title = f"NSD-Imagery, {first['n']} targets, {who}, intervals over targets"
    shown = Table("from", "compared by", "scorer", title=title)
    for column in ("vision", "p", "imagery", "p", "vision - imagery", "chance"):
        shown.add_column(column, justify="right")
    for words, rows in main.groupby(["condition", "network", "layer", "scorer"], sort=False):
        condition, network, layer, scorer = map(str, words)
        tasks = {str(row["task"]): row for row in rows.to_dict("records")}
        vision, imagined, difference = (tasks[name] for name in ("vision", "imagery", "vision - imagery"))
        shown.add_row(
            condition,
            f"{network} {layer}".strip(),
            scorer,
            *(_with_interval(vision), chance(vision["p"]), _with_interval(imagined), chance(imagined["p"])),
            _with_interval(difference),
            number(vision["chance"]),
        )
    say_table(shown)


def _with_interval(row: dict[Any, Any]) -> str:
    return f"{number(row['value'])} ({number(row['low'])} to {number(row['high'])})"
