"""Properties of the voxels of each stream, and a sample of them for one subject."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtri

from reseen.simulate.anatomy import STREAMS, Anatomy
from reseen.simulate.attributes import ATTRIBUTES, NAMED
from reseen.simulate.cortex import Cortex
from reseen.simulate.filters import CHANNELS, CYCLES_PER_IMAGE, N_EDGES, N_ORIENTATIONS, N_TONES, sample_network

Array = NDArray[np.float32]

MAX_CATEGORY_PROPORTION = 1 / 3
"""Maximum proportion of a voxel's signal variance that is due to categories."""


@dataclass(frozen=True)
class StreamProperties:
    """Properties of the voxels of one stream; sizes in degrees of visual angle.

    Parameters
    ----------
    early, middle, late
        Proportions of the image-driven variance from early vision and from the random network's layers.
    category
        Mean and maximum proportion of the signal variance that is due to categories.
    size, size_slope
        Standard deviation of the receptive field at the centre of gaze, and its slope over eccentricity.
    compression
        Exponent of the compressive nonlinearity of early vision's sum.
    ncsnr, ncsnr_spread
        Median of the noise ceiling signal-to-noise ratio, and standard deviation of its logarithm.
    """

    early: float
    middle: float
    late: float
    category: tuple[float, float]
    size: float
    size_slope: float
    compression: float
    ncsnr: float
    ncsnr_spread: float


PROPERTIES = {
    "early": StreamProperties(1.0, 0.0, 0.0, (0.0, 0.0), 0.30, 0.14, 0.5, 0.58, 0.50),
    "midventral": StreamProperties(0.35, 0.65, 0.0, (0.08, 0.15), 0.50, 0.35, 0.4, 0.50, 0.50),
    "midlateral": StreamProperties(0.40, 0.60, 0.0, (0.06, 0.12), 0.60, 0.40, 0.4, 0.45, 0.50),
    "midparietal": StreamProperties(0.50, 0.50, 0.0, (0.04, 0.08), 0.60, 0.40, 0.4, 0.40, 0.50),
    "ventral": StreamProperties(0.0, 0.25, 0.75, (0.22, 0.31), 1.20, 0.50, 0.4, 0.42, 0.50),
    "lateral": StreamProperties(0.0, 0.30, 0.70, (0.20, 0.30), 1.20, 0.55, 0.4, 0.40, 0.50),
    "parietal": StreamProperties(0.20, 0.45, 0.35, (0.08, 0.16), 1.50, 0.60, 0.4, 0.32, 0.50),
}
"""Properties of each stream, from neuroscience only; docs/simulated_subject.md cites the source of each number."""

AREA_SIZE = {1: (0.20, 0.10), 2: (0.25, 0.15), 3: (0.35, 0.22)}
"""Receptive field size and its slope for V1, V2 and V3, in place of the stream's."""
AREA_COMPRESSION = {1: 0.55, 2: 0.45, 3: 0.40}


def sample_cortex(anatomy: Anatomy, rng: Generator) -> Cortex:
    """Sample one subject's cortex on the shared anatomy: receptive fields, preferences, network and categories."""
    n = len(anatomy)
    x, y, size, compression = _sample_fields(anatomy, rng)
    proportion, category = np.zeros((3, n)), np.zeros(n)
    for name, stream in PROPERTIES.items():
        voxels = anatomy.where(name)
        count = int(voxels.sum())
        mean_proportion = np.array([stream.early, stream.middle, stream.late])
        # normalised gamma variables: a Dirichlet distribution with concentration 12
        drawn = (
            rng.gamma(12 * np.maximum(mean_proportion, 1e-9)[:, None], size=(3, count)) * (mean_proportion > 0)[:, None]
        )
        proportion[:, voxels] = drawn / drawn.sum(axis=0)
        mean, most = stream.category
        category[voxels] = np.clip(rng.normal(mean, 0.25 * mean, count), 0, min(most, MAX_CATEGORY_PROPORTION))
    near = _smoothing(anatomy)
    return Cortex(
        x=x,
        y=y,
        size=size,
        compression=compression,
        proportion=proportion,
        category_target=category,
        network=sample_network(rng),
        early_weights=_sample_early(anatomy, size, rng),
        middle_weights=_sample_tuning(128, near, rng),
        late_weights=_sample_tuning(256, near, rng),
        category_weights=_sample_tuning(len(ATTRIBUTES), near, rng) * _attribute_weight(),
    )


