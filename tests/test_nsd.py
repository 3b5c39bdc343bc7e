"""The NSD reader: ids, axes, units, the split, and a message for every damaged tree."""

import csv
import gzip
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from loading import load
from nsd_tree import N_IMAGES, SHAPE, SHARED, Known, make_captions, make_images, make_subject, make_tree, recipe_for
from scipy.io import loadmat, savemat

from reseen.datasets import kept, nsd, nsd_betas, volumes
from reseen.datasets.nsd_design import TrialTable, read_trial_table
from reseen.datasets.nsd_facts import ROI_LABELS, SUBJECTS, NsdFiles
from reseen.datasets.nsd_rois import parse_roi
from reseen.errors import DataError, RecipeError, ResultsError
from reseen.pipeline.context import Run
from reseen.recipe import DecodeRecipe, Recipe, RoisRecipe
from reseen.results import ResultsFolder
from reseen.simulate import fullsize

BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
PEOPLE = "nsddata/ppdata/subj01"
INFO = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
DESIGN = "nsddata/experiments/nsd/nsd_expdesign.mat"


@pytest.fixture(scope="module")
def known() -> Known:
    return make_subject("subj01")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, known: Known) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make_tree(root, known, make_subject("subj02", n_sessions=2))
    return root


@pytest.fixture
def tree(tmp_path: Path, whole: Path) -> Path:
    """Give a copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "tree"))


def expected_betas(known: Known, n_sessions: int = 3) -> np.ndarray:
    """Give the betas of the 10 voxels labelled early (the first five) or ventral."""
    return np.concatenate(known.betas[:n_sessions])[:, :10]


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    with h5py.File(path) as file:
        betas = change(file["betas"][:])
    with h5py.File(path, "w") as file:
        file["betas"] = betas


def cut(path: Path, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


# What is read


def test_what_was_written_is_read(whole: Path, known: Known) -> None:
    trials, stimuli, _ = load(recipe_for(whole), "subj01")
    np.testing.assert_array_equal(trials.stimulus_id, known.stimulus_id)
    np.testing.assert_array_equal(trials.session, np.repeat([1, 2, 3], 6))
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)
    assert trials.betas.dtype == np.float32
    np.testing.assert_array_equal(trials.voxel_index, known.subject.voxel_index[:10])
    np.testing.assert_array_equal(trials.rois["early"], np.arange(10) < 5)
    np.testing.assert_allclose(trials.ncsnr, known.subject.ncsnr[:10])
    assert trials.volume_shape == SHAPE
    np.testing.assert_array_equal(stimuli.images([3, 11]), make_images()[[3, 11]])
    assert [stimuli.captions(i) for i in range(N_IMAGES)] == [tuple(texts) for texts in make_captions()]


def test_a_simulated_subject_is_read_by_the_same_reader(whole: Path, known: Known) -> None:
    trials, _, _ = load(recipe_for(whole, kind="simulated"), "subj01")
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)


def test_test_set_is_the_shared_images_seen_in_the_sessions_read(whole: Path) -> None:
    _, _, split = load(recipe_for(whole), "subj01")
    ((train, test),) = split.folds
    assert test.tolist() == sorted(SHARED)
    assert train.tolist() == [0, 1, 3, 4, 6]
    _, _, split = load(recipe_for(whole, sessions=1), "subj01")
    ((_, test),) = split.folds
    assert test.tolist() == [2, 5], "the third shared image comes in session 3 only"


def test_folds_test_every_stimulus_once(whole: Path) -> None:
    _, _, split = load(recipe_for(whole, test="folds", n_folds=4), "subj01")
    assert len(split.folds) == 4
    assert sorted(np.concatenate([test for _, test in split.folds])) == [0, 1, 2, 3, 4, 5, 6, 11]


def test_more_folds_than_stimuli_are_refused(whole: Path) -> None:
    with pytest.raises(RecipeError, match="n_folds is 9"):
        load(recipe_for(whole, test="folds", n_folds=9), "subj01")


def test_fewer_sessions_are_the_first_ones(whole: Path, known: Known) -> None:
    trials, _, _ = load(recipe_for(whole, sessions=2), "subj01")
    np.testing.assert_allclose(trials.betas, expected_betas(known, 2), atol=1e-5)


def test_another_subject_has_its_own_images_and_sessions(whole: Path) -> None:
    trials, _, _ = load(recipe_for(whole), "subj02")
    np.testing.assert_array_equal(trials.stimulus_id, make_subject("subj02", 2).stimulus_id)
    assert trials.session.max() == 2


def test_sessions_are_standardised_one_by_one(whole: Path) -> None:
    trials, _, _ = load(recipe_for(whole, zscore_sessions=True), "subj01")
    for session in (1, 2, 3):
        part = trials.betas[trials.session == session]
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(part.std(axis=0), 1, atol=1e-5)


def test_unscaled_betas_are_nsds_integers(whole: Path, known: Known) -> None:
    trials, _, _ = load(recipe_for(whole, scale_int16=False), "subj01")
    np.testing.assert_allclose(trials.betas, np.rint(expected_betas(known) * 300), atol=1e-3)


def test_rois_may_overlap_and_be_named_by_atlas_or_label(whole: Path) -> None:
    trials, _, _ = load(recipe_for(whole, rois=("nsdgeneral", "streams:5", "lateral")), "subj01")
    assert trials.betas.shape[1] == 15
    assert {name: int(mask.sum()) for name, mask in trials.rois.items()} == {
        "nsdgeneral": 15,
        "streams:5": 5,
        "lateral": 5,
    }


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": None},
        {"chunks": (6, 3, 4, 5)},
        {"chunks": (2, 2, 2, 2)},
        {"chunks": (6, 2, 2, 2)},
        {"chunks": (6, 1, 1, 1)},
        {"chunks": (6, 1, 1, 1), "compression": "gzip"},
        {"chunks": (6, 1, 1, 1), "dtype": ">i2"},
        {"chunks": (8, 1, 1, 1), "maxshape": (8, 3, 4, 5)},
    ],
    ids=str,
)
def test_betas_do_not_depend_on_how_the_hdf5_is_stored(
    tree: Path, known: Known, how: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "BLOCK_BYTES", 200)
    for path in (tree / BETAS).glob("*.hdf5"):
        with h5py.File(path) as file:
            betas = file["betas"][:]
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=betas, **how)
    trials, _, _ = load(recipe_for(tree), "subj01")
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)


def test_nifti_betas_are_read_where_there_is_no_hdf5(
    tmp_path: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volumes, "BLOCK_BYTES", 200)
    make_tree(tmp_path, known, nifti=True)
    for path in (tmp_path / BETAS).glob("*.hdf5"):
        path.unlink()
    trials, _, _ = load(recipe_for(tmp_path), "subj01")
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)
    assert all(check.ok for check in nsd.inventory(recipe_for(tmp_path), "subj01"))


def test_only_chunks_of_roi_voxels_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    """NSD keeps a voxel in a chunk: three voxels of 60 are three reads of one voxel."""
    read: list[list[int]] = []
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        data = np.random.default_rng(0).integers(-9, 9, (6, *SHAPE[::-1]), dtype=np.int16)
        file.create_dataset("betas", data=data, chunks=(6, 1, 1, 1))

        class Watched:
            def __init__(self) -> None:
                self.id, self.dtype, self.chunks = self, file["betas"].dtype, file["betas"].chunks

            def __len__(self) -> int:
                return 6

            def read_direct_chunk(self, place: list[int], out: np.ndarray) -> None:
                read.append(place)
                file["betas"].id.read_direct_chunk(place, out=out)

        at = np.unravel_index(np.array([1, 17, 59]), SHAPE)[::-1]
        found = volumes._read_chunks(Watched(), at)
    assert len(read) == 3
    assert read == sorted(read)
    np.testing.assert_array_equal(found.T, data[:, *at])


@pytest.mark.parametrize("stored", [True, False], ids=["others are", "none is"])
def test_a_voxel_that_is_not_stored_reads_as_zeros(tmp_path: Path, stored: bool) -> None:
    path = tmp_path / "betas_session01.hdf5"
    with h5py.File(path, "w") as file:
        betas = file.create_dataset("betas", (6, *SHAPE[::-1]), dtype="<i2", chunks=(6, 1, 1, 1))
        if stored:
            betas[:, 0, 0, 0] = np.arange(6)
    found = volumes.read_voxels(path, np.array([0, 7]))
    np.testing.assert_array_equal(found, np.stack([np.arange(6) * stored, np.zeros(6)], axis=1))


def test_a_damaged_voxel_is_named_as_damage(tmp_path: Path) -> None:
    """Parallel downloads that break off can leave a file of the right length with holes in its index."""
    path = tmp_path / "betas_session01.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=np.ones((6, *SHAPE[::-1]), dtype=np.int16), chunks=(6, 1, 1, 1))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"TREE\x01", b"\0\0\0\0\x01"))
    with pytest.raises(DataError, match=r"betas_session01\.hdf5 cannot be read.*Fetch or write it again"):
        volumes.read_voxels(path, np.array([0, 7]))


def test_memory_beside_the_betas_does_not_grow_with_the_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six sessions hold no more at a time than two: one session's int16 voxels and what 256 of them take."""
    files, index = NsdFiles(tmp_path, "subj01", "func1pt8mm", "b3"), np.arange(1000)
    files.betas_folder.mkdir(parents=True)
    monkeypatch.setattr(nsd_betas, "read_voxels", lambda *_: fullsize.planted(index, 1).T)
    beside = []
    for n_sessions in (2, 6):
        session = np.repeat(np.arange(1, n_sessions + 1), 750)
        for number in range(1, n_sessions + 1):
            files.session(number).touch()
        table = TrialTable(session, np.zeros_like(session), np.array([0]))
        tracemalloc.start()
        betas, _, _ = nsd_betas.read_betas(files, table, index, recipe_for(tmp_path, zscore_sessions=True))
        beside.append(tracemalloc.get_traced_memory()[1] - betas.nbytes)
        tracemalloc.stop()
    assert max(beside) < 12e6
    assert abs(beside[1] - beside[0]) < 1e6


