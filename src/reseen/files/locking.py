"""Locks of folders: one process at a time writes to a folder."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reseen.errors import ResultsError
from reseen.files.reading import shown

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
"""Name of the file in a folder that is locked. It contains the name of the process, for the messages of others."""
CLAIM = ".lock.held"
"""Name of the file that replaces the lock on a disk without locks: the process that creates it holds the folder."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Held:
    """Folder that this process holds until :meth:`close`, or until the process ends."""

    def __init__(self, held: BaseFileLock) -> None:
        self._held = held

    def close(self) -> None:
        """Release the folder."""
        self._held.release()


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
        If another process holds the folder, or it cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    # thread_local=False: a thread may release what another thread locked
    file = path / LOCK
    held: BaseFileLock = FileLock(file, timeout=0, thread_local=False, fallback_to_soft=False)
    try:
        try:
            held.acquire()
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            file = path / CLAIM
            held = SoftFileLock(file, timeout=0, thread_local=False)
            held.acquire()
    except Timeout:
        raise _in_use(path, file) from None
    except OSError as error:
        message = f"cannot write to the results folder {shown(path)}: {error.strerror}."
        raise ResultsError(message, where=path) from error
    with suppress(OSError):  # on a full disk, the lock holds without the name
        (path / LOCK).write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return Held(held)


def _in_use(path: Path, file: Path) -> ResultsError:
    """Return the error for a folder that another process holds by a file."""
    holder = ""
    with suppress(OSError):  # Windows forbids reading a locked file
        holder = file.read_text(encoding="utf-8", errors="replace")[:200]
    more = ""
    if file.name == CLAIM:
        number, host, *_ = [*holder.split(), "?", "?"]  # filelock writes the process and its machine
        holder = f"process {number} on {host}"
        more = f" If that process has ended, delete {shown(file)}."
    who = shown(holder.strip()) or "another process"
    message = f"{shown(path)} is in use by {who}. Wait for it to end, or choose another --out.{more}"
    return ResultsError(message, where=path, found=who)
