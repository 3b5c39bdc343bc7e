"""The layout writer: NSD's true names, axes, units and tables."""

import csv
import errno
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import nibabel
import numpy as np
import pytest
from fields import raises_with
from nsd_tree import N_IMAGES, ORDER, SHAPE, SHARED, Known, make_captions, make_images, make_subject, make_tree
from scipy.io import loadmat

from reseen.datasets.nsd_facts import RESPONSE_COLUMNS
from reseen.errors import ResultsError, ShapeError
from reseen.simulate.experiment import plan_order, run_lengths
from reseen.simulate.layout import write_tree


@pytest.fixture(scope="module")
def known() -> list[Known]:
    return [make_subject("subj01"), make_subject("subj02", n_sessions=2)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, known: list[Known]) -> Path:
    root = tmp_path_factory.mktemp("tree")
    make_tree(root, *known, nifti=True)
    return root


def test_files_have_the_names_nsd_gives_them(tree: Path) -> None:
    betas = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    for name in (
        "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",
        "nsddata_stimuli/stimuli/nsd/annotations/captions_train2017.json",
        "nsddata_stimuli/stimuli/nsd/annotations/captions_val2017.json",
        "nsddata/experiments/nsd/nsd_expdesign.mat",
        "nsddata/experiments/nsd/nsd_stim_info_merged.csv",
        "nsddata/ppdata/subj01/behav/responses.tsv",
        "nsddata/ppdata/subj02/behav/responses.tsv",
        "nsddata/ppdata/subj01/func1pt8mm/brainmask.nii.gz",
        "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz",
        "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz",
        f"{betas}/ncsnr.nii.gz",
        f"{betas}/betas_session01.hdf5",
        f"{betas}/betas_session03.hdf5",
        f"{betas}/betas_session03.nii.gz",
    ):
        assert (tree / name).is_file(), name


def test_hdf5_betas_are_int16_times_300_in_trial_z_y_x_with_a_chunk_for_each_voxel(
    tree: Path, known: list[Known]
) -> None:
    folder = tree / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    subject = known[0].subject
    with h5py.File(folder / "betas_session02.hdf5") as file:
        assert file["betas"].dtype == np.int16
        assert file["betas"].chunks == (6, 1, 1, 1)
        stored = file["betas"][:]
    assert stored.shape == (6, *SHAPE[::-1])
    flat = stored.transpose(0, 3, 2, 1).reshape(6, -1)
    np.testing.assert_array_equal(flat[:, subject.voxel_index], np.rint(known[0].betas[1] * 300))
    assert not np.delete(flat, subject.voxel_index, axis=1).any()
    nifti = nibabel.load(folder / "betas_session02.nii.gz")
    assert nifti.shape == (*SHAPE, 6)
    assert nifti.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(nifti.dataobj).transpose(3, 2, 1, 0), stored)


def test_design_leads_from_a_trial_to_its_image_as_nsd_says(tree: Path, known: list[Known]) -> None:
    design = loadmat(tree / "nsddata/experiments/nsd/nsd_expdesign.mat")
    order, own = design["masterordering"].ravel(), design["subjectim"]
    np.testing.assert_array_equal(design["sharedix"].ravel(), np.array(SHARED) + 1)
    assert set(own[0, np.unique(order[order <= 3]) - 1] - 1) == set(SHARED)
    for row, each in enumerate(known):
        trials = each.stimulus_id
        np.testing.assert_array_equal(own[row, order[: len(trials)] - 1] - 1, trials)
    assert design["stimpattern"].shape[:2] == (3, 12)
    assert design["stimpattern"].sum() == sum(map(len, ORDER))
    assert design["basiccnt"].shape == (3, 3)


def test_design_holds_integers_eight_subjects_and_valid_ids(tree: Path) -> None:
    design = loadmat(tree / "nsddata/experiments/nsd/nsd_expdesign.mat")
    for name in ("basiccnt", "masterordering", "sharedix", "subjectim"):
        assert design[name].dtype.kind == "i", name
    assert design["stimpattern"].dtype == np.float64
    own = design["subjectim"]
    assert own.shape == (8, 1005)
    assert (own >= 1).all()
    assert (own <= N_IMAGES).all()
    assert set(own[:, :1000].ravel() - 1) == set(SHARED)
    for row in own[:, 1000:]:
        assert len(set(row)) == 5
        assert not set(row - 1) & set(SHARED)


