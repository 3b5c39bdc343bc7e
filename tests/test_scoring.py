"""Reconstructions and originals become scores: arrays, dicts, folders, and networks of the user's own."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import reseen
from reseen.errors import ModelError, RecipeError, ShapeError
from reseen.tables import SCORE_COLUMNS

N = 6
FEW = {"n_pairings": 19, "n_bootstrap": 10}
STACK = "(n, H, W, 3) or (n, n_samples, H, W, 3)"


@pytest.fixture(scope="module")
def images():
    """Six originals of 40 pixels, and two noisy samples of each of 32 pixels."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
    originals = blocks.repeat(5, axis=1).repeat(5, axis=2)
    small = blocks.repeat(4, axis=1).repeat(4, axis=2)
    made = np.clip(small[:, None] + rng.normal(0, 60, (N, 2, 32, 32, 3)), 0, 255).astype(np.uint8)
    return made, originals


def mean_colour(images):
    return images.mean(axis=(1, 2))


@pytest.fixture
def folders(images, tmp_path):
    made, originals = images
    for name in ("made", "originals"):
        (tmp_path / name).mkdir()
    for k in range(N):
        Image.fromarray(originals[k]).save(tmp_path / "originals" / f"{k:02d}.png")
        for sample in range(2):
            Image.fromarray(made[k, sample]).save(tmp_path / "made" / f"{k:02d}_{sample}.png")
    return tmp_path / "made", tmp_path / "originals"


def test_arrays_folders_and_the_command_give_the_same_numbers(images, folders, tmp_path, reseen):
    from reseen.scoring import score

    arrays = score(*images)
    code, out, err = reseen("evaluate", "--images", folders[0], "--truth", folders[1], "--csv", tmp_path / "scores.csv")
    assert code == 0, err
    assert repr(arrays.headline()).split("\n", 1)[1] in out
    assert "On other images it may miss" in out
    command = pd.read_csv(tmp_path / "scores.csv", dtype={"layer": str})
    words, numbers = list(SCORE_COLUMNS[2:9]), ["value", "low", "high", "n"]
    pd.testing.assert_frame_equal(command[words].fillna(""), arrays.table[words], check_dtype=False)
    np.testing.assert_allclose(command[numbers].to_numpy(), arrays.table[numbers].to_numpy(), rtol=1e-15)
    by_folder = score(str(folders[0]), folders[1], condition="zc", subject="subj01")
    pd.testing.assert_frame_equal(by_folder.table.drop(columns=["subject", "condition"]), arrays.table.iloc[:, 2:])
    assert set(by_folder.table["condition"]) == {"zc"}
    assert set(by_folder.table["subject"]) == {"subj01"}


def test_one_sample_needs_no_axis_and_conditions_are_scored_side_by_side(images):
    made, originals = images
    both = reseen.score({"z": made, "one": made[:, 0]}, originals, networks="classifier", **FEW).table
    for condition, alone in (("z", made), ("one", made[:, :1])):
        expected = reseen.score(alone, originals, condition=condition, networks=["classifier"], **FEW).table
        found = both[both["condition"] == condition].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)


def test_the_oracle_is_the_upper_bound_and_ids_may_repeat(images):
    made, originals = images
    scores = reseen.score(made, originals, oracle=made[:, :1], networks="classifier", condition="zc", **FEW)
    assert scores.wide()["upper_bound"].notna().all()
    assert set(scores.each["level"]) == {"result", "oracle"}
    twice = reseen.score(
        np.concatenate([made, made]),
        np.concatenate([originals] * 2),
        stimulus_id=[*range(N)] * 2,
        networks="classifier",
    )
    once = reseen.score(made, originals, networks="classifier")
    np.testing.assert_allclose(twice.wide()["result"], once.wide()["result"])


