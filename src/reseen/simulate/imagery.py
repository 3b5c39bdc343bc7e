"""Simulated session of NSD-Imagery: targets, and betas of vision, imagery and attention.

Vision is measured like any session. Imagery has a weaker signal of fewer dimensions and more noise:
``gain * projection of the response to the target`` on the leading dimensions of the subject's responses. The three
numbers are guesses, and so is the response to words: reading one evokes imagery of a scene that contains the thing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.datasets.imagery_files import RUNS, SETS, TARGETS_PER_SET, TRIALS_PER_RUN
from reseen.errors import RecipeError
from reseen.simulate.attributes import describe
from reseen.simulate.cortex import Cortex
from reseen.simulate.filters import SIDE
from reseen.simulate.images import Shown
from reseen.simulate.noise import Scanner, measure_session, sample_day
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import KINDS, Scene, sample_scene

Array = NDArray[np.float32]

IMAGERY_GAIN = 0.4
"""Standard deviation of imagery's signal, in units of that of vision in the same dimensions."""
IMAGERY_DIMENSIONS = 8
"""Number of leading dimensions of the responses that imagery keeps."""
IMAGERY_NOISE = 1.2
"""Standard deviation of imagery's noise, in units of that of vision."""
N_SCENES = 5
"""Targets of set B that are shared test images; the sixth is an artwork."""
LETTERS = {"A": "HRVLPE", "B": "WKBCDT", "C": "AFGJMN"}
"""Cue letters by target. Those of A and B are NSD-Imagery's; those of C are invented."""
_BARS = (0, 45, 90, 135)
_CROSSES = (0, 45)
_MOST_ROWS = 1000  # stimuli from which the leading dimensions are computed


@dataclass(frozen=True)
class DrawnTargets:
    """The 18 targets of a simulated data set.

    Parameters
    ----------
    names
        File names of sets A and B, and words.
    images
        Shape ``(12, height, width, 3)`` uint8: images of sets A and B.
    small
        Shape ``(18, 64, 64, 3)`` uint8: input of the cortex; for words, the scene that the subject thinks of.
    attributes
        Shape ``(18, n_attributes)`` float32, or None if the categories of the images are unknown.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    small: NDArray[np.uint8]
    attributes: Array | None


@dataclass(frozen=True)
class ImageryScan:
    """Betas and labels of one subject.

    Parameters
    ----------
    betas
        Shape ``(720, n_voxels)`` float32, per cent signal change.
    condition, cue
        For each run, ``(48,)``: number within its set of the presented target, and of the cue. They are drawn
        independently: the cue of vision and the condition of imagery do not inform about the target.
    """

    betas: Array
    condition: tuple[NDArray[np.int64], ...]
    cue: tuple[NDArray[np.int64], ...]


def draw_targets(shown: Shown, rng: Generator) -> DrawnTargets:
    """Draw the targets: bars and crosses, five shared test images and an artwork, and six words.

    Raises
    ------
    RecipeError
        If there are too few shared test images.
    """
    if len(shown.shared) < N_SCENES:
        raise RecipeError(
            f"NSD-Imagery has {N_SCENES} shared test images among its targets; simulate.n_test is {len(shown.shared)}. "
            "Increase it.",
            where="simulate.n_test",
            expected=N_SCENES,
            found=len(shown.shared),
        )
    places = np.sort(rng.permutation(len(shown.shared))[:N_SCENES])
    ids = shown.shared[places]
    artwork = sample_scene(rng, novel=True, n_things=2)
    words = rng.permutation(KINDS)[:TARGETS_PER_SET].tolist()
    imagined = [_scene_with(word, rng) for word in words]
    side = shown.images.shape[1]
    simple = [("bar", angle) for angle in _BARS] + [("crs", angle) for angle in _CROSSES]
    attributes = None
    if shown.attributes is not None:
        scenes = describe([artwork, *imagined])
        figures = np.zeros((len(simple), scenes.shape[1]), dtype=np.float32)
        attributes = np.concatenate([figures, shown.attributes[ids], scenes])
    # as NSD names its shared images: number among them and 73KID, both from 1
    pairs = zip(places.tolist(), ids.tolist(), strict=True)
    return DrawnTargets(
        names=(
            *(f"{shape}_{angle:05.1f}deg_450L_43W.png" for shape, angle in simple),
            *(f"shared{place + 1:04d}_nsd{stimulus + 1:05d}.png" for place, stimulus in pairs),
            "shared0000_nsd00000.png",
            *words,
        ),
        images=np.stack(
            [
                *(draw_figure(shape, angle, side) for shape, angle in simple),
                *shown.images[ids],
                _enlarged(draw_scene(artwork), side),
            ]
        ),
        small=np.stack(
            [
                *(draw_figure(shape, angle, SIDE) for shape, angle in simple),
                *shown.small[ids],
                draw_scene(artwork),
                *(draw_scene(scene) for scene in imagined),
            ]
        ),
        attributes=attributes,
    )


def draw_figure(shape: str, angle: float, side: int) -> NDArray[np.uint8]:
    """Draw a white bar (``"bar"``) or cross (``"crs"``) on grey, ``(side, side, 3)``; 0 degrees is horizontal."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    image = np.full((side, side, 3), 127, dtype=np.uint8)
    for turned in (angle, angle + 90)[: 2 if shape == "crs" else 1]:
        radians = np.deg2rad(turned)
        along = x * np.cos(radians) - y * np.sin(radians)  # y counts downwards
        across = x * np.sin(radians) + y * np.cos(radians)
        # 450 by 43 pixels of an image of 714 in the names of NSD-Imagery
        image[(np.abs(along) <= 0.315 * side) & (np.abs(across) <= 0.05 * side)] = 255
    return image


