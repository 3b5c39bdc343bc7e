"""Command ``reseen align``: a subject of a finished run, decoded with the decoder of another one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fields import raises_with

from reseen import Decoder, Features, Results, alignment_stimuli, compare_alignment, load_nsd, plot
from reseen.applied import align_plan, align_run, folder
from reseen.errors import DataError, RecipeError, ResultsError, ShapeError
from reseen.evaluate import describe_alignment, score_alignment
from reseen.metrics import identification
from reseen.recipe import with_changes
from reseen.tables import ALIGNMENT_COLUMNS

pytestmark = pytest.mark.filterwarnings("ignore")
LEVELS = ["aligned", "combined", "own_shared", "own_equal", "own_full", "permuted"]


@pytest.fixture(scope="module")
def results(run_of_two):
    return Results.read(run_of_two)


@pytest.fixture(scope="module")
def trials(results):
    return [load_nsd(results.data.path, name, rois=["early", "ventral"]).trials for name in results.subjects]


@pytest.fixture(scope="module")
def aligned(results):
    """Alignment with the usual settings, without images."""
    return results.align("subj01", "subj02", conditions=[])


def first_sessions(trials, count):
    return trials.take(np.flatnonzero(np.isin(trials.session, np.unique(trials.session)[:count])))


# ------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("protocol", ["shared_split", "own_stimuli"])
def test_the_table_equals_the_comparison_of_levels_by_hand(results, trials, protocol):
    found = results.align("subj01", "subj02", protocol=protocol, features=["c"], conditions=[], seed=3)
    source, target = trials
    n_own = len(np.setdiff1d(target.stimulus_id, source.stimulus_id))
    n_test = n_own // 5 if protocol == "own_stimuli" else None
    stimuli, test = alignment_stimuli(source, target, protocol, n_test=n_test, seed=3)
    assert found.test_id.tolist() == test.tolist()
    known = results.feature_blocks("subj02/c").load()
    decoder = results.decoder("c", "subj01")
    true = known.rows(test).reshape(len(test), -1) - decoder.map_.intercept
    table = found.table.query("metric == 'identification'").set_index(["n_sessions", "level"])
    for count in (1, 2):
        now = first_sessions(target, count)
        ids = np.intersect1d(now.stimulus_id, stimuli)
        levels = compare_alignment(
            decoder,
            source,
            now,
            known,
            test=test,
            full_trials=target,
            stimuli=ids,
            rois=["ventral"],
            levels=LEVELS,
            seed=3,
        )
        for level, decoded in levels.items():
            expected = identification(true, decoded.flat - decoder.map_.intercept).mean()
            assert table.loc[(count, level), "value"] == pytest.approx(expected), (count, level)
        assert table.loc[(count, "aligned"), "n_trials"] == len(now.select(ids))
        assert table.loc[(count, "own_equal"), "n_trials"] == (~np.isin(now.stimulus_id, test)).sum()
        difference = table.loc[(count, "aligned"), "value"] - table.loc[(count, "own_equal"), "value"]
        assert table.loc[(count, "aligned - own_equal"), "value"] == pytest.approx(difference)
    assert tuple(found.table.columns) == ALIGNMENT_COLUMNS
    assert set(found.table["n_sessions"]) == {1, 2}


def test_the_route_through_voxels_has_the_composed_decoder(results, trials):
    found = results.align("subj01", "subj02", through="voxels", features=["z"], levels=["aligned"], conditions=[])
    source, target = trials
    expected = compare_alignment(
        results.decoder("z", "subj01"),
        source,
        target,
        results.feature_blocks("subj02/z").load(),
        test=found.test_id,
        stimuli=found.stimulus_id,
        rois=["early"],
        through="voxels",
        levels=["aligned"],
    )["aligned"]
    np.testing.assert_allclose(found.applied.features["z"].array, expected.array, atol=1e-6)


def test_a_fit_that_several_points_share_is_done_once(results, monkeypatch):
    fits, steps = [], []

    def counted(level, *arguments, **options):
        fits.append(level)
        return real(level, *arguments, **options)

    real = align_run.fit_level
    monkeypatch.setattr(align_run, "fit_level", counted)
    results.align("subj01", "subj02", features=["z"], conditions=[], progress=lambda *step: steps.append(step))
    # with both sessions, own_equal is own_full
    assert fits == [*LEVELS, "aligned", "combined", "own_shared", "permuted"]
    assert steps[0] == ("align subj02 with subj01", 0, 10)
    assert steps[-1] == ("align subj02 with subj01", 10, 10)


def test_intervals_are_paired_and_a_clear_difference_is_found():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(60, 10))
    noise = rng.normal(size=true.shape)
    levels = {(1, "aligned"): true + 3 * noise, (1, "own_equal"): true + 2.5 * noise, (2, "aligned"): true + 3 * noise}
    levels[2, "own_equal"] = true + 3 * noise
    words = {"source": "a", "target": "b", "protocol": "", "through": "features", "feature": "z"}
    table = score_alignment(levels, true, np.zeros(10), n_trials=dict.fromkeys(levels, 5), words=words)
    rows = table[table["metric"] == "identification"].set_index(["n_sessions", "level"])
    width = rows["high"] - rows["low"]
    # the same noise in both levels: the difference is known better than each value
    assert width[1, "aligned - own_equal"] < 0.5 * width[1, "aligned"]
    assert rows.loc[(1, "aligned - own_equal"), "high"] < 0
    assert rows.loc[(2, "aligned - own_equal"), ["value", "low", "high"]].tolist() == [0, 0, 0]
    first, sentence = describe_alignment(table)
    assert first == "No alignment is clearly better than the target's own data of equal minutes."
    assert "below at 1 session (−" in sentence
    assert "not clearly different at 2 sessions (+0.0 points)" in sentence


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            (0.05, 0.02),
            "An alignment is better than the target's own data of equal minutes for z (aligned) at 1 session.",
        ),
        ((-0.05, 0.02), "The target's own data of equal minutes are better than every alignment"),
        ((0.01, 0.02), "No alignment is clearly better"),
    ],
)
def test_the_page_says_which_level_is_better(values, expected):
    value, half = values
    row = {"feature": "z", "level": "aligned - own_equal", "n_sessions": 1, "metric": "identification", "value": value}
    table = pd.DataFrame([{**row, "low": value - half, "high": value + half}])
    assert describe_alignment(table)[0].startswith(expected)


# ------------------------------------------------------------------------------------------------ the source decoder


def test_a_source_decoder_that_was_fitted_on_test_stimuli_is_fitted_anew(results, trials, monkeypatch):
    fitted = [results.decoder("z", "subj01")] * 2
    monkeypatch.setattr(folder.DecodersFolder, "decoders", lambda *_: tuple(fitted))
    found = results.align("subj01", "subj02", features=["z"], levels=["aligned"], conditions=[])
    source, target = trials
    known = results.feature_blocks("subj01/z").load()
    kept = np.setdiff1d(source.stimulus_id, found.test_id)
    decoder = Decoder(**fitted[0].get_params(deep=False)).fit(source.select(kept), known)
    expected = compare_alignment(
        decoder,
        source,
        target,
        known,
        test=found.test_id,
        rois=["early"],
        levels=["aligned"],
        stimuli=found.stimulus_id,
    )
    np.testing.assert_array_equal(found.applied.features["z"].array, expected["aligned"].array)
    assert any("fitted anew" in note for note in found.notes)
    assert not np.isin(found.test_id, found.trained_id).any()


def test_averaged_training_trials_are_averaged_here_too(results):
    changed = Results(results.path, with_changes(results.recipe, {"data.train_trials": "averaged"}))
    found = changed.align("subj01", "subj02", features=["z"], n_sessions=["all"], conditions=[])
    assert found.decoders["aligned"]["z"].n_averaged_ > 1
    single = results.align("subj01", "subj02", features=["z"], n_sessions=["all"], conditions=[])
    assert found.table["n_trials"].tolist() == single.table["n_trials"].tolist()
    assert not np.allclose(found.table["value"], single.table["value"])


# ------------------------------------------------------------------------------------------------ refused


def test_subjects_that_cannot_be_aligned_are_refused(results, finished):
    with raises_with(ResultsError, where="subject", found="subj09"):
        results.align("subj01", "subj09")
    with raises_with(ResultsError, where="target", expected=["subj02"], found="subj01"):
        results.align("subj01", "subj01")
    with raises_with(ResultsError, where="subject", expected=2, found=1):
        Results.read(finished).align("subj01", "subj02")


@pytest.mark.parametrize(
    ("settings", "error", "fields"),
    [
        ({"n_sessions": [3]}, DataError, {"where": "n_sessions", "expected": 2}),
        ({"n_sessions": [0]}, DataError, {"where": "n_sessions", "expected": 2}),
        ({"n_align": 1}, DataError, {"where": "n_sessions", "expected": 2, "found": 1}),
        ({"n_align": 11}, ShapeError, {"where": "test", "expected": 3, "found": 1}),
        ({"n_align": 12}, ShapeError, {"where": "n_align", "expected": 12, "found": 12}),
        ({"n_test": 9}, ShapeError, {"where": "n_test", "expected": 4, "found": 9}),
        ({"protocol": "other"}, RecipeError, {"where": "protocol", "found": "other"}),
        ({"through": "other"}, RecipeError, {"where": "through", "found": "other"}),
        ({"levels": ["other"]}, RecipeError, {"where": "levels", "found": ("other",)}),
        ({"features": ["i"]}, RecipeError, {"where": "features", "expected": ("z", "c")}),
        ({"features": ["z"], "conditions": ["zc"]}, RecipeError, {"where": "features", "found": ("z",)}),
    ],
)
def test_settings_that_do_not_fit_are_refused(results, settings, error, fields):
    with raises_with(error, **fields):
        results.align("subj01", "subj02", **{"conditions": [], **settings})


def opened_as(monkeypatch, **changes):
    """Change the trials of the target when they are read."""
    real = align_plan.open_subject

    def opened(data, name):
        found = real(data, name)
        if name == "subj02":
            changed = {key: change(found.trials) for key, change in changes.items()}
            vars(found)["trials"] = replace(found.trials, **changed)
        return found

    monkeypatch.setattr(align_plan, "open_subject", opened)


def test_subjects_without_shared_stimuli_are_refused(results, monkeypatch):
    opened_as(monkeypatch, stimulus_id=lambda trials: trials.stimulus_id + 100_000)
    with raises_with(ShapeError, where="stimuli", expected="shared stimuli", found=[]):
        results.align("subj01", "subj02", conditions=[])


def test_an_id_that_names_another_image_for_the_target_is_refused(results, monkeypatch):
    real = type(results).feature_blocks

    def changed(self, name):
        blocks = real(self, name)
        if name == "subj02/z":
            known = blocks.load()
            moved = Features("z", np.roll(known.array, 1, axis=0), known.stimulus_id)
            monkeypatch.setattr(type(blocks), "load", lambda _: moved)
        return blocks

    monkeypatch.setattr(type(results), "feature_blocks", changed)
    with raises_with(DataError, where="stimulus_id"):
        results.align("subj01", "subj02", features=["z"], conditions=[])


def test_identity_needs_equal_voxels_and_is_a_level_of_its_own(results, trials, monkeypatch):
    found = results.align("subj01", "subj02", features=["z"], levels=["identity", "own_equal"], conditions=[])
    source, target = trials
    assert np.array_equal(source.voxel_index, target.voxel_index)
    row = found.table.query("metric == 'identification' and level == 'identity'").iloc[0]
    decoder = results.decoder("z", "subj01")
    true = results.feature_blocks("subj02/z").load().rows(found.test_id).reshape(len(found.test_id), -1)
    decoded = decoder.predict(target.select(found.test_id).average()).flat
    mean = decoder.map_.intercept
    assert row["value"] == pytest.approx(identification(true - mean, decoded - mean).mean())
    assert row["n_trials"] == 0
    assert any("common space" in note for note in found.notes)
    assert found.applied is None
    opened_as(monkeypatch, voxel_index=lambda trials: trials.voxel_index + 1)
    with raises_with(ShapeError, where="identity"):
        results.align("subj01", "subj02", features=["z"], levels=["identity"], conditions=[])


def test_in_a_common_space_identity_is_compared_by_itself(results, monkeypatch):
    opened_as(monkeypatch, space=lambda _: "fsaverage5")
    found = results.align("subj01", "subj02", features=["z"], n_sessions=["all"], conditions=[])
    assert {*LEVELS, "identity", "identity - own_equal"} <= set(found.table["level"])
    assert found.notes == ()


# ------------------------------------------------------------------------------------------------ folder, command


def test_the_command_writes_a_folder_that_apply_uses(results, trials, reseen, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(results.path, run)
    command = ("align", run, "--source", "subj01", "--target", "subj02", "--n-sessions", "1,all")
    code, said, error = reseen(*command)
    assert code == 0, error
    out = tmp_path / "run-align-subj02-from-subj01"
    expected = results.align("subj01", "subj02", n_sessions=[1, "all"])
    pd.testing.assert_frame_equal(pd.read_csv(out / "alignment.csv"), expected.table)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"alignment.svg", "report.html", "aligned/report.html", "aligned/images/zc/00000_0.png"} <= names
    for sentence in expected.sentences:
        assert sentence in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page == expected.report()
    assert expected.sentences[0].replace("'", "&#39;") in page
    assert page.count("<svg") == 2
    assert page.count("<img") == 2 * 4
    assert "<script" not in page
    # the aligned decoder on the target's trials, as a file that came later
    new = trials[1].select(expected.test_id)
    np.savez(
        tmp_path / "new.npz",
        betas=new.betas,
        voxel_index=new.voxel_index,
        stimulus_id=new.stimulus_id,
        session=new.session,
    )
    later = Results.read(run).apply(
        replace(new, rois={}), "subj02", conditions=["z"], average=True, decoders=out / "decoders/aligned"
    )
    np.testing.assert_array_equal(later.features["z"].array, expected.applied.features["z"].array)
    assert later.notes == ()
    words = ("--subject", "subj02", "--decoders", out / "decoders/combined", "--no-images", "--out", tmp_path / "new")
    code, said, error = reseen("apply", run, "--trials", tmp_path / "new.npz", *words)
    assert code == 0, error
    assert (tmp_path / "new/features/c.npz").is_file()
    assert reseen(*command)[0] == 1  # the folder is there


def test_the_table_is_printed_or_written_as_json(results, reseen, tmp_path):
    options = ("--source", "subj01", "--target", "subj02", "--feature", "z", "--n-sessions", "all", "--no-images")
    code, said, _ = reseen("align", results.path, *options, "--json", "-", "--out", tmp_path / "a")
    assert code == 0
    rows = json.loads(said)
    assert list(rows[0]) == list(ALIGNMENT_COLUMNS)
    code, said, _ = reseen("align", results.path, *options, "--out", tmp_path / "b")
    assert "aligned - own_equal" in " ".join(said.split())
    assert len(list((tmp_path / "b/decoders").iterdir())) == 2
    code, _, error = reseen("align", results.path, *options, "--n-sessions", "one", "--out", tmp_path / "c")
    assert (code, "such as 1,2,all" in " ".join(error.split())) == (2, True)
    assert not (tmp_path / "c").exists()


def test_nothing_is_left_of_a_folder_that_cannot_be_completed(aligned, tmp_path, monkeypatch):
    monkeypatch.setattr(type(aligned), "report", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        aligned.save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_known_training_stimuli_are_noted_when_aligned_decoders_are_applied(results, trials, aligned, tmp_path):
    aligned.save(tmp_path / "out")
    new = replace(trials[1].select([*aligned.stimulus_id[:5], *aligned.test_id]), rois={})
    found = results.apply(new, "subj02", conditions=[], average=True, decoders=tmp_path / "out/decoders/aligned")
    assert found.notes[0].startswith("5 of 9 stimuli were training stimuli")
    # residuals around decoded labels are no uncertainty of the true feature
    single = results.apply(new, "subj02", conditions=[], decoders=tmp_path / "out/decoders/aligned")
    assert single.sd == {}


def test_folders_without_the_decoders_are_refused(results, trials, aligned, tmp_path):
    aligned.save(tmp_path / "out")
    decoders = tmp_path / "out/decoders/aligned"
    new = replace(trials[1].select(aligned.test_id), rois={})
    with raises_with(ResultsError, where=tmp_path / "z.safetensors"):
        results.apply(new, "subj02", conditions=["z"], decoders=tmp_path)
    with pytest.raises(ShapeError):  # of the other subject
        results.apply(replace(new, voxel_index=new.voxel_index + 7), "subj02", conditions=["z"], decoders=decoders)
    shutil.copy(decoders / "c.safetensors", decoders / "z.safetensors")
    with raises_with(ResultsError, where=decoders / "z.safetensors", expected="z", found="c"):
        results.apply(new, "subj02", conditions=["z"], decoders=decoders)
    (decoders / "training_stimuli.csv").write_text("stimulus_id\nfive\n", encoding="utf-8")
    with raises_with(ResultsError, where=decoders / "training_stimuli.csv"):
        results.apply(new, "subj02", conditions=["c"], decoders=decoders)


def test_curves_have_the_values_of_the_table(aligned):
    axes = plot.alignment(aligned.table, "c").axes[0]
    rows = aligned.table.query("metric == 'identification' and feature == 'c' and level == 'aligned'")
    drawn = [line.get_ydata().tolist() for line in axes.lines if len(line.get_ydata()) == 2]
    assert rows["value"].tolist() in drawn
    assert {text.get_text() for text in axes.texts} == {
        *("own, full", "own, equal minutes", "own, equal trials", "aligned", "combined", "permuted"),
    }
    assert len(aligned.figure().axes) == 2
