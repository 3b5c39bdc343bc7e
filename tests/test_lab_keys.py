"""Each key of section data is used by the reader of a kind, or refused."""

import re
from typing import get_args

import nibabel
import numpy as np
import pytest
from fields import raises_with
from lab_layouts import BETAS, LAYOUTS, N_VOXELS, RUN, STIMULUS, write_layout, write_volume

from reseen import load_data
from reseen.datasets import open_subject
from reseen.errors import DataError, RecipeError
from reseen.recipe import DataKind, DataRecipe, Recipe, with_settings
from reseen.recipe.data import USED_KEYS

OTHER = {
    "responses": "there",
    "trials": "there.csv",
    "images": "there",
    "captions": "there.csv",
    "mask": "there.nii.gz",
    "roi_files": ("there",),
    "tasks": ("pics",),
    "single_trials": "lss",
    "confounds": ("csf",),
    "hrf": "glover",
    "surfaces": "there",
    "sessions": 2,
    "train_sessions": (1,),
    "min_repeats": 2,
    "space": "T1w",
    "betas": "TYPEB_FITHRF",
    "scale_int16": False,
}
"""Another value than the default of each key that some kind does not use."""
FILES = ("responses", "trials", "images", "captions", "mask", "roi_files")
OF_ALL = {
    "kind", "path", "subjects", "rois", "zscore_sessions", "fit", "test", "n_folds", "n_test", "test_trials",
    "train_trials",
}  # fmt: skip


def test_every_key_is_of_all_kinds_or_in_the_table_and_every_kind_is():
    assert set(USED_KEYS) == set(get_args(DataKind))
    assert frozenset().union(*USED_KEYS.values()) == set(OTHER)
    assert set(DataRecipe.model_fields) == OF_ALL | set(OTHER)


@pytest.mark.parametrize("kind", get_args(DataKind))
def test_a_key_that_the_reader_does_not_use_is_refused(kind):
    for name, value in OTHER.items():
        if name in USED_KEYS[kind]:
            assert getattr(DataRecipe().model_copy(update={"kind": kind, name: value}), name) is not None
        else:
            with pytest.raises(RecipeError, match=rf"data\.{name} is for .*, and data\.kind is '{kind}'; leave it out"):
                DataRecipe().model_copy(update={"kind": kind, name: value})


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_file_that_a_key_names_is_read(kind, tmp_path):
    data = with_settings(Recipe(), write_layout(kind, tmp_path)).data
    for name in (name for name in FILES if name in USED_KEYS[kind]):
        changed = data.model_copy(update={name: OTHER[name]})
        with raises_with(DataError, where=f"data.{name}"):
            open_subject(changed, "sub-01")


def test_functions_refuse_an_argument_that_the_kind_does_not_use(trial_table):
    with pytest.raises(RecipeError, match=re.escape("data.mask is for data.kind = 'trials', 'bids', 'glmsingle'")):
        load_data(trial_table, "gifti", mask="mask.nii.gz")


@pytest.mark.parametrize(("name", "value"), [("hrf", "glover"), ("single_trials", "lss"), ("confounds", ())])
def test_settings_of_estimates_are_refused_where_betas_are_in_files(name, value, tmp_path):
    data = with_settings(Recipe(), write_layout("bids", tmp_path)).data
    with raises_with(DataError, where=f"data.{name}"):
        open_subject(data.model_copy(update={name: value}), "sub-01")


def test_an_unknown_output_of_glmsingle_is_refused(tmp_path):
    data = with_settings(Recipe(), write_layout("glmsingle", tmp_path)).data
    with raises_with(DataError, where="data.betas", found="TYPED"):
        open_subject(data.model_copy(update={"betas": "TYPED"}), "sub-01")


@pytest.mark.parametrize("kind", [kind for kind in LAYOUTS if "sessions" in USED_KEYS[kind] and kind != "mindeye"])
def test_sessions_are_chosen_by_number_or_by_name(kind, tmp_path):
    settings = [*write_layout(kind, tmp_path), "data.zscore_sessions=false"]

    def rows_of(sessions):
        trials = open_subject(with_settings(Recipe(), [*settings, f"data.sessions={sessions}"]).data, "sub-01").trials
        rows = [number for number in range(len(BETAS)) if (abs(trials.betas - BETAS[number]) < 1e-5).all(axis=1).any()]
        np.testing.assert_array_equal(trials.stimulus_id, STIMULUS[rows])
        return rows

    assert rows_of(1) == np.flatnonzero(RUN == 1).tolist()
    assert rows_of([2]) == np.flatnonzero(RUN == 2).tolist()
    assert rows_of(2) == rows_of([1, 2]) == list(range(len(BETAS)))
    for wanted in (3, [1, 3]):
        with raises_with(RecipeError, where="data.sessions", found=tuple(wanted) if wanted != 3 else 3):
            rows_of(wanted)


def test_sessions_of_mindeye_are_those_of_nsd(tmp_path):
    settings = write_layout("mindeye", tmp_path)
    assert len(open_subject(with_settings(Recipe(), [*settings, "data.sessions=[1]"]).data, "sub-01").trials) == len(
        BETAS
    )
    with raises_with(RecipeError, where="data.sessions", expected=("1",)):
        open_subject(with_settings(Recipe(), [*settings, "data.sessions=[2]"]).data, "sub-01")


@pytest.mark.parametrize(("names", "wanted"), [(["floc1", "scene1"], (1,)), (["a", "b"], (1,)), (["", ""], 1)])
def test_sessions_that_cannot_be_known_are_refused(names, wanted, trial_table, tmp_path):
    import pandas as pd

    table = pd.read_csv(trial_table / "trials.csv")
    table["session"] = [names[number % 2] for number in range(len(table))]
    path = tmp_path / "named.csv"
    table.to_csv(path, index=False)
    with raises_with(RecipeError, where="data.sessions", found=wanted):
        load_data(trial_table, "trials", trials=path, sessions=wanted, n_folds=2)


def test_voxels_of_mindeye_are_in_the_order_of_a_mask(tmp_path):
    settings = [*write_layout("mindeye", tmp_path), "data.mask=nsdgeneral.nii.gz", 'data.roi_files=["V1.nii.gz"]']
    mask = np.zeros((5, 4, 3), dtype=np.float32) - 1  # NSD's masks are -1 outside of the brain
    inside = np.random.default_rng(0).choice(mask.size, N_VOXELS, replace=False)
    mask.ravel()[inside] = 1
    write_volume(tmp_path / "nsdgeneral.nii.gz", mask)
    roi = np.zeros(mask.shape, dtype=np.uint8)
    roi[:2] = 1
    write_volume(tmp_path / "V1.nii.gz", roi)
    data = with_settings(Recipe(), [*settings, 'data.rois=["all", "V1"]']).data
    trials = open_subject(data, "sub-01").trials
    assert (trials.space, trials.volume_shape) == ("func1pt8mm", mask.shape)
    np.testing.assert_array_equal(trials.voxel_index, np.sort(inside))
    np.testing.assert_array_equal(trials.rois["V1"], roi.ravel()[np.sort(inside)] == 1)
    volume = np.zeros(mask.shape)
    volume[mask == 1] = BETAS[3]  # numpy's order
    np.testing.assert_allclose(trials.betas[3], volume.ravel()[trials.voxel_index], rtol=1e-6)
    mask[mask == -1] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / "nsdgeneral.nii.gz")
    with raises_with(DataError, where="data.mask", expected=N_VOXELS, found=mask.size):
        open_subject(data, "sub-01")
