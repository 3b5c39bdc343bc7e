"""Responses on the vertices of a surface: GIFTI files of each hemisphere, and CIFTI files of grayordinates."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.cifti2 import cifti2_axes as axes
from PIL import Image

from reseen import load_data
from reseen.datasets import inventory
from reseen.datasets.lab.runs import in_order, run_of
from reseen.datasets.lab.surfaces import side_of, without_side
from reseen.errors import DataError
from reseen.recipe import DataRecipe

SAMPLES = Path(__file__).parents[2] / "shared/samples"
N = 10_242
N_LR = 32_492


def write_gifti(path, arrays, names=None, intent="NIFTI_INTENT_NONE"):
    make = nibabel.gifti
    table = None
    if names is not None:
        table = make.GiftiLabelTable()
        for key, name in names.items():
            label = make.GiftiLabel(key)
            label.label = name
            table.labels.append(label)
    darrays = [
        make.GiftiDataArray(a, intent=intent, datatype=f"NIFTI_TYPE_{'INT32' if a.dtype.kind == 'i' else 'FLOAT32'}")
        for a in arrays
    ]
    nibabel.save(make.GiftiImage(darrays=darrays, labeltable=table), path)


def write_stimuli(folder):
    (folder / "stimuli").mkdir()
    for number in range(3):
        Image.fromarray(np.full((64, 64, 3), 60 * number, dtype=np.uint8)).save(folder / f"stimuli/cat_{number}.png")


def write_events(path, images):
    table = pd.DataFrame({"onset": np.arange(len(images)), "stim_file": [f"stimuli/{name}" for name in images]})
    table["stim_file"] = table["stim_file"].where(table["stim_file"] != "stimuli/", "n/a")
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False)


@pytest.fixture
def giftis(tmp_path):
    """Runs 2 and 10 of two sessions on fsaverage5; each vertex's response tells run, trial, hemisphere and vertex."""
    write_stimuli(tmp_path)
    expected = []
    for run, images in ((2, ["cat_2.png", "cat_0.png"]), (10, ["cat_1.png", "", "cat_2.png"])):
        n_trials = sum(map(bool, images))
        stem = f"sub-01_ses-01_task-pics_run-{run}"
        write_events(tmp_path / f"{stem}_events.tsv", images)
        betas = 1000 * run + 10 * np.arange(n_trials)[:, None] + np.arange(2 * N) / (2 * N)
        for number, side in enumerate("LR"):
            arrays = betas[:, number * N : (number + 1) * N].astype(np.float32)
            write_gifti(tmp_path / f"{stem}_hemi-{side}_space-fsaverage5_betas.func.gii", list(arrays))
        expected.append(betas.astype(np.float32))
    return tmp_path, np.concatenate(expected)


def test_gifti_runs_are_read_in_order_with_the_events_of_their_names(giftis):
    folder, betas = giftis
    trials = load_data(folder, "gifti", n_folds=2, zscore_sessions=False).trials
    np.testing.assert_array_equal(trials.betas, betas)
    assert trials.stimulus_id.tolist() == [2, 0, 1, 2]  # the event without an image has no response
    assert trials.run.tolist() == [1, 1, 0, 0]  # runs "2" and "10", numbered as text
    assert trials.space == "fsaverage5"
    assert trials.volume_shape == (2, N, 1)
    np.testing.assert_array_equal(trials.voxel_index, np.arange(2 * N))


def test_label_files_of_two_hemispheres_are_one_atlas(giftis):
    folder, betas = giftis
    labels = np.zeros((2, N), dtype=np.int32)
    labels[0, :5], labels[0, 5:7], labels[1, 3:4] = 1, 2, 1
    for side, values in zip("LR", labels, strict=True):
        write_gifti(folder / f"{side.lower()}h.visual.label.gii", [values], {0: "???", 1: "V1", 2: "VT"})
        write_gifti(folder / f"{side.lower()}h.V4.label.gii", [(values == 2).astype(np.int32)])
    trials = load_data(folder, "gifti", rois=["V1", "visual:VT", "V4"], n_folds=2, zscore_sessions=False).trials
    assert trials.voxel_index.tolist() == [*range(7), N + 3]
    assert trials.voxel_index[trials.rois["V1"]].tolist() == [*range(5), N + 3]
    assert trials.voxel_index[trials.rois["visual:VT"]].tolist() == trials.voxel_index[trials.rois["V4"]].tolist()
    np.testing.assert_array_equal(trials.betas, betas[:, trials.voxel_index])
    (folder / "twice").mkdir()
    for name in ("lh.V1.label.gii", "lh_V1.label.gii"):
        write_gifti(folder / "twice" / name, [labels[0]])
    with pytest.raises(DataError, match="both be the ROI 'V1'"):
        load_data(folder, "gifti", roi_files=["twice"], n_folds=2)


