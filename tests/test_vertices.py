"""Betas that NSD gives on fsaverage: what is read, what is refused, and maps that need no transform."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from loading import load
from nsd_tree import (
    LABELS,
    N_IMAGES,
    VERTICES,
    flipped,
    make_subject,
    make_tree,
    make_vertices,
    recipe_for,
    spread,
    write_mgh,
)

from reseen.datasets import derivatives, extras, nsd
from reseen.datasets.fsaverage import N_COARSE, N_FINE
from reseen.datasets.nsd_betas import close_gaps
from reseen.datasets.nsd_sessions import VERTEX_SHAPE
from reseen.datasets.surface import Surface
from reseen.datasets.vertices import Vertices, read_labels, way_to_fsaverage
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.pipeline import maps as mapping
from reseen.pipeline.context import Run
from reseen.recipe import Recipe, with_settings
from reseen.results import ResultsFolder

READ = np.isin(LABELS, [1, 5])
PLACES = np.concatenate([VERTICES["lh"], N_FINE + VERTICES["rh"]])


@pytest.fixture(scope="module")
def known():
    return make_subject("subj01")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, known):
    root = tmp_path_factory.mktemp("vertices")
    make_tree(root, known)
    make_vertices(root, known)
    return root


@pytest.fixture
def tree(tmp_path, whole):
    """A copy to damage; what is not damaged is linked, not copied."""
    import os
    import shutil

    return Path(shutil.copytree(whole, tmp_path / "tree", copy_function=os.link))


@pytest.fixture
def files(tree):
    return nsd.NsdFiles(tree, "subj01", "fsaverage", "betas_fithrf_GLMdenoise_RR")


def data(root, **settings):
    return recipe_for(root, space="fsaverage", **settings)


def put(path, values):
    path.unlink()
    write_mgh(path, values)


def test_vertices_of_both_hemispheres_are_read_as_they_are(whole, known):
    trials, stimuli, split = load(data(whole), "subj01")
    assert np.array_equal(trials.betas, np.concatenate(known.betas)[:, READ])  # per cent already, not divided by 300
    assert trials.betas.dtype == np.float32
    assert trials.betas.dtype.isnative
    assert np.array_equal(trials.stimulus_id, known.stimulus_id)
    assert trials.volume_shape == VERTEX_SHAPE
    hemisphere, vertex, _ = np.unravel_index(trials.voxel_index, VERTEX_SHAPE)
    assert np.array_equal(hemisphere, np.repeat([0, 1], 10)[READ])
    assert np.array_equal(vertex, np.concatenate([VERTICES["lh"], VERTICES["rh"]])[READ])
    assert np.array_equal(trials.rois["early"], LABELS[READ] == 1)
    assert np.allclose(trials.ncsnr, known.subject.ncsnr[READ])
    volume = load(recipe_for(whole), "subj01")
    assert np.array_equal(trials.session, volume[0].session)
    assert [ids.tolist() for ids in split.folds[0]] == [ids.tolist() for ids in volume[2].folds[0]]
    assert stimuli.images([0]).shape[0] == 1
    assert N_IMAGES == 14


def test_sessions_of_vertices_are_standardised_one_by_one_and_may_be_fewer(whole, known):
    trials, _, _ = load(data(whole, zscore_sessions=True, sessions=2), "subj01")
    assert len(trials) == 12
    for session, raw in enumerate(known.betas[:2], start=1):
        part = raw[:, READ]
        expected = (part - part.mean(axis=0)) / part.std(axis=0)
        assert np.allclose(trials.betas[trials.session == session], expected, atol=1e-4)


def test_rois_in_one_hemisphere_only_are_read(tree, files, known):
    put(files.vertex_labels("rh", "streams"), np.zeros((N_FINE, 1), dtype=np.int32))
    trials, _, _ = load(data(tree), "subj01")
    assert np.array_equal(trials.betas, np.concatenate(known.betas)[:, :10][:, READ[:10]])


def test_rois_drawn_on_the_subjects_surface_come_through_its_transform(tree, files, known):
    """Vertex v of fsaverage has the label of the subject's vertex that is nearest to it, counted from 1."""
    n_own = 500
    for side in ("lh", "rh"):
        own = np.zeros((n_own, 1), dtype=np.int32)
        own[3], own[n_own - 1] = 1, 7  # V1v, hV4
        write_mgh(files.vertex_labels(side, "prf-visualrois"), own)
        nearest = np.ones((N_FINE, 1), dtype=np.float32)
        nearest[VERTICES[side][0]], nearest[VERTICES[side][4]] = 3 + 1, n_own
        write_mgh(files.to_fsaverage(side), nearest)
    assert "/freesurfer/subj01/label/" in str(files.vertex_labels("lh", "prf-visualrois"))
    trials, _, _ = load(data(tree, rois=("V1", "hV4")), "subj01")
    assert trials.voxel_index.tolist() == [PLACES[k] for k in (0, 4, 10, 14)]
    assert trials.rois["V1"].tolist() == [True, False, True, False]
    assert np.array_equal(trials.betas, np.concatenate(known.betas)[:, [0, 4, 10, 14]])
    put(files.vertex_labels("lh", "prf-visualrois"), np.ones((n_own - 1, 1), dtype=np.int32))
    with pytest.raises(DataError, match=r"lh.white-to-fsaverage.mgz names vertices 1 to 500; .* has 1 to 499"):
        load(data(tree, rois=("V1",)), "subj01")
    files.to_fsaverage("lh").unlink()
    with pytest.raises(DataError, match=r"white-to-fsaverage.mgz is missing.*aws s3 cp"):
        load(data(tree, rois=("V1",)), "subj01")


