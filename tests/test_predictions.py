"""Predictions made elsewhere go through generation, scores and report."""

import numpy as np
import pytest
from PIL import Image

from reseen import pipeline
from reseen.check import check
from reseen.datasets.predictions import predictions_path, read_predictions
from reseen.errors import DataError, RecipeError, ResultsError
from reseen.recipe import load_recipe, to_toml, with_changes, with_settings
from reseen.results import ResultsFolder

IDS = np.array([2, 4, 7])


def save(path, **changes):
    arrays = {"stimulus_id": np.array([7, 2, 4]), "z": np.arange(18.0).reshape(3, 1, 2, 3), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_predictions_are_joined_by_id_in_either_shape(tmp_path):
    found, digest = read_predictions(save(tmp_path / "z.npz"), "z", (1, 2, 3), IDS)
    assert found.stimulus_id.tolist() == [2, 4, 7]
    assert found.array[:, 0, 0, 0].tolist() == [6.0, 12.0, 0.0]
    flat = save(tmp_path / "flat.npz", z=np.arange(18, dtype=np.float16).reshape(3, 6))
    again, same = read_predictions(flat, "z", (1, 2, 3), IDS)
    np.testing.assert_array_equal(again.array, found.array)
    assert same == digest
    single = save(tmp_path / "single.npz", stimulus_id=np.array([4, 2, 4]))
    assert read_predictions(single, "z", (1, 2, 3), np.array([2, 4, 4]))[0].array[1:, 0, 0, 0].tolist() == [0.0, 12.0]
    assert str(predictions_path(tmp_path / "{subject}_z.npz", "subj02")).endswith("subj02_z.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": None}, r"has no array 'z'; it contains stimulus_id. Save stimulus_id \(n_items,\) and z"),
        ({"stimulus_id": None}, "has no array 'stimulus_id'"),
        ({"z": np.zeros((3, 7))}, r"z has shape \(3, 7\); \(3, 6\) is needed"),
        ({"z": np.full((3, 6), np.nan)}, "18 values that are not finite"),
        ({"z": np.zeros((3, 6), dtype=complex)}, "real numbers are needed"),
        ({"stimulus_id": np.array([2, 4, 8])}, "Missing: 1 ids, such as 7; not held out: 1 ids, such as 8"),
        ({"stimulus_id": np.array([2, 2, 4])}, "Missing: 1 ids, such as 7; not held out: none"),
        ({"stimulus_id": np.array([2.5, 4, 7])}, "stimulus_id"),
        ({"z": np.array([[object()]] * 3, dtype=object)}, "pickle"),
    ],
)
def test_predictions_of_something_else_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_predictions(save(tmp_path / "z.npz", **changes), "z", (1, 2, 3), IDS)


def test_a_folder_of_images_named_by_id_is_a_prediction_of_pixels(tmp_path):
    for stimulus, grey in ((2, 0), (4, 51), (7, 255)):
        Image.fromarray(np.full((6, 8, 3), grey, dtype=np.uint8)).save(tmp_path / f"{stimulus:05d}.png")
    found, _ = read_predictions(tmp_path, "pixels", (3, 4, 4), IDS)
    assert found.array.shape == (3, 3, 4, 4)
    np.testing.assert_allclose(found.array[:, 0, 0, 0], [0, 0.2, 1])
    with pytest.raises(DataError, match="Missing: 1 ids, such as 9"):
        read_predictions(tmp_path, "pixels", (3, 4, 4), np.array([2, 4, 9]))
    (tmp_path / "00002.png").rename(tmp_path / "cat.png")
    with pytest.raises(DataError, match=r"has cat\.png; a folder of decoded pixels has images named by stimulus id"):
        read_predictions(tmp_path, "pixels", (3, 4, 4), IDS)


def test_a_recipe_names_predictions_and_is_written_with_them(tmp_path):
    recipe = with_settings(load_recipe("own_data"), ['decode.predictions={z = "z.npz", c = "{subject}_c.npz"}'])
    assert recipe.decode.elsewhere("c").name == "{subject}_c.npz"
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.toml") == recipe
    assert isinstance(hash(recipe), int)
    with pytest.raises(RecipeError, match=r"decode\.predictions sets c"):
        with_changes(recipe, {"decode.c_prior": "captions", "data.test_trials": "averaged"})


@pytest.mark.filterwarnings("ignore")
def test_predictions_of_another_decoder_go_through_to_the_report(small_recipe, tmp_path):
    pipeline.run(small_recipe, tmp_path / "whole")
    results = ResultsFolder.read(tmp_path / "whole")
    for name in ("z", "c"):
        found = results.load_features(results.decode_path("subj01", name))
        order = np.random.default_rng(0).permutation(len(found))
        np.savez(tmp_path / f"{name}.npz", stimulus_id=found.stimulus_id[order], **{name: found.flat[order]})
    paths = {name: str(tmp_path / f"{name}.npz") for name in ("z", "c")}
    recipe = with_changes(small_recipe, {"decode.predictions": paths})
    out = tmp_path / "elsewhere"
    assert all(finding.ok for finding in check(recipe, out))
    pipeline.run(recipe, out)
    elsewhere = ResultsFolder.read(out)
    assert not list((out / "subj01/decode").glob("*_fold*"))
    columns = ["condition", "metric", "network", "layer", "direction", "subset", "level"]
    ours, theirs = (one.load_table("scores").set_index(columns) for one in (results, elsewhere))
    assert "permuted" not in set(elsewhere.load_table("scores")["level"])
    same = theirs["value"].dropna()
    np.testing.assert_allclose(same, ours["value"].loc[same.index], rtol=1e-12)
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "z of subj01 was predicted elsewhere" in report
    np.savez(tmp_path / "z.npz", stimulus_id=found.stimulus_id, z=np.zeros((len(found), 4 * 4 * 4)))
    (out / "subj01/decode/z.safetensors").unlink()
    with pytest.raises((ResultsError, DataError)):
        pipeline.run(recipe, out)


def test_check_refuses_predictions_that_run_refuses(small_recipe, tmp_path):
    recipe = with_changes(small_recipe, {"decode.predictions": {"z": str(tmp_path / "nosuch.npz")}})
    found = [finding.found for finding in check(recipe, tmp_path / "out") if not finding.ok]
    assert any("nosuch.npz is missing" in text for text in found)
    with pytest.raises(DataError, match=r"nosuch\.npz is missing"):
        pipeline.run(recipe, tmp_path / "out")
