"""Read all of one subject at once, as most tests of loaders want it."""

from __future__ import annotations

from pathlib import Path

from reseen import datasets
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Split, Trials


def load(data: DataRecipe, subject: str, *, keep: Path | None = None) -> tuple[Trials, Stimuli, Split]:
    """Return trials, stimuli and split."""
    found = datasets.open_subject(data, subject, keep=keep)
    return found.trials, found.stimuli, found.split
