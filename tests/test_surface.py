"""From the volume to fsaverage and back into files: coordinates, interpolation, names."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from encoding_results import made_up_voxels
from nsd_tree import flipped

from reseen.datasets import derivatives, fsaverage
from reseen.datasets.nsd_facts import DEPTHS, NsdFiles
from reseen.datasets.surface import Surface, read_affine, read_surface
from reseen.errors import DataError, ShapeError
from reseen.recipe import DataRecipe
from reseen.simulate.anatomy import STREAMS

ICOSAHEDRON = [
    *([0, 3, 4], [0, 4, 5], [0, 5, 1], [0, 1, 2], [0, 2, 3], [3, 2, 8], [3, 8, 9], [3, 9, 4], [4, 9, 10], [4, 10, 5]),
    *([5, 10, 6], [5, 6, 1], [1, 6, 7], [1, 7, 2], [2, 7, 8], [8, 11, 9], [9, 11, 10], [10, 11, 6], [6, 11, 7]),
    [7, 11, 8],
]


def field(volume_shape, slope=(0.01, -0.02, 0.03)):
    """A linear field over a volume, at the voxels' places from 0."""
    places = np.stack(np.meshgrid(*map(np.arange, volume_shape), indexing="ij"), axis=-1)
    return (places @ np.array(slope)).ravel(), np.array(slope)


def test_fsaverage5_follows_from_twelve_vertices_by_the_rule_that_leads_to_fsaverage():
    faces, n_vertices = np.array(ICOSAHEDRON), 12
    for _ in range(5):
        ends, faces = fsaverage.subdivide(faces, n_vertices)
        n_vertices += len(ends)
    assert n_vertices == fsaverage.N_COARSE
    for side in fsaverage.SIDES:
        assert np.array_equal(faces, fsaverage.load_faces("sphere", side))


def test_the_fine_ball_begins_with_the_coarse_one_and_is_spread_evenly():
    ball = fsaverage.fine_sphere("rh")
    coarse = fsaverage.load_points("sphere", "rh")
    assert ball.shape == (fsaverage.N_FINE, 3)
    assert np.allclose(ball[: len(coarse)] * 100, coarse, atol=0.01)
    assert np.allclose(np.linalg.norm(ball, axis=1), 1)
    assert np.linalg.norm(ball.mean(axis=0)) < 0.02


def test_a_linear_field_arrives_at_the_right_vertices(surface):
    values, slope = field(surface.volume_shape)
    found = surface.values(values, np.arange(len(values)))
    for side, at in surface.coordinates.items():
        deep = ((at > 5) & (at < np.array(surface.volume_shape) - 6)).all(axis=(0, 2))  # the spline bends at the edge
        assert deep.sum() > 500
        expected = at[:, deep].astype(float).mean(axis=0) @ slope
        assert np.allclose(found[side][deep], expected, atol=2e-4)


def test_coordinates_that_are_off_by_one_are_seen(surface):
    values, slope = field(surface.volume_shape)
    at = surface.coordinates["lh"]
    deep = ((at > 5) & (at < np.array(surface.volume_shape) - 6)).all(axis=(0, 2))
    shifted = replace(surface, coordinates={"lh": at + 1})
    error = shifted.values(values, np.arange(len(values)))["lh"][deep] - at[:, deep].mean(axis=0) @ slope
    assert np.allclose(error, slope.sum(), atol=2e-4)
    assert abs(slope.sum()) > 50 * 2e-4


def test_values_agree_with_scipys_spline_where_every_voxel_was_read(surface):
    from scipy.ndimage import map_coordinates

    volume = np.random.default_rng(0).normal(size=surface.volume_shape)
    found = surface.values(volume.ravel(), np.arange(volume.size))["rh"]
    at = surface.coordinates["rh"].astype(np.float64)
    inside = np.isfinite(at).all(axis=(0, 2))
    depths = [map_coordinates(volume, layer[inside].T, order=3, mode="nearest") for layer in at]
    assert np.allclose(found[inside], np.mean(depths, axis=0), atol=1e-4)


