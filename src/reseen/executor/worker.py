"""Worker: it loads the context of its tasks once, and keeps it from one task to the next."""

from __future__ import annotations

import socket
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from reseen.errors import ClusterError
from reseen.files import shown, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

U = TypeVar("U")
R = TypeVar("R")


@dataclass(frozen=True)
class SharedContext:
    """Function that loads a context on a worker; the key identifies a context that is already loaded."""

    key: str
    load: Callable[[], Any]


@dataclass
class _Kept:
    """Context that a worker keeps between tasks; with its lock, a worker of several threads does one task at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    key: str = ""
    context: Any = None

    def load(self, shared: SharedContext) -> Any:
        if self.key != shared.key:
            self.key, self.context = "", None  # release one before the next is loaded
            self.context = shared.load()
            self.key = shared.key
        return self.context


def do_task(
    task: U, *, work: Callable[[Any, U], R], shared: SharedContext
) -> tuple[R, list[tuple[type[Warning], str]]]:
    """Do one task on a worker; return its result and its warnings."""
    kept = _kept()
    with kept.lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work(kept.load(shared), task)
    return result, [(found.category, str(found.message)) for found in caught if issubclass(found.category, UserWarning)]


def _kept() -> _Kept:
    from distributed import get_worker

    kept: _Kept = get_worker().__dict__.setdefault("reseen", _Kept())
    return kept


def forget(dask_worker: Any) -> None:
    """Delete the context that a worker keeps, which frees memory of a running cluster."""
    dask_worker.__dict__.pop("reseen", None)


def is_installed() -> None:
    """Do nothing; a worker that can import this function has reseen."""


def write_shared(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into the folder of a context, one npy file each.

    Raises
    ------
    ResultsError
        If they cannot be written, for example on a full disk.
    """
    for name, array in arrays.items():
        with writing(folder / f"{name}.npy") as part, part.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def read_shared(folder: Path) -> dict[str, NDArray[Any]]:
    """Map the arrays of a context into memory; the workers of one machine share it.

    Raises
    ------
    ClusterError
        If this worker cannot find the folder.
    """
    check_seen(folder)
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}


def check_seen(folder: Path) -> None:
    """Check that a worker can find a folder.

    Raises
    ------
    ClusterError
        If it does not.
    """
    if not folder.is_dir():
        raise ClusterError(
            f"a worker on {socket.gethostname()} cannot find the folder {shown(folder)}. Results must be on a disk "
            "that all workers can use under the same path; choose such a folder with --out.",
            where=folder,
        )
