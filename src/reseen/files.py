"""Files: written whole or not at all, read or refused with a reason, and folders that one process holds at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from reseen.errors import DataError, ResultsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GB = 1e9
"""Bytes."""
_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")
_DEEP = ("I", "F")  # Pillow's modes of integers of 16 and 32 bits, and of floats


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path to write to; what was written there is moved to ``path`` once it is whole.

    Raises
    ------
    ResultsError
        If it cannot be written, for want of space above all.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # workers of two machines may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise ResultsError(_why(path, error)) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # safetensors wraps what the system said
            raise ResultsError(_why(path, error)) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Take away what `writing` left of files in a folder and below when its process was killed.

    Only who holds the folder may ask for it (`lock`).
    """
    for where, _, names in os.walk(folder):
        for name in filter(_PART.fullmatch, names):
            with suppress(OSError):
                Path(where, name).unlink()


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to write to; it is moved to ``path``, which must not hold anything, once it is whole.

    Raises
    ------
    ResultsError
        If ``path`` holds something, or cannot be written.
    """
    if path.is_dir() and any(path.iterdir()):
        raise ResultsError(f"{path} is not empty. Give a folder that does not exist yet, or delete this one first.")
    if path.exists() and not path.is_dir():
        raise ResultsError(f"{path} is a file. Give a folder that does not exist yet.")
    part = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        part.mkdir(parents=True)
        yield part
        if path.is_dir():
            path.rmdir()
        part.replace(path)
    except OSError as error:
        raise ResultsError(_why(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _why(path: Path, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or "os error 28" in str(error):
        return f"no space left to write {path}. Free some and run the same command again: it goes on where it stopped."
    return f"cannot write {path}: {getattr(error, 'strerror', None) or error}."


def lock(path: Path) -> IO[str]:
    """Hold a folder by an advisory lock, which the system lets go of when a process ends, however it ends.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    file
        Close it to let go.

    Raises
    ------
    ResultsError
        If another process holds the folder, or nothing can be written there.
    """
    try:
        file = (path / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot write to the results folder {path}: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise ResultsError(f"{path} is in use by {holder}. Wait for it to end, or choose another --out.") from error
    except OSError:
        pass  # a file system without locks: go on without one
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all, its keys sorted."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def as_metadata(made_by: Mapping[str, str]) -> dict[str, str]:
    """Give what made an array as safetensors metadata: one entry, since the order of several is not fixed."""
    return {"made_by": json.dumps(made_by, sort_keys=True)}


@contextmanager
def opening_tensors(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a safetensors file to read from, and tell what made it (see `as_metadata`).

    Raises
    ------
    ResultsError
        If it is not there or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            made_by: dict[str, str] = json.loads((file.metadata() or {}).get("made_by", "{}"))
            yield file, made_by
    except (OSError, SafetensorError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ResultsError:
    """Give the error of a file of a results folder that cannot be read."""
    return ResultsError(f"cannot read {path}: {str(error).strip()}. Delete it and run the recipe again.")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; one that is not there is empty.

    Raises
    ------
    ResultsError
        If it is damaged.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not isinstance(found, dict):
            raise ValueError(f"expected names and values, found a {type(found).__name__}")
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    return found


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read somebody's picture as a screen shows it, ``(height, width, 3)``: turned as its camera says.

    Raises
    ------
    DataError
        If it cannot be read, or what it looks like is not known: it is transparent in places, or deeper than 8 bits.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode.startswith(_DEEP):
                raise DataError(
                    f"the picture {path} has more than 8 bits a pixel and channel (Pillow's mode {image.mode}): what "
                    "is white in it is not known. Save it with 8 bits."
                )
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise DataError(
                    f"the picture {path} is transparent in places: what is seen behind it is not known. Lay it on the "
                    "background that it is shown on, and save it without an alpha channel."
                )
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's, by format and damage
        raise DataError(f"cannot read the picture {path}: {error}. Mend it or take it away.") from error
