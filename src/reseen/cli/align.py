"""Command ``reseen align``: a subject of a finished run, decoded with the decoder of another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from reseen.cli.options import JsonOption, conditions_of
from reseen.cli.tables import STDOUT, number, write_records
from reseen.cli.terminal import progress, say, say_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from reseen.applied.align_plan import Sessions
    from reseen.decode.alignment import AlignmentRoute
    from reseen.decode.alignment_levels import AlignmentLevel, AlignmentProtocol


def align(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="results folder of a finished run")],
    source: Annotated[str, typer.Option("--source", help="subject of the decoder")],
    target: Annotated[str, typer.Option("--target", help="subject that is decoded")],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            help="shared_split: test on other shared stimuli; own_stimuli: on stimuli that only the target saw",
        ),
    ] = "shared_split",
    through: Annotated[str, typer.Option("--through", help="features, or voxels of the source")] = "features",
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="feature; repeatable [default: those that the condition needs]"),
    ] = None,
    n_sessions: Annotated[
        str | None,
        typer.Option("--n-sessions", metavar="N,N,all", help="sessions of the target [default: 1,2,4,all]"),
    ] = None,
    n_align: Annotated[
        int | None, typer.Option("--n-align", min=1, help="alignment stimuli [default: 70 % of the shared, or all]")
    ] = None,
    n_test: Annotated[
        int | None,
        typer.Option("--n-test", min=1, help="test stimuli [default: the others; a fifth of the own ones]"),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option("--level", help="level to compare, such as aligned or identity; repeatable [default: all]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="chooses the stimuli and the permutation")] = 0,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", help="condition of the images; repeatable [default: that of the headline]"),
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="decode features only")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="folder to write, new [default: RESULTS-align-TARGET-from-SOURCE, beside RESULTS]"),
    ] = None,
    json: JsonOption = None,
    device: Annotated[str, typer.Option("--device", help="where networks and fits run: cpu, cuda, cuda:1")] = "cpu",
) -> None:
    """Decode a subject with the decoder of another one, and compare it with the subject's own data.

    Both subjects are of the run and saw shared stimuli. Writes scores over sessions, a figure, decoders for reseen
    apply, images of test stimuli, and a report that says which level is better.
    """
    from reseen.files import check_vacant
    from reseen.finished import Results

    conditions = conditions_of(condition, no_images=no_images)
    sessions = _sessions(n_sessions)
    here = results.resolve()
    folder = out or here.with_name(f"{here.name}-align-{target}-from-{source}")
    check_vacant(folder)
    with progress() as shown:
        found = Results.read(results).align(
            source,
            target,
            protocol=cast("AlignmentProtocol", protocol),  # unknown words are refused
            through=cast("AlignmentRoute", through),
            features=feature,
            n_sessions=sessions,
            n_align=n_align,
            n_test=n_test,
            levels=cast("list[AlignmentLevel] | None", level),
            seed=seed,
            conditions=conditions,
            device=device,
            progress=shown,
        )
    found.save(folder)
    if json is not None:
        write_records(json, found.table)
    if json == STDOUT:
        return
    say_table(_table(found.table))
    for note in found.notes:
        say(f"note: {note}")
    for sentence in found.sentences:
        say(sentence)
    say(f"all scores: {folder / 'alignment.csv'}")
    say(f"report: {folder / 'report.html'}")


def _sessions(text: str | None) -> Sessions | None:
    """Return numbers of sessions from ``"1,2,all"``."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word == "all" or word.isdecimal() for word in words):
        raise typer.BadParameter(f"--n-sessions is {text!r}; numbers or all are expected, such as 1,2,all.")
    return ["all" if word == "all" else int(word) for word in words]


def _table(table: pd.DataFrame) -> Table:
    """Return identification of each level, and the differences from own data of equal minutes."""
    from rich.table import Table

    rows = table[table["metric"] == "identification"]
    levels = [level for level in dict.fromkeys(rows["level"]) if " - " not in level]
    first = rows.iloc[0]
    title = (
        f"{first['target']} with the decoder of {first['source']}, {first['protocol']}, through {first['through']}: "
        f"two-way identification of {first['n']} stimuli"
    )
    shown = Table("feature", title=title)
    # of the first one only, so that the table fits a terminal; the sentences have both
    differences = [level for level in dict.fromkeys(rows["level"]) if str(level).endswith(" - own_equal")][:1]
    for column in ("sessions", *levels, *differences):
        shown.add_column(column, justify="right")
    for (feature, count), each in rows.groupby(["feature", "n_sessions"], sort=False):
        values = {str(row["level"]): row for row in each.to_dict("records")}
        compared = [
            f"{values[name]['value']:+.3f} ({number(values[name]['low'])} to {number(values[name]['high'])})"
            for name in differences
        ]
        shown.add_row(str(feature), str(count), *(number(values[level]["value"]) for level in levels), *compared)
    return shown
