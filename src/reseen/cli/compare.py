"""Command ``reseen compare``: compare results image by image."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reseen.cli.options import JsonOption
from reseen.cli.tables import STDOUT, chance, number, write_records
from reseen.cli.terminal import say, say_table

if TYPE_CHECKING:
    import pandas as pd


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="REFERENCE OTHER...", help="results folders")],
    level: Annotated[str, typer.Option("--level", help="level of the images: result or oracle")] = "result",
    everything: Annotated[
        bool, typer.Option("--all", help="also retrieved images, the other direction and equal scores")
    ] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="also write every row to this file")] = None,
    json: JsonOption = None,
) -> None:
    """Compare results image by image.

    Prints paired differences over the test images, with intervals and p. Results of other test images or of another
    protocol are refused.
    """
    from reseen.compare import compare as compare_results
    from reseen.compare import settings_that_differ
    from reseen.files import write_text
    from reseen.headline import stimuli_of
    from reseen.results import ResultsFolder
    from reseen.tables import to_csv

    reference, *others = (ResultsFolder.read(folder) for folder in folders)
    found = compare_results(reference, others, level=level)
    if csv is not None:
        write_text(csv, to_csv(found))
    if json is not None:
        write_records(json, found)
    if json == STDOUT:
        return
    for other in others:
        for setting in settings_that_differ(reference, other):
            say(f"{other.path}: {setting}")
        rows = found[found["results"] == str(other.path)]
        _print_headline(rows, stimuli_of(reference.provenance, reference.recipe.data.subjects))
        for protocol, scores in rows.groupby("protocol", sort=False):
            title = f"{other.path} against {reference.path}, by protocol {protocol}"
            _print_comparison(title, scores.to_dict("records"), everything)
    if csv is not None:
        say(f"table: {csv}")


def _print_headline(rows: pd.DataFrame, stimuli: str) -> None:
    """Print the paired difference of each subject's headline score."""
    from reseen.conditions import main_condition
    from reseen.headline import choose

    head = choose(rows, stimuli)
    if head is None:
        return
    for row in head.rows(rows).to_dict("records"):
        if row["condition"] == main_condition(rows["condition"]):
            score = f"{row['condition']} by {head.network} {head.layer}".strip()
            change = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}, p {chance(row['p'])})"
            pair = f"{number(row['reference'])}, then {number(row['value'])}"
            say(f"headline of {row['subject']}, {score}: {pair}; difference {change}")


def _print_comparison(title: str, rows: list[dict[Hashable, Any]], everything: bool) -> None:
    """Print paired differences, one line each; equal scores are only counted, unless ``everything`` is set."""
    from rich.table import Table

    from reseen.tables import BUILTIN

    chosen = [row for row in rows if everything or _is_first_choice(row)]
    shown = [row for row in chosen if everything or row["difference"] or row["low"] or row["high"]]
    table = Table("subject", "from", "score", title=title)
    for column in ("reference", "other", "difference", "95 %", "p", "p, Holm", "n"):
        table.add_column(column, justify="right")
    for row in shown:
        parts = [row["network"], row["layer"]]
        if row["metric"] != "identification":
            parts.insert(0, row["metric"])
        if row["protocol"] != BUILTIN:
            parts.insert(0, row["protocol"])
        if everything and row["direction"]:
            parts.append(f"({row['direction']} fixed)")
        score = " ".join(filter(None, parts))
        values = [number(row[name]) for name in ("reference", "value")]
        change = [f"{row['difference']:+.3f}", f"{row['low']:+.3f} to {row['high']:+.3f}"]
        words = [str(row["subject"]), str(row["condition"]), score]
        table.add_row(*words, *values, *change, chance(row["p"]), chance(row["p_holm"]), str(row["n"]))
    if shown:
        say_table(table)
    if same := len(chosen) - len(shown):
        say(f"{title}: {same} of {len(chosen)} scores are the same image by image (--all shows them).")


def _is_first_choice(row: Mapping[Hashable, object]) -> bool:
    """Check whether a row is in the short table: generated images, and the paper's direction where there are two."""
    from reseen.tables import BUILTIN, is_retrieved

    other_way = row["protocol"] == BUILTIN and row["direction"] == "reconstruction"
    return not is_retrieved(str(row["condition"])) and not other_way
