"""Commands ``reseen raters``: write a page for raters, and score their answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reseen.cli.options import HELP_NAMES, Command, Group, JsonOption
from reseen.cli.tables import STDOUT, chance, number, write_records
from reseen.cli.terminal import say, say_table

if TYPE_CHECKING:
    import pandas as pd


class _PageByDefault(Group):
    """Group whose default command is `page`: ``reseen raters OUT``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *HELP_NAMES["help_option_names"]}:
            args = ["page", *args]
        return super().parse_args(ctx, args)


raters = typer.Typer(
    cls=_PageByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Let raters choose which image was reconstructed from which, and score their answers.",
)


@raters.command(cls=Command)
def page(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="a results folder")],
    conditions: Annotated[
        list[str] | None, typer.Option("--condition", help="z, c or zc; repeatable; left out: all conditions")
    ] = None,
    images: Annotated[int, typer.Option("--images", help="test images of each subject, at most")] = 40,
    n_raters: Annotated[int, typer.Option("--raters", help="number of raters that can be identified")] = 12,
    catch: Annotated[int, typer.Option("--catch", help="number of catch questions, which have an obvious answer")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="seed of the images, pairs, sides and orders")] = 0,
    data: Annotated[Path | None, typer.Option("--data", help="folder or file of the data, if they were moved")] = None,
) -> None:
    """Write a page that asks which of two images was reconstructed from the one above.

    The word page may be left out. The page works offline; raters send back the files that it saves.
    """
    from reseen import pipeline
    from reseen.results import ResultsFolder

    results = ResultsFolder.read(out)
    design = pipeline.write_page(
        results,
        data=data,
        conditions=conditions or (),
        n_images=images,
        n_raters=n_raters,
        n_catch=catch,
        seed=seed,
    )
    n_questions = len(design.sheets[0])
    say(f"page: {out / 'raters' / 'index.html'}")
    say(f"{n_questions} questions per rater; give each rater a number of their own, 1 to {n_raters}.")
    if results.recipe.data.kind == "nsd":
        say("The page contains NSD's images. NSD's terms forbid passing them on: keep the page on your own computers.")


@raters.command(cls=Command)
def score(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the results folder whose page was answered")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="files that the raters' pages saved")],
    json: JsonOption = None,
) -> None:
    """Score the answers of several raters.

    Prints the accuracy of each condition with intervals, and signed-rank tests; also writes OUT/raters/raters.csv.
    """
    from reseen.files import write_text
    from reseen.raters import Design, read_answers, score_answers
    from reseen.tables import to_csv

    design = Design.load(out / "raters" / "design.json")
    found = score_answers(design, read_answers(design, files))
    write_text(out / "raters" / "raters.csv", to_csv(found))
    if json is not None:
        write_records(json, found)
    if json != STDOUT:
        _print_ratings(found)
        say(f"table: {out / 'raters' / 'raters.csv'}")


def _print_ratings(found: pd.DataFrame) -> None:
    """Print the raters' accuracy, and the numbers of each rater."""
    from rich.table import Table

    tests = Table("subject", "images", "against", title="Which image was reconstructed from it? Chance is one half")
    for column in ("right", "95 %", "p", "p, Holm", "raters", "images"):
        tests.add_column(column, justify="right")
    for row in found[found["statistic"].isin(["accuracy", "difference"])].to_dict("records"):
        value = f"{row['value']:.3f}" if row["statistic"] == "accuracy" else f"{row['value']:+.3f}"
        p = [chance(row[name]) for name in ("p", "p_holm")]
        counts = [f"{row[name]:.0f}" for name in ("n_raters", "n_images")]
        against = row["against"] if row["against"] == row["against"] else ""  # NaN differs from itself
        words = [str(row["subject"]), str(row["condition"]), str(against)]
        tests.add_row(*words, value, f"{row['low']:.3f} to {row['high']:.3f}", *p, *counts)
    people = Table("rater", title="Each rater")
    for column in ("right", "catch questions", "seconds, median"):
        people.add_column(column, justify="right")
    own = found.dropna(subset=["rater"]).pivot_table(index="rater", columns="statistic", values="value")
    for rater, values in own.iterrows():
        figures = [values.get(name, float("nan")) for name in ("rater_accuracy", "rater_catch", "rater_seconds")]
        people.add_row(f"{rater:.0f}", *map(number, figures))
    say_table(tests, people)
