"""Check files before they are opened, and turn whatever a library raises about one into one sentence."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reseen.errors import DataError, ReseenError

FIX = "Restore it from a copy, or download or write it again."
"""How a file that is damaged is replaced, unless the reader knows better."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_LOCK_FAILED = re.compile(r"unable to (?:un)?lock file, errno = (\d+)")  # HDF5's words
_HELD = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_OF_SYSTEM = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM)
_HARMFUL = re.compile(r"pickle|weights_only|trust", re.IGNORECASE)  # advice of libraries to load a file unsafely


def check_regular(path: Path | str, error: type[ReseenError] = DataError) -> int:
    """Check that a path is a regular file that can be read.

    Parameters
    ----------
    path
        The file. It is not opened: opening a pipe waits for whoever writes to it.
    error
        Type of the error.

    Returns
    -------
    int
        Size in bytes.

    Raises
    ------
    ReseenError
        Of type ``error``: if the file is missing, or is a folder, a pipe, a socket, a device or a loop of symbolic
        links, or if there is no permission to read it.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as cause:
        raise unreadable(path, cause, error) from cause
    for is_kind, words in _KINDS:
        if is_kind(found.st_mode):
            raise error(f"{shown(path)} is {words}. A regular file is expected here.")
    if not os.access(path, os.R_OK):
        forbidden = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise unreadable(path, forbidden, error) from forbidden
    return found.st_size


def file_state(path: Path | str, error: type[ReseenError] = DataError) -> tuple[int, int, int]:
    """Return the inode, size and time of change of a file: as long as they are the same, so is its content.

    Raises
    ------
    ReseenError
        As `check_regular`.
    """
    check_regular(path, error)
    found = Path(path).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def unreadable(
    path: Path | str, cause: BaseException, error: type[ReseenError] = DataError, fix: str | None = None
) -> ReseenError:
    """Return the error for a file that could not be read.

    Parameters
    ----------
    path
        The file.
    cause
        What was raised while it was read.
    error
        Type of the error that is returned.
    fix
        What to do if the file is damaged; `FIX` by default.

    Returns
    -------
    ReseenError
        Its message depends on the cause: a lock, permissions, a missing file, memory, the system, or a damaged file.
    """
    name, code = shown(path), _code(cause)
    if _lock_code(cause) is not None:
        return error(_locked(name, _lock_code(cause)))
    if isinstance(cause, MemoryError):
        return error(f"{name} declares more data than fit in memory. Check that it is complete and the right file.")
    if code in (errno.EACCES, errno.EPERM):
        return error(f"no permission to read {name}. Ask its owner for read access to the file and to its folders.")
    if code in (errno.ENOENT, errno.ENOTDIR):
        return error(f"{name} is missing. Check the path.")
    if code == errno.ELOOP:
        return error(f"{name} is a symbolic link that leads back to itself. Replace it by the file.")
    if code == errno.EISDIR:
        return error(f"{name} is a folder. A regular file is expected here.")
    if code == errno.ENAMETOOLONG or (isinstance(cause, ValueError) and "\0" in str(path)):
        return error(f"{name} is no path that this system can open. Check the path.")
    if code in _OF_SYSTEM:
        return error(f"{name} could not be read: {_reason(cause)}. The file itself may be whole: try again.")
    size = f"It has {Path(path).stat().st_size:,} bytes" if Path(path).is_file() else "It"
    return error(f"{name} cannot be read ({_reason(cause)}). {size} and seems truncated or damaged. {fix or FIX}")


def is_blocked(error: ReseenError) -> bool:
    """Return whether an error of `unreadable` is about a file that may be whole: locked, forbidden or out of reach."""
    cause = error.__cause__
    if cause is None:
        return False
    return _lock_code(cause) is not None or _code(cause) in (errno.EACCES, errno.EPERM, errno.ELOOP, *_OF_SYSTEM)


@contextmanager
def reading(path: Path | str, error: type[ReseenError] = DataError, fix: str | None = None) -> Iterator[None]:
    """Check a file, then turn whatever a library raises while it is read into one of reseen's errors.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.
    fix
        What to do if the file is damaged; `FIX` by default.

    Raises
    ------
    ReseenError
        Of type ``error``: see `check_regular` and `unreadable`. Errors of reseen pass unchanged.
    """
    check_regular(path, error)
    try:
        yield
    except ReseenError:
        raise
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":  # Rust libraries' own
            raise
        raise unreadable(path, cause, error, fix) from cause


def shown(path: Path | str) -> str:
    """Return a path as it may be printed: escape sequences and line breaks in names never reach a terminal."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(path))


def _code(cause: BaseException) -> int | None:
    code = getattr(cause, "errno", None)
    return code if isinstance(code, int) else None


def _lock_code(cause: BaseException) -> int | None:
    """Return the system's error number where a file could not be locked."""
    found = _LOCK_FAILED.search(str(cause))
    if found is not None:
        return int(found[1])
    return _code(cause) if _code(cause) in (errno.EAGAIN, errno.ENOLCK) else None


def _locked(name: str, code: int | None) -> str:
    if code in _HELD:
        return (
            f"{name} is locked: another process has it open for writing. Wait for that process to end, or close the "
            "file there; if nobody writes to it, set HDF5_USE_FILE_LOCKING=FALSE."
        )
    return (
        f"{name} cannot be locked: its disk has no locks. Set HDF5_USE_FILE_LOCKING=FALSE in the environment and run "
        "the same command again."
    )


def _reason(cause: BaseException) -> str:
    """Return what a library said, on one line, without advice that would do harm."""
    said = str(getattr(cause, "strerror", None) or cause)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = shown(lines[0])[:200].rstrip(". ") if lines else ""
    return first if first and not _HARMFUL.search(said) else type(cause).__name__
