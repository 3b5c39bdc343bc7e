"""Types of the values of a recipe, with the checks that names, lists and numbers must pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, Strict
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from reseen.conditions import CONDITIONS, FEATURES
from reseen.plugins import is_importable

T = TypeVar("T")
Proportion = Annotated[float, Field(ge=0, le=1)]


def _folder_name(text: str) -> str:
    """Refuse names that would leave the data folder as part of a path, or that a shell would interpret."""
    if not re.fullmatch(r"\w[\w.+-]*", text):
        raise PydanticCustomError(
            "name", "expected the name of a folder: letters, digits, _ . + -; found {found}", {"found": repr(text)}
        )
    return text


def _title(text: str) -> str:
    """Refuse text that cannot be the name of a folder; spaces are allowed."""
    if not text.strip() or text.startswith(".") or not text.isprintable() or re.search(r"[/\\]", text):
        raise PydanticCustomError(
            "name",
            "expected a name that can be a folder name, without / or \\; found {found}",
            {"found": repr(text)},
        )
    return text


def _printable(value: T) -> T:
    """Refuse control characters, which a terminal would execute."""
    if not str(value).isprintable() or not str(value).strip():
        raise PydanticCustomError(
            "text", "expected text without control characters; found {found}", {"found": repr(str(value))}
        )
    return value


def _tuple(value: Any) -> Any:
    """Return a list of TOML or JSON as a tuple; return any other value as it is, for the check of its type."""
    return tuple(value) if isinstance(value, list) else value


FolderName = Annotated[str, AfterValidator(_folder_name)]
Title = Annotated[str, AfterValidator(_title)]
Text = Annotated[str, AfterValidator(_printable)]
Location = Annotated[Path, Strict(False), AfterValidator(_printable)]


def _once(names: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse a list with duplicates."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise PydanticCustomError("twice", "expected each name once; found {found} again", {"found": repr(twice[0])})
    return names


ListOf = Annotated[tuple[T, ...], BeforeValidator(_tuple)]
Some = Annotated[tuple[T, ...], BeforeValidator(_tuple), Field(min_length=1)]
Once = Annotated[tuple[T, ...], BeforeValidator(_tuple), Field(min_length=1), AfterValidator(_once)]


def _or_importable(*known: str) -> AfterValidator:
    """Return a check that accepts known names or an object that can be imported."""

    def check(name: str) -> str:
        if name not in known and not is_importable(name):
            raise PydanticCustomError(
                "name",
                "expected {known} or 'module:name' of your own object; found {found}",
                {"known": ", ".join(map(repr, known)), "found": repr(name)},
            )
        return name

    return AfterValidator(check)


def _one_of(*known: str) -> AfterValidator:
    """Return a check that accepts known names only."""

    def check(name: str) -> str:
        if name not in known:
            raise PydanticCustomError(
                "name", "expected one of {known}; found {found}", {"known": ", ".join(known), "found": repr(name)}
            )
        return name

    return AfterValidator(check)


ConditionName = Annotated[str, _one_of(*CONDITIONS)]
EncodedName = Annotated[str, _one_of(*FEATURES, "zc")]
DecoderName = Annotated[str, _or_importable("ridge")]
SamplerName = Annotated[str, _or_importable("ddim", "dpmpp", "lcm")]
COLUMN = "column:"
"""Start of the value of ``data.test`` that names a column."""


SPECIAL = "special515"
"""Value of ``data.test`` for the shared images that all subjects of NSD saw three times."""


def _sessions(value: Any) -> Any:
    """Return a list of sessions as an ascending tuple; a number stays, for the first sessions."""
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in listed)
    if not listed or not whole or len(set(listed)) < len(listed):
        raise PydanticCustomError(
            "sessions",
            "expected a number of sessions from 1, or a list of different sessions such as [1, 5, 7]; found {found}",
            {"found": repr(value)},
        )
    return tuple(sorted(listed)) if isinstance(value, (list, tuple)) else value


def _test_set(value: str) -> str:
    """Refuse other ways to choose the test set than those that are known."""
    known = ("shared", SPECIAL, "folds", "runs", "sessions")
    names_column = value.startswith(COLUMN) and len(value) > len(COLUMN)
    if value not in known and not names_column:
        raise PydanticCustomError(
            "test",
            "expected one of {known} or column:NAME; found {found}",
            {"known": ", ".join(known), "found": repr(value)},
        )
    return value


SessionChoice = int | tuple[int, ...]
"""A number for the first sessions, or the sessions themselves, counted from 1."""
Sessions = Annotated[SessionChoice, BeforeValidator(_sessions)]
TestSet = Annotated[Text, AfterValidator(_test_set)]
Folds = Annotated[int, Field(ge=2)]
Penalty = Annotated[float, Field(gt=0, allow_inf_nan=False)]
