"""Command line: parse, call one function, print.

::

    __init__.py   commands that run or check a recipe
    folders.py    reseen evaluate, for two folders of images
    apply.py      reseen apply
    compare.py    reseen compare
    merge.py      reseen merge
    retrieval.py  reseen retrieval
    raters.py     reseen raters, and reseen raters score
    tables.py     functions for printed tables
    terminal.py   all printing, progress, and the signals that stop a command

Exit codes: 0, 1 for an error with a message, 2 for wrong usage, 130, 143 and 129 for a command that was stopped by
Ctrl-C, SIGTERM or SIGHUP. Progress goes to standard error: bars on a terminal, dated lines elsewhere.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from reseen.cli.apply import apply
from reseen.cli.compare import compare
from reseen.cli.folders import EVALUATE, score_folders
from reseen.cli.merge import merge
from reseen.cli.raters import raters
from reseen.cli.retrieval import retrieval
from reseen.cli.tables import show_results
from reseen.cli.terminal import STOPPED_BY, Stopped, prepare, progress, say
from reseen.errors import ClusterError, ReseenError

if TYPE_CHECKING:
    from reseen.recipe import Recipe

OUTER_LAYER = r"conv_in|conv_out|(mid_block|(down|up)_blocks\.\d+)(\.(resnets|attentions|(down|up)samplers)\.\d+)?"
"""Names that `reseen layers` lists without --all."""

RESUMED = ("demo", "run", "extract", "decode", "encode", "reconstruct", "evaluate", "report")
"""Commands that continue where they were stopped."""


class _Commands(TyperGroup):
    """Group of the commands; it reports a signal that stops a command."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            then = " Run the same command again to continue." if ctx.invoked_subcommand in RESUMED else ""
            say(f"stopped by {STOPPED_BY[signal.Signals(number)]}.{then}", err=True)
            raise typer.Exit(128 + number) from None


app = typer.Typer(
    name="reseen",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Reconstruct the images that a subject saw from fMRI, with a frozen latent diffusion model.",
    epilog="Start with `reseen demo`. `reseen check RECIPE` lists what a run needs; `reseen run RECIPE` runs it.",
)


RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a TOML file, or the name of one of reseen's own, such as demo")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="results folder [default: out/NAME, with the recipe's name]")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="folder or file of the data, instead of data.path")]
ModelOption = Annotated[str | None, typer.Option("--model", help="a diffusion model, instead of model.name")]
DeviceOption = Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="replace a value of the recipe, such as reconstruct.n_steps=20; repeatable",
    ),
]
FullOption = Annotated[
    bool,
    typer.Option("--full", help="also compute levels and splits that need more images or decoders (evaluate.full)"),
]
ExecutorOption = Annotated[str, typer.Option("--executor", help="serial, or dask for several workers")]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="with dask: a running cluster, such as tcp://node7:8786"),
]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="with dask: number of local workers")]

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
        say(f"error: {error}", err=has_errors)  # standard output, where standard error is closed
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None:
            raise
        say(f"error: cannot use {error.filename}: {error.strerror}.", err=has_errors)
        raise SystemExit(1) from None


def _show_warning(message: Warning | str, category: type[Warning], *_where: object, **_more: object) -> None:
    """Print a warning of reseen in one line; libraries' warnings to programmers are not printed."""
    if issubclass(category, UserWarning):
        say(f"warning: {message}", err=True)


@app.command()
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

    @app.command(verb, help=VERBS[verb])
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
        read = _read_recipe(recipe, data, model, settings, full=full)
        _run(verb, read, _folder(read, out), device, executor, cluster, workers)


for _verb in VERBS:
    _add_verb(_verb)


@app.command("evaluate", help=EVALUATE)
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
    json: Annotated[Path | None, typer.Option("--json", help="write the printed table, one record per score")] = None,
) -> None:
    """Score the images of a recipe, or the images of two folders; the help text is `EVALUATE`."""
    if recipe is not None:
        if images or truth or protocol or csv or json:
            raise typer.BadParameter("--images, --truth, --protocol, --csv and --json are not for a RECIPE.")
        read = _read_recipe(recipe, data, model, settings, full=full)
        _run("evaluate", read, _folder(read, out), device, executor, cluster, workers)
        return
    if images is None or truth is None:
        raise typer.BadParameter("give a RECIPE, or both --images and --truth.")
    if out or data or model or settings or full or executor != "serial" or cluster or workers:
        raise typer.BadParameter("of the options of a RECIPE, two folders take only --device.")
    with progress() as shown:
        score_folders(images, truth, protocol or ["builtin"], device, shown, csv=csv, json=json)


