"""BData of the Kamitani lab: files in miniature, and the sample that bdpy wrote."""

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from lab_samples import SAMPLES, with_samples
from PIL import Image

from reseen import load_data, pipeline
from reseen.datasets.lab import READERS
from reseen.errors import DataError
from reseen.recipe import DataRecipe, Recipe, with_settings

N_VOXELS = 6
XYZ = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [3, 3, 0], [3, 3, 3]]) - 30.0
SETTINGS = [
    "decode.n_folds=2",
    "encode.n_folds=2",
    "reconstruct.n_samples=1",
    "reconstruct.n_steps=2",
    "reconstruct.strength=0.5",
    "evaluate.n_derangements=5",
    "evaluate.n_bootstrap=5",
    "report.n_random=2",
    "report.n_sequences=1",
]


def write(path, betas, columns, vmap=None, names=("dataset", "metadata")):
    """Write a BData file: voxels first, then one column for each key."""
    keys = ["VoxelData", "ROI_V1", "ROI_VT", *[f"voxel_{axis}" for axis in "xyz"], *[f"voxel_{axis}" for axis in "ijk"]]
    keys += list(columns)
    values = np.full((len(keys), N_VOXELS + len(columns)), np.nan)
    values[0, :N_VOXELS] = 1
    values[1, :N_VOXELS] = [1, 1, 1, np.nan, np.nan, 0]
    values[2, 4:6] = 1
    values[3:6, :N_VOXELS] = XYZ.T
    values[6:9, :N_VOXELS] = (XYZ.T + 30) / 3
    for number in range(len(columns)):
        values[9 + number, N_VOXELS + number] = 1
    with h5py.File(path, "w") as file:
        file[names[0]] = np.column_stack([betas, *columns.values()])
        file[f"{names[1]}/key"] = [key.encode() for key in keys]
        file[f"{names[1]}/value"] = values
        for number, text in (vmap or {}).items():
            file[f"vmap/stimulus_name/{number}"] = text.encode()


@pytest.fixture
def lab(tmp_path):
    """Training and test file of one subject, images, and the responses in the order of the files."""
    betas = np.random.default_rng(0).normal(size=(10, N_VOXELS)).astype(np.float32)
    (tmp_path / "images").mkdir()
    for number in range(5):
        Image.fromarray(np.full((64, 64, 3), 40 * number, np.uint8)).save(tmp_path / f"images/n0000000{number}_7.JPEG")
    folder = tmp_path / "data"
    folder.mkdir()
    vmap = {float(number + 1): f"n0000000{number}_7" for number in range(5)}
    columns = {"Session": np.repeat([1, 2], 3), "Run": np.arange(6) // 2 + 1, "stimulus_name": [3, 1, 2, 1, 2, 3]}
    write(folder / "sub-01_NaturalTraining_native.h5", betas[:6], columns, vmap)
    columns = {"Session": [1, 1, 1, 1], "Run": [1, 1, 2, 2], "stimulus_name": [5, 4, 4, 5]}
    write(folder / "sub-01_NaturalTest_native.h5", betas[6:], columns, vmap)
    return folder, betas


def test_training_and_test_files_are_joined_and_ids_follow_the_image_names(lab):
    folder, betas = lab
    subject = load_data(folder, "bdata", "sub-01", rois=["V1", "VT"], zscore_sessions=False)
    inside = [0, 1, 2, 4, 5]  # voxel 3 is in no ROI
    np.testing.assert_array_equal(subject.trials.betas, betas[:, inside])
    np.testing.assert_array_equal(subject.trials.stimulus_id, [2, 0, 1, 0, 1, 2, 4, 3, 3, 4])
    np.testing.assert_array_equal(subject.split.folds[0][1], [3, 4])
    np.testing.assert_array_equal(subject.trials.rois["V1"], [True, True, True, False, False])
    # session 1 of the test file is another session than session 1 of the training file
    np.testing.assert_array_equal(subject.trials.session, [1, 1, 1, 2, 2, 2, 0, 0, 0, 0])


def test_voxels_are_placed_by_their_millimetres(lab, tmp_path):
    folder, _ = lab
    trials = load_data(folder, "bdata", "sub-01", n_folds=2, zscore_sessions=False).trials
    assert trials.volume_shape == (2, 2, 2)
    np.testing.assert_allclose(trials.affine, [[3, 0, 0, -30], [0, 3, 0, -30], [0, 0, 3, -30], [0, 0, 0, 1]])
    # the same voxels on the grid of a mask whose first axis runs to the left
    affine = np.array([[-3.0, 0, 0, -24], [0, 3, 0, -33], [0, 0, 3, -30], [0, 0, 0, 1]])
    mask = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 4, 3), np.uint8), affine), mask)
    placed = load_data(folder, "bdata", "sub-01", n_folds=2, zscore_sessions=False, mask=mask).trials
    voxels = np.stack(np.unravel_index(placed.voxel_index, placed.volume_shape), axis=1)
    np.testing.assert_allclose(voxels @ affine[:3, :3].T + affine[:3, 3], XYZ)


