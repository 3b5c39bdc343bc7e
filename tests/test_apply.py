"""Decoders of a finished run on new trials: voxels, scaling, features, images, scores and the report."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fields import raises_with
from PIL import Image
from results_page import check_files

from reseen import Decoder, Features, Results, Trials, load_nsd, pipeline
from reseen.decode.new_trials import (
    PRIOR_TRIALS,
    SCALING_RULES,
    match_voxels,
    predict_new,
    running_statistics,
    training_statistics,
)
from reseen.errors import DataError, RecipeError, ResultsError, ShapeError
from reseen.recipe import Recipe, to_toml, with_changes, with_settings
from reseen.trials import standardise

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def nsd_run(simulated_tree, tiny_model, tmp_path_factory):
    """Results of a run that decodes single trials of a simulated subject, in NSD's layout."""
    recipe = with_settings(
        Recipe(name="simulated-single"),
        [
            "data.kind=nsd",
            f"data.path={simulated_tree}",
            'data.rois=["early", "ventral"]',
            "data.test_trials=single",
            f"model.name={tiny_model}",
            'decode.rois.z=["early"]',
            'decode.rois.c=["ventral"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 100.0]",
            "reconstruct.n_samples=2",
            "reconstruct.n_steps=2",
            "evaluate.n_derangements=5",
            "evaluate.n_bootstrap=5",
        ],
    )
    folder = tmp_path_factory.mktemp("run") / "results"
    pipeline.run(recipe, folder, until="decode")
    return Results.read(folder)


@pytest.fixture(scope="module")
def raw(simulated_tree):
    """All trials of the subject, not standardised."""
    return load_nsd(simulated_tree, "subj01", zscore_sessions=False).trials


def saved(path, trials, **arrays):
    """Write an npz file of new trials; None leaves an array out."""
    found = {
        "betas": trials.betas,
        "voxel_index": trials.voxel_index,
        "volume_shape": trials.volume_shape,
        "session": trials.session,
        "stimulus_id": trials.stimulus_id,
    } | arrays
    np.savez(path, **{name: value for name, value in found.items() if value is not None})
    return path


def in_order_of(results, feature, trials, found):
    """Return the rows of applied features that the run decoded: its test trials, sorted by stimulus."""
    decoded = results.decoded(feature)
    rows = [np.flatnonzero(trials.stimulus_id == stimulus) for stimulus in np.unique(decoded.stimulus_id)]
    return found.features[feature].array[np.concatenate(rows)], decoded.array


@pytest.mark.parametrize("feature", ["z", "c"])
def test_single_trials_equal_the_single_trial_predictions_of_the_pipeline(nsd_run, raw, tmp_path, feature):
    found = nsd_run.apply(saved(tmp_path / "new.npz", raw), conditions=[])
    mine, decoded = in_order_of(nsd_run, feature, raw, found)
    assert found.scaling == "session"
    np.testing.assert_allclose(mine, decoded, rtol=0, atol=1e-6)


def test_permuted_voxels_are_matched_by_their_index(nsd_run, raw, tmp_path):
    order = np.random.default_rng(0).permutation(raw.betas.shape[1])
    permuted = saved(tmp_path / "new.npz", raw, betas=raw.betas[:, order], voxel_index=raw.voxel_index[order])
    expected = nsd_run.apply(replace(raw, rois={}), conditions=[])
    found = nsd_run.apply(permuted, conditions=[])
    for name in ("z", "c"):
        np.testing.assert_array_equal(found.features[name].array, expected.features[name].array)


