"""Scheduler and worker of a local cluster, without HTTP servers, which any user of the machine could read."""

from __future__ import annotations

from typing import Any

from distributed import Scheduler, Worker


class SilentScheduler(Scheduler):  # type: ignore[misc]
    """Scheduler that listens for its workers and its client only."""

    def start_http_server(self, *_arguments: Any, **_options: Any) -> None:
        """Start nothing."""


class SilentWorker(Worker):  # type: ignore[misc]
    """Worker that listens for its scheduler, its nanny and other workers only."""

    def start_http_server(self, *_arguments: Any, **_options: Any) -> None:
        """Start nothing."""
