"""Filters of the simulated cortex: early vision and a fixed random network.

No filter depends on captions, categories, a diffusion model or another network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIDE = 64
"""Side of the cortex's input images, in pixels; scenes and figures are drawn at this size."""
VIEW_DEGREES = 8.4
"""The image's side in degrees of visual angle, as in NSD."""

CYCLES_PER_IMAGE = (5.0, 9.0, 16.0)
N_ORIENTATIONS = 4
CHANNELS = (
    *("light", "dark", "reddish", "greenish", "bluish", "yellowish"),
    *(f"edge{c:g}@{180 * o // N_ORIENTATIONS}" for c in CYCLES_PER_IMAGE for o in range(N_ORIENTATIONS)),
    *("edge_red_green", "edge_blue_yellow"),
)
"""The early channels, in order."""
N_TONES = 6
N_EDGES = len(CYCLES_PER_IMAGE) * N_ORIENTATIONS

_TO_OPPONENT = np.array([[0.30, 0.59, 0.11], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]], dtype=np.float32)
_MARGIN = 16
"""Grey margin around the image, in pixels: the image is on a grey screen, as in NSD."""
_AROUND = 4
_SEMI_SATURATION = 0.02
_WIDTHS = (32, 64, 128, 256)


def opponent(images: NDArray[np.uint8]) -> Array:
    """Split images ``(n, 64, 64, 3)`` into luminance against grey, red-green and blue-yellow, ``(n, 3, 64, 64)``."""
    linear = np.moveaxis(images.astype(np.float32) / 255, 3, 1)
    planes = np.einsum("oc,ncij->noij", _TO_OPPONENT, linear, optimize=True)
    planes[:, 0] -= 0.5
    return np.asarray(planes, dtype=np.float32)


def early_channels(images: NDArray[np.uint8]) -> Array:
    """Return half-wave rectified tones and quadrature-pair edge energies, ``(n, len(CHANNELS), 32, 32)`` float32.

    Oriented edges are magnitudes of complex Gabor responses in three spatial frequencies and four orientations; the two
    coloured edges sum over two orientations at the middle frequency. Edges are divided by the surrounding contrast and
    the contrast of the complete image (divisive normalisation, as in contrast-gain models of V1).
    """
    planes = opponent(images)
    tones = [halve(np.maximum(sign * planes[:, plane], 0)) for plane in range(3) for sign in (1, -1)]
    spectra = np.fft.fft2(np.pad(planes, ((0, 0), (0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))))
    gabors = _gabors()
    edges = [_energy(spectra[:, 0], gabor) for gabor in gabors]
    first, second = gabors[N_ORIENTATIONS : 2 * N_ORIENTATIONS : 2]
    coloured = [_energy(spectra[:, plane], first) + _energy(spectra[:, plane], second) for plane in (1, 2)]
    return np.concatenate([np.stack(tones, axis=1), _normalised(np.stack(edges + coloured, axis=1))], axis=1)


