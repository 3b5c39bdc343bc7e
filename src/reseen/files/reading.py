"""Check files before they are opened, and turn each error of a library into one of reseen's errors."""

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
"""Default advice for a damaged file."""
_IRREGULAR = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
_LOCK_FAILED = re.compile(r"unable to (?:un)?lock file, errno = (\d+)")  # in messages of HDF5
_HELD = (errno.EAGAIN, errno.EACCES)
_NO_LOCKS = (errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_OF_SYSTEM = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM)
_HARMFUL = re.compile(r"pickle|weights_only|trust", re.IGNORECASE)  # libraries advise to load a file unsafely


def check_regular(path: Path | str, error: type[ReseenError] = DataError) -> int:
    """Check that a path is a regular file that can be read.

    Parameters
    ----------
    path
        The file. It is not opened, since opening a pipe waits for a process that writes to it.
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
    for is_type, name in _IRREGULAR:
        if is_type(found.st_mode):
            message = f"{shown(path)} is a {name}. A regular file is expected here."
            raise error(message, where=Path(path), expected="regular file", found=name)
    if not os.access(path, os.R_OK):
        forbidden = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise unreadable(path, forbidden, error) from forbidden
    return found.st_size


def file_state(path: Path | str, error: type[ReseenError] = DataError) -> tuple[int, int, int]:
    """Return inode, size in bytes and time of change in ns of a file; while they are equal, its content is too.

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
        The error that was raised while it was read.
    error
        Type of the error that is returned.
    fix
        Advice for a damaged file; `FIX` by default.

    Returns
    -------
    ReseenError
        Its message depends on the cause: a lock, permissions, a missing file, memory, the system, or a damaged file.
        ``where`` is the path.
    """
    return error(_message(path, cause, fix or FIX), where=Path(path))


def _message(path: Path | str, cause: BaseException, fix: str) -> str:
    name, code, lock_code = shown(path), _code(cause), _lock_code(cause)
    if lock_code is not None:
        return _locked(name, lock_code)
    if isinstance(cause, MemoryError):
        return f"{name} declares more data than fit in memory. Check that it is complete and the right file."
    if code in (errno.EACCES, errno.EPERM):
        return f"no permission to read {name}. Ask its owner for read access to the file and to its folders."
    if code in (errno.ENOENT, errno.ENOTDIR):
        return f"{name} is missing. Check the path."
    if code == errno.ELOOP:
        return f"{name} is a symbolic link that leads back to itself. Replace it by the file."
    if code == errno.EISDIR:
        return f"{name} is a folder. A regular file is expected here."
    if code == errno.ENAMETOOLONG or (isinstance(cause, ValueError) and "\0" in str(path)):
        return f"{name} is no path that this system can open. Check the path."
    if code in _OF_SYSTEM:
        return f"{name} could not be read: {_reason(cause)}. The file itself may be intact: try again."
    size = f"It has {Path(path).stat().st_size:,} bytes" if Path(path).is_file() else "It"
    return f"{name} cannot be read ({_reason(cause)}). {size} and seems truncated or damaged. {fix}"


def is_blocked(error: ReseenError) -> bool:
    """Return whether an error of `unreadable` is about a file that may be intact: locked, forbidden or out of reach."""
    cause = error.__cause__
    if cause is None:
        return False
    return _lock_code(cause) is not None or _code(cause) in (errno.EACCES, errno.EPERM, errno.ELOOP, *_OF_SYSTEM)


@contextmanager
def reading(path: Path | str, error: type[ReseenError] = DataError, fix: str | None = None) -> Iterator[None]:
    """Check a file, then turn each error of a library in the ``with`` block into one of reseen's errors.

    Parameters
    ----------
    path
        The file.
    error
        Type of the error.
    fix
        Advice for a damaged file; `FIX` by default.

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
        # libraries in Rust raise PanicException, which is no Exception
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
            raise
        raise unreadable(path, cause, error, fix) from cause


def shown(path: Path | str) -> str:
    """Return a path for printing, with control characters and line breaks escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(path))


def _code(cause: BaseException) -> int | None:
    code = getattr(cause, "errno", None)
    return code if isinstance(code, int) else None


def _lock_code(cause: BaseException) -> int | None:
    """Return the system's error number if a file could not be locked, or None."""
    found = _LOCK_FAILED.search(str(cause))
    if found is not None:
        return int(found[1])
    return _code(cause) if _code(cause) in (errno.EAGAIN, errno.ENOLCK) else None


def _locked(name: str, code: int) -> str:
    if code in _HELD:
        return (
            f"{name} is locked: another process has it open for writing. Wait for that process to end, or close the "
            "file there. If no process writes to it, set HDF5_USE_FILE_LOCKING=FALSE."
        )
    return (
        f"{name} cannot be locked: its disk has no locks. Set HDF5_USE_FILE_LOCKING=FALSE in the environment and run "
        "the same command again."
    )


def _reason(cause: BaseException) -> str:
    """Return the first line of a library's message, or the error's type if the message gives harmful advice."""
    message = str(getattr(cause, "strerror", None) or cause)
    first = shown(message.strip().partition("\n")[0])[:200].rstrip(". ")
    return first if first and not _HARMFUL.search(message) else type(cause).__name__
