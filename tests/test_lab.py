"""A lab's own layouts: trial tables, image folders, masks and ROIs become the same subject as arrays."""

import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reseen import load_arrays, load_data, pipeline
from reseen.datasets import inventory
from reseen.errors import DataError
from reseen.recipe import DataRecipe, with_changes

AFFINE = np.diag([3.0, 3, 3, 1])


def test_a_trial_table_gives_the_same_subject_as_arrays(trial_table, brain_file):
    own = load_data(trial_table, kind="trials", n_folds=4)
    arrays = load_arrays(brain_file, n_folds=4, zscore_sessions=True)
    np.testing.assert_array_equal(own.trials.betas, arrays.trials.betas)
    np.testing.assert_array_equal(own.trials.stimulus_id, arrays.trials.stimulus_id)
    np.testing.assert_array_equal(own.stimuli.images(range(8)), arrays.stimuli.images(range(8)))
    assert [own.stimuli.captions(i) for i in range(8)] == [arrays.stimuli.captions(i) for i in range(8)]
    assert own.stimuli.name(3) == "image_3.png"


@pytest.fixture
def volumes(tmp_path):
    """One NIfTI a trial, named so that text order is not trial order, a mask, an ROI mask and an atlas at 2 mm."""
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(12, 5, 4, 3)).astype(np.float32)
    mask = np.zeros((5, 4, 3), dtype=np.uint8)
    mask[1:] = 1
    names = [f"trial-{number}.nii.gz" for number in range(1, 13)]
    (tmp_path / "stimuli").mkdir()
    for number in range(4):
        Image.fromarray(np.full((64, 80, 3), 50 * number, dtype=np.uint8)).save(tmp_path / f"stimuli/cat_{number}.png")
    images = [f"stimuli/cat_{number % 4}.png" for number in range(12)]
    images[5] = "n/a"
    table = pd.DataFrame({"image": images, "beta": names, "session": ["a", "b"] * 6, "rt": np.arange(12)})
    table.to_csv(tmp_path / "trials.csv", index=False)
    for name, volume in zip(names, betas, strict=True):
        nibabel.save(nibabel.Nifti1Image(volume, AFFINE), tmp_path / name)
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "brain.nii.gz")
    (tmp_path / "rois").mkdir()
    half = np.zeros_like(mask)
    half[:3] = 1
    nibabel.save(nibabel.Nifti1Image(half, AFFINE), tmp_path / "rois" / "V1.nii.gz")
    fine = np.indices((8, 6, 5))[0] // 3  # planes of three voxels of 2 mm: labels 0, 1 and 2
    nibabel.save(nibabel.Nifti1Image(fine.astype(np.int16), np.diag([2.0, 2, 2, 1])), tmp_path / "rois/areas.nii.gz")
    pd.DataFrame({"index": [1, 2], "name": ["V1", "VT"]}).to_csv(tmp_path / "rois/areas.tsv", sep="\t", index=False)
    return tmp_path, betas, mask.astype(bool)


def test_one_file_a_trial_is_read_in_the_order_of_the_table(volumes):
    folder, betas, mask = volumes
    subject = load_data(folder, "trials", mask="brain.nii.gz", n_folds=2, zscore_sessions=False)
    rows = np.delete(np.arange(12), 5)  # the trial without an image is left out
    np.testing.assert_array_equal(subject.trials.betas, betas[:, mask][rows])
    np.testing.assert_array_equal(subject.trials.stimulus_id, np.delete(np.arange(12) % 4, 5))
    np.testing.assert_array_equal(subject.trials.session, np.delete(np.arange(12) % 2, 5))
    np.testing.assert_array_equal(subject.trials.voxel_index, np.flatnonzero(mask))
    assert subject.trials.volume_shape == (5, 4, 3)
    assert subject.stimuli.image(0).shape == (64, 64, 3)


def test_rois_are_masks_and_regions_of_an_atlas_on_another_grid(volumes):
    folder, _, _ = volumes
    names = ["V1", "areas:V1", "VT"]
    trials = load_data(folder, "trials", mask="brain.nii.gz", n_folds=2, rois=names).trials
    x = np.unravel_index(trials.voxel_index, (5, 4, 3))[0]
    np.testing.assert_array_equal(trials.rois["V1"], x < 3)  # the file V1.nii.gz
    label = np.rint(3 * x / 2).astype(int) // 3  # the nearest plane of 2 mm
    np.testing.assert_array_equal(trials.rois["areas:V1"], label == 1)
    np.testing.assert_array_equal(trials.rois["VT"], label == 2)
    alone = load_data(folder, "trials", mask="brain.nii.gz", n_folds=2, rois=["VT"]).trials
    assert alone.betas.shape[1] == (label == 2).sum()  # voxels of no ROI are not read