# What is kept of large sessions


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep sessions of any size, and note every session that is read from its source."""
    names: list[str] = []
    read = nsd_betas.read_voxels

    def watched(path: Path, index: np.ndarray) -> np.ndarray:
        names.append(path.name)
        return read(path, index)

    monkeypatch.setattr(kept, "WORTH_KEEPING", 0)
    monkeypatch.setattr(nsd_betas, "read_voxels", watched)
    return names


def test_a_second_start_reads_no_session_again(whole: Path, tmp_path: Path, reads: list[str]) -> None:
    first = load(recipe_for(whole, zscore_sessions=True), "subj01", keep=tmp_path)[0]
    assert len(reads) == 3
    second = load(recipe_for(whole, zscore_sessions=True), "subj01", keep=tmp_path)[0]
    assert len(reads) == 3
    np.testing.assert_array_equal(first.betas, second.betas)


def test_a_tree_that_moved_is_not_read_again(tree: Path, tmp_path: Path, reads: list[str]) -> None:
    load(recipe_for(tree), "subj01", keep=tmp_path / "kept")
    tree.rename(tmp_path / "elsewhere")
    load(recipe_for(tmp_path / "elsewhere"), "subj01", keep=tmp_path / "kept")
    assert len(reads) == 3


def test_a_reading_that_was_killed_goes_on_with_the_session_it_was_at(
    whole: Path, tmp_path: Path, reads: list[str], known: Known
) -> None:
    code = f"""
