"""Messages: records of a recording, as JSON for the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reseen.live.recording import BadRecord, ImageRecord, TrialRecord

PRESENTED = "presented"
"""Name of the file of the presented image, without its ending."""


def trial_message(record: TrialRecord, folder: Path, start: str | None) -> dict[str, Any]:
    """Return the message of a decoded trial, whose files are in ``folder``; ``start`` names the image of its start."""
    return {
        "kind": "trial",
        "number": record.number,
        "file": record.file,
        "session": record.session,
        "stimulus": record.stimulus_id,
        "arrived": record.arrived,
        "seconds": record.seconds,
        "confidence": record.confidence,
        "start": start is not None and (folder / f"{start}.png").is_file(),
        "presented": (folder / f"{PRESENTED}.png").is_file(),
    }


def image_message(number: int, record: ImageRecord, folder: Path, condition: str) -> dict[str, Any]:
    """Return the message of the image of a trial."""
    return {
        "kind": "image",
        "number": number,
        "seconds": record.seconds,
        "error": record.error,
        "shown": (folder / f"{condition}.png").is_file(),
    }


def bad_message(record: BadRecord) -> dict[str, Any]:
    """Return the message of a file that cannot be used."""
    return {"kind": "bad", "file": record.file, "error": record.error, "time": record.time}
