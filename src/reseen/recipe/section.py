"""Base class of the sections of a recipe: strict values, no unknown keys, and messages that name the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reseen.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

NOT_IDENTITY: dict[str, Any] = {"identity": False}  # may change between runs into one results folder


def problems(error: ValidationError) -> list[str]:
    """Return one sentence for each value that pydantic refuses: its key, the expected and the found value."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        found = f"; found {problem['input']!r}"
        known = {
            "extra_forbidden": "unknown key",
            "tuple_type": f'expected a list such as ["a", "b"], within single quotes in a shell{found}',
            "too_short": "expected at least one; found an empty list",
        }
        what = known.get(problem["type"], problem["msg"] + found * problem["msg"].startswith("Input "))
        lines.append(f"  {where}{': ' if where else ''}{what}. Run `reseen recipe` to see every key.")
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
            raise RecipeError("the changed values:\n" + "\n".join(problems(error))) from error