@pytest.mark.parametrize("names", [("dataset", "metadata"), ("dataSet", "metaData")])
def test_stimulus_id_is_read_as_synset_and_image(lab, tmp_path, names):
    """1518878.010042 is n01518878_10042; as a whole number all images of a synset would be one."""
    betas = np.random.default_rng(1).normal(size=(6, N_VOXELS)).astype(np.float32)
    path = tmp_path / "Subject1.h5"
    for name in ("n01518878_10042", "n01518878_9", "n00000004_7"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / f"images/{name}.JPEG")
    ids = [1518878.010042, 1518878.000009, 4.000007, 1518878.010042, 1518878.000009, 1518878.010042]
    write(path, betas, {"Run": [1, 1, 1, 2, 2, 2], "stimulus_id": ids, "DataType": [1, 1, 2, 1, 1, 3]}, names=names)
    subject = load_data(path, "bdata", "Subject1", zscore_sessions=False)
    assert [subject.stimuli.name(i) for i in range(3)] == [
        "n00000004_7.JPEG",
        "n01518878_10042.JPEG",
        "n01518878_9.JPEG",
    ]
    np.testing.assert_array_equal(subject.trials.stimulus_id, [1, 2, 0, 1, 2])  # the imagery trial is left out
    np.testing.assert_array_equal(subject.split.folds[0][1], [0])
    table = tmp_path / "names.csv"
    files = ["n00000000_7.JPEG", "n00000001_7.JPEG", "n00000002_7.JPEG"]
    pd.DataFrame({"stimulus_id": ["1518878.010042", "1518878.000009", "4.000007"], "image": files}).to_csv(table)
    named = load_data(path, "bdata", "Subject1", zscore_sessions=False, trials=table)
    np.testing.assert_array_equal(named.trials.stimulus_id, [0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    ("change", "where"),
    [({"subject": "sub-02"}, "data.subjects"), ({"images": "."}, None), ({"mask": "nothing"}, "data.mask")],
)
def test_a_wrong_setting_is_named(lab, change, where):
    folder, _ = lab
    with pytest.raises(DataError) as caught:
        load_data(folder, "bdata", **{"subject": "sub-01", **change})
    assert where is None or caught.value.where == where


def test_another_hdf5_file_and_files_of_other_voxels_are_refused(lab):
    folder, _ = lab
    with h5py.File(folder / "other_1.h5", "w") as file:
        file["betas"] = np.zeros((3, 4))
    with pytest.raises(DataError) as caught:
        load_data(folder, "bdata", "other")
    assert caught.value.found == ("betas",)
    write(folder / "sub-01_More_native.h5", np.zeros((4, N_VOXELS)), {"stimulus_name": [1, 2, 3, 4]})
    with h5py.File(folder / "sub-01_More_native.h5", "a") as file:
        file["metadata/value"][3, :N_VOXELS] = 0
    with pytest.raises(DataError) as caught:
        load_data(folder, "bdata", "sub-01")
    assert caught.value.where.name == "sub-01_More_native.h5"


def sample(subject="sub-01"):
    data = DataRecipe(kind="bdata", path=SAMPLES / "kamitani_bdata", subjects=(subject,), rois=("all",))
    return READERS["bdata"](data, subject)


@with_samples
def test_the_sample_is_what_it_should_be():
    found, expected = sample(), np.load(SAMPLES / "expected/kamitani_bdata.npz")
    np.testing.assert_array_equal(found.responses.read(np.arange(544)), expected["betas"])
    np.testing.assert_array_equal(found.stimulus_id, expected["stimulus_id"])
    # the runs of the arrays are the sessions of the files
    np.testing.assert_array_equal(np.array(found.table.columns["Session"], dtype=int), expected["run"])
    assert set(found.rois) == {"V1", "HVC", "VC"}
    for name, mask in found.rois.items():
        np.testing.assert_array_equal(mask, expected[f"roi_{name}"])
    subject = load_data(SAMPLES / "kamitani_bdata", "bdata", "sub-01")
    np.testing.assert_array_equal(subject.split.folds[0][1], expected["test_stimulus_id"])


@with_samples
def test_the_sample_with_numbers_for_images_is_read_with_a_table(tmp_path):
    """Its ids are made from the order of the images: two of a synset, synsets 7 apart."""
    files = sorted(path.name for path in (SAMPLES / "stimuli").glob("*.png"))
    ids = [f"{1500000 + 7 * (number // 2)}.{1234 * (number % 2 + 1):06d}" for number in range(60)]
    pd.DataFrame({"stimulus_id": ids, "image": files}).to_csv(tmp_path / "names.csv", index=False)
    path = SAMPLES / "kamitani_bdata/Subject1_god.h5"
    with pytest.raises(DataError, match=r"has no file n01500147_1234"):
        load_data(path, "bdata", "Subject1")
    subject = load_data(path, "bdata", "Subject1", trials=tmp_path / "names.csv", zscore_sessions=False)
    expected = np.load(SAMPLES / "expected/glmsingle_python.npz")  # the same trials in order of presentation
    np.testing.assert_array_equal(subject.trials.stimulus_id, expected["stimulus_id"])
    other = np.load(SAMPLES / "expected/kamitani_bdata.npz")
    order = np.argsort(other["stimulus_id"], kind="stable")
    mine = np.argsort(subject.trials.stimulus_id, kind="stable")
    np.testing.assert_array_equal(subject.trials.betas[mine], other["betas"][order])
    np.testing.assert_array_equal(subject.split.folds[0][1], other["test_stimulus_id"])


@with_samples
@pytest.mark.filterwarnings("ignore:.*captions are longer")  # the small model reads 24 tokens
def test_a_run_from_the_sample_to_the_report(tiny_model, random_networks, tmp_path):
    settings = [f"data.path={SAMPLES / 'kamitani_bdata'}", "data.kind=bdata", 'data.subjects=["sub-01"]']
    settings += ['data.rois=["V1", "HVC"]', f"model.name={tiny_model}", 'decode.rois.z=["V1"]', 'decode.rois.c=["HVC"]']
    recipe = with_settings(Recipe(name="lab"), [*settings, *SETTINGS])
    pipeline.run(recipe, tmp_path / "out")
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    z = scores[(scores["condition"] == "z") & (scores["metric"] == "target_r") & (scores["subset"] == "all")]
    z = z.set_index("level")["value"]
    assert z["result"] > z["permuted"] + 0.1  # V1 of the sample responds to the pixels of the images
    assert (tmp_path / "out/report.html").is_file()
    encoding = pd.read_csv(tmp_path / "out/encoding.csv")
    ceiling = encoding[encoding["statistic"] == "median_ceiling_r"]["value"]
    assert ((ceiling > 0) & (ceiling <= 1)).all()  # from the repeats: the files have no noise ceilings
    assert len(ceiling)


@with_samples
def test_check_reads_the_sample(reseen):
    place = SAMPLES / "kamitani_bdata"
    code, out, _ = reseen(
        "check", "own_data", "--data", place, "--model", "builtin", "--set", "data.kind=bdata",
        "--set", 'data.subjects=["sub-01"]',
    )  # fmt: skip
    assert code == 0, out
    assert "240 trials of 60 images, 544 voxels" in out
    assert "labels fit the betas" in out
