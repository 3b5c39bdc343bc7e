"""Tables on the terminal: how a number looks, and the table of a run's scores."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from reseen.cli.terminal import say, say_table

if TYPE_CHECKING:
    import pandas as pd

    from reseen.results import ResultsFolder


def number(value: float) -> str:
    """Return a number with three digits, and nothing for one that is not known."""
    return f"{value:.3f}" if value == value else ""


def chance(p: float) -> str:
    """Return a p-value with four digits, none where it is not known, and no zero where it is small."""
    return "" if p != p else "<.0001" if p < 0.0001 else f"{p:.4f}"


def print_scores(scores: pd.DataFrame, reading: pd.DataFrame, stimuli: str, n_shuffles: int) -> None:
    """Print the headline scores of each condition, between floors and ceiling."""
    from rich.table import Table

    from reseen.evaluate import summary, verdict

    table = Table("subject", "score", "pictures", "from", title="Scores between floor and ceiling")
    for column in ("wrong truths", "shuffled", "result", "95 %", "ceiling", "n"):
        table.add_column(column, justify="right")
    found = summary(scores, stimuli=stimuli).to_dict("records")
    for row in (row for row in found if _is_telling(row, str(found[0]["score"]))):
        numbers = [number(row[column]) for column in ("floor_repaired", "floor_shuffled", "result")]
        interval = f"{number(row['low'])}–{number(row['high'])}" if row["low"] == row["low"] else ""
        words = [str(row[column]) for column in ("subject", "score", "subset", "condition")]
        table.add_row(*words, *numbers, interval, number(row["ceiling"]), str(row["n"]))
    say_table(table, verdict(scores, reading, stimuli=stimuli, n_shuffles=n_shuffles))


def show_results(results: ResultsFolder) -> None:
    """Print the scores, if there are any, and where the results and the report are."""
    if all((results.path / f"{name}.csv").is_file() for name in ("scores", "diagnostics")):
        from reseen.headline import stimuli_of

        stimuli = stimuli_of(results.provenance, results.recipe.data.subjects)
        print_scores(
            results.load_table("scores"), results.load_table("diagnostics"), stimuli, results.recipe.n_permuted
        )
    say(f"results: {results.path}")
    report = results.path / "report.html"
    if report.is_file():
        say(f"report: {report}")


def _is_telling(row: Mapping[Hashable, object], headline: str) -> bool:
    """Keep the table short: subsets of zc alone, and pictures that were retrieved by the headline alone."""
    from reseen.tables import is_retrieved

    if is_retrieved(str(row["condition"])):
        return row["subset"] == "all" and row["score"] == headline
    return row["subset"] == "all" or row["condition"] == "zc"
