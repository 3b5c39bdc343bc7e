"""Writing: images go to disk in threads of their own, while the next ones are made."""

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
    """Writer of images in threads of its own, in the order in which they are put; use it as a context manager.

    At the end of the ``with`` block every image is on disk, also where the block is left by an error. What stops the
    writing, such as a full disk, is raised by the next :meth:`put` or at the end; images after it are not written,
    and the next run makes them again.

    Parameters
    ----------
    save
        Writes one image to a path, whole or not at all.
    at_most
        So many images wait to be written; whoever makes more waits too. That bounds the memory and what a kill costs.
    n_threads
        How many threads write, each an image of its own. Compression and the disk let others work meanwhile.
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
        """Have an image written, ``(height, width, 3)`` uint8; wait while too many are waiting already.

        Raises
        ------
        ResultsError
            If an earlier one could not be written.
        """
        self._raise()
        self._waiting.put((path, image))

    def __enter__(self) -> Writer:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all is written; say what went wrong, unless something else went wrong before."""
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
                except BaseException as error:  # it is raised where the images are made
                    self._error = error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
