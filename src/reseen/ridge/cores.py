"""Parts of one calculation side by side on the cores of this machine, each with one thread of BLAS.

A product on two threads is not always the same bytes as on one; a part on one thread is the same bytes however many run
beside it. As many run side by side as BLAS would use threads: ``OMP_NUM_THREADS`` decides, a Dask worker has one. The
number of threads belongs to the process: it is one while any part is calculated, and is restored afterwards.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from reseen.ridge.device import Device

BYTES_AT_ONCE = 2**33  # of memory, for all parts that are started
T = TypeVar("T")
R = TypeVar("R")


def side_by_side(
    work: Callable[[T], R], items: Iterable[T], *, device: Device | None = None, item_bytes: int = 0
) -> Iterator[R]:
    """Yield ``work(item)`` in the order of the items; only a few are started before their result is asked for.

    Fewer are started where ``item_bytes``, the memory for an item and its result, would be too much; one at a time
    where torch is the device, since it has threads, or a GPU, of its own.
    """

    def part(item: T) -> R:
        with one_thread():  # not around the loop: the caller has all threads while it uses a result
            return work(item)

    n = n_threads() if device is None or device.name == "numpy" else 1
    if n == 1:
        yield from map(part, items)
        return
    started: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n, thread_name_prefix="ridge") as threads:
        try:
            for item in items:
                started.append(threads.submit(part, item))
                if len(started) == max(1, min(n + 1, BYTES_AT_ONCE // max(item_bytes, 1))):
                    yield started.popleft().result()
            while started:
                yield started.popleft().result()
        finally:
            for future in started:
                future.cancel()


_lock = threading.Lock()
_limits: list[Any] = []  # of the ``with`` blocks that are open; the first knows how many threads there were


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread in a ``with`` block; blocks may overlap, in any thread and in any order."""
    with _lock:
        _take_over()
        _limits.append(_blas().limit(limits=1, user_api="blas"))  # each time: some libraries count by thread
    try:
        yield
    finally:
        with _lock:
            last = _limits.pop(1 if len(_limits) > 1 else 0)  # any but the first, which is restored at the end
            if not _limits:
                _take_over()
                last.restore_original_limits()
                _take_over()


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
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
