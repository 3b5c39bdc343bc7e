import json
import re
import shutil
import warnings
from dataclasses import replace

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
from stand_ins import stand_in

from reseen import networks, pipeline
from reseen.check import check
from reseen.check.costs import count_evaluations
from reseen.check.sizes import guess_sizes
from reseen.errors import DataError, ModelError, RecipeError, ResultsError, ShapeError
from reseen.ldm import load_model
from reseen.pipeline.context import Run
from reseen.pipeline.stages import needed
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.report.sample import declared_sample
from reseen.results import ResultsFolder
from reseen.simulate import write_data_set

CHANGING = {"times.json", "log.txt", ".lock", "report.html"}
"""Files that may differ between two equal runs; the report tells the times."""

pytestmark = [
    pytest.mark.usefixtures("random_networks"),
    pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning"),  # a few trials leave the penalty undecided
]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in CHANGING
    }


@pytest.fixture(scope="module")
def whole(finished):
    """Every file of an unbroken run."""
    return contents(finished)


def test_a_run_ends_with_images_scores_and_a_report(finished):
    results = ResultsFolder.read(finished)
    scores = results.load_table("scores")
    assert set(scores["condition"]) >= {"z", "c", "zc", "nearest_z", "nearest_c"}
    assert set(scores["level"]) == {"mismatched", "permuted", "result", "oracle"}
    reading = results.load_table("diagnostics")
    assert set(reading["feature"]) == {"z", "c", "zc images"}
    of_features = {"n_way", "zero_shot", "novelty", "variance", "dimensions", "bottleneck", "repetitions", "coverage"}
    assert set(reading["diagnostic"]) == of_features | {"samples"}
    report = (finished / "report.html").read_text(encoding="utf-8")
    assert len(report) > 10_000
    assert "<td>safety checker</td><td>off" in report
    assert "images repeat too seldom to compare responses" in report  # 16 pairs
    assert len(list(finished.glob("subj01/images/*/zc/*.png"))) == (2 + 3 + 2) * 4  # draws, permutations, draws
    assert len(list(finished.glob("subj01/images/*/z/*.png"))) == (1 + 3 + 1) * 4
    assert set(results.times) == {"extract", "decode", "encode", "reconstruct", "evaluate", "report"}


def test_images_are_read_as_they_are_scored(finished):
    results = ResultsFolder.read(finished)
    scores, reading = (results.load_table(name) for name in ("scores", "diagnostics"))
    late = (scores["network"] == "classifier") & (scores["layer"] == "late") & (scores["direction"] == "original")
    scored = scores[late & (scores["condition"] == "zc") & (scores["level"] == "result") & (scores["subset"] == "all")]
    read = reading[(reading["feature"] == "zc images") & (reading["diagnostic"] == "n_way")].set_index("setting")
    expected = scored.set_index("metric")["value"]["identification"]
    assert read["value"]["2"] == pytest.approx(expected, abs=1e-9)


def test_the_report_ranks_images_by_their_scores_in_the_table(finished):
    each = ResultsFolder.read(finished).load_table("images")
    late = (each["network"] == "classifier") & (each["layer"] == "late") & (each["direction"] == "original")
    mine = each[late & (each["condition"] == "zc") & (each["level"] == "result") & (each["metric"] == "identification")]
    sample = declared_sample(mine["value"].to_numpy(), n_random=2)
    expected = {(str(mine["stimulus_id"].iloc[place]), f"{mine['value'].iloc[place]:.2f}") for place in sample.labelled}
    page = (finished / "report.html").read_text(encoding="utf-8")
    gallery = page[page.index("Presented and reconstructed images") :]
    assert set(re.findall(r"stimulus (\d+)\D*score (\d\.\d\d)", gallery)) == expected
    assert "ranked by two-way identification of zc by classifier, layer late" in page


