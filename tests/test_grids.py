"""Voxel grids: ROIs are joined to betas by millimetres, or refused."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from loading import load
from nsd_tree import SHAPE, Known, make_subject, make_tree, recipe_for

from reseen.datasets import grids
from reseen.datasets.nsd_facts import SUBJECTS, NsdFiles
from reseen.datasets.surface import read_affine
from reseen.errors import DataError

VOLUMES = "nsddata/ppdata/subj01/func1pt8mm"
STREAMS = f"{VOLUMES}/roi/streams.nii.gz"
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"


@pytest.fixture(scope="module")
def known() -> Known:
    return make_subject("subj01")


@pytest.fixture(scope="module", params=["hdf5", "nifti"])
def whole(tmp_path_factory: pytest.TempPathFactory, known: Known, request: pytest.FixtureRequest) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make_tree(root, known, nifti=request.param == "nifti")
    if request.param == "nifti":
        for path in (root / BETAS).glob("*.hdf5"):
            path.unlink()
    return root


@pytest.fixture
def tree(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tree"))


def flip(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 0] * (len(volume) - 1)
    affine[:3, 0] *= -1
    return volume[::-1].copy(), affine


def turn(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return volume.transpose(2, 0, 1).copy(), affine[:, [2, 0, 1, 3]]


def pad(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    affine = affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [2, 0, 1]
    return np.pad(volume, [(2, 0), (0, 3), (1, 1)], constant_values=-1), affine


def roll(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut off the first plane, add one at the end: the same shape, another origin."""
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 1]
    return np.concatenate([volume[:, 1:], volume[:, :1]], axis=1), affine


def rewrite(path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(*change(np.asarray(image.dataobj).copy(), image.affine)), path)


@pytest.mark.parametrize("change", [flip, turn, pad], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["streams", "own"])
def test_an_atlas_stored_in_another_order_gives_the_same_voxels(tree: Path, change: Callable, name: str) -> None:
    rois = ("early", "ventral") if name == "streams" else ("own:1", "own:5")
    path = tree / VOLUMES / f"roi/{name}.nii.gz"
    if name == "own":
        shutil.copy(tree / STREAMS, path)
    before = load(recipe_for(tree, rois=rois), "subj01")[0]
    affine = read_affine(recipe_for(tree, rois=rois), "subj01", SHAPE)
    rewrite(path, change)
    after = load(recipe_for(tree, rois=rois), "subj01")[0]
    np.testing.assert_array_equal(after.voxel_index, before.voxel_index)
    np.testing.assert_array_equal(after.betas, before.betas)
    for roi in rois:
        np.testing.assert_array_equal(after.rois[roi], before.rois[roi])
    np.testing.assert_allclose(read_affine(recipe_for(tree, rois=rois), "subj01", SHAPE), affine)


def test_ncsnr_stored_in_another_order_gives_the_same_values(tree: Path, known: Known) -> None:
    rewrite(tree / BETAS / "ncsnr.nii.gz", flip)
    np.testing.assert_allclose(load(recipe_for(tree), "subj01")[0].ncsnr, known.subject.ncsnr[:10])


@pytest.mark.parametrize("scale", [1.2, 0.5], ids=["other voxel size", "half voxel size"])
def test_an_atlas_of_another_grid_is_refused(tree: Path, scale: float) -> None:
    rewrite(tree / STREAMS, lambda volume, affine: (volume, affine @ np.diag([scale, scale, scale, 1])))
    with pytest.raises(DataError, match=r"streams\.nii\.gz has shape .* voxels of one are not voxels of the other"):
        load(recipe_for(tree), "subj01")


def test_a_shift_of_part_of_a_voxel_is_refused(tree: Path) -> None:
    def shift(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return volume, affine + np.eye(4)[:, :1] @ [[0, 0, 0, 0.7]]

    rewrite(tree / STREAMS, shift)
    with pytest.raises(DataError, match="voxels of one are not voxels of the other"):
        load(recipe_for(tree), "subj01")


def test_labels_outside_of_the_betas_are_refused(tree: Path) -> None:
    rewrite(tree / STREAMS, lambda volume, affine: (volume, roll(volume, affine)[1]))
    with pytest.raises(DataError, match=r"labelled voxels outside of the betas"):
        load(recipe_for(tree), "subj01")


def test_a_header_without_a_place_is_taken_voxel_by_voxel(tree: Path, known: Known) -> None:
    rewrite(tree / STREAMS, lambda volume, _: (volume, None))
    trials = load(recipe_for(tree), "subj01")[0]
    np.testing.assert_array_equal(trials.voxel_index, known.subject.voxel_index[:10])


def test_volumes_that_disagree_without_a_majority_are_refused(tree: Path) -> None:
    if not (tree / BETAS / "betas_session01.hdf5").exists():
        return  # betas in NIfTI give their own place
    (tree / VOLUMES / "brainmask.nii.gz").unlink()
    (tree / VOLUMES / "roi/nsdgeneral.nii.gz").unlink()
    rewrite(tree / STREAMS, flip)
    with pytest.raises(DataError, match="2 different places for the same voxels"):
        load(recipe_for(tree), "subj01")


def test_in_a_volume_of_nsds_size_the_origin_is_not_compared(
    tree: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NSD's volumes of one space share one grid, whatever origin their headers give."""
    facts = replace(SUBJECTS["subj01"], volume_shape={"func1pt8mm": SHAPE})
    monkeypatch.setattr(grids, "SUBJECTS", {"subj01": facts})

    def shift(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return volume, affine + np.eye(4)[:, :1] @ [[0, 0, 0, 50.0]]

    rewrite(tree / STREAMS, shift)
    with pytest.warns(UserWarning, match=r"streams\.nii\.gz gives its voxels another origin"):
        trials = load(recipe_for(tree), "subj01")[0]
    np.testing.assert_array_equal(trials.voxel_index, known.subject.voxel_index[:10])


def test_without_any_other_volume_the_atlas_is_taken_voxel_by_voxel(tree: Path, known: Known) -> None:
    for path in (BETAS + "/ncsnr.nii.gz", VOLUMES + "/brainmask.nii.gz", VOLUMES + "/roi/nsdgeneral.nii.gz"):
        (tree / path).unlink()
    files = NsdFiles(tree, "subj01", "func1pt8mm", "betas_fithrf_GLMdenoise_RR")
    assert grids.betas_affine(files, SHAPE) is not None
    np.testing.assert_array_equal(load(recipe_for(tree), "subj01")[0].voxel_index, known.subject.voxel_index[:10])