def scan_imagery(
    targets: DrawnTargets, cortex: Cortex, scanner: Scanner, signal: Array, rng: Generator, *, informative: bool = True
) -> ImageryScan:
    """Simulate the 12 runs of one subject.

    Parameters
    ----------
    targets
        From `draw_targets`.
    cortex, scanner
        The subject's voxels and noise.
    signal
        Shape ``(n_stimuli, n_voxels)``: the subject's noise-free responses, whose leading dimensions imagery keeps.
    rng
        Random numbers of this session.
    informative
        False: responses do not depend on the target, for a null distribution.
    """
    seen = cortex.respond(targets.small, targets.attributes).signal
    imagined = IMAGERY_GAIN * _project(seen, signal)
    first_word = SETS.index("C") * TARGETS_PER_SET
    seen[first_word:] = imagined[first_word:]  # words have no image
    if not informative:
        seen[:], imagined[:] = seen.mean(axis=0), imagined.mean(axis=0)
    n_voxels = len(scanner.noise_sd)
    day = sample_day(scanner, rng)
    noisier = replace(day, noise_sd=IMAGERY_NOISE * scanner.noise_sd)
    betas, condition, cue = [], [], []
    for run in RUNS:
        own = slice(*(TARGETS_PER_SET * (SETS.index(run.target_set) + k) for k in (0, 1)))
        presented, cued = (rng.permutation(np.arange(TRIALS_PER_RUN) % TARGETS_PER_SET) for _ in range(2))
        if run.task == "attention":
            # two epochs a trial: the cue, and a series of all images of the set
            epochs = np.stack([imagined[own][cued], np.broadcast_to(seen[own].mean(axis=0), (len(cued), n_voxels))])
            response = epochs.swapaxes(0, 1).reshape(-1, n_voxels)
        else:
            response = seen[own][presented] if run.task == "vision" else imagined[own][cued]
        betas.append(measure_session(noisier if run.task == "imagery" else day, 0, response, rng)[0])
        condition.append(presented)
        cue.append(cued)
    return ImageryScan(np.concatenate(betas), tuple(condition), tuple(cue))


def _project(seen: Array, signal: Array) -> Array:
    """Project responses on the leading dimensions of the subject's responses, around their mean."""
    mean = signal.mean(axis=0, dtype=np.float64)
    centred = signal[:_MOST_ROWS] - mean
    vectors = np.linalg.eigh(centred @ centred.T)[1][:, ::-1][:, :IMAGERY_DIMENSIONS]
    basis = np.linalg.qr(centred.T @ vectors)[0]  # (n_voxels, n_dimensions), orthonormal
    projected: Array = ((seen - mean) @ basis @ basis.T).astype(np.float32)
    return projected


def _scene_with(kind: str, rng: Generator) -> Scene:
    """Sample scenes until one has a thing of this kind."""
    while True:
        scene = sample_scene(rng, n_things=1)
        if scene.things[0].kind == kind:
            return scene


def _enlarged(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return an image at another size by nearest neighbours."""
    rows = np.arange(side) * len(image) // side
    return image[rows][:, rows]
