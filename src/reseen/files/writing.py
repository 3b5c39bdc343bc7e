"""Write files and folders so that each is complete or absent."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from reseen.errors import ResultsError
from reseen.files.locking import LOCK, lock
from reseen.files.reading import shown

_PART = re.compile(r"\..+\.[0-9a-f]{32}\.part")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a path to write to; what was written there is moved to ``path`` once it is complete and on the disk.

    The file gets the permissions that the process gives to new files, whatever the library that writes it does.

    Raises
    ------
    ResultsError
        If it cannot be written, for want of space above all.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # workers of two machines may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as new:
            mode = stat.S_IMODE(os.fstat(new.fileno()).st_mode)
        yield part
        with part.open("rb+") as written:  # opened again: a library may have put another file here
            if stat.S_IMODE(os.fstat(written.fileno()).st_mode) != mode:
                part.chmod(mode)
            os.fsync(written.fileno())
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
    """Yield an empty folder to write to; it is moved to ``path``, which must not hold anything, once it is complete.

    Two processes may write the same folder at once: the second to end is refused, and nothing of the first is lost.

    Raises
    ------
    ResultsError
        If ``path`` holds something, or cannot be written.
    """
    _check_vacant(path)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        _sweep_folders(path)
        part.mkdir(parents=True)
        held = lock(part)
        try:
            yield part
            (part / LOCK).unlink()
        finally:
            held.close()
        try:
            part.replace(path)  # onto an empty folder, or refused by the system
        except OSError:
            _check_vacant(path)
            raise
    except OSError as error:
        raise ResultsError(_why(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_vacant(path: Path) -> None:
    if path.is_dir() and any(path.iterdir()):
        raise ResultsError(f"{path} is not empty. Give a folder that does not exist yet, or delete this one first.")
    if path.exists() and not path.is_dir():
        raise ResultsError(f"{path} is a file. Give a folder that does not exist yet.")


def _sweep_folders(path: Path) -> None:
    """Remove what killed processes left of a folder; those that live hold theirs."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if not (_PART.fullmatch(left.name) and (left / LOCK).is_file()):
            continue
        with suppress(ResultsError), closing(lock(left)):
            shutil.rmtree(left, ignore_errors=True)


def _why(path: Path, error: Exception) -> str:
    name, code = shown(path), getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or "os error 28" in str(error):
        return f"no space left to write {name}. Free some and run the same command again: it resumes where it stopped."
    return f"cannot write {name}: {getattr(error, 'strerror', None) or error}."


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all, its keys sorted."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
