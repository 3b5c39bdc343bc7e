"""BOLD5000, Algonauts 2023 and MindEye2's files of NSD, in miniature and as samples."""

import io
import tarfile

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from lab_samples import SAMPLES, with_samples
from PIL import Image

from reseen import load_data
from reseen.datasets import inventory
from reseen.datasets.lab.mindeye import to_uint8
from reseen.errors import DataError
from reseen.recipe import DataRecipe

# ------------------------------------------------------------------------------------------------------ BOLD5000


@pytest.fixture
def bold5000(tmp_path):
    """Sessions 2 and 10, whose order as text is another one; images of repeats have a prefix."""
    volumes = {session: np.random.default_rng(session).normal(size=(3, 2, 2, 4)).astype("f4") for session in (2, 10)}
    for session, values in volumes.items():
        name = f"CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{session:02d}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name)
    (tmp_path / "stimuli").mkdir()
    for number in range(4):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(tmp_path / f"stimuli/room{number}.jpg")
    betas = np.concatenate([values.reshape(12, 4).T for values in volumes.values()])
    names = [
        "room1.jpg",
        "room0.jpg",
        "rep_room3.jpg",
        "room2.jpg",
        "rep_room3.jpg",
        "room0.jpg",
        "room1.jpg",
        "room2.jpg",
    ]
    return tmp_path, betas, names, [1, 0, 3, 2, 3, 0, 1, 2]


def write_events(folder, names):
    for session, first in ((2, 0), (10, 4)):
        for run in (1, 2):
            path = (
                folder
                / f"sub-CSI1/ses-{session:02d}/func/sub-CSI1_ses-{session:02d}_task-5000scenes_run-{run:02d}_events.tsv"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            mine = names[first + 2 * (run - 1) :][:2]
            pd.DataFrame({"onset": [0, 10], "duration": 1, "ImgName": mine}).to_csv(path, sep="\t", index=False)
        local = path.with_name(path.name.replace("5000scenes", "localizer"))
        pd.DataFrame({"onset": [0.0], "duration": 16, "trial_type": ["scenes"]}).to_csv(local, sep="\t", index=False)


def test_bold5000_takes_the_order_of_images_from_the_events(bold5000):
    folder, betas, names, stimulus_id = bold5000
    write_events(folder / "ds001499", names)
    trials = load_data(folder, "bold5000", "CSI1", trials="ds001499", n_folds=2, zscore_sessions=False).trials
    np.testing.assert_array_equal(trials.betas, betas)
    np.testing.assert_array_equal(trials.stimulus_id, stimulus_id)
    np.testing.assert_array_equal(trials.session, [1, 1, 1, 1, 0, 0, 0, 0])  # "10" sorts before "2"
    assert len(np.unique(trials.run)) == 4


def test_bold5000_says_that_the_text_file_is_an_assumption(bold5000):
    folder, betas, names, stimulus_id = bold5000
    (folder / "CSI1_imgnames.txt").write_text("\n".join(names))
    mask = folder / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.indices((3, 2, 2))[0].astype(np.uint8), np.eye(4)), mask)
    trials = load_data(folder, "bold5000", "CSI1", mask=mask, n_folds=2, zscore_sessions=False).trials
    np.testing.assert_array_equal(trials.betas, betas[:, 4:])
    np.testing.assert_array_equal(trials.stimulus_id, stimulus_id)
    data = DataRecipe(kind="bold5000", path=folder, rois=("all",), test="folds", n_folds=2)
    assert "CSI1_imgnames.txt, which the README" in inventory(data, "CSI1")[0].note


def test_bold5000_refuses_other_numbers_of_images_and_two_versions(bold5000):
    folder, _, names, _ = bold5000
    with pytest.raises(DataError) as caught:
        load_data(folder, "bold5000", "CSI1")
    assert caught.value.where == "data.trials"
    (folder / "CSI1_imgnames.txt").write_text("\n".join(names[:-1]))
    with pytest.raises(DataError) as caught:
        load_data(folder, "bold5000", "CSI1")
    assert (caught.value.expected, caught.value.found) == (8, 7)
    write_events(folder, names)
    next(folder.rglob("*ses-10*run-02_events.tsv")).unlink()
    with pytest.raises(DataError) as caught:
        load_data(folder, "bold5000", "CSI1")
    assert caught.value.expected == 4
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((3, 2, 2, 4)), np.eye(4)), folder / "CSI1_GLMbetas-TYPEA-ASSUMEHRF_ses-02.nii.gz"
    )
    with pytest.raises(DataError) as caught:
        load_data(folder, "bold5000", "CSI1")
    assert caught.value.where == "data.responses"


# ----------------------------------------------------------------------------------------------------- Algonauts