def test_labels_on_a_finer_fsaverage_are_cut_and_those_of_another_surface_refused(giftis):
    folder, _ = giftis
    fine = np.zeros(40_962, dtype=np.int32)
    fine[[4, N + 5]] = 1
    write_gifti(folder / "lh.V1.label.gii", [fine])
    trials = load_data(folder, "gifti", rois=["V1"], n_folds=2, zscore_sessions=False).trials
    assert trials.voxel_index.tolist() == [4]
    write_gifti(folder / "lh.V1.label.gii", [np.ones(N_LR, dtype=np.int32)])
    with pytest.raises(DataError, match="Give ROIs on the surface of the responses"):
        load_data(folder, "gifti", n_folds=2)


def test_files_that_do_not_fit_are_refused_with_what_is_needed(giftis):
    folder, _ = giftis
    with pytest.raises(DataError, match="has files of sub-01, not of sub-02"):
        load_data(folder, "gifti", subject="sub-02", n_folds=2)
    events = folder / "sub-01_ses-01_task-pics_run-2_events.tsv"
    write_events(events, ["cat_0.png"])
    with pytest.raises(DataError) as caught:
        load_data(folder, "gifti", n_folds=2)
    assert (caught.value.where, caught.value.expected, caught.value.found) == (events, 2, 1)
    events.unlink()
    with pytest.raises(DataError, match="0 events files of sub-1_ses-1_task-pics_run-2"):
        load_data(folder, "gifti", n_folds=2)
    right = folder / "sub-01_ses-01_task-pics_run-2_hemi-R_space-fsaverage5_betas.func.gii"
    write_gifti(right, [np.zeros(N, dtype=np.float32)])
    with pytest.raises(DataError, match="1 trials of 10242 vertices; 2 trials"):
        load_data(folder, "gifti", n_folds=2)
    right.unlink()
    with pytest.raises(DataError, match="0 files of the hemisphere R"):
        load_data(folder, "gifti", n_folds=2)
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"no responses in files that end in \.gii"):
        load_data(folder, "gifti", responses="empty", n_folds=2)


def test_a_table_of_all_trials_replaces_the_events(giftis):
    folder, _ = giftis
    pd.DataFrame({"image": ["cat_0", "cat_1", "cat_0", "cat_2"]}).to_csv(folder / "mine.csv", index=False)
    trials = load_data(folder, "gifti", trials="mine.csv", n_folds=2, zscore_sessions=False).trials
    assert trials.stimulus_id.tolist() == [0, 1, 0, 2]


LEFT, RIGHT = np.array([3, 4, 9, 30_000]), np.array([0, 7, 32_491])


def write_cifti(path, rows, axis=None, left_first=True):
    cortex = [
        axes.BrainModelAxis.from_surface(LEFT, N_LR, "CORTEX_LEFT"),
        axes.BrainModelAxis.from_surface(RIGHT, N_LR, "CORTEX_RIGHT"),
    ]
    below = axes.BrainModelAxis.from_mask(np.ones((2, 1, 1), dtype=bool), "THALAMUS_LEFT", np.eye(4))
    brain = sum((cortex if left_first else cortex[::-1])[1:], (cortex if left_first else cortex[::-1])[0]) + below
    axis = axes.ScalarAxis([f"trial{k}" for k in range(len(rows))]) if axis is None else axis
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Cifti2Image(rows.astype(np.float32), (axis, brain)), path)


