"""Writer: threads that write images to disk while the next ones are generated."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Save = Callable[[Path, "NDArray[np.uint8]"], None]


class Writer:
    """Writer of images in threads of its own, in the order of :meth:`put`; use it as a context manager.

    At the end of the ``with`` block every image is on disk, also after an error in the block. An error of the writing,
    such as a full disk, is raised by the next :meth:`put` or at the end of the block. Images after it are not written,
    and the next run generates them again.

    Parameters
    ----------
    save
        Function that writes one image to a path, complete or not at all.
    at_most
        Maximum number of images that wait to be written; with more, :meth:`put` waits. This limits the memory, and the
        images that a kill loses.
    n_threads
        Number of threads. Compression and disk access release Python's lock, so that threads run in parallel.
    """

    def __init__(self, save: Save, at_most: int, *, n_threads: int = 1) -> None:
        self._save = save
        self._waiting: queue.Queue[tuple[Path, NDArray[np.uint8]] | None] = queue.Queue(at_most)
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"reseen-writer-{number}", daemon=True)
            for number in range(n_threads)
        ]

    def put(self, path: Path, image: NDArray[np.uint8]) -> None:
        """Queue an image ``(height, width, 3)`` uint8 for writing; wait while the queue is full.

        Raises
        ------
        ResultsError
            If an earlier image could not be written.
        """
        self._raise()
        self._waiting.put((path, image))

    def __enter__(self) -> Writer:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all images are written; raise an error of the writing unless the block raised one."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        if error is None:
            self._raise()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._save(*job)
                except BaseException as error:  # `put` and `__exit__` raise it in the main thread
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