def test_a_constant_over_some_voxels_stays_one_to_their_borders_and_is_nothing_beyond(surface, anatomy):
    early = anatomy.voxel_index[anatomy.where("early")]
    found = surface.values(np.full(len(early), 0.3), early)
    for side, at in surface.coordinates.items():
        cell = np.rint(np.nan_to_num(at, nan=-1)).astype(int)
        ok = (cell >= 0).all(axis=2) & (cell < surface.volume_shape).all(axis=2)
        flat = np.ravel_multi_index(tuple(np.moveaxis(cell * ok[..., None], 2, 0)), surface.volume_shape)
        covered = (np.isin(flat, early) & ok).any(axis=0)
        assert np.array_equal(np.isfinite(found[side]), covered)
        assert np.allclose(found[side][covered], 0.3, atol=1e-5)


def test_voxels_without_a_value_are_filled_from_their_neighbours_or_left_out(surface, anatomy):
    values = np.full(len(anatomy), 0.2)
    values[anatomy.stream == STREAMS["early"]] = np.nan
    found, labels = (
        surface.values(values, anatomy.voxel_index)["lh"],
        surface.labels(anatomy.stream, anatomy.voxel_index)["lh"],
    )
    assert np.isnan(found).sum() > (labels < 0).sum()
    assert np.allclose(found[np.isfinite(found)], 0.2, atol=1e-5)
    nothing = surface.values(np.full(len(anatomy), np.nan), anatomy.voxel_index)
    assert all(np.isnan(part).all() for part in nothing.values())


def test_labels_are_never_mixed(surface, anatomy):
    labels = surface.labels(10 * anatomy.stream, anatomy.voxel_index, missing=-7)
    for found in labels.values():
        assert set(np.unique(found)) == {-7, *(10 * number for number in STREAMS.values())}


def test_the_middle_depth_decides_a_label():
    at = np.array([[[0, 0, 0]], [[1, 0, 0]], [[2, 0, 0]]], dtype=np.float32)
    small = Surface("subj01", (3, 1, 1), {"lh": at})
    assert small.labels(np.array([5, 6, 7]), np.arange(3))["lh"].tolist() == [6]
    assert small.labels(np.array([5, 7]), np.array([0, 2]))["lh"].tolist() == [5]
    assert small.labels(np.array([7]), np.array([2]))["lh"].tolist() == [7]


def test_early_voxels_land_on_occipital_vertices(simulated_tree):
    data = DataRecipe(path=simulated_tree, rois=("early",))
    atlas = nibabel.load(simulated_tree / "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz")
    shape, labels = atlas.shape, np.asarray(atlas.dataobj).ravel()
    early = np.flatnonzero(labels == STREAMS["early"])
    surface = read_surface(data, "subj01", shape)
    assert all(at.shape == (len(DEPTHS), fsaverage.N_FINE, 3) for at in surface.coordinates.values())
    affine = read_affine(data, "subj01", shape)
    for side, found in surface.coarse().values(np.ones(len(early)), early).items():
        white = fsaverage.load_points("white", side)
        reached = np.isfinite(found)
        assert reached.sum() > 10
        assert white[reached, 1].max() < -60  # behind
        where = np.stack(np.unravel_index(early, shape), axis=1) @ affine[:3, :3].T + affine[:3, 3]
        gap = np.linalg.norm(white[reached, None] - where, axis=2).min(axis=1)
        assert gap.max() < 6  # half a voxel's diagonal, and half the cortex


