"""Checkpoints: the tensors of one file by name, read without running code of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reseen.errors import ModelError
from reseen.files import check_archive, check_regular, check_tensors, reading, unreadable
from reseen.files.reading import shown
from reseen.files.shell import shell_line

LEFT_OVER = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
"""Objects other than tensors in checkpoints of Stable Diffusion 1.x (read from github lopho/pickle_inspector)."""
FETCH = shell_line("hf", "download", "CompVis/stable-diffusion-v-1-4-original", "sd-v1-4.ckpt")
"""The command that fetches the original checkpoint; no revision, since any commit has the same file."""
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_PICKLE = b"\x80"


class _LeftOver:
    """Placeholder for an object of a checkpoint that is not needed."""

    def __new__(cls, *_arguments: object) -> _LeftOver:
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        pass


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint by name; its first bytes determine the file type.

    The checksums of a zip archive (the format of ``.ckpt`` files since 2020) are verified. safetensors files have
    none.

    Parameters
    ----------
    path
        safetensors, or a file written by ``torch.save`` (``.ckpt``, ``.pt``, ``.pth``, ``.bin``).

    Raises
    ------
    ModelError
        If the file is missing, damaged, of another type, or contains more than tensors.
    """
    check_regular(path, ModelError)
    with reading(path, ModelError), path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{shown(path)} is a pointer of Git LFS, and not the checkpoint itself. Run `git lfs pull` in its folder.",
            where=path,
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(f"{shown(path)} is a web page, and not a checkpoint. Download the file itself.", where=path)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(b"PK\x03\x04"):
        check_archive(path, ModelError, "Download it again.")
    elif not head.startswith(_PICKLE):
        raise ModelError(
            f"{shown(path)} is neither safetensors nor a checkpoint of PyTorch: it starts with {head[:8]!r}. Download "
            f"the file again, such as by `{FETCH}`.",
            where=path,
            found=head[:8],
        )
    return _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    check_tensors(path, ModelError, "Download it again.")
    with reading(path, ModelError):
        return dict(load_file(path))


def _read_torch(path: Path) -> dict[str, Any]:
    import torch

    # a pair maps the name in the file to a class of ours
    left_over: list[Any] = [(_LeftOver, name) for name in LEFT_OVER]
    try:
        with torch.serialization.safe_globals(left_over):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types, from an early end to a foreign object
        named = _GLOBAL.search(str(error))
        if named is None:
            raise unreadable(path, error, ModelError) from error
        raise ModelError(
            f"{shown(path)} contains {named[1]}, which no tensor needs: loading it could run code in the file. Use a "
            "safetensors file of the same model.",
            where=path,
            found=named[1],
        ) from error
    # files of training have the tensors under "state_dict", next to counters and optimizers
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not isinstance(found, dict):
        return {}
    return {key: tensor for key, tensor in found.items() if isinstance(key, str) and isinstance(tensor, torch.Tensor)}
