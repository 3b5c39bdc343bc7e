"""Units of work, what they share, and who does them here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar


class Context(Protocol):
    """Protocol of the data that the units of a job share."""

    @property
    def needs_gpu(self) -> bool:
        """Whether a unit needs a GPU of its own."""
        ...

    def lend(self, folder: Path) -> Callable[[], Self]:
        """Write what a worker needs into an empty folder that it sees, and give the function that takes it up there."""
        ...


C = TypeVar("C", bound=Context)
U = TypeVar("U")
R = TypeVar("R")


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is."""


class Executor(Protocol):
    """Do units of work, somewhere."""

    progress: Progress | None
    """Called while units wait for workers; `reseen.pipeline.run` sets it."""

    def run(self, work: Callable[[C, U], R], units: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every unit, and give its number and its result as soon as it is done, in whatever order.

        Parameters
        ----------
        work
            Function of a module, called with the context and a unit. It may be called twice for one unit.
        units
            What to do, small and plain.
        context
            What they share.

        Raises
        ------
        ClusterError
            If workers cannot be reached, or a unit loses one after the other.
        ReseenError
            Whatever ``work`` raises.
        """
        ...


class Serial:
    """Executor of units in this process, one after the other."""

    progress: Progress | None = None

    def run(self, work: Callable[[C, U], R], units: Sequence[U], context: C) -> Iterator[tuple[int, R]]:
        """Do every unit; see `Executor.run`."""
        for number, unit in enumerate(units):
            yield number, work(context, unit)
