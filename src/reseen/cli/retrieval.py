"""Command ``reseen retrieval``: top-1 accuracy of a finished run in random galleries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reseen.cli.options import JsonOption
from reseen.cli.tables import STDOUT, number, write_records
from reseen.cli.terminal import say, say_table
from reseen.defaults import GALLERY


def retrieval(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="results folder of a finished run")],
    size: Annotated[
        int, typer.Option("--size", min=2, help="number of items in a gallery; at most all stimuli")
    ] = GALLERY,
    subject: Annotated[str | None, typer.Option("--subject", help="subject [default: the only one]")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="also write the table to this file")] = None,
    json: JsonOption = None,
    device: Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")] = "cpu",
) -> None:
    """Score how often the right item is the most similar one of a random gallery.

    Of every decoded feature and every layer of the evaluation networks, in both directions, by correlation (builtin)
    and by MindEye's cosine (mindeye2). The accuracy is exact: the expectation over all galleries.
    """
    from rich.table import Table

    from reseen.files import write_text
    from reseen.finished import Results
    from reseen.tables import to_csv

    found = Results.read(results).retrieval(subject, size=size, device=device)
    table = Table("from", "compared by", "protocol", "query → gallery", title=f"Retrieval, {found['metric'].iloc[0]}")
    for column in ("accuracy", "95 %", "permuted", "chance", "n"):
        table.add_column(column, justify="right")
    for row in found.to_dict("records"):
        words = [row["condition"], f"{row['network']} {row['layer']}".strip(), row["protocol"]]
        between = f"{number(row['low'])}–{number(row['high'])}"
        levels = [number(row["permuted"]), number(row["chance"])]
        numbers = [number(row["value"]), between, *levels, str(row["n"])]
        table.add_row(*words, f"{row['query']} → {row['gallery']}", *numbers)
    if json != STDOUT:
        say_table(table)
    if json is not None:
        write_records(json, found)
    if csv is not None:
        write_text(csv, to_csv(found))
        if json != STDOUT:
            say(f"table: {csv}")
