"""Finding: what was found of one thing that a run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reseen.errors import ReseenError
from reseen.files import unreadable


@dataclass(frozen=True)
class Finding:
    """What was found of one thing that a run needs.

    Parameters
    ----------
    what
        The thing.
    found
        What was found, and how to fix it where the recipe cannot run with it.
    more
        Further lines: files, and commands to copy.
    error
        Why a run refuses it; None where it does not.
    absent
        Whether it is not there and the run does without it.
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
        """Two letters for a list: ``ok``, ``--`` where the run does without it, ``NO`` where it cannot run."""
        if self.error is not None:
            return "NO"
        return "--" if self.absent else "ok"


def refused(what: str, error: ReseenError, *more: str) -> Finding:
    """Return the finding of something that a run refuses, in the words of the run."""
    return Finding(what, str(error), more, error)


def look_at(what: str, look: Callable[[], str]) -> Finding:
    """Return what ``look`` says of a thing, or what it raises as a refusal."""
    try:
        return Finding(what, look())
    except ReseenError as error:
        return refused(what, error)
    except OSError as error:  # of a folder that may not be entered, above all
        return refused(what, unreadable(error.filename or what, error))
