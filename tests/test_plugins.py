"""Objects of a user's own, named in a recipe."""

import sys

import pytest

from reseen.errors import RecipeError
from reseen.plugins import fingerprint_of, is_importable, load_object

MODULE = "def make():\n    return 1\n\n\nclass Outer:\n    class Inner:\n        pass\n\n\nnumber = 3\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own_plugin.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken_plugin.py").write_text("import nosuch_library\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_plugin", raising=False)
    return tmp_path


def test_an_object_of_a_module_in_the_current_folder_is_found(here):
    assert load_object("own_plugin:make", "decode.decoder")() == 1
    assert load_object("own_plugin:Outer.Inner", "decode.decoder").__name__ == "Inner"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_plugin", "not of the form 'module:name'"),
        ("../own:make", "not of the form 'module:name'"),
        ("own_plugin:nosuch", "module own_plugin has no nosuch"),
        ("nosuch_plugin:make", "nosuch_plugin cannot be imported"),
        ("broken_plugin:make", "broken_plugin cannot be imported .*nosuch_library"),
        ("own_plugin:number", "is a int; a class or a function is expected"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key(here, name, message):
    with pytest.raises(RecipeError, match=message) as raised:
        load_object(name, "decode.decoder")
    assert raised.value.where == "decode.decoder"


def test_a_fingerprint_changes_with_the_file(here):
    make = load_object("own_plugin:make", "decode.decoder")
    before = fingerprint_of(make)
    assert before.startswith("own_plugin:make sha256:")
    (here / "own_plugin.py").write_text(MODULE + "# changed\n", encoding="utf-8")
    assert fingerprint_of(make) != before
    assert fingerprint_of(3) == ":int"


def test_paths_and_hub_ids_are_no_plugins():
    assert not any(map(is_importable, ("builtin", "CompVis/stable-diffusion-v1-4", "C:\\sd.ckpt", "a:b:c", "a: b")))
