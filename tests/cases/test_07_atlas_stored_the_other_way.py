"""An atlas stored in another direction, with its affine, names the same voxels."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from loading import load

from reseen.recipe import DataRecipe


@pytest.mark.parametrize("betas", ["hdf5", "nifti"])
def test_a_left_handed_atlas_gives_the_same_voxels(tmp_path: Path, reseen, betas: str) -> None:
    tree = tmp_path / "tree"
    words = ("--nifti",) if betas == "nifti" else ()
    assert reseen("simulate", tree, "--recipe", "tiny", *words)[0] == 0
    for file in tree.rglob("betas_session*.hdf5") if betas == "nifti" else ():
        file.unlink()
    data = DataRecipe(kind="nsd", path=tree, subjects=("subj01",), rois=("early",), zscore_sessions=False)
    before = load(data, "subj01")[0]
    path = tree / "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz"
    image = nibabel.load(path)
    labels, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (len(labels) - 1)
    affine[:3, 0] *= -1
    nibabel.save(nibabel.Nifti1Image(labels[::-1].copy(), affine), path)
    after = load(data, "subj01")[0]
    assert len(before.voxel_index) == 65
    np.testing.assert_array_equal(after.voxel_index, before.voxel_index)
    np.testing.assert_array_equal(after.betas, before.betas)
