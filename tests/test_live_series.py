"""Live decoding of a series that grows: the estimate of one trial, and the file."""

import time

import numpy as np
import pandas as pd
import pytest
from fields import raises_with

from reseen.datasets.lab.single_trials import Events, Scan, estimate
from reseen.errors import DataError
from reseen.live import SeriesSource
from reseen.live.arrivals import Arrival, BadFile
from reseen.live.series import TrialOnsets, estimate_trial, read_onsets

SHAPE = (3, 4, 2)
TR = 1.6
ONSETS = np.array([4.0, 12.0, 21.0, 30.0, 42.0, 51.0])


def known_signal(n_volumes=40, *, noise=0.0, drift=0.0, seed=0):
    """Return a series around a baseline, ``(n_volumes, 24)``, and the amplitudes of its trials in per cent."""
    from nilearn.glm.first_level import compute_regressor

    rng = np.random.default_rng(seed)
    times = TR * np.arange(n_volumes)
    amplitude = rng.normal(2, 1, (len(ONSETS), 24))
    baseline = rng.uniform(500, 900, 24)
    signal = np.zeros((n_volumes, 24))
    for onset, size in zip(ONSETS, amplitude, strict=True):
        regressor, _ = compute_regressor(np.array([[onset], [2.0], [1.0]]), "spm", times)
        signal += regressor * size
    series = baseline * (1 + signal / 100) + drift * times[:, None] + noise * rng.normal(size=signal.shape)
    return series, amplitude, baseline


def events_of(path, *, stimulus=True):
    lines = ["onset\tduration" + "\tstimulus_id" * stimulus]
    lines += [f"{onset}\t2.0" + f"\t{7 + k}" * stimulus for k, onset in enumerate(ONSETS)]
    path.write_text("\n".join(lines))
    return path


def write_series(path, series, *, dtype=np.float32, n_declared=1, slope=None):
    """Write the volumes of a series; the header declares another number of volumes."""
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape((*SHAPE, n_declared))
    header.set_zooms((1.8, 1.8, 1.8, TR))
    header.set_xyzt_units("mm", "sec")
    header["vox_offset"] = 352
    if slope is not None:
        header.set_slope_inter(slope, 0)
    stored = series if slope is None else np.round(series / slope)
    with path.open("wb") as file:
        header.write_to(file)
        file.write(b"\0" * (352 - file.tell()))
        for volume in stored:
            file.write(volume.reshape(SHAPE).astype(dtype).tobytes(order="F"))
    return path


def polled(source, n=20):
    return [found for found in (source.poll() for _ in range(n)) if found is not None]


def test_the_first_trial_of_a_known_signal_is_recovered():
    series, amplitude, baseline = known_signal()
    onsets = TrialOnsets(ONSETS, np.full(6, 2.0), None)
    n_used = int(np.ceil((ONSETS[0] + 7.9) / TR)) + 1  # before the next trial starts
    found = estimate_trial(series[:n_used], 0, onsets, TR)
    expected = amplitude[0] * baseline / series[:n_used].mean(axis=0)  # per cent of the mean, not of the baseline
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_estimate_of_a_later_trial_is_that_of_least_squares_separate():
    from nilearn.glm.first_level import make_first_level_design_matrix

    series, amplitude, _ = known_signal(noise=1.0)
    onsets = TrialOnsets(ONSETS, np.full(6, 2.0), None)
    n_used = int(np.ceil((ONSETS[4] + 8) / TR)) + 1
    started = TR * (n_used - 1) >= ONSETS
    events = Events(ONSETS[started], np.full(started.sum(), 2.0), np.flatnonzero(started), ("image",) * started.sum())
    found = estimate_trial(series[:n_used], 4, onsets, TR)
    names = ["trial" if k == 4 else "others" for k in np.flatnonzero(started)]
    table = pd.DataFrame({"onset": events.onset, "duration": events.duration, "trial_type": names})
    design = make_first_level_design_matrix(TR * np.arange(n_used), table, hrf_model="spm", high_pass=0.01)
    fitted = np.linalg.lstsq(design.to_numpy(), series[:n_used])[0][list(design.columns).index("trial")]
    np.testing.assert_allclose(found, 100 * fitted / series[:n_used].mean(axis=0), rtol=1e-5)
    similar = estimate(series[:n_used], events, Scan(TR, 0.0, {}), "lss")[4]
    assert np.corrcoef(found, similar)[0, 1] > 0.95  # that one models autocorrelated noise, too
    assert np.corrcoef(found, amplitude[4])[0, 1] > 0.8


def test_a_voxel_without_signal_gets_zero_and_a_drift_is_removed():
    series, _, _ = known_signal(60, drift=0.0)
    drifting, _, _ = known_signal(60, drift=0.3)
    series[:, 3], series[:, 5] = 0.0, 400.0
    drifting[:, 3], drifting[:, 5] = 0.0, 400.0
    onsets = TrialOnsets(ONSETS, np.full(6, 2.0), None)
    plain, found = (estimate_trial(each, 4, onsets, TR) for each in (series, drifting))
    assert plain[[3, 5]].tolist() == [0, 0]
    rest = np.delete(np.arange(24), [3, 5])
    assert np.abs(found[rest] - plain[rest]).max() < 0.4  # per cent; 0.3 a second is 3 to 6 % over the series


