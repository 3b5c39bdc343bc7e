"""Write figures of a benchmark: what was measured, on what, with which versions."""

from __future__ import annotations

import json
import platform
import resource
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def figure(name: str, value: Any, unit: str = "", goal: str = "") -> dict[str, Any]:
    """Give one figure; ``value`` is a number, or "not measured"."""
    return {"name": name, "value": value, "unit": unit, "goal": goal}


def machine() -> str:
    """Give the processor's name and the number of cores that this process may use."""
    import os

    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        names = [
            line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def peak_memory() -> float:
    """Give the largest resident memory of this program in GiB; a child starts from none."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(path: Path | None, figures: Iterable[dict[str, Any]], packages: Iterable[str] = ("numpy",)) -> None:
    """Write figures as JSON, beside the machine and the versions of Python and of some packages; no path, no file."""
    if path is None:
        return
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    path.write_text(json.dumps({"machine": machine(), "versions": versions, "figures": list(figures)}, indent=2))
