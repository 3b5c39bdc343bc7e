"""Command ``reseen export``: presented images and reconstructions of a run, as two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reseen.cli.terminal import progress, say


def export(
    results: Annotated[Path, typer.Argument(metavar="OUT", help="results folder of a run with images")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder to write, new or empty")],
    condition: Annotated[
        str | None, typer.Option("--condition", help="condition of the images, such as z [default: the headline's]")
    ] = None,
    level: Annotated[str, typer.Option("--level", help="level of the images, such as result or oracle")] = "result",
    subject: Annotated[str | None, typer.Option("--subject", help="subject [default: the only one]")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="folder or file of the data, if they were moved")] = None,
) -> None:
    """Write presented images and reconstructions side by side, as two folders.

    FOLDER/presented has <id>.png, FOLDER/reconstructed <id>_<sample>.png. `reseen evaluate` takes both folders, and so
    can other programs.
    """
    from reseen.files.shell import shell_line
    from reseen.finished import Results

    run = Results.read(results)
    with progress() as shown:
        presented, reconstructed = run.export(folder, condition, subject, level=level, data=data, progress=shown)
    say(f"presented: {presented}")
    say(f"reconstructed: {reconstructed}")
    say(f"score them: {shell_line('reseen', 'evaluate', '--images', reconstructed, '--truth', presented)}")
    if run.recipe.data.kind == "nsd":
        say("The folder contains NSD's images. NSD's terms forbid passing them on: keep it on your own computers.")
