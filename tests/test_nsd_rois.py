"""Names of ROIs in NSD's layout: unions, names from colour tables, lists, masks, and what an error suggests."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from loading import load
from nsd_tree import SHAPE, Known, make_subject, make_tree, recipe_for

from reseen.check.files import files as check_files
from reseen.check.inputs import Inputs
from reseen.datasets import inventory, outline
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_rois import closest, list_atlases, read_table
from reseen.datasets.surface import read_affine
from reseen.errors import DataError, RecipeError
from reseen.recipe import Recipe

AFFINE = np.diag([1.8, 1.8, 1.8, 1.0])


@pytest.fixture
def known() -> Known:
    return make_subject("subj01")


@pytest.fixture
def tree(tmp_path: Path, known: Known) -> Path:
    make_tree(tmp_path, known)
    return tmp_path


@pytest.fixture
def files(tree: Path) -> NsdFiles:
    return NsdFiles(tree, "subj01", "func1pt8mm", "betas_fithrf_GLMdenoise_RR")


def write_atlas(files: NsdFiles, known: Known, atlas: str, labels: np.ndarray) -> None:
    """Write labels of the 20 voxels, -1 elsewhere."""
    write_volume(files.roi(atlas), known, labels, outside=-1)


def write_volume(path: Path, known: Known, values: np.ndarray, outside: int = 0) -> None:
    volume = np.full(SHAPE, outside, dtype=np.int16)
    volume.ravel()[known.subject.voxel_index] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, AFFINE), path)


def write_table(files: NsdFiles, atlas: str, text: str, who: str = "fsaverage") -> Path:
    path = files.root / f"nsddata/freesurfer/{who}/label/{atlas}.mgz.ctab"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sizes(root: Path, *rois: str) -> dict[str, int]:
    trials, _, _ = load(recipe_for(root, rois=rois), "subj01")
    return {name: int(mask.sum()) for name, mask in trials.rois.items()}


def test_names_that_people_use_are_unions_of_labels(tree: Path, files: NsdFiles, known: Known) -> None:
    write_atlas(files, known, "prf-visualrois", np.repeat([1, 2, 7, 7, 0], 4))
    write_atlas(files, known, "floc-faces", np.repeat([2, 3, 3, 4, 1], 4))
    assert sizes(tree, "V1", "V4", "FFA", "FFA-1", "mTL-faces") == {
        "V1": 8,
        "V4": 8,
        "FFA": 12,
        "FFA-1": 4,
        "mTL-faces": 4,
    }


def test_labels_are_named_by_the_colour_table_of_the_tree(tree: Path, files: NsdFiles, known: Known) -> None:
    write_atlas(files, known, "HCP_MMP1", np.repeat([18, 74, 44, 0, 1], 4))
    write_table(files, "HCP_MMP1", "0 Unknown\n1 V1\n18 FFC\n44 MI\n74 44\n")
    assert sizes(tree, "HCP_MMP1:FFC", "HCP_MMP1:V1,FFC") == {"HCP_MMP1:FFC": 4, "HCP_MMP1:V1,FFC": 8}
    trials, _, _ = load(recipe_for(tree, rois=("HCP_MMP1:44", "HCP_MMP1:'44'")), "subj01")
    assert np.flatnonzero(trials.rois["HCP_MMP1:'44'"]).tolist() == [0, 1, 2, 3]  # area 44 is label 74
    assert np.flatnonzero(trials.rois["HCP_MMP1:44"]).tolist() == [4, 5, 6, 7]


def test_a_table_of_the_subject_and_one_with_colours_and_spaces_are_read(
    tree: Path, files: NsdFiles, known: Known
) -> None:
    write_atlas(files, known, "corticalsulc", np.repeat([3, 5, 0, 28, 4], 4))
    text = "# number name\n0 Unknown 0 0 0 0\n\n3 calcarine sulcus 10 20 30 0\n5 SFRS\t\n28 MFG 1 2 3 0\r\n"
    path = write_table(files, "corticalsulc", text, who="subj01")
    assert read_table(path) == {"Unknown": 0, "calcarine sulcus": 3, "SFRS": 5, "MFG": 28}
    assert sizes(tree, "corticalsulc:calcarine sulcus", "corticalsulc:SFRS,28") == {
        "corticalsulc:calcarine sulcus": 4,
        "corticalsulc:SFRS,28": 8,
    }


def test_one_hemisphere_has_the_names_of_both(tree: Path, files: NsdFiles, known: Known) -> None:
    write_atlas(files, known, "lh.Kastner2015", np.repeat([1, 0, 2, 1, 0], 4))
    write_table(files, "Kastner2015", "0 Unknown\n1 V1v\n2 V1d\n")
    assert sizes(tree, "lh.Kastner2015:V1v") == {"lh.Kastner2015:V1v": 8}


def test_lists_of_labels_are_unions(tree: Path) -> None:
    assert sizes(tree, "streams:5,6", "streams:early,6") == {"streams:5,6": 10, "streams:early,6": 10}


@pytest.mark.parametrize("relative", [True, False])
def test_a_mask_is_an_roi(tree: Path, known: Known, relative: bool) -> None:
    path = tree / "masks/subj01_mine.nii.gz"
    write_volume(path, known, np.repeat([0, 1], 10))
    name = "masks/{subject}_mine.nii.gz" if relative else str(path)
    trials, _, _ = load(recipe_for(tree, rois=(name, "early")), "subj01")
    np.testing.assert_allclose(trials.betas, np.concatenate(known.betas)[:, [*range(5), *range(10, 20)]], atol=1e-5)
    assert np.flatnonzero(trials.rois[name]).tolist() == list(range(5, 15))
    np.testing.assert_allclose(read_affine(recipe_for(tree, rois=(name,)), "subj01", SHAPE), AFFINE)
    assert all(check.ok for check in inventory(recipe_for(tree, rois=(name,)), "subj01"))


def test_a_mask_in_the_working_folder_is_found(
    tree: Path, known: Known, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    write_volume(folder / "mine.nii", known, np.repeat([0, 1], 10))
    monkeypatch.chdir(folder)
    assert sizes(tree, "mine.nii") == {"mine.nii": 10}


def test_a_missing_or_misplaced_mask_is_refused_without_a_command_that_cannot_fetch_it(
    tree: Path, known: Known, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"mine\.nii"):
        load(recipe_for(tree, rois=("mine.nii",)), "subj01")
    (found,) = [check for check in inventory(recipe_for(tree, rois=("mine.nii",)), "subj01") if not check.ok]
    assert found.note == "missing. Correct data.rois, which names this mask."
    decoded = {"rois": {"z": ["mine.nii"], "c": ["mine.nii"]}}
    recipe = Recipe.model_validate({"data": recipe_for(tree, rois=("mine.nii",)), "decode": decoded})
    findings = list(check_files(Inputs(recipe, tmp_path / "out", thorough=True)))
    text = "\n".join(line for finding in findings for line in (finding.found, *finding.more))
    assert "mine.nii" in text
    assert "aws s3" not in "\n".join(line for line in text.splitlines() if "mine.nii" in line)
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), dtype=np.int16), 1.2 * AFFINE), tree / "mine.nii")
    with pytest.raises(DataError, match=r"mine\.nii has shape \(3, 3, 3\); the betas"):
        load(recipe_for(tree, rois=("mine.nii",)), "subj01")


def test_an_empty_mask_is_refused(tree: Path, known: Known) -> None:
    write_volume(tree / "mine.nii", known, np.zeros(20))
    with pytest.raises(DataError, match=r"mine\.nii has no voxel labelled mine\.nii"):
        load(recipe_for(tree, rois=("mine.nii",)), "subj01")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FFA1", "FFA-1"),
        ("v1", "V1"),
        ("erly", "early"),
        ("FFC", "HCP_MMP1:FFC"),
        ("HCP_MMP1:FCC", "HCP_MMP1:FFC"),
        ("streams:vental", "ventral"),
        ("HCP_MMP:FFC", "HCP_MMP1:FFC"),
    ],
)
def test_an_unknown_roi_names_the_atlases_and_the_closest_names(
    tree: Path, files: NsdFiles, known: Known, name: str, meant: str
) -> None:
    write_atlas(files, known, "HCP_MMP1", np.repeat([18, 0], 10))
    write_table(files, "HCP_MMP1", "0 Unknown\n1 V1\n18 FFC\n")
    with pytest.raises(
        RecipeError, match=r"there is no ROI .* atlases in the tree: HCP_MMP1, nsdgeneral, streams"
    ) as at:
        load(recipe_for(tree, rois=("early", name)), "subj01")
    assert at.value.where == "data.rois"
    assert at.value.found == name
    assert closest(files, name)[0] == meant
    assert f"Did you mean {meant}" in str(at.value)
    with pytest.raises(RecipeError, match="there is no ROI"):
        inventory(recipe_for(tree, rois=("early", name)), "subj01")


def test_nothing_is_suggested_for_a_name_like_no_other(tree: Path) -> None:
    with pytest.raises(RecipeError, match=r"no ROI 'qqqqqqqq'\. Name a label"):
        load(recipe_for(tree, rois=("qqqqqqqq",)), "subj01")


def test_a_colour_table_that_is_needed_and_missing_is_listed_and_named(
    tree: Path, files: NsdFiles, known: Known
) -> None:
    write_atlas(files, known, "HCP_MMP1", np.repeat([18, 0], 10))
    data = recipe_for(tree, rois=("HCP_MMP1:FFC",))
    with pytest.raises(DataError, match=r"HCP_MMP1\.mgz\.ctab is missing.*aws s3 cp .*such as HCP_MMP1:1"):
        outline(data, "subj01")
    bad = [check.path.name for check in inventory(data, "subj01") if not check.ok]
    assert "HCP_MMP1.mgz.ctab" in bad
    write_table(files, "HCP_MMP1", "0 Unknown\n18 FFC\n")
    assert all(check.ok for check in inventory(data, "subj01"))
    assert outline(data, "subj01").n_voxels == {"HCP_MMP1:FFC": 10}


def test_atlases_are_those_of_both_hemispheres(files: NsdFiles, known: Known) -> None:
    write_atlas(files, known, "lh.streams", np.ones(20))
    assert list_atlases(files) == ["nsdgeneral", "streams"]
