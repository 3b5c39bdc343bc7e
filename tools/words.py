"""Find words that docs/glossary.md replaces: ``python tools/words.py`` prints each one and exits with 1."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "docs", "recipes", "examples", "benchmarks", "tools", "tests")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md")
SUFFIXES = (".py", ".md", ".toml", ".j2")
INSTEAD = {
    r"pictures?": "image",
    r"digital": "simulated",
    r"floor_\w+": "mismatched, permuted or chance_...",
    r"observers?|judges?": "evaluation network",
    r"films?|harvest(?:ed|s)?": "denoising sequence, recorded activations",
    r"begun": "started",
    r"mend(?:ed|s)?": "fix",
    r"wrong truths?": "mismatched images",
}
INSTEAD_FOR_USERS = {
    r"shuffled": "permuted",
    r"lends?|lent|shelf|shelves": "copy, share",
    r"hand(?:s|ed)? over": "pass",
    r"tak(?:e|es|en) up": "occupy, process",
    r"(?:lie|lies|lay) in": "is in",
    r"stands? (?:for|beside)": "means, is next to",
    r"made (?:by|of)": "computed by, computed from",
    r"(?:the|their|its|an?|each|every) truths?": "ground truth, true images, true features",
    r"shares? of (?:the|all|its|their)": "proportion",
    r"(?:sort|kind)s? of (?:images?|stimul[ui]s?|files?|errors?|features?)": "category, type",
    r"looks? (?:at|through)": "compute activations, check",
}
"""Further words, in the package, its recipes and the pages for its users."""
USER_FOLDERS = ("src", "docs", "recipes")


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern with one group for each word; the group ``w3`` is the word with index 3."""
    return re.compile("|".join(rf"(?P<w{number}>\b(?:{word})\b)" for number, word in enumerate(words)), re.IGNORECASE)


ALLOWED = (
    "a picture of ",  # simulated captions, whose words the built-in text encoder was trained on
    "pictures",  # old names of arrays that users may have saved, in the files below
)
OLD_NAMES = ("array_files.py", "arrays.py", "own_data.md", "test_arrays.py")
LEFT_OUT = ("log.md", "words.py")
WRITTEN = {"generated", "out"}
"""Folders in docs that the build of the site writes."""
"""The log quotes what was printed then."""


def files() -> Iterator[Path]:
    """Yield every file that is read by people."""
    for page in PAGES:
        yield ROOT / page
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.name not in LEFT_OUT and not WRITTEN.intersection(path.parts):
                yield path


def refused(path: Path) -> Iterator[str]:
    """Yield a message for each refused word of a file."""
    first = path.relative_to(ROOT).parts[0]
    instead = {**INSTEAD, **INSTEAD_FOR_USERS} if first in (*USER_FOLDERS, *PAGES) else INSTEAD
    pattern, instead_of = _pattern(instead), list(instead.values())
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.replace(ALLOWED[0], "")
        if path.name in OLD_NAMES:
            text = text.replace("stimulus_pictures", "").replace(ALLOWED[1], "")
        for found in pattern.finditer(text):
            word = int((found.lastgroup or "w0")[1:])
            yield f"{path.relative_to(ROOT)}:{number}: {found[0]!r}; say {instead_of[word]}"


def main() -> None:
    """Print every refused word."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    messages = [message for path in files() for message in refused(path)]
    print("\n".join(messages) or "no refused word")
    sys.exit(1 if messages else 0)


if __name__ == "__main__":
    main()