@pytest.fixture
def algonauts(tmp_path):
    """Six training images whose NSD ids are in another order than the rows; 3 left and 2 right vertices."""
    own = tmp_path / "subj01"
    for folder in (
        "training_split/training_fmri",
        "training_split/training_images",
        "test_split/test_images",
        "roi_masks",
    ):
        (own / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    halves = {side: rng.normal(size=(6, n)).astype(np.float32) for side, n in (("lh", 3), ("rh", 2))}
    vertices = {"lh": [5, 70, 163841], "rh": [0, 9]}
    labels = {"lh": [1, 0, 2], "rh": [2, 1]}
    for side, values in halves.items():
        np.save(own / f"training_split/training_fmri/{side}_training_fmri.npy", values)
        whole = np.zeros(163842, dtype=np.int32)
        whole[vertices[side]] = 1
        np.save(own / f"roi_masks/{side}.all-vertices_fsaverage_space.npy", whole)
        np.save(own / f"roi_masks/{side}.prf-visualrois_challenge_space.npy", np.array(labels[side], dtype=np.int32))
    mapping = np.array({0: "Unknown", 1: "V1v", 2: "hV4"}, dtype=object)
    np.save(own / "roi_masks/mapping_prf-visualrois.npy", mapping, allow_pickle=True)
    for row, nsd in enumerate([40, 7, 12, 90, 3, 55]):
        name = own / f"training_split/training_images/train-{row + 1:04d}_nsd-{nsd:05d}.png"
        Image.fromarray(np.full((64, 64, 3), nsd, np.uint8)).save(name)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(own / "test_split/test_images/test-0001_nsd-00001.png")
    return tmp_path, np.concatenate([halves["lh"], halves["rh"]], axis=1)


def test_algonauts_rows_are_images_from_1_and_are_not_standardised_again(algonauts):
    folder, betas = algonauts
    subject = load_data(folder, "algonauts", "subj01", rois=["V1v", "hV4", "all"], n_folds=2)
    np.testing.assert_array_equal(subject.trials.betas, betas)
    assert subject.trials.scaling is None
    np.testing.assert_array_equal(subject.trials.stimulus_id, np.arange(6))
    assert [int(image[0, 0, 0]) for image in subject.stimuli.images(range(6))] == [40, 7, 12, 90, 3, 55]
    np.testing.assert_array_equal(subject.trials.rois["V1v"], [True, False, False, False, True])
    np.testing.assert_array_equal(subject.trials.rois["hV4"], [False, False, True, True, False])


def test_algonauts_vertices_are_those_of_fsaverage(algonauts):
    folder, _ = algonauts
    trials = load_data(folder / "subj01", "algonauts", "subj01", n_folds=2).trials
    assert (trials.space, trials.volume_shape) == ("fsaverage", (2, 163842, 1))
    np.testing.assert_array_equal(trials.voxel_index, [5, 70, 163841, 163842, 163851])


def test_algonauts_test_images_are_counted_and_a_missing_image_is_refused(algonauts):
    folder, _ = algonauts
    data = DataRecipe(kind="algonauts", path=folder, rois=("all",), test="folds", n_folds=2)
    (file,) = inventory(data, "subj01")
    assert file.ok
    assert "1 test images without responses" in file.note
    with pytest.raises(DataError) as caught:
        load_data(folder / "subj01", "algonauts", "subj02")
    assert (caught.value.where, caught.value.expected) == ("data.subjects", "subj01")
    next((folder / "subj01/training_split/training_images").glob("train-0003*")).unlink()
    with pytest.raises(DataError) as caught:
        load_data(folder, "algonauts", "subj01")
    assert (caught.value.expected, caught.value.found) == (6, 5)


# ------------------------------------------------------------------------------------------------------- MindEye2

N_ROWS = 1503  # three trials of a third session


@pytest.fixture
def mindeye(tmp_path):
    """Betas of 1503 trials, 12 images of which 9 are shown, and both descriptions of the trials."""
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(N_ROWS, 4)).astype(np.float32)
    images = rng.integers(0, 256, size=(12, 3, 8, 8)).astype(np.float16) / 255
    nsd = rng.permutation(np.arange(N_ROWS) % 9 + 3)
    with h5py.File(tmp_path / "betas_all_subj01_fp32_renorm.hdf5", "w") as file:
        file["betas"] = betas
    with h5py.File(tmp_path / "coco_images_224_float16.hdf5", "w") as file:
        file["images"] = images
    with h5py.File(tmp_path / "COCO_73k_subj_indices.hdf5", "w") as file:
        file["subj01"] = nsd
    shared = np.isin(np.arange(12), [3, 4])
    np.save(tmp_path / "shared1000.npy", shared)
    return tmp_path, betas, images, nsd, shared


def write_wds(folder, nsd, shared, rng):
    """Write the trials as tar files, in another order than the rows of the betas."""
    for side, rows in (("train", np.flatnonzero(~shared[nsd])), ("new_test", np.flatnonzero(shared[nsd]))):
        own = folder / "wds/subj01" / side
        own.mkdir(parents=True)
        with tarfile.open(own / "0.tar", "w") as archive:
            for number, row in enumerate(rng.permutation(rows)):
                behaviour = np.full((1, 17), -1.0)
                behaviour[0, [0, 5]] = nsd[row], row
                for name in ("behav", "past_behav"):
                    content = io.BytesIO()
                    np.save(content, behaviour if name == "behav" else np.zeros((3, 17)))
                    member = tarfile.TarInfo(f"sample{number:09d}.{name}.npy")
                    member.size = len(content.getvalue())
                    archive.addfile(member, io.BytesIO(content.getvalue()))


