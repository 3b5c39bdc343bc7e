"""The features of the encoding analyses on their way to disk, in a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import reseen.ldm.extraction
from reseen import pipeline
from reseen.check import check
from reseen.errors import ResultsError
from reseen.pipeline.context import Run
from reseen.recipe import Recipe, with_settings
from reseen.results import ResultsFolder

SETTINGS = [
    "reconstruct.n_steps=4",
    'encode.features=["z", "zc"]',
    "encode.noise=[0.25]",
    "encode.denoising=[0.0]",
    'encode.layers=["auto"]',
    "encode.layer_progress=[0.5, 1.0]",
]
N_BLOCKS, N_FEATURES = 3, 13


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reseen.ldm.recording_plan.rows_at_once", lambda _bytes: 3)


@pytest.fixture
def recipe(small_recipe: Recipe) -> Recipe:
    return with_settings(small_recipe, SETTINGS)


def features(folder: Path) -> dict[str, bytes]:
    root = folder / "features"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reseen.ldm.recording_plan.rows_at_once", lambda _bytes: 3)
        pipeline.run(with_settings(small_recipe, SETTINGS), folder, until="extract")
    return folder


def test_every_feature_of_every_analysis_is_there_with_the_ids_of_its_stimuli(recipe: Recipe, whole: Path) -> None:
    run = Run(recipe, ResultsFolder.read(whole))
    subject = run.subject("subj01")
    names = {name for analysis in run.analyses() for name in analysis.features}
    assert len(names - {"z", "c"}) == N_FEATURES
    for name in names:
        blocks = subject.blocks(name)
        np.testing.assert_array_equal(blocks.stimulus_id, np.arange(8))
        np.testing.assert_array_equal(np.concatenate([part.array for part in blocks]), subject.true(name).array)
    assert len(features(whole)) == 2 + N_BLOCKS * N_FEATURES
    assert subject.true("unet/mid_block@progress=1.0").array.shape == (8, 32, 4, 4)


def test_a_second_run_denoises_nothing(recipe: Recipe, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reseen.ldm.denoised_features.record_features", None)
    monkeypatch.setattr("reseen.ldm.extraction.extract", None)
    pipeline.run(recipe, whole, until="extract")


@pytest.mark.parametrize("n_saved", [1, 2 + N_FEATURES + 4])
def test_a_killed_run_started_again_with_other_batches_ends_with_the_same_files(
    recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_saved: int
) -> None:
    saved: list[Path] = []
    save = ResultsFolder.save_arrays

    def save_until_killed(self: ResultsFolder, path: Path, *rest: object) -> None:
        if len(saved) == n_saved:
            raise KeyboardInterrupt
        saved.append(path)
        save(self, path, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "save_arrays", save_until_killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(recipe, tmp_path, until="extract")
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("features/subj01/**/00000.safetensors")}
    pipeline.run(with_settings(recipe, ["reconstruct.batch_size=2"]), tmp_path, until="extract")
    assert features(tmp_path) == features(whole)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_of_z_and_c_only_the_one_that_is_missing_is_made_again(
    recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "out"))
    (folder / "features/subj01/c.safetensors").unlink()
    made: list[list[str]] = []
    extract = reseen.ldm.extraction.extract

    def watched(stimuli: Any, ids: Any, ldm: Any, names: list[str], **rest: Any) -> Any:
        made.append(names)
        return extract(stimuli, ids, ldm, names, **rest)

    monkeypatch.setattr("reseen.ldm.extraction.extract", watched)
    pipeline.run(recipe, folder, until="extract")
    assert made == [["c"]]
    assert features(folder) == features(whole)


def test_room_on_the_disk_is_looked_for_before_the_work(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    monkeypatch.setattr("reseen.ldm.denoised_features.record_features", None)
    with pytest.raises(ResultsError, match=r"GB needed, 1e-06 GB free"):
        pipeline.run(recipe, tmp_path, until="extract")


def test_check_says_what_the_encoding_features_take(recipe: Recipe, tmp_path: Path) -> None:
    found = {finding.what: finding for finding in check(recipe, tmp_path)}
    # two steps at strength 0.5 and one at 0.25, both under guidance
    expected = f"{N_FEATURES} features of 8 images, 0.00014 GB, {8 * 2 * 3:,} U-Net evaluations"
    assert expected in found["encoding features"].found
    bad = with_settings(recipe, ['encode.layers=["nosuch"]'])
    refused = {finding.what: finding for finding in check(bad, tmp_path)}["encoding features"]
    assert not refused.ok
    assert "nosuch" in refused.found
