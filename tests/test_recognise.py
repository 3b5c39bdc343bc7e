"""Data that ``data.kind`` does not read are named for what they are, with the setting that reads them."""

import pickle

import h5py
import nibabel
import numpy as np
import pytest
from lab_samples import SAMPLES, with_samples
from PIL import Image

from reseen.datasets import inventory, open_subject
from reseen.datasets.lab import READERS
from reseen.datasets.recognise import recognise
from reseen.errors import DataError
from reseen.recipe import DataRecipe


def hdf5(path, *names):
    with h5py.File(path, "w") as file:
        for name in names:
            file[name] = np.zeros(3)


def npy(path, content):
    np.save(path, content, allow_pickle=True)


FILES = {
    "subject.h5": (lambda path: hdf5(path, "dataset", "metadata"), "BData", "bdata"),
    "sub-01_ResponseData.h5": (lambda path: hdf5(path, "ResponseData"), "THINGS", "things"),
    "TYPED_FITHRF_GLMDENOISE_RR.mat": (lambda path: hdf5(path, "modelmd"), "GLMsingle", "glmsingle"),
    "betas_all_subj01_fp32_renorm.hdf5": (lambda path: hdf5(path, "betas"), "MindEye2", "mindeye"),
    "other.hdf5": (lambda path: hdf5(path, "a", "b"), "HDF5 file .* with a, b", "arrays"),
    "DESIGNINFO.npy": (lambda path: npy(path, {"stimorder": [1, 2]}), "GLMsingle", "glmsingle"),
    "mapping_streams.npy": (lambda path: npy(path, {0: "Unknown"}), "Algonauts", "algonauts"),
    "anything.npy": (lambda path: npy(path, {"a": 1}), "pickled Python object", "arrays"),
    "betas.npy": (lambda path: npy(path, np.zeros((3, 2))), "one array", "trials"),
    "data.pkl": (lambda path: path.write_bytes(pickle.dumps({})), "a pickle", "arrays"),
    "sub-01_run-1_events.tsv": (lambda path: path.write_text("onset\tduration\n0\t1\n"), "events file", "bids"),
    "lh.func.gii": (lambda path: path.write_text("<GIFTI/>"), "GIFTI", "gifti"),
    "a.dscalar.nii": (lambda path: path.write_bytes(bytes(600)), "CIFTI file", "cifti"),
    "a.dtseries.nii": (lambda path: path.write_bytes(bytes(600)), "CIFTI time series", "cifti"),
    "cat.png": (lambda path: Image.new("RGB", (64, 64)).save(path), "an image", "data.images"),
    "trials.csv": (lambda path: path.write_text("image,run\na.png,1\n"), "text file", "trials"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_with_the_setting_that_reads_it(tmp_path, name):
    write, what, kind = FILES[name]
    write(tmp_path / name)
    refused = DataRecipe(kind="algonauts" if kind != "algonauts" else "things", path=tmp_path / name, rois=("all",))
    with pytest.raises(DataError, match=what) as caught:
        open_subject(refused, "subj01")
    assert kind in str(caught.value)
    assert (caught.value.where, caught.value.found) == ("data.kind", refused.kind)
    assert str(caught.value).rstrip(".").count(". ") <= 2  # three sentences


FOLDERS = {
    "bids": (["dataset_description.json", "sub-01/func/sub-01_task-a_events.tsv"], "BIDS"),
    "glmsingle": (["ses-01/TYPED_FITHRF_GLMDENOISE_RR.npy", "ses-01/DESIGNINFO.npy"], "GLMsingle"),
    "gifti": (["sub-01_hemi-L_betas.func.gii"], "GIFTI"),
    "cifti": (["results/run-1/run-1_beta.dscalar.nii"], "CIFTI"),
    "things": (["betas_csv/sub-01_ResponseData.h5"], "THINGS"),
    "algonauts": (["subj01/training_split/training_fmri/lh_training_fmri.npy"], "Algonauts"),
    "bold5000": (["CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz"], "BOLD5000"),
    "mindeye": (["betas_all_subj01_fp32_renorm.hdf5"], "MindEye2"),
    "trials": (["trials.csv"], "trial table"),
    "nsd": (["nsddata/experiments/nsd/nsd_expdesign.mat"], "NSD"),
    "arrays": (["subj01/betas.npy"], "arrays"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_named_with_its_kind(tmp_path, kind):
    names, what = FOLDERS[kind]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = recognise(tmp_path)
    assert what in found.what
    assert kind in found.kinds
    assert f'data.kind = "{kind}"' in found.fix
    if kind not in {"nsd", "arrays", *READERS}:
        return
    # with the right kind, the reader's own error stays
    with pytest.raises(DataError) as caught:
        open_subject(DataRecipe(kind=kind, path=tmp_path, rois=("all",)), "subj01")
    assert found.what not in str(caught.value)


def test_a_folder_of_images_is_not_responses(tmp_path):
    for number in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"a folder of 3 images, without responses.*data\.images"):
        open_subject(DataRecipe(kind="arrays", path=tmp_path, rois=("all",)), "subj01")


@pytest.mark.parametrize("header", ["", "labels chunks\n"])
@pytest.mark.parametrize("kind", ["arrays", "trials", "gifti", "nsd"])
def test_a_block_design_is_refused_plainly(tmp_path, header, kind):
    """As Haxby's data in PyMVPA and nilearn: a series of volumes, and a category and a run for each volume."""
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 2, 60), np.float32), np.eye(4)), tmp_path / "bold.nii.gz")
    labels = np.repeat(["rest", "face", "house", "rest", "cat", "shoe"], 10)
    rows = "".join(f"{label} {number // 30}\n" for number, label in enumerate(labels))
    (tmp_path / "attributes_literal.txt").write_text(header + rows)
    data = DataRecipe(kind=kind, path=tmp_path, rois=("all",))
    for read in (open_subject, inventory):
        with pytest.raises(DataError, match=r"is a block design.*\(cat, face, house, rest\) for 60 volumes") as caught:
            read(data, "subj01")
        assert "cannot be used" in str(caught.value)
    assert "block design" in recognise(tmp_path / "attributes_literal.txt").what


