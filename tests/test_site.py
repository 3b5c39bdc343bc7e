"""The site: every page is in its navigation, generated pages are complete, and tutorials use public names only."""

import ast
import inspect
import re
import tomllib
from operator import attrgetter
from pathlib import Path

import pytest
import reference_pages
import typer

import reseen
from reseen.cli import app
from reseen.protocols import PROTOCOLS
from reseen.recipe import Recipe
from reseen.recipe.section import keys_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("plot_*.py"))


@pytest.fixture(scope="module")
def generated():
    return reference_pages.pages()


def entries():
    """Documents that the front page's tables of contents name."""
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    tables = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for table in tables for line in table.splitlines()]
    return [line for line in lines if line and not line.startswith(":")]


def test_every_page_is_in_the_navigation_once_and_every_entry_is_a_page(generated):
    found = entries()
    assert len(set(found)) == len(found)
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    written = {f"generated/{name.rpartition('.')[0]}" for name in generated if "api/reseen." not in name}
    assert set(found) == pages | written | {"generated/tutorials/index"}


def test_the_reference_has_a_page_for_every_public_name(generated):
    names = [*(set(reseen.__all__) - {"plot"}), *(f"plot.{name}" for name in reseen.plot.__all__)]
    for name in names:
        kind = "class" if isinstance(getattr(reseen, name, None), type) else ""
        assert f":: reseen.{name}\n" in generated[f"api/reseen.{name}.rst"], kind
        assert f"   reseen.{name}\n" in generated["api/index.rst"]


def docstrings(name):
    """Docstrings of a public name and of its public members."""
    found = attrgetter(name)(reseen)
    members = inspect.getmembers(found) if isinstance(found, type) else []
    here = [found, *(member for key, member in members if not key.startswith("_"))]
    return [inspect.getdoc(each) or "" for each in here if "reseen" in str(getattr(each, "__module__", ""))]


@pytest.mark.parametrize(
    "name", [*sorted(set(reseen.__all__) - {"plot"}), *(f"plot.{name}" for name in reseen.plot.__all__)]
)
def test_dotted_names_in_public_docstrings_exist(name):
    named = {found for text in docstrings(name) for found in re.findall(r"(?<![`\w])`(\w+\.[\w.]+)`(?!`)", text)}
    assert {found for found in named if reference_pages.public_name(found) is None} == set()


def test_the_first_line_of_a_property_has_no_colon():
    """The site prints what precedes a colon as the type of the property."""
    public = [getattr(reseen, name) for name in reseen.__all__]
    found = []
    for kind in (each for each in public if isinstance(each, type)):
        for key, member in inspect.getmembers(kind, lambda each: isinstance(each, property)):
            first = (inspect.getdoc(member) or "").partition("\n")[0]
            found += [f"{kind.__name__}.{key}"] if ": " in first else []
    assert found == []


def test_a_dotted_name_that_does_not_exist_is_found():
    assert reference_pages.public_name("AlignedSubject.save") is None
    assert reference_pages.public_name("Results.apply") == "reseen.Results"


def test_a_public_name_without_a_group_is_refused(monkeypatch):
    monkeypatch.setitem(reference_pages.GROUPS, "Errors", ())
    with pytest.raises(ValueError, match="every public name"):
        list(reference_pages.api_pages())


def test_the_reference_has_every_recipe_key_with_its_meaning(generated):
    rows = dict(re.findall(r"^\| `([\w.]+)` \| .*? \| (.*) \|$", generated["recipe.md"], re.MULTILINE))
    sections = {key.partition(".")[0] for key in keys_of(Recipe) if "." in key}
    within = {key for key in keys_of(Recipe) if key.count(".") > 1}  # of decode.rois, whose row has all of them
    assert set(rows) == set(keys_of(Recipe)) - sections - within
    assert all(len(meaning) > 3 for meaning in rows.values())


def test_the_reference_has_every_command_and_option(generated):
    page = generated["commands.md"]
    for name, command in typer.main.get_command(app).commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert re.search(rf"^\| `.*{option}\b.*` \| \S", section, re.MULTILINE), (name, option)


def test_the_reference_has_every_protocol_and_its_layers(generated):
    page = generated["protocols.md"]
    for name, protocol in PROTOCOLS.items():
        assert f"\n## {name}\n" in page
        for network in protocol.networks:
            for layer, module in network.layers:
                assert f"| {network.network} | {layer} | `{module}` |" in page


def used_names(tree):
    """Attributes of ``reseen`` and of ``reseen.plot`` in a script."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("reseen", "reseen.plot"):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_has_a_numbered_title_a_figure_and_public_names_only(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    number = int(path.stem.split("_")[1])
    assert re.match(rf"{number}\. .+\n=+\n", ast.get_docstring(tree))
    assert "figure" in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    public = {f"reseen.{name}" for name in reseen.__all__} | {f"reseen.plot.{name}" for name in reseen.plot.__all__}
    assert set(used_names(tree)) <= public
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith("reseen")]


def test_tutorials_are_numbered_from_one():
    assert [int(path.stem.split("_")[1]) for path in TUTORIALS] == list(range(1, len(TUTORIALS) + 1))


def test_a_warning_or_an_error_of_a_tutorial_stops_the_build():
    settings = {}
    for node in ast.parse((DOCS / "conf.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Dict)):
            settings[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    assert settings["nitpicky"] is True
    assert settings["sphinx_gallery_conf"]["abort_on_example_error"] is True
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndocs:")[2].partition("\n\n")[0]
    assert "-m sphinx -W " in recipe


def test_the_site_needs_only_what_its_extra_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {re.split(r"[><=]", name)[0].replace("-", "_") for name in project["optional-dependencies"]["docs"]}
    text = (DOCS / "conf.py").read_text(encoding="utf-8")
    extensions = re.findall(r'"(\w+)', text.partition("extensions = [")[2].partition("]")[0])
    assert {*extensions, "furo"} == extra