def test_the_fine_vertices_lie_where_the_coarse_ones_around_them_do(simulated_tree):
    data = DataRecipe(path=simulated_tree, rois=("early",))
    shape = nibabel.load(simulated_tree / "nsddata/ppdata/subj01/func1pt8mm/roi/streams.nii.gz").shape
    at = read_surface(data, "subj01", shape).coordinates["lh"][1]
    ends, _ = fsaverage.subdivide(fsaverage.load_faces("sphere", "lh"), fsaverage.N_COARSE)
    new = at[fsaverage.N_COARSE : fsaverage.N_COARSE + len(ends)]
    gap = np.minimum(*(np.abs(new - at[ends[:, k]]).sum(axis=1) for k in (0, 1)))
    assert np.nanpercentile(gap, 99) < 0.01  # nearest means: the same as at one of its two ends


def test_transform_files_have_nsds_names_axes_and_counts(simulated_tree):
    files = NsdFiles(simulated_tree, "subj01", "func1pt8mm", "")
    layer = nibabel.load(files.to_layer("rh", 2))
    assert files.to_layer("rh", 2).name == "rh.func1pt8-to-layerB2.mgz"
    assert NsdFiles(simulated_tree, "subj01", "func1mm", "").to_layer("lh", 1).name == "lh.func1pt0-to-layerB1.mgz"
    found = np.asarray(layer.dataobj)
    assert found.shape == (fsaverage.N_COARSE, 1, 1, 3)
    assert found.dtype == np.dtype(">f4")
    valid = found[found != 9999]
    assert valid.min() >= 1  # counted from 1
    assert (found == 9999).any()
    nearest = np.asarray(nibabel.load(files.to_fsaverage("rh")).dataobj).ravel()
    assert nearest.shape == (fsaverage.N_FINE,)
    assert np.array_equal(nearest[: fsaverage.N_COARSE], np.arange(1, fsaverage.N_COARSE + 1))


def test_a_missing_or_wrong_transform_is_named(simulated_tree, tmp_path):
    import shutil

    shutil.copytree(simulated_tree / "nsddata", tmp_path / "nsddata")
    files = NsdFiles(tmp_path, "subj01", "func1pt8mm", "")
    data = DataRecipe(path=tmp_path, rois=("early",))
    shutil.copy(files.to_layer("lh", 1), files.to_fsaverage("lh"))
    with pytest.raises(DataError, match="3 numbers for each vertex; 1 are expected"):
        read_surface(data, "subj01", (3, 3, 3))
    shutil.copy(files.to_fsaverage("rh"), files.to_fsaverage("lh"))
    files.to_layer("lh", 3).write_bytes(b"no mgz")
    with pytest.raises(DataError, match="layerB3"):
        read_surface(data, "subj01", (3, 3, 3))
    files.to_layer("lh", 3).unlink()
    with pytest.raises(DataError, match=r"layerB3.mgz is missing.*aws s3 cp"):
        read_surface(data, "subj01", (3, 3, 3))
    with pytest.raises(DataError, match="plain arrays say nothing of a surface"):
        read_surface(DataRecipe(kind="arrays", path=tmp_path), "subj01", (3, 3, 3))


@pytest.mark.parametrize("which", ["layer", "fsaverage"])
def test_a_flipped_bit_in_a_transform_is_found(simulated_tree, tmp_path, which):
    import shutil

    shutil.copytree(simulated_tree / "nsddata", tmp_path / "nsddata")
    files = NsdFiles(tmp_path, "subj01", "func1pt8mm", "")
    path = files.to_layer("rh", 2) if which == "layer" else files.to_fsaverage("lh")
    content = path.read_bytes()
    for damaged in flipped(content, 12):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            read_surface(DataRecipe(path=tmp_path, rois=("early",)), "subj01", (3, 3, 3))


def test_values_that_do_not_fit_the_voxels_or_the_volume_are_refused(surface):
    with pytest.raises(ShapeError, match="one for each is needed"):
        surface.values(np.ones(3), np.arange(4))
    with pytest.raises(ShapeError, match="Take both from one space"):
        surface.labels(np.ones(1, dtype=int), np.array([10**9]))


