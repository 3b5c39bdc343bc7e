"""Defaults: commands show in their help what the library uses."""

import inspect

from reseen import Results
from reseen.defaults import GALLERY, LIVE_DELAY, LIVE_PORT, LIVE_STEPS
from reseen.evaluate import score_retrieval
from reseen.live import SeriesSource


def default(function, name):
    return inspect.signature(function).parameters[name].default


def test_the_help_of_commands_shows_the_defaults_of_the_library(reseen):
    assert default(Results.live, "n_steps") == LIVE_STEPS
    assert default(Results.retrieval, "size") == default(score_retrieval, "size") == GALLERY
    assert default(SeriesSource.__init__, "delay") == LIVE_DELAY
    options = [("live", "steps", LIVE_STEPS), ("live", "port", LIVE_PORT), ("live", "delay", LIVE_DELAY)]
    for command, name, value in [*options, ("retrieval", "size", GALLERY)]:
        code, said, _ = reseen(command, "--help")
        assert code == 0
        about = " ".join(said.split()).partition(f"--{name} ")[2].partition(" --")[0]
        assert f"default: {value}" in about
