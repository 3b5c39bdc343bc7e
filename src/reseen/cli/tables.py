"""Tables on the terminal: how a number looks."""

from __future__ import annotations


def number(value: float) -> str:
    """Return a number with three digits, and nothing for one that is not known."""
    return f"{value:.3f}" if value == value else ""


def chance(p: float) -> str:
    """Return a p-value with four digits, none where it is not known, and no zero where it is small."""
    return "" if p != p else "<.0001" if p < 0.0001 else f"{p:.4f}"
