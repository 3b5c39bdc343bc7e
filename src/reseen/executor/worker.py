"""What happens on a worker: it makes the context of its units once, and keeps it from one unit to the next."""

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
from reseen.files import writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

U = TypeVar("U")
R = TypeVar("R")


@dataclass(frozen=True)
class Loan:
    """A worker how to make its own context; the key says whether it has it already."""

    key: str
    take_up: Callable[[], Any]


@dataclass
class _Kept:
    """Data that a worker keeps between units; its lock makes a worker with several threads do one at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    key: str = ""
    context: Any = None

    def take_up(self, loan: Loan) -> Any:
        if self.key != loan.key:
            self.key, self.context = "", None  # let go of one before the next is made
            self.context = loan.take_up()
            self.key = loan.key
        return self.context


def do_unit(unit: U, *, work: Callable[[Any, U], R], loan: Loan) -> tuple[R, list[tuple[type[Warning], str]]]:
    """Do one unit on a worker; give its result and what it warned of."""
    kept = _kept()
    with kept.lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work(kept.take_up(loan), unit)
    return result, [(found.category, str(found.message)) for found in caught if issubclass(found.category, UserWarning)]


def _kept() -> _Kept:
    from distributed import get_worker

    kept: _Kept = get_worker().__dict__.setdefault("reseen", _Kept())
    return kept


def forget(dask_worker: Any) -> None:
    """Forget the context that a worker keeps, so that a running cluster gets its memory back."""
    dask_worker.__dict__.pop("reseen", None)


def is_installed() -> None:
    """Do nothing: that a worker finds this function says that it has reseen."""


def write_shared(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into the folder of a context, one npy file each.

    Raises
    ------
    ResultsError
        If there is no room.
    """
    for name, array in arrays.items():
        with writing(folder / f"{name}.npy") as part, part.open("wb") as file:
            np.save(file, array, allow_pickle=False)


def read_shared(folder: Path) -> dict[str, NDArray[Any]]:
    """Map the arrays of a context into memory; the workers of one machine share it.

    Raises
    ------
    ClusterError
        If the folder is not there: this worker does not see the disk.
    """
    check_seen(folder)
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}


def check_seen(folder: Path) -> None:
    """Make sure that a worker sees a folder.

    Raises
    ------
    ClusterError
        If it does not.
    """
    if not folder.is_dir():
        raise ClusterError(
            f"a worker on {socket.gethostname()} sees no folder {folder}. Results have to lie on a disk that all "
            "workers see under the same path; give such a folder with --out."
        )
