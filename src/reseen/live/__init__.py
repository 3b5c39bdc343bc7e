"""Live: trials decoded one by one while the scanner runs.

::

    decoding.py    LiveDecoder: one trial in, features and images out; needs no server and no folder
    opening.py     LiveDecoder of a finished run, with the fast sampler
    confidence.py  numbers that tell how sure a single trial is
    arrivals.py    what a source of trials reports
    watching.py    source: files of a folder
    series.py      source: a NIfTI series that grows
    recording.py   folder of the trials, which a restart resumes
    stimuli.py     presented images and true features of known stimuli
    session.py     source, decoder and recording together
    board.py       messages for the page; messages.py writes them
    replay.py      messages of a recording, at their times
    server.py      page and messages on 127.0.0.1; page.py writes the page
"""

from reseen.live.board import Board
from reseen.live.decoding import LIVE_RULES, LiveDecoder, LiveTrial
from reseen.live.opening import choose_condition, open_decoder
from reseen.live.recording import Recording
from reseen.live.replay import replay
from reseen.live.series import SeriesSource
from reseen.live.server import draw_key, listen, read_key, serving
from reseen.live.session import LiveSession, voxels_needed
from reseen.live.stimuli import KnownStimuli
from reseen.live.watching import FolderSource

__all__ = [
    "LIVE_RULES",
    "Board",
    "FolderSource",
    "KnownStimuli",
    "LiveDecoder",
    "LiveSession",
    "LiveTrial",
    "Recording",
    "SeriesSource",
    "choose_condition",
    "draw_key",
    "listen",
    "open_decoder",
    "read_key",
    "replay",
    "serving",
    "voxels_needed",
]
