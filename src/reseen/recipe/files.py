"""Recipes as TOML: read, changed, compared and written."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from reseen.errors import RecipeError
from reseen.files.reading import shown
from reseen.files.text import read_text
from reseen.recipe.section import NOT_IDENTITY, keys_of, problems, suggestion
from reseen.recipe.sections import Recipe

LARGEST_RECIPE = 1_000_000
"""Largest size of a recipe's file, in bytes."""


def load_recipe(path: Path | str, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Load a recipe from a TOML file, or a recipe of reseen by its name (``"demo"``).

    Parameters
    ----------
    path
        The file, or the name.
    changes
        Values that replace those of the file, such as ``{"reconstruct.n_steps": 20}``; see `with_changes`.

    Raises
    ------
    RecipeError
        If the file cannot be read or is not valid TOML, or if the file or the changes have an unknown key, a value of
        the wrong type or a value out of range.

    Examples
    --------
    >>> recipe = load_recipe("demo", {"reconstruct.n_steps": 10})
    >>> recipe.reconstruct.n_steps, recipe.data.n_test
    (10, 24)
    """
    path = _find(path)
    if not os.path.exists(path):  # noqa: PTH110 (False too where the name is too long or has a NUL)
        message = f"cannot read the recipe {shown(path)}: there is no such file{_names(path)}"
        raise RecipeError(message, where=path)
    try:
        content = tomllib.loads(read_text(path, RecipeError, at_most=LARGEST_RECIPE))
    except (ValueError, RecursionError) as error:  # errors of tomllib, and invalid dates
        raise RecipeError(f"the recipe {shown(path)} is not valid TOML: {error}.", where=path) from error
    recipe = _validate(content, shown(path))
    return with_changes(recipe, changes) if changes else recipe


def recipe_folder() -> Path:
    """Return the folder of reseen's recipes: in the package, or next to ``src`` in a working copy."""
    package = Path(__file__).resolve().parents[1]
    return package / "recipes" if (package / "recipes").is_dir() else package.parents[1] / "recipes"


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return a recipe with single values changed, each written as on the command line.

    Parameters
    ----------
    recipe
        The recipe to change.
    settings
        Each ``"section.key=value"``, with the value written as in TOML. A value that is not TOML is read as a string.
        An empty value removes an optional key.

    Raises
    ------
    RecipeError
        If a setting has another form, names an unknown key, or its value has the wrong type or is out of range.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        where, equals, text = setting.partition("=")
        if not equals or not all(where.strip().split(".")):
            message = f"expected section.key=value, such as reconstruct.n_steps=20; found {setting!r}."
            raise RecipeError(message, where="settings", found=setting)
        changes[where.strip()] = _toml_value(text.strip()) if text.strip() else None
    return with_changes(recipe, changes)


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with single values changed; they are checked like the values of a file.

    Parameters
    ----------
    recipe
        The recipe to change.
    changes
        New values by key, such as ``{"reconstruct.n_steps": 20, "data.path": Path("nsd")}``. None removes an optional
        key.

    Raises
    ------
    RecipeError
        If a key is unknown, or a value has the wrong type or is out of range.
    """
    content = recipe.model_dump(mode="json", exclude_none=True)
    optional = [where for where, value, _ in _fields(Recipe()) if value is None]
    for where, value in changes.items():
        *sections, key = where.split(".")
        target = content
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                message = f"{where!r}: {section} is not a section. Run `reseen recipe` to see every key."
                raise RecipeError(message, where=where)
        if value is not None:
            target[key] = value
        elif where in optional or len(sections) > 1:
            target.pop(key, None)
        else:
            raise RecipeError(f"{where!r} has no value, and cannot be left out. Set one.", where=where)
    return _validate(content, "the changed values")


def identity(recipe: Recipe) -> dict[str, Any]:
    """Return every value that could change a result, as ``{"section.key": value}`` of JSON types."""
    return {where: _plain(value) for where, value, field in _fields(recipe) if field.json_schema_extra != NOT_IDENTITY}


def differences(found: Recipe, expected: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ and could change a result, without `growth`: key -> (expected, found)."""
    ours, theirs = identity(found), identity(expected)
    more = growth(found, expected)
    return {where: (theirs[where], ours[where]) for where in ours if ours[where] != theirs[where] and where not in more}


def list_differences(differ: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the lines of a message about `differences`, one for each key."""
    return "\n".join(
        f"  {where}: expected {json.dumps(expected)}, found {json.dumps(found)}"
        for where, (expected, found) in differ.items()
    )


def growth(found: Recipe, expected: Recipe) -> list[str]:
    """Return the keys by which a recipe only extends another one: more subjects or protocols, a full evaluation.

    Images and decoders of the other recipe stay valid.
    """
    ours, theirs = found.evaluate, expected.evaluate
    subjects = set(found.data.subjects) > set(expected.data.subjects)
    protocols = ours.protocols != theirs.protocols and set(ours.protocols) >= set(theirs.protocols)
    grown = {
        "data.subjects": subjects,
        "evaluate.protocols": protocols,
        "evaluate.full": ours.full and not theirs.full,
    }
    return [where for where, more in grown.items() if more]


def to_toml(recipe: Recipe, *, explained: bool = False) -> str:
    """Write a recipe as TOML; ``explained`` puts each field's description above it.

    Keys without a value are written as comments, so that every key is visible.
    """
    lines: list[str] = []
    section = ""
    for where, value, field in _fields(recipe):
        head, _, key = where.rpartition(".")
        if head != section:
            section = head
            lines.append("")
            if explained:
                lines.append(f"# {(type(getattr(recipe, section)).__doc__ or '').strip()}")
            lines.append(f"[{section}]")
        if explained:
            lines.append(f"# {field.description}{_choices(field.annotation)}")
        lines.append(f"# {key} =" if value is None else f"{key} = {_toml_text(_plain(value))}")
    return "\n".join(lines) + "\n"


def _fields(recipe: Recipe) -> Iterator[tuple[str, Any, FieldInfo]]:
    for name, field in Recipe.model_fields.items():
        value = getattr(recipe, name)
        if isinstance(value, BaseModel):
            for key, inner in type(value).model_fields.items():
                yield f"{name}.{key}", getattr(value, key), inner
        else:
            yield name, value, field


def _find(path: Path | str) -> Path:
    path = Path(path)
    if len(path.parts) != 1 or path.suffix or os.path.isfile(path):  # noqa: PTH113 (False too where a name is too long)
        return path
    named = recipe_folder() / f"{path}.toml"
    return named if os.path.isfile(named) else path  # noqa: PTH113


def _names(path: Path) -> str:
    """Return the end of a message about an unknown recipe: a similar name, and all names."""
    names = sorted(path.stem for path in recipe_folder().glob("*.toml"))
    return f"{suggestion(path.name, names) or '.'} Recipes that come with reseen: {', '.join(names)}."


def _validate(content: dict[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        message = f"{source}:\n" + "\n".join(problems(error, list(keys_of(Recipe))))
        first, *others = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        if others or not key:  # several keys, or keys that exclude each other
            raise RecipeError(message) from error
        raise RecipeError(message, where=key, found=first["input"]) from error


def _plain(value: Any) -> Any:
    """Return a value as a type of JSON."""
    if isinstance(value, BaseModel):
        return {name: _plain(item) for name, item in value if item is not None}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _toml_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_text(item) for item in value)}]"
    if isinstance(value, dict):
        items = [f"{name} = {_toml_text(item)}" for name, item in value.items()]
        return f"{{ {', '.join(items)} }}"
    return json.dumps(value, ensure_ascii=False)  # TOML's strings, numbers and booleans are JSON's


def _choices(annotation: Any) -> str:
    return f" (one of: {', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""
