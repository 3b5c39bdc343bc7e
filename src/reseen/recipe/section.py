"""Base class of the sections of a recipe: strict values, no unknown keys, and messages that name the key."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reseen.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

NOT_IDENTITY: dict[str, Any] = {"identity": False}  # may change between runs into one results folder


def keys_of(section: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield every key below a section, such as ``decode.rois.z``, and the names of sections."""
    for name, field in section.model_fields.items():
        yield before + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation, f"{before}{name}.")


def suggestion(found: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean KEY?"``, or nothing if no key is similar."""
    key = found.rpartition(".")[2]
    elsewhere = [name for name in known if name.rpartition(".")[2] == key]  # the right key in another section
    # 0.6 is the default of difflib: a few letters of a word differ
    alike = elsewhere or difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    return f"; did you mean {' or '.join(alike)}?" if alike else ""


def problems(error: ValidationError, known: Sequence[str] = ()) -> list[str]:
    """Return one sentence for each value that pydantic refuses: its key, the expected and the found value.

    Parameters
    ----------
    error
        The error.
    known
        All keys, from which a similar one is suggested for an unknown key.
    """
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        found = f"; found {problem['input']!r}"
        sentences = {
            "extra_forbidden": "unknown key",
            "tuple_type": f'expected a list such as ["a", "b"], within single quotes in a shell{found}',
            "too_short": "expected at least one; found an empty list",
        }
        what = sentences.get(problem["type"], problem["msg"] + found * problem["msg"].startswith("Input "))
        end = suggestion(where, known) if problem["type"] == "extra_forbidden" else ""
        lines.append(f"  {where}{': ' if where else ''}{what}{end or '.'} Run `reseen recipe` to see every key.")
    return lines


class Section(BaseModel):
    """Section of a recipe: cannot be changed, and takes no unknown key and no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some values changed; they are checked like the values of a file.

        Raises
        ------
        RecipeError
            If a key is unknown, or a value has the wrong type or is out of range.
        """
        copied = super().model_copy(deep=deep)
        if not update:
            return copied
        try:
            return type(self).model_validate({**dict(copied), **update})
        except ValidationError as error:
            raise RecipeError(
                "the changed values:\n" + "\n".join(problems(error, list(keys_of(type(self)))))
            ) from error
