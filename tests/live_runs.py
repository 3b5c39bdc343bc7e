"""Runs and trials for the tests of live decoding."""

from __future__ import annotations

import numpy as np

from reseen import Results, pipeline
from reseen.live import Board, FolderSource, LiveSession, Recording, voxels_needed
from reseen.recipe import Recipe, with_settings


def run_of(simulated_tree, tiny_model, folder):
    """Decoders of single trials of a simulated subject, in NSD's layout."""
    recipe = with_settings(
        Recipe(name="simulated-single"),
        [
            "data.kind=nsd",
            f"data.path={simulated_tree}",
            'data.rois=["early", "ventral"]',
            "data.test_trials=single",
            f"model.name={tiny_model}",
            'decode.rois.z=["early"]',
            'decode.rois.c=["ventral"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 100.0]",
            "reconstruct.n_steps=2",
        ],
    )
    pipeline.run(recipe, folder, until="decode")
    return Results.read(folder)


def write_trial(folder, number, trial, *, name=None, **arrays):
    """Write one trial as an npz file, complete or not at all."""
    found = {
        "betas": trial.betas,
        "voxel_index": trial.voxel_index,
        "volume_shape": trial.volume_shape,
        "session": trial.session,
        "stimulus_id": trial.stimulus_id,
    } | arrays
    path = folder / (name or f"trial{number}.npz")
    part = folder / f".{path.name}"
    with part.open("wb") as file:
        np.savez(file, **{key: value for key, value in found.items() if value is not None})
    return part.rename(path)


def one(trials, row):
    return trials.take(np.array([row]))


class NoStimuli:
    """No presented image and no true feature is known."""

    def image(self, _stimulus_id):
        return None

    def true(self, _stimulus_id):
        return None


def decode_files(results, folder, out, *, patience=0.0, stimuli=None, limit=None, images=True):
    """Decode the files of a folder as `reseen live` does, until nothing is left or ``limit`` steps are done."""
    decoder = results.live(condition="zc", n_steps=2, images=images)
    board = Board()
    with Recording.open(out, {"condition": "zc"}, voxels_needed(decoder)) as recording:
        source = FolderSource(
            folder,
            lambda path: read(path, results, decoder),
            used={record.file: (record.size, record.modified) for record in recording.trials},
            bad=states(recording),
            patience=patience,
        )
        session = LiveSession(source, decoder, recording, board, stimuli or NoStimuli())
        n_steps, idle = 0, 0
        while idle < 3 and (limit is None or n_steps < limit):
            done = session.step()
            n_steps, idle = n_steps + done, 0 if done else idle + 1
    return recording, board


def read(path, results, decoder):
    from reseen.applied import read_trials

    return read_trials(path, results, decoder.decoders, decoder.subject)


def states(recording):
    from reseen.live.arrivals import FileState

    return {bad.file: FileState(bad.inode, bad.size, bad.modified) for bad in recording.bad}
