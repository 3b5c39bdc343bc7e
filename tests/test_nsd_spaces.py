"""Betas of NSD in its other spaces: the subject's own surface, and the volume of 1 mm."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from loading import load
from nsd_tree import (
    LABELS,
    N_OWN,
    OWN_VERTICES,
    Known,
    make_native,
    make_subject,
    make_tree,
    recipe_for,
    write_mgh,
    write_native,
)
from pydantic import ValidationError

from reseen.datasets import extras, inventory, kept, nsd_betas, outline, volumes
from reseen.datasets.fsaverage import N_COARSE, N_FINE
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.vertices import way_to_fsaverage
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.recipe import DataRecipe, Recipe

READ = np.isin(LABELS, [1, 5])
N_ALL = sum(N_OWN.values())
PLACES = np.concatenate([OWN_VERTICES["lh"], N_OWN["lh"] + OWN_VERTICES["rh"]])


@pytest.fixture
def known() -> Known:
    return make_subject("subj01")


@pytest.fixture
def tree(tmp_path: Path, known: Known) -> Path:
    make_tree(tmp_path, known)
    make_native(tmp_path, known)
    return tmp_path


@pytest.fixture
def files(tree: Path) -> NsdFiles:
    return NsdFiles(tree, "subj01", "nativesurface", "betas_fithrf_GLMdenoise_RR")


def data(root: Path, **settings: object) -> DataRecipe:
    return recipe_for(root, space="nativesurface", **settings)


# The subject's own surface


def test_vertices_of_both_hemispheres_are_read(tree: Path, known: Known) -> None:
    trials, _, split = load(data(tree), "subj01")
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, READ], atol=1e-5)  # int16 / 300
    np.testing.assert_array_equal(trials.stimulus_id, known.stimulus_id)
    assert trials.volume_shape == (N_ALL, 1, 1)
    np.testing.assert_array_equal(trials.voxel_index, PLACES[READ])
    np.testing.assert_array_equal(trials.rois["early"], LABELS[READ] == 1)
    np.testing.assert_allclose(trials.ncsnr, known.subject.ncsnr[READ])
    volume = load(recipe_for(tree), "subj01")
    assert [ids.tolist() for ids in split.folds[0]] == [ids.tolist() for ids in volume[2].folds[0]]


def test_sessions_are_standardised_and_may_be_fewer(tree: Path, known: Known) -> None:
    trials, _, _ = load(data(tree, zscore_sessions=True, sessions=2), "subj01")
    assert len(trials) == 12
    for session, raw in enumerate(known.betas[:2], start=1):
        part = np.rint(raw[:, READ] * 300)
        expected = (part - part.mean(axis=0)) / part.std(axis=0)
        np.testing.assert_allclose(trials.betas[trials.session == session], expected, atol=1e-4)


def test_drawn_rois_are_on_the_same_surface_without_a_transform(tree: Path, files: NsdFiles, known: Known) -> None:
    for side, n_own in N_OWN.items():
        own = np.zeros((n_own, 1), dtype=np.int32)
        own[OWN_VERTICES[side][:3], 0] = [1, 2, 7]
        write_mgh(files.vertex_labels(side, "prf-visualrois"), own)
    assert files.vertex_labels("lh", "nsdgeneral").parent.parts[-2:] == ("subj01", "label")
    trials, _, _ = load(data(tree, rois=("V1", "V4")), "subj01")
    columns = [0, 1, 2, 8, 9, 10]
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, columns], atol=1e-5)
    assert trials.rois["V4"].tolist() == [False, False, True] * 2


def test_rois_in_one_hemisphere_only_are_read(tree: Path, files: NsdFiles, known: Known) -> None:
    write_mgh(files.vertex_labels("lh", "streams"), np.zeros((N_OWN["lh"], 1), dtype=np.int32))
    trials, _, _ = load(data(tree), "subj01")
    columns = np.flatnonzero(READ & (np.arange(20) >= 8))
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, columns], atol=1e-5)


def test_a_vertex_is_one_read_of_one_chunk(tree: Path, files: NsdFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a volume, vertices that are not in an ROI are not read."""
    read = []
    chunks = volumes._read_chunks

    def watched(betas, places):
        read.append(len(places[0]))
        return chunks(betas, places)

    monkeypatch.setattr(volumes, "_read_chunks", watched)
    load(data(tree), "subj01")
    n_left = int(READ[:8].sum())
    assert read == [n_left, READ.sum() - n_left] * 3
    assert volumes.is_stored_by_voxel(files.vertex_session("lh", 1))