def test_shared_images_alone_have_10kids_up_to_1000(tree: Path, known: list[Known]) -> None:
    order = loadmat(tree / "nsddata/experiments/nsd/nsd_expdesign.mat")["masterordering"].ravel()
    np.testing.assert_array_equal(order <= 1000, np.isin(known[0].stimulus_id, SHARED))
    assert set(order[order > 1000]) == set(range(1001, 1006))
    with (tree / "nsddata/ppdata/subj02/behav/responses.tsv").open() as file:
        found = [int(row["10KID"]) for row in csv.DictReader(file, delimiter="\t")]
    assert found == order[:12].tolist()


@pytest.mark.parametrize("n_shared", [1, 999, 1000])
def test_the_rule_of_10kids_holds_for_any_number_of_shared_images(known: list[Known], n_shared: int) -> None:
    trials = np.random.default_rng(0).permutation(1100)
    subject = replace(known[0].subject, stimulus_id=[trials])
    order, own = plan_order(range(50, 50 + n_shared), [subject], 1100)
    np.testing.assert_array_equal(order <= 1000, (trials >= 50) & (trials < 50 + n_shared))
    np.testing.assert_array_equal(own[0, order - 1] - 1, trials)
    assert own.shape == (8, 2100 - n_shared)


def test_images_that_a_subject_did_not_see_have_places_in_the_design(known: list[Known]) -> None:
    _, own = plan_order(SHARED, [known[0].subject, make_subject("subj02", n_sessions=1).subject], N_IMAGES)
    seen = set(make_subject("subj02", n_sessions=1).stimulus_id + 1)
    assert seen - set(own[1, :1000]) < set(own[1, 1000:])
    assert len(set(own[1, 1000:])) == 5


@pytest.mark.parametrize("shared", [[], list(range(1001))])
def test_only_1_to_1000_images_can_be_shared(tmp_path: Path, shared: list[int]) -> None:
    subject = make_subject("subj01").subject
    images, texts = np.zeros((1001, 1, 1, 3), dtype=np.uint8), [["an image"]] * 1001
    with raises_with(ShapeError, where="shared", expected=(1, 1000), found=len(shared)):
        write_tree(tmp_path, images=images, captions=texts, coco_id=range(1001), shared=shared, subjects=[subject])


def test_colour_tables_name_the_labels_where_clients_look_for_them(tree: Path) -> None:
    labels = tree / "nsddata/freesurfer/fsaverage/label"
    assert (labels / "nsdgeneral.mgz.ctab").read_text() == "0 Unknown\n1 nsdgeneral\n"
    assert (labels / "streams.mgz.ctab").read_text() == (
        "0 Unknown\n1 early\n2 midventral\n3 midlateral\n4 midparietal\n5 ventral\n6 lateral\n7 parietal\n"
    )


