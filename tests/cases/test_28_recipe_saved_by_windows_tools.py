"""A recipe as Windows tools save it is read, or refused in words (anishathalye/dotbot#379)."""

from __future__ import annotations

import pytest

from reseen.recipe import load_recipe, recipe_folder

TEXT = (recipe_folder() / "own_data.toml").read_text(encoding="utf-8")
ACCENT = TEXT.replace('name = "own_data"', 'name = "d\u00e9codage"')


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + TEXT.encode(), TEXT.replace("\n", "\r\n").encode()], ids=["BOM", "CRLF"]
)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path, content):
    (tmp_path / "my.toml").write_bytes(content)
    assert load_recipe(tmp_path / "my.toml") == load_recipe("own_data")


@pytest.mark.parametrize(
    ("content", "says"), [(TEXT.encode("utf-16"), "UTF-16"), (ACCENT.encode("cp1252"), "another encoding")]
)
def test_another_encoding_is_refused_in_words(reseen, tmp_path, content, says):
    (tmp_path / "my.toml").write_bytes(content)
    code, _, err = reseen("check", tmp_path / "my.toml", "--out", tmp_path / "out")
    assert code == 1
    assert says in err
    assert "Save it as UTF-8" in err