@pytest.fixture
def ciftis(tmp_path):
    """Two runs in the folders of NOD; the second file lists the right hemisphere first."""
    write_stimuli(tmp_path)
    rows = np.arange(36).reshape(4, 9)  # 7 cortical vertices and 2 voxels
    for run, mine in ((1, slice(0, 2)), (2, slice(2, 4))):
        stem = f"ses-imagenet01_task-imagenet_run-{run}"
        listed = rows[mine] if run == 1 else rows[mine][:, [4, 5, 6, 0, 1, 2, 3, 7, 8]]
        path = tmp_path / "derivatives/ciftify/sub-01/results" / stem / f"{stem}_beta.dscalar.nii"
        write_cifti(path, listed, left_first=run == 1)
        events = f"sub-01_ses-imagenet01_task-imagenet_run-0{run}_events.tsv"
        write_events(tmp_path / "sub-01/ses-imagenet01/func" / events, [f"cat_{run}.png", "cat_0.png"])
    return tmp_path, rows[:, :7].astype(np.float32)


def test_cifti_vertices_have_their_numbers_in_any_order_and_only_the_cortex_is_read(ciftis):
    folder, betas = ciftis
    trials = load_data(folder, "cifti", n_folds=2, zscore_sessions=False).trials
    np.testing.assert_array_equal(trials.betas, betas)
    np.testing.assert_array_equal(trials.voxel_index, [*LEFT, *(N_LR + RIGHT)])
    assert trials.stimulus_id.tolist() == [1, 0, 2, 0]
    assert trials.run.tolist() == [0, 0, 1, 1]
    assert trials.space == "fsLR-32k"
    data = DataRecipe(kind="cifti", path=folder, rois=("all",), test="folds", n_folds=2)
    (file,) = inventory(data, "sub-01")
    assert "2 grayordinates outside of the cortex" in file.note


def test_labels_in_cifti_and_gifti_are_matched_by_vertex(ciftis):
    folder, _ = ciftis
    table = {0: ("???", (0, 0, 0, 0)), 1: ("V1", (1, 0, 0, 1)), 2: ("VT", (0, 1, 0, 1))}
    axis = axes.LabelAxis(["areas"], [table])
    (folder / "rois").mkdir()
    write_cifti(folder / "rois/areas.dlabel.nii", np.array([[0, 1, 2, 1, 0, 1, 0, 0, 0]]), axis)
    left = np.zeros(N_LR, dtype=np.int32)
    left[[9, 10]] = 1
    write_gifti(folder / "rois/sub-01_hemi-L_space-fsLR_den-32k_label-V4_mask.label.gii", [left])
    trials = load_data(folder, "cifti", rois=["V1", "areas:VT", "V4"], n_folds=2, zscore_sessions=False).trials
    assert trials.voxel_index.tolist() == [4, 9, 30_000, N_LR + 7]
    assert trials.rois["V1"].tolist() == [True, False, True, True]
    assert trials.rois["areas:VT"].tolist() == trials.rois["V4"].tolist() == [False, True, False, False]


def test_a_time_series_and_other_files_are_refused_by_what_they_are(ciftis, tmp_path):
    folder, _ = ciftis
    series = folder / "sub-01_ses-imagenet01_task-imagenet_run-01_bold.dtseries.nii"
    write_cifti(series, np.zeros((3, 9)), axes.SeriesAxis(0, 2, 3))
    assert load_data(folder, "cifti", n_folds=2).trials.space == "fsLR-32k"  # next to responses it is not read
    for responses in (series.name, "series"):
        (folder / "series").mkdir(exist_ok=True)
        if responses == "series":
            series.rename(folder / "series" / series.name)
        with pytest.raises(DataError, match=r"is a time series \(one row a volume\).*save its betas as \.dscalar\.nii"):
            load_data(folder, "cifti", responses=responses, n_folds=2)
    volume = tmp_path / "sub-01_run-1_beta.dscalar.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), dtype=np.float32), np.eye(4)), volume)
    with pytest.raises(DataError, match="is a volume in NIfTI, not CIFTI"):
        load_data(folder, "cifti", responses=volume, n_folds=2)


