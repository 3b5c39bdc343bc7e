"""Tables on the terminal: where they are printed to, and how a number looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Give where tables are printed to: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 120)


def number(value: float) -> str:
    """Give a number with three digits, and nothing for one that is not known."""
    return f"{value:.3f}" if value == value else ""


def chance(p: float) -> str:
    """Give a p-value with four digits, none where it is not known, and no zero where it is small."""
    return "" if p != p else "<.0001" if p < 0.0001 else f"{p:.4f}"