def _sample_fields(anatomy: Anatomy, rng: Generator) -> tuple[NDArray[np.float64], ...]:
    """Sample this subject's positions, sizes and exponents of receptive fields around the template's."""
    n = len(anatomy)
    eccentricity = anatomy.eccentricity * np.exp(rng.normal(0, 0.2, n)) + np.abs(rng.normal(0, 0.1, n))
    angle = anatomy.angle + rng.normal(0, 0.25, n)
    base, slope, exponent = np.zeros(n), np.zeros(n), np.zeros(n)
    for name, stream in PROPERTIES.items():
        voxels = anatomy.where(name)
        base[voxels], slope[voxels], exponent[voxels] = stream.size, stream.size_slope, stream.compression
    for area, (area_base, area_slope) in AREA_SIZE.items():
        voxels = anatomy.area == area
        base[voxels], slope[voxels], exponent[voxels] = area_base, area_slope, AREA_COMPRESSION[area]
    size = (base + slope * eccentricity) * np.exp(rng.normal(0, 0.2, n))
    compression = np.clip(exponent + rng.normal(0, 0.08, n), 0.2, 1.0)
    return eccentricity * np.cos(angle), eccentricity * np.sin(angle), size, compression


def _sample_early(anatomy: Anatomy, size: NDArray[np.float64], rng: Generator) -> Array:
    """Sample weights of the early channels: tones, an orientation, and finer edges in smaller fields."""
    n = len(anatomy)
    tones = rng.gamma(1.0, size=(N_TONES, n)) * np.repeat([1.5, 2.0, 2.0], 2)[:, None]
    preferred = rng.uniform(0, np.pi, n)
    turns = np.arange(N_ORIENTATIONS)[:, None] * np.pi / N_ORIENTATIONS
    orientation = np.exp(rng.gamma(2.0, 0.4, n) * np.cos(2 * (turns - preferred)))
    best = np.log(3.0 / np.clip(size, 0.3, 2.0)) + rng.normal(0, 0.3, n)
    fineness = np.exp(-((np.log(CYCLES_PER_IMAGE)[:, None] - np.log(5.0) - best + 0.9) ** 2) / 2)
    edges = (fineness[:, None] * orientation[None]).reshape(N_EDGES, n)
    edges *= 10 / edges.sum(axis=0)
    coloured = rng.gamma(1.0, size=(len(CHANNELS) - N_TONES - N_EDGES, n))
    weights = np.concatenate([tones * 0.4, edges, coloured])
    return np.asarray(weights * np.exp(rng.normal(0, 0.3, weights.shape)), dtype=np.float32)


def _smoothing(anatomy: Anatomy, reach_mm: float = 6.0) -> Array:
    """Return rows of unit length that average over near voxels, so that tuning varies smoothly over the cortex."""
    square = np.sum(anatomy.position**2, axis=1)
    distance = np.maximum(square[:, None] + square - 2 * anatomy.position @ anatomy.position.T, 0)
    kernel = np.exp(-distance / (2 * reach_mm**2)) * (anatomy.stream[:, None] == anatomy.stream)
    return np.asarray(kernel / np.linalg.norm(kernel, axis=1, keepdims=True), dtype=np.float32)


def _sample_tuning(n: int, near: Array, rng: Generator) -> Array:
    """Sample weights ``(n, n_voxels)``: half the variance is shared with near voxels, half is independent."""
    drawn = rng.standard_normal((2, n, len(near))).astype(np.float32)
    return np.asarray((drawn[0] @ near.T + drawn[1]) / np.float32(np.sqrt(2)), dtype=np.float32)


def _attribute_weight() -> Array:
    weight = np.full((len(ATTRIBUTES), 1), 0.7, dtype=np.float32)
    weight[: len(NAMED)] = 1.0
    return weight


def sample_ncsnr(anatomy: Anatomy, rng: Generator) -> NDArray[np.float64]:
    """Sample ncsnr, ``(n_voxels,)``: log-normal in a stream, smooth over the cortex, with one level per subject."""
    field = _sample_tuning(1, _smoothing(anatomy), rng)[0]
    level = np.exp(np.clip(rng.normal(0, 0.08), -0.1, 0.1))
    ncsnr = np.zeros(len(anatomy))
    for name in STREAMS:
        voxels = anatomy.where(name)
        order = (np.argsort(np.argsort(field[voxels])) + 0.5) / voxels.sum()
        stream = PROPERTIES[name]
        ncsnr[voxels] = level * stream.ncsnr * np.exp(stream.ncsnr_spread * ndtri(order))
    return np.clip(ncsnr, 0.03, 2.0)
