"""THINGS-fMRI: a frame of pandas whose rows are voxels, and 4-D runs with catch trials."""

import pickle

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from lab_samples import SAMPLES, with_samples
from PIL import Image

from reseen import load_data
from reseen.errors import DataError

N_VOXELS, N_TRIALS = 5, 1200


@pytest.fixture
def lab(tmp_path):
    """The tables and the frame of one subject; labels of columns are pickled in two batches, as pandas writes them."""
    betas = np.random.default_rng(0).normal(size=(N_TRIALS, N_VOXELS)).astype(np.float32)
    for folder in ("betas_csv", "brainmasks", "stimuli/cat", "stimuli/dog"):
        (tmp_path / folder).mkdir(parents=True)
    images = [f"{kind}/{kind}_{number:02d}s.jpg" for kind in ("cat", "dog") for number in range(10)]
    for number, name in enumerate(images):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(tmp_path / "stimuli" / name)
    stimulus = np.arange(N_TRIALS) % 20
    table = pd.DataFrame(
        {
            "trial_type": np.where(stimulus < 15, "train", "test"),
            "session": np.arange(N_TRIALS) // 400 + 1,
            "run": np.arange(N_TRIALS) // 100 % 4 + 1,
            "subject_id": 1,
            "trial_id": np.arange(N_TRIALS),
            "stimulus": [images[number].partition("/")[2] for number in stimulus],
        }
    )
    shuffled = table.sample(frac=1, random_state=0)  # rows are matched by trial_id, not by their order
    shuffled.to_csv(tmp_path / "betas_csv/sub-01_StimulusMetadata.csv", index=False)
    voxels = pd.DataFrame(
        {
            "voxel_id": np.arange(N_VOXELS),
            "subject_id": 1,
            "voxel_x": [0, 0, 1, 1, 1],
            "voxel_y": [0, 1, 0, 1, 1],
            "voxel_z": [1, 0, 0, 0, 1],
            "nc_singletrial": [0.0, 20.0, 50.0, 4.0, np.nan],
            "nc_testset": 50.0,
            "prf-size": 0.0,
            "V1": [1, 1, 0, 0, 0],
            "glasser-V1": [1.0, 0.0, 0.0, 0.0, 1.0],
        }
    )
    voxels.to_csv(tmp_path / "betas_csv/sub-01_VoxelMetadata.csv", index=False)
    mask = np.ones((2, 2, 2), dtype=np.uint8)
    mask[0, 0, 0] = 0
    affine = np.diag([2.0, 2, 2, 1])
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "brainmasks/sub-01_space-T1w_brainmask.nii.gz")
    write_frame(tmp_path / "betas_csv/sub-01_ResponseData.h5", betas.T)
    return tmp_path, betas, stimulus


def write_frame(path, rows, labels=None):
    """Write a frame of rows by trials as pandas does: labels of columns as a pickle in a variable-length dataset."""
    labels = range(rows.shape[1]) if labels is None else labels
    pickled = pickle.dumps(np.array(list(labels), dtype=object), protocol=5)
    with h5py.File(path, "w") as file:
        group = file.create_group("ResponseData")
        group["block0_values"] = rows.astype(np.float64)
        group["block1_values"] = np.arange(len(rows))[:, None]
        group["block1_items"] = np.array([b"voxel_id"])
        items = group.create_dataset("block0_items", (1,), dtype=h5py.vlen_dtype(np.uint8))
        items[0] = np.frombuffer(pickled, dtype=np.uint8)


