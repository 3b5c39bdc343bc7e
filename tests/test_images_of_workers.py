"""Images on workers: a task is complete only when its files exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reseen import pipeline
from reseen.errors import ResultsError
from reseen.executor import Progress
from reseen.pipeline import reconstruct as stage
from reseen.recipe import load_recipe, with_settings


class Forgetful:
    """An executor whose workers report complete tasks and write only the first image of each."""

    progress: Progress | None = None

    def run(self, work: Callable[[Any, Any], Any], tasks: Sequence[Any], context: Any) -> Iterator[tuple[int, Any]]:
        for number, task in enumerate(tasks):
            first, path = next(iter(task.paths.items()))
            yield number, work(context, stage.Batch(**{**vars(task), "paths": {first: path}}))


def test_images_that_workers_did_not_write_are_reported_and_generated_by_the_next_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "SEEN_SECONDS", 0)
    settings = [f"model.name={tiny_model}", "evaluate.n_permutations=0", 'reconstruct.conditions=["z"]']
    recipe = with_settings(load_recipe("tiny"), [*settings, 'encode.features=["z"]', "evaluate.oracle=false"])
    pipeline.run(recipe, tmp_path / "out", until="decode")
    with pytest.raises(ResultsError) as raised:
        pipeline.run(recipe, tmp_path / "out", until="reconstruct", executor=Forgetful())
    error = raised.value
    assert (error.expected, error.found) == (8, 1)
    assert error.where.suffix == ".png"
    assert not error.where.exists()
    assert len(list((tmp_path / "out").rglob("images/**/*.png"))) == 1
    pipeline.run(recipe, tmp_path / "out", until="reconstruct")
    assert len(list((tmp_path / "out").rglob("images/**/*.png"))) == 8
