"""Command ``reseen live``: decode each trial as its file arrives, and show it in a local page."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from reseen.cli.terminal import say
from reseen.defaults import LIVE_DELAY, LIVE_PORT, LIVE_STEPS

if TYPE_CHECKING:
    from reseen.decode.new_trials import ScalingRule
    from reseen.finished import Results
    from reseen.live import Board, LiveDecoder, Recording
    from reseen.live.arrivals import Source


def live(
    results: Annotated[
        Path | None, typer.Argument(metavar="[RESULTS]", help="results folder of a finished run", show_default=False)
    ] = None,
    watch: Annotated[
        Path | None, typer.Option("--watch", metavar="FOLDER", help="folder in which the files of trials appear")
    ] = None,
    from_series: Annotated[
        Path | None,
        typer.Option("--from-series", metavar="FILE", help="instead: a series (.nii) that grows; a simple estimate"),
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="onsets of the trials of the series (.tsv or .csv)")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="OUT", help="show a recording again, at its times")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="subject [default: the only one]")] = None,
    condition: Annotated[
        str | None, typer.Option("--condition", help="condition of the images [default: that of the headline]")
    ] = None,
    scaling: Annotated[
        str, typer.Option("--scaling", help="standardise by: causal (trials so far) or training (training sessions)")
    ] = "causal",
    steps: Annotated[int, typer.Option("--steps", help="steps of the sampler")] = LIVE_STEPS,
    no_images: Annotated[bool, typer.Option("--no-images", help="decode features only")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="folder of the recording; an existing one is resumed [default: RESULTS-live]"),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="port of the page on 127.0.0.1; 0: any free one")] = LIVE_PORT,
    n_trials: Annotated[
        int | None, typer.Option("--n-trials", help="stop when so many trials are recorded [default: never]")
    ] = None,
    delay: Annotated[float, typer.Option("--delay", help="seconds from onset to estimate, of a series")] = LIVE_DELAY,
    tr: Annotated[
        float | None, typer.Option("--tr", help="seconds between two volumes of the series [default: of its header]")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", help="factor of the speed of --replay")] = 1.0,
    device: Annotated[str, typer.Option("--device", help="where networks run: cpu, cuda, cuda:1 or mps")] = "cpu",
) -> None:
    """Decode each trial as it arrives, and show it in a page on this machine.

    Every trial is one file in the folder of --watch: .npz or a volume, as for apply. The feature of the start, such as
    z, is shown at once; the image follows. Everything is recorded: a program that was stopped or killed resumes with
    the same command.
    """
    _check_installed()
    if replay is not None:
        if results or watch or from_series:
            raise typer.BadParameter("--replay shows a recording; leave out RESULTS, --watch and --from-series.")
        _replay(replay, port, speed)
        return
    if results is None or (watch is None) == (from_series is None):
        raise typer.BadParameter("give RESULTS, and either --watch or --from-series; or --replay alone.")
    if (from_series is None) != (events is None):
        raise typer.BadParameter("--from-series and --events belong together.")

    from reseen.finished import Results
    from reseen.live import listen

    read = Results.read(results)
    listening = listen(port)  # before the model is loaded
    decoder = read.live(
        subject,
        condition=condition,
        scaling=cast("ScalingRule", scaling),  # an unknown one is refused
        n_steps=steps,
        images=not no_images,
        device=device,
    )
    folder = out or results.resolve().with_name(f"{results.resolve().name}-live")

    def open_source(recording: Recording) -> Source:
        if watch is not None:
            return _folder_source(read, decoder, watch, recording)
        assert from_series is not None
        assert events is not None
        return _series_source(decoder, from_series, events, recording, delay, tr)

    settings = {
        "recipe": read.recipe.name,
        "results": read.fingerprint,
        "subject": decoder.subject,
        "condition": decoder.condition,
        "scaling": decoder.scaling,
        "steps": steps,
        "images": decoder.model is not None,
        # names of files are those of one folder or series
        "source": str((watch or from_series or Path()).resolve()),
    }
    _decode(read, decoder, folder, open_source, listening, n_trials, settings)


def _check_installed() -> None:
    """Refuse to start without the extra ``live``."""
    from importlib.util import find_spec

    from reseen.errors import ReseenError

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ReseenError(
            f"reseen live needs {' and '.join(missing)}, which are not installed. Install them: pip install "
            "'reseen[live]'.",
            where="live",
            found=tuple(missing),
        )


def _folder_source(read: Results, decoder: LiveDecoder, watch: Path, recording: Recording) -> Source:
    """Return the files of a folder, without those that the recording has."""
    from reseen.applied import read_trials
    from reseen.live import FolderSource
    from reseen.live.arrivals import FileState

    return FolderSource(
        watch,
        lambda path: read_trials(path, read, decoder.decoders, decoder.subject),
        used={record.file: (record.size, record.modified) for record in recording.trials},
        bad={bad.file: FileState(bad.inode, bad.size, bad.modified) for bad in recording.bad},
    )


def _series_source(
    decoder: LiveDecoder, series: Path, events: Path, recording: Recording, delay: float, tr: float | None
) -> Source:
    """Return the trials of a series, without those that the recording has."""
    from reseen.live import SeriesSource, voxels_needed

    used = [record.file for record in recording.trials] + [bad.file for bad in recording.bad]
    errors = [bad.error for bad in recording.bad if bad.file == series.name]
    reported = errors[-1] if errors else ""
    voxels = voxels_needed(decoder)
    return SeriesSource(series, events, voxels, repetition_time=tr, delay=delay, used=used, reported=reported)


def _decode(
    read: Results,
    decoder: LiveDecoder,
    folder: Path,
    open_source: Callable[[Recording], Source],
    listening: socket.socket,
    n_trials: int | None,
    settings: dict[str, Any],
) -> None:
    """Decode trials until a signal, or until there are enough."""
    from reseen.live import Board, KnownStimuli, LiveSession, Recording, read_key, voxels_needed
    from reseen.pipeline.log import LogFile, logging

    board = Board()
    with (
        Recording.open(folder, settings, voxels_needed(decoder)) as recording,
        logging(folder, f"live decoding of {settings['source']}", None),
    ):
        stimuli, log = KnownStimuli(read, decoder.subject, decoder.first), LogFile(folder).note
        session = LiveSession(open_source(recording), decoder, recording, board, stimuli, n_trials=n_trials, log=log)
        about = _about(settings, stimuli.notes)
        with _page(board, folder, read_key(folder), listening, about):
            say(f"recording: {folder} ({len(recording.trials)} trials)")

            def enough() -> bool:
                return n_trials is not None and len(recording.trials) >= n_trials and not session.n_pending

            try:
                session.run(enough)
            except KeyboardInterrupt as stop:
                stop.add_note(f"{len(recording.trials)} trials are in {folder}. Run the same command again to resume.")
                raise
    say(f"{len(recording.trials)} trials: {folder}")


def _replay(folder: Path, port: int, speed: float) -> None:
    """Show a recording again, and keep the page until a signal."""
    from reseen.live import Board, Recording, draw_key, listen, replay

    recording, board = Recording.read(folder), Board()
    about = _about(recording.settings, [])
    about["facts"].append(f"Replay of a recording of {len(recording.trials)} trials, speed {speed:g}.")
    with _page(board, folder, draw_key(), listen(port), about):  # nothing is written to the recording
        replay(recording, board, lambda: False, speed=speed)
        say("the replay is over; Ctrl-C ends the page")
        threading.Event().wait()


@contextmanager
def _page(board: Board, folder: Path, key: str, listening: socket.socket, about: dict[str, Any]) -> Iterator[None]:
    """Serve the page and print its address."""
    from reseen.live import serving

    with serving(board, folder, key, about, listening) as address:
        say(f"page: {address}")
        yield


def _about(settings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the title and the facts of the page."""
    from reseen.conditions import features_of, in_role

    condition = settings["condition"]
    start = in_role(condition, "start")
    facts = [
        f"Condition {condition}, one sample, {settings['steps']} steps of DPM-Solver++. Scaling {settings['scaling']}."
    ]
    if not settings["images"]:
        facts = [f"Features of condition {condition} are decoded; no images. Scaling {settings['scaling']}."]
    return {
        "title": f"{settings['recipe']}, {settings['subject']}",
        "facts": facts,
        "start": (start or "") if settings["images"] else "",
        "first": start or features_of(condition)[0],
        "condition": condition,
        "images": settings["images"],
        "notes": notes,
    }
