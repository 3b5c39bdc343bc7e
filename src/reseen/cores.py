"""Parts of one calculation in parallel on the cores of this machine, each with one thread of BLAS.

A matrix product on two BLAS threads does not always have the same bytes as on one. A part on one thread has the same
bytes however many parts run in parallel. The number of parallel parts is the number of threads that BLAS would use:
``OMP_NUM_THREADS``, or 1 on a Dask worker. The number of BLAS threads is a property of the process: it is 1 while any
part is calculated, and is restored afterwards.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

BYTES_AT_ONCE = 2**33  # memory (bytes) of all parts that are started
T = TypeVar("T")
R = TypeVar("R")


def map_parallel(
    work: Callable[[T], R], items: Iterable[T], *, on_cores: bool = True, item_bytes: int = 0
) -> Iterator[R]:
    """Yield ``work(item)`` in the order of the items; at most one item more than there are threads is in progress.

    Fewer items are in progress if ``item_bytes``, the memory of an item and its result, would exceed `BYTES_AT_ONCE`.
    Without ``on_cores``, items are processed one by one: torch has its own threads, or a GPU.
    """

    def part(item: T) -> R:
        with one_thread():  # not around the loop: the caller has all threads while it uses a result
            return work(item)

    n = n_threads() if on_cores else 1
    if n == 1:
        yield from map(part, items)
        return
    most = max(1, min(n + 1, BYTES_AT_ONCE // max(item_bytes, 1)))
    started: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n, thread_name_prefix="reseen") as threads:
        try:
            for item in items:
                started.append(threads.submit(part, item))
                if len(started) == most:
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()
        finally:
            for future in started:
                future.cancel()


_lock = threading.Lock()
_limits: list[Any] = []  # one for each open ``with`` block; the first one stores the original number of threads


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a ``with`` block; blocks may overlap, in any thread and in any order."""
    with _lock:
        _release_control()
        _limits.append(_blas().limit(limits=1, user_api="blas"))  # each time: some libraries count by thread
    try:
        yield
    finally:
        with _lock:
            last = _limits.pop(1 if len(_limits) > 1 else 0)  # any but the first, which is restored at the end
            if not _limits:
                _release_control()
                last.restore_original_limits()
                _release_control()


def _release_control() -> None:
    """Allow any thread to set the number; threadpoolctl 3.8 ignores all threads but the first that set it."""
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


def n_threads() -> int:
    """Return the number of threads that BLAS would use now."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