def test_a_file_whose_shape_is_not_that_of_its_axes_is_refused(ciftis):
    path = sorted(ciftis[0].rglob("*_beta.dscalar.nii"))[0]
    content = bytearray(path.read_bytes())
    # NIfTI-2 has its dimensions as eight 64-bit integers from byte 16; CIFTI's rows are the sixth
    content[16 + 8 * 5 : 16 + 8 * 6] = (2**45).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"declares an array of shape \(35184372088832, \d+\), but its axes have"
    ) as raised:
        load_data(ciftis[0], "cifti", n_folds=2)
    assert raised.value.where == path


def test_runs_on_other_vertices_and_two_files_of_a_run_are_refused(ciftis):
    folder, _ = ciftis
    stem = "ses-imagenet01_task-imagenet_run-2"
    place = folder / "derivatives/ciftify/sub-01/results" / stem
    write_cifti(place / f"{stem}_other.dscalar.nii", np.zeros((2, 9)))
    load_data(folder, "cifti", n_folds=2)  # the file named beta is read
    (place / f"{stem}_beta.dscalar.nii").unlink()
    write_cifti(place / f"{stem}_third.dscalar.nii", np.zeros((2, 9)))
    with pytest.raises(DataError, match=r"has 2 files \.dscalar\.nii of one run"):
        load_data(folder, "cifti", n_folds=2)
    (place / f"{stem}_third.dscalar.nii").unlink()
    brain = axes.BrainModelAxis.from_surface(LEFT, N_LR, "CORTEX_LEFT")
    rows = np.zeros((2, 4), dtype=np.float32)
    image = nibabel.Cifti2Image(rows, (axes.ScalarAxis(["a", "b"]), brain))
    nibabel.save(image, place / f"{stem}_other.dscalar.nii")
    with pytest.raises(DataError, match="has other vertices"):
        load_data(folder, "cifti", n_folds=2)


def test_names_tell_the_hemisphere_and_the_run():
    names = ["sub-01_hemi-L_V1.label.gii", "lh.V1.label.gii", "S1200.R.flat.32k_fs_LR.surf.gii", "a_run-1.func.gii"]
    assert [side_of(Path(name)) for name in names] == ["L", "L", "R", None]
    assert without_side(names[0]) == "sub-01_V1.label.gii"
    assert run_of(Path("sub-01/results/ses-a_run-010/x_beta.dscalar.nii")) == ("1", "a", "", "10")
    runs = [("1", "2", "", "10"), ("1", "10", "", "1"), ("1", "2", "", "9")]
    assert sorted(runs, key=in_order) == [runs[2], runs[0], runs[1]]


needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not next to this clone")


@needs_samples
@pytest.mark.filterwarnings("ignore:.*voxels have missing")
def test_the_sample_on_fsaverage5_is_read_as_expected():
    expected = np.load(SAMPLES / "expected/fsaverage5_gifti.npz")
    rois = ["all", "atlas:1", "atlas:2"]  # the file has no names: 1 is V1, 2 is VT
    folder = SAMPLES / "fsaverage5_gifti"
    trials = load_data(folder, "gifti", rois=rois, n_folds=3, zscore_sessions=False).trials
    np.testing.assert_array_equal(trials.betas, expected["betas"])
    np.testing.assert_array_equal(trials.stimulus_id, expected["stimulus_id"])
    np.testing.assert_array_equal(trials.rois["atlas:1"], expected["roi_V1"])
    np.testing.assert_array_equal(trials.rois["atlas:2"], expected["roi_VT"])


@needs_samples
def test_the_sample_of_nod_is_read_by_its_file_names():
    folder = SAMPLES / "cifti_nod"
    trials = load_data(folder, "cifti", subject="sub-01", n_folds=2, zscore_sessions=False).trials
    (path,) = folder.rglob("*.dscalar.nii")
    np.testing.assert_array_equal(trials.betas, nibabel.load(path).get_fdata(dtype=np.float32))
    assert trials.betas.shape == (10, 59_412)
    (events,) = folder.rglob("*events.tsv")
    shown = pd.read_csv(events, sep="\t")["stim_file"]
    np.testing.assert_array_equal(trials.stimulus_id, np.unique(shown, return_inverse=True)[1])
