"""Command ``reseen apply``: decoders of a finished run on new trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from reseen.cli.options import conditions_of
from reseen.cli.tables import chance, number
from reseen.cli.terminal import progress, say, say_table

if TYPE_CHECKING:
    from reseen.decode.new_trials import ScalingRule
    from reseen.scores import Scores


def apply(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="results folder of a finished run")],
    trials: Annotated[
        Path,
        typer.Option(
            "--trials",
            metavar="FILE",
            help="new trials: .npz, a volume, a recipe that names data, or nsdsynthetic, nsdimagery-vision or "
            "nsdimagery-imagery in the data folder of the run",
        ),
    ],
    subject: Annotated[str | None, typer.Option("--subject", help="subject [default: the only one]")] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            "--scaling",
            help="standardise by: session (all new trials of a session), training (the training sessions), causal "
            "(trials so far) [default: session, or training where the run did not standardise sessions]",
        ),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", help="condition of the images; repeatable [default: that of the headline]"),
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="decode features only")] = False,
    average: Annotated[bool, typer.Option("--average", help="average the trials of each stimulus first")] = False,
    decoders: Annotated[
        Path | None,
        typer.Option("--decoders", metavar="FOLDER", help="decoders of reseen align, in place of those of the run"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder to write, new [default: RESULTS-FILE, beside RESULTS]")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")] = "cpu",
) -> None:
    """Decode new trials with the decoders of a finished run.

    The trials are of the same subject and the same voxels, which are matched by their index. Writes decoded features,
    images, scores where the stimuli are known, and a report.
    """
    from reseen.files import check_vacant
    from reseen.finished import Results
    from reseen.pipeline.log import logging

    conditions = conditions_of(condition, no_images=no_images)
    folder = out or results.resolve().with_name(f"{results.resolve().name}-{trials.name.partition('.')[0]}")
    check_vacant(folder)
    with progress() as shown, logging(folder, f"apply {results} to {trials} on {device}", shown) as logged:
        found = Results.read(results).apply(
            trials,
            subject,
            conditions=conditions,
            scaling=cast("ScalingRule | None", scaling),  # an unknown one is refused
            average=average,
            decoders=decoders,
            device=device,
            progress=logged,
        )
        found.save(folder)
    for note in found.notes:
        say(f"note: {note}")
    if found.scores is not None:
        _show_scores(found.scores)
    say(f"{len(found)} items, scaling {found.scaling}: {folder}")
    say(f"report: {folder / 'report.html'}")


def _show_scores(scores: Scores) -> None:
    """Print the headline; and where there are subsets of stimuli, identification in each, of features and headline."""
    from rich.table import Table

    from reseen.headline import choose
    from reseen.tables import FEATURES, IDENTIFICATION

    head = scores.headline()
    if head is not None:
        say(f"headline: {head!r}")
    if set(scores.table["subset"]) == {"all"}:
        return
    rule = choose(scores.table, scores.stimuli)
    of_images = [] if rule is None else [(rule.network, rule.layer)]
    table = Table("stimuli", "from", "compared by", title="Identification of the original")
    for column in ("result", "95 %", "p", "n"):
        table.add_column(column, justify="right")
    rows = scores.wide().reset_index()
    rows = rows[(rows["metric"] == IDENTIFICATION) & (rows["direction"] == "original")]
    for row in rows.sort_values("subset", key=lambda subset: subset != "all", kind="stable").to_dict("records"):
        if (row["network"], row["layer"]) in [(FEATURES, ""), *of_images]:
            interval = f"{number(row['low'])} to {number(row['high'])}"
            by = f"{row['network']} {row['layer']}".strip()
            words = (row["subset"], row["condition"], by)
            table.add_row(*words, number(row["result"]), interval, chance(row["p"]), str(int(row["n"])))
    say_table(table)
