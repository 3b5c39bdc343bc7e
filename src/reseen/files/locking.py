"""Locks of folders: one process at a time writes to a folder."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from reseen.errors import ResultsError
from reseen.files.reading import shown

LOCK = ".lock"
"""Name of the file in a folder that is locked."""
CLAIM = ".lock.held"
"""Name of the file that replaces the lock on a disk without locks: the process that creates it holds the folder."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Held:
    """Folder that this process holds until :meth:`close`, or until the process ends."""

    def __init__(self, file: int, claim: Path | None = None) -> None:
        self._file, self._claim = file, claim

    def close(self) -> None:
        """Release the folder."""
        if self._claim is not None:
            self._claim.unlink(missing_ok=True)
            self._claim = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def lock(path: Path) -> Held:
    """Lock a folder by an advisory lock, which the system releases when the process ends, also when it is killed.

    On a disk without locks, a file that only one process can create replaces the lock. Such a file remains when its
    process is killed. Another process of the same machine removes it; on another machine, the error message names it.

    Parameters
    ----------
    path
        The folder.

    Returns
    -------
    Held
        Close it to release the folder.

    Raises
    ------
    ResultsError
        If another process holds the folder, it cannot be written, or the system has no locks of this type.
    """
    try:
        import fcntl
    except ImportError as error:
        raise ResultsError(
            "reseen writes results on Linux and macOS only: this Python has no file locks (module fcntl). On Windows, "
            "run it in the Windows Subsystem for Linux (WSL)."
        ) from error
    try:
        file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        message = f"cannot write to the results folder {shown(path)}: {error.strerror}."
        raise ResultsError(message, where=path) from error
    try:
        claim = _lock_file(path, file, fcntl)
    except BaseException:
        os.close(file)
        raise
    return Held(file, claim)


def _lock_file(path: Path, file: int, fcntl: Any) -> Path | None:
    """Lock the open file and write the name of this process in it; return the file that replaces a missing lock."""
    me = f"process {os.getpid()} on {socket.gethostname()}"
    claim = None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(path, os.pread(file, 200, 0).decode(errors="replace")) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            message = f"cannot lock the results folder {shown(path)}: {error.strerror}."
            raise ResultsError(message, where=path) from error
        claim = _create(path / CLAIM, me)
    with suppress(OSError):  # on a full disk, the lock holds without the name
        os.ftruncate(file, 0)
        os.pwrite(file, f"{me}\n".encode(), 0)
    return claim


def _create(claim: Path, me: str) -> Path:
    """Create the file that replaces a lock, after removing one whose process on this machine has ended."""
    try:
        if claim.exists() and _has_ended(_holder(claim)):
            _remove_ended(claim)
        with claim.open("x", encoding="utf-8") as file:
            file.write(me)
    except FileExistsError:
        raise _in_use(claim.parent, _holder(claim), f" If that process has ended, delete {shown(claim)}.") from None
    except OSError as error:
        message = f"cannot write to the results folder {shown(claim.parent)}: {error.strerror}."
        raise ResultsError(message, where=claim.parent) from error
    return claim


def _remove_ended(claim: Path) -> None:
    """Remove the file of a process that has ended, unless another process replaced it in the meantime."""
    aside = claim.with_name(f"{claim.name}.{os.getpid()}")
    with suppress(FileNotFoundError):  # another process removed it
        claim.rename(aside)
        if _has_ended(_holder(aside)):
            aside.unlink()
        else:
            aside.rename(claim)


def _holder(claim: Path) -> str:
    with suppress(OSError):
        return claim.read_text(encoding="utf-8", errors="replace")[:200]
    return ""


def _has_ended(holder: str) -> bool:
    """Return whether a holder is a process of this machine that has ended."""
    words = holder.split()  # "process NUMBER on HOST"
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdigit():
        return False
    try:
        os.kill(int(words[1]), 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _in_use(path: Path, holder: str, more: str = "") -> ResultsError:
    who = shown(holder.strip()) or "another process"
    message = f"{shown(path)} is in use by {who}. Wait for it to end, or choose another --out.{more}"
    return ResultsError(message, where=path, found=who)
