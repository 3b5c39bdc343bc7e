import errno
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reseen.errors import ResultsError
from reseen.features import Features
from reseen.recipe import Recipe, load_recipe, with_settings
from reseen.results import ResultsFolder, StageTime, library_versions


@pytest.fixture
def results(tmp_path):
    with ResultsFolder.open(tmp_path / "out", Recipe()) as opened:
        yield opened


def some_features() -> Features:
    return Features("z", np.arange(12, dtype=np.float32).reshape(3, 2, 2), np.array([4, 1, 9]))


def test_the_same_recipe_opens_the_same_folder_again(tmp_path):
    for _ in range(2):
        ResultsFolder.open(tmp_path, Recipe()).close()


def test_opening_a_folder_deletes_incomplete_files_of_a_killed_run(tmp_path):
    ResultsFolder.open(tmp_path, Recipe()).close()
    whole = sorted(tmp_path.rglob("*"))
    half = tmp_path / "subj01" / "images" / f".00000_0.png.{'0a' * 16}.part"
    half.parent.mkdir(parents=True)
    half.touch()
    with pytest.raises(ResultsError):
        ResultsFolder.open(tmp_path, with_settings(Recipe(), ["reconstruct.n_steps=20"]))
    assert half.exists()
    ResultsFolder.open(tmp_path, Recipe()).close()
    assert sorted(tmp_path.rglob("*")) == [*whole, *half.parents[:2][::-1]]


def test_another_recipe_in_the_same_folder_is_refused_with_the_field_named(tmp_path):
    ResultsFolder.open(tmp_path, Recipe()).close()
    with pytest.raises(ResultsError, match=r"reconstruct\.n_steps: expected 50, found 20") as raised:
        ResultsFolder.open(tmp_path, with_settings(Recipe(), ["reconstruct.n_steps=20"]))
    error = raised.value
    assert error.where == tmp_path
    assert (error.expected, error.found) == ({"reconstruct.n_steps": 50}, {"reconstruct.n_steps": 20})


def test_batch_size_and_data_path_may_change_between_runs(tmp_path):
    ResultsFolder.open(tmp_path, Recipe()).close()
    ResultsFolder.open(tmp_path, with_settings(Recipe(), ["reconstruct.batch_size=2", "data.path=/elsewhere"])).close()


def test_a_recipe_that_scores_more_drops_the_tables_that_depend_on_it(tmp_path):
    names = ("scores", "images", "diagnostics", "retrieval", "encoding", "captions")
    ResultsFolder.open(tmp_path, Recipe()).close()
    (tmp_path / "subj01").mkdir()
    for folder in (tmp_path, tmp_path / "subj01"):
        for name in names:
            (folder / f"{name}.csv").write_text("")
    more = with_settings(Recipe(), ['evaluate.protocols=["builtin", "takagi2023"]'])
    ResultsFolder.open(tmp_path, more).close()
    assert load_recipe(tmp_path / "recipe.toml") == more
    assert {path.stem for path in tmp_path.rglob("*.csv")} == {"diagnostics", "encoding", "captions"}
    ResultsFolder.open(tmp_path, with_settings(more, ["evaluate.full=true"])).close()
    assert {path.stem for path in tmp_path.rglob("*.csv")} == {"encoding", "captions"}
    with pytest.raises(ResultsError, match=r"reseen run .*recipe.toml --out") as raised:
        ResultsFolder.open(tmp_path, more)
    assert (raised.value.expected, raised.value.found) == ({"evaluate.full": True}, {"evaluate.full": False})


def test_a_refused_folder_is_released(tmp_path):
    ResultsFolder.open(tmp_path, Recipe()).close()
    with pytest.raises(ResultsError):
        ResultsFolder.open(tmp_path, with_settings(Recipe(), ["seed=1"]))
    ResultsFolder.open(tmp_path, Recipe()).close()


def test_other_data_or_another_model_is_refused_with_both_fingerprints(results):
    results.claim("model", "aaa")
    results.claim("model", "aaa")
    with pytest.raises(ResultsError, match="another model") as raised:
        results.claim("model", "bbb")
    assert (raised.value.where, raised.value.expected, raised.value.found) == ("model", "aaa", "bbb")


