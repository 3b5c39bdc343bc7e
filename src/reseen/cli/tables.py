"""Tables on the terminal and as JSON: format of numbers, and the tables of a run's scores and checks."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reseen.cli.terminal import say, say_table

if TYPE_CHECKING:
    import pandas as pd

    from reseen.results import ResultsFolder

STDOUT = Path("-")
"""Name of standard output where an option names a file; a command then prints no other table there."""


def write_records(path: Path, rows: pd.DataFrame | Sequence[Mapping[str, object]]) -> None:
    """Write a table as JSON, one record per row; ``-`` prints it. A number that does not exist is ``null``."""
    from reseen.files import write_text

    if isinstance(rows, Sequence):
        text = json.dumps(rows, indent=2, ensure_ascii=False)
    else:
        text = rows.to_json(orient="records", indent=2, force_ascii=False)
    if path == STDOUT:
        say(text)
    else:
        write_text(path, text + "\n")


def number(value: float) -> str:
    """Return a number with three digits, or an empty string for NaN."""
    return f"{value:.3f}" if value == value else ""


def chance(p: float) -> str:
    """Return a p-value with four digits, ``<.0001`` where it is smaller, or an empty string for NaN."""
    if p != p:
        return ""
    return "<.0001" if p < 0.0001 else f"{p:.4f}"


def print_scores(results: ResultsFolder) -> None:
    """Print the headlines, the scores between chance level and oracle, and the checks that do not pass."""
    from rich.table import Table

    from reseen.checks import count_statuses
    from reseen.finished import Results
    from reseen.headline import choose, headlines, summary

    run = Results(results.path, results.recipe)
    scores, checks = run.scores, run.diagnostics.checks
    table = Table("subject", "score", "images", "from", title="Scores between chance level and oracle")
    for column in ("mismatched", "permuted", "result", "95 %", "oracle", "n"):
        table.add_column(column, justify="right")
    rows = summary(scores.table, choose(scores.table, scores.stimuli)).to_dict("records")
    for row in rows:
        if not _is_listed(row, str(rows[0]["score"])):
            continue
        numbers = [number(row[column]) for column in ("chance_mismatched", "chance_permuted", "result")]
        interval = f"{number(row['low'])}–{number(row['high'])}" if row["low"] == row["low"] else ""
        words = [str(row[column]) for column in ("subject", "score", "subset", "condition")]
        table.add_row(*words, *numbers, interval, number(row["upper_bound"]), str(row["n"]))
    heads = headlines(scores.table, scores.stimuli)
    sentences = [f"{head.subject}: {head.sentence}" for head in heads]
    if heads and heads[0].caveat:
        sentences.append(heads[0].caveat)
    left = Table("subject", "status", "check", title=f"Checks: {count_statuses(checks['status'])}. Not passed:")
    for row in checks[checks["status"] != "pass"].to_dict("records"):
        left.add_row(str(row["subject"]), str(row["status"]), str(row["sentence"]))
    say_table(table, "\n".join(sentences), left)


def show_results(results: ResultsFolder) -> None:
    """Print the scores, if they exist, and the paths of the results and the report."""
    if all((results.path / f"{name}.csv").is_file() for name in ("scores", "diagnostics")):
        print_scores(results)
    say(f"results: {results.path}")
    report = results.path / "report.html"
    if report.is_file():
        say(f"report: {report}")


def _is_listed(row: Mapping[Hashable, object], headline: str) -> bool:
    """Check whether a row is in the short table: subsets only for zc, retrieved images only for the headline score."""
    from reseen.tables import is_retrieved

    if is_retrieved(str(row["condition"])):
        return row["subset"] == "all" and row["score"] == headline
    return row["subset"] == "all" or row["condition"] == "zc"
