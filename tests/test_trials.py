from __future__ import annotations

import numpy as np
import pytest

from reseen.errors import DataError, ShapeError
from reseen.split import Split
from reseen.trials import Trials


def some_trials(stimulus_id: list[int], n_repetitions: list[int] | None = None) -> Trials:
    n = len(stimulus_id)
    rng = np.random.default_rng(0)
    return Trials(
        subject="subj01",
        betas=rng.standard_normal((n, 4)).astype(np.float32),
        stimulus_id=np.array(stimulus_id, dtype=np.int64),
        session=np.arange(n, dtype=np.int64) // 3,
        rois={"early": np.array([True, True, False, False]), "ventral": np.array([False, True, True, False])},
        n_repetitions=np.array(n_repetitions or [1] * n, dtype=np.int64),
    )


def test_averages_are_means_over_repetitions_sorted_by_stimulus() -> None:
    trials = some_trials([7, 2, 7, 5, 7])
    averaged = trials.average()
    assert averaged.stimulus_id.tolist() == [2, 5, 7]
    assert averaged.n_repetitions.tolist() == [1, 1, 3]
    np.testing.assert_allclose(averaged.betas[2], trials.betas[[0, 2, 4]].mean(0), rtol=1e-6)
    assert set(averaged.session.tolist()) == {-1}


def test_an_average_of_averages_weighs_them_by_their_repetitions() -> None:
    trials = some_trials([3, 3, 3])
    parts = Trials(np.stack([trials.betas[:2].mean(0), trials.betas[2]]), [3, 3], n_repetitions=[2, 1])
    np.testing.assert_allclose(parts.average().betas, trials.average().betas, rtol=1e-5)


def test_sessions_are_standardised_apart() -> None:
    trials = some_trials(list(range(9)))
    trials.betas[:, 3] = 2.0
    standardised = trials.zscore_sessions()
    for session in range(3):
        part = standardised.betas[standardised.session == session]
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(part.std(0), [1, 1, 1, 0], rtol=1e-5)


def test_selection_keeps_the_order_of_presentation() -> None:
    trials = some_trials([7, 2, 7, 5])
    assert trials.select([7, 5]).stimulus_id.tolist() == [7, 7, 5]
    assert len(trials.select([1])) == 0
    np.testing.assert_array_equal(trials.take(np.array([3, 0])).betas, trials.betas[[3, 0]])


def test_the_union_of_rois_is_a_mask_over_voxels() -> None:
    trials = some_trials([1, 2])
    assert trials.roi(["early", "ventral"]).tolist() == [True, True, True, False]
    with pytest.raises(ShapeError, match="subj01 has no ROI 'V9'; there is early, ventral"):
        trials.roi(["V9"])
    with pytest.raises(ShapeError, match="no voxel in the ROIs"):
        trials.roi([])


def test_parts_that_do_not_fit_are_refused() -> None:
    trials = some_trials([1, 2])
    with pytest.raises(ShapeError, match="session has shape"):
        Trials(trials.betas, trials.stimulus_id, session=[0, 0, 0])
    with pytest.raises(ShapeError, match="early has shape"):
        Trials(trials.betas, trials.stimulus_id, rois={"early": np.ones(3, bool)})


def test_two_arrays_are_enough_and_types_are_tested() -> None:
    betas = np.arange(12).reshape(4, 3)
    trials = Trials(betas, [0, 1, 0, 1])
    assert trials.betas.dtype == np.float32
    assert trials.n_repetitions.tolist() == [1] * 4
    assert trials.session.tolist() == [0] * 4
    assert trials.roi(["all"]).all()
    assert trials.roi(None).all()
    with pytest.raises(DataError, match="integers are expected"):
        Trials(betas, [0.0, 1.0, 0.0, 1.0])
    with pytest.raises(DataError, match="stimulus_id contains -1; numbers from 0"):
        Trials(betas, [0, -1, 0, 1])
    with pytest.raises(DataError, match="real numbers are expected"):
        Trials(betas.astype(str), [0, 1, 0, 1])
    with pytest.raises(DataError, match="boolean mask"):
        Trials(betas, [0, 1, 0, 1], rois={"V1": np.array([1, 0, 1])})
    with pytest.raises(ShapeError, match=r"\(n_trials, n_voxels\) is expected"):
        Trials(betas[0], [0, 1, 0])


def test_a_trial_can_be_standardised_as_its_session_was() -> None:
    trials = some_trials(list(range(9)))
    standardised = trials.zscore_sessions()
    assert standardised.scaling is not None
    again = standardised.scaling.apply(trials.betas[[7, 1]], trials.session[[7, 1]])
    np.testing.assert_array_equal(again, standardised.betas[[7, 1]])
    with pytest.raises(ShapeError, match="session 5 are not known; known sessions are 0, 1, 2"):
        standardised.scaling.apply(trials.betas[:1], np.array([5]))


def test_what_is_printed_has_at_most_six_lines() -> None:
    trials = some_trials([7, 2, 7, 5])
    shown = repr(trials.average())
    assert "Trials of subj01: 3 trials of 3 stimuli, 4 voxels" in shown
    assert "averages of 1 to 2 trials" in shown
    for thing in (trials, trials.zscore_sessions(), Split.fixed([1, 2], [3]), Split.leave_out(range(5), 5, 0)):
        assert len(repr(thing).splitlines()) <= 6


def test_trials_and_splits_can_be_compared_without_an_error() -> None:
    trials, split = some_trials([0, 1, 2]), Split.fixed(np.array([0]), np.array([1]))
    assert trials != some_trials([0, 1, 2])
    assert split != Split.fixed(np.array([0]), np.array([1]))
    assert len({trials, split, trials, split}) == 2
