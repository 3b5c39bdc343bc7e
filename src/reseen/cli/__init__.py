"""Command line: parse, call one function, print.

::

    __init__.py   commands that run a recipe
    options.py    options of several commands, and -h, -q and -v of every command
    recipes.py    the recipe of a command
    check.py      reseen check
    folders.py    reseen evaluate, for two folders of images
    align.py      reseen align
    apply.py      reseen apply
    compare.py    reseen compare
    export.py     reseen export
    imagery.py    reseen imagery
    live.py       reseen live
    merge.py      reseen merge
    retrieval.py  reseen retrieval
    raters.py     reseen raters, and reseen raters score
    tables.py     functions for printed tables
    terminal.py   all printing, progress, exit codes, and the signals that stop a command

`docs/command_line.md` documents the exit codes and the options of every command.
"""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import reseen
from reseen.cli.align import align
from reseen.cli.apply import apply
from reseen.cli.check import check
from reseen.cli.compare import compare
from reseen.cli.export import export
from reseen.cli.folders import EVALUATE, score_folders
from reseen.cli.imagery import imagery
from reseen.cli.live import live
from reseen.cli.merge import merge
from reseen.cli.options import (
    HELP_NAMES,
    ClusterOption,
    Command,
    DataOption,
    DeviceOption,
    ExecutorOption,
    FullOption,
    JsonOption,
    MainGroup,
    ModelOption,
    OutOption,
    RecipeArgument,
    SetOption,
    WorkersOption,
)
from reseen.cli.raters import raters
from reseen.cli.recipes import read_recipe, results_folder
from reseen.cli.retrieval import retrieval
from reseen.cli.tables import STDOUT, show_results, write_records
from reseen.cli.terminal import EXIT_CODES, VERBOSITY, prepare, progress, say
from reseen.errors import ClusterError, ReseenError

if TYPE_CHECKING:
    from reseen.recipe import Recipe

OUTER_LAYER = r"conv_in|conv_out|(mid_block|(down|up)_blocks\.\d+)(\.(resnets|attentions|(down|up)samplers)\.\d+)?"
"""Names that `reseen layers` lists without --all."""

app = typer.Typer(
    name="reseen",
    cls=MainGroup,
    no_args_is_help=True,
    context_settings=HELP_NAMES,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Reconstruct the images that a subject saw from fMRI, with a frozen latent diffusion model.",
    epilog="Start with `reseen demo`. `reseen check RECIPE` lists what a run needs; `reseen run RECIPE` runs it. "
    f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
)


def _print_version(value: bool) -> None:
    if value:
        say(f"reseen {reseen.__version__}")
        raise typer.Exit


@app.callback()
def _of_all_commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Declare the options of `reseen` itself."""


VERBS = {
    "run": "Run a recipe to its report. A run that was stopped continues where it was.",
    "extract": "Run a recipe up to the features, which the diffusion model computes from images and captions.",
    "decode": "Run a recipe up to the decoders, from responses to features.",
    "encode": "Run a recipe up to the encoding models, from features to responses.",
    "reconstruct": "Run a recipe up to the images.",
    "report": "Run a recipe up to the report, and write the report again.",
}
"""Commands that run a recipe up to a stage; `_add_verb` defines their options."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    import warnings

    has_errors = sys.stderr is not None
    prepare()
    warnings.showwarning = _show_warning
    try:
        app()
    except ReseenError as error:
        _show_traceback(err=has_errors)
        say(f"error: {error}", err=has_errors)  # standard output, where standard error is closed
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None:
            raise
        _show_traceback(err=has_errors)
        say(f"error: cannot use {error.filename}: {error.strerror}.", err=has_errors)
        raise SystemExit(1) from None


def _show_traceback(*, err: bool) -> None:
    if VERBOSITY.verbose:
        say(traceback.format_exc().rstrip("\n"), err=err)


def _show_warning(message: Warning | str, category: type[Warning], *_where: object, **_more: object) -> None:
    """Print a warning of reseen in one line; libraries' warnings to programmers are printed with -v only."""
    if VERBOSITY.verbose or issubclass(category, UserWarning):
        say(f"warning: {message}", err=True)


@app.command(cls=Command)
def demo(
    out: Annotated[Path, typer.Option("--out", help="results folder")] = Path("out/demo"),
    device: DeviceOption = "cpu",
    executor: ExecutorOption = "serial",
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
) -> None:
    """Run the complete chain on a simulated subject, in minutes."""
    from reseen.recipe import load_recipe

    _run("run", load_recipe("demo"), out, device, executor, cluster, workers)


def _add_verb(verb: str) -> None:
    """Define the command of one of `VERBS`."""

    @app.command(verb, cls=Command, help=VERBS[verb])
    def command(
        recipe: RecipeArgument,
        out: OutOption = None,
        data: DataOption = None,
        model: ModelOption = None,
        device: DeviceOption = "cpu",
        executor: ExecutorOption = "serial",
        cluster: ClusterOption = None,
        workers: WorkersOption = None,
        settings: SetOption = None,
        full: FullOption = False,
    ) -> None:
        read = read_recipe(recipe, data, model, settings, full=full)
        _run(verb, read, results_folder(read, out), device, executor, cluster, workers)


for _verb in VERBS:
    _add_verb(_verb)


