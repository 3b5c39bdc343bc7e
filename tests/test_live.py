"""Live decoding without a server: the decoder, the folder that is watched, the recording and its replay."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fields import raises_with
from live_runs import NoStimuli, decode_files, one, read, run_of, states, write_trial
from PIL import Image

from reseen import load_nsd
from reseen.check.costs import _steps
from reseen.decode.new_trials import RunningScaling, running_statistics
from reseen.defaults import LIVE_STEPS
from reseen.errors import DataError, ModelError, RecipeError, ResultsError, ShapeError
from reseen.ldm.sampling import evaluations_per_step
from reseen.live import Board, FolderSource, KnownStimuli, LiveSession, Recording, replay, voxels_needed
from reseen.live.arrivals import Arrival, BadFile
from reseen.live.confidence import confidence_of
from reseen.live.opening import fast_recipe
from reseen.live.replay import LONGEST_PAUSE, schedule
from reseen.live.watching import in_order
from reseen.recipe import ReconstructRecipe
from reseen.reconstruction import generate

ROOT = Path(__file__).resolve().parents[1]
PERFORMANCE = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def results(simulated_tree, tiny_model, tmp_path_factory):
    return run_of(simulated_tree, tiny_model, tmp_path_factory.mktemp("run") / "results")


@pytest.fixture(scope="module")
def raw(simulated_tree):
    """Trials of two sessions, not standardised, in an order of voxels that is not that of the run."""
    trials = load_nsd(simulated_tree, "subj01", zscore_sessions=False).trials
    order = np.random.default_rng(0).permutation(trials.betas.shape[1])
    moved = replace(trials, betas=trials.betas[:, order], voxel_index=trials.voxel_index[order], rois={}, ncsnr=None)
    return replace(moved, session=np.repeat([3, 8], [5, len(trials) - 5]))


# ------------------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize("scaling", ["causal", "training"])
def test_live_features_equal_those_of_apply(results, raw, scaling):
    expected = results.apply(raw, scaling=scaling, conditions=[])
    live = results.live(condition="zc", scaling=scaling, images=False)
    for row in range(len(raw)):
        trial = live.decode(one(raw, row), labelled=True)
        assert list(trial.features) == ["z"]  # c follows later, so that z is fast
        live.complete(trial)
        for name in ("z", "c"):
            np.testing.assert_allclose(
                trial.features[name].array[0], expected.features[name].array[row], rtol=0, atol=1e-6
            )
    assert len(live) == len(raw)
    np.testing.assert_array_equal(live.sd["z"], expected.sd["z"])


def test_features_that_are_completed_later_do_not_depend_on_trials_in_between(results, raw):
    expected = results.apply(raw, scaling="causal", conditions=[]).features["c"].array
    live = results.live(condition="zc", images=False)
    trials = [live.decode(one(raw, row), labelled=True) for row in range(len(raw))]
    for row in reversed(range(len(raw))):
        live.complete(trials[row])
        np.testing.assert_allclose(trials[row].features["c"].array[0], expected[row], rtol=0, atol=1e-6)


def test_running_scaling_gives_the_numbers_of_running_statistics():
    rng = np.random.default_rng(0)
    betas, mean, scale = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=5), rng.uniform(1, 2, 5)
    running = RunningScaling(mean, scale)
    found = np.stack([running.standardise(beta) for beta in betas])
    means, scales = running_statistics(betas, mean, scale)
    np.testing.assert_array_equal(found, ((betas - means) / scales).astype(np.float32))


def test_a_trial_that_is_refused_does_not_change_the_next_ones(results, raw):
    plain, disturbed = (results.live(condition="zc", images=False) for _ in range(2))
    expected = [plain.decode(one(raw, row)).features["z"].array for row in range(3)]
    used = results.decoder("z").voxel_index_
    broken = one(raw, 1)
    lacking = np.flatnonzero(broken.voxel_index != used[0])
    fewer = replace(broken, betas=broken.betas[:, lacking], voxel_index=broken.voxel_index[lacking])
    not_finite = broken.betas.copy()
    found = [disturbed.decode(one(raw, 0)).features["z"].array]
    with raises_with(ShapeError, where="voxel_index", expected=len(used), found=len(used) - 1):
        disturbed.decode(fewer)
    for value in (np.nan, np.inf, -3.4e38):
        not_finite[0, broken.voxel_index == used[0]] = value
        with raises_with(DataError, where="betas", found=1):
            disturbed.decode(replace(broken, betas=not_finite))
    with raises_with(ShapeError, where="volume_shape"):
        disturbed.decode(replace(broken, volume_shape=(2, 3, 4)))
    with raises_with(DataError, where="trial", expected=1, found=2):
        disturbed.decode(raw.take(np.array([1, 2])))
    found += [disturbed.decode(one(raw, row)).features["z"].array for row in (1, 2)]
    np.testing.assert_array_equal(found, expected)


def test_a_rule_that_needs_later_trials_is_refused(results):
    for rule in ("session", "nosuch"):
        with raises_with(RecipeError, where="scaling", found=rule):
            results.live(scaling=rule, images=False)
    with raises_with(RecipeError, where="n_steps", expected=2, found=1):
        results.live(n_steps=1)
    with raises_with(RecipeError, where="conditions", found="i"):
        results.live(condition="zci")


def test_live_images_are_those_of_the_fast_sampler_up_to_rounding(results, raw):
    live = results.live(condition="zc", n_steps=4)
    trial = live.decode(one(raw, 0), labelled=True)
    start, image = live.start_image(trial), live.image(trial)
    model = results.live(condition="zc").model
    model.batching.at_once = None  # the number of rows of a run
    settings = {"sampler": "dpmpp", "n_steps": 4, "noise_index": "fixed", "n_samples": 1}
    recipe = results.recipe.reconstruct.model_copy(update=settings)
    for condition, found in (("z", start), ("zc", image)):
        made = []
        generate(
            model,
            condition,
            trial.features,
            recipe=recipe,
            seed=results.recipe.seed,
            subject="subj01",
            write=lambda _item, _sample, image, made=made: made.append(image),
        )
        assert np.abs(made[0].astype(int) - found).max() <= 1
    with raises_with(ModelError):
        results.live(condition="zc", images=False).image(trial)


def test_confidence_tells_departure_from_the_mean_and_what_known_stimuli_allow(results, raw):
    live = results.live(condition="zc", images=False)
    trial = live.decode(one(raw, 0))
    mean, sd = results.decoder("z").map_.intercept.reshape(live.sd["z"].shape), live.sd["z"]
    trial.features["z"].array[0] = mean
    assert confidence_of(live, trial)["departure z"] == pytest.approx(0, abs=1e-5)
    trial.features["z"].array[0] = mean + 2 * sd
    found = confidence_of(live, trial, true=mean)
    assert found["departure z"] == pytest.approx(2, rel=1e-3)
    assert found["inside z"] == 0  # 80 % intervals reach 1.28 standard deviations
    assert confidence_of(live, trial, true=mean + sd)["inside z"] == 1
    assert found["sd z"] == pytest.approx(np.median(sd))
    assert "r z" not in confidence_of(live, trial)


def test_a_trial_with_large_responses_is_told_by_their_root_mean_square(results, raw):
    live = results.live(condition="zc", scaling="training", images=False)
    usual = live.decode(one(raw, 0)).response_rms
    large = replace(one(raw, 0), betas=one(raw, 0).betas * 10)
    assert 0.3 < usual < 3
    assert live.decode(large).response_rms > 3 * usual


# ------------------------------------------------------------------------------------------------------- watching


def source_of(folder, results, patience=0.0):
    decoder = results.live(condition="zc", images=False)
    from live_runs import read

    return FolderSource(folder, lambda path: read(path, results, decoder), patience=patience)


def polled(source, n=4):
    """What several polls find."""
    return [found for found in (source.poll() for _ in range(n)) if found is not None]


def test_a_half_written_file_is_read_once_it_is_complete(results, raw, tmp_path):
    content = write_trial(tmp_path, 0, one(raw, 0)).read_bytes()
    path = tmp_path / "trial0.npz"
    source = source_of(tmp_path, results, patience=60.0)
    for size in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert polled(source) == []
    path.write_bytes(content)
    (found,) = polled(source)
    assert isinstance(found, Arrival)
    np.testing.assert_array_equal(found.trials.trials.betas, one(raw, 0).betas)
    assert polled(source) == []  # a name is used once
    assert path.read_bytes() == content


def test_a_file_that_changes_while_it_is_read_is_not_used_until_it_is_complete(results, raw, tmp_path):
    decoder = results.live(condition="zc", images=False)
    path = write_trial(tmp_path, 0, one(raw, 0))

    def read_and_change(found):
        trials = read(found, results, decoder)
        if not changed:
            changed.append(write_trial(tmp_path, 0, one(raw, 1)))
        return trials

    changed = []
    source = FolderSource(tmp_path, read_and_change)
    (found,) = polled(source)
    assert changed == [path]
    np.testing.assert_array_equal(found.trials.trials.betas, one(raw, 1).betas)


def test_a_file_that_changes_after_it_was_decoded_is_reported_once_also_after_a_restart(results, raw, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_trial(folder, 0, one(raw, 0))
    write_trial(folder, 1, one(raw, 1))
    decode_files(results, folder, out, images=False)
    write_trial(folder, 0, one(raw, 2))
    (folder / "trial1.npz").unlink()  # moved away: no reason for a message
    recording, _ = decode_files(results, folder, out, images=False)
    assert [(bad.file, "changed after it was decoded" in bad.error) for bad in recording.bad] == [("trial0.npz", True)]
    np.testing.assert_array_equal(recording.betas(0), Recording.read(out).betas(0))
    again, _ = decode_files(results, folder, out, images=False)
    assert [len(again.trials), len(again.bad)] == [2, 1]


def test_the_time_of_arrival_is_the_last_change_of_the_file_between_two_polls(results, raw, tmp_path, monkeypatch):
    source = source_of(tmp_path, results)
    source.poll()
    time.sleep(0.3)
    write_trial(tmp_path, 0, one(raw, 0))
    landed = time.monotonic()
    time.sleep(0.5)  # such as while an image is generated
    (found,) = polled(source)
    assert abs(found.seen - landed) < 0.2
    write_trial(tmp_path, 1, one(raw, 1))
    before = time.monotonic()
    (there_before,) = polled(
        FolderSource(tmp_path, source._read, used={"trial0.npz": (found.state.size, found.state.modified)}), 2
    )
    assert there_before.seen >= before  # waiting before the start is no latency
    state = replace(found.state, changed=time.time() + 3600)  # the clock of a disk in the network is wrong
    assert [state.landed(5.0, 9.0), replace(state, changed=0.0).landed(5.0, 9.0)] == [9.0, 5.0]


def test_a_file_is_read_only_when_two_polls_find_it_unchanged(results, raw, tmp_path):
    source = source_of(tmp_path, results)
    write_trial(tmp_path, 0, one(raw, 0))
    assert source.poll() is None
    assert isinstance(source.poll(), Arrival)


def test_a_bad_file_is_reported_once_stays_and_is_read_again_if_it_changes(results, raw, tmp_path):
    path = tmp_path / "trial0.npz"
    path.write_bytes(b"no trial")
    source = source_of(tmp_path, results, patience=0.2)
    assert polled(source) == []
    time.sleep(0.25)
    (found,) = polled(source)
    assert isinstance(found, BadFile)
    assert "is a text file" in found.error
    assert polled(source) == []
    assert path.read_bytes() == b"no trial"
    write_trial(tmp_path, 0, one(raw, 0))
    assert [type(found) for found in polled(source)] == [Arrival]


def test_files_are_read_in_the_order_of_their_numbers_and_others_are_ignored(results, raw, tmp_path):
    for row in (10, 9, 2):
        write_trial(tmp_path, row, one(raw, row))
    write_trial(tmp_path, 0, one(raw, 0), name=".hidden.npz")
    (tmp_path / "notes.txt").write_text("no trial")
    (tmp_path / "folder.npz").mkdir()
    found = polled(source_of(tmp_path, results), n=8)
    assert [each.name for each in found if isinstance(each, Arrival)] == ["trial2.npz", "trial9.npz", "trial10.npz"]
    assert [each.name for each in found if isinstance(each, BadFile)] == ["folder.npz"]
    assert sorted(["b10", "b9", "a"], key=in_order) == ["a", "b9", "b10"]


def test_a_file_of_several_trials_is_bad(results, raw, tmp_path):
    write_trial(tmp_path, 0, raw.take(np.arange(3)))
    (found,) = polled(source_of(tmp_path, results))
    assert isinstance(found, BadFile)
    assert "3 trials" in found.error


def test_a_folder_that_does_not_exist_is_refused_and_one_that_disappears_is_awaited(results, raw, tmp_path):
    with raises_with(DataError, where=tmp_path / "nosuch"):
        source_of(tmp_path / "nosuch", results)
    (tmp_path / "in").mkdir()
    source = source_of(tmp_path / "in", results)
    (tmp_path / "in").rmdir()
    assert polled(source) == []
    (tmp_path / "in").mkdir()
    write_trial(tmp_path / "in", 0, one(raw, 0))
    assert len(polled(source)) == 1


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_volume_of_one_trial_needs_no_axis_of_trials(results, raw, tmp_path, ending):
    import nibabel

    volume = np.zeros(int(np.prod(raw.volume_shape)), dtype=np.float32)
    volume[raw.voxel_index] = raw.betas[4]
    path = tmp_path / f"trial4.{ending}"
    nibabel.Nifti1Image(volume.reshape(raw.volume_shape), np.eye(4)).to_filename(path)
    (found,) = polled(source_of(tmp_path, results))
    trials = found.trials.trials
    assert not found.trials.labelled
    assert trials.volume_shape == raw.volume_shape
    expected = results.live(scaling="training", images=False).decode(one(raw, 4)).features["z"].array
    mine = results.live(scaling="training", images=False).decode(trials).features["z"].array
    np.testing.assert_allclose(mine, expected, atol=1e-6)


# ------------------------------------------------------------------------------------------------------ recording


def test_a_recording_has_every_trial_and_bad_files_do_not_stop_it(results, raw, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for row in range(4):
        write_trial(folder, row, one(raw, row))
    (folder / "trial1.npz").write_bytes(b"damaged")
    write_trial(folder, 2, one(raw, 2), voxel_index=one(raw, 2).voxel_index + 10**6)
    recording, board = decode_files(results, folder, out)
    assert [record.file for record in recording.trials] == ["trial0.npz", "trial3.npz"]
    assert {bad.file for bad in recording.bad} == {"trial1.npz", "trial2.npz"}
    assert sorted(path.name for path in folder.iterdir()) == [f"trial{row}.npz" for row in range(4)]
    for number in (0, 1):
        files = {path.name for path in recording.folder(number).iterdir()}
        assert files >= {"betas.npy", "z.npy", "c.npy", "z.png", "zc.png", "trial.json", "image.json"}
    assert np.asarray(Image.open(recording.folder(0) / "zc.png")).shape == (32, 32, 3)
    kinds = [message["kind"] for message in board.since(0)]
    assert sorted(kinds) == ["bad", "bad", "image", "image", "trial", "trial"]
    # a second start reports nothing new, and everything is there
    again, board = decode_files(results, folder, out)
    assert [record.file for record in again.trials] == ["trial0.npz", "trial3.npz"]
    assert len(again.bad) == 2
    assert len(board.since(0)) == 6


def test_no_image_is_generated_between_the_two_polls_of_a_new_file_and_no_trial_beyond_the_last(results, raw, tmp_path):
    decoder = results.live(condition="zc", n_steps=2)
    with Recording.open(tmp_path / "out", {}, voxels_needed(decoder)) as recording:
        source = FolderSource(tmp_path, lambda path: read(path, results, decoder))
        session = LiveSession(source, decoder, recording, Board(), NoStimuli(), n_trials=2)
        write_trial(tmp_path, 0, one(raw, 0))
        assert [session.step(), session.step(), session.n_pending] == [False, True, 1]
        write_trial(tmp_path, 1, one(raw, 1))
        assert [session.step(), session.n_pending] == [True, 2]
        write_trial(tmp_path, 2, one(raw, 2))
        assert [session.step(), session.step(), session.step()] == [True, True, False]
    assert [len(recording.trials), len(recording.images)] == [2, 2]


def test_the_image_of_the_start_alone_is_generated_once(results, raw, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    write_trial(folder, 0, one(raw, 0))
    conditions = []
    monkeypatch.setattr(
        "reseen.live.decoding.generate",
        lambda *given, **how: (conditions.append(given[1]), generate(*given, **how)),
    )
    decoder = results.live(condition="z", n_steps=2)
    board = Board()
    with Recording.open(tmp_path / "out", {}, voxels_needed(decoder)) as recording:
        source = FolderSource(folder, lambda path: read(path, results, decoder))
        session = LiveSession(source, decoder, recording, board, NoStimuli())
        for _ in range(4):
            session.step()
    assert conditions == ["z"]
    assert [message.get("shown") for message in board.since(0)] == [None, True]


def test_pending_images_keep_nothing_in_memory_but_their_numbers(results, raw, tmp_path):
    decoder = results.live(condition="zc", n_steps=2)
    with Recording.open(tmp_path / "out", {}, voxels_needed(decoder)) as recording:
        session = LiveSession(
            FolderSource(tmp_path, lambda path: read(path, results, decoder)), decoder, recording, Board(), NoStimuli()
        )
        for row in range(3):
            write_trial(tmp_path, row, one(raw, row))
        while session.n_pending < 3:
            session.step()
        assert all(isinstance(kept, float) for kept in session._pending.values())
        expected = results.apply(raw.take(np.arange(3)), scaling="causal", conditions=[]).features["c"].array
        found = np.stack([recording.feature(number, "c") for number in range(3)])  # before any image
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_new_trials_images_and_bad_files_are_logged(results, raw, tmp_path):
    decoder, lines = results.live(condition="zc", n_steps=2), []
    write_trial(tmp_path, 0, one(raw, 0))
    (tmp_path / "bad.npz").write_bytes(b"damaged")
    with Recording.open(tmp_path / "out", {}, voxels_needed(decoder)) as recording:
        source = FolderSource(tmp_path, lambda path: read(path, results, decoder), patience=0.0)
        session = LiveSession(source, decoder, recording, Board(), NoStimuli(), log=lines.append)
        for _ in range(6):
            session.step()
    assert [re.sub(r"\d+\.\d+", "T", line)[:32] for line in lines] == [
        f"bad.npz cannot be used: {tmp_path}"[:32],
        "trial 0, trial0.npz: z after T s",
        "trial 0: image after T s",
    ]


def test_a_session_that_is_resumed_gives_the_features_of_an_unbroken_one(results, raw, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for row in range(7):
        write_trial(folder, row, one(raw, row))
    whole, _ = decode_files(results, folder, tmp_path / "whole")
    decode_files(results, folder, tmp_path / "parts", limit=1)
    (tmp_path / "parts/trials/00000/c.npy").unlink()  # as though it was killed between two files
    for limit in (3, 2, None):  # stopped twice, in the middle of pending images
        parts, _ = decode_files(results, folder, tmp_path / "parts", limit=limit)
    assert len(parts.trials) == 7
    assert parts.pending == []
    for number in range(7):
        for name in ("betas", "z", "c"):
            np.testing.assert_array_equal(parts.feature(number, name), whole.feature(number, name))
        made = [np.asarray(Image.open(each.folder(number) / "zc.png")) for each in (parts, whole)]
        np.testing.assert_array_equal(*made)
    expected = results.apply(raw.take(np.arange(7)), scaling="causal", conditions=[])
    found = np.stack([parts.feature(number, "z") for number in range(7)])
    np.testing.assert_allclose(found, expected.features["z"].array, rtol=0, atol=1e-6)


def test_presented_images_and_true_features_of_known_stimuli_are_recorded(results, raw, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_trial(folder, 0, one(raw, 0))
    write_trial(folder, 1, one(raw, 1), stimulus_id=None)
    write_trial(folder, 2, one(raw, 2), stimulus_id=np.array([72_999]))  # not a stimulus of the run
    known = KnownStimuli(results, "subj01", "z")
    recording, _ = decode_files(results, folder, tmp_path / "out", stimuli=known)
    assert [record.stimulus_id for record in recording.trials] == [int(raw.stimulus_id[0]), None, 72_999]
    assert [(recording.folder(number) / "presented.png").exists() for number in range(3)] == [True, False, False]
    assert ["r z" in record.confidence for record in recording.trials] == [True, False, False]
    true = results.feature_blocks("subj01/z").load().rows(raw.stimulus_id[:1])[0]
    r = np.corrcoef(true.ravel(), recording.feature(0, "z").ravel())[0, 1]
    assert recording.trials[0].confidence["r z"] == pytest.approx(r, abs=1e-6)


def test_features_alone_need_no_model(results, raw, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_trial(folder, 0, one(raw, 0))
    recording, _ = decode_files(results, folder, tmp_path / "out", images=False)
    assert {path.name for path in recording.folder(0).iterdir()} >= {"z.npy", "c.npy", "image.json"}
    assert not list(recording.folder(0).glob("*.png"))


def test_other_settings_other_folders_and_damaged_recordings_are_refused(results, raw, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_trial(folder, 0, one(raw, 0))
    decode_files(results, folder, out)
    with (
        raises_with(ResultsError, where="condition", expected="zc", found="z"),
        Recording.open(out, {"condition": "z"}, np.arange(3)),
    ):
        pass
    with raises_with(ResultsError, where=folder), Recording.open(folder, {}, np.arange(3)):
        pass
    with raises_with(ResultsError, where=folder):
        Recording.read(folder)
    with Recording.open(out, {"condition": "zc"}, np.arange(3)), raises_with(ResultsError, where=out):
        decode_files(results, folder, out)
    record = out / "trials/00000/trial.json"
    record.write_text(record.read_text().replace('"session"', '"sessions"'))
    with pytest.raises(ResultsError, match="session"):
        Recording.read(out)
    (out / "trials/00000").rename(out / "trials/00001")
    record = out / "trials/00001/trial.json"
    record.write_text(record.read_text().replace('"sessions"', '"session"').replace('"number": 0', '"number": 1'))
    with raises_with(ResultsError, expected=0, found=1):
        Recording.read(out)


# --------------------------------------------------------------------------------------------------------- replay


def test_a_replay_publishes_the_messages_of_the_recording_at_their_times(results, raw, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for row in range(3):
        write_trial(folder, row, one(raw, row))
    (folder / "bad.npz").write_bytes(b"damaged")
    decode_files(results, folder, out)
    for number, (arrived, seconds, image) in enumerate([(1000.0, 0.1, 1.0), (1000.4, 0.1, None), (5000.0, 0.1, 0.3)]):
        for name, values in (("trial", {"arrived": arrived, "seconds": seconds}), ("image", {"seconds": image})):
            path = out / f"trials/{number:05d}/{name}.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | values))
    path = out / "bad/00000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"time": 1000.2}))
    recording = Recording.read(out)
    times = [(round(at, 6), message["kind"], message.get("number")) for at, message in schedule(recording)]
    assert times == [
        (0.0, "trial", 0),
        (0.1, "bad", None),
        (0.4, "trial", 1),
        (0.4, "image", 1),
        (0.9, "image", 0),
        (0.9 + LONGEST_PAUSE, "trial", 2),
        (round(1.1 + LONGEST_PAUSE, 6), "image", 2),
    ]
    board, started = Board(), time.monotonic()
    replay(recording, board, lambda: False, speed=100)
    assert len(board.since(0)) == 7
    assert 0.3 < time.monotonic() - started < 10
    stopped = Board()
    replay(recording, stopped, lambda: True, speed=0.01)
    assert len(stopped.since(0)) == 1
    with raises_with(RecipeError, where="speed", found=0):
        replay(recording, board, lambda: False, speed=0)


def test_the_counted_time_of_a_full_size_trial_is_that_of_the_pages(results):
    counts = PERFORMANCE.partition("### Counts")[2].partition("###")[0]
    parts = dict(re.findall(r"^\| ([^|]+) \| ([\d., ]+) \|$", counts, re.MULTILINE))
    unet = float(parts["U-Net, one evaluation"])
    decode, encode = (float(number) for number in parts["decode 512 pixels, encode 512 pixels"].split(", "))
    small = float(parts["decode 320 pixels, encode 320 pixels"].split(", ")[0])
    n_steps = _steps("zc", fast_recipe(ReconstructRecipe(), LIVE_STEPS))
    n_evaluations = n_steps * evaluations_per_step(results.live(condition="zc").model, 7.5)
    assert n_evaluations == 16
    image = small + encode + n_evaluations * unet + decode + 2 * 7604 * 59_136 / 1e12
    z = small + 2 * 7604 * 6400 / 1e12
    assert f"| **z, together** | **{z:.2f}** |" in PERFORMANCE
    assert f"| **image of zc, together, after z** | **{image:.2f}** |" in PERFORMANCE
    page = (ROOT / "docs/live.md").read_text(encoding="utf-8")
    assert f"100 TFLOP/s sustained | {z / 100:.2f} s | {(z + image) / 100:.2f} s | counted, not measured |" in page
    assert f"20 TFLOP/s | {z / 20:.2f} s | {(z + image) / 20:.2f} s | counted, not measured |" in page
    assert f"after {z + image:.2f} TFLOP: {(z + image) / 100:.2f} s" in PERFORMANCE


def test_the_states_of_bad_files_survive_a_restart(results, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.npz").write_bytes(b"damaged")
    recording, _ = decode_files(results, tmp_path / "in", tmp_path / "out")
    there = (tmp_path / "in/bad.npz").stat()
    (state,) = states(recording).values()
    assert (state.inode, state.size, state.modified) == (there.st_ino, there.st_size, there.st_mtime_ns)
