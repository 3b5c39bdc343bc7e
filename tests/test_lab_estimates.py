"""Betas that are estimated from series: of few voxels before a run, once for a results folder, with progress."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from bids_study import MASK, RUNS, write_study

from reseen import check, pipeline
from reseen.datasets import open_subject
from reseen.datasets.lab import bids_series, data
from reseen.errors import DataError
from reseen.recipe import DataRecipe, with_settings


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def estimated(monkeypatch):
    """Shape of each series whose betas are estimated, ``(n_volumes, n_voxels)``."""
    shapes = []
    estimate = bids_series.estimate

    def count(series, *arguments):
        shapes.append(series.shape)
        return estimate(series, *arguments)

    monkeypatch.setattr(bids_series, "estimate", count)
    return shapes


def section(study, **changes):
    return DataRecipe(
        **{"kind": "bids", "path": study, "subjects": ("sub-01",), "rois": ("all",), "test": "folds", "n_folds": 3}
        | changes
    )


def recipe_of(small_recipe, study):
    settings = ["data.kind=bids", f"data.path={study}", 'data.subjects=["sub-01"]', 'data.rois=["all"]']
    settings += ['decode.rois.z=["all"]', 'reconstruct.conditions=["z"]', 'encode.features=["z"]']
    settings += ["data.test=folds", "data.n_folds=3", "reconstruct.n_samples=1", "data.confounds=[]"]
    return with_settings(small_recipe, settings)


def test_check_estimates_each_run_once_for_some_voxels(small_recipe, study, tmp_path, estimated, monkeypatch):
    monkeypatch.setattr(data, "N_SAMPLED", 5)
    steps = []
    recipe = recipe_of(small_recipe, study)
    findings = check.check(recipe, tmp_path / "out", progress=lambda *step: steps.append(step))
    (found,) = [finding.found for finding in findings if finding.what == "data of sub-01"]
    assert f"15 trials of 3 images, {MASK.sum()} voxels in T1w" in found
    assert [n_voxels <= 5 for _, n_voxels in estimated] == [True] * len(RUNS)
    assert [step for step in steps if step[0] == "read sub-01"] == [("read sub-01", n, 3) for n in (1, 2, 3)]
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_estimates_once_and_another_start_loads_the_estimates(
    small_recipe, random_networks, study, tmp_path, estimated
):
    recipe = recipe_of(small_recipe, study)
    results = pipeline.run(recipe, tmp_path / "out", until="decode")
    assert [n_voxels for _, n_voxels in estimated] == [MASK.sum()] * len(RUNS)
    assert re.search(r"read sub-01: 3 of 3", (results.path / "log.txt").read_text())
    kept = sorted(path.name for path in (results.path / "kept/sub-01").iterdir())
    assert kept == ["run001.safetensors", "run002.safetensors", "run003.safetensors"]
    pipeline.run(recipe, tmp_path / "out")
    assert len(estimated) == len(RUNS)
    assert len(pd.read_csv(results.path / "scores.csv"))


def read(study, keep, **changes):
    return open_subject(section(study, **changes), "sub-01", keep=keep).trials.betas


def change_an_onset(study):
    (path,) = study.rglob("*run-10_events.tsv")
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    table.loc[0, "onset"] += 1
    table.to_csv(path, sep="\t", index=False)


def change_a_confound(study):
    (path,) = study.rglob("*run-10*confounds*")
    table = pd.read_csv(path, sep="\t")
    table["trans_x"] *= -np.arange(len(table))
    table.to_csv(path, sep="\t", index=False)


def change_a_series(study):
    import nibabel

    (path,) = study.rglob("*run-10*preproc_bold.nii.gz")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj) + np.random.default_rng(0).normal(size=image.shape)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), image.affine, image.header), path)


def change_the_repetition_time(study):
    (study / "task-pics_bold.json").write_text(json.dumps({"RepetitionTime": 2.1}))


def shrink_the_mask(study):
    import nibabel

    (path,) = study.rglob("*run-10*brain_mask.nii.gz")
    mask = MASK.astype(np.uint8)
    mask[1, 0] = 0
    nibabel.save(nibabel.Nifti1Image(mask, nibabel.load(path).affine), path)


def change_nothing(study):
    assert study.is_dir()


@pytest.mark.parametrize(
    ("change", "settings", "n_estimated"),
    [
        (change_nothing, {}, 0),
        (change_nothing, {"zscore_sessions": False}, 0),
        (change_an_onset, {}, 1),
        (change_a_confound, {}, 1),
        (change_a_series, {}, 1),
        (change_the_repetition_time, {}, 3),
        (shrink_the_mask, {}, 3),
        (change_nothing, {"confounds": ()}, 3),
        (change_nothing, {"hrf": "glover"}, 3),
        (change_nothing, {"single_trials": "lss"}, 3),
    ],
)
def test_what_changes_the_betas_estimates_them_again(study, tmp_path, estimated, change, settings, n_estimated):
    keep = tmp_path / "kept"
    before = read(study, keep)
    change(study)
    del estimated[:]
    again = read(study, keep, **settings)
    assert len(estimated) == n_estimated
    np.testing.assert_array_equal(again, read(study, None, **settings))
    if not n_estimated and not settings:
        np.testing.assert_array_equal(again, before)


def test_a_damaged_file_of_estimates_is_replaced_with_a_warning(study, tmp_path, estimated):
    before = read(study, tmp_path)
    path = tmp_path / "run002.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    del estimated[:]
    with pytest.warns(UserWarning, match="run002 is read from the data set again"):
        np.testing.assert_array_equal(read(study, tmp_path), before)
    assert len(estimated) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(study, tmp_path)
    assert len(estimated) == 1


def test_onsets_after_the_end_are_refused_before_anything_is_estimated(study, estimated):
    for path in study.rglob("*events.tsv"):
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        table["onset"] *= 1000
        table.to_csv(path, sep="\t", index=False)
    with pytest.raises(DataError, match="start after the last volume"):
        open_subject(section(study), "sub-01")
    assert estimated == []


def test_own_data_are_read_once_by_check(small_recipe, trial_table, tmp_path, monkeypatch):
    from reseen.datasets import lab

    opened = []
    reader = lab.READERS["trials"]
    monkeypatch.setitem(lab.READERS, "trials", lambda *names: opened.append(names[1]) or reader(*names))
    settings = ["data.kind=trials", f"data.path={trial_table}", 'data.rois=["all"]', 'decode.rois.z=["all"]']
    recipe = with_settings(small_recipe, [*settings, 'decode.rois.c=["all"]', "data.test=folds", "data.n_folds=2"])
    assert all(finding.ok for finding in check.check(recipe, tmp_path / "out"))
    assert opened == ["subj01"]
