"""Fixtures for tests of the pipeline and the command line: a small model, untrained networks, a small subject."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reseen import pipeline
from reseen.imports import hide_broken_torchvision
from reseen.recipe import Recipe, with_settings

hide_broken_torchvision()  # before a test imports transformers by itself


@pytest.fixture(scope="session")
def anatomy():
    """Anatomy with all voxels of the simulated subjects."""
    from reseen.simulate.anatomy import build_anatomy

    return build_anatomy()


@pytest.fixture(scope="session")
def surface(anatomy):
    """Surface from these voxels to fsaverage5, without files."""
    from encoding_results import surface_of

    return surface_of(anatomy)


@pytest.fixture(scope="session")
def simulated_tree(tmp_path_factory) -> Path:
    """The smallest simulated subject on disk, in NSD's layout."""
    from reseen.recipe import SimulateRecipe
    from reseen.simulate import simulate

    root = tmp_path_factory.mktemp("simulated") / "data"
    simulate(root, SimulateRecipe(n_sessions=1, trials_per_session=12, n_train=8, n_test=4, voxel_fraction=0.1))
    return root


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """A diffusers folder of the smallest sizes, random weights: images of 32 pixels."""
    from tiny_ldm import write_tiny_ldm

    return write_tiny_ldm(tmp_path_factory.mktemp("model") / "ldm", image_size=32)


@pytest.fixture(scope="module")
def random_networks() -> Iterator[None]:
    """Untrained networks, so that tests need no trained weights."""
    import torch

    from reseen import networks

    def load(name: str) -> networks.BuiltinNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(len(name))
            network = networks.make_network(4)
        return networks.BuiltinNetwork(name, f"random-{name}", (), network.eval())

    with pytest.MonkeyPatch.context() as patch:
        for module in ("pipeline.evaluate", "check.checks"):
            patch.setattr(f"reseen.{module}.load_evaluation_network", load)
        yield


@pytest.fixture(scope="session")
def brain_file(tmp_path_factory) -> Path:
    """One npz: 8 images, 4 presented 3 times and 4 twice, and 40 voxels that respond to the image."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 4, 4, 3), dtype=np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    stimulus_id = np.concatenate([np.arange(8), np.arange(8), np.arange(4)])
    signal = images.reshape(8, -1)[:, ::307].astype(np.float32) / 255
    weights = rng.normal(size=(signal.shape[1], 40))
    betas = signal[stimulus_id] @ weights + 0.3 * rng.normal(size=(len(stimulus_id), 40))
    path = tmp_path_factory.mktemp("brain") / "subj01.npz"
    np.savez(
        path,
        betas=betas.astype(np.float32),
        stimulus_images=images,
        stimulus_id=stimulus_id,
        run=np.repeat([1, 2], 10),
        captions=np.array([f"image {i}" for i in range(8)]),
        roi_low=np.arange(40) < 20,
        roi_high=np.arange(40) >= 20,
        test_stimulus_id=np.array([0, 1, 4, 5]),
        ncsnr=np.full(40, 0.5),
    )
    return path


@pytest.fixture(scope="session")
def trial_table(brain_file, tmp_path_factory) -> Path:
    """The same data as a trial table, a matrix of responses, image files and captions."""
    arrays = np.load(brain_file)
    folder = tmp_path_factory.mktemp("lab")
    (folder / "images").mkdir()
    for number, image in enumerate(arrays["stimulus_images"]):
        Image.fromarray(image).save(folder / "images" / f"image_{number}.png")
    trials = pd.DataFrame({"image": [f"image_{number}.png" for number in arrays["stimulus_id"]], "run": arrays["run"]})
    trials.to_csv(folder / "trials.csv", index=False)
    np.save(folder / "responses.npy", arrays["betas"])
    names = [f"image_{number}.png" for number in range(8)]
    captions = pd.DataFrame({"image": names, "caption": arrays["captions"]})
    captions.to_csv(folder / "images" / "captions.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def small_recipe(brain_file, tiny_model) -> Recipe:
    """Recipe of a complete run on the small subject with the small model; takes about a second."""
    return with_settings(
        Recipe(name="small"),
        [
            "data.kind=arrays",
            f"data.path={brain_file}",
            'data.rois=["low", "high"]',
            f"model.name={tiny_model}",
            'decode.rois.z=["low"]',
            'decode.rois.c=["high"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 10.0]",
            "encode.n_folds=2",
            "reconstruct.n_samples=2",
            "reconstruct.n_steps=2",
            "reconstruct.strength=0.5",
            "evaluate.n_derangements=5",
            "evaluate.n_bootstrap=5",
            "report.n_random=2",
            "report.n_sequences=1",
        ],
    )


@pytest.fixture(scope="session")
def run_of_two(tiny_model, tmp_path_factory) -> Path:
    """Folder of a run that decoded z and c of two simulated subjects with 12 shared stimuli; not to be written to."""
    from reseen.recipe import SimulateRecipe
    from reseen.simulate import simulate

    root = tmp_path_factory.mktemp("two")
    simulate(
        root / "data",
        SimulateRecipe(
            n_subjects=2, n_sessions=2, trials_per_session=42, n_train=16, n_test=12, voxel_fraction=0.1, seed=4
        ),
    )
    recipe = with_settings(
        Recipe(name="two"),
        [
            "data.kind=nsd",
            f"data.path={root / 'data'}",
            'data.subjects=["subj01", "subj02"]',
            'data.rois=["early", "ventral"]',
            f"model.name={tiny_model}",
            'decode.rois.z=["early"]',
            'decode.rois.c=["ventral"]',
            "decode.n_folds=2",
            "decode.alphas=[1.0, 100.0]",
            "reconstruct.n_samples=1",
            "reconstruct.n_steps=2",
            "evaluate.n_derangements=5",
            "evaluate.n_bootstrap=50",
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(recipe, root / "results", until="decode")
    return root / "results"


@pytest.fixture
def reseen(monkeypatch, capsys):
    """Run the command line in this process: exit code, stdout, stderr."""
    from reseen import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["reseen", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as exit_:
            code = exit_.code or 0
        else:
            code = 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def no_network(monkeypatch):
    """Make every attempt to open a connection fail."""
    import socket

    def refuse(*_arguments):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def connections(monkeypatch) -> list[tuple[object, ...]]:
    """List every attempt to open a connection or to look up a host; each fails, as on a machine without a network."""
    tried: list[tuple[object, ...]] = []

    def connect(*arguments: object, **_options: object) -> None:
        tried.append(arguments)
        raise OSError("no network")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("socket.connect", "socket.connect_ex", "socket.sendto"):
        monkeypatch.setattr(f"socket.{name}", connect)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(f"socket.{name}", connect)
    return tried


@pytest.fixture(scope="module")
def finished(small_recipe, random_networks, tmp_path_factory):
    """Folder of an unbroken run of `small_recipe`; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.run(small_recipe, folder)
    return folder