@pytest.mark.parametrize("side", ["lh", "rh"])
@pytest.mark.parametrize("which", ["labels", "labels of the subject's surface", "transform"])
def test_a_flipped_bit_in_an_mgz_is_found(tree, files, side, which):
    """Atlases come as gzipped MGH; gzip's checksum finds each change of a bit, wherever it is."""
    rng = np.random.default_rng(3)  # long runs of zeros can be compressed in several ways, so that bits do not matter
    for each in ("lh", "rh"):
        put(files.vertex_labels(each, "streams"), rng.integers(0, 8, (N_FINE, 1)).astype(np.int32))
        write_mgh(files.vertex_labels(each, "prf-visualrois"), rng.integers(0, 8, (500, 1)).astype(np.int32))
        write_mgh(files.to_fsaverage(each), rng.integers(1, 501, (N_FINE, 1)).astype(np.float32))
    path, rois = {
        "labels": (files.vertex_labels(side, "streams"), ("early",)),
        "labels of the subject's surface": (files.vertex_labels(side, "prf-visualrois"), ("V1",)),
        "transform": (files.to_fsaverage(side), ("V1",)),
    }[which]
    content = path.read_bytes()
    for damaged in flipped(content, 12):
        path.unlink()
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            load(data(tree, rois=rois), "subj01")
        notes = [check for check in nsd.inventory(data(tree, rois=rois), "subj01") if check.path == path]
        assert [check.ok for check in notes] == [False]
    path.write_bytes(content)
    read_labels(files, "streams" if which == "labels" else "prf-visualrois", VERTEX_SHAPE)


def test_vertices_without_numbers_are_left_out_and_counted(tree, files, known):
    spoilt = known.betas[1].copy()
    spoilt[:, 0] = np.nan  # early, left
    spoilt[2, 13] = np.inf  # ventral, right
    for row, side in enumerate(("lh", "rh")):
        put(files.vertex_session(side, 2), spread(side, spoilt[:, 10 * row : 10 * row + 10].T))
    kept = READ & ~np.isin(np.arange(20), [0, 13])
    with pytest.warns(UserWarning, match=r"subj01: 2 of the 10 ROI vertices in fsaverage hold no finite numbers"):
        trials, _, _ = load(data(tree), "subj01")
    assert np.array_equal(trials.betas, np.concatenate(known.betas)[:, kept])
    assert trials.betas.flags.c_contiguous
    assert np.array_equal(trials.voxel_index, PLACES[kept])
    assert np.array_equal(trials.rois["ventral"], LABELS[kept] == 5)
    assert np.allclose(trials.ncsnr, known.subject.ncsnr[kept])
    with pytest.warns(UserWarning, match="left out"):
        standardised = load(data(tree, zscore_sessions=True), "subj01")[0].betas
    assert np.allclose(standardised[:6].std(axis=0), 1, atol=1e-4)


