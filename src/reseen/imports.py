"""Import of torchvision, whose compiled part may not fit the installed torch.

transformers imports torchvision if it is installed. A torchvision that was built for another torch fails at its import,
and with it the import of transformers and of every diffusion model. Call these functions before importing either.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

_OPERATORS = ("nms", "qnms")
"""Operators that torchvision describes at its import, before any is called."""
_FIRST_MINOR = 15  # torchvision 0.20 belongs to torch 2.5, 0.28 to 2.13, 0.29 to 2.14


def import_torchvision() -> ModuleType:
    """Import torchvision, or hide it from other libraries if the import fails.

    A wheel of torchvision that was built for CUDA cannot load its compiled part with a torch for CPUs, and its import
    ends with ``operator torchvision::nms does not exist``. Two operators are then declared without an implementation,
    and the import is repeated. The networks, their weights and the transforms of Pillow images do not need them.

    If torchvision cannot be imported for another reason, ``sys.modules`` marks it as absent: transformers then works as
    if it were not installed.

    Raises
    ------
    ImportError
        If torchvision is not installed or cannot be imported.
    """
    try:
        return import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name == "torchvision":
            raise
        first: Exception = error
    except Exception as error:  # a library of another torch raises RuntimeError, OSError or AttributeError
        first = error
    try:
        if "torchvision::" not in str(first):
            raise first
        _forget()
        _declare_operators()
        return import_module("torchvision")
    except Exception as error:
        _forget()
        sys.modules["torchvision"] = None  # type: ignore[assignment]  # Python's own mark of an absent module
        raise ImportError(f"torchvision is installed and its import fails: {error}", name="torchvision") from error


def hide_broken_torchvision() -> None:
    """Prevent a torchvision that cannot be imported from breaking transformers."""
    with suppress(ImportError):
        import_torchvision()


def torchvision_command() -> str:
    """Return the shell command that installs the torchvision of the installed torch, and replaces no package.

    torchvision requires one exact version of torch. With ``--no-deps`` pip leaves the installed torch as it is.
    """
    import torch

    major, minor = torch.__version__.split(".")[:2]
    if major != "2" or not minor.isdigit():
        return "pip install --no-deps torchvision"
    return f"pip install --no-deps 'torchvision==0.{int(minor) + _FIRST_MINOR}.*'"


@cache
def _declare_operators() -> Any:
    """Declare the operators of a compiled torchvision; the declarations last as long as the returned object."""
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _forget() -> None:
    """Remove the modules of an incomplete import."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