def test_missing_voxels_and_another_mask_are_refused(nsd_run, raw, tmp_path):
    used = nsd_run.decoder("z").voxel_index_
    lacking = np.flatnonzero(raw.voxel_index != used[3])
    fewer = saved(tmp_path / "a.npz", raw, betas=raw.betas[:, lacking], voxel_index=raw.voxel_index[lacking])
    with raises_with(ShapeError, where="voxel_index", expected=len(used), found=len(used) - 1):
        nsd_run.apply(fewer, conditions=[])
    with raises_with(ShapeError, where="voxel_index", expected=len(used)):
        nsd_run.apply(saved(tmp_path / "b.npz", raw, voxel_index=raw.voxel_index + 1_000_000), conditions=[])
    x, y, z = raw.volume_shape
    with raises_with(ShapeError, where="volume_shape", expected=(x, y, z), found=(z, y, x + 1)):
        nsd_run.apply(saved(tmp_path / "c.npz", raw, volume_shape=(z, y, x + 1)), conditions=[])
    twice = raw.voxel_index.copy()
    twice[1] = twice[0]
    with raises_with(ShapeError, where="voxel_index", found=int(twice[0])):
        nsd_run.apply(saved(tmp_path / "d.npz", raw, voxel_index=twice), conditions=[])
    with raises_with(ShapeError, where="voxel_index"):
        nsd_run.apply(replace(raw, rois={}, ncsnr=None, voxel_index=None), conditions=[])


def test_files_that_are_no_new_trials_are_refused(nsd_run, raw, tmp_path):
    with raises_with(DataError, where="voxel_index"):
        nsd_run.apply(saved(tmp_path / "a.npz", raw, voxel_index=None))
    with raises_with(DataError, where="betas"):
        nsd_run.apply(saved(tmp_path / "b.npz", raw, betas=None))
    with raises_with(DataError, where="betas", found=(raw.betas.shape[1],)):
        nsd_run.apply(saved(tmp_path / "c.npz", raw, betas=raw.betas[0]))
    with raises_with(DataError, where=tmp_path / "absent.npz"):
        nsd_run.apply(tmp_path / "absent.npz")
    (tmp_path / "trials.txt").write_text("1 2 3")
    with raises_with(DataError, found=".txt"):
        nsd_run.apply(tmp_path / "trials.txt")
    with pytest.raises(DataError):
        nsd_run.apply(saved(tmp_path / "d.npz", raw, betas=np.full_like(raw.betas, np.nan)))


@pytest.mark.parametrize("ending", ["hdf5", "nii.gz"])
def test_a_volume_of_betas_gives_the_features_of_the_same_trials(nsd_run, raw, simulated_tree, tmp_path, ending):
    import nibabel

    session = raw.take(np.flatnonzero(raw.session == raw.session[0]))
    if ending == "hdf5":
        path = next(simulated_tree.rglob("betas_session01.hdf5"))
    else:
        volume = np.zeros((int(np.prod(raw.volume_shape)), len(session)), dtype=np.float32)
        volume[raw.voxel_index] = session.betas.T
        path = tmp_path / "betas.nii.gz"
        nibabel.Nifti1Image(volume.reshape(*raw.volume_shape, -1), np.eye(4)).to_filename(path)
    expected = nsd_run.apply(session, conditions=[])
    found = nsd_run.apply(path, conditions=[])
    assert not found.labelled
    assert found.scores is None
    np.testing.assert_allclose(found.features["z"].array, expected.features["z"].array, atol=1e-5)


def test_a_volume_on_another_grid_is_refused(nsd_run, tmp_path):
    import nibabel

    nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), dtype=np.float32), np.eye(4)).to_filename(tmp_path / "small.nii")
    with raises_with(DataError, where=tmp_path / "small.nii", found=8):
        nsd_run.apply(tmp_path / "small.nii", conditions=[])
    large = tuple(size + 1 for size in nsd_run.decoder("z").volume_shape_)
    nibabel.Nifti1Image(np.zeros((*large, 3), dtype=np.float32), np.eye(4)).to_filename(tmp_path / "large.nii")
    with raises_with(ShapeError, where="volume_shape", found=large):
        nsd_run.apply(tmp_path / "large.nii", conditions=[])