def test_an_roi_whose_vertices_are_all_gone_is_refused(tree, files, known):
    for row, side in enumerate(("lh", "rh")):
        betas = known.betas[0][:, 10 * row : 10 * row + 10].copy()
        betas[:, LABELS[10 * row : 10 * row + 10] == 5] = np.nan
        put(files.vertex_session(side, 1), spread(side, betas.T))
    with pytest.raises(DataError, match="5 of the 5 vertices of ventral have no finite numbers"):
        load(data(tree), "subj01")


def test_gaps_are_closed_in_the_same_memory():
    betas = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    known = np.arange(9) % 4 != 1
    expected = betas[:, known]
    found = close_gaps(betas, known)
    assert np.array_equal(found, expected)
    assert np.shares_memory(found, betas)


# Damaged trees


def test_a_missing_hemisphere_of_a_session_is_named(tree, files):
    files.vertex_session("rh", 3).unlink()
    with pytest.raises(DataError, match=r"rh.betas_session03.mgh is missing: sessions 1 to 3.*data.sessions to 2"):
        load(data(tree), "subj01")
    assert len(load(data(tree, sessions=2), "subj01")[0]) == 12


@pytest.mark.parametrize("share", [0.0, 0.00002, 0.6])
def test_a_truncated_session_is_named_by_the_reader_and_by_check(tree, files, share):
    path = files.vertex_session("lh", 2)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"lh.betas_session02.mgh cannot be read .*truncated"):
        load(data(tree), "subj01")
    bad = [check.path.name for check in nsd.inventory(data(tree), "subj01") if not check.ok]
    assert bad == ["lh.betas_session02.mgh"]


def test_files_of_another_surface_or_length_are_refused(tree, files):
    put(files.vertex_session("rh", 2), np.zeros((N_FINE, 5), dtype=np.float32))
    with pytest.raises(DataError, match=r"rh.betas_session02.mgh holds 5 trials; 6 are expected"):
        load(data(tree), "subj01")
    put(files.vertex_session("rh", 2), np.zeros((N_COARSE, 6), dtype=np.float32))
    with pytest.raises(DataError, match=r"rh.betas_session02.mgh has 10242 vertices; subj01 has 163842 vertices"):
        load(data(tree), "subj01")
    put(files.vertex_session("lh", 1), np.zeros((N_COARSE, 6), dtype=np.float32))
    with pytest.raises(DataError, match=r"has 10242 vertices; subj01 has 163842 vertices in fsaverage.*fetch it again"):
        load(data(tree), "subj01")


def test_labels_and_ncsnr_of_another_surface_are_refused(tree, files):
    put(files.vertex_ncsnr("rh"), np.zeros((N_COARSE, 1), dtype=np.float32))
    with pytest.raises(DataError, match=r"rh.ncsnr.mgh has 10242 vertices; 163842"):
        load(data(tree, sessions=1), "subj01")
    files.vertex_ncsnr("rh").unlink()
    with pytest.raises(DataError, match=r"rh.ncsnr.mgh is missing"):
        load(data(tree, sessions=1), "subj01")
    files.vertex_ncsnr("lh").unlink()
    assert load(data(tree, sessions=1), "subj01")[0].ncsnr is None
    with pytest.raises(DataError, match=r"lh.streams.mgz and .*rh.streams.mgz has no voxel labelled parietal"):
        load(data(tree, rois=("parietal",)), "subj01")
    put(files.vertex_labels("lh", "streams"), np.zeros((N_COARSE, 1), dtype=np.int32))
    with pytest.raises(DataError, match=r"lh.streams.mgz has 10242 vertices; 163842"):
        load(data(tree), "subj01")