import os, pathlib, signal
from reseen.datasets import kept, open_subject
from reseen.recipe import DataRecipe
kept.WORTH_KEEPING = 0
data = DataRecipe(path={str(whole)!r}, rois={("early", "ventral")}, zscore_sessions=False)
kill = lambda done, total: done == 2 and os.kill(os.getpid(), signal.SIGKILL)
_ = open_subject(data, "subj01", keep=pathlib.Path({str(tmp_path)!r}), progress=kill).trials
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (tmp_path / ".session03.safetensors.1.part").write_bytes(b"half")
    trials = load(recipe_for(whole), "subj01", keep=tmp_path)[0]
    assert reads == ["betas_session03.hdf5"]
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)


def test_a_session_that_changed_is_read_again_and_only_that(tree: Path, tmp_path: Path, reads: list[str]) -> None:
    load(recipe_for(tree), "subj01", keep=tmp_path / "kept")
    rewrite(tree / BETAS / "betas_session02.hdf5", lambda betas: betas + 300)
    reads.clear()
    trials = load(recipe_for(tree), "subj01", keep=tmp_path / "kept")[0]
    assert reads == ["betas_session02.hdf5"]
    np.testing.assert_array_equal(trials.betas, load(recipe_for(tree), "subj01")[0].betas)


@pytest.mark.parametrize(
    "change",
    [{"rois": ("early",)}, {"zscore_sessions": True}, {"scale_int16": False}],
    ids=lambda change: next(iter(change)),
)
def test_what_was_kept_for_other_settings_is_not_taken(
    whole: Path, tmp_path: Path, reads: list[str], change: dict[str, object]
) -> None:
    load(recipe_for(whole), "subj01", keep=tmp_path)
    trials = load(recipe_for(whole, **change), "subj01", keep=tmp_path)[0]
    assert len(reads) == 6
    np.testing.assert_array_equal(trials.betas, load(recipe_for(whole, **change), "subj01")[0].betas)


def test_a_damaged_kept_session_is_read_from_its_source(whole: Path, tmp_path: Path, reads: list[str]) -> None:
    load(recipe_for(whole), "subj01", keep=tmp_path)
    cut(tmp_path / "session02.safetensors")
    with pytest.warns(UserWarning, match="session 2 is read from the data set again"):
        load(recipe_for(whole), "subj01", keep=tmp_path)
    assert reads[3:] == ["betas_session02.hdf5"]