@pytest.mark.parametrize("how", [{"chunks": None}, {"chunks": (6, 4)}, {"chunks": (2, 3)}, {"compression": "gzip"}])
def test_betas_do_not_depend_on_how_the_hdf5_is_stored(tree: Path, files: NsdFiles, known: Known, how) -> None:
    for path in files.betas_folder.glob("*.hdf5"):
        with h5py.File(path) as file:
            betas = file["betas"][:]
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=betas, **how)
    trials, _, _ = load(data(tree), "subj01")
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, READ], atol=1e-5)


def test_a_vertex_that_a_session_did_not_cover_is_left_out(tree: Path, files: NsdFiles, known: Known) -> None:
    path = files.vertex_session("rh", 2)
    with h5py.File(path) as file:
        betas = file["betas"][:]
    column = int(np.flatnonzero(READ)[-1])
    betas[:, OWN_VERTICES["rh"][column - 8]] = 0  # NaN becomes 0 in int16
    write_native(path, betas)
    with pytest.warns(UserWarning, match="1 of the 10 ROI vertices in nativesurface"):
        trials, _, _ = load(data(tree), "subj01")
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, np.flatnonzero(READ)[:-1]], atol=1e-5)


def test_large_sessions_are_kept(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "WORTH_KEEPING", 0)
    first = load(data(tree), "subj01", keep=tmp_path / "kept")[0]
    monkeypatch.setattr(nsd_betas, "read_voxels", lambda *_: pytest.fail("read again"))
    second = load(data(tree), "subj01", keep=tmp_path / "kept")[0]
    np.testing.assert_array_equal(first.betas, second.betas)


def test_a_missing_hemisphere_is_named(tree: Path, files: NsdFiles) -> None:
    files.vertex_session("rh", 2).unlink()
    with pytest.raises(DataError, match=r"rh\.betas_session02\.hdf5 is missing: sessions 1 to 3 are needed"):
        load(data(tree), "subj01")


@pytest.mark.parametrize("what", ["betas", "labels", "ncsnr"])
def test_files_of_another_surface_are_refused(tree: Path, files: NsdFiles, what: str) -> None:
    n_other = N_OWN["rh"] + 1
    if what == "betas":
        write_native(files.vertex_session("rh", 2), np.ones((6, n_other), dtype="<i2"))
    elif what == "labels":
        write_mgh(files.vertex_labels("rh", "streams"), np.ones((n_other, 1), dtype=np.int32))
    else:
        write_mgh(files.vertex_ncsnr("rh"), np.ones((n_other, 1), dtype=np.float32))
    with pytest.raises(DataError, match=rf"has {n_other} vertices"):
        load(data(tree), "subj01")


def test_hemispheres_that_were_exchanged_are_refused(tree: Path, files: NsdFiles) -> None:
    left, right = files.vertex_session("lh", 3), files.vertex_session("rh", 3)
    left.rename(tree / "moved")
    right.rename(left)
    (tree / "moved").rename(right)
    with pytest.raises(DataError, match=r"lh\.betas_session03\.hdf5 has 17 vertices; subj01 has 11"):
        load(data(tree), "subj01")


def test_a_mask_in_a_volume_is_refused(tree: Path) -> None:
    with pytest.raises(RecipeError, match="is a volume, and the betas in nativesurface are on vertices"):
        load(data(tree, rois=("mine.nii.gz",)), "subj01")


def test_an_unknown_roi_lists_the_atlases_of_the_surface(tree: Path) -> None:
    with pytest.raises(RecipeError, match=r"Did you mean early\?.*atlases in the tree: streams\."):
        load(data(tree, rois=("erly",)), "subj01")


def test_check_lists_both_hemispheres_and_their_size(tmp_path: Path, tree: Path) -> None:
    assert all(check.ok for check in inventory(data(tree), "subj01"))
    assert outline(data(tree), "subj01").n_voxels == {"early": 5, "ventral": 5}
    empty = tmp_path / "empty"
    checks = {
        str(check.path.relative_to(empty)): check
        for check in inventory(data(empty, rois=("early", "V1"), sessions=1), "subj01")
    }
    betas = "nsddata_betas/ppdata/subj01/nativesurface/betas_fithrf_GLMdenoise_RR"
    assert checks[f"{betas}/lh.betas_session01.hdf5"].expected == 227_021 * 750 * 2
    assert checks[f"{betas}/rh.betas_session01.hdf5"].expected == 226_601 * 750 * 2
    assert "nsddata/freesurfer/subj01/label/lh.streams.mgz" in checks
    assert "nsddata/freesurfer/subj01/label/rh.prf-visualrois.mgz" in checks
    assert not [name for name in checks if "transforms" in name]
    assert [check.path.name for check in extras(data(empty), "subj01")["maps on the cortex"]] == [
        "lh.white-to-fsaverage.mgz",
        "rh.white-to-fsaverage.mgz",
    ]


