"""Session: trials of a source are decoded, recorded and published; new trials come before pending images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import in_role
from reseen.decode.new_trials import wanted_voxels
from reseen.errors import ReseenError
from reseen.features import Features
from reseen.live.arrivals import Arrival, BadFile, FileState, Source
from reseen.live.board import Board
from reseen.live.confidence import confidence_of
from reseen.live.decoding import LiveDecoder, LiveTrial
from reseen.live.messages import PRESENTED, bad_message, image_message, trial_message
from reseen.live.recording import BadRecord, ImageRecord, Recording, TrialRecord
from reseen.trials import Trials

POLL = 0.05
"""Seconds between two polls of the source."""


class Stimuli(Protocol):
    """Presented images and true features of known stimuli; see `reseen.live.stimuli.KnownStimuli`."""

    def image(self, stimulus_id: int) -> NDArray[np.uint8] | None:
        """Return the presented image, or None."""

    def true(self, stimulus_id: int) -> NDArray[np.float32] | None:
        """Return the true feature, or None."""


def voxels_needed(decoder: LiveDecoder) -> NDArray[np.int64]:
    """Return the index of each voxel that is recorded: those of all decoders, ascending."""
    every = [wanted_voxels(fitted) for parts in decoder.decoders.values() for fitted in parts]
    return np.unique(np.concatenate(every))


class LiveSession:
    """Live decoding: one thread calls `step` again and again.

    Parameters
    ----------
    source
        Source of trials.
    decoder
        Decoder without trials; those of the recording are taken into account first.
    recording
        Folder of the trials.
    board
        Messages for the page.
    stimuli
        Presented images and true features.
    n_trials
        Largest number of recorded trials; later ones stay in the source.
    log
        Called with a sentence about each new trial, image and bad file.
    """

    def __init__(
        self,
        source: Source,
        decoder: LiveDecoder,
        recording: Recording,
        board: Board,
        stimuli: Stimuli,
        *,
        n_trials: int | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._n_trials, self._log = n_trials, log
        self._source, self._decoder, self._recording = source, decoder, recording
        self._board, self._stimuli = board, stimuli
        self._voxels, self._start = voxels_needed(decoder), in_role(decoder.condition, "start")
        self._pending: dict[int, float | None] = {}  # number -> time of arrival; features are on disk
        self._resume()

    @property
    def n_pending(self) -> int:
        """Number of trials whose images are not generated yet."""
        return len(self._pending)

    def run(self, stop: Callable[[], bool], *, poll: float = POLL) -> None:
        """Decode until ``stop`` returns True.

        Raises
        ------
        ResultsError
            If a trial cannot be recorded, such as on a full disk.
        """
        while not stop():
            if not self.step():
                time.sleep(poll)

    def step(self) -> bool:
        """Decode one new trial, or generate one pending image; return whether there was one.

        Raises
        ------
        ResultsError
            As `run`.
        """
        found = self._poll()
        if isinstance(found, Arrival):
            self._add(found)
        elif isinstance(found, BadFile):
            self._refuse(found.name, found.error, found.state)
        elif self._pending:
            self._add_image(max(self._pending))  # the newest first
        else:
            return False
        return True

    def _poll(self) -> Arrival | BadFile | None:
        """Return the next trial or bad file; a file is complete if two polls agree, with no image between them."""
        if self._n_trials is not None and len(self._recording.trials) >= self._n_trials:
            return None
        found = self._source.poll()
        if found is None and self._pending:
            time.sleep(POLL)
            found = self._source.poll()
        return found

    def _resume(self) -> None:
        """Take the recorded trials into account, as though this program had decoded them."""
        first = self._decoder.first
        for record in self._recording.trials:
            betas = self._recording.betas(record.number)
            known = record.stimulus_id is not None
            trial = self._decoder.standardise(_one_trial(betas, self._voxels, record), labelled=known)
            folder = self._recording.folder(record.number)
            self._board.publish(trial_message(record, folder, self._start))
            done = self._recording.images.get(record.number)
            if done is not None:
                self._board.publish(image_message(record.number, done, folder, self._decoder.condition))
                continue
            if all((folder / f"{name}.npy").is_file() for name in self._decoder.decoders):
                self._pending[record.number] = None
                continue
            array = self._recording.feature(record.number, first)
            trial.features[first] = Features(first, array[None], np.array([trial.stimulus_id]))
            self._complete(trial, None)
        for bad in self._recording.bad:
            self._board.publish(bad_message(bad))

    def _add(self, arrival: Arrival) -> None:
        """Decode, record and publish a trial."""
        given = arrival.trials
        try:
            trial = self._decoder.decode(given.trials, labelled=given.labelled)
        except ReseenError as error:
            self._source.reject(arrival)
            self._refuse(arrival.name, str(error), arrival.state)
            return
        known = trial.stimulus_id if trial.labelled else None
        images = self._start_images(trial, known)
        seconds = time.monotonic() - arrival.seen
        true = None if known is None else self._stimuli.true(known)
        record = TrialRecord(
            number=trial.number,
            file=arrival.name,
            size=arrival.state.size,
            modified=arrival.state.modified,
            session=trial.session,
            stimulus_id=known,
            arrived=time.time() - seconds,
            seconds=seconds,
            confidence=confidence_of(self._decoder, trial, true),
        )
        first = self._decoder.first
        betas = _in_order_of(self._voxels, given.trials)
        self._recording.add_trial(record, betas, {first: trial.features[first].array[0]}, images)
        self._board.publish(trial_message(record, self._recording.folder(trial.number), self._start))
        self._note(f"trial {trial.number}, {arrival.name}: {first} after {seconds:.2f} s")
        self._complete(trial, arrival.seen)

    def _start_images(self, trial: LiveTrial, known: int | None) -> dict[str, NDArray[np.uint8]]:
        """Return the image of the start and the presented image, those that exist."""
        images: dict[str, NDArray[np.uint8] | None] = {}
        if self._start is not None:
            try:
                images[self._start] = self._decoder.start_image(trial)
            except ReseenError:  # the trial counts nevertheless; its final image reports the error
                images[self._start] = None
        if known is not None:
            images[PRESENTED] = self._stimuli.image(known)
        return {name: image for name, image in images.items() if image is not None}

    def _complete(self, trial: LiveTrial, seen: float | None) -> None:
        """Decode and record the other features of a trial, so that its image needs nothing in memory."""
        try:
            self._decoder.complete(trial)
        except ReseenError as failed:
            self._end(trial.number, seen, {}, str(failed))
            return
        others = {name: found.array[0] for name, found in trial.features.items() if name != self._decoder.first}
        self._recording.add_features(trial.number, others)
        self._pending[trial.number] = seen

    def _add_image(self, number: int) -> None:
        """Generate the image of a trial from its recorded features; that of the start alone may be there already."""
        seen, condition = self._pending.pop(number), self._decoder.condition
        images, error = {}, ""
        is_there = condition == self._start and (self._recording.folder(number) / f"{condition}.png").is_file()
        if self._decoder.model is not None and not is_there:
            try:
                images[condition] = self._decoder.image_of(self._features(number))
            except ReseenError as failed:  # such as an image that is not finite: the next trial may succeed
                error = str(failed)
        self._end(number, seen, images, error)

    def _features(self, number: int) -> dict[str, Features]:
        """Read the features of a trial; its stimulus, or its number, determines the noise of the image."""
        stimulus = self._recording.trials[number].stimulus_id
        ids = np.array([number if stimulus is None else stimulus])
        names = self._decoder.decoders
        return {name: Features(name, self._recording.feature(number, name)[None], ids) for name in names}

    def _end(self, number: int, seen: float | None, images: Mapping[str, NDArray[np.uint8]], error: str) -> None:
        """Record and publish the image of a trial, or the reason why there is none."""
        record = ImageRecord(None if seen is None else time.monotonic() - seen, error)
        self._recording.add_image(number, record, images)
        self._board.publish(image_message(number, record, self._recording.folder(number), self._decoder.condition))
        after = "" if record.seconds is None else f" after {record.seconds:.2f} s"
        if error or self._decoder.model is not None:
            self._note(f"trial {number}: {f'no image: {error}' if error else f'image{after}'}")

    def _note(self, text: str) -> None:
        if self._log is not None:
            self._log(text)

    def _refuse(self, name: str, error: str, state: FileState) -> None:
        """Record and publish a file that cannot be used."""
        record = BadRecord(name, state.inode, state.size, state.modified, error, time.time())
        self._recording.add_bad(record)
        self._note(f"{name} cannot be used: {error}")
        self._board.publish(bad_message(record))


def _one_trial(betas: NDArray[np.float32], voxels: NDArray[np.int64], record: TrialRecord) -> Trials:
    """Return a recorded trial."""
    stimulus = 0 if record.stimulus_id is None else record.stimulus_id
    return Trials(betas[None], np.array([stimulus]), voxel_index=voxels, session=np.array([record.session]), rois={})


def _in_order_of(voxels: NDArray[np.int64], trials: Trials) -> NDArray[np.float32]:
    """Return the betas of these voxels, ``(n_voxels,)``, of a trial that has all of them."""
    index = trials.voxel_index
    assert index is not None  # the decoder has matched the voxels by it
    order = np.argsort(index)
    betas: NDArray[np.float32] = trials.betas[0, order[np.searchsorted(index, voxels, sorter=order)]]
    return betas