def test_a_colour_table_that_numbers_rois_otherwise_is_refused(tree, files):
    table = files.color_table("streams")
    table.unlink()
    table.write_text("0 Unknown\n1 ventral\n5 early\n")
    with pytest.raises(DataError, match=r"streams.mgz.ctab gives early the label 5; in NSD it is 1"):
        load(data(tree), "subj01")


def test_check_lists_both_hemispheres_and_their_size(tmp_path, whole):
    assert all(check.ok for check in nsd.inventory(data(whole), "subj01"))
    assert extras(data(whole), "subj01")["maps on the cortex"] == []
    checks = {
        str(check.path.relative_to(tmp_path)): check
        for check in nsd.inventory(data(tmp_path, rois=("early", "V1"), sessions=2), "subj01")
    }
    betas = "nsddata_betas/ppdata/subj01/fsaverage/betas_fithrf_GLMdenoise_RR"
    assert {f"{betas}/{side}.betas_session0{number}.mgh" for side in ("lh", "rh") for number in (1, 2)} <= set(checks)
    assert checks[f"{betas}/lh.betas_session01.mgh"].expected == 163_842 * 750 * 4
    assert "nsddata/freesurfer/fsaverage/label/rh.streams.mgz" in checks
    assert "nsddata/freesurfer/subj01/label/lh.prf-visualrois.mgz" in checks
    assert "nsddata/ppdata/subj01/transforms/lh.white-to-fsaverage.mgz" in checks
    assert "aws s3 cp" in checks[f"{betas}/rh.betas_session02.mgh"].note


# Maps


def test_numbers_lie_on_their_own_vertices_and_nowhere_else(whole):
    way = way_to_fsaverage(data(whole), "subj01", VERTEX_SHAPE)
    numbers = np.arange(20) / 20
    found = way.values(numbers, PLACES)
    for row, side in enumerate(("lh", "rh")):
        assert found[side].shape == (N_FINE,)
        assert np.allclose(found[side][VERTICES[side]], numbers[10 * row : 10 * row + 10])
        assert np.isfinite(found[side]).sum() == 10
    coarse = way.coarse().labels(np.arange(20), PLACES, missing=-7)
    assert coarse["rh"].shape == (N_COARSE,)
    assert coarse["lh"][VERTICES["lh"][:5]].tolist() == [0, 1, 2, 3, 4]
    assert (coarse["rh"] != -7).sum() == 5
    with pytest.raises(ShapeError, match="one for each is needed"):
        way.values(np.ones(3), np.arange(4))
    with pytest.raises(ShapeError, match="Take both from one space"):
        way.labels(np.ones(1, dtype=int), np.array([2 * N_FINE]))


@pytest.fixture
def subject(whole, tmp_path, known):
    recipe = with_settings(
        Recipe(),
        [
            f"data.path={whole}",
            "data.space=fsaverage",
            'data.rois=["early", "ventral"]',
            "data.zscore_sessions=true",
            'encode.export=["gifti", "vertices"]',
        ],
    )
    with ResultsFolder.open(tmp_path / "results", recipe) as results:
        subject = Run(recipe, results).subject("subj01")
        index = subject.trials.voxel_index
        n = len(index)
        arrays = {
            "r/z": np.linspace(0, 0.9, n, dtype=np.float32),
            "q/z": np.linspace(0, 0.09, n, dtype=np.float32),
            "winner/progress=1": np.arange(n) % 2,
            "alpha/z": np.ones(n, dtype=np.float32),
        }
        computed_by = {"layers": json.dumps(["first", "second"])}
        results.save_arrays(results.encode_path("subj01"), {**arrays, "voxel_index": index}, computed_by)
        yield subject


