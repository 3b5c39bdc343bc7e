import json
import math
import os
import re
from pathlib import Path

import pytest

from reseen.errors import RecipeError
from reseen.recipe import (
    Recipe,
    differences,
    growth,
    identity,
    list_differences,
    load_recipe,
    recipe_folder,
    to_toml,
    with_settings,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(recipe_folder().glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_with_reseen_is_valid(path):
    assert load_recipe(path).name == path.stem


def test_a_recipe_is_found_by_its_bare_name():
    assert load_recipe("demo") == load_recipe(recipe_folder() / "demo.toml")


def test_an_unknown_recipe_lists_those_there_are(tmp_path):
    with pytest.raises(RecipeError, match=r"cannot read the recipe nosuch.*demo.*tiny") as raised:
        load_recipe("nosuch")
    assert raised.value.where == Path("nosuch")


def test_an_unknown_key_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match="unknown key") as raised:
        load_recipe(write(tmp_path, "[reconstruct]\nn_stepz = 3\n"))
    assert (raised.value.where, raised.value.found) == ("reconstruct.n_stepz", 3)


def test_a_value_out_of_range_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match="less than or equal to 1") as raised:
        load_recipe(write(tmp_path, "[reconstruct]\nstrength = 1.5\n"))
    assert (raised.value.where, raised.value.found) == ("reconstruct.strength", 1.5)


def test_several_wrong_keys_are_all_named_in_the_message(tmp_path):
    with pytest.raises(RecipeError, match=r"(?s)strength.*n_stepz") as raised:
        load_recipe(write(tmp_path, "[reconstruct]\nstrength = 1.5\nn_stepz = 3\n"))
    assert (raised.value.where, raised.value.found) == (None, None)


def test_a_file_that_is_not_toml_is_refused_with_the_line(tmp_path):
    path = write(tmp_path, "seed == 3\n")
    with pytest.raises(RecipeError, match=r"not valid TOML.*line 1") as raised:
        load_recipe(path)
    assert raised.value.where == path


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert (raised.value.where, raised.value.expected, raised.value.found) == (path, "UTF-8", "UTF-16")


def test_every_key_is_described():
    sections = [
        section.annotation for section in Recipe.model_fields.values() if hasattr(section.annotation, "model_fields")
    ]
    assert len(sections) >= 9
    fields = {f"{section.__name__}.{key}": field for section in sections for key, field in section.model_fields.items()}
    assert [where for where, field in fields.items() if not field.description] == []


@pytest.mark.parametrize("explained", [True, False])
def test_a_recipe_written_as_toml_reads_back_the_same(tmp_path, explained):
    recipe = with_settings(
        Recipe(), ["decode.alphas=[1e-6, 1.0, 1e20]", 'data.path=/a/"b" c', "data.sessions=3", "evaluate.oracle=false"]
    )
    assert load_recipe(write(tmp_path, to_toml(recipe, explained=explained))) == recipe


def test_the_template_shows_every_key_even_those_left_out():
    text = to_toml(Recipe(), explained=True)
    assert "# sessions =" in text
    assert all(where.rpartition(".")[2] in text for where in identity(Recipe()))


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("reconstruct.n_steps=7", 7),
        ("reconstruct.conditions=['z']", ("z",)),
        ("model.name=some/model", "some/model"),
        ("seed=5", 5),
    ],
)
def test_a_setting_changes_one_value(setting, found):
    recipe = with_settings(Recipe(), [setting])
    value = recipe
    for part in setting.partition("=")[0].split("."):
        value = getattr(value, part)
    assert value == found


def test_an_empty_setting_leaves_the_key_out():
    assert with_settings(with_settings(Recipe(), ["data.sessions=3"]), ["data.sessions="]).data.sessions is None


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("reconstruct.n_steps", "expected section.key=value"),
        ("a.b.c=1", "a: unknown key"),
        ('decode.rois.y=["V1"]', "decode.rois.y: unknown key"),
        ("decode..z=1", "expected section.key=value"),
        ("seed.x=1", "seed is not a section"),
        ("reconstruct.nosuch=1", "unknown key"),
        ("nosuch.key=1", "unknown key"),
        ("reconstruct.n_steps=many", "reconstruct.n_steps"),
        (
            "data.subjects=[subj01]",
            r"data.subjects: expected a list such as .*, within single quotes in a shell; found",
        ),
    ],
)
def test_a_bad_setting_is_refused_with_the_expectation(setting, message):
    with pytest.raises(RecipeError, match=message):
        with_settings(Recipe(), [setting])