def _normalised(edges: Array) -> Array:
    """Divide edge energies ``(n, c, h, w)`` by their local mean and their mean over the image."""
    mean = edges.mean(axis=1, keepdims=True)
    n, _, height, width = mean.shape
    around = mean.reshape(n, 1, height // _AROUND, _AROUND, width // _AROUND, _AROUND).mean(axis=(3, 5))
    around = around.repeat(_AROUND, axis=2).repeat(_AROUND, axis=3)
    overall = mean.mean(axis=(2, 3), keepdims=True)
    return np.asarray(edges / (_SEMI_SATURATION + (around + overall) / 2), dtype=np.float32)


def _energy(spectrum: NDArray[np.complexfloating], gabor: Array) -> Array:
    """Return the strength of edges at each position, ``(n, 32, 32)``, independent of phase."""
    inside = slice(_MARGIN, -_MARGIN)
    # cropped after the first axis, so that the second transform has fewer columns
    rows = np.fft.ifft(spectrum * gabor, axis=-1)[..., inside]
    return halve(np.abs(np.fft.ifft(rows, axis=-2)[..., inside, :]))


def halve(plane: NDArray[np.floating]) -> Array:
    """Return planes ``(..., h, w)`` at half their size: means of two by two pixels."""
    pairs = plane[..., ::2] + plane[..., 1::2]
    return np.asarray((pairs[..., ::2, :] + pairs[..., 1::2, :]) / 4, dtype=np.float32)


def _gabors() -> list[NDArray[np.float32]]:
    """Return the filters' transfer functions, one-sided so that responses are quadrature pairs, each ``(96, 96)``."""
    cycles_per_image = np.fft.fftfreq(SIDE + 2 * _MARGIN) * SIDE
    y, x = np.meshgrid(cycles_per_image, cycles_per_image, indexing="ij")
    filters = []
    for cycles in CYCLES_PER_IMAGE:
        for turn in np.arange(N_ORIENTATIONS) * np.pi / N_ORIENTATIONS:
            gap = np.hypot(x - cycles * np.cos(turn), y - cycles * np.sin(turn))
            passed = 2 * np.exp(-((gap / (0.45 * cycles)) ** 2) / 2)
            passed[0, 0] = 0
            filters.append(passed.astype(np.float32))
    return filters


@dataclass(frozen=True)
class RandomNetwork:
    """Fixed random convolutional network: four layers of random filters, rectification and pooling.

    Parameters
    ----------
    weights
        One ``(n_out, n_in, side, side)`` float32 for each layer.
    bias
        One ``(n_out,)`` for each layer, in standard deviations of the drive: positive thresholds make units sparse.
    shift, scale
        One ``(n_out,)`` for each layer: mean and standard deviation of the drive over the tuning images.
    """

    weights: tuple[Array, ...]
    bias: tuple[Array, ...]
    shift: tuple[Array, ...] = ()
    scale: tuple[Array, ...] = ()

    def activations(self, images: NDArray[np.uint8]) -> tuple[Array, Array]:
        """Compute the activations of the middle layer ``(n, 128, 8, 8)`` and of the last one ``(n, 256, 8, 8)``."""
        middle = last = _as_input(images)
        for layer in range(len(self.weights)):
            middle, last = last, self._layer(layer, last)
        return middle, last

    def _layer(self, layer: int, inputs: Array) -> Array:
        drive = convolve(inputs, self.weights[layer], stride=_STRIDES[layer])
        shift, scale = self.shift[layer], self.scale[layer]
        drive -= shift[:, None, None]
        drive /= scale[:, None, None]
        drive -= self.bias[layer][:, None, None]
        np.maximum(drive, 0, out=drive)
        return halve(drive) if layer == _POOLED_LAYER else drive

    def tuned(self, images: NDArray[np.uint8]) -> RandomNetwork:
        """Return the network whose units are standardised over these images, layer by layer."""
        shift: tuple[Array, ...] = ()
        scale: tuple[Array, ...] = ()
        state = _as_input(images)
        for layer in range(len(self.weights)):
            drive = convolve(state, self.weights[layer], stride=_STRIDES[layer])
            shift += (drive.mean(axis=(0, 2, 3)),)
            scale += (np.maximum(drive.std(axis=(0, 2, 3)), np.float32(1e-6)),)
            state = RandomNetwork(self.weights, self.bias, shift, scale)._layer(layer, state)
        return RandomNetwork(self.weights, self.bias, shift, scale)


_STRIDES = (2, 2, 1, 1)
_POOLED_LAYER = 2


def sample_network(rng: Generator) -> RandomNetwork:
    """Sample a network; the first layer's filters are smooth, and most do not respond to mean luminance."""
    weights, bias = [], []
    n_in = 3
    for layer, n_out in enumerate(_WIDTHS):
        side = 5 if layer == 0 else 3
        drawn = rng.standard_normal((n_out, n_in, side, side)).astype(np.float32)
        if layer == 0:
            drawn[:, :, 1:] += drawn[:, :, :-1]
            drawn[:, :, :, 1:] += drawn[:, :, :, :-1]
            drawn[n_out // 4 :] -= drawn[n_out // 4 :].mean(axis=(2, 3), keepdims=True)
        weights.append(drawn / np.float32(np.sqrt(n_in * side * side)))
        bias.append(rng.normal(0.4, 0.3, n_out).astype(np.float32))
        n_in = n_out
    return RandomNetwork(tuple(weights), tuple(bias))


def _as_input(images: NDArray[np.uint8]) -> Array:
    return np.asarray(opponent(images) * np.array([[[4.0]], [[3.0]], [[3.0]]]), dtype=np.float32)


def convolve(inputs: Array, weights: Array, *, stride: int = 1) -> Array:
    """Convolve ``(n, c, h, w)`` with ``(n_out, c, k, k)``, zeros around, to ``(n, n_out, h / stride, w / stride)``."""
    side = weights.shape[-1]
    pad = side // 2
    padded = np.pad(inputs, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, n_in, height, width = inputs.shape
    rows, columns = height // stride, width // stride
    patches = np.empty((n, n_in, side, side, rows, columns), dtype=np.float32)
    for i in range(side):
        for j in range(side):
            patches[:, :, i, j] = padded[:, :, i : i + height : stride, j : j + width : stride]
    flat = patches.reshape(n, n_in * side * side, rows * columns)
    summed: Array = np.matmul(weights.reshape(len(weights), -1), flat)
    return summed.reshape(n, len(weights), rows, columns)


def batches(n: int, size: int = 50) -> Iterator[slice]:
    """Yield slices of a fixed size over ``n`` images; memory stays small and sums keep their order."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def receptive_fields(x: NDArray[np.float64], y: NDArray[np.float64], size: NDArray[np.float64], side: int) -> Array:
    """Return Gaussian receptive fields on a grid over the image, ``(n_voxels, side * side)`` float32.

    ``x`` (to the right), ``y`` (upwards) and ``size`` (one standard deviation) are in degrees from the middle of the
    image; each field sums to one over the plane, so a field that is half outside the image responds half as much.
    """
    step = VIEW_DEGREES / side
    grid = (np.arange(side) + 0.5) * step - VIEW_DEGREES / 2
    spread = np.hypot(size, step / 2)[:, None]
    across = np.exp(-(((grid - x[:, None]) / spread) ** 2) / 2)
    down = np.exp(-(((-grid - y[:, None]) / spread) ** 2) / 2)
    field = down[:, :, None] * across[:, None, :] * (step**2 / (2 * np.pi * spread**2))[:, :, None]
    return np.asarray(field.reshape(len(x), side * side), dtype=np.float32)