def test_responses_have_nsds_columns_and_count_from_one(tree: Path, known: list[Known]) -> None:
    with (tree / "nsddata/ppdata/subj02/behav/responses.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert tuple(rows[0]) == RESPONSE_COLUMNS
    assert len(RESPONSE_COLUMNS) == 19
    assert [int(row["73KID"]) - 1 for row in rows] == known[1].stimulus_id.tolist()
    assert {row["SUBJECT"] for row in rows} == {"2"}
    assert [row["SESSION"] for row in rows] == ["1"] * 6 + ["2"] * 6
    assert {row["RT"] for row in rows} == {"NaN"}
    # ORDER's first session shows its image 3 at trials 1 and 4 (two others between them).
    assert (rows[4]["ISOLD"], rows[4]["MEMORYRECENT"], rows[4]["ISOLDCURRENT"]) == ("1", "2", "1")
    assert (rows[7]["ISOLD"], rows[7]["ISOLDCURRENT"]) == ("1", "0")
    # Image 0 is shown at trials 0, 7 and 11: MEMORYFIRST needs two earlier presentations.
    assert [rows[i]["MEMORYRECENT"] for i in (0, 7, 11)] == ["NaN", "6", "3"]
    assert [rows[i]["MEMORYFIRST"] for i in (0, 7, 11)] == ["NaN", "NaN", "10"]
    assert {(row["TOTAL1"], row["TOTAL2"], row["MISSINGDATA"]) for row in rows} == {("NaN", "NaN", "1")}
    # TIME is in days since the midnight before the first session.
    assert [float(rows[i]["TIME"]) for i in (0, 6)] == [0.505, 7.505]
    assert float(rows[1]["TIME"]) == pytest.approx(0.505 + 4 / 86_400, abs=1e-8)


def test_table_of_images_counts_ids_from_zero_and_trials_from_one(tree: Path, known: list[Known]) -> None:
    with (tree / "nsddata/experiments/nsd/nsd_stim_info_merged.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["nsdId"]) for row in rows] == list(range(14))
    assert [int(row["nsdId"]) for row in rows if row["shared1000"] == "True"] == list(SHARED)
    stimulus = known[0].subject.stimulus_id[0][1]
    shown = (np.flatnonzero(known[0].stimulus_id == stimulus) + 1).tolist()
    found = [int(rows[stimulus][f"subject1_rep{k}"]) for k in range(3)]
    assert [trial for trial in found if trial] == shown
    assert rows[stimulus]["subject1"] == "1"
    assert rows[stimulus]["subject8"] == "0"


def test_captions_are_filed_in_cocos_form_under_the_images_coco_id(tree: Path) -> None:
    folder = tree / "nsddata_stimuli/stimuli/nsd/annotations"
    train, val = (json.loads((folder / f"captions_{split}2017.json").read_text()) for split in ("train", "val"))
    assert {a["image_id"] for a in val["annotations"]} == {1000 + 7 * i for i in (4, 9)}
    of_two = [a["caption"] for a in train["annotations"] if a["image_id"] == 1014]
    assert of_two == make_captions()[2]
    ids = [a["id"] for a in train["annotations"] + val["annotations"]]
    assert len(set(ids)) == len(ids)


def test_the_same_data_write_the_same_bytes(tree: Path, tmp_path: Path, known: list[Known]) -> None:
    make_tree(tmp_path, *known, nifti=True)
    files = sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        assert (tree / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_header_of_the_design_holds_no_date(tree: Path) -> None:
    header = (tree / "nsddata/experiments/nsd/nsd_expdesign.mat").read_bytes()[:116]
    assert header.strip() == b"MATLAB 5.0 MAT-file"


def test_sessions_of_750_trials_have_runs_of_63_and_62() -> None:
    assert run_lengths(750) == [63, 62] * 6


def test_subjects_with_different_orders_are_refused(known: list[Known]) -> None:
    other = replace(known[1].subject, stimulus_id=[ids[::-1] for ids in known[1].subject.stimulus_id])
    with raises_with(ShapeError, where="subjects", expected="subj01", found="subj02"):
        plan_order(SHARED, [known[0].subject, other], N_IMAGES)


def test_betas_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    each = make_subject("subj01")
    each.betas[1][2, 3] = np.nan
    with raises_with(ShapeError, where="session 2"):
        make_tree(tmp_path, each)


def test_images_without_colour_are_refused(tmp_path: Path) -> None:
    with raises_with(ShapeError, where="images", expected=("n", "height", "width", 3)):
        write_tree(tmp_path, images=make_images()[..., 0], captions=[], coco_id=[], shared=[], subjects=[])


def test_a_folder_that_cannot_be_made_is_a_results_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot write the data set"):
        make_tree(tmp_path / "file", make_subject("subj01"))


def test_a_disk_that_fills_up_is_a_results_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(ResultsError, match="disk is full"):
        make_tree(tmp_path, make_subject("subj01"))


def test_too_small_a_disk_is_found_before_the_images_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(ResultsError, match=r"2,688 bytes of images, 1,000 free"):
        make_tree(tmp_path, make_subject("subj01"))
