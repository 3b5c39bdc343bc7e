"""What the pages say can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import reference_pages
import typer

from reseen.cli import app
from reseen.recipe import load_recipe, with_settings

GENERATED = "generated/"
"""Folder of the pages that the site writes from the source."""
ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def typed(page: Path) -> list[list[str]]:
    """Give the words of every line that begins with a prompt and calls reseen."""
    lines = re.findall(r"^\$ (reseen\b(?:.*\\\n)*.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True)[1:] for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)], ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_and_its_recipe_takes_the_settings(page: Path) -> None:
    commands = typer.main.get_command(app).commands
    for name, *words in typed(page):
        assert name in commands, (page.name, name)
        found = commands[name].make_context(name, words).params
        of_results = found.get("trials") and str(found["recipe"]).startswith("out/") if name == "check" else False
        if isinstance(found.get("recipe"), str) and not of_results:
            with_settings(load_recipe(found["recipe"]), found.get("settings") or [])


def test_every_command_named_in_a_sentence_exists_with_its_options() -> None:
    commands = typer.main.get_command(app).commands
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").glob("*.py"))]:
        if page.name == "log.md":  # it quotes what was typed then
            continue
        for line in re.findall(r"`reseen ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
            name, *words = shlex.split(line)
            assert name in commands, (page.name, line)
            if hasattr(commands[name], "commands"):  # raters
                continue
            known = {option for parameter in commands[name].params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, (page.name, line)


def test_the_front_page_is_short_and_shows_the_notebook_and_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 500
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = (ROOT / "examples/notebook.py").read_text(encoding="utf-8")
    assert shown == example[example.index("import reseen") :]
    assert re.findall(r"^\$ (make \w+)", text, re.MULTILINE) == ["make demo", "make test"]


def test_the_front_page_leads_to_every_page_of_users() -> None:
    reached, missing = {"README.md"}, [ROOT / "README.md"]
    while missing:
        page = missing.pop()
        for target in re.findall(r"\]\((?!http)([^)#\s]+\.md)", page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if path.name not in reached:
                reached.add(path.name)
                missing.append(path)
    assert {page.name for page in PAGES} - {"index.md"} <= reached  # that is the front page of the site


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]*))?\)", text):
            if target.startswith(GENERATED):
                assert target.removeprefix(GENERATED) in {"tutorials/index.rst", *reference_pages.pages()}, target
                continue
            path = page.parent / target if target else page
            assert path.exists(), (page.name, target)
            if anchor:
                heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, (
                    page,
                    anchor,
                )