def test_a_growing_file_gives_each_trial_once_and_never_uses_later_volumes(tmp_path):
    series, _, _ = known_signal()
    voxels = np.array([2, 5, 6, 23])
    events = events_of(tmp_path / "events.tsv")
    path = write_series(tmp_path / "bold.nii", series)
    whole = polled(SeriesSource(path, events, voxels))
    content = path.read_bytes()
    growing = tmp_path / "growing.nii"
    source = SeriesSource(growing, events, voxels)
    assert source.poll() is None  # the file does not exist yet
    found, sizes = [], [100, 352, *range(352 + 50, len(content) + 60, 57)]  # in the middle of headers and volumes
    for size in sizes:
        growing.write_bytes(content[:size])
        n_volumes = max(size - 352, 0) // (24 * 4)
        new = polled(source, 3)
        for each in new:
            number = len(found)
            assert TR * (n_volumes - 1) >= ONSETS[number] + 8 - 1e-6
            found.append(each)
    assert [each.name for each in found] == [f"growing.nii, trial {k}" for k in range(6)]
    assert all(isinstance(each, Arrival) for each in (*whole, *found))
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_array_equal(one.trials.trials.betas, other.trials.trials.betas)
    trials = found[2].trials.trials
    assert (trials.volume_shape, trials.stimulus_id.tolist(), found[2].trials.labelled) == (SHAPE, [9], True)
    # voxels are in C order, the file is in Fortran order
    onsets = read_onsets(events)
    n_used = int(np.ceil((ONSETS[2] + 8) / TR)) + 1
    stored = series.astype(np.float32).reshape(-1, *SHAPE).reshape(len(series), -1)
    expected = estimate_trial(stored[:n_used, voxels], 2, onsets, TR)
    np.testing.assert_allclose(trials.betas[0], expected, rtol=1e-5)


def test_trials_that_were_decoded_before_are_not_estimated_again(tmp_path):
    path, events = write_series(tmp_path / "bold.nii", known_signal()[0]), events_of(tmp_path / "e.tsv", stimulus=False)
    source = SeriesSource(path, events, np.arange(4), used=["bold.nii, trial 0", "bold.nii, trial 1"])
    found = polled(source)
    assert found[0].name == "bold.nii, trial 2"
    assert not found[0].trials.labelled


def test_scaled_integers_are_read_in_their_units(tmp_path):
    series, _, _ = known_signal()
    path = write_series(tmp_path / "bold.nii", series, dtype=np.int16, slope=0.05)
    found = polled(SeriesSource(path, events_of(tmp_path / "e.tsv"), np.arange(24)))[0].trials.trials.betas[0]
    plain = polled(SeriesSource(write_series(tmp_path / "f.nii", series), tmp_path / "e.tsv", np.arange(24)))[0]
    np.testing.assert_allclose(found, plain.trials.trials.betas[0], atol=0.1)


def test_series_and_tables_that_cannot_be_used_are_refused(tmp_path):
    series, events = known_signal()[0], events_of(tmp_path / "events.tsv")
    with raises_with(DataError, expected=".nii", found=".gz"):
        SeriesSource(tmp_path / "bold.nii.gz", events, np.arange(4))
    (tmp_path / "no_duration.tsv").write_text("onset\n1.0\n")
    with raises_with(DataError, where="duration"):
        read_onsets(tmp_path / "no_duration.tsv")
    for cell in ("soon", "inf"):
        (tmp_path / "text.tsv").write_text(f"onset\tduration\n{cell}\t2\n")
        with raises_with(DataError, where="onset"):
            read_onsets(tmp_path / "text.tsv")
    (bad,) = polled(SeriesSource(write_series(tmp_path / "a.nii", series), events, np.array([5, 24])))
    assert isinstance(bad, BadFile)
    assert "the voxel 24" in bad.error
    (tmp_path / "text.nii").write_bytes(b"no NIfTI file" * 100)
    (bad,) = polled(SeriesSource(tmp_path / "text.nii", events, np.arange(4)))
    assert isinstance(bad, BadFile)


def test_an_error_that_stays_is_reported_once_while_the_series_grows_and_after_a_restart(tmp_path):
    series, events = known_signal()[0], events_of(tmp_path / "events.tsv")
    path, found = tmp_path / "bold.nii", []
    source = SeriesSource(path, events, np.array([5, 24]))
    for n_volumes in range(12, 16):
        write_series(path, series[:n_volumes])
        found += polled(source, 3)
    assert [type(each) for each in found] == [BadFile]
    assert polled(SeriesSource(path, events, np.array([5, 24]), reported=found[0].error)) == []
    write_series(path, series)
    assert [type(each) for each in polled(SeriesSource(path, events, np.array([5, 23]), reported="another"))][:1] == [
        Arrival
    ]


def test_the_time_of_arrival_is_the_last_change_of_the_series_when_the_volumes_of_the_trial_were_there(tmp_path):
    series, events = known_signal()[0], events_of(tmp_path / "events.tsv")
    path = write_series(tmp_path / "bold.nii", series[:4])
    source = SeriesSource(path, events, np.arange(4))
    assert source.poll() is None
    time.sleep(0.2)
    write_series(path, series)  # all trials are ready at once
    landed = time.monotonic()
    time.sleep(0.3)
    found = []
    while len(found) < 6:
        time.sleep(0.05)
        found += polled(source, 1)
    assert max(abs(each.seen - landed) for each in found) < 0.15


@pytest.mark.parametrize("tr", [None, 3.2])
def test_the_time_between_volumes_is_that_of_the_header_or_the_given_one(tmp_path, tr):
    path, events = write_series(tmp_path / "bold.nii", known_signal()[0][:12]), events_of(tmp_path / "e.tsv")
    found = polled(SeriesSource(path, events, np.arange(4), repetition_time=tr))
    # 12 volumes last 17.6 s, or 35.2 s; a trial is ready 8 s after its onset
    assert len(found) == sum(11 * (tr or TR) >= ONSETS + 8)