@pytest.mark.parametrize(
    "field",
    [
        "data.subjects",
        "data.rois",
        "decode.rois.z",
        "decode.rois.c",
        "decode.alphas",
        "reconstruct.conditions",
        "evaluate.protocols",
        "evaluate.networks",
    ],
)
def test_an_empty_list_that_leaves_nothing_to_do_is_refused(field):
    with pytest.raises(RecipeError, match="expected at least one; found an empty list") as raised:
        with_settings(Recipe(), [f"{field}=[]"])
    assert (raised.value.where, raised.value.found) == (field, [])


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("data.subjects", "subj01"),
        ("reconstruct.conditions", "zc"),
        ("evaluate.protocols", "builtin"),
        ("evaluate.networks", "classifier"),
    ],
)
def test_a_duplicate_name_is_refused(field, name):
    with pytest.raises(RecipeError, match=f"expected each name once; found '{name}' again") as raised:
        with_settings(Recipe(), [f'{field}=["{name}", "{name}"]'])
    assert (raised.value.where, raised.value.found) == (field, [name, name])


@pytest.mark.parametrize(
    ("setting", "message", "where", "found"),
    [
        ("seed=-1", "greater than or equal to 0", "seed", -1),
        ("simulate.seed=-1", "greater than or equal to 0", "simulate.seed", -1),
        ("decode.alphas=[1.0, 0.0]", "greater than 0", "decode.alphas.1", 0.0),
        ("decode.alphas=[-1.0]", "greater than 0", "decode.alphas.0", -1.0),
        ("data.n_folds=1", "greater than or equal to 2", "data.n_folds", 1),
        ("decode.n_folds=1", "greater than or equal to 2", "decode.n_folds", 1),
        ("encode.n_folds=1", "greater than or equal to 2", "encode.n_folds", 1),
        ("decode.alphas=[inf]", "finite number", "decode.alphas.0", math.inf),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_key(setting, message, where, found):
    with pytest.raises(RecipeError, match=message) as raised:
        with_settings(Recipe(), [setting])
    assert (raised.value.where, raised.value.found) == (where, found)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ('data.rois=["ventral"]', "decode.rois.z names 'early', and data.rois reads only ventral. Add it there"),
        ('decode.rois.c=["early", "V9"]', "decode.rois.c names 'V9', and data.rois reads only early,"),
        ('data.kind=arrays\ndata.rois=["all"]', "decode.rois.z names 'early', and data.rois reads only all"),
    ],
)
def test_rois_that_are_not_read_cannot_be_decoded_from(setting, message):
    with pytest.raises(RecipeError, match=message):
        with_settings(Recipe(), setting.splitlines())


def test_rois_of_features_that_no_condition_needs_are_not_checked():
    with_settings(Recipe(), ['data.rois=["early"]', 'reconstruct.conditions=["z"]'])
    with_settings(Recipe(), ['data.rois=["ventral"]', 'reconstruct.conditions=["c"]'])


def test_captions_are_no_prior_of_single_trials():
    settings = ["decode.c_prior=captions", "data.test_trials=single"]
    with pytest.raises(RecipeError, match=r"decode\.c_prior is 'captions', which is for averaged test trials"):
        with_settings(Recipe(), settings)
    with_settings(Recipe(), [*settings, 'reconstruct.conditions=["z"]'])


@pytest.mark.parametrize("name", ["zc@strength=0.2", "zc@progress=0.5", "unet/mid_block@progress=0.2", "zzc"])
def test_only_features_without_an_analysis_of_their_own_can_be_encoded_from(name):
    with pytest.raises(
        RecipeError, match=rf"encode\.features\.1: expected one of z, c, t, i, pixels, zc; found '{name}'"
    ):
        with_settings(Recipe(), [f'encode.features=["c", "{name}"]'])


@pytest.mark.parametrize("name", ["x;touch pwn", "../elsewhere", "a/b", "a b", "$(x)", "", ".", "x\n"])
@pytest.mark.parametrize("setting", ["data.betas={}", "data.space={}", "data.subjects=[{}]"])
def test_parts_of_paths_are_names_of_folders(setting, name):
    with pytest.raises(RecipeError, match=r"data\.\w+.*: expected the name of a folder: letters"):
        with_settings(Recipe(), [setting.format(json.dumps(name))])


def test_name_path_and_batch_size_do_not_change_what_a_recipe_is():
    other = with_settings(Recipe(), ["name=x", "data.path=/elsewhere", "reconstruct.batch_size=3"])
    assert differences(other, Recipe()) == {}


def test_more_protocols_and_a_full_evaluation_are_growth_and_less_is_a_difference():
    more = with_settings(Recipe(), ['evaluate.protocols=["takagi2023", "builtin"]', "evaluate.full=true"])
    assert growth(more, Recipe()) == ["evaluate.protocols", "evaluate.full"]
    assert differences(more, Recipe()) == {}
    assert growth(Recipe(), more) == growth(more, more) == []
    assert len(differences(Recipe(), more)) == 2


def test_differences_name_the_field_and_both_values():
    other = with_settings(Recipe(), ["reconstruct.guidance=7.5"])
    differ = differences(other, Recipe())
    assert differ == {"reconstruct.guidance": (5.0, 7.5)}
    assert list_differences(differ) == "  reconstruct.guidance: expected 5.0, found 7.5"


