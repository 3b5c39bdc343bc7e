"""Pieces of one fit side by side on the cores of this machine, each with one thread of BLAS.

Folds, penalties and blocks of targets do not know of each other. A product on two threads is not always the same bytes
as on one, and a decomposition hardly gains from the second; a piece on one thread is the same bytes however many
pieces run beside it. There are as many side by side as BLAS would use threads: ``OMP_NUM_THREADS`` decides, and a Dask
worker has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
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
        """Give the results in the order of the items, which are drawn here, and only a few before they are asked for.

        Parameters
        ----------
        item_bytes
            Memory that work on one item needs, its result included: fewer are begun where that would be too much.
        """
        if self.threads is None:
            yield from map(work, items)
            return
        n_begun = max(1, min(self.n + 1, BYTES_AT_ONCE // max(item_bytes, 1)))
        begun: deque[Future[R]] = deque()
        try:
            for item in items:
                begun.append(self.threads.submit(work, item))
                if len(begun) == n_begun:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def side_by_side(device: Device) -> Iterator[Cores]:
    """Give the cores that pieces of work may use; torch has threads, or a GPU, of its own and is given one."""
    n = n_threads() if device.name == "numpy" else 1
    with one_thread():
        if n == 1:
            yield Cores()
            return
        with ThreadPoolExecutor(n, thread_name_prefix="ridge") as threads:
            yield Cores(threads, n)


def one_thread() -> AbstractContextManager[Any]:
    """Have BLAS use one thread in a ``with`` block."""
    limit: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limit


def n_threads() -> int:
    """Give how many threads BLAS would use now."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@cache
def _blas() -> Any:
    import scipy.linalg.cython_lapack  # noqa: F401  (it has a BLAS of its own, to be found here)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