def test_small_sessions_are_not_kept(whole: Path, tmp_path: Path) -> None:
    load(recipe_for(whole), "subj01", keep=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_benchmarks_first_start_finds_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    reader = importlib.import_module("reader")
    found: list[bool] = []

    def read(_root: Path, keep: Path) -> np.ndarray:
        found.append(keep.exists())
        keep.mkdir(exist_ok=True)
        return np.zeros(1)

    monkeypatch.setattr(reader, "read", read)
    (tmp_path / "kept").mkdir()
    for name in ("reseen, first start", "reseen, second start"):
        reader.run_one(name, tmp_path, 1)
    assert found == [False, True]
    assert reader.hdf5(tmp_path, 3) != reader.hdf5(tmp_path, 5)


def test_float_betas_are_per_cent_already(tree: Path, known: Known) -> None:
    for path in (tree / BETAS).glob("*.hdf5"):
        rewrite(path, lambda betas: betas.astype(np.float32) / 300)
    trials, _, _ = load(recipe_for(tree), "subj01")
    np.testing.assert_allclose(trials.betas, expected_betas(known), atol=1e-5)


def test_ncsnr_is_unknown_where_nobody_wrote_it(tree: Path) -> None:
    (tree / BETAS / "ncsnr.nii.gz").unlink()
    assert load(recipe_for(tree), "subj01")[0].ncsnr is None


@pytest.mark.parametrize("name", ["ncsnr.nii.gz", "betas_session01.hdf5"])
def test_a_link_that_leads_nowhere_is_no_file_that_nobody_wrote(tree: Path, known: Known, name: str) -> None:
    """Another file of the session, or none, must not be read in its place."""
    make_tree(tree / "again", known, nifti=True)
    path = tree / "again" / BETAS / name
    path.unlink()
    path.symlink_to(tree / "nowhere")
    with pytest.raises(DataError, match=f"{re.escape(name)} is missing"):
        load(recipe_for(tree / "again"), "subj01")


def test_a_run_keeps_what_it_read_and_refuses_other_betas_in_the_same_results(
    tree: Path, tmp_path: Path, reads: list[str]
) -> None:
    data = recipe_for(tree, zscore_sessions=True)
    recipe = Recipe(data=data, decode=DecodeRecipe(rois=RoisRecipe(z=("early",), c=("ventral",))))
    with ResultsFolder.open(tmp_path / "out", recipe) as results:
        _ = Run(recipe, results).subject("subj01").trials
        _ = Run(recipe, results).subject("subj01").trials
        assert len(reads) == 3
        assert len(list((tmp_path / "out/kept/subj01").glob("*.safetensors"))) == 3
        rewrite(tree / BETAS / "betas_session02.hdf5", lambda betas: betas + 300)
        with pytest.raises(ResultsError, match="started with another data of subj01"):
            _ = Run(recipe, results).subject("subj01").trials


@pytest.mark.parametrize("standardised", [True, False])
def test_noise_ceilings_of_betas_that_are_not_standardised_are_said_to_be_approximate(
    tree: Path, tmp_path: Path, standardised: bool
) -> None:
    data = recipe_for(tree, zscore_sessions=standardised)
    recipe = Recipe(data=data, decode=DecodeRecipe(rois=RoisRecipe(z=("early",), c=("ventral",))))
    with ResultsFolder.open(tmp_path / "out", recipe) as results, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _ = Run(recipe, results).subject("subj01").trials
    assert any("ncsnr is defined on betas standardised" in str(warning.message) for warning in caught) != standardised


# Fewer test images


@pytest.mark.parametrize(("n_test", "expected"), [(1, {2}), (2, {2, 5}), (3, set(SHARED))])
def test_a_smaller_test_set_is_half_seen_and_half_novel(tree: Path, n_test: int, expected: set[int]) -> None:
    told = {"subsets": {"seen": [2, 11], "novel": [5]}, "categories": {"background": ["sea", "room"]}}
    (tree / "reseen_truth.json").write_text(json.dumps(told))
    _, stimuli, split = load(recipe_for(tree, n_test=n_test), "subj01")
    ((train, test),) = split.folds
    assert set(test) == expected
    assert train.tolist() == [0, 1, 3, 4, 6], "test images left out do not train"
    assert stimuli.subsets == {"seen": frozenset({2, 11}), "novel": frozenset({5})}
    assert stimuli.categories == {"background": {0: "sea", 1: "room"}}


def test_more_test_images_than_were_seen_are_refused(whole: Path) -> None:
    with pytest.raises(RecipeError, match="n_test asks for 4 test images; the subject saw 3"):
        load(recipe_for(whole, n_test=4), "subj01")


# Damaged trees


def test_no_data_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no data folder .*nowhere"):
        load(recipe_for(tmp_path / "nowhere"), "subj01")
    with pytest.raises(DataError, match="pass --data"):
        load(recipe_for(None), "subj01")


def test_unknown_subject_is_named_beside_those_that_exist(whole: Path) -> None:
    with pytest.raises(DataError, match=r"no subject 'subj07', found subj01, subj02"):
        load(recipe_for(whole), "subj07")


def test_truncated_hdf5_is_named(tree: Path) -> None:
    cut(tree / BETAS / "betas_session02.hdf5")
    with pytest.raises(DataError, match=r"betas_session02\.hdf5 cannot be read.*truncated") as caught:
        load(recipe_for(tree), "subj01")
    assert "Fetch or write it again" in str(caught.value)


def test_truncated_stimulus_file_is_named(tree: Path) -> None:
    cut(tree / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5", 0.9)
    with pytest.raises(DataError, match=r"nsd_stimuli\.hdf5 cannot be read"):
        load(recipe_for(tree), "subj01")


def test_missing_session_in_the_middle_is_named(tree: Path) -> None:
    (tree / BETAS / "betas_session02.hdf5").unlink()
    with pytest.raises(DataError, match=r"betas_session02\.hdf5 is missing.*found 1, 3.*data.sessions to 1"):
        load(recipe_for(tree), "subj01")


def test_more_sessions_than_exist_are_refused(whole: Path) -> None:
    with pytest.raises(DataError, match=r"asks for 4 sessions; .*responses\.tsv lists 3"):
        load(recipe_for(whole, sessions=4), "subj01")


def test_session_that_lost_a_trial_is_named(tree: Path) -> None:
    rewrite(tree / BETAS / "betas_session03.hdf5", lambda betas: betas[:-1])
    with pytest.raises(DataError, match=r"betas_session03\.hdf5 holds 5 trials; 6 are expected"):
        load(recipe_for(tree), "subj01")


def test_session_of_749_trials_is_refused_in_nsds_own_tree(tmp_path: Path) -> None:
    files = NsdFiles(tmp_path, "subj01", "func1pt8mm", "b3")
    files.responses.parent.mkdir(parents=True)
    with files.responses.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["SESSION", "RUN", "TRIAL", "73KID"])
        writer.writerows([1, 1 + trial // 63, 1 + trial % 63, trial + 1] for trial in range(749))
    with pytest.raises(DataError, match="749 trials of session 1; 750 are expected"):
        read_trial_table(files, 1, 73_000, own=True)


def test_betas_that_are_no_numbers_are_counted(tree: Path, known: Known) -> None:
    def spoil(betas: np.ndarray) -> np.ndarray:
        betas = betas.astype(np.float32)
        x, y, z = np.unravel_index(known.subject.voxel_index[3], SHAPE)
        betas[2, z, y, x] = np.nan
        return betas

    rewrite(tree / BETAS / "betas_session02.hdf5", spoil)
    with pytest.raises(DataError, match=r"betas_session02\.hdf5 holds betas.*NaN.* in 1 of the 10 ROI voxels"):
        load(recipe_for(tree), "subj01")


def test_unknown_roi_is_refused(whole: Path) -> None:
    with pytest.raises(RecipeError, match="no ROI 'erly'"):
        load(recipe_for(whole, rois=("erly",)), "subj01")


def test_roi_without_voxels_and_missing_atlas_are_named(whole: Path) -> None:
    with pytest.raises(DataError, match=r"streams\.nii\.gz has no voxel labelled parietal"):
        load(recipe_for(whole, rois=("parietal",)), "subj01")
    with pytest.raises(DataError, match=r"floc-faces\.nii\.gz is missing"):
        load(recipe_for(whole, rois=("FFA-1",)), "subj01")


def test_atlas_of_another_space_is_refused(tree: Path) -> None:
    path = tree / PEOPLE / "func1pt8mm/roi/streams.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((7, 4, 3), dtype=np.int16), np.eye(4)), path)
    with pytest.raises(DataError, match=r"streams\.nii\.gz has shape \(7, 4, 3\).*\(5, 4, 3\)"):
        load(recipe_for(tree), "subj01")


def test_truncated_atlas_is_named(tree: Path) -> None:
    cut(tree / PEOPLE / "func1pt8mm/roi/streams.nii.gz", 0.8)
    with pytest.raises(DataError, match=r"streams\.nii\.gz cannot be read"):
        load(recipe_for(tree), "subj01")


def test_truncated_nifti_betas_are_named(tmp_path: Path, known: Known) -> None:
    make_tree(tmp_path, known, nifti=True)
    for path in (tmp_path / BETAS).glob("*.hdf5"):
        path.unlink()
    cut(tmp_path / BETAS / "betas_session02.nii.gz", 0.7)
    with pytest.raises(DataError, match=r"betas_session02\.nii\.gz cannot be read"):
        load(recipe_for(tmp_path), "subj01")
    bad = [check for check in nsd.inventory(recipe_for(tmp_path), "subj01") if not check.ok]
    assert [check.path.name for check in bad] == ["betas_session02.nii.gz"]


def test_responses_of_another_subject_are_refused(tree: Path) -> None:
    shutil.copy(tree / "nsddata/ppdata/subj02/behav/responses.tsv", tree / PEOPLE / "behav/responses.tsv")
    with pytest.raises(DataError, match=r"trial 2 \(session 1\) of subj01 showed 73KID 8; .*says 1"):
        load(recipe_for(tree, sessions=2), "subj01")


def test_design_without_the_tables_is_refused(tree: Path) -> None:
    savemat(tree / DESIGN, {"sharedix": np.array([[1]])})
    with pytest.raises(DataError, match=r"nsd_expdesign\.mat holds no masterordering, subjectim"):
        load(recipe_for(tree), "subj01")


@pytest.mark.parametrize("name", ["streams", "ncsnr", "betas"])
def test_a_flipped_bit_in_a_gzipped_volume_is_found(tmp_path: Path, known: Known, name: str) -> None:
    """Bytes of the compressed content are changed one at a time; gzip's checksum finds each of them."""
    make_tree(tmp_path, known, nifti=True)
    for path in (tmp_path / BETAS).glob("*.hdf5"):
        path.unlink()
    folder = tmp_path / (PEOPLE + "/func1pt8mm/roi" if name == "streams" else BETAS)
    path = folder / (name + ("_session02.nii.gz" if name == "betas" else ".nii.gz"))
    content = path.read_bytes()
    for place in np.linspace(12, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(DataError, match=path.name):
            load(recipe_for(tmp_path), "subj01")
    path.write_bytes(content)
    load(recipe_for(tmp_path), "subj01")


@pytest.mark.parametrize("value", [np.nan, -0.1, np.inf])
def test_ncsnr_that_cannot_be_is_refused(tree: Path, known: Known, value: float) -> None:
    path = tree / BETAS / "ncsnr.nii.gz"
    image = nibabel.load(path)
    ncsnr = np.asarray(image.dataobj).copy()
    ncsnr[np.unravel_index(known.subject.voxel_index[3], SHAPE)] = value
    nibabel.save(nibabel.Nifti1Image(ncsnr, image.affine), path)
    with pytest.raises(DataError, match=r"ncsnr\.nii\.gz has a negative, .* in 1 of 10 ROI voxels"):
        load(recipe_for(tree), "subj01")


def test_complex_betas_are_refused(tree: Path) -> None:
    rewrite(tree / BETAS / "betas_session02.hdf5", lambda betas: betas.astype(np.complex64))
    with pytest.raises(DataError, match=r"betas_session02\.hdf5 contains betas of type complex64"):
        load(recipe_for(tree), "subj01")


def zero_part(betas: np.ndarray, share: float, axis: int) -> np.ndarray:
    """Set the first part of the trials (axis 0) or of the columns of the volume (axis 3) to zero."""
    betas = np.moveaxis(betas.copy(), axis, 0)
    betas[: round(share * len(betas))] = 0
    return np.moveaxis(betas, 0, axis)


@pytest.mark.parametrize(("axis", "words"), [(0, "only zeros in 3 of 6 trials"), (3, "in all trials of . of 10 ROI")])
def test_holes_in_a_session_stop_the_run(tree: Path, axis: int, words: str) -> None:
    rewrite(tree / BETAS / "betas_session02.hdf5", lambda betas: zero_part(betas, 0.45, axis))
    with pytest.raises(DataError, match=rf"betas_session02\.hdf5.*{words}.*partial download"):
        load(recipe_for(tree), "subj01")


def test_a_voxel_that_a_session_did_not_cover_is_left_out(tree: Path, known: Known) -> None:
    def uncover(betas: np.ndarray) -> np.ndarray:
        x, y, z = np.unravel_index(known.subject.voxel_index[3], SHAPE)
        betas[:, z, y, x] = 0
        return betas

    rewrite(tree / BETAS / "betas_session02.hdf5", uncover)
    with pytest.warns(UserWarning, match="1 of the 10 ROI voxels in func1pt8mm .* one constant number"):
        trials = load(recipe_for(tree), "subj01")[0]
    np.testing.assert_allclose(trials.betas, np.delete(expected_betas(known), 3, axis=1), atol=1e-5)
    np.testing.assert_allclose(trials.ncsnr, np.delete(known.subject.ncsnr[:10], 3))
    assert trials.rois["early"].sum() == 4


def test_images_that_are_all_black_are_a_partial_download(tree: Path) -> None:
    path = tree / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    with h5py.File(path, "r+") as file:
        file["imgBrick"][7:] = 0
    stimuli = load(recipe_for(tree), "subj01")[1]
    stimuli.images([3, 7])
    with pytest.raises(DataError, match=r"nsd_stimuli\.hdf5 holds all-black images \(number 7, 11, from 0\)"):
        stimuli.images([11])
    bad = {check.path.name: check.note for check in nsd.inventory(recipe_for(tree), "subj01") if not check.ok}
    assert "all-black" in bad["nsd_stimuli.hdf5"]


def test_a_last_session_that_is_listed_and_missing_is_named(tree: Path) -> None:
    (tree / BETAS / "betas_session03.hdf5").unlink()
    with pytest.raises(DataError, match=r"betas_session03\.hdf5 is missing.*data.sessions to 2"):
        load(recipe_for(tree), "subj01")
    assert load(recipe_for(tree, sessions=2), "subj01")[0].session.max() == 2


def test_a_folder_of_betas_that_cannot_be_listed_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"no permission to read .*betas_fithrf_GLMdenoise_RR"):
        load(recipe_for(tree), "subj01")


@pytest.mark.parametrize("change", ["off by one", "not a number", "out of range", "zero", "half", "twice", "complex"])
def test_shared_images_that_do_not_fit_the_trials_are_refused(tree: Path, change: str) -> None:
    content = {name: value for name, value in loadmat(tree / DESIGN).items() if name[0] != "_"}
    shared = content["sharedix"].astype(complex if change == "complex" else float)
    new = {
        "off by one": shared - 1,
        "not a number": np.where(shared == shared.max(), np.nan, shared),
        "out of range": np.where(shared == shared.max(), N_IMAGES + 1, shared),
        "zero": shared * 0,
        "half": shared + 0.5,
        "twice": np.full_like(shared, shared[0, 0]),
        "complex": shared + 1j,
    }[change]
    savemat(tree / DESIGN, {**content, "sharedix": new})
    with pytest.raises(DataError, match=r"nsd_expdesign\.mat: sharedix"):
        load(recipe_for(tree), "subj01")


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_truncated_design_is_named(tree: Path, share: float) -> None:
    cut(tree / DESIGN, share)
    with pytest.raises(DataError, match=r"nsd_expdesign\.mat"):
        load(recipe_for(tree), "subj01")


def test_images_of_another_data_set_are_refused(tree: Path) -> None:
    path = tree / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    with h5py.File(path, "w") as file:
        file["imgBrick"] = make_images()[:5]
    with pytest.raises(DataError, match=r"names images .* to 12 .*holds 5"):
        load(recipe_for(tree), "subj01")


def test_missing_captions_say_how_to_fetch_them_once_they_are_needed(tree: Path) -> None:
    path = tree / "nsddata_stimuli/stimuli/nsd/annotations/captions_val2017.json"
    path.unlink()
    _, stimuli, _ = load(recipe_for(tree), "subj01")
    assert stimuli.captions(0) == ("image 0 by person 0",)
    with pytest.raises(
        DataError, match=r"captions_val2017\.json is missing.*https://s3\.amazonaws\.com/images\.cocodataset\.org"
    ):
        stimuli.captions(4)


def test_table_of_other_images_is_refused(tree: Path) -> None:
    path = tree / INFO
    path.write_text("\n".join(path.read_text().splitlines()[:-2]))
    with pytest.raises(DataError, match=r"nsd_stim_info_merged\.csv describes 12 images"):
        load(recipe_for(tree), "subj01")


def change_shared(tree: Path, change: Callable[[int, str], str]) -> None:
    """Change `shared1000` of each image of the table, given its nsdId."""
    with (tree / INFO).open() as file:
        head, *rows = csv.reader(file)
    place = head.index("shared1000")
    for number, row in enumerate(rows):
        row[place] = change(number, row[place])
    with (tree / INFO).open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, _: str(i in {2, 5, 12}), r"3 images as shared1000.* has 3: they differ in nsdId 11, 12 \(counted"),
        (lambda i, _: str(i in {2, 5}), r"2 images as shared1000.* has 3: they differ in nsdId 11 \(counted"),
        (lambda i, _: str(i + 1 in SHARED), r"they differ in nsdId 1, 2, 4, 5, 10 and 1 more \(counted from 0\)"),
        (lambda *_: "yes", r"shared1000 holds 'yes'; True or False is expected"),
        (lambda *_: "", r"shared1000 holds ''; True or False is expected"),
    ],
)
def test_shared_images_of_the_table_must_be_those_of_the_design(tree: Path, change, words: str) -> None:
    change_shared(tree, change)
    with pytest.raises(DataError, match=words):
        load(recipe_for(tree), "subj01")
    bad = {check.path.name: check.note for check in nsd.inventory(recipe_for(tree), "subj01") if not check.ok}
    assert set(bad) == {"nsd_stim_info_merged.csv"}
    assert re.search(words, bad["nsd_stim_info_merged.csv"])


