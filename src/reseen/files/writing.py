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
    """Yield a path to write to; the file is moved to ``path`` when it is complete and on the disk.

    The file gets the process's default permissions for new files, also if a library sets others.

    Raises
    ------
    ResultsError
        If it cannot be written, for example on a full disk.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # workers of two machines may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as new:
            mode = stat.S_IMODE(os.fstat(new.fileno()).st_mode)
        yield part
        with part.open("rb+") as written:  # opened again, since a library may have replaced the file
            if stat.S_IMODE(os.fstat(written.fileno()).st_mode) != mode:
                part.chmod(mode)
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # safetensors wraps errors of the system
            raise _not_written(path, error) from error
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Delete incomplete files of killed processes in a folder and below; see `writing`.

    The caller must hold the folder (`lock`).
    """
    for where, _, names in os.walk(folder):
        for name in filter(_PART.fullmatch, names):
            with suppress(OSError):
                Path(where, name).unlink()


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write to; it is moved to ``path``, which must be empty or absent, when it is complete.

    Two processes may write the same folder at once. The one that ends later is refused, and the other's files stay.

    Raises
    ------
    ResultsError
        If ``path`` is not empty, or cannot be written.
    """
    check_vacant(path)
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
            part.replace(path)  # the system replaces only an empty folder
        except OSError:
            check_vacant(path)
            raise
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_vacant(path: Path) -> None:
    """Check that a folder is empty or absent.

    Raises
    ------
    ResultsError
        If it is not empty, or is a file.
    """
    if path.is_dir() and any(path.iterdir()):
        message = f"{shown(path)} is not empty. Name a folder that does not exist yet, or delete this one first."
        raise ResultsError(message, where=path)
    if path.exists() and not path.is_dir():
        message = f"{shown(path)} is a file. Name a folder that does not exist yet."
        raise ResultsError(message, where=path, expected="folder", found="file")


def _sweep_folders(path: Path) -> None:
    """Delete incomplete copies of a folder whose processes were killed; a running process holds its own."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if not (_PART.fullmatch(left.name) and (left / LOCK).is_file()):
            continue
        with suppress(ResultsError), closing(lock(left)):
            shutil.rmtree(left, ignore_errors=True)


def _not_written(path: Path, error: Exception) -> ResultsError:
    """Return the error for a file or folder that could not be written."""
    name, code = shown(path), getattr(error, "errno", None)
    message = f"cannot write {name}: {getattr(error, 'strerror', None) or error}."
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or "os error 28" in str(error):
        message = (
            f"no space left to write {name}. Free some and run the same command again: it resumes where it stopped."
        )
    return ResultsError(message, where=path)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, complete or not at all."""
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file with sorted keys, complete or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
