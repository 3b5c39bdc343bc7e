"""Finding: result of one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reseen.errors import ReseenError
from reseen.files import unreadable


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Parameters
    ----------
    what
        Name of the requirement.
    found
        Result, and how to fix it if the recipe cannot run.
    more
        Further lines: files, and commands to copy.
    error
        The error for which a run is refused, or None.
    absent
        Whether it is missing and the run continues without it.
    """

    what: str
    found: str
    more: tuple[str, ...] = ()
    error: ReseenError | None = None
    absent: bool = False

    @property
    def ok(self) -> bool:
        """Whether the recipe can run with it."""
        return self.error is None

    @property
    def mark(self) -> str:
        """Two letters for a list: ``ok``, ``--`` where the run continues without it, ``NO`` where it cannot run."""
        if self.error is not None:
            return "NO"
        return "--" if self.absent else "ok"


def refused(what: str, error: ReseenError, *more: str) -> Finding:
    """Return a finding for which a run is refused, with the run's error message."""
    return Finding(what, str(error), more, error)


def finding_of(what: str, find: Callable[[], str]) -> Finding:
    """Return the finding that ``find`` describes, or its error as a refusal."""
    try:
        return Finding(what, find())
    except ReseenError as error:
        return refused(what, error)
    except OSError as error:  # for example a folder without permission
        return refused(what, unreadable(error.filename or what, error))
