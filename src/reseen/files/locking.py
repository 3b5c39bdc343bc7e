"""Hold a folder, so that no other process writes to it at the same time."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from reseen.errors import ResultsError


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
