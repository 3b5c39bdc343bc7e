"""Plug-ins: a user's own objects, which a recipe names as ``"module:name"``."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from reseen.errors import RecipeError

_NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_importable(name: str) -> bool:
    """Return whether a text has the form ``"module:name"``.

    Examples
    --------
    >>> is_importable("my_lab.decoders:make_mlp"), is_importable("C:/models/sd.ckpt"), is_importable("builtin")
    (True, False, False)
    """
    return _NAMED.fullmatch(name) is not None


def load_object(name: str, key: str) -> Any:
    """Import the object that a recipe names. Modules in the current folder are found, as by ``python -m``.

    Parameters
    ----------
    name
        ``"module:name"``, such as ``"my_lab.decoders:make_mlp"``.
    key
        Key of the recipe, for messages.

    Raises
    ------
    RecipeError
        If the module cannot be imported or has no such object, or the object cannot be called.
    """
    if not is_importable(name):
        raise RecipeError(
            f"{key}: {name!r} is not of the form 'module:name', such as 'my_module:my_function'.", where=key, found=name
        )
    module_name, _, attribute = name.partition(":")
    here = os.getcwd()  # noqa: PTH109 (sys.path holds text)
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise RecipeError(
            f"{key}: module {module_name} has no {attribute}. Check the name after the colon.", where=key, found=name
        ) from error
    except Exception as error:
        raise RecipeError(
            f"{key}: module {module_name} cannot be imported ({type(error).__name__}: {error}). Run reseen from the "
            "folder that contains it, or install it.",
            where=key,
            found=name,
        ) from error
    if not callable(found):
        raise RecipeError(
            f"{key}: {name} is a {type(found).__name__}; a class or a function is expected.",
            where=key,
            found=type(found).__name__,
        )
    return found


def fingerprint_of(found: Any) -> str:
    """Return text that changes when the file that defines an object changes: its name and the file's SHA-256."""
    named = f"{getattr(found, '__module__', '')}:{getattr(found, '__qualname__', type(found).__qualname__)}"
    defined = found if hasattr(found, "__qualname__") else type(found)  # the class of an instance
    try:
        source = Path(inspect.getfile(defined))
    except (TypeError, OSError):
        return named
    return f"{named} sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}" if source.is_file() else named
