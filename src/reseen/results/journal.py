"""Journal: warnings and times of a results folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from reseen.errors import ResultsError
from reseen.files import read_json, write_json
from reseen.results.layout import Layout
from reseen.results.records import StageTime, ended, started


class Journal(Layout):
    """Warnings and times of a results folder."""

    def add_warning(self, text: str) -> None:
        """Record a warning for readers of the results, once."""
        known = self.warnings
        if text not in known:
            write_json(self.path / "warnings.json", {"warnings": [*known, text]})

    def drop_warnings(self, ending: str) -> None:
        """Delete the warnings whose text ends with ``ending``."""
        known = self.warnings
        kept = [text for text in known if not text.endswith(ending)]
        if not kept:
            (self.path / "warnings.json").unlink(missing_ok=True)
        elif kept != known:
            write_json(self.path / "warnings.json", {"warnings": kept})

    @property
    def warnings(self) -> list[str]:
        """Warnings of the run."""
        found: dict[str, list[str]] = self.read_record("warnings.json", dict[Literal["warnings"], list[str]])
        return found.get("warnings", [])

    def begin_stage(self, stage: str, device: str) -> None:
        """Record that a stage runs, so that a kill before its end is recorded too."""
        times = self.times
        self._write_times({**times, stage: started(times.get(stage), device)})

    def end_stage(self, stage: str, seconds: float | None) -> None:
        """Add seconds to the time of a running stage; None if no result was missing."""
        times = self.times
        entry = ended(times.pop(stage), seconds)
        self._write_times({**times, stage: entry} if entry is not None else times)

    def _write_times(self, times: Mapping[str, StageTime]) -> None:
        write_json(self.path / "times.json", {stage: entry.model_dump() for stage, entry in times.items()})

    @property
    def times(self) -> dict[str, StageTime]:
        """Time of each stage, summed over runs."""
        found: dict[str, StageTime] = self.read_record("times.json", dict[str, StageTime])
        return found

    def read_record(self, name: str, schema: Any) -> Any:
        """Read a JSON file of this folder, or return an empty dict if there is none."""
        path = self.path / name
        if not os.path.lexists(path):
            return {}
        return read_json(path, schema, ResultsError, fix="Delete it and run the recipe again.")
