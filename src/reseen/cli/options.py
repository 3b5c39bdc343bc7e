"""Options: those of several commands, those of every command, and the groups that the commands belong to."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from reseen.cli.terminal import STOPPED_BY, VERBOSITY, Stopped, say

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
"""Setting of the main command that its subcommands inherit."""


def _recipe_names() -> list[str]:
    """Return the names of reseen's recipes, for completion in a shell."""
    from reseen.recipe import recipe_folder

    return sorted(path.stem for path in recipe_folder().glob("*.toml"))


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="a TOML file, or the name of one of reseen's own, such as demo",
        autocompletion=_recipe_names,
    ),
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
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="write the table as JSON, one record per row; - prints it instead"),
]


def conditions_of(condition: list[str] | None, *, no_images: bool) -> list[str] | None:
    """Return the conditions of images that ``--condition`` and ``--no-images`` ask for; None: the default."""
    if no_images and condition:
        raise typer.BadParameter("--condition names images, and --no-images refuses them. Leave one out.")
    return [] if no_images else condition


def _set_quiet(value: bool) -> None:
    VERBOSITY.quiet = VERBOSITY.quiet or value


def _set_verbose(value: bool) -> None:
    VERBOSITY.verbose = VERBOSITY.verbose or value


def _shared(
    quiet: Annotated[bool, typer.Option("-q", "--quiet", callback=_set_quiet, help="show no progress")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", callback=_set_verbose, help="also show warnings of libraries, and where an error occurs"
        ),
    ] = False,
) -> None:
    """Declare the options of every command; their callbacks store the values."""


def _shared_options() -> list[Any]:
    declared = typer.Typer(add_completion=False)
    declared.command()(_shared)
    options = list(typer.main.get_command(declared).params)
    for option in options:
        option.expose_value = False  # not an argument of the command's function
    return options


SHARED = _shared_options()
"""The options ``-q`` and ``-v``, before and after the name of a command."""


class Command(TyperCommand):
    """Command with the options of every command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own options, then those of every command."""
        return [*super().get_params(ctx), *SHARED]


class Group(TyperGroup):
    """Group of commands, with the options of every command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the command's own options, then those of every command."""
        return [*super().get_params(ctx), *SHARED]


class MainGroup(Group):
    """Group of all commands; it reports a signal that stops a command."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; where a signal stops it, print what is kept and exit with 128 and the signal's number."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            then = getattr(stop, "__notes__", [])  # what is kept, and how to resume
            say(" ".join([f"stopped by {STOPPED_BY[signal.Signals(number)]}.", *then]), err=True)
            raise typer.Exit(128 + number) from None