def test_a_recipe_from_an_editor_that_marks_utf8_is_read(tmp_path):
    (tmp_path / "mine.toml").write_text("name = 'märk'\n", encoding="utf-8-sig")
    assert load_recipe(tmp_path / "mine.toml").name == "märk"


@pytest.mark.parametrize("name", ["", " ", ".", "..", "../out", "a/b", "a\\b", "a\0b", "a\nb", ".hidden"])
def test_a_name_that_is_no_folder_within_another_is_refused(name):
    with pytest.raises(RecipeError, match="name: expected a name that can be a folder name"):
        with_settings(Recipe(), [f"name={json.dumps(name)}"])


def test_an_empty_setting_removes_optional_keys_only():
    recipe = with_settings(Recipe(), ["data.n_test=7", "reconstruct.n_steps=2"])
    assert with_settings(recipe, ["data.n_test="]).data.n_test is None
    for setting in ("reconstruct.n_steps=", "name= ", "data.nosuch="):
        with pytest.raises(RecipeError, match="has no value") as raised:
            with_settings(recipe, [setting])
        assert raised.value.where == setting.rstrip("= ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("reconstruct.n_stepz", 20, "unknown key"),
        ("reconstruct.n_steps", "20", "should be a valid integer; found '20'"),
        ("reconstruct.n_steps", True, "should be a valid integer; found True"),
        ("reconstruct.n_steps", 20.0, "should be a valid integer; found 20.0"),
        ("reconstruct.strength", True, "should be a valid number; found True"),
        ("evaluate.full", 1, "should be a valid boolean; found 1"),
        ("data.rois", "early", "expected a list such as"),
        ("data.path", 3, "Input is not a valid path"),
        ("data.path", "a\nb", "expected text without control characters"),
        ("model.name", "a\x1b[2J", "expected text without control characters"),
        ("seed", None, "has no value, and cannot be left out"),
        ("seed.x", 1, "seed is not a section"),
        ("n_steps", 20, "unknown key"),
    ],
)
def test_changes_from_python_are_checked_as_those_of_a_file_are(key, value, message):
    with pytest.raises(RecipeError, match=re.escape(message)) as raised:
        load_recipe("demo", {key: value})
    assert raised.value.where == key


def test_changes_from_python_replace_values():
    changes = {"reconstruct.n_steps": 20, "data.path": Path("data"), "data.rois": ["early", "ventral"], "seed": 3}
    recipe = load_recipe("demo", changes)
    assert (recipe.reconstruct.n_steps, recipe.data.path, recipe.seed) == (20, Path("data"), 3)
    assert recipe.data.rois == ("early", "ventral")
    assert load_recipe("takagi2023", {"model.revision": None}).model.revision is None


def test_a_copy_with_changes_is_checked_too():
    recipe = load_recipe("demo")
    assert recipe.reconstruct.model_copy(update={"n_steps": 7}).n_steps == 7
    for update in ({"n_steps": "7"}, {"n_stepz": 7}, {"n_steps": 0}):
        with pytest.raises(RecipeError, match="the changed values"):
            recipe.reconstruct.model_copy(update=update)
    with pytest.raises(RecipeError, match="seed"):
        recipe.model_copy(update={"seed": "1"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed = '1'", "seed: Input should be a valid integer; found '1'"),
        (b"seed = true", "seed: Input should be a valid integer; found True"),
        (b"seed = 2026-01-01", "seed: Input should be a valid integer"),
        (b"seed = 2026-13-41", "not valid TOML"),
        (b"seed = 1\nseed = 2", "not valid TOML"),
        (b"[data]\n[data]", "not valid TOML"),
        (b"x = " + b"[" * 100_000, "not valid TOML"),
        (b"data = 3", "data: Input should be"),
        (b"name = 'a\0b'", "NUL"),
        ("seed = 1".encode("utf-16"), "UTF-16"),
        (b"name = 'd\xe9codage'", "is not UTF-8"),
        (b"#" * 2_000_000, "2,000,000 bytes"),
        (b"[reconstruct]\nstrength = nan", "reconstruct.strength"),
        (b"[reconstruct]\nguidance = inf", "reconstruct.guidance"),
    ],
)
def test_a_damaged_recipe_is_refused_with_a_message(tmp_path, content, message):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(path)


def test_a_recipe_that_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path, tmp_path / "pipe.toml", "x" * 300, Path("/dev/zero")):
        with pytest.raises(RecipeError):
            load_recipe(path)


def test_a_recipe_with_a_list_of_paths_is_written_and_read_again(tmp_path):
    recipe = with_settings(Recipe(), ["data.kind=trials", 'data.roi_files=["rois", "V1.nii.gz"]'])
    path = tmp_path / "recipe.toml"
    path.write_text(to_toml(recipe), encoding="utf-8")
    assert load_recipe(str(path)).data.roi_files == recipe.data.roi_files == (Path("rois"), Path("V1.nii.gz"))
