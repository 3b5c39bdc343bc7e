"""Read text and JSON: UTF-8 of limited size, and JSON of a declared type."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reseen.errors import DataError, ReseenError
from reseen.files.reading import check_regular, reading, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

AT_MOST = 64 * 2**20
"""Default limit of the size of a text file, in bytes."""


def read_text(path: Path | str, error: type[ReseenError] = DataError, at_most: int = AT_MOST) -> str:
    """Read a text file in UTF-8, with or without a byte order mark; every line break becomes a newline.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.
    at_most
        Largest size in bytes, checked before the file is read.

    Raises
    ------
    ReseenError
        Of type ``error``: if the file is not regular, too large, in another encoding or not text.
    """
    n_bytes = check_regular(path, error)
    if n_bytes > at_most:
        message = f"{shown(path)} has {n_bytes:,} bytes; at most {at_most:,} are expected of such a file."
        raise error(message, where=Path(path), expected=at_most, found=n_bytes)
    with reading(path, error), Path(path).open("rb") as file:
        content = file.read(at_most + 1)  # one byte more: a file of /proc has no size
    if len(content) > at_most:
        message = f"{shown(path)} is larger than the {at_most:,} bytes that are expected of such a file."
        raise error(message, where=Path(path), expected=at_most)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        found = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
        raise error(
            f"{shown(path)} is not UTF-8: byte {cause.start:,} is in {found}. Save it as UTF-8 text, or restore it if "
            "it was UTF-8 before.",
            where=Path(path),
            expected="UTF-8",
            found=found,
        ) from cause
    if "\0" in text:
        message = f"{shown(path)} is no text: it has NUL bytes. Save it as UTF-8 text, or restore it."
        raise error(message, where=Path(path))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(
    path: Path | str,
    schema: Any,
    error: type[ReseenError] = DataError,
    at_most: int = AT_MOST,
    fix: str | None = None,
) -> Any:
    """Read a JSON file of a declared type.

    Parameters
    ----------
    path
        The file, in UTF-8.
    schema
        Any type of `pydantic.TypeAdapter`, such as ``dict[str, str]``. Types are strict: ``"1"`` is no number.
    error
        Type of the error.
    at_most
        Largest size in bytes.
    fix
        Advice for a damaged file.

    Returns
    -------
    Value of the type ``schema``.

    Raises
    ------
    ReseenError
        Of type ``error``: if the file is not regular, not text, not JSON, nested too deeply or of another type.
    """
    from pydantic import ValidationError

    text = read_text(path, error, at_most)
    try:
        with reading(path, error, fix):
            return _adapter(schema).validate_json(text, strict=True)
    except error as raised:
        if not isinstance(raised.__cause__, ValidationError):
            raise
        what, place = _first(raised.__cause__)
        advice = fix or "Restore it from a copy, or write it again."
        message = f"{shown(path)} does not contain the expected JSON{place}: {what}. {advice}"
        raise error(message, where=Path(path)) from raised.__cause__


@lru_cache(maxsize=64)
def _adapter(schema: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(schema)


def _first(cause: Any) -> tuple[str, str]:
    """Return the first problem of a validation, and its place in the JSON."""
    details = cause.errors(include_url=False, include_context=False, include_input=False)[0]
    place = " -> ".join(shown(str(part))[:60] for part in details["loc"][:6])
    message = shown(details["msg"])[:200].rstrip(".")
    return message[:1].lower() + message[1:], f" at {place}" if place else ""
