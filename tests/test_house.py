import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reseen
from reseen.recipe import Recipe, identity, recipe_folder

ROOT = Path(__file__).resolve().parents[1]
SOURCE = sorted((ROOT / "src").rglob("*.py"))

PUBLIC = {
    "Alignment",
    "Decoder",
    "Diagnostics",
    "Encoder",
    "Features",
    "LatentDiffusion",
    "Recipe",
    "ReseenError",
    "Results",
    "RidgeMap",
    "Scores",
    "Split",
    "Stimuli",
    "Subject",
    "Trials",
    "align",
    "alignment_stimuli",
    "compare_alignment",
    "denoise",
    "diagnose",
    "extract_features",
    "fit_ridge",
    "load_arrays",
    "load_captioner",
    "load_data",
    "load_model",
    "load_nsd",
    "load_recipe",
    "plot",
    "open_subject",
    "reconstruct",
    "run",
    "score",
    "score_captions",
}


def test_the_public_names_are_those_that_are_documented():
    assert set(reseen.__all__) == PUBLIC
    assert set(dir(reseen)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_says_what_it_is(name):
    assert getattr(reseen, name).__doc__


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="nosuch"):
        _ = reseen.nosuch


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_reseen_loads_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "pydantic", "h5py", "nibabel", "nilearn", "matplotlib", "diffusers", "zarr")
    assert python(f"import sys, reseen; print([m for m in {heavy} if m in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "pipeline",
        "decode",
        "encode",
        "reconstruction",
        "evaluate",
        "report",
        "simulate",
        "raters",
        "compare",
        "scores",
        "scoring",
        "plot",
        "datasets",
        "ldm",
        "executor",
    ],
)
def test_a_module_loads_its_heavy_libraries_only_when_they_are_used(module):
    heavy = ("torch", "pandas", "h5py", "nibabel", "nilearn", "matplotlib", "diffusers", "transformers", "zarr", "dask")
    found = python(f"import sys, reseen.{module}; print([m for m in {heavy} if m in sys.modules])")
    assert found == "[]"


def test_importing_reseen_takes_no_time():
    code = "import time; t = time.perf_counter(); import reseen; print(time.perf_counter() - t)"
    assert min(float(python(code)) for _ in range(3)) < 0.3


def test_modules_are_short_enough_to_read():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert {path: n for path, n in lengths.items() if n > 400} == {}


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def nested(tree, kinds):
    """Return the lines on which a node of some kinds has another one of them inside."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            lines += [inner.lineno for inner in ast.walk(node) if inner is not node and isinstance(inner, kinds)]
    return lines


@pytest.mark.parametrize("kinds", [COMPREHENSIONS, (ast.IfExp,)], ids=["comprehension", "conditional expression"])
def test_none_is_inside_another_one(kinds):
    assert nested(ast.parse("[[a if b else c if d else e for a in f] for f in g]"), kinds) == [1]
    found = {str(path): nested(ast.parse(path.read_text(encoding="utf-8")), kinds) for path in SOURCE}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_there_is_no_room_for_odds_and_ends():
    rooms = {"utils.py", "helpers.py", "common.py", "core.py", "base.py"}
    assert [path for path in (ROOT / "src").rglob("*.py") if path.name in rooms] == []


def test_nothing_is_printed_or_pickled_by_the_library():
    # pickletools lists the instructions of a pickle and loads nothing
    refused = re.compile(r"\s*(print\(|(import|from) pickle\b)")
    for path in (ROOT / "src").rglob("*.py"):
        assert not [line for line in path.read_text().splitlines() if refused.match(line)], path


def test_every_module_has_its_test():
    tests = {path.stem for path in (ROOT / "tests").glob("test_*.py")}
    modules = {path.stem for path in (ROOT / "src/reseen").glob("*.py")} - {"__init__", "__main__", "errors"}
    assert {f"test_{module}" for module in modules} - tests == set()


def test_every_recipe_is_listed_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [path.stem for path in recipe_folder().glob("*.toml") if f"`{path.stem}`" not in text] == []


def test_the_constraints_pin_every_dependency_exactly():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name.lower().replace("_", "-") for name in pins}
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["cluster"]]
    names = {entry.split(">")[0].split("<")[0].strip().lower() for entry in wanted}
    assert names - pinned == set()
    assert pins["torch"] == "2.13.0"


def test_the_paper_recipes_say_where_every_value_was_read():
    for name in ("takagi2023", "takagi2023_as_released", "takagi2023b", "braindiffuser_like"):
        for line in (recipe_folder() / f"{name}.toml").read_text().splitlines():
            if "=" in line and not line.startswith(("#", "name", "kind")):
                assert "#" in line, (name, line)


def test_every_key_of_a_recipe_is_known_to_the_template():
    from reseen.recipe import to_toml

    text = to_toml(Recipe(), explained=True)
    assert [where for where in identity(Recipe()) if f"{where.rpartition('.')[2]} =" not in text] == []


def test_the_example_is_short():
    assert len((ROOT / "examples/pipeline.py").read_text().splitlines()) <= 30


@pytest.mark.filterwarnings("ignore::reseen.ridge.EdgeWarning")
def test_the_example_makes_an_image_for_each_test_stimulus(small_recipe, tmp_path, monkeypatch):
    import runpy

    from reseen.recipe import to_toml

    (tmp_path / "small.toml").write_text(to_toml(small_recipe), encoding="utf-8")
    path = ROOT / "examples/pipeline.py"
    monkeypatch.setattr(
        sys, "argv", [str(path), str(tmp_path / "small.toml"), str(small_recipe.data.path), str(tmp_path)]
    )
    runpy.run_path(str(path))
    assert len(list(tmp_path.glob("*.png"))) == 4 * 2


REFUSED_OPENERS = {"Give", "Hold", "Be", "Say", "Tell", "Lay", "Stand", "Lend", "Hand", "Ask", "Look", "Fix", "Let"}
"""Words that no docstring opens with: it opens with the verb that names the action, or with a noun phrase."""


def test_docstrings_open_with_a_verb_that_names_the_action():
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
                continue
            words = (ast.get_docstring(node) or "").split(maxsplit=1)
            if words and words[0].rstrip(",") in REFUSED_OPENERS:
                found.append((path.name, getattr(node, "name", ""), words[0]))
    assert found == []


def test_words_that_the_glossary_replaces_are_found_and_there_are_none(tmp_path):
    import words

    page, guide = tmp_path / "page.md", tmp_path / "docs" / "guide.md"
    guide.parent.mkdir()
    first, second, third = "pic" + "ture", "obser" + "ver", "beg" + "un"
    page.write_text(f"A {first} of an {second}.\nAn image.\nIt begins, and is {third}.\n", encoding="utf-8")
    for path in (guide, tmp_path / "notes.md"):
        path.write_text(f"Labels are shuf{'fled'}.\nThe ground truth of the {first}.\n", encoding="utf-8")
    words.ROOT, root = tmp_path, words.ROOT
    try:
        found = list(words.refused(page))
        for_users, for_others = list(words.refused(guide)), list(words.refused(tmp_path / "notes.md"))
    finally:
        words.ROOT = root
    assert [message.partition(": ")[0] for message in for_users] == ["docs/guide.md:1", "docs/guide.md:2"]
    assert [message.partition(": ")[0] for message in for_others] == ["notes.md:2"]
    assert [message.partition(";")[0] for message in found] == [
        f"page.md:1: {first!r}",
        f"page.md:1: {second!r}",
        f"page.md:3: {third!r}",
    ]
    assert [message for path in words.files() for message in words.refused(path)] == []
