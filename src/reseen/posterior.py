"""Posterior: probability of each of many known stimuli given decoded features.

A decoder shrinks uncertain features, and mixes a stimulus with similar ones. The relation between true and decoded
features is estimated on stimuli outside the fit: ``decoded = true @ gain + offset + noise``, with Gaussian noise that
is correlated over features. Each candidate, such as the captions of a training image, then has a probability given the
decoded features: Bayesian reconstruction with an empirical prior (Naselaris et al., Neuron 2009). The mean over
candidates, weighted by this probability, is closer to the generator's training conditionings than the decoded feature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ShapeError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

SAMPLED_ROWS = 2000
"""Largest number of rows, evenly spread, for the components and for a calibration."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Penalties of the gain, relative to the variance of the leading component."""
TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
"""Factors of the noise covariance: noise is neither Gaussian nor equal for all stimuli."""


@dataclass(frozen=True)
class Components:
    """Leading principal components of a feature space.

    Parameters
    ----------
    mean
        Shape ``(n_targets,)``.
    axes
        Shape ``(n_components, n_targets)``, orthonormal rows.
    """

    mean: Float32
    axes: Float32

    @classmethod
    def fit(cls, features: Float32, n_components: int) -> Components:
        """Compute the leading components of features ``(n, n_targets)``, at most the rank of the features.

        Raises
        ------
        ShapeError
            If fewer than two rows are given, or all are equal.
        """
        rows = features[_spread(len(features))]
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        centred = rows - mean
        if len(rows) < 2 or not centred.any():
            raise ShapeError(
                f"principal components need at least two different stimuli; all {len(rows)} are equal.",
                where="features",
                expected=2,
                found=len(rows),
            )
        variance, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))  # of rows: fewer than targets
        leading = np.argsort(-variance)[:n_components]
        leading = leading[variance[leading] > 1e-6 * variance.max()]
        axes = (vectors[:, leading] / np.sqrt(variance[leading])).T @ centred
        return cls(mean, axes.astype(np.float32))

    def project(self, features: Float32) -> Float32:
        """Return the coordinates of features ``(n, n_targets)``, ``(n, n_components)``."""
        return np.asarray((features - self.mean) @ self.axes.T, dtype=np.float32)