def test_results_get_to_fsaverage_by_the_nearest_vertex(tree: Path, files: NsdFiles) -> None:
    rng = np.random.default_rng(0)
    nearest = {side: rng.integers(0, n, N_FINE) for side, n in N_OWN.items()}
    for side, own in nearest.items():
        write_mgh(files.to_fsaverage(side), (own + 1)[:, None].astype(np.float32))  # counted from 1
    values = np.arange(1, 21) / 20
    way = way_to_fsaverage(data(tree), "subj01", (N_ALL, 1, 1))
    found = way.values(values, PLACES)
    for side, part in (("lh", slice(0, 8)), ("rh", slice(8, 20))):
        own = np.full(N_OWN[side], np.nan, dtype=np.float32)
        own[OWN_VERTICES[side]] = values[part]
        np.testing.assert_array_equal(found[side], own[nearest[side]])
    coarse = way.coarse().labels(np.arange(20), PLACES, missing=-7)
    assert coarse["rh"].shape == (N_COARSE,)
    assert set(coarse["lh"].tolist()) == {-7, *range(8)}
    with pytest.raises(ShapeError, match="the subject's surface has 28 in both"):
        way.values(np.ones(1), np.array([N_ALL]))
    with pytest.raises(DataError, match="has 28 vertices; the results have 27"):
        way_to_fsaverage(data(tree), "subj01", (27, 1, 1))


def test_what_a_surface_cannot_give_is_refused() -> None:
    with pytest.raises(ValidationError, match="betas on nativesurface have no volume"):
        Recipe.model_validate({"data": {"space": "nativesurface"}, "encode": {"export": ["nifti"]}})
    with pytest.raises(ValidationError, match="written in func1pt8mm, not on nativesurface"):
        Recipe.model_validate({"data": {"space": "nativesurface", "kind": "simulated"}})


# The volume of 1 mm


@pytest.mark.parametrize("nifti", [False, True])
def test_betas_of_1_mm_are_read_in_their_own_folders(tmp_path: Path, known: Known, nifti: bool) -> None:
    """The tree is written in func1pt8mm, and its folders are renamed: NSD has the same files in both."""
    fine = replace(known, subject=replace(known.subject, affine=np.diag([1.0, 1.0, 1.0, 1.0])))
    make_tree(tmp_path, fine, nifti=nifti)
    for folder in ("nsddata/ppdata/subj01", "nsddata_betas/ppdata/subj01"):
        (tmp_path / folder / "func1pt8mm").rename(tmp_path / folder / "func1mm")
    if nifti:
        for path in (tmp_path / "nsddata_betas").rglob("*.hdf5"):
            path.unlink()
    recipe = recipe_for(tmp_path, space="func1mm")
    trials, _, _ = load(recipe, "subj01")
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, :10], atol=1e-5)
    np.testing.assert_allclose(trials.ncsnr, known.subject.ncsnr[:10])
    np.testing.assert_array_equal(trials.voxel_index, known.subject.voxel_index[:10])
    assert all(check.ok for check in inventory(recipe, "subj01"))
    with pytest.raises(DataError, match="func1pt8mm"):
        load(recipe_for(tmp_path), "subj01")


def test_a_roi_of_1_8_mm_is_refused_on_betas_of_1_mm(tmp_path: Path, known: Known) -> None:
    fine = replace(known, subject=replace(known.subject, affine=np.diag([1.0, 1.0, 1.0, 1.0])))
    make_tree(tmp_path, fine)
    path = tmp_path / "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz"
    coarse = nibabel.Nifti1Image(np.ones((3, 2, 2), dtype=np.int16), np.diag([1.8, 1.8, 1.8, 1.0]))
    nibabel.save(coarse, path)
    with pytest.raises(DataError, match="the voxels of one are not voxels of the other"):
        load(recipe_for(tmp_path), "subj01")


def test_check_knows_the_files_of_1_mm(tmp_path: Path) -> None:
    checks = {
        check.path.name: check for check in inventory(recipe_for(tmp_path, space="func1mm", sessions=1), "subj07")
    }
    assert checks["betas_session01.hdf5"].expected == 750 * 139 * 170 * 145 * 2
    assert "/subj07/func1mm/roi/streams.nii.gz" in str(checks["streams.nii.gz"].path)
    names = [check.path.name for check in extras(recipe_for(tmp_path, space="func1mm"), "subj07")["maps on the cortex"]]
    assert names[0] == "lh.func1pt0-to-layerB1.mgz"
    assert re.search(r"func1mm/betas_fithrf_GLMdenoise_RR/betas_session01\.hdf5", checks["betas_session01.hdf5"].note)