def test_check_lists_trials_voxels_rois_and_trials_without_an_image(volumes):
    folder, _, _ = volumes
    data = DataRecipe(kind="trials", path=folder, rois=("all",), mask="brain.nii.gz", test="folds", n_folds=2)
    (file,) = inventory(data, "subj01")
    assert file.ok
    for fact in ("11 trials of 4 images", "48 voxels in native", "1 trials without an image", "areas:V1"):
        assert fact in file.note


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"rois": ["V9"]}, "data.rois"),
        ({"mask": "nothing.nii.gz"}, "data.mask"),
        ({"images": "nothing"}, "data.images"),
        ({"roi_files": ["nothing"]}, "data.roi_files"),
    ],
)
def test_a_wrong_setting_is_named(volumes, change, where):
    folder, _, _ = volumes
    settings = {"mask": "brain.nii.gz", "n_folds": 2, **change}
    with pytest.raises(DataError) as caught:
        load_data(folder, "trials", **settings)
    assert caught.value.where == where


def test_a_table_that_is_shorter_than_the_responses_is_refused(trial_table, tmp_path):
    short = tmp_path / "short.csv"
    lines = (trial_table / "trials.csv").read_text().splitlines()
    short.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError) as caught:
        load_data(trial_table, "trials", trials=short, n_folds=4)
    assert (caught.value.expected, caught.value.found) == (20, 19)


def test_a_voxel_without_data_is_left_out_with_a_warning(trial_table, tmp_path):
    betas = np.load(trial_table / "responses.npy")
    betas[3, 7] = np.nan
    betas[:, 9] = 1
    np.save(tmp_path / "holes.npy", betas)
    subject = load_data(trial_table, "trials", responses=tmp_path / "holes.npy", n_folds=4)
    with pytest.warns(UserWarning, match="2 of 40 voxels"):
        assert subject.trials.betas.shape == (20, 38)


def test_an_image_name_that_fits_two_files_is_refused(volumes):
    folder, _, _ = volumes
    for place in ("a", "b"):
        (folder / "stimuli" / place).mkdir()
        shutil.copy(folder / "stimuli/cat_2.png", folder / "stimuli" / place / "cat_1.png")
    (folder / "stimuli/cat_1.png").unlink()
    with pytest.raises(DataError) as caught:
        load_data(folder, "trials", mask="brain.nii.gz", n_folds=2)
    assert caught.value.found == 2


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
def test_a_run_of_a_trial_table_ends_with_scores_and_copies_the_tables_own_columns(trial_table, small_recipe, tmp_path):
    table = pd.read_csv(trial_table / "trials.csv")
    table["reaction_time"] = np.where(np.arange(len(table)) == 3, "n/a", np.linspace(0.4, 0.9, len(table)).round(3))
    own = tmp_path / "trials.csv"
    table.to_csv(own, index=False)
    changes = {
        "data.kind": "trials",
        "data.path": trial_table,
        "data.trials": own,
        "data.rois": ["all"],
        "decode.rois.z": ["all"],
        "decode.rois.c": ["all"],
        "data.test": "folds",
        "data.n_folds": 2,
    }
    results = pipeline.run(with_changes(small_recipe, changes), tmp_path / "out")
    copied = pd.read_csv(results.path / "subj01/trials.csv", keep_default_na=False)
    assert list(copied.columns) == ["stimulus_id", "image", "session", "run", "reaction_time"]
    assert copied["image"].tolist() == table["image"].tolist()
    assert copied["reaction_time"].tolist()[3] == ""
    scores = results.load_table("scores")
    assert {"z", "zc"} <= set(scores["condition"])
    assert (results.path / "report.html").is_file()
    times = (results.path / "times.json").stat().st_mtime_ns
    pipeline.run(with_changes(small_recipe, changes), tmp_path / "out", until="decode")
    assert (results.path / "times.json").stat().st_mtime_ns >= times
