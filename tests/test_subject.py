"""A subject in memory, from NSD's layout and from own arrays: one class, read when it is used."""

import numpy as np
import pytest
from loading import load
from nsd_tree import recipe_for

from reseen.datasets import load_arrays, load_nsd
from reseen.errors import DataError, RecipeError, ShapeError
from reseen.split import Split
from reseen.stimuli import Stimuli
from reseen.subject import Subject
from reseen.trials import Trials


def in_memory(**options) -> Subject:
    rng = np.random.default_rng(0)
    trials = Trials(rng.standard_normal((20, 6)), np.tile(np.arange(10), 2), subject="subj03")
    return Subject(trials, Stimuli(rng.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)), **options)


def test_training_trials_are_single_and_test_trials_are_averages_with_their_images() -> None:
    subject = in_memory(test=[9, 7])
    assert subject.name == "subj03"
    assert subject.train.stimulus_id.tolist() == [*range(7), 8, *range(7), 8]
    assert subject.test.stimulus_id.tolist() == [7, 9]
    assert subject.test.n_repetitions.tolist() == [2, 2]
    np.testing.assert_array_equal(subject.test_images, subject.stimuli.images([7, 9]))


def test_each_fold_is_a_subject() -> None:
    subject = in_memory(split=Split.leave_out(range(10), 5, seed=0))
    tested = [fold.test.stimulus_id.tolist() for fold in subject.folds()]
    assert sorted(stimulus for part in tested for stimulus in part) == list(range(10))
    with pytest.raises(ShapeError, match=r"5 folds.*subject.folds\(\)"):
        _ = subject.train


def test_what_is_missing_or_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match="which stimuli are held out"):
        _ = in_memory().train
    with pytest.raises(ShapeError, match="Give one of them"):
        in_memory(test=[1], split=Split.fixed([0], [1]))
    trials = Trials(np.zeros((2, 3)), [1, 12])
    images = np.zeros((10, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ShapeError, match=r"have no image .the first is 12.; images have ids from 0 to 9"):
        Subject(trials, Stimuli(images))
    with pytest.raises(ShapeError, match="read later need a split"):
        Subject(lambda: trials, Stimuli(images))


def test_stimuli_in_memory_are_checked_when_they_are_made() -> None:
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    stimuli = Stimuli(images, ["one", ["two", "zwei"], "three"], stimulus_id=[4, 2, 9])
    assert stimuli.captions(2) == ("two", "zwei")
    assert stimuli.select([9, 4]).stimulus_id.tolist() == [9, 4]
    with pytest.raises(DataError, match="no stimulus 2"):
        stimuli.select([9, 4]).image(2)
    with pytest.raises(DataError, match=r"image 0 is float64 \(8, 8, 3\); uint8"):
        Stimuli(images / 255.0)
    with pytest.raises(DataError, match="captions of image 1"):
        Stimuli(images, ["one", "", "three"])
    with pytest.raises(ShapeError, match="found 2"):
        Stimuli(images, ["one", "two"])
    with pytest.raises(ShapeError, match="names a stimulus twice"):
        Stimuli(images, stimulus_id=[1, 1, 2])
    with pytest.raises(ShapeError, match="as many stimulus ids"):
        Stimuli(images, stimulus_id=[1, 2])
    with pytest.raises(ShapeError, match="stimulus_id must say"):
        Stimuli(lambda _: images[0])
    with pytest.raises(DataError, match="expected one of crop, pad, squeeze"):
        Stimuli(images, fit="stretch")
    tall = Stimuli([np.zeros((9, 4, 3), dtype=np.uint8)] * 2, fit="pad")
    assert tall.image(1).shape == (9, 9, 3)


def test_a_tree_in_nsds_layout_opens_at_once_and_is_read_when_used(simulated_tree) -> None:
    subject = load_nsd(simulated_tree, "subj01", rois=["early", "ventral"])
    assert "read when they are first used" in repr(subject)
    data = recipe_for(simulated_tree, rois=("early", "ventral"), zscore_sessions=True)
    trials, _, split = load(data, "subj01")
    np.testing.assert_array_equal(subject.trials.betas, trials.betas)
    np.testing.assert_array_equal(subject.test.stimulus_id, split.test_ids)
    assert subject.trials is subject.trials
    assert len(subject.stimuli) == len(split.used)
    raw = load_nsd(simulated_tree, "subj01", rois=["early", "ventral"], zscore_sessions=False).trials
    assert subject.trials.scaling is not None
    again = subject.trials.scaling.apply(raw.betas, raw.session)
    np.testing.assert_array_equal(again, subject.trials.betas)
    assert len(list(load_nsd(simulated_tree, n_folds=3).folds())) == 3
    with pytest.raises(RecipeError, match="rois"):
        load_nsd(simulated_tree, rois=[])


def test_own_arrays_need_no_recipe(brain_file) -> None:
    subject = load_arrays(brain_file, rois=["low", "high"])
    assert set(subject.trials.rois) == {"low", "high"}
    assert len(subject.test_images) == len(subject.test)
    assert len(list(load_arrays(brain_file, n_folds=4).folds())) == 4