def test_shared_images_are_compared_only_where_the_table_names_them(tree: Path) -> None:
    change_shared(tree, lambda _, word: "1" if word == "True" else "0")
    load(recipe_for(tree), "subj01")
    path = tree / INFO
    path.write_text(path.read_text().replace("shared1000", "shared", 1))
    assert load(recipe_for(tree), "subj01")[1].captions(0) == ("image 0 by person 0",)
    path.unlink()
    load(recipe_for(tree), "subj01")


def test_the_table_of_images_is_read_anew_when_it_changed(tree: Path) -> None:
    load(recipe_for(tree), "subj01")
    change_shared(tree, lambda i, _: str(i in {2, 5, 12}))
    with pytest.raises(DataError, match="they differ"):
        load(recipe_for(tree), "subj01")


# What is there


def test_inventory_of_a_whole_tree_is_all_right_and_says_sizes(whole: Path) -> None:
    checks = nsd.inventory(recipe_for(whole), "subj01")
    assert all(check.ok for check in checks), [check for check in checks if not check.ok]
    assert all(check.size == check.path.stat().st_size for check in checks)
    assert sum("betas_session" in check.path.name for check in checks) == 3


def test_more_sessions_than_nsd_has_are_refused_with_the_setting_that_goes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"37 sessions; NSD has 32 of subj03.* --set data\.sessions=32$"):
        nsd.inventory(recipe_for(tmp_path, sessions=37), "subj03")


