"""Command ``reseen merge``: join the results of subjects that were run as separate jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reseen.cli.tables import show_results
from reseen.cli.terminal import progress


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="results folders of one recipe")],
    out: Annotated[Path, typer.Option("--out", help="new results folder for all subjects")],
    device: Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")] = "cpu",
) -> None:
    """Join the results of subjects that were run as separate jobs.

    Each folder has the results of one recipe for other subjects, such as of a cluster's jobs that were started with
    --set 'data.subjects=["subj02"]'. The new folder equals that of one run for all subjects.
    """
    from reseen import pipeline

    with progress() as shown:
        results = pipeline.merge(folders, out, device=device, progress=shown)
    show_results(results)
