"""Terminal: all printed text, to streams that may be closed, broken or limited in their encoding.

Text is printed in UTF-8 whatever the locale is, unless PYTHONIOENCODING names another encoding; a character that this
encoding lacks is replaced by one that it has. Control characters of a name are escaped. A closed pipe ends the
printing, not the run.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from reseen.errors import ResultsError

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN = {
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "…": "...",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "²": "2",
    "≥": ">=",
}
"""Replacements of characters that an encoding lacks; any other loses its accents, or becomes a question mark."""
COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
"""Control sequence of rich for a colour; all other control sequences are escaped."""
STOPPED_BY = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
if hasattr(signal, "SIGHUP"):
    STOPPED_BY[signal.SIGHUP] = "SIGHUP"

EXIT_CODES = {
    0: "success",
    1: "an error with a message, or a recipe that `reseen check` refuses",
    2: "wrong usage, such as an unknown option",
    129: "stopped by SIGHUP",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}
"""Exit codes of the command line: 128 and the number of the signal, where a signal stops it."""


@dataclass
class Verbosity:
    """What is printed besides results, warnings and errors.

    Parameters
    ----------
    quiet
        Whether progress is hidden.
    verbose
        Whether warnings of libraries and the traceback of an error are printed too.
    """

    quiet: bool = False
    verbose: bool = False


VERBOSITY = Verbosity()
"""Options -q and -v of the command that runs."""


class Stopped(KeyboardInterrupt):
    """Signal that ends the program; like Ctrl-C it unwinds the stack, so that open files are cleaned up.

    Parameters
    ----------
    number
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(STOPPED_BY[signal.Signals(number)])  # the log names it
        self.number = number


def prepare() -> None:
    """Make the standard streams safe to print to; let SIGTERM and SIGHUP stop the program as Ctrl-C does."""
    VERBOSITY.quiet = VERBOSITY.verbose = False
    codecs.register_error("reseen.plain", _plain)
    _fill()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until the end)
        elif isinstance(stream, io.TextIOWrapper):
            # a recipe that is printed into a file is read as UTF-8, so the locale must not decide
            chosen = None if os.environ.get("PYTHONIOENCODING") else "utf-8"
            stream.reconfigure(encoding=chosen, errors="reseen.plain")
    for number in STOPPED_BY:
        if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            with suppress(ValueError):  # not in the main thread
                signal.signal(number, _stop)


def _fill() -> None:
    """Open the null device under the number of each closed standard stream; otherwise a file would get that number."""
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_nearest, lacking)), error.end


def _nearest(sign: str) -> str:
    plain = PLAIN.get(sign, unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode())
    return plain or "?"


def say(text: str, *, err: bool = False) -> None:
    """Print a text and a line break; control characters in it are escaped.

    Raises
    ------
    ResultsError
        If standard output cannot be written, for example on a full disk.
    """
    _write(_clean(text) + "\n", err=err)


def say_table(*parts: RenderableType) -> None:
    """Print tables and texts as wide as the terminal, or 120 columns wide into a file; errors are those of `say`."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    console = Console(markup=False, highlight=False, width=width)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    pieces = COLOUR.split(captured.get())
    pieces[::2] = map(_clean, pieces[::2])
    _write("".join(pieces), err=False)


def _clean(text: str) -> str:
    from reseen.files.reading import shown

    return "\n".join(shown(line) for line in text.split("\n"))


def _write(text: str, *, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _drop(stream)
    except (OSError, ValueError) as error:  # a full disk; a stream that was closed
        _drop(stream)
        if not err:
            raise ResultsError(
                f"cannot write to standard output: {getattr(error, 'strerror', None) or error}."
            ) from error


def _drop(stream: TextIO) -> None:
    """Redirect a closed stream to the null device, so that the run continues and the program ends without an error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show the current step and the remaining time: bars on a terminal, dated lines elsewhere, nothing with -q."""
    if VERBOSITY.quiet:
        yield lambda _step, _n_done, _n_total: None
        return
    if not sys.stderr.isatty():
        from reseen.pipeline.log import Lines

        yield Lines(lambda line: say(line, err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    from reseen.files.reading import shown

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def show(step: str, n_done: int, n_total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(shown(step), total=n_total)
            bars.update(tasks[step], completed=n_done, total=n_total)

        yield show