def test_inventory_of_nothing_lists_what_to_fetch(tmp_path: Path) -> None:
    checks = nsd.inventory(recipe_for(tmp_path, sessions=2, rois=("early", "V1")), "subj01")
    assert not any(check.ok for check in checks)
    by_name = {check.path.name: check for check in checks}
    assert {"streams.nii.gz", "prf-visualrois.nii.gz", "betas_session02.hdf5", "responses.tsv"} <= set(by_name)
    assert "betas_session03.hdf5" not in by_name
    assert by_name["betas_session01.hdf5"].expected == 750 * 81 * 104 * 83 * 2
    note = by_name["responses.tsv"].note
    assert "aws s3 cp --no-sign-request s3://natural-scenes-dataset/nsddata/ppdata/subj01/behav/responses.tsv" in note
    assert "accept" in nsd.TERMS


def test_inventory_says_what_is_damaged(tree: Path) -> None:
    cut(tree / BETAS / "betas_session02.hdf5")
    (tree / "reseen_truth.json").write_text("{}")
    (tree / PEOPLE / "func1pt8mm/roi/streams.nii.gz").unlink()
    bad = {check.path.name: check.note for check in nsd.inventory(recipe_for(tree), "subj01") if not check.ok}
    assert set(bad) == {"betas_session02.hdf5", "streams.nii.gz"}
    assert "truncated" in bad["betas_session02.hdf5"]
    assert "reseen simulate" in bad["streams.nii.gz"]