def test_maps_of_vertices_need_no_transform_files(subject):
    maps, reason = mapping.maps_to_report(subject)
    assert reason == ""
    near = {side: at[:5][READ[10 * row : 10 * row + 5]] for row, (side, at) in enumerate(VERTICES.items())}
    expected = np.linspace(0, 0.9, 10, dtype=np.float32)
    for side, first in (("lh", 0), ("rh", 6)):
        assert maps.values["r/z"][side].shape == (N_COARSE,)
        assert np.array_equal(maps.values["r/z"][side][near[side]], expected[first : first + len(near[side])])
        assert np.isfinite(maps.values["r/z"][side]).sum() == len(near[side])
    assert maps.regions["lh"][near["lh"]].tolist() == [0, 1, 0]  # early, ventral, early
    assert maps.significant["z"]["lh"][near["lh"]].tolist() == [1, 1, 1]
    assert mapping.export_maps(subject)
    folder = subject.results.path / "derivatives/sub-01/func"
    left = nibabel.load(folder / "sub-01_hemi-L_space-fsaverage_den-164k_stat-r_desc-z_statmap.func.gii")
    values = left.darrays[0].data
    assert np.array_equal(values[VERTICES["lh"][READ[:10]]], expected[: READ[:10].sum()])
    assert np.isfinite(values).sum() == READ[:10].sum()


def test_the_npz_holds_every_map_left_then_right_as_pycortex_takes_them(subject):
    mapping.export_maps(subject)
    path = subject.results.path / "derivatives/sub-01/func/sub-01_space-fsaverage_den-164k_desc-encoding_statmap.npz"
    with np.load(path, allow_pickle=False) as maps:
        assert set(maps) == {"r/z", "q/z", "winner/progress=1"}
        assert all(maps[name].shape == (2 * N_FINE,) for name in maps)
        assert np.array_equal(maps["r/z"][PLACES[READ]], np.linspace(0, 0.9, 10, dtype=np.float32))
        assert np.isfinite(maps["r/z"]).sum() == 10
        assert maps["winner/progress=1"].dtype == np.int32
        assert maps["winner/progress=1"].min() == derivatives.NOT_READ
    told = json.loads(path.with_suffix(".json").read_text())
    assert "163842 of the left hemisphere" in told["Description"]
    assert told["Maps"]["winner/progress=1"]["Levels"] == {"0": "first", "1": "second"}


def test_the_npz_of_a_volume_holds_what_its_gifti_files_hold(tmp_path):
    at = np.array([[[0, 0, 0], [1, 0, 0]]] * 3, dtype=np.float32)
    surface = Surface("subj01", (3, 1, 1), {"lh": at, "rh": at[:, ::-1]})
    maps = derivatives.Maps("subj01", {"q/z": np.array([0.1, 0.2])}, np.array([0, 1]), (3, 1, 1))
    (path,) = derivatives.write_vertices(tmp_path, maps, surface)
    sides = [nibabel.load(side).darrays[0].data for side in derivatives.write_gifti(tmp_path, maps, surface)]
    with np.load(path) as found:
        assert np.array_equal(found["q/z"], np.concatenate(sides))
        assert np.allclose(found["q/z"], [0.1, 0.2, 0.2, 0.1])
    first = path.read_bytes()
    derivatives.write_vertices(tmp_path, replace(maps), surface)
    assert path.read_bytes() == first


def test_what_vertices_cannot_give_is_refused_before_anything_is_computed():
    with pytest.raises(RecipeError, match=r"(?s)encode.export: betas on fsaverage have no volume.*gifti or vertices"):
        with_settings(Recipe(), ["data.space=fsaverage", 'encode.export=["nifti"]'])
    with pytest.raises(RecipeError, match=r"data.space: a simulated subject is written in func1pt8mm"):
        with_settings(Recipe(), ["data.space=fsaverage", "data.kind=simulated"])


def test_coarse_vertices_are_those_of_fsaverage5():
    assert Vertices().coarse() == Vertices(N_COARSE)