def test_a_second_run_computes_nothing(small_recipe, finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    calls = []
    for name in ("ldm.extraction.extract", "decode.decode", "reconstruction.generate", "evaluate.evaluate"):
        monkeypatch.setattr(f"reseen.{name}", lambda *_args, name=name, **_options: calls.append(name))
    pipeline.run(small_recipe, tmp_path)
    assert calls == []


def test_two_runs_give_the_same_bytes(small_recipe, tmp_path, whole):
    pipeline.run(small_recipe, tmp_path / "again")
    assert contents(tmp_path / "again") == whole


def test_batch_size_changes_no_image(small_recipe, tmp_path, whole):
    pipeline.run(with_settings(small_recipe, ["reconstruct.batch_size=3"]), tmp_path / "again")
    found = contents(tmp_path / "again")
    found["recipe.toml"] = whole["recipe.toml"]
    assert found == whole


@pytest.mark.parametrize("n_before_the_kill", [1, 6, 11, 30])
def test_a_killed_run_started_again_ends_like_an_unbroken_one(
    small_recipe, tmp_path, whole, monkeypatch, n_before_the_kill
):
    saved = []
    save = ResultsFolder.save_image

    def save_until_killed(self, path, image):
        if len(saved) == n_before_the_kill:
            raise KeyboardInterrupt
        saved.append(path)
        save(self, path, image)

    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "save_image", save_until_killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(small_recipe, tmp_path / "killed")
    pipeline.run(small_recipe, tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole


@pytest.fixture
def larger_brain(tmp_path):
    """One npz: 24 images shown twice, 20 voxels that answer to the image."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (24, 4, 4, 3), dtype=np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    stimulus_id = np.tile(np.arange(24), 2)
    signal = images.reshape(24, -1)[:, ::307].astype(np.float32) / 255
    betas = signal[stimulus_id] @ rng.normal(size=(signal.shape[1], 20)) + 0.3 * rng.normal(size=(48, 20))
    np.savez(
        tmp_path / "subj01.npz",
        betas=betas.astype(np.float32),
        stimulus_images=images,
        stimulus_id=stimulus_id,
        captions=np.array([f"image {i}" for i in range(24)]),
        roi_low=np.arange(20) < 10,
        roi_high=np.arange(20) >= 10,
        test_stimulus_id=np.arange(4),
    )
    return tmp_path / "subj01.npz"


def test_captions_as_a_prior_change_only_decoded_c_and_are_in_the_report(
    small_recipe, larger_brain, tmp_path, monkeypatch
):
    recipe = with_settings(small_recipe, [f"data.path={larger_brain}", "evaluate.n_permutations=2"])
    save = ResultsFolder.save_features

    def save_until_killed(self, path, features, computed_by):
        if path.name == "permuted1_c.safetensors":
            raise KeyboardInterrupt
        save(self, path, features, computed_by)

    pipeline.run(recipe, tmp_path / "plain", until="decode")
    recipe = with_settings(recipe, ["decode.c_prior=captions"])
    with monkeypatch.context() as patch:
        patch.setattr(ResultsFolder, "save_features", save_until_killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(recipe, tmp_path / "killed", until="decode")
    pipeline.run(recipe, tmp_path / "killed", until="decode")
    pipeline.run(recipe, tmp_path / "whole")
    killed, whole = (contents(tmp_path / name / "subj01" / "decode") for name in ("killed", "whole"))
    assert killed == whole
    plain, prior = (ResultsFolder.read(tmp_path / name) for name in ("plain", "whole"))
    for stem in ("z", "c", "permuted0_z", "permuted0_c"):
        found, linear = (results.load_features(results.decode_path("subj01", stem)) for results in (prior, plain))
        np.testing.assert_array_equal(found.stimulus_id, linear.stimulus_id)
        assert np.array_equal(found.array, linear.array) == stem.endswith("z")
    report = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    arrays, _ = prior.load_arrays(prior.decode_path("subj01", "c_candidates"))
    assert "Most probable captions" in report
    assert f"image {arrays['stimulus_id'][0, 0]}" in report
    np.testing.assert_array_equal(np.isin(arrays["stimulus_id"], np.arange(4)), False)


def test_a_prior_of_a_few_captions_is_refused(small_recipe, tmp_path):
    with pytest.raises(ShapeError, match="averaged ones and 4"):
        pipeline.run(with_settings(small_recipe, ["decode.c_prior=captions"]), tmp_path)


def test_a_run_killed_between_the_tables_ends_like_an_unbroken_one(small_recipe, tmp_path, whole, monkeypatch):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("reseen.evaluate.diagnose_features", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(small_recipe, tmp_path / "killed", until="evaluate")
    assert (tmp_path / "killed/subj01/scores.csv").is_file()
    pipeline.run(small_recipe, tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole


@pytest.mark.parametrize("lost", ["decode", "encode"])
def test_a_run_killed_while_fitting_ends_like_an_unbroken_one(small_recipe, tmp_path, whole, lost):
    pipeline.run(small_recipe, tmp_path / "killed", until=lost)
    made = [path for path in (tmp_path / "killed").rglob("*.*") if path.is_file() and path.name not in CHANGING]
    newest = max(made, key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    pipeline.run(small_recipe, tmp_path / "killed")
    assert contents(tmp_path / "killed") == whole


def test_single_test_trials_have_an_image_each_and_an_oracle_for_each_stimulus(small_recipe, tmp_path):
    results = pipeline.run(with_settings(small_recipe, ["data.test_trials=single"]), tmp_path)
    names = {path.name for path in tmp_path.glob("subj01/images/result/zc/*_0.png")}
    assert names == {f"{i:05d}-t{k}_0.png" for k, i in enumerate([0, 0, 0, 1, 1, 1, 4, 4, 5, 5])}
    assert len(list(tmp_path.glob("subj01/images/oracle/zc/*_0.png"))) == 4
    scores = results.load_table("scores")
    assert set(scores["n"]) == {10}


def test_folds_hold_out_every_stimulus_once(small_recipe, tmp_path):
    results = pipeline.run(with_settings(small_recipe, ["data.test=folds", "data.n_folds=4"]), tmp_path, until="decode")
    decoded = results.load_features(results.decode_path("subj01", "z"))
    assert decoded.stimulus_id.tolist() == list(range(8))
    assert len(list(tmp_path.glob("subj01/decode/z_fold*.safetensors"))) == 4


def test_images_without_captions_do_for_z_alone(small_recipe, tmp_path, brain_file):
    arrays = dict(np.load(brain_file))
    arrays["captions"] = np.full(8, "")
    np.savez(tmp_path / "subj01.npz", **arrays)
    recipe = with_settings(small_recipe, [f"data.path={tmp_path / 'subj01.npz'}"])
    with pytest.raises(DataError, match=r'no caption.*reconstruct.conditions = \["z"\], encode.features = \["z"\]'):
        pipeline.run(recipe, tmp_path / "with_c")
    alone = with_settings(recipe, ['reconstruct.conditions=["z"]', 'encode.features=["z"]', "evaluate.full=true"])
    results = pipeline.run(alone, tmp_path / "z_alone")
    assert (results.path / "report.html").is_file()
    assert {path.name for path in (results.path / "features" / "subj01").iterdir()} == {"z.safetensors"}
    assert set(results.load_table("scores")["condition"]) == {"z", "nearest_z"}


def test_every_array_has_the_settings_that_it_was_computed_by(finished):
    from safetensors import safe_open

    results = ResultsFolder.read(finished)
    for path in finished.rglob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads(file.metadata()["computed_by"])
        assert metadata["images and captions"] == results.provenance["images and captions of subj01"], path
        if metadata["stage"] not in ("extract", "record"):
            assert metadata["data"] == results.provenance["data of subj01"], path
        assert metadata["model"] == results.provenance["model"], path
        assert ('"decode.intercept": true' in metadata["settings"]) == (metadata["stage"] == "decode"), path


def test_other_data_in_the_same_folder_are_refused(small_recipe, tmp_path, brain_file):
    pipeline.run(small_recipe, tmp_path / "out", until="decode")
    arrays = dict(np.load(brain_file))
    arrays["betas"] = arrays["betas"] + 1e-3
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ResultsError, match="another data of subj01"):
        pipeline.run(small_recipe, tmp_path / "out", data=tmp_path / "other.npz", until="encode")


def test_the_same_data_in_another_place_are_accepted(small_recipe, tmp_path, brain_file):
    pipeline.run(small_recipe, tmp_path / "out", until="extract")
    (tmp_path / "moved.npz").write_bytes(brain_file.read_bytes())
    pipeline.run(small_recipe, tmp_path / "out", data=tmp_path / "moved.npz", until="decode")


def test_another_model_under_the_same_name_is_refused(small_recipe, tmp_path, tiny_model, monkeypatch):
    pipeline.run(small_recipe, tmp_path, until="decode")
    other = replace(load_model(str(tiny_model)), fingerprint="sha256:other")
    monkeypatch.setattr("reseen.check.inputs.load_model", lambda *_args, **_options: other)
    with pytest.raises(ResultsError, match="another model"):
        pipeline.run(small_recipe, tmp_path, until="reconstruct")


def test_only_the_stages_that_are_needed_run():
    assert needed("extract") == ["simulate", "extract"]
    assert needed("encode") == ["simulate", "extract", "encode"]
    assert needed("report") == list(pipeline.STAGES)


def test_an_unknown_stage_is_refused(small_recipe, tmp_path):
    with pytest.raises(RecipeError) as raised:
        pipeline.run(small_recipe, tmp_path, until="dream")
    error = raised.value
    assert (error.where, error.expected, error.found) == ("until", tuple(pipeline.STAGES), "dream")


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(small_recipe, tmp_path):
    with pytest.raises(ModelError):
        pipeline.run(small_recipe, tmp_path / "out", device="cuda:99")
    assert not (tmp_path / "out").exists()


def test_the_error_about_missing_data_names_the_option(tmp_path, tiny_model):
    recipe = with_settings(Recipe(), [f"model.name={tiny_model}"])
    with pytest.raises(DataError, match="--data"):
        pipeline.run(recipe, tmp_path)


def test_progress_counts_up_to_its_total(small_recipe, tmp_path):
    seen = {}
    pipeline.run(small_recipe, tmp_path, progress=lambda doing, done, total: seen.__setitem__(doing, (done, total)))
    assert "reconstruct subj01 result zc" in seen
    assert all(done == total for done, total in seen.values())


def test_warnings_are_kept_for_the_report(small_recipe, tmp_path):
    settings = ["decode.alphas=[1e-6, 1e-5]"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = pipeline.run(with_settings(small_recipe, settings), tmp_path, until="decode")
    assert any("alpha" in text or "penalt" in text for text in results.warnings)


def test_a_warning_is_noted_as_it_comes_so_that_an_interrupt_loses_none(small_recipe, tmp_path):
    def interrupted(job):
        with job.recording_warnings():
            warnings.warn("a black image", UserWarning, stacklevel=1)
            assert ResultsFolder.read(tmp_path).warnings == ["a black image"]
            raise KeyboardInterrupt

    with ResultsFolder.open(tmp_path, small_recipe) as results, warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with pytest.raises(KeyboardInterrupt):
            interrupted(Run(small_recipe, results))
    assert [str(warning.message) for warning in shown] == ["a black image"]
    assert ResultsFolder.read(tmp_path).warnings == ["a black image"]


def test_a_warning_that_is_not_to_be_shown_is_noted_all_the_same(small_recipe, tmp_path, capsys):
    with ResultsFolder.open(tmp_path, small_recipe) as results, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Run(small_recipe, results).recording_warnings():
            warnings.warn("a black image", UserWarning, stacklevel=1)
        assert results.warnings == ["a black image"]
    assert "black" not in capsys.readouterr().err


def test_check_fetches_no_model(small_recipe, tmp_path, monkeypatch):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr("reseen.check.costs.seconds_per_evaluation", None)
    recipe = with_settings(small_recipe, ["model.name=CompVis/stable-diffusion-v1-4"])
    found = {finding.what: finding for finding in check(recipe, tmp_path / "out")}
    assert asked["local_files_only"]
    assert not found["model"].ok
    assert "cannot be loaded from the hub's local cache" in found["model"].found
    assert "`hf download CompVis/stable-diffusion-v1-4 --include" in found["model"].found
    assert "time" not in found


# -------------------------------------------------------------------------------------------------- the recipes


@pytest.fixture(scope="module")
def simulated_subject(tmp_path_factory):
    """A simulated subject of few trials and voxels."""
    folder = tmp_path_factory.mktemp("simulated") / "subject"
    write_data_set(load_recipe("tiny"), folder)
    return folder


@pytest.mark.filterwarnings("ignore:.* captions are longer than the")  # the small model reads 24 letters
def test_the_tiny_recipe_runs_the_complete_chain_on_a_simulated_subject(tiny_model, tmp_path):
    results = pipeline.run(with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"]), tmp_path)
    assert (tmp_path / "data/nsddata").is_dir()
    scores = results.load_table("scores")
    assert set(scores["subset"]) == {"all", "seen", "novel"}
    assert "between background" in set(results.load_table("diagnostics")["setting"])
    assert (tmp_path / "report.html").is_file()


@pytest.mark.filterwarnings("ignore:.* captions are longer than the")  # the small model reads 24 letters
@pytest.mark.filterwarnings("ignore:.*ncsnr is defined on betas standardised")
@pytest.mark.filterwarnings("ignore:protocol takagi2023 lacks")
@pytest.mark.parametrize("name", ["takagi2023", "takagi2023_as_released", "reseen"])
def test_the_recipes_for_nsd_run_on_a_simulated_subject_too(simulated_subject, tiny_model, tmp_path, name):
    on_digital = ['data.subjects=["subj01"]', "data.sessions=", "data.n_test=6", f"model.name={tiny_model}"]
    small = ["reconstruct.n_samples=1", "reconstruct.n_steps=4", "evaluate.n_bootstrap=5", "evaluate.n_derangements=5"]
    recipe = with_settings(load_recipe(name), [*on_digital, *small])
    results = pipeline.run(recipe, tmp_path, data=simulated_subject, until="evaluate")
    assert set(results.load_table("scores")["level"]) == {"mismatched", "permuted", "result", "oracle"}


@pytest.mark.parametrize("name", ["scores", "diagnostics", "encoding"])
def test_a_table_with_the_columns_of_an_older_version_is_computed_again(small_recipe, finished, tmp_path, whole, name):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / f"{name}.csv", tmp_path / f"subj01/{name}.csv"):
        table = pd.read_csv(path)
        table.drop(columns=table.columns[2]).to_csv(path, index=False)
    (tmp_path / "report.html").write_text("old")
    pipeline.run(small_recipe, tmp_path)
    assert contents(tmp_path) == whole
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_missing_decoder_of_a_fold_is_named_and_fitted_again(small_recipe, finished, tmp_path, whole):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    decoder, decoded = (tmp_path / f"subj01/decode/{name}.safetensors" for name in ("z_fold0", "z"))
    decoder.unlink()
    (tmp_path / "report.html").unlink()
    with pytest.raises(ResultsError, match=r"Delete .*z\.safetensors too") as raised:
        pipeline.run(small_recipe, tmp_path)
    assert raised.value.where == decoder
    decoded.unlink()
    pipeline.run(small_recipe, tmp_path)
    assert contents(tmp_path) == whole


@pytest.mark.filterwarnings("ignore:protocol takagi2023 lacks")
def test_weights_that_were_fetched_later_count_once_the_scores_are_deleted(small_recipe, tmp_path, monkeypatch):
    fetched = []

    def load_panel(protocol, builtin, *, device):
        def load(name, *, device):
            if not fetched:
                raise ModelError("fetch it")
            return stand_in(name)

        return networks.load_panel(protocol, builtin, device=device, load=load)

    monkeypatch.setattr("reseen.pipeline.evaluate.load_panel", load_panel)
    recipe = with_settings(small_recipe, ['evaluate.protocols=["takagi2023", "builtin"]'])
    results = pipeline.run(recipe, tmp_path)
    assert any("lacks" in text for text in results.warnings)
    fetched.append("all")
    for path in (tmp_path / "scores.csv", tmp_path / "subj01/scores.csv"):
        path.unlink()
    (tmp_path / "report.html").write_text("old")
    pipeline.run(recipe, tmp_path)
    assert {"alexnet", "inception"} <= set(results.load_table("scores")["network"])
    assert {"alexnet", "inception"} <= set(results.load_table("images")["network"])
    assert not any("lacks" in text for text in results.warnings)
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore:protocol takagi2023 lacks clip")
def test_a_recipe_is_scored_by_every_protocol_with_networks(small_recipe, tmp_path, monkeypatch):
    def load_panel(protocol, builtin, *, device):
        def load(name, *, device):
            if name == "clip_vit_l14":
                raise ModelError("fetch it")
            return stand_in(name)

        return networks.load_panel(protocol, builtin, device=device, load=load)

    monkeypatch.setattr("reseen.pipeline.evaluate.load_panel", load_panel)
    recipe = with_settings(small_recipe, ['evaluate.protocols=["takagi2023", "builtin"]'])
    results = pipeline.run(recipe, tmp_path)
    scores = results.load_table("scores")
    assert set(scores["protocol"]) == {"takagi2023", "builtin"}
    released = scores[scores["protocol"] == "takagi2023"]
    assert set(released["network"]) == {"alexnet", "inception"}
    assert set(released["level"]) == {"mismatched", "permuted", "result", "oracle"}
    assert results.provenance["network alexnet of takagi2023"] == "random-alexnet"
    assert [text for text in results.warnings if "lacks clip: fetch it" in text and "delete scores.csv" in text]
    page = (tmp_path / "report.html").read_text()
    assert "protocol takagi2023" in page
    # these stimuli are no drawn scenes: the headline is by the first published network that is there
    assert "Two-way identification by inception; for each presented" in page
    assert "Two-way identification by the classifier, presented image held fixed" in page


def test_check_names_the_networks_that_are_missing_and_how_to_fetch_them(small_recipe, tmp_path, monkeypatch):
    def missing(name):
        raise ModelError(f"fetch {name}")

    monkeypatch.setattr("reseen.check.checks.load_network", missing)
    found = findings(with_settings(small_recipe, ['evaluate.protocols=["mindeye2"]']), tmp_path / "out")
    assert found["network alexnet"].ok  # a run continues without it
    assert "scores will be left out: fetch alexnet" in found["network alexnet"].found
    assert {"network swav_resnet50", "network efficientnet_b1_v2", "network clip_vit_l14"} <= set(found)


def test_a_killed_simulation_leaves_no_incomplete_subject(tiny_model, tmp_path, monkeypatch):
    def killed(out, *_args, **_options):
        (out / "nsddata").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("reseen.simulate.data_set.simulate", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"]), tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_simulated_subject_that_saw_images_of_your_own_needs_another_model(simulated_subject, tmp_path):
    shutil.copytree(simulated_subject, tmp_path / "data")
    (tmp_path / "data/truth/images.json").write_text('[{"file": "my_cat.png"}]')
    recipe = with_settings(load_recipe("tiny"), [f"data.path={tmp_path / 'data'}"])
    found = findings(recipe, tmp_path / "out")
    assert not found["images"].ok
    assert "Stable Diffusion" in found["images"].found


# ------------------------------------------------------------------------------------------------------------ check


def findings(recipe, out, **options):
    return {finding.what: finding for finding in check(recipe, out, **options)}


def test_check_finds_nothing_wrong_with_a_recipe_that_runs(small_recipe, tmp_path):
    found = findings(small_recipe, tmp_path / "out")
    assert all(finding.ok for finding in found.values()), found
    assert not (tmp_path / "out").exists()
    assert {"ROIs", "model", "space", "time", "data of subj01"} <= set(found)


@pytest.mark.parametrize(
    ("setting", "what", "says"),
    [
        ("data.path=/nosuch", "data of subj01", "/nosuch is missing"),
        ("model.name=nosuch", "model", "there is no model 'nosuch'"),
    ],
)
def test_check_reports_each_problem(small_recipe, tmp_path, setting, what, says):
    found = findings(with_settings(small_recipe, [setting]), tmp_path)
    assert not found[what].ok
    assert says in found[what].found


def test_check_reports_a_folder_of_another_recipe(small_recipe, tmp_path):
    ResultsFolder.open(tmp_path, with_settings(small_recipe, ["seed=7"])).close()
    found = findings(small_recipe, tmp_path)
    assert not found["results folder"].ok
    assert "seed: expected 7, found 0" in found["results folder"].found
    (tmp_path / "recipe.toml").unlink()
    assert findings(small_recipe, tmp_path)["results folder"].error.where == tmp_path / "recipe.toml"
    error = findings(small_recipe, tmp_path / "provenance.json")["results folder"].error
    assert (error.where, error.expected, error.found) == (tmp_path / "provenance.json", "folder", "file")


def test_check_reports_a_disk_that_is_too_small(small_recipe, tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("reseen.check.costs.shutil.disk_usage", lambda _: usage(10, 10, 0))
    assert not findings(small_recipe, tmp_path)["space"].ok


def test_check_of_a_simulated_subject_needs_no_data(tiny_model, tmp_path):
    recipe = with_settings(load_recipe("tiny"), [f"model.name={tiny_model}"])
    assert "will be written" in findings(recipe, tmp_path)["data"].found
    wrong = with_settings(recipe, ['data.subjects=["subj07"]'])
    assert not findings(wrong, tmp_path)["data"].ok


def test_the_count_of_evaluations_is_that_of_the_demo():
    recipe = load_recipe("demo")
    assert count_evaluations(recipe, guess_sizes(recipe), load_model("builtin")) == 24 * 2 * 52 * 3


@pytest.mark.filterwarnings("ignore")
def test_betas_of_each_of_two_subjects_are_read_and_hashed_once(tmp_path, monkeypatch, random_networks):
    from reseen.datasets import nsd
    from reseen.pipeline import context
    from reseen.recipe import load_recipe

    calls = []
    read, fingerprint = nsd.read_betas, context.trials_fingerprint

    def counted_read(*arguments, **options):
        calls.append("read")
        return read(*arguments, **options)

    def counted_fingerprint(*arguments):
        calls.append("hash")
        return fingerprint(*arguments)

    monkeypatch.setattr(nsd, "read_betas", counted_read)
    monkeypatch.setattr(context, "trials_fingerprint", counted_fingerprint)
    small = {"reconstruct.n_samples": 1, "evaluate.oracle": False, "simulate.n_subjects": 2}
    recipe = load_recipe("tiny", {**small, "data.subjects": ["subj01", "subj02"]})
    results = pipeline.run(recipe, tmp_path)
    assert sorted(calls) == ["hash", "hash", "read", "read"]
    assert set(results.load_table("scores")["subject"]) == {"subj01", "subj02"}
    assert set(results.load_table("encoding")["subject"]) == {"subj01", "subj02"}


def test_features_of_the_same_voxels_factor_the_responses_once(small_recipe, tmp_path, monkeypatch):
    from reseen.decode import Decoding, tasks

    calls = []

    def counted(*arguments, **options):
        calls.append(options["alphas"])
        return factor(*arguments, **options)

    factor = tasks.factor
    monkeypatch.setattr(tasks, "factor", counted)
    recipe = with_settings(small_recipe, ['decode.rois.c=["low"]'])
    shared = pipeline.run(recipe, tmp_path / "shared", until="decode")
    n_shared = len(calls)
    other = with_settings(recipe, ["decode.feature_alphas={c = [1.0, 10.0, 100.0]}"])
    pipeline.run(other, tmp_path / "other_penalties", until="decode")
    n_other = len(calls) - n_shared
    monkeypatch.setattr(Decoding, "can_share", lambda *_: False)
    alone = pipeline.run(recipe, tmp_path / "alone", until="decode")
    assert n_other == len(calls) - n_shared - n_other == 2 * n_shared > 0
    for stem in ("z", "c", "permuted0_c"):
        one, two = [folder.load_features(folder.decode_path("subj01", stem)) for folder in (shared, alone)]
        assert np.array_equal(one.array, two.array)
