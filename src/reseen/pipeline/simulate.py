"""Simulate: write the simulated subjects that a recipe decodes, unless the data are there already."""

from __future__ import annotations

from reseen.pipeline.context import Run
from reseen.simulate import write_data_set


def simulate(run: Run) -> bool:
    """Write the data set; return whether there was anything to do."""
    path = run.data.path
    if not run.inputs.to_simulate or path is None:
        return False
    _ = run.model  # a model that cannot be loaded is reported before a data set is written
    write_data_set(run.recipe, path, progress=run.progress)
    return True