@dataclass(frozen=True)
class DecodingNoise:
    """Model of decoding: ``decoded = true @ gain + offset + noise``.

    Parameters
    ----------
    gain
        Shape ``(k, k)``.
    offset
        Shape ``(k,)``.
    whitening
        Shape ``(k, k)``: ``noise @ whitening`` has the identity for its covariance.
    """

    gain: Float64
    offset: Float64
    whitening: Float64

    @classmethod
    def fit(cls, true: Float32, decoded: Float32, *, penalty: float) -> DecodingNoise:
        """Fit the model to items that were not used to fit the decoder.

        Parameters
        ----------
        true, decoded
            Shape ``(n, k)``, rows of the same items.
        penalty
            Penalty of the gain, relative to the variance of the leading component. The noise covariance is that of the
            residuals, shrunk towards a multiple of the identity (Ledoit and Wolf 2004).

        Raises
        ------
        ShapeError
            If the two have different shapes, or too few rows for the components.
        """
        from sklearn.covariance import ledoit_wolf

        n, k = true.shape
        if decoded.shape != true.shape or n < k + 2:
            raise ShapeError(
                f"true {true.shape} and decoded {decoded.shape} coordinates must have the same shape, with at least "
                f"{k + 2} rows for {k} components. Use more stimuli, or fewer components.",
                where="true",
                expected=k + 2,
                found=n,
            )
        mean = true.mean(axis=0, dtype=np.float64)
        known, found = true - mean, decoded - decoded.mean(axis=0, dtype=np.float64)
        square = known.T @ known
        square[np.diag_indices(k)] += penalty * np.diagonal(square).max()
        gain = np.linalg.solve(square, known.T @ found)  # ridge regression of decoded on true coordinates
        variance, vectors = np.linalg.eigh(ledoit_wolf(found - known @ gain, assume_centered=True)[0])
        variance = np.maximum(variance, 1e-9 * max(float(variance.max()), 1e-30))
        return cls(gain, decoded.mean(axis=0, dtype=np.float64) - mean @ gain, vectors / np.sqrt(variance))

    def heated(self, temperature: float) -> DecodingNoise:
        """Return the model with the noise covariance multiplied by a temperature."""
        return replace(self, whitening=self.whitening / np.sqrt(temperature))

    def expected(self, true: Float32) -> Float64:
        """Return the mean of the decoded coordinates of stimuli with these true coordinates, ``(n, k)`` each."""
        mean: Float64 = true @ self.gain + self.offset
        return mean

    def log_likelihood(self, decoded: Float32, candidates: Float32) -> Float64:
        """Return the log likelihood of each candidate for each decoded item, up to a constant for the item.

        Parameters
        ----------
        decoded
            Shape ``(n, k)``.
        candidates
            Shape ``(n_candidates, k)``: true coordinates.

        Returns
        -------
        Shape ``(n, n_candidates)``.
        """
        # -|decoded - expected|^2 / 2 in whitened coordinates, without |decoded|^2, which is the same for all candidates
        expected = self.expected(candidates) @ self.whitening
        log: Float64 = (decoded @ self.whitening) @ expected.T
        log -= 0.5 * (expected**2).sum(axis=1)
        return log

    def probabilities(self, decoded: Float32, candidates: Float32) -> Float64:
        """Return each candidate's probability given each decoded item, under a uniform prior.

        Parameters and shapes are those of `log_likelihood`; each row adds up to one.
        """
        weight = self.log_likelihood(decoded, candidates)
        weight -= weight.max(axis=1, keepdims=True)
        np.exp(weight, out=weight)
        weight /= weight.sum(axis=1, keepdims=True)
        return weight


def calibrated_noise(
    true: Float32, decoded: Float32, candidates: Float32, row: Integers, fold: Integers
) -> DecodingNoise:
    """Choose penalty and temperature by the probability of the true candidate, on held-out items.

    Parameters
    ----------
    true, decoded
        Shape ``(n, k)``: items that were not used to fit the decoder.
    candidates
        Shape ``(n_candidates, k)``.
    row
        Shape ``(n,)``: index of the true candidate of each item.
    fold
        Shape ``(n,)``: items of one fold are scored with the noise of the others.

    Returns
    -------
    The noise of all items, with the best penalty and temperature. The score is the mean logarithm of the probability of
    the true candidate, a proper score: overconfidence lowers it.
    """
    sampled = np.zeros(len(true), dtype=bool)
    sampled[_spread(len(true))] = True
    score = np.zeros((len(PENALTIES), len(TEMPERATURES)))
    for number in np.unique(fold):
        others, scored = fold != number, sampled & (fold == number)
        if not scored.any():
            continue
        for p, penalty in enumerate(PENALTIES):
            noise = DecodingNoise.fit(true[others], decoded[others], penalty=penalty)
            log = noise.log_likelihood(decoded[scored], candidates)
            score[p] += [_log_probability(log / temperature, row[scored]).sum() for temperature in TEMPERATURES]
    best_p, best_t = np.unravel_index(score.argmax(), score.shape)
    return DecodingNoise.fit(true, decoded, penalty=PENALTIES[best_p]).heated(TEMPERATURES[best_t])


def _log_probability(log: Float64, row: Integers) -> Float64:
    """Return the logarithm of the probability of one candidate for each item."""
    top = log.max(axis=1)  # subtracted first, so that exp does not overflow
    total = np.log(np.exp(log - top[:, None]).sum(axis=1)) + top
    found: Float64 = log[np.arange(len(log)), row] - total
    return found


def _spread(n: int) -> Integers:
    """Return the indices of at most `SAMPLED_ROWS` of n rows, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, SAMPLED_ROWS)).astype(np.int64))