def test_settings_that_name_the_responses_keep_the_readers_error(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 2, 60), np.float32), np.eye(4)), tmp_path / "bold.nii.gz")
    data = DataRecipe(kind="things", path=tmp_path, rois=("all",), responses="nothing")
    with pytest.raises(DataError) as caught:
        open_subject(data, "subj01")
    assert caught.value.where == "data.responses"


def test_what_is_missing_or_unknown_is_not_recognised(tmp_path):
    assert recognise(tmp_path / "nothing") is None
    assert recognise(tmp_path) is None
    (tmp_path / "a.bin").write_bytes(b"\x00\x01\x02")
    assert recognise(tmp_path / "a.bin") is None


SAMPLE_KINDS = {
    "kamitani_bdata": "bdata",
    "things_fmri": "things",
    "bold5000": "bold5000",
    "algonauts2023": "algonauts",
    "bids_fmriprep": "bids",
    "cifti_nod": "cifti",
    "fsaverage5_gifti": "gifti",
    "glmsingle_python": "glmsingle",
    "glmsingle_hdf5_masked": "glmsingle",
    "glmsingle_matlab": "glmsingle",
    "nilearn_betas/one_nifti_a_trial": "trials",
}


@with_samples
@pytest.mark.parametrize("folder", SAMPLE_KINDS)
def test_check_names_the_kind_of_each_sample(reseen, folder):
    code, out, _ = reseen("check", "own_data", "--data", SAMPLES / folder, "--model", "builtin")
    assert code != 0
    assert f'data.kind = "{SAMPLE_KINDS[folder]}"' in out