# ------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def maps(anatomy):
    voxels = made_up_voxels(anatomy.stream)
    names = ("r/z", "ceiling_r", "split/z+zc@strength=0.2/z", "winner/progress=0.2")
    return derivatives.Maps(
        "subj01", {name: voxels[name] for name in names}, anatomy.voxel_index, anatomy.volume_shape, ("first", "second")
    )


def test_maps_are_put_back_into_the_volume_with_its_affine(maps, anatomy, tmp_path):
    paths = derivatives.write_nifti(tmp_path, maps, "func1pt8mm", anatomy.affine)
    assert (
        paths[0].relative_to(tmp_path).as_posix() == "sub-01/func/sub-01_space-func1pt8mm_stat-r_desc-z_statmap.nii.gz"
    )
    image = nibabel.load(paths[0])
    assert np.array_equal(image.affine, anatomy.affine)
    volume = np.asarray(image.dataobj)
    assert np.array_equal(volume.ravel()[anatomy.voxel_index], maps.arrays["r/z"])
    assert np.isfinite(volume).sum() == len(anatomy)
    winner = np.asarray(nibabel.load(paths[-1]).dataobj)
    assert winner.dtype == np.int16
    assert set(np.unique(winner)) <= set(range(-2, 5))


def test_maps_on_fsaverage_are_gifti_with_a_hemisphere(maps, surface, tmp_path):
    paths = derivatives.write_gifti(tmp_path, maps, surface)
    names = [path.name for path in paths]
    assert names[:2] == [
        f"sub-01_hemi-{letter}_space-fsaverage_den-10k_stat-r_desc-z_statmap.func.gii" for letter in "LR"
    ]
    image = nibabel.load(paths[1])
    assert image.meta["AnatomicalStructurePrimary"] == "CortexRight"
    expected = surface.values(maps.arrays["r/z"], maps.voxel_index)["rh"]
    assert np.array_equal(image.darrays[0].data, expected, equal_nan=True)
    winner = nibabel.load(paths[-1]).darrays[0].data
    assert winner.dtype == np.int32
    assert winner.min() == derivatives.NOT_READ


def test_a_q_is_some_voxels_own(anatomy, surface, tmp_path):
    q = np.random.default_rng(0).random(len(anatomy)).astype(np.float32)
    maps = derivatives.Maps("subj01", {"q/z": q}, anatomy.voxel_index, anatomy.volume_shape)
    for path in derivatives.write_gifti(tmp_path, maps, surface):
        found = nibabel.load(path).darrays[0].data
        assert np.isin(found[np.isfinite(found)], q).all()
        assert 500 < np.isfinite(found).sum() < len(found)


def test_names_follow_the_rule_and_each_map_says_what_it_holds(maps, anatomy, tmp_path):
    paths = derivatives.write_nifti(tmp_path, maps, "func1pt8mm", anatomy.affine)
    labels = [path.name.split("_stat-")[1] for path in paths]
    assert labels == [
        "r_desc-z_statmap.nii.gz",
        "r_desc-noiseCeiling_statmap.nii.gz",
        "split_desc-zAndZcStrength0p2OfZ_statmap.nii.gz",
        "winner_desc-progress0p2_statmap.nii.gz",
    ]
    assert len(set(paths)) == len(paths)
    told = [json.loads(path.with_name(path.name.removesuffix(".nii.gz") + ".json").read_text()) for path in paths]
    assert told[2]["Feature"] == "z+zc@strength=0.2 of z"
    assert told[3]["Levels"] == {"0": "first", "1": "second"}
    derivatives.describe_folder(tmp_path)
    described = json.loads((tmp_path / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "reseen"


def test_the_same_maps_are_the_same_bytes(maps, anatomy, surface, tmp_path):
    for folder in ("one", "two"):
        derivatives.write_nifti(tmp_path / folder, maps, "func1pt8mm", anatomy.affine)
        derivatives.write_gifti(tmp_path / folder, maps, surface)
    for path in (tmp_path / "one").rglob("*.*"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