@pytest.mark.parametrize(
    ("change", "hint", "where", "expected", "found"),
    [
        ({"made": lambda a: a / 255}, "Convert", "reconstructions", "uint8", "float64"),
        ({"originals": lambda a: a.astype(np.int64)}, "found int64.$", "originals", "uint8", "int64"),
        ({"made": lambda a: a[..., :1]}, "found", "reconstructions", STACK, (6, 2, 32, 32, 1)),
        (
            {"originals": lambda a: a.transpose(0, 3, 1, 2)},
            "Move the axis of the colours",
            "originals",
            "(n, H, W, 3)",
            (6, 3, 40, 40),
        ),
        ({"originals": lambda a: a[:, None]}, "found", "originals", "(n, H, W, 3)", (6, 1, 40, 40, 3)),
        ({"made": lambda a: a[:5]}, "one for each original", "reconstructions", 6, 5),
        ({"made": lambda a: {"z": a, "c": a[:, :, ::2]}}, "Resize", "reconstructions", None, ((32, 32), (16, 32))),
        ({"made": lambda a: a[:2], "originals": lambda a: a[:2]}, "at least three", "stimulus_id", 3, 2),
        ({"made": lambda _: "folder"}, "both be folders, or both be arrays", None, None, None),
        ({"stimulus_id": [0, 1]}, "6 integers", "stimulus_id", (6,), (2,)),
        ({"stimulus_id": np.linspace(0, 1, N)}, "6 integers, .*float64", "stimulus_id", (6,), (6,)),
        ({"oracle": np.zeros((5, 32, 32, 3), np.uint8)}, "one for each", "oracle", 6, 5),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(images, change, hint, where, expected, found):
    given = {"made": images[0], "originals": images[1], **{k: v for k, v in change.items() if not callable(v)}}
    given |= {name: make(given[name]) for name, make in change.items() if callable(make)}
    with pytest.raises(ShapeError, match=hint) as refused:
        reseen.score(given.pop("made"), given.pop("originals"), **given, **FEW)
    assert (refused.value.where, refused.value.expected, refused.value.found) == (where, expected, found)


def test_ids_are_not_for_folders(folders):
    with pytest.raises(ShapeError, match="joined by name") as refused:
        reseen.score(*folders, stimulus_id=range(N))
    assert refused.value.where == "stimulus_id"


@pytest.mark.parametrize(
    ("networks", "names"),
    [
        (mean_colour, {"mean_colour"}),
        ([mean_colour, "classifier"], {"mean_colour", "classifier"}),
        ({"colour": mean_colour, "pixel": lambda a: a[:, :2, :2]}, {"colour", "pixel"}),
        (lambda a: a[:, ::4, ::4].tolist(), {"network"}),
    ],
)
def test_a_callable_is_an_evaluation_network(images, networks, names):
    table = reseen.score(*images, networks=networks, **FEW).table
    assert set(table["network"]) - {"", "pixels"} == names


def test_the_scores_of_a_callable_are_those_of_its_activations(images):
    from reseen import metrics

    made, originals = images
    scores = reseen.score(made[:, 0], originals[:, :32, :32], networks=mean_colour, **FEW)
    r = metrics.correlation_matrix(mean_colour(originals[:, :32, :32]), mean_colour(made[:, 0]))
    expected = metrics.identification_from_correlations(r, direction="original").mean()
    head = scores.headline()
    assert head.value == pytest.approx(expected)
    assert head.rule.network == "mean_colour"
    assert "network of the user" in head.why
    assert "does not know what this network was trained on" in head.caveat


def test_a_torch_module_of_ones_own_is_an_evaluation_network(images):
    import torch

    module = torch.nn.Flatten()
    layer = torch.nn.Linear(4, 3)

    def network(images):
        return layer(module(torch.from_numpy(images[:, :1, :1, :1].repeat(4, axis=1).astype(np.float32))))

    assert set(reseen.score(*images, networks=network, **FEW).table["network"]) == {"", "pixels", "network"}


@pytest.mark.parametrize(
    ("networks", "error", "says"),
    [
        (lambda a: a.mean(), ModelError, r"shape \(\) for 6 images; expected \(6, ...\)"),
        (lambda a: a[1:], ModelError, r"shape \(5, 32, 32, 3\) for 6 images"),
        (lambda a: ["words"] * len(a), ModelError, "returned list; expected an array of numbers"),
        (lambda a: mean_colour(a) * np.nan, ModelError, "not finite"),
        ({"classifier": mean_colour}, RecipeError, "'classifier' is that of a score of reseen"),
        ({"pixels": mean_colour}, RecipeError, "another name"),
        ({"a": 3}, RecipeError, "'a' is int; expected a callable"),
        ([mean_colour, mean_colour], RecipeError, "different names; found mean_colour, mean_colour"),
        ([], RecipeError, "no evaluation network was given"),
        ("resnet", ModelError, "no network 'resnet'"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused(images, networks, error, says):
    with pytest.raises(error, match=says):
        reseen.score(*images, networks=networks, **FEW)


def test_a_published_protocol_has_its_own_networks(images):
    with pytest.raises(RecipeError, match="mindeye2 has its own") as refused:
        reseen.score(*images, protocol="mindeye2", networks="classifier")
    assert refused.value.where == "networks"
    with pytest.raises(RecipeError, match="no protocol 'mindeye3'") as refused:
        reseen.score(*images, protocol="mindeye3")
    assert (refused.value.where, refused.value.found) == ("protocol", "mindeye3")


def test_progress_is_reported(images):
    told = []
    reseen.score({"z": images[0], "c": images[0]}, images[1], networks="classifier", progress=lambda *t: told.append(t))
    assert told == [("score images", 1, 2), ("score images", 2, 2)]


# ------------------------------------------------------------------------------------------------ named in a recipe

MODULE = """
import numpy as np

def mean_colour(images):
    return images.mean(axis=(1, 2))

class Networks:
    corner = staticmethod(lambda images: images[:, :2, :2])

number = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    import sys

    (tmp_path / "my_networks.py").write_text(MODULE)
    (tmp_path / "broken_networks.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_networks.py"
    sys.modules.pop("my_networks", None)


def test_a_network_is_named_by_importable_object(module):
    import hashlib

    from reseen.networks import load_evaluation_network

    network = load_evaluation_network("my_networks:mean_colour")
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.testing.assert_allclose(network.activations(images)["output"], mean_colour(images))
    assert network.fingerprint == f"my_networks:mean_colour sha256:{hashlib.sha256(MODULE.encode()).hexdigest()}"
    assert load_evaluation_network("my_networks:Networks.corner").activations(images)["output"].shape == (2, 12)
    assert load_evaluation_network("classifier").name == "classifier"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nosuch_module:f", "module nosuch_module cannot be imported .ModuleNotFoundError"),
        ("broken_networks:f", "nothing_of_this_name"),
        (":f", "not of the form 'module:name'"),
        ("my_networks:nosuch", "module my_networks has no nosuch"),
        ("my_networks:", "not of the form 'module:name'"),
        ("my_networks:number", "a class or a function is expected"),
        ("my_networks:Networks", "is a class; expected a function"),
    ],
)
def test_a_name_that_leads_to_no_callable_is_refused(module, name, says):
    from reseen.networks import load_evaluation_network

    with pytest.raises(RecipeError, match=says):
        load_evaluation_network(name)


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
def test_a_recipe_is_scored_by_an_own_network_and_remembers_its_code(small_recipe, module, tmp_path, reseen):
    from reseen.recipe import to_toml, with_settings
    from reseen.results import ResultsFolder
    from reseen.scores import Scores

    recipe = with_settings(small_recipe, ['evaluate.networks=["my_networks:mean_colour"]', "evaluate.n_permutations=1"])
    (tmp_path / "own.toml").write_text(to_toml(recipe), encoding="utf-8")
    code, out, err = reseen("evaluate", tmp_path / "own.toml", "--out", tmp_path / "out")
    assert code == 0, err
    scores = Scores.read(tmp_path / "out")
    assert set(scores.table["network"]) == {"", "pixels", "features", "my_networks:mean_colour"}
    head = scores.headline("zc")
    assert f"{head.value:.3f}" in out
    assert head.rule.network == "my_networks:mean_colour"
    known = ResultsFolder.read(tmp_path / "out").provenance["network my_networks:mean_colour"]
    assert known.startswith("my_networks:mean_colour sha256:")
    module.write_text(MODULE + "\n# changed\n")
    code, _, err = reseen("evaluate", tmp_path / "own.toml", "--out", tmp_path / "out")
    assert code == 1
    assert "started with another network my_networks:mean_colour" in err
    code, out, _ = reseen("check", tmp_path / "own.toml", "--set", 'evaluate.networks=["my_networks:nosuch"]')
    assert code == 1
    assert "has no nosuch" in out
