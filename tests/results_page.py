"""The page about results folders, docs/results_folder.md, as tables and patterns of files."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs/results_folder.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    (found,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return found


def table(text: str) -> list[list[str]]:
    """Return the cells of the first table of a text, without its head."""
    first = re.search(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    rows = re.findall(r"^\|(.*)\|$", first[0], re.MULTILINE) if first else []
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)] for row in rows if not re.fullmatch(r"[-| ]+", row)]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def patterns(cells: list[str]) -> list[str]:
    """Return the patterns of the files of one row; a folder includes everything in it, a figure also its SVG."""
    found = []
    for name in names(cells[0]):
        pattern = re.sub(r"<\w+>", "*", name)
        found += [f"{pattern}*" if name.endswith("/") else pattern]
        if pattern.endswith(".png") and "svg" in cells[1]:
            found.append(pattern.replace(".png", ".svg"))
    return found


def files_of(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def check_files(title: str, folder: Path) -> None:
    """Check that a section of the page lists every file of a folder, and that files of every folder are there."""
    rows = [(patterns(cells), cells[2]) for cells in table(section(title))[1:]]
    known = [pattern for found, _ in rows for pattern in found]
    assert known
    written = files_of(folder)
    assert [name for name in written if not any(fnmatch(name, pattern) for pattern in known)] == []
    promised = [pattern for found, when in rows if when == "always" for pattern in found]
    assert promised
    assert [pattern for pattern in promised if not any(fnmatch(name, pattern) for name in written)] == []
