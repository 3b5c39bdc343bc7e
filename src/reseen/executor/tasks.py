"""Tasks, their shared context, and the executor that runs them in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar


class Context(Protocol):
    """Protocol of the data that the tasks of a job share."""

    @property
    def needs_gpu(self) -> bool:
        """Whether a task needs a GPU of its own."""
        ...

    def share(self, folder: Path) -> Callable[[], Self]:
        """Write the data for workers into an empty folder that they can read; return the function that loads them."""
        ...


C = TypeVar("C", bound=Context)
U = TypeVar("U")
R = TypeVar("R")


Progress = Callable[[str, int, int], None]
"""Callback ``(step, n_done, n_total)``."""


class Executor(Protocol):
    """Protocol of an executor of tasks."""

    progress: Progress | None
    """Called while tasks wait for workers; `reseen.pipeline.run` sets it."""

    def run(self, work: Callable[[C, U], R], tasks: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every task, and yield its number and its result as soon as it is done, in any order.

        Parameters
        ----------
        work
            Function of a module, called with the context and a task. It may be called twice for one task.
        tasks
            Small values that describe each task.
        context
            Data that all tasks share.

        Raises
        ------
        ClusterError
            If workers cannot be reached, or if one task ends several workers.
        ReseenError
            Any error of ``work``.
        """
        ...


class Serial:
    """Executor of tasks in this process, one after the other."""

    progress: Progress | None = None

    def run(self, work: Callable[[C, U], R], tasks: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every task; see `Executor.run`."""
        for number, task in enumerate(tasks):
            yield number, work(context, task)
