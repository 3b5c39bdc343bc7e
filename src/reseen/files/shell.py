"""Commands for a shell, with every word quoted, so that a file's name cannot act as a command."""

from __future__ import annotations

import shlex


def shell_line(*words: object) -> str:
    """Return words as one line that a shell reads as exactly these words.

    A word with control characters is written as ``$'...'``, which bash and zsh read, and is safe to print.
    """
    return " ".join(_quoted(str(word)) for word in words)


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_escaped(sign) for sign in word) + "'"


def _escaped(sign: str) -> str:
    if sign in "'\\":
        return "\\" + sign
    if sign.isprintable():
        return sign
    return "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "surrogateescape"))