@app.command("evaluate", cls=Command, help=EVALUATE)
def evaluate(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="as for run; left out where folders are given")
    ] = None,
    out: OutOption = None,
    data: DataOption = None,
    model: ModelOption = None,
    device: DeviceOption = "cpu",
    executor: ExecutorOption = "serial",
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    full: FullOption = False,
    images: Annotated[
        Path | None, typer.Option("--images", help="folder of reconstructions: <id>.png or <id>_<sample>.png")
    ] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="folder of the presented images: <id>.png")] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="builtin, takagi2023, braindiffuser2023 or mindeye2; repeatable"),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="write the scores as a table with the columns of scores.csv")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Score the images of a recipe, or the images of two folders; the help text is `EVALUATE`."""
    if recipe is not None:
        if images or truth or protocol or csv or json:
            raise typer.BadParameter("--images, --truth, --protocol, --csv and --json are not for a RECIPE.")
        read = read_recipe(recipe, data, model, settings, full=full)
        _run("evaluate", read, results_folder(read, out), device, executor, cluster, workers)
        return
    if images is None or truth is None:
        raise typer.BadParameter("give a RECIPE, or both --images and --truth.")
    if out or data or model or settings or full or executor != "serial" or cluster or workers:
        raise typer.BadParameter("of the options of a RECIPE, two folders take only --device.")
    with progress() as shown:
        score_folders(images, truth, protocol or ["builtin"], device, shown, csv=csv, json=json)


@app.command(cls=Command)
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder to write the data set into")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="recipe whose section [simulate] sets sizes and seed")
    ] = "simulated",
    images: Annotated[Path | None, typer.Option("--images", help="folder of images of your own")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="write the betas as NIfTI too")] = False,
    with_imagery: Annotated[
        bool, typer.Option("--imagery", help="write a session of NSD-Imagery too: targets seen and imagined")
    ] = False,
    with_synthetic: Annotated[
        bool, typer.Option("--synthetic", help="write a session of NSD-synthetic too: noise, words and gratings")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Write simulated subjects as a data set.

    The data set has the layout of the Natural Scenes Dataset. A recipe reads it with --data OUT.
    """
    from reseen.simulate import write_data_set

    with progress() as shown:
        read = read_recipe(recipe, None, None, settings)
        write_data_set(
            read,
            out,
            images=images,
            nifti=nifti,
            imagery=with_imagery,
            synthetic=with_synthetic,
            progress=shown,
        )
    say(f"data set: {out}")


for _command in (check, merge, apply, align, live, imagery, compare, retrieval, export):
    app.command(cls=Command)(_command)
app.add_typer(raters, name="raters")


@app.command(cls=Command)
def layers(
    recipe: RecipeArgument,
    data: DataOption = None,
    model: ModelOption = None,
    settings: SetOption = None,
    everything: Annotated[bool, typer.Option("--all", help="also the modules inside these")] = False,
    json: JsonOption = None,
) -> None:
    """List the U-Net modules that encode.layers can name.

    Each line gives a module and the shape of its output for one image. The recipe names the model.
    """
    from reseen.ldm import load_model
    from reseen.ldm.recording import default_layers, layer_shapes

    section = read_recipe(recipe, data, model, settings).model
    ldm = load_model(section.name, revision=section.revision, fetch=False)
    chosen = default_layers(ldm)
    every = layer_shapes(ldm)
    shapes = {name: shape for name, shape in every.items() if everything or re.fullmatch(OUTER_LAYER, name)}
    if json is not None:
        rows = [{"module": name, "shape": list(shape), "default": name in chosen} for name, shape in shapes.items()]
        write_records(json, rows)
    if json == STDOUT:
        return
    for name, shape in shapes.items():
        say(f"{'*' if name in chosen else ' '} {name:<36} {' x '.join(map(str, shape))}")
    say('* the modules of encode.layers = ["auto"]')


@app.command(cls=Command)
def recipe(
    name: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="as for run; left out: a template with every default")
    ] = None,
) -> None:
    """Print a recipe with every key.

    Each key follows its description and has its value. Save it, change it and run it: reseen run FILE.
    """
    from reseen.recipe import Recipe, load_recipe, to_toml

    say(to_toml(load_recipe(name) if name else Recipe(), explained=True).rstrip("\n"))


def _run(
    verb: str, recipe: Recipe, out: Path, device: str, executor: str, cluster: str | None, workers: int | None
) -> None:
    """Run a recipe up to the stage of a command, and print where the results are."""
    from reseen import pipeline
    from reseen.executor import check_options, open_executor

    last = "report" if verb == "run" else verb
    try:
        check_options(executor, cluster, workers)
    except ClusterError as error:  # wrong usage: exit code 2
        raise typer.BadParameter(str(error)) from None
    try:
        with (
            open_executor(executor, cluster=cluster, n_workers=workers, device=device, folder=out) as opened,
            progress() as shown,
        ):
            results = pipeline.run(
                recipe, out, until=last, device=device, report_anew=verb == "report", progress=shown, executor=opened
            )
    except KeyboardInterrupt as stop:  # also SIGTERM and SIGHUP
        if out.is_dir():
            stop.add_note(f"Every complete file in {out} is kept; log.txt there has the last step.")
        stop.add_note("Run the same command again to continue.")
        raise
    show_results(results)