@pytest.mark.parametrize("source", ["wds", "COCO_73k_subj_indices.hdf5"])
def test_mindeye_keeps_the_ids_of_nsd_and_its_test_images(mindeye, source):
    folder, betas, images, nsd, shared = mindeye
    write_wds(folder, nsd, shared, np.random.default_rng(1))
    subject = load_data(folder, "mindeye", "subj01", trials=source)
    np.testing.assert_array_equal(subject.trials.betas, betas)  # not standardised again
    np.testing.assert_array_equal(subject.trials.stimulus_id, nsd)
    np.testing.assert_array_equal(np.bincount(subject.trials.session), [750, 750, 3])
    np.testing.assert_array_equal(subject.split.folds[0][1], [3, 4])
    expected = np.rint(255 * images[5].astype(np.float32)).transpose(1, 2, 0)
    np.testing.assert_array_equal(subject.stimuli.image(5), expected)
    assert subject.trials.ncsnr is not None  # from the repeats


def test_mindeye_captions_are_by_nsd_id(mindeye):
    folder, *_ = mindeye
    pd.DataFrame({"image": [5, 5, 11], "caption": ["a", "b", "c"]}).to_csv(folder / "captions.csv", index=False)
    stimuli = load_data(folder, "mindeye", "subj01", captions="captions.csv").stimuli
    assert [stimuli.captions(i) for i in (5, 6, 11)] == [("a", "b"), (), ("c",)]


def test_mindeye_refuses_ids_outside_of_the_images_and_what_is_missing(mindeye):
    folder, _, _, nsd, _ = mindeye
    with pytest.raises(DataError) as caught:
        load_data(folder, "mindeye", "subj02")
    assert caught.value.found == ("betas_all_subj01_fp32_renorm.hdf5",)
    with h5py.File(folder / "COCO_73k_subj_indices.hdf5", "w") as file:
        file["subj01"] = nsd + 1  # counted from 1
    with pytest.raises(DataError) as caught:
        load_data(folder, "mindeye", "subj01")
    assert (caught.value.expected, caught.value.found) == (12, 12)
    (folder / "COCO_73k_subj_indices.hdf5").unlink()
    with pytest.raises(DataError) as caught:
        load_data(folder, "mindeye", "subj01")
    assert caught.value.where == "data.trials"


def test_an_image_of_float16_becomes_uint8_without_a_step(tmp_path):
    levels = np.arange(256, dtype=np.float64) / 255
    image = np.broadcast_to(levels.astype(np.float16), (3, 2, 256))
    found = to_uint8(tmp_path, image)
    assert found.shape == (2, 256, 3)
    np.testing.assert_array_equal(found[1, :, 2], np.arange(256))
    with pytest.raises(DataError):
        to_uint8(tmp_path, image * 255)


# ------------------------------------------------------------------------------------------------------- samples


@with_samples
@pytest.mark.parametrize(
    ("kind", "folder", "settings", "facts"),
    [
        ("bold5000", "bold5000", ['data.subjects=["CSI1"]'], ("240 trials of 60 images", "labels fit the betas")),
        (
            "algonauts",
            "algonauts2023",
            ['reconstruct.conditions=["z"]', 'encode.features=["z"]'],
            ("50 trials of 50 images", "544 voxels in fsaverage", "10 test images without responses", "streams:early"),
        ),
    ],
)
def test_check_reads_the_samples(reseen, kind, folder, settings, facts):
    options = [word for setting in (f"data.kind={kind}", *settings) for word in ("--set", setting)]
    code, out, _ = reseen("check", "own_data", "--data", SAMPLES / folder, "--model", "builtin", *options)
    for fact in facts:
        assert fact in out
    assert code == 0, out


@with_samples
def test_the_responses_of_the_samples_are_those_of_the_other_layouts():
    """BOLD5000's sample has the trials of the others with noise outside of the brain; Algonauts' has their averages."""
    mask = SAMPLES / "things_fmri/brainmasks/sub-01_space-T1w_brainmask.nii.gz"
    trials = load_data(SAMPLES / "bold5000", "bold5000", "CSI1", mask=mask, zscore_sessions=False).trials
    expected = np.load(SAMPLES / "expected/glmsingle_python.npz")
    np.testing.assert_array_equal(trials.stimulus_id, expected["stimulus_id"])
    assert trials.betas.shape == expected["betas"].shape
    rows = np.load(SAMPLES / "algonauts2023/subj01/training_split/training_fmri/rh_training_fmri.npy")
    found = load_data(SAMPLES / "algonauts2023", "algonauts", "subj01").trials
    np.testing.assert_array_equal(found.betas[:, 300:], rows)
