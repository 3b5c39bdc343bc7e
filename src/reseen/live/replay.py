"""Replay: the messages of a recording, at the times of the recording."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from reseen.conditions import in_role
from reseen.errors import RecipeError
from reseen.live.board import Board
from reseen.live.messages import bad_message, image_message, trial_message
from reseen.live.recording import Recording

LONGEST_PAUSE = 30.0
"""Longest pause between two messages, in seconds of the recording; longer ones, such as between runs, are cut."""


def schedule(recording: Recording) -> list[tuple[float, dict[str, Any]]]:
    """Return the messages of a recording in order, each with its time in seconds from the first.

    An image that was generated after a restart comes with its trial.
    """
    condition, timed = recording.settings["condition"], []
    start = in_role(condition, "start")
    for record in recording.trials:
        folder = recording.folder(record.number)
        timed.append((record.arrived + record.seconds, trial_message(record, folder, start)))
        image = recording.images.get(record.number)
        if image is not None:
            after = record.seconds if image.seconds is None else image.seconds
            timed.append((record.arrived + after, image_message(record.number, image, folder, condition)))
    timed += [(bad.time, bad_message(bad)) for bad in recording.bad]
    timed.sort(key=lambda one: one[0])  # stable: an image stays behind its trial
    found, now, before = [], 0.0, timed[0][0] if timed else 0.0
    for at, message in timed:
        now += min(max(at - before, 0.0), LONGEST_PAUSE)
        before = at
        found.append((now, message))
    return found


def replay(recording: Recording, board: Board, stop: Callable[[], bool], *, speed: float = 1.0) -> None:
    """Publish the messages of a recording at their times, divided by ``speed``.

    Raises
    ------
    RecipeError
        If the speed is not a positive number.
    """
    if not speed > 0:
        raise RecipeError(f"speed is {speed}; a positive number is needed.", where="speed", found=speed)
    started = time.monotonic()
    for at, message in schedule(recording):
        while (left := started + at / speed - time.monotonic()) > 0:
            if stop():
                return
            time.sleep(min(left, 0.05))
        board.publish(message)