def test_a_recipe_names_data_of_any_layout_and_their_own_images(nsd_run, tmp_path):
    path = tmp_path / "new.toml"
    path.write_text(to_toml(nsd_run.recipe), encoding="utf-8")
    found = nsd_run.apply(path, conditions=["z"])
    mine, decoded = in_order_of(nsd_run, "z", Trials(np.zeros((len(found), 1)), found.stimulus_id), found)
    np.testing.assert_allclose(mine, decoded, atol=1e-6)
    assert found.presented.shape[0] == len(found)
    # features that are extracted from the file's images are those of the run
    of_run = nsd_run.apply(load_nsd(nsd_run.recipe.data.path).trials, conditions=["z"])
    pd.testing.assert_frame_equal(found.scores.table, of_run.scores.table, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------------- scaling


def fitted(*, standardised, n_sessions=3, seed=0):
    """Return a decoder and raw trials of sessions with other means and scales, with permuted voxel indices."""
    rng = np.random.default_rng(seed)
    n, v = 20 * n_sessions, 15
    session = np.repeat(np.arange(n_sessions), 20)
    betas = rng.normal(size=(n, v)) * (1 + session)[:, None] + 10 * session[:, None] + rng.normal(size=v)
    index = rng.permutation(1000)[:v]
    trials = Trials(betas, np.arange(n), session=session, voxel_index=index)
    features = Features("z", rng.normal(size=(n, 2, 3)).astype(np.float32), np.arange(n))
    decoder = Decoder(alphas=[10.0]).fit(trials.zscore_sessions() if standardised else trials, features)
    return decoder, trials


def brute_force(betas, decoder, rule):
    """Compute what the map is given, one trial at a time, from the definition of each rule."""
    if decoder.scaling_ is None:
        mean, scale = decoder.map_.voxel_mean.astype(float), decoder.map_.voxel_scale.astype(float)
    else:
        mean = sum(decoder.scaling_.mean) / len(decoder.scaling_.mean)
        scale = np.sqrt(sum(row**2 for row in decoder.scaling_.scale) / len(decoder.scaling_.scale))
    rows = []
    for t, beta in enumerate(betas):
        if rule == "session":
            centre, spread = betas.mean(axis=0), betas.std(axis=0)
        elif rule == "training":
            centre, spread = mean, scale
        else:
            # two groups of earlier trials, at mean - scale and mean + scale, have the training mean and scale
            seen = np.concatenate([[mean - scale, mean + scale], betas[: t + 1]])
            weights = np.r_[[PRIOR_TRIALS / 2] * 2, np.ones(t + 1)]
            centre = np.average(seen, axis=0, weights=weights)
            spread = np.sqrt(np.average((seen - centre) ** 2, axis=0, weights=weights))
        standard = (beta - centre) / spread
        rows.append(standard if decoder.scaling_ is not None else standard * scale + mean)
    return np.array(rows)


@pytest.mark.parametrize("standardised", [True, False])
@pytest.mark.parametrize("rule", SCALING_RULES)
def test_each_rule_equals_its_definition_computed_trial_by_trial(rule, standardised):
    decoder, trials = fitted(standardised=standardised)
    rng = np.random.default_rng(1)
    new = replace(
        trials.take(np.arange(24)),
        betas=(rng.normal(size=(24, 15)) * 3 + 50).astype(np.float32),
        session=np.repeat([7, 9], 12),
    )
    order = rng.permutation(15)
    moved = replace(new, betas=new.betas[:, order], voxel_index=new.voxel_index[order], rois={})
    found = predict_new(decoder, moved, rule).flat
    expected = [brute_force(new.betas[rows].astype(float), decoder, rule) for rows in (slice(12), slice(12, 24))]
    np.testing.assert_allclose(found, decoder.map_.predict(np.concatenate(expected)), rtol=0, atol=2e-4)


def test_only_the_rule_session_uses_later_trials():
    decoder, trials = fitted(standardised=True)
    new = replace(trials.take(np.arange(10)), session=np.zeros(10, dtype=np.int64))
    changed = new.betas.copy()
    changed[6:] = 99.0
    later = replace(new, betas=changed)
    for rule in ("training", "causal"):
        np.testing.assert_array_equal(
            predict_new(decoder, new, rule).array[:6], predict_new(decoder, later, rule).array[:6]
        )
    assert not np.allclose(
        predict_new(decoder, new, "session").array[:6], predict_new(decoder, later, "session").array[:6]
    )
    earlier = replace(new, betas=np.concatenate([changed[6:], new.betas[4:]]))
    np.testing.assert_array_equal(
        predict_new(decoder, new, "training").array[6:], predict_new(decoder, earlier, "training").array[6:]
    )


def test_running_statistics_approach_those_of_the_session():
    rng = np.random.default_rng(0)
    betas = (rng.normal(size=(4000, 3)) * 2 + 5).astype(np.float32)
    mean, scale = running_statistics(betas, np.zeros(3), np.ones(3))
    _, own_mean, own_scale = standardise(betas)
    np.testing.assert_allclose(mean[-1], own_mean, atol=0.02)
    np.testing.assert_allclose(scale[-1], own_scale, atol=0.02)
    far = running_statistics(betas[:50] + 1e4, np.full(3, 1e4), np.ones(3))
    np.testing.assert_allclose(far[1], running_statistics(betas[:50], np.zeros(3), np.ones(3))[1], rtol=1e-3)


@pytest.mark.parametrize("rule", SCALING_RULES)
def test_standardised_trials_and_raw_trials_give_the_same_predictions(rule):
    decoder, trials = fitted(standardised=True)
    found = [predict_new(decoder, given, rule).array for given in (trials, trials.zscore_sessions())]
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_one_trial_has_no_session_statistics_of_its_own():
    decoder, trials = fitted(standardised=True)
    one = trials.take(np.array([3]))
    with raises_with(DataError, where="scaling", expected=3, found=1):
        predict_new(decoder, one, "session")
    assert predict_new(decoder, one, "causal").array.shape == (1, 2, 3)
    with raises_with(RecipeError, where="scaling", expected=SCALING_RULES, found="none"):
        predict_new(decoder, one, "none")


def test_training_statistics_are_the_spread_within_sessions():
    decoder, trials = fitted(standardised=True)
    _, scale = training_statistics(decoder)
    within = [trials.betas[trials.session == k].std(axis=0) ** 2 for k in range(3)]
    np.testing.assert_allclose(scale, np.sqrt(np.mean(within, axis=0)), rtol=1e-5)
    assert (scale < trials.betas.std(axis=0)).all()


def test_a_user_s_estimator_uses_session_statistics_where_it_was_fitted_on_standardised_trials():
    from sklearn.linear_model import Ridge

    _, trials = fitted(standardised=True)
    features = Features("z", np.ones((60, 2), dtype=np.float32) * np.arange(60)[:, None], np.arange(60))
    decoder = Decoder(estimator=Ridge()).fit(trials.zscore_sessions(), features)
    assert predict_new(decoder, trials, "session").array.shape == (60, 2)
    own_units = Decoder(estimator=Ridge()).fit(trials, features)
    with pytest.raises(ShapeError):
        predict_new(own_units, trials, "training")


def test_a_decoder_keeps_the_shape_of_its_volume(tmp_path):
    decoder, trials = fitted(standardised=True)
    assert decoder.volume_shape_ is None
    features = Features("z", np.arange(60, dtype=np.float32)[:, None], np.arange(60))
    placed = Decoder(alphas=[1.0]).fit(replace(trials, volume_shape=(10, 10, 10)), features)
    placed.save(tmp_path / "z.safetensors")
    assert Decoder.load(tmp_path / "z.safetensors").volume_shape_ == (10, 10, 10)
    np.testing.assert_array_equal(match_voxels(placed, trials), np.arange(15))


# ----------------------------------------------------------------------------------- images, scores, the report


@pytest.fixture(scope="module")
def new_file(brain_file, tmp_path_factory):
    """New trials of the small subject, whose data have no volume: the index is the number of the column."""
    arrays = np.load(brain_file)
    rng = np.random.default_rng(5)
    order = rng.permutation(40)
    betas = arrays["betas"] + 0.1 * rng.normal(size=arrays["betas"].shape)
    path = tmp_path_factory.mktemp("new") / "scan.npz"
    np.savez(path, betas=betas[:, order], voxel_index=order, stimulus_id=arrays["stimulus_id"], run=arrays["run"])
    return path


def test_images_are_those_of_the_generator_from_the_decoded_features(finished, new_file):
    from reseen import load_model, reconstruct

    results = Results.read(finished)
    found = results.apply(new_file, conditions=["z", "zc"], average=True)
    assert found.n_repetitions.tolist() == [3, 3, 3, 3, 2, 2, 2, 2]
    recipe = results.recipe
    expected = reconstruct(
        load_model(recipe.model.name),
        z=found.features["z"],
        c=found.features["c"],
        n_samples=2,
        n_steps=2,
        strength=0.5,
        guidance=recipe.reconstruct.guidance,
        seed=recipe.seed,
        subject="subj01",
    )
    np.testing.assert_array_equal(found.images["zc"], expected)
    assert found.images["z"].shape[:2] == (8, 1)


def test_scores_exist_where_stimuli_are_known_and_say_which_were_training_stimuli(finished, new_file):
    results = Results.read(finished)
    found = results.apply(new_file, average=True)
    table = found.scores.table
    assert set(table["condition"]) == {"z", "c", "zc"}
    true = results.feature_blocks("subj01/z").load()
    decoder = results.decoder("z")
    centred = [
        array - decoder.map_.intercept for array in (found.features["z"].flat, true.rows(range(8)).reshape(8, -1))
    ]
    r = [np.corrcoef(mine, other)[0, 1] for mine, other in zip(*centred, strict=True)]
    row = table.query("condition == 'z' and metric == 'image_r' and level == 'result'")
    np.testing.assert_allclose(row["value"], np.mean(r), atol=1e-5)
    assert len(found.notes) == 1
    assert found.notes[0].startswith("4 of 8 stimuli were training stimuli")


def test_unknown_stimuli_have_no_scores_and_cannot_be_averaged(finished, new_file, tmp_path):
    results = Results.read(finished)
    arrays = {name: array for name, array in np.load(new_file).items() if name != "stimulus_id"}
    np.savez(tmp_path / "unlabelled.npz", **arrays)
    found = results.apply(tmp_path / "unlabelled.npz", conditions=["z"])
    assert (found.labelled, found.scores, found.presented) == (False, None, None)
    assert found.labels[:2] == ["trial 0", "trial 1"]
    with raises_with(DataError, where="average"):
        results.apply(tmp_path / "unlabelled.npz", average=True)
    np.savez(tmp_path / "other.npz", **arrays, stimulus_id=np.full(20, 900))
    with raises_with(DataError, where="stimulus_id", found=900):
        results.apply(tmp_path / "other.npz", conditions=[])
    np.savez(tmp_path / "few.npz", **arrays, stimulus_id=np.arange(20) % 2)
    few = results.apply(tmp_path / "few.npz", conditions=[])
    assert few.scores is None
    assert any("scores need 3" in note for note in few.notes)


def test_conditions_that_the_run_cannot_apply_are_refused(finished, new_file):
    results = Results.read(finished)
    with raises_with(RecipeError, where="conditions", found="i"):
        results.apply(new_file, conditions=["zi"])
    with raises_with(RecipeError, where="reconstruct.conditions", found="zz"):
        results.apply(new_file, conditions=["zz"])
    under_prior = Results(results.path, with_changes(results.recipe, {"decode.c_prior": "captions"}))
    with raises_with(RecipeError, where="conditions", found="c"):
        under_prior.apply(new_file)


def test_a_volume_is_refused_where_the_data_of_the_run_have_none(finished, tmp_path):
    (tmp_path / "scan.nii").touch()
    with raises_with(DataError, where=tmp_path / "scan.nii"):
        Results.read(finished).apply(tmp_path / "scan.nii")


def test_a_model_with_other_weights_is_refused(finished, new_file, tmp_path):
    from tiny_ldm import write_tiny_ldm

    results = Results.read(finished)
    other = write_tiny_ldm(tmp_path / "ldm", image_size=32, seed=9)
    changed = Results(results.path, with_changes(results.recipe, {"model.name": str(other)}))
    with raises_with(ResultsError, where="model"):
        changed.apply(new_file)


def test_predictions_of_several_folds_are_averaged(small_recipe, random_networks, new_file, tmp_path):
    recipe = with_changes(small_recipe, {"data.test": "folds", "data.n_folds": 4})
    pipeline.run(recipe, tmp_path / "run", until="decode")
    results = Results.read(tmp_path / "run")
    found = results.apply(new_file, conditions=[], average=True)
    assert len(results.decoders("z")) == 4
    arrays = np.load(new_file)
    trials = Trials(arrays["betas"], arrays["stimulus_id"], voxel_index=arrays["voxel_index"], session=arrays["run"])
    rule = found.scaling
    parts = [predict_new(decoder, trials, rule, average=True).array for decoder in results.decoders("z")]
    np.testing.assert_allclose(found.features["z"].array, np.mean(parts, axis=0), atol=1e-6)
    assert found.notes[0].startswith("8 of 8 stimuli")


def results_mean(finished, feature):
    """Mean of the training features of a decoder."""
    return Results.read(finished).decoder(feature).map_.intercept


def test_the_command_writes_a_folder_and_its_report(finished, new_file, reseen, tmp_path):
    out = tmp_path / "applied"
    code, said, _ = reseen("apply", finished, "--trials", new_file, "--condition", "zc", "--out", out)
    assert code == 0
    assert f"report: {out / 'report.html'}" in said
    assert "note: 4 of 8 stimuli" in said
    expected = Results.read(finished).apply(new_file, conditions=["zc"])
    saved_z = np.load(out / "features" / "z.npz")
    np.testing.assert_array_equal(saved_z["z"], expected.features["z"].array)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "images/zc/00003_1.png")), expected.images["zc"][3, 1])
    assert pd.read_csv(out / "items.csv")["stimulus_id"].tolist() == expected.stimulus_id.tolist()
    check_files("Files of reseen apply", out)
    found = pd.read_csv(out / "retrieval.csv", keep_default_na=False)
    assert set(found["metric"]) == {"top1@8"}
    assert set(found["condition"]) == {"z", "c", "zc"}
    mean = results_mean(finished, "z")
    true = expected.true["z"].reshape(20, -1) - mean
    similarity = np.corrcoef(true, expected.features["z"].flat - mean)[:20, 20:]
    _, first = np.unique(expected.stimulus_id, return_index=True)
    right = expected.stimulus_id[first][similarity[first].argmax(axis=0)] == expected.stimulus_id
    row = found.query("condition == 'z' and query == 'decoded' and protocol == 'builtin'")
    np.testing.assert_allclose(row["value"].item(), right.mean(), atol=1e-9)
    log = (out / "log.txt").read_text(encoding="utf-8").splitlines()
    assert re.search(r"^20\S+ start: apply .*, process \d+ on ", log[0])
    assert any("reconstruct" in line or "generate" in line for line in log[1:-1])
    assert " end: apply " in log[-1]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page == expected.report()
    assert page.count("<img") == 20 * (1 + 2)
    assert "top-1 accuracy" in page.lower()
    assert "A prediction therefore depends on the other trials of the session." in page
    assert "<script" not in page
    again, _, error = reseen("apply", finished, "--trials", new_file, "--out", out)
    assert again == 1
    assert "is not empty" in error
    assert reseen("apply", finished, "--trials", new_file, "--no-images", "--condition", "z")[0] == 2