def test_shortened_gzip_is_found_without_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "betas_session01.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 6), dtype=np.int16), np.eye(4)), path)
    volumes.check_gzip(path)
    with gzip.open(path) as file:
        content = file.read()
    path.write_bytes(gzip.compress(content[:-100]))
    with pytest.raises(DataError, match="ends early"):
        volumes.check_gzip(path)


# Facts


def test_facts_of_nsd_are_the_published_ones() -> None:
    assert [SUBJECTS[f"subj{i:02d}"].n_sessions for i in range(1, 9)] == [40, 40, 32, 30, 40, 32, 40, 30]
    assert SUBJECTS["subj01"].volume_shape["func1pt8mm"] == (81, 104, 83)
    assert SUBJECTS["subj07"].volume_shape["func1mm"] == (139, 170, 145)
    assert ROI_LABELS["streams"]["ventral"] == 5


def test_regions_lead_to_their_atlas_and_labels() -> None:
    for name, expected in {
        "V1": ("prf-visualrois", (1, 2)),
        "V4": ("prf-visualrois", (7,)),
        "FFA-2": ("floc-faces", (3,)),
        "FFA": ("floc-faces", (2, 3)),
        "FBA": ("floc-bodies", (2, 3)),
        "VWFA": ("floc-words", (2, 3)),
        "mTL-faces": ("floc-faces", (4,)),
        "mTL-bodies": ("floc-bodies", (4,)),
        "mTL-words": ("floc-words", (5,)),
        "OWFA": ("floc-words", (1,)),
        "HCP_MMP1:18": ("HCP_MMP1", (18,)),
        "streams:5,6": ("streams", (5, 6)),
        "floc-faces:OFA, FFA": ("floc-faces", (1, 2, 3)),
        "Kastner2015:V1v": ("Kastner2015", ("V1v",)),
        "HCP_MMP1:'44',FFC": ("HCP_MMP1", ("44", "FFC")),
    }.items():
        found = parse_roi(name)
        assert found is not None
        assert (found.atlas, found.labels) == expected
    for name in ("nothing", "streams:nothing", ":5", "streams:", "streams:5,"):
        assert parse_roi(name) is None


def test_design_is_a_matlab_file_of_version_5(whole: Path) -> None:
    assert set(loadmat(whole / DESIGN)) >= {"basiccnt", "masterordering", "sharedix", "stimpattern", "subjectim"}


def test_captions_that_changed_are_read_anew(tree: Path) -> None:
    path = tree / "nsddata_stimuli/stimuli/nsd/annotations/captions_train2017.json"
    assert load(recipe_for(tree), "subj01")[1].captions(0) == ("image 0 by person 0",)
    path.write_text(path.read_text().replace("image 0 by person 0", "another text"))
    assert load(recipe_for(tree), "subj01")[1].captions(0) == ("another text",)