def test_rows_of_the_frame_are_voxels(lab):
    folder, betas, stimulus = lab
    subject = load_data(folder, "things", "sub-01", rois=["V1", "glasser-V1"], zscore_sessions=False)
    inside = [0, 1, 4]
    np.testing.assert_allclose(subject.trials.betas, betas[:, inside], rtol=1e-6)
    np.testing.assert_array_equal(subject.trials.stimulus_id, stimulus)
    np.testing.assert_array_equal(subject.split.folds[0][1], np.arange(15, 20))
    np.testing.assert_array_equal(subject.trials.session, np.arange(N_TRIALS) // 400)
    assert len(np.unique(subject.trials.run)) == 12
    # C order of the grid (2, 2, 2)
    np.testing.assert_array_equal(subject.trials.voxel_index, [1, 2, 7])
    # 20 % = ncsnr**2 / (ncsnr**2 + 1)
    np.testing.assert_allclose(subject.trials.ncsnr, [0, 0.5, 0], atol=1e-6)


def test_columns_in_another_order_are_refused(lab):
    folder, betas, _ = lab
    write_frame(folder / "betas_csv/sub-01_ResponseData.h5", betas.T, labels=[1, 0, *range(2, N_TRIALS)])
    with pytest.raises(DataError) as caught:
        load_data(folder, "things", "sub-01")
    assert caught.value.where.name == "sub-01_ResponseData.h5"


def lose_a_number(folder):
    path = folder / "betas_csv/sub-01_StimulusMetadata.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[3, "trial_id"] = "nan06"
    table.to_csv(path, index=False)
    return path


def lose_a_column(folder):
    path = folder / "betas_csv/sub-01_VoxelMetadata.csv"
    pd.read_csv(path).drop(columns="voxel_id").to_csv(path, index=False)
    return path


def save_with_tabs(folder):
    path = folder / "betas_csv/sub-01_StimulusMetadata.csv"
    pd.read_csv(path).to_csv(path, index=False, sep="\t")
    return path


def cut_the_labels(folder):
    path = folder / "betas_csv/sub-01_ResponseData.h5"
    with h5py.File(path, "r+") as file:
        file["ResponseData/block0_items"][0] = file["ResponseData/block0_items"][0][:-1]  # without the pickle's STOP
    return path


@pytest.mark.parametrize("damage", [lose_a_number, lose_a_column, save_with_tabs, cut_the_labels])
def test_damage_is_named_with_its_file(lab, damage):
    path = damage(lab[0])
    with pytest.raises(DataError, match=path.name) as caught:
        load_data(lab[0], "things", "sub-01")
    assert str(caught.value).isprintable()


def test_voxels_outside_of_the_mask_and_other_subjects_are_refused(lab):
    folder, _, _ = lab
    with pytest.raises(DataError) as caught:
        load_data(folder, "things", "sub-02")
    assert (caught.value.where, caught.value.expected) == ("data.subjects", ("sub-01",))
    small = folder / "small.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 1), np.uint8), np.eye(4)), small)
    with pytest.raises(DataError) as caught:
        load_data(folder, "things", "sub-01", mask=small)
    assert caught.value.where == "data.mask"


def test_catch_trials_of_the_volumes_have_no_image(lab):
    folder, _, _ = lab
    own = folder / "betas_vol/sub-01"
    volumes = np.random.default_rng(1).normal(size=(2, 2, 2, 6)).astype(np.float32)
    for session in (1, 2):
        run = own / f"ses-things0{session}"
        run.mkdir(parents=True)
        start = f"sub-01_ses-things0{session}_run-01"
        nibabel.save(nibabel.Nifti1Image(volumes * session, np.diag([2.0, 2, 2, 1])), run / f"{start}_betas.nii.gz")
        names = [
            "cat/cat_01s.jpg",
            "catch003.jpg",
            "dog/dog_00s.jpg",
            "cat/cat_00s.jpg",
            "dog/dog_02s.jpg",
            "catch1.jpg",
        ]
        pd.DataFrame({"image_filename": names}).to_csv(run / f"{start}_conditions.tsv", sep="\t")
    trials = load_data(folder, "things", responses="betas_vol", n_folds=2, zscore_sessions=False).trials
    kept = volumes[..., [0, 2, 3, 4]].reshape(8, 4)[1:].T  # without voxel 0, which is outside of the mask
    np.testing.assert_array_equal(trials.betas, np.concatenate([kept, 2 * kept]))
    np.testing.assert_array_equal(trials.stimulus_id, [1, 2, 0, 3] * 2)
    np.testing.assert_array_equal(trials.session, [0] * 4 + [1] * 4)


@with_samples
def test_the_sample_has_the_responses_of_the_other_layouts():
    """Its trials are those of the samples in order of presentation; only the tables and axes are its own."""
    expected = np.load(SAMPLES / "expected/kamitani_bdata.npz")
    trials = load_data(SAMPLES / "things_fmri", "things", rois=["V1", "all"], zscore_sessions=False).trials
    mine, other = np.argsort(trials.stimulus_id, kind="stable"), np.argsort(expected["stimulus_id"], kind="stable")
    np.testing.assert_array_equal(trials.stimulus_id[mine], expected["stimulus_id"][other])
    np.testing.assert_array_equal(trials.rois["V1"], expected["roi_V1"])
    assert trials.betas.shape == (240, 544)
    assert trials.check_labels().value > 30
    assert trials.ncsnr[0] == pytest.approx(np.sqrt(0.15293582 / (1 - 0.15293582)), rel=1e-5)


@with_samples
@pytest.mark.parametrize(("settings", "fact"), [((), "240 trials"), (("data.responses=betas_vol",), "3 catch trials")])
def test_check_reads_the_sample(reseen, settings, fact):
    options = [word for setting in ("data.kind=things", *settings) for word in ("--set", setting)]
    place = SAMPLES / "things_fmri"
    code, out, _ = reseen("check", "own_data", "--data", place, "--model", "builtin", *options)
    assert fact in out
    assert code == 0, out


def test_a_frame_that_declares_long_labels_is_refused_without_their_memory(lab):
    """A bit of the length of the pickled labels was flipped: HDF5 would allocate 1 GB."""
    folder, _, _ = lab
    path = folder / "betas_csv/sub-01_ResponseData.h5"
    with h5py.File(path) as file:
        items = file["ResponseData/block0_items"]
        start, length = items.id.get_offset(), len(items[0])
    content = bytearray(path.read_bytes())
    content[start : start + 4] = (length + 2**30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_data(folder, "things", "sub-01")
    assert (caught.value.where, caught.value.found) == (path, length + 2**30)