def test_every_command_of_the_page_runs(finished, run_of_two, new_file, reseen, tmp_path, monkeypatch):
    import shutil

    text = (ROOT / "docs/new_trials.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (reseen\b(?:.*\\\n)*.*)", text, re.MULTILINE)
    assert len(lines) >= 4
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "out/a")
    shutil.copy(new_file, "scan.npz")
    shutil.copytree(run_of_two, "out/two")
    saved("session3.npz", load_nsd(Results.read(run_of_two).data.path, "subj02", zscore_sessions=False).trials)
    for line in lines:
        code, _, error = reseen(*shlex.split(line.replace("\\\n", " "), comments=True)[1:])
        assert code == 0, (line, error)
    assert Path("out/a-scan/report.html").is_file()
    assert Path("out/two-align-subj02-from-subj01/report.html").is_file()
    assert pd.read_csv("out/own/alignment.csv")["n_sessions"].unique().tolist() == [1, 2]


def test_the_python_of_the_page_runs(finished, run_of_two, new_file, tmp_path, monkeypatch):
    import shutil

    text = (ROOT / "docs/new_trials.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "out/a")
    shutil.copy(new_file, "scan.npz")
    shutil.copytree(run_of_two, "out/two")
    names = {}
    for block in blocks:
        exec(block, names)
