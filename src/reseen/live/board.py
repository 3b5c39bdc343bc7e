"""Board: what happened so far, as messages for pages; one thread writes, others read."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]
"""JSON of one message. Its ``kind`` is trial, image, bad or state."""


class Board:
    """Messages in order; a reader asks for those after a number.

    Examples
    --------
    >>> board = Board()
    >>> board.publish({"kind": "state", "text": "waiting"})
    >>> board.since(0), board.since(1)
    (({'kind': 'state', 'text': 'waiting'},), ())
    """

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._lock = threading.Lock()

    def publish(self, message: Message) -> None:
        """Add a message."""
        with self._lock:
            self._messages.append(message)

    def since(self, number: int) -> tuple[Message, ...]:
        """Return the messages after the first ``number``."""
        with self._lock:
            return tuple(self._messages[number:])
