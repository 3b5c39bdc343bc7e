"""Encode: fit a subject's encoding models, and write the maps that the recipe asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reseen import encode as encoding
from reseen.analyses import in_order, layers_of
from reseen.pipeline.context import SubjectRun
from reseen.pipeline.maps import export_maps
from reseen.pipeline.tables import make_table

if TYPE_CHECKING:
    import pandas as pd


def encode(subject: SubjectRun) -> bool:
    """Fit the encoding models and write their table, voxels and maps; return whether any result was missing."""
    if not subject.recipe.encode.has_models:
        return False
    worked = make_table(subject, "encoding", _encode)
    return export_maps(subject) or worked


def _encode(subject: SubjectRun) -> pd.DataFrame:
    run, trials = subject.run, subject.trials
    names = in_order(run.analyses())
    features = _features_in_turn(subject, names)
    table, voxels = encoding.encode(trials, subject.split, features, recipe=run.recipe.encode, seed=run.recipe.seed)
    places = {} if trials.voxel_index is None else {"voxel_index": trials.voxel_index}
    computed_by = {**subject.computed_by("encode"), "layers": json.dumps(layers_of(names))}
    subject.results.save_arrays(subject.results.encode_path(subject.name), {**voxels, **places}, computed_by)
    return table


def _features_in_turn(subject: SubjectRun, names: Sequence[str]) -> Iterator[encoding.Columns]:
    """Yield feature spaces one at a time, and report progress: a request for the next one means one is done."""
    progress = subject.run.counter(f"encode {subject.name}")
    for n_done, name in enumerate(names):
        progress(n_done, len(names))
        yield subject.blocks(name)
    progress(len(names), len(names))