def test_other_library_versions_are_refused(tmp_path, monkeypatch):
    ResultsFolder.open(tmp_path, Recipe()).close()
    monkeypatch.setattr("reseen.results.folder.library_versions", lambda: {**library_versions(), "numpy": "0.1"})
    with pytest.raises(ResultsError) as raised:
        ResultsFolder.open(tmp_path, Recipe())
    assert (raised.value.where, raised.value.found) == ("version of numpy", "0.1")


def test_two_runs_at_once_in_one_folder_are_refused(tmp_path):
    with ResultsFolder.open(tmp_path, Recipe()), pytest.raises(ResultsError, match="in use by") as raised:
        ResultsFolder.open(tmp_path, Recipe())
    assert raised.value.where == tmp_path


def test_the_lock_of_a_dead_process_is_released(tmp_path):
    code = (
        "import os; from reseen.recipe import Recipe; from reseen.results import ResultsFolder; "
        f"ResultsFolder.open({str(tmp_path)!r}, Recipe()); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / ".lock").is_file()
    ResultsFolder.open(tmp_path, Recipe()).close()


def test_a_folder_that_cannot_be_created_is_reported_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match=r"cannot create the results folder .*: ") as raised:
        ResultsFolder.open(tmp_path / "file" / "out", Recipe())
    assert raised.value.where == tmp_path / "file" / "out"


def test_features_read_back_as_they_were_saved(results):
    path = results.features_path("subj01/z")
    results.save_features(path, some_features(), {"stage": "extract"})
    loaded = results.load_features(path)
    assert loaded.name == "z"
    assert np.array_equal(loaded.array, some_features().array)
    assert np.array_equal(loaded.stimulus_id, some_features().stimulus_id)


def test_damaged_features_are_refused(results):
    path = results.features_path("z")
    results.save_features(path, some_features(), {})
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ResultsError, match="cannot be read") as raised:
        results.load_features(path)
    assert raised.value.where == path


def test_images_read_back_and_their_names_have_item_and_sample(results):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path = results.image_path("subj01", "result", "zc", 42, 1)
    results.save_image(path, image)
    assert path.relative_to(results.path) == Path("subj01/images/result/zc/00042_1.png")
    assert np.array_equal(results.load_image(path), image)
    assert results.image_path("subj01", "result", "zc", 42, 1, trial=7).name == "00042-t7_1.png"


def test_tables_read_back_with_empty_text(results):
    table = pd.DataFrame({"layer": ["", "late"], "value": [0.5, np.nan], "n": [3, 4]})
    results.save_table("some", table)
    pd.testing.assert_frame_equal(results.load_table("some"), table, check_dtype=False)


def test_results_without_their_recipe_are_refused(tmp_path):
    ResultsFolder.open(tmp_path, Recipe()).close()
    (tmp_path / "recipe.toml").unlink()
    for recipe in (Recipe(), with_settings(Recipe(), ["reconstruct.n_steps=20"])):
        with pytest.raises(ResultsError, match="has results, and no") as raised:
            ResultsFolder.open(tmp_path, recipe)
        assert raised.value.where == tmp_path / "recipe.toml"
    assert not (tmp_path / "recipe.toml").exists()


def test_a_provenance_of_something_else_is_damaged(results):
    (results.path / "provenance.json").write_text("[]")
    with pytest.raises(
        ResultsError, match=r"provenance\.json does not contain the expected JSON: input should be an object"
    ):
        results.claim("model", "one")


def test_text_like_missing_values_stays_text(results):
    table = pd.DataFrame({"subject": "NA", "roi": ["None", "nan"], "layer": "", "value": [0.5, np.nan], "n": [3, 4]})
    results.save_table("some", table)
    pd.testing.assert_frame_equal(results.load_table("some"), table, check_dtype=False)


def test_text_like_numbers_stays_text(results):
    table = pd.DataFrame({"network": "7", "layer": ["2", "05"], "setting": ["2", "10"], "direction": "", "n": [3, 4]})
    results.save_table("some", table)
    pd.testing.assert_frame_equal(results.load_table("some"), table, check_dtype=False)


