"""Cortex of a simulated subject: noise-free response of each voxel to an image.

Early voxels sum local tones, colours and oriented edges in a receptive field and compress the sum. Ventral voxels
respond to a fixed random network in large receptive fields, and to a smaller part to categories. The streams between
them mix both. No decoder and no evaluation network uses this random network, and no response depends on captions or on
a diffusion model's features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reseen.cores import map_parallel
from reseen.simulate.filters import RandomNetwork, batches, early_channels, receptive_fields

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]
PARTS = ("early", "middle", "late", "category")
"""Parts of a response: early vision, the network's middle and last layer, categories."""

DECORRELATION = 0.6
"""Degree to which correlations between the network's units are removed, 0 none, 1 all; sets the dimensionality."""
_TUNED_ON = 128  # images


@dataclass(frozen=True)
class Responses:
    """Noise-free responses to images, standardised over the images on which the cortex was tuned.

    Parameters
    ----------
    signal
        Shape ``(n, n_voxels)`` float32.
    category
        Shape ``(n, n_voxels)`` float32: the part of ``signal`` that is due to categories.
    """

    signal: Array
    category: Array

    def category_proportion(self) -> NDArray[np.float64]:
        """Return the proportion of each voxel's signal variance that is due to categories, ``(n_voxels,)``.

        Half of the covariance between the category part and the image part counts as categories.
        """
        signal = self.signal - self.signal.mean(axis=0, dtype=np.float64)
        category = self.category - self.category.mean(axis=0, dtype=np.float64)
        variance = np.mean(signal**2, axis=0)
        return np.asarray(np.mean(signal * category, axis=0) / np.where(variance > 0, variance, 1))


@dataclass(frozen=True)
class Cortex:
    """Voxels of one simulated subject.

    Parameters
    ----------
    x, y, size
        Shape ``(n_voxels,)``, in degrees: centre of the receptive field (to the right of and above the centre of gaze),
        and its standard deviation.
    compression
        Shape ``(n_voxels,)``: exponent of early vision's sum.
    proportion
        Shape ``(3, n_voxels)``: proportions of the image-driven variance: early, middle and late.
    category_target
        Shape ``(n_voxels,)``: target proportion of signal variance for categories.
    network
        The subject's own random network.
    early_weights, middle_weights, late_weights, category_weights
        Shapes ``(n_channels, n_voxels)``, ``(128, n_voxels)``, ``(256, n_voxels)``, ``(n_attributes, n_voxels)``.
    offset, gain
        Shape ``(4, n_voxels)`` or None before ``tune``: each part is shifted and scaled before they are summed.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    size: NDArray[np.float64]
    compression: NDArray[np.float64]
    proportion: NDArray[np.float64]
    category_target: NDArray[np.float64]
    network: RandomNetwork
    early_weights: Array
    middle_weights: Array
    late_weights: Array
    category_weights: Array
    offset: Array | None = None
    gain: Array | None = None

    def tune(
        self, images: NDArray[np.uint8], attributes: Array | None, progress: Progress | None = None
    ) -> tuple[Cortex, Responses]:
        """Set the gains so that each voxel's responses to these images have mean 0 and variance 1.

        Parameters
        ----------
        images
            Shape ``(n, 64, 64, 3)`` uint8.
        attributes
            Shape ``(n, n_attributes)``, or None if categories are unknown; then no voxel responds to them.
        progress
            Function of the number of images done and the total.

        Returns
        -------
        Cortex
            The cortex with its gains.
        Responses
            Its responses to these images.
        """
        standardised = self._standardised(images[:_TUNED_ON])
        parts = standardised._parts(images, attributes, progress)
        offset = np.stack([part.mean(axis=0) for part in parts]).astype(np.float32)
        target = self.category_target if attributes is not None else np.zeros_like(self.category_target)
        gain = _balance(parts, self.proportion, target)
        tuned = replace(standardised, offset=offset, gain=gain)
        return tuned, tuned._combine(parts)

    def _standardised(self, images: NDArray[np.uint8]) -> Cortex:
        """Standardise the network's units on some images, and decorrelate them in part."""
        network = self.network.tuned(images)
        middle, late = network.activations(images)
        return replace(
            self,
            network=network,
            middle_weights=_decorrelation(middle) @ self.middle_weights,
            late_weights=_decorrelation(late) @ self.late_weights,
        )

    def respond(self, images: NDArray[np.uint8], attributes: Array | None) -> Responses:
        """Compute the responses to images ``(n, 64, 64, 3)`` with the gains from ``tune``."""
        return self._combine(self._parts(images, attributes))

    def _combine(self, parts: Array) -> Responses:
        if self.offset is None or self.gain is None:
            raise ValueError("a cortex must be tuned before it responds: call Cortex.tune first.")
        category: Array = (parts[3] - self.offset[3]) * self.gain[3]
        image = np.einsum("knv,kv->nv", parts[:3], self.gain[:3]) - np.sum(self.offset[:3] * self.gain[:3], axis=0)
        return Responses(signal=np.asarray(image + category, dtype=np.float32), category=category)

    def _parts(self, images: NDArray[np.uint8], attributes: Array | None, progress: Progress | None = None) -> Array:
        """Return the raw response of each part, ``(4, n, n_voxels)`` float32; voxels without a part get zeros."""
        parts = np.zeros((len(PARTS), len(images), len(self.x)), dtype=np.float32)
        used = [np.flatnonzero(self.proportion[k] > 0) for k in range(3)]
        grids = zip(used, (32, 8, 8), strict=True)
        fields = [receptive_fields(self.x[v], self.y[v], self.size[v], side).T.copy() for v, side in grids]
        weights = (self.early_weights, self.middle_weights, self.late_weights)
        read = [(field, weight[:, v]) for field, weight, v in zip(fields, weights, used, strict=True)]

        def pool(rows: slice) -> tuple[slice, list[Array]]:
            planes = (early_channels(images[rows]), *self.network.activations(images[rows]))
            return rows, [_pool(part, *filters) for part, filters in zip(planes, read, strict=True)]

        for rows, pooled in map_parallel(pool, batches(len(images))):
            pooled[0] **= self.compression[used[0]]
            for k, v in enumerate(used):
                parts[k][rows, v] = pooled[k]
            if progress is not None:
                progress(rows.stop, len(images))
        if attributes is not None:
            parts[3] = attributes @ self.category_weights
        return parts