@app.command()
def check(
    recipe: RecipeArgument,
    out: OutOption = None,
    data: DataOption = None,
    model: ModelOption = None,
    device: DeviceOption = "cpu",
    settings: SetOption = None,
    full: FullOption = False,
) -> None:
    """Check in seconds whether a recipe can run.

    A run starts with the same checks: files, ROIs, model, disk space and more. Each is marked ok, NO where the recipe
    cannot run, or -- where a run continues without it. Missing files are listed with the commands that fetch them.
    """
    from reseen import check as checks

    read = _read_recipe(recipe, data, model, settings, full=full)
    with progress() as shown:
        findings = checks.check(read, _folder(read, out), device=device, progress=shown)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        say(f"{finding.mark}  {finding.what:<{width}}  {finding.found}")
        for line in finding.more:
            say(f"      {line}")
    bad = sum(not finding.ok for finding in findings)
    without = [finding.what for finding in findings if finding.absent and finding.what != "warning"]
    if bad:
        say(f"{recipe} cannot run: {bad} to fix.")
    elif without:
        say(f"{recipe} can run, without: {', '.join(without)}.")
    else:
        say(f"{recipe} can run.")
    raise typer.Exit(1 if bad else 0)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder to write the data set into")],
    recipe: Annotated[
        str, typer.Option("--recipe", help="recipe whose section [simulate] sets sizes and seed")
    ] = "simulated",
    images: Annotated[Path | None, typer.Option("--images", help="folder of images of your own")] = None,
    nifti: Annotated[bool, typer.Option("--nifti", help="write the betas as NIfTI too")] = False,
    settings: SetOption = None,
) -> None:
    """Write simulated subjects as a data set.

    The data set has the layout of the Natural Scenes Dataset. A recipe reads it with --data OUT.
    """
    from reseen.simulate import write_data_set

    with progress() as shown:
        read = _read_recipe(recipe, None, None, settings)
        write_data_set(read, out, images=images, nifti=nifti, progress=shown)
    say(f"data set: {out}")


app.command()(merge)
app.command()(apply)
app.command()(compare)
app.command()(retrieval)
app.add_typer(raters, name="raters")


@app.command()
def layers(
    recipe: RecipeArgument,
    data: DataOption = None,
    model: ModelOption = None,
    settings: SetOption = None,
    everything: Annotated[bool, typer.Option("--all", help="also the modules inside these")] = False,
) -> None:
    """List the U-Net modules that encode.layers can name.

    Each line gives a module and the shape of its output for one image. The recipe names the model.
    """
    from reseen.ldm import load_model
    from reseen.ldm.recording import default_layers, layer_shapes

    section = _read_recipe(recipe, data, model, settings).model
    ldm = load_model(section.name, revision=section.revision, fetch=False)
    chosen = default_layers(ldm)
    for name, shape in layer_shapes(ldm).items():
        if everything or re.fullmatch(OUTER_LAYER, name):
            say(f"{'*' if name in chosen else ' '} {name:<36} {' x '.join(map(str, shape))}")
    say('* the modules of encode.layers = ["auto"]')


@app.command()
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


def _read_recipe(
    name: str, data: Path | None, model: str | None, settings: list[str] | None, *, full: bool = False
) -> Recipe:
    """Read a recipe, and replace the values that the command line sets."""
    from reseen.recipe import load_recipe, with_changes, with_settings

    changes: dict[str, object] = {}
    if data is not None:
        changes["data.path"] = data.resolve()
    if model:
        changes |= {"model.name": model, "model.revision": None}  # the commit was the other model's
    if full:
        changes["evaluate.full"] = True
    recipe = with_changes(with_settings(load_recipe(name), settings or ()), changes)
    if recipe.data.kind == "simulated" and data is not None and not data.is_dir():
        raise typer.BadParameter(_nothing_simulated(name, data))
    return recipe


def _nothing_simulated(name: str, data: Path) -> str:
    """Return the message about a --data folder that does not exist, for a simulated subject."""
    from reseen.files.shell import shell_line

    return (
        f"--data: there is no folder {data}. Write simulated subjects there first: "
        f"{shell_line('reseen', 'simulate', data, '--recipe', name)}, or omit --data: they are then written into "
        "the results folder."
    )


def _folder(recipe: Recipe, out: Path | None) -> Path:
    return out or Path("out") / recipe.name


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
    with (
        open_executor(executor, cluster=cluster, n_workers=workers, device=device, folder=out) as opened,
        progress() as shown,
    ):
        results = pipeline.run(
            recipe, out, until=last, device=device, report_anew=verb == "report", progress=shown, executor=opened
        )
    show_results(results)
