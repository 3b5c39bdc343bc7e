"""The reader of plain arrays, and a real brain where its file is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from loading import load

from reseen.datasets import inventory
from reseen.datasets.array_files import KNOWN
from reseen.datasets.array_stimuli import magnify
from reseen.errors import DataError
from reseen.recipe import DataRecipe

MIYAWAKI = Path(
    os.environ.get("RESEEN_MIYAWAKI")
    or Path(__file__).parents[2] / "shared/data/miyawaki2008/miyawaki2008_v1_figures.npz"
)


UNCHECKED = "labels not checked (12 pairs of trials of one stimulus)"


def make_arrays(**changes: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {
        "betas": rng.normal(size=(12, 7)),
        "stimulus_images": rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8),
        "stimulus_id": np.tile([0, 3, 1, 2], 3),
        "run": np.repeat([1, 2, 3], 4),
        "captions": np.array([["a cat", "one cat"], ["a dog", ""], ["a hut", "home"], ["sea", ""]]),
        "roi_front": np.arange(7) < 3,
        "ncsnr": np.linspace(0, 1, 7),
    }
    arrays.update(changes)
    return {name: np.asarray(values) for name, values in arrays.items() if values is not None}


def save(path: Path, **changes: object) -> Path:
    np.savez(path, **make_arrays(**changes))
    return path


def recipe_for(path: Path | None, **settings: object) -> DataRecipe:
    return DataRecipe.model_validate(
        {"kind": "arrays", "path": path, "rois": ("all",), "n_folds": 2, "zscore_sessions": False, **settings}
    )


def test_arrays_come_back_as_trials_and_stimuli(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz")
    trials, stimuli, split = load(recipe_for(path), "anyone")
    arrays = make_arrays()
    np.testing.assert_allclose(trials.betas, arrays["betas"], rtol=1e-6)
    assert trials.betas.dtype == np.float32
    np.testing.assert_array_equal(trials.stimulus_id, arrays["stimulus_id"])
    np.testing.assert_array_equal(trials.session, arrays["run"])
    np.testing.assert_array_equal(stimuli.images([3, 0]), arrays["stimulus_images"][[3, 0]])
    assert stimuli.captions(0) == ("a cat", "one cat")
    assert stimuli.captions(1) == ("a dog",)
    assert len(split.folds) == 2
    assert not any(np.intersect1d(train, test).size for train, test in split.folds)
    assert stimuli.categories == {}


def test_categories_are_told_by_stimulus(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz", category=np.array(["animal", "animal", "", "place"]))
    assert load(recipe_for(path), "anyone")[1].categories == {"category": {0: "animal", 1: "animal", 2: "", 3: "place"}}
    with pytest.raises(DataError, match=r"category has shape \(3,\); 4 stimuli need one each"):
        load(recipe_for(save(path, category=np.arange(3))), "anyone")


def test_folder_of_npy_files_is_the_same(tmp_path: Path) -> None:
    for name, values in make_arrays().items():
        np.save(tmp_path / f"{name}.npy", values)
    trials, stimuli, _ = load(recipe_for(tmp_path), "anyone")
    np.testing.assert_allclose(trials.betas, make_arrays()["betas"], rtol=1e-6)
    assert stimuli.captions(3) == ("sea",)


def test_each_subject_may_have_its_own_file(tmp_path: Path) -> None:
    save(tmp_path / "a.npz")
    save(tmp_path / "b.npz", betas=np.ones((12, 7)))
    recipe = recipe_for(tmp_path, subjects=("a", "b"))
    assert (load(recipe, "b")[0].betas == 1).all()
    assert not (load(recipe, "a")[0].betas == 1).all()


def test_one_file_is_not_two_subjects(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz")
    with pytest.raises(DataError, match=r"arrays of one subject; data\.subjects names 2"):
        load(recipe_for(path, subjects=("a", "b")), "a")


def test_rois_choose_voxels(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz")
    trials, _, _ = load(recipe_for(path, rois=("front",)), "anyone")
    assert trials.betas.shape == (12, 3)
    np.testing.assert_allclose(trials.ncsnr, [0, 1 / 6, 1 / 3], rtol=1e-6)
    trials, _, _ = load(recipe_for(path, rois=("front", "all")), "anyone")
    assert trials.rois["front"].sum() == 3
    with pytest.raises(DataError, match="no ROI 'early'; it has all, front"):
        load(recipe_for(path, rois=("early",)), "anyone")


def test_fixed_test_set_is_kept_unless_folds_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz", test_stimulus_id=[2, 1])
    ((train, test),) = load(recipe_for(path), "anyone")[2].folds
    assert (train.tolist(), test.tolist()) == ([0, 3], [1, 2])
    assert len(load(recipe_for(path, test="folds"), "anyone")[2].folds) == 2
    ((_, test),) = load(recipe_for(path, n_test=1), "anyone")[2].folds
    assert test.tolist() == [1]


def test_images_by_trial_define_stimuli_where_no_ids_are_given(tmp_path: Path) -> None:
    shown = make_arrays()["stimulus_images"][make_arrays()["stimulus_id"]]
    path = save(tmp_path / "brain.npz", stimulus_images=None, images=shown, stimulus_id=None, captions=None)
    trials, stimuli, _ = load(recipe_for(path), "anyone")
    np.testing.assert_array_equal(stimuli.images(trials.stimulus_id), shown)
    assert len(stimuli.stimulus_id) == 4
    assert stimuli.captions(0) == ()


def by_brightness(tmp_path: Path, **changes: object) -> Path:
    """Three images, brightest first, shown twice each; ids are left out."""
    images = np.array([200, 100, 200, 50, 100, 50], dtype=np.uint8)[:, None, None] * np.ones((64, 64), np.uint8)
    path = tmp_path / "brain.npz"
    np.savez(path, **{"betas": np.arange(6.0)[:, None], "images": images, **changes})
    return path


def test_stimuli_without_ids_are_numbered_as_they_first_appear(tmp_path: Path) -> None:
    told = {
        "captions": np.array(["200", "100", "50"]),
        "category": np.array(["bright", "middle", "dark"]),
        "test_stimulus_id": [2],
    }
    trials, stimuli, split = load(recipe_for(by_brightness(tmp_path, **told)), "anyone")
    assert trials.stimulus_id.tolist() == [0, 1, 0, 2, 1, 2]
    for stimulus, (brightness, category) in enumerate([(200, "bright"), (100, "middle"), (50, "dark")]):
        assert (stimuli.image(stimulus) == brightness).all()
        assert stimuli.captions(stimulus) == (str(brightness),)
        assert stimuli.categories["category"][stimulus] == category
    assert split.folds[0][1].tolist() == [2]
    named = load(recipe_for(by_brightness(tmp_path, figure_name=np.array(["a", "b", "c"]))), "anyone")[1]
    assert named.captions(2) == ("a white c on black",)


def test_captions_and_categories_are_of_stimuli_and_not_of_trials(tmp_path: Path) -> None:
    said = r"3 stimuli need one each\. Ids are left out: .* first appear"
    for name in ("captions", "figure_name", "category"):
        with pytest.raises(DataError, match=rf"{name} has shape \(6,\); {said}"):
            load(recipe_for(by_brightness(tmp_path, **{name: np.array(list("abacbc"))})), "anyone")
    path = save(tmp_path / "brain.npz", captions=np.array(list("adbc" * 3)))
    with pytest.raises(DataError, match=r"captions has shape \(12,\); 4 stimuli need one each, by stimulus_id"):
        load(recipe_for(path), "anyone")
    with pytest.raises(DataError, match=r"figure_name has shape \(4, 1\); 4 stimuli need one each"):
        load(recipe_for(save(path, captions=None, figure_name=np.array([["a"]] * 4))), "anyone")


def test_images_by_trial_must_agree_with_the_ids(tmp_path: Path) -> None:
    shown = make_arrays()["stimulus_images"][make_arrays()["stimulus_id"]]
    shown[5] = 0
    path = save(tmp_path / "brain.npz", stimulus_images=None, images=shown)
    with pytest.raises(DataError, match="two trials of stimulus 3 show different images"):
        load(recipe_for(path), "anyone")


def test_order_of_images_that_could_be_either_is_asked_for(tmp_path: Path) -> None:
    images = np.zeros((12, 64, 64), dtype=np.uint8)
    path = save(
        tmp_path / "brain.npz",
        stimulus_images=None,
        images=images,
        stimulus_id=np.arange(12)[::-1],
        captions=None,
    )
    with pytest.raises(DataError, match="may be ordered by trial or by stimulus"):
        load(recipe_for(path), "anyone")


@pytest.mark.parametrize("kind", [bool, np.float32, np.float64, np.int64])
def test_grey_images_of_any_type_become_rgb(tmp_path: Path, kind: type) -> None:
    images = np.zeros((4, 64, 64))
    images[:, 2] = 255 if kind is np.int64 else 1
    path = save(tmp_path / "brain.npz", stimulus_images=images.astype(kind))
    image = load(recipe_for(path), "anyone")[1].image(0)
    assert image.shape == (64, 64, 3)
    assert (image[2] == 255).all()
    assert image.sum() == 255 * 64 * 3


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_whole_numbers_of_0_and_1_are_refused_and_not_near_black(tmp_path: Path, kind: type) -> None:
    figures = np.random.default_rng(2).integers(0, 2, (4, 10, 10))
    path = save(tmp_path / "brain.npz", stimulus_images=figures.astype(kind))
    with pytest.raises(DataError, match=rf"{kind.__name__} from 0 to 1; .*255 is white.*Save them as bool"):
        load(recipe_for(path), "anyone")
    for white in (figures.astype(bool), (figures * 255).astype(kind)):
        stimuli = load(recipe_for(save(path, stimulus_images=white)), "anyone")[1]
        np.testing.assert_array_equal(stimuli.images(range(4))[:, ::7, ::7, 0], figures * 255)


@pytest.mark.parametrize(("cells", "side"), [(10, 70), (48, 96), (64, 64), (63, 126), (1, 64), (16, 64)])
def test_small_images_are_magnified_by_a_whole_number_and_nothing_is_added(cells: int, side: int) -> None:
    small = np.random.default_rng(1).integers(0, 256, (2, cells, cells, 3), dtype=np.uint8)
    large = magnify(small)
    assert large.shape == (2, side, side, 3)
    factor = side // cells
    np.testing.assert_array_equal(large[:, ::factor, ::factor], small)
    np.testing.assert_array_equal(large[:, factor - 1 :: factor, factor - 1 :: factor], small)


def test_unrelated_small_images_do_not_correlate() -> None:
    """A black frame around 48 pixels lifted this from 0 to .77."""
    small = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    one, other = magnify(small).reshape(2, -1).astype(float)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_images_that_are_large_enough_stay_as_they_are() -> None:
    images = np.ones((2, 64, 48, 3), dtype=np.uint8)
    assert magnify(images) is images


def test_runs_are_standardised_if_the_recipe_says_so(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz")
    trials, _, _ = load(recipe_for(path, zscore_sessions=True), "anyone")
    for run in (1, 2, 3):
        np.testing.assert_allclose(trials.betas[trials.session == run].std(axis=0), 1, atol=1e-5)


def test_run_of_one_trial_is_not_silently_set_to_zero(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz", run=[0, *[1] * 11])
    with pytest.raises(DataError, match=r"run 0 contains 1 trials, too few.*zscore_sessions to false"):
        load(recipe_for(path, zscore_sessions=True), "anyone")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"betas": None}, r"contains no betas \(or responses, fmri\); it contains captions"),
        ({"betas": np.full((12, 7), np.nan)}, "NaN, infinite or too large values in 7 of 7 voxels"),
        ({"betas": np.zeros(12)}, r"betas has shape \(12,\)"),
        ({"stimulus_id": np.arange(11)}, r"stimulus_id has shape \(11,\)"),
        ({"stimulus_id": np.arange(12) / 2}, "integers of shape"),
        ({"stimulus_id": np.tile([1, 2, 3, 4], 3)}, "4 images need a stimulus_id from 0 to 3; found ids to 4"),
        ({"stimulus_id": np.tile([-1, 0, 1, 2], 3)}, "ids count from 0"),
        ({"stimulus_id": None}, "need a stimulus_id from 0 to 3; found none"),
        ({"stimulus_images": np.full((4, 8, 8), 3.5)}, "floats from 0 to 1"),
        ({"stimulus_images": np.zeros((4, 8), np.uint8)}, r"images have shape \(4, 8\)"),
        ({"stimulus_images": np.zeros((0, 8, 8), np.uint8)}, r"images have shape \(0, 8, 8, 3\)"),
        ({"captions": np.array(["a", "b"])}, r"captions has shape \(2,\); 4 stimuli need one each"),
        ({"run": np.arange(5)}, r"run has shape \(5,\)"),
        ({"roi_front": np.ones(3, bool)}, r"roi_front has shape \(3,\)"),
        ({"ncsnr": np.ones(3)}, r"ncsnr has shape \(3,\)"),
        ({"test_stimulus_id": [9]}, "test_stimulus_id names stimulus 9, which no trial shows"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = save(tmp_path / "brain.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        load(recipe_for(path), "anyone")
    assert "brain.npz" in str(caught.value)


def test_missing_truncated_and_pickled_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pass --data"):
        load(recipe_for(None), "anyone")
    with pytest.raises(DataError, match=r"none\.npz is missing"):
        load(recipe_for(tmp_path / "none.npz"), "anyone")
    path = save(tmp_path / "brain.npz")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"brain\.npz cannot be read"):
        load(recipe_for(path), "anyone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no arrays"):
        load(recipe_for(tmp_path / "empty"), "anyone")
    np.savez(tmp_path / "pickled.npz", betas=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"betas is an array of Python objects.*Save betas.astype\(float\) instead"):
        load(recipe_for(tmp_path / "pickled.npz"), "anyone")


def test_inventory_says_what_the_file_holds(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz")
    (check,) = inventory(recipe_for(path), "anyone")
    assert check.ok
    assert check.size == path.stat().st_size
    assert check.note == "12 trials of 4 stimuli, 7 voxels, 3 runs, no test_stimulus_id, " + UNCHECKED
    (check,) = inventory(recipe_for(save(path, test_stimulus_id=[1, 2], runs=[0], test_id=[1])), "anyone")
    assert check.note == (
        f"12 trials of 4 stimuli, 7 voxels, 3 runs, 2 test images, {UNCHECKED}, "
        "not read: runs (did you mean run?), test_id"
    )
    path = save(tmp_path / "brain.npz")
    (check,) = inventory(recipe_for(path, rois=("early",)), "anyone")
    assert not check.ok
    assert "no ROI 'early'" in check.note
    (check,) = inventory(recipe_for(save(path, captions=np.array(list("adbc" * 3)))), "anyone")
    assert not check.ok
    assert "captions has shape (12,)" in check.note


@pytest.mark.skipif(not MIYAWAKI.exists(), reason="the file of real fMRI is not here; RESEEN_MIYAWAKI may name it")
def test_a_real_brain_that_saw_figures_is_read() -> None:
    trials, stimuli, split = load(recipe_for(MIYAWAKI, n_folds=10), "subj01")
    assert trials.betas.shape == (119, 967)
    assert trials.rois["all"].all()
    assert len(split.folds) == 10
    assert sorted(np.concatenate([test for _, test in split.folds])) == list(range(20))
    images = stimuli.images(range(20))
    assert images.shape == (20, 70, 70, 3)
    assert set(np.unique(images)) == {0, 255}
    with np.load(MIYAWAKI) as content:
        cells = stimuli.images(trials.stimulus_id)[:, 3::7, 3::7, 0]
        np.testing.assert_array_equal(cells, content["pictures"])
        np.testing.assert_array_equal(trials.session, content["run"])
        assert stimuli.captions(0) == (f"a white {content['figure_name'][0]} on black",)


def test_complex_betas_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "brain.npz", betas=np.ones((12, 7), dtype=np.complex64))
    with pytest.raises(DataError, match=r"betas has shape .* and type complex64"):
        load(recipe_for(path), "anyone")


def test_the_page_about_own_data_names_every_array_that_is_read() -> None:
    page = (Path(__file__).parents[1] / "docs" / "own_data.md").read_text(encoding="utf-8")
    assert [name for name in (*KNOWN, "roi_<name>") if f"`{name}`" not in page] == []


def test_arrays_are_read_where_the_memory_of_the_machine_cannot_be_asked_for(tmp_path, monkeypatch):
    """Windows has no sysconf."""
    import os

    path = save(tmp_path / "data.npz")
    monkeypatch.delattr(os, "sysconf")
    assert len(load(recipe_for(path), "anyone")[0])