def _decorrelation(planes: Array) -> Array:
    """Return the matrix ``(c, c)`` that flattens the spectrum of ``(n, c, h, w)``, to the power 1 - DECORRELATION."""
    flat = np.moveaxis(planes, 1, 3).reshape(-1, planes.shape[1]).astype(np.float64)
    flat -= flat.mean(axis=0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    values = np.maximum(values, 1e-4 * values.max())
    return np.asarray((vectors * values ** (-DECORRELATION / 2)) @ vectors.T, dtype=np.float32)


def _pool(planes: Array, fields: Array, weights: Array) -> Array:
    """Sum ``(n, c, h, w)`` over fields ``(h * w, n_voxels)`` and weights ``(c, n_voxels)``, to ``(n, n_voxels)``."""
    n, channels = planes.shape[:2]
    pooled = np.empty((n, fields.shape[1]), dtype=np.float32)
    flat = planes.reshape(n, channels, -1)
    for i in range(n):
        pooled[i] = np.einsum("cv,cv->v", flat[i] @ fields, weights)
    return pooled


def _balance(parts: Array, proportion: NDArray[np.float64], category: NDArray[np.float64]) -> Array:
    """Compute the gain of each part, ``(4, n_voxels)``, from its proportion of a total variance of one.

    Half of the covariance between category part and image part counts as categories if it is positive, none if it is
    negative. In both cases categories have at most their target proportion.
    """
    spread = np.stack([part.std(axis=0, dtype=np.float64) for part in parts])
    per_unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    centred = parts - parts.mean(axis=1, keepdims=True)
    gain = np.zeros_like(spread)
    gain[:3] = np.sqrt(proportion) * per_unit[:3]
    image = np.einsum("knv,kv->nv", centred[:3], gain[:3].astype(np.float32))
    size = image.std(axis=0, dtype=np.float64)
    gain[:3] *= np.divide(1.0, size, out=np.zeros_like(size), where=size > 1e-6)
    overlap = np.mean(image * centred[3], axis=0, dtype=np.float64) * per_unit[3] / np.where(size > 1e-6, size, 1)
    shared = np.maximum(overlap, 0)
    a, b = np.sqrt(category), np.sqrt(1 - category)
    for _ in range(60):  # fixed point of a² + ab·shared = category and a² + b² + 2ab·overlap = 1
        a = (np.sqrt((b * shared) ** 2 + 4 * category) - b * shared) / 2
        b = np.sqrt((a * overlap) ** 2 + 1 - a**2) - a * overlap
    gain[:3] *= b
    gain[3] = a * per_unit[3]
    return np.asarray(gain, dtype=np.float32)
