"""What the pages say can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from reseen.cli import app
from reseen.recipe import load_recipe, with_settings

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
        if isinstance(found.get("recipe"), str):
            with_settings(load_recipe(found["recipe"]), found.get("settings") or [])


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]*))?\)", text):
            path = page.parent / target if target else page
            assert path.exists(), (page.name, target)
            if anchor:
                heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, (
                    page,
                    anchor,
                )