def test_a_full_disk_is_reported_and_leaves_no_file(results, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResultsError, match="no space left to write") as raised:
        results.save_text("report.html", "page")
    assert raised.value.where == results.path / "report.html"
    assert not list(results.path.glob("*report*"))


def test_a_full_disk_is_reported_when_features_are_written(results, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(ResultsError, match=r"no space left") as raised:
        results.save_features(results.features_path("z"), some_features(), {})
    assert raised.value.where == results.features_path("z")
    assert not results.features_path("z").exists()


def test_times_are_summed_over_runs_in_a_file_of_their_own(results):
    for seconds, device in ((1.5, "cpu"), (None, "cuda"), (2.0, "cuda")):
        results.begin_stage("decode", device)
        results.end_stage("decode", seconds)
    assert results.times == {"decode": StageTime(seconds=3.5, device="cuda")}
    assert "decode" not in (results.path / "provenance.json").read_text()


def test_a_stage_that_had_nothing_to_do_has_no_time(results):
    results.begin_stage("simulate", "cpu")
    results.end_stage("simulate", None)
    assert results.times == {}


def test_a_kill_before_the_time_of_a_stage_was_written_is_known(results):
    results.begin_stage("decode", "cpu")  # and then a kill
    results.begin_stage("decode", "cpu")
    results.end_stage("decode", None)
    assert results.times == {"decode": StageTime(seconds=0, device="cpu", n_lost=1)}


def test_the_error_about_a_damaged_provenance_has_the_fix(results):
    (results.path / "provenance.json").write_text("{")
    with pytest.raises(ResultsError, match=r"provenance\.json does not contain the expected JSON.* Delete it"):
        _ = results.provenance


def test_a_folder_without_results_is_not_read(tmp_path):
    with pytest.raises(ResultsError, match="no results folder") as raised:
        ResultsFolder.read(tmp_path)
    assert raised.value.where == tmp_path


def test_the_fingerprint_changes_with_anything_that_could_change_a_result(results, tmp_path):
    before = results.fingerprint
    assert before == results.fingerprint
    results.claim("model", "aaa")
    assert results.fingerprint != before
    with ResultsFolder.open(tmp_path / "other", with_settings(Recipe(), ["seed=1"])) as other:
        other.claim("model", "aaa")
        assert other.fingerprint != results.fingerprint
    json.loads((results.path / "provenance.json").read_text())


def test_a_changed_bit_of_an_array_is_noticed_wherever_it_is(results):
    path = results.decode_path("subj01", "z")
    results.save_features(path, Features("z", np.ones((2, 3), np.float32), np.array([4, 2])), {"stage": "decode"})
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ResultsError) as raised:
            results.load_features(path)
        assert raised.value.where == path
    path.write_bytes(content)
    assert results.load_features(path).array.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_arrays_of_another_decoder_with_the_old_provenance_are_noticed(results):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = results.decode_path("subj01", "z")
    ids = np.array([4, 2])
    results.save_features(path, Features("z", np.ones((2, 3), np.float32), ids), {"stage": "decode"})
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file({"array": np.zeros((2, 3), np.float32), "stimulus_id": ids}, path, metadata=metadata)
    with pytest.raises(ResultsError, match=r"was changed or damaged after it was written.*Delete it and run") as raised:
        results.load_features(path)
    assert raised.value.where == path
    assert raised.value.expected == json.loads(metadata["computed_by"])["sha256"]
    save_file({"array": np.zeros((2, 3), np.float32), "stimulus_id": ids}, path)
    with pytest.raises(ResultsError, match=r"has no checksum"):
        results.load_features(path)
    results.save_features(path, Features("z", np.ones((2, 3), np.float32), ids), {"stage": "my own"})
    with pytest.raises(ResultsError, match="was computed by another recipe") as raised:
        results.has_arrays(path, {"stage": "decode"})
    error = raised.value
    assert (error.where, error.expected, error.found) == (path, {"stage": "decode"}, {"stage": "my own"})


