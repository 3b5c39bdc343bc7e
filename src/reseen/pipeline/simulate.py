"""Simulate: write the simulated subjects of a recipe, if they do not exist yet."""

from __future__ import annotations

from reseen.pipeline.context import Run
from reseen.simulate import write_data_set


def simulate(run: Run) -> bool:
    """Write the data set; return whether it was missing."""
    path = run.data.path
    if not run.inputs.to_simulate or path is None:
        return False
    _ = run.model  # an error of the model comes before a data set is written
    write_data_set(run.recipe, path, progress=run.progress)
    return True
