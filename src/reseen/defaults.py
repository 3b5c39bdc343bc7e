"""Defaults: numbers that a command shows in its help, before any library is loaded, and that the library uses too."""

from __future__ import annotations

GALLERY = 300
"""Size of the galleries of retrieval: that of MindEye."""
LIVE_STEPS = 10
"""Number of steps of the fast sampler of live images."""
LIVE_PORT = 8765
"""Port of the page of live decoding."""
LIVE_DELAY = 8.0
"""Seconds from the onset of a trial to its estimate from a series: the response peaks after 5 to 6 s."""
