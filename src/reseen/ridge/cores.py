"""Pieces of one fit side by side on the cores of this machine, each with one thread of BLAS.

Folds, penalties and blocks of targets do not know of each other. A product on two threads is not always the same bytes
as on one, and a decomposition hardly gains from the second; a piece on one thread is the same bytes however many
pieces run beside it. There are as many side by side as BLAS would use threads: ``OMP_NUM_THREADS`` decides, and a Dask
worker has one. The number of threads belongs to the whole process: it is one while any piece is at work, and comes back
when none is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from reseen.ridge.device import Device

BYTES_AT_ONCE = 2**33  # of memory, for all pieces that are begun

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Cores:
    """Do pieces of work side by side; without threads, one after the other."""

    threads: ThreadPoolExecutor | None = None
    n: int = 1

    def map(self, work: Callable[[T], R], items: Iterable[T], *, item_bytes: int = 0) -> Iterator[R]:
        """Return the results in the order of the items, which are drawn here, and only a few before they are asked for.

        Parameters
        ----------
        item_bytes
            Memory that work on one item needs, its result included: fewer are begun where that would be too much.
        """

        def piece(item: T) -> R:
            with one_thread():  # and not around the loop: what is done with a result has all threads again
                return work(item)

        if self.threads is None:
            yield from map(piece, items)
            return
        n_begun = max(1, min(self.n + 1, BYTES_AT_ONCE // max(item_bytes, 1)))
        begun: deque[Future[R]] = deque()
        try:
            for item in items:
                begun.append(self.threads.submit(piece, item))
                if len(begun) == n_begun:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def side_by_side(device: Device) -> Iterator[Cores]:
    """Return the cores that pieces of work may use; torch has threads, or a GPU, of its own and is given one."""
    n = n_threads() if device.name == "numpy" else 1
    if n == 1:
        yield Cores()
        return
    with ThreadPoolExecutor(n, thread_name_prefix="ridge") as threads:
        yield Cores(threads, n)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have BLAS use one thread in a ``with`` block; blocks may overlap, in any thread and in any order."""
    with _holders.lock:
        _take_over()
        limit = _blas().limit(limits=1, user_api="blas")  # each time: some libraries count threads for each thread
        _holders.first = _holders.first if _holders.count else limit
        _holders.count += 1
    try:
        yield
    finally:
        with _holders.lock:
            _holders.count -= 1
            if not _holders.count:
                _take_over()
                _holders.first.restore_original_limits()
                _take_over()


@dataclass
class _Holders:
    """Count who has BLAS at one thread; the first knows how many it had."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    first: Any = None


_holders = _Holders()


def _take_over() -> None:
    """Allow any thread to set the number; threadpoolctl 3.8 ignores all but the one that has set it first."""
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


def n_threads() -> int:
    """Return how many threads BLAS would use now."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@cache
def _blas() -> Any:
    import scipy.linalg.cython_lapack  # noqa: F401  (it has a BLAS of its own, to be found here)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
