"""What a recipe asks of the model's components, and the names of features."""

from __future__ import annotations

import pytest

from reseen.analyses import (
    Analysis,
    FeatureName,
    analyses,
    analysis_of,
    in_order,
    layers_of,
    model_of,
    parse_feature,
    spaces_of,
    stage_of,
)
from reseen.errors import RecipeError
from reseen.recipe import EncodeRecipe

LAYERS = ("down_blocks.0.resnets.0", "mid_block")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("z", FeatureName("z")),
        ("zc", FeatureName("zc")),
        ("zc@strength=0.2", FeatureName("zc", strength=0.2)),
        ("zc@progress=0.0", FeatureName("zc", progress=0.0)),
        ("unet/up_blocks.1.attentions.0@progress=1.0", FeatureName("unet", "up_blocks.1.attentions.0", progress=1.0)),
    ],
)
def test_a_name_is_read_and_written_back(name: str, expected: FeatureName) -> None:
    assert parse_feature(name) == expected
    assert str(expected) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "z@progress=0.5",
        "zc@",
        "zc@strength=2",
        "zc@strength=nan",
        "zc@progress=half",
        "zc/mid@progress=0.5",
        "unet",
        "unet/mid_block",
        "unet/@progress=0.5",
        "unet/mid_block@strength=0.5",
    ],
)
def test_a_name_that_says_nothing_known_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="there is no feature") as refused:
        parse_feature(name)
    assert refused.value.found == name


def test_a_models_name_tells_its_spaces_and_its_stage() -> None:
    assert model_of(["z", "zc@progress=0.44"]) == "z+zc@progress=0.44"
    assert spaces_of("z+zc@progress=0.44") == ("z", "zc@progress=0.44")
    assert (spaces_of("c"), stage_of("c")) == (("c",), "")
    assert stage_of("z+zc@progress=0.44") == stage_of("unet/mid_block@progress=0.44") == "progress=0.44"


def test_a_plain_recipe_asks_for_each_feature_alone() -> None:
    assert analyses(EncodeRecipe()) == (Analysis("features", (("z",), ("c",))),)


def test_every_analysis_lists_its_models() -> None:
    recipe = EncodeRecipe(
        features=("z", "zc"), noise=(0.2, 0.8), denoising=(0.44,), layers=("auto",), layer_progress=(0.2, 1.0)
    )
    features, noise, denoising, layers = analyses(recipe, auto=LAYERS)
    assert features.models == (("z",), ("zc",))
    assert noise.models == (("z", "zc@strength=0.2"), ("z", "zc@strength=0.8"))
    assert denoising.models == (("z", "zc@progress=0.44"),)
    assert layers.models == tuple((f"unet/{layer}@progress={p}",) for p in (0.2, 1.0) for layer in LAYERS)
    assert [analysis.name for analysis in (features, noise, denoising, layers)] == [
        "features",
        "noise",
        "denoising",
        "layers",
    ]


def test_the_features_of_an_analysis_are_named_once() -> None:
    (_, noise) = analyses(EncodeRecipe(noise=(0.2, 0.5)))
    assert noise.features == ("z", "zc@strength=0.2", "zc@strength=0.5")


def test_a_layer_that_auto_also_names_comes_once() -> None:
    (layers,) = analyses(EncodeRecipe(features=(), layers=("mid_block", "auto"), layer_progress=(1.0,)), auto=LAYERS)
    assert layers.models == (("unet/mid_block@progress=1.0",), ("unet/down_blocks.0.resnets.0@progress=1.0",))


def test_what_others_are_fitted_with_comes_first_and_layers_keep_their_order():
    recipe = EncodeRecipe(features=("c", "zc"), noise=(0.2,), layers=("mid_block",), layer_progress=(0.2, 1.0))
    found = analyses(recipe)
    names = in_order(found)
    assert names == ["z", "c", "zc", "zc@strength=0.2", "unet/mid_block@progress=0.2", "unet/mid_block@progress=1.0"]
    assert [analysis_of(name) for name in names] == ["features"] * 3 + ["noise"] + ["layers"] * 2
    assert layers_of(names) == ["mid_block"]