def test_arrays_in_the_place_of_others_are_noticed(results):
    paths = [results.decode_path("subj01", name) for name in ("z", "permuted0_z")]
    for path in paths:
        results.save_features(path, Features("z", np.ones((2, 3), np.float32), np.array([4, 2])), {})
    shutil.copy(paths[1], paths[0])
    with pytest.raises(ResultsError, match="was moved") as raised:
        results.load_features(paths[0])
    places = tuple(f"subj01/decode/{name}.safetensors" for name in ("z", "permuted0_z"))
    assert (raised.value.where, (raised.value.expected, raised.value.found)) == (paths[0], places)


def test_an_image_that_was_replaced_or_moved_is_noticed(results, tmp_path):
    one, two = (results.image_path("subj01", "result", "zc", 42, sample) for sample in (0, 1))
    image = np.full((8, 8, 3), 7, np.uint8)
    for path in (one, two):
        assert not results.has_image(path)
        results.save_image(path, image)
        assert results.has_image(path)
    content = one.read_bytes()
    for changed in (content[:60] + b"!" + content[61:], two.read_bytes(), content[:-20], b""):
        one.write_bytes(changed)
        for read in (results.has_image, results.load_image):
            with pytest.raises(ResultsError, match="Delete it and run the recipe again") as raised:
                read(one)
            assert raised.value.where == one
    Image.fromarray(image).save(one)
    with pytest.raises(ResultsError, match="has no checksum") as raised:
        results.load_image(one)
    assert raised.value.where == one
    one.unlink()
    assert not results.has_image(one)
    results.save_image(one, image)
    assert one.read_bytes() == content


def test_images_of_another_recipe_are_noticed(tmp_path):
    places = []
    for seed in (0, 1):
        with ResultsFolder.open(tmp_path / str(seed), with_settings(Recipe(), [f"seed={seed}"])) as found:
            places.append(found.image_path("subj01", "result", "zc", 42, 0))
            found.save_image(places[-1], np.zeros((8, 8, 3), np.uint8))
    shutil.copy(places[0], places[1])
    with pytest.raises(ResultsError, match="copied from elsewhere"):
        found.load_image(places[1])


def test_a_folder_that_was_renamed_or_copied_reads_as_before(results, tmp_path):
    path, image = results.decode_path("subj01", "z"), results.image_path("subj01", "result", "z", 1, 0)
    results.save_features(path, Features("z", np.ones((2, 3), np.float32), np.array([4, 2])), {})
    results.save_image(image, np.zeros((8, 8, 3), np.uint8))
    shutil.copytree(results.path, tmp_path / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "copy")
    for folder in (tmp_path / "copy", tmp_path / "link"):
        moved = ResultsFolder.read(folder)
        moved.load_features(moved.decode_path("subj01", "z"))
        moved.load_image(moved.image_path("subj01", "result", "z", 1, 0))


def test_a_table_that_was_changed_is_noticed(results):
    results.save_table("some", pd.DataFrame({"layer": ["late"], "n": [3]}))
    path = results.path / "some.csv"
    written = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_text(path.read_text().replace("3", "4"))
    for read in (results.load_table, lambda name: results.has_table(name, ("layer", "n"))):
        with pytest.raises(ResultsError, match=r"was changed.*Delete it and run the recipe again") as raised:
            read("some")
        assert (raised.value.where, raised.value.expected) == (path, written)
    path.unlink()
    assert not results.has_table("some", ("layer", "n"))
    results.save_table("some", pd.DataFrame({"layer": ["late"], "n": [5]}))
    assert results.load_table("some")["n"].tolist() == [5]


def test_a_kill_between_a_checksum_and_its_table_leaves_no_table(results, monkeypatch):
    results.save_table("some", pd.DataFrame({"layer": ["late"], "n": [3]}))
    with monkeypatch.context() as patch:
        patch.setattr("reseen.results.manifest.write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            results.save_table("some", pd.DataFrame({"layer": ["late"], "n": [5]}))
    assert not results.has_table("some", ("layer", "n"))
