"""Recipes as TOML: read, changed, compared and written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from reseen.errors import RecipeError
from reseen.recipe.sections import NOT_IDENTITY, Recipe


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe from a TOML file, or one that comes with reseen by its bare name (``"demo"``).

    Raises
    ------
    RecipeError
        If the file is missing, is no TOML, holds an unknown key or a value out of range.
    """
    path = _find(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}. {_names()}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is no recipe: it is not UTF-8 text.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no valid TOML: {error}.") from error
    return _validate(content, str(path))


def recipe_folder() -> Path:
    """Give the folder of the recipes that come with reseen: in the package, or beside ``src`` in a working copy."""
    package = Path(__file__).resolve().parents[1]
    return package / "recipes" if (package / "recipes").is_dir() else package.parents[1] / "recipes"


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change single values of a recipe.

    Parameters
    ----------
    recipe
        What to change.
    settings
        Each ``"section.key=value"``, the value written as in TOML; a value that is no TOML is taken as a string, and
        an empty one leaves a key out that may be left out.

    Raises
    ------
    RecipeError
        If a setting has another form, or names an unknown key or a value out of range.
    """
    content = recipe.model_dump(mode="json", exclude_none=True)
    may_be_left_out = [where for where, value, _ in _fields(Recipe()) if value is None]
    for setting in settings:
        where, equals, text = setting.partition("=")
        *sections, key = where.strip().split(".")
        if not equals or not key or len(sections) > 1:
            raise RecipeError(f"expected section.key=value, such as reconstruct.n_steps=20; found {setting!r}.")
        target = content.setdefault(sections[0], {}) if sections else content
        if not isinstance(target, dict):
            raise RecipeError(f"{setting!r}: {sections[0]} is no section. Run `reseen recipe` to see every key.")
        if text.strip():
            target[key] = _toml_value(text.strip())
        elif where.strip() in may_be_left_out:
            target.pop(key, None)
        else:
            raise RecipeError(f"{setting!r} has no value, and is nothing that may be left out. Give one.")
    return _validate(content, "the settings")


def identity(recipe: Recipe) -> dict[str, Any]:
    """Give every value that could change a result, as ``{"section.key": value}`` of JSON types."""
    return {where: _plain(value) for where, value, field in _fields(recipe) if field.json_schema_extra != NOT_IDENTITY}


def differences(found: Recipe, expected: Recipe) -> list[str]:
    """Name each value in which two recipes differ and that could change a result, with both values; not `growth`."""
    ours, theirs = identity(found), identity(expected)
    more = growth(found, expected)
    return [
        f"{where}: expected {json.dumps(theirs[where])}, found {json.dumps(ours[where])}"
        for where in ours
        if ours[where] != theirs[where] and where not in more
    ]


def growth(found: Recipe, expected: Recipe) -> list[str]:
    """Name what a recipe only scores beyond another one: further protocols, a full evaluation.

    Pictures and decoders of the other one stay as they are, and more may be made beside them.
    """
    ours, theirs = found.evaluate, expected.evaluate
    protocols = ours.protocols != theirs.protocols and set(ours.protocols) >= set(theirs.protocols)
    grown = {"evaluate.protocols": protocols, "evaluate.full": ours.full and not theirs.full}
    return [where for where, more in grown.items() if more]


def to_toml(recipe: Recipe, *, explained: bool = False) -> str:
    """Write a recipe as TOML; ``explained`` puts each field's description above it.

    Values that are left out are written as comments, so that every key is there to be seen.
    """
    lines: list[str] = []
    section = ""
    for where, value, field in _fields(recipe):
        head, _, key = where.rpartition(".")
        if head != section:
            section = head
            about = (type(getattr(recipe, section)).__doc__ or "").strip() if explained else ""
            lines += ["", *([f"# {about}"] if about else []), f"[{section}]"]
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
    named = recipe_folder() / f"{path}.toml"
    return named if len(path.parts) == 1 and not path.suffix and not path.is_file() and named.is_file() else path


def _names() -> str:
    return f"Recipes that come with reseen: {', '.join(sorted(path.stem for path in recipe_folder().glob('*.toml')))}."


def _validate(content: dict[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{source}:\n" + "\n".join(_problems(error))) from error


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        found = f"; found {problem['input']!r}"
        known = {
            "extra_forbidden": "unknown key",
            "tuple_type": f'expected a list such as ["a", "b"], within single quotes in a shell{found}',
            "too_short": "expected at least one; found an empty list",
        }
        what = known.get(problem["type"], problem["msg"] + found * problem["msg"].startswith("Input should"))
        lines.append(f"  {where}{': ' if where else ''}{what}. Run `reseen recipe` to see every key.")
    return lines


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml_text(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)  # TOML's strings, numbers and booleans are JSON's


def _choices(annotation: Any) -> str:
    return f" (one of: {', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""
