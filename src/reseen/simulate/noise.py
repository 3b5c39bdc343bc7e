"""Noise of simulated sessions, and the noise ceilings measured from the noisy responses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reseen.simulate.anatomy import Anatomy

Array = NDArray[np.float32]

NOISE_VARIANCES = {"own": 0.50, "spatial": 0.22, "signal_like": 0.20, "arousal": 0.03, "drift": 0.05}
"""Proportions of each voxel's noise variance: independent; shared with near voxels; along the signal's leading
dimensions; shared by all voxels; slow within a session."""
SPATIAL_REACH_MM = 8.0
N_LEADING = 20
LAPSE_RATE = 0.025  # proportion of trials without attention
LAPSE_GAIN = 0.2  # factor of the signal in these trials
SESSION_GAIN_SPREAD = 0.10  # standard deviation of gains over sessions
_LARGEST_PERCENT = 100.0
_MAX_DIRECT = 1200
"""Maximum size of a Gram matrix that is decomposed directly; NSD's 10,000 would take minutes and gigabytes."""


@dataclass(frozen=True)
class Scanner:
    """Noise of one subject.

    Parameters
    ----------
    ncsnr
        Shape ``(n_voxels,)``: target ratio of signal to noise standard deviation in single trials.
    noise_sd
        Shape ``(n_voxels,)``: standard deviation of the added noise; the signal has 1.
    amplitude, baseline
        Shape ``(n_voxels,)``: per cent signal change of one unit of signal, and of the mean response.
    near
        Shape ``(n_voxels, n_voxels)``: mixes independent noise into noise that near voxels share, unit variance.
    leading
        Shape ``(n_leading, n_voxels)``: the signal's leading dimensions, scaled to give noise of unit variance.
    arousal
        Shape ``(n_voxels,)``: unit-variance loadings on the fluctuation that all voxels share.
    session_gain
        Shape ``(n_sessions, n_voxels)``: gain of each voxel in each session, 1 on average.
    """

    ncsnr: NDArray[np.float64]
    noise_sd: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    baseline: NDArray[np.float64]
    near: Array
    leading: Array
    arousal: Array
    session_gain: NDArray[np.float64]


def sample_scanner(
    anatomy: Anatomy, signal: Array, ncsnr: NDArray[np.float64], n_sessions: int, rng: Generator
) -> Scanner:
    """Sample one subject's noise; part of it is along the dimensions of ``signal`` ``(n_stimuli, n_voxels)``."""
    n = len(anatomy)
    lapses = LAPSE_RATE * (1 - LAPSE_RATE) * (1 - LAPSE_GAIN) ** 2
    spread = signal.std(axis=0, dtype=np.float64)
    gain = 1 + SESSION_GAIN_SPREAD * np.sqrt(0.5) * (
        rng.normal(size=(n_sessions, 1)) + rng.normal(size=(n_sessions, n))
    )
    gain /= gain.mean(axis=0)
    kept = (1 - LAPSE_RATE * (1 - LAPSE_GAIN)) ** 2
    added = (kept / ncsnr**2 - lapses - gain.var(axis=0)) * spread**2
    return Scanner(
        ncsnr=ncsnr,
        noise_sd=np.sqrt(np.maximum(added, 1e-4)),
        amplitude=np.exp(rng.normal(np.log(0.5), 0.35, n)),
        baseline=np.abs(rng.normal(1.0, 0.7, n)),
        near=_spatial_mixing(anatomy),
        leading=_leading_dimensions(signal),
        arousal=(1 + rng.normal(0, 0.5, n)).astype(np.float32) / np.float32(np.sqrt(1.25)),
        session_gain=gain,
    )


def _spatial_mixing(anatomy: Anatomy) -> Array:
    """Return the factor of a covariance that falls off exponentially with distance."""
    square = np.sum(anatomy.position**2, axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * anatomy.position @ anatomy.position.T, 0))
    covariance = np.exp(-distance / SPATIAL_REACH_MM)
    return np.asarray(np.linalg.cholesky(covariance + 1e-6 * np.eye(len(covariance))), dtype=np.float32)


def _leading_dimensions(signal: Array) -> Array:
    """Return the signal's principal dimensions, each weighted by its sd, scaled to unit variance per voxel."""
    centred = signal.astype(np.float64) - signal.mean(axis=0, dtype=np.float64)
    if len(centred) <= _MAX_DIRECT:
        vectors = np.linalg.eigh(centred @ centred.T)[1]
    else:
        vectors = _krylov_vectors(centred, _MAX_DIRECT)
    top = vectors[:, ::-1][:, : min(N_LEADING, len(centred))]
    directions = top.T @ centred
    size = np.sqrt(np.sum(directions**2, axis=0))
    return np.asarray(directions / np.where(size > 0, size, 1), dtype=np.float32)


def _krylov_vectors(centred: NDArray[np.float64], n_most: int) -> NDArray[np.float64]:
    """Compute the leading eigenvectors of a Gram matrix in a small subspace, without forming the matrix.

    Lanczos algorithm with full reorthogonalisation (Golub and Van Loan, Matrix Computations, section 10.3). Signs of
    eigenvectors are arbitrary. Three conventions reproduce the signs of LAPACK for the full matrix, so that data sets
    have the same bytes as before: the first step is the first image, ``n`` is halved down to the number of steps, and
    vectors have the signs of Householder's method. (This fails if the rank of the rows is below the number of steps.)

    Parameters
    ----------
    centred
        Shape ``(n, n_voxels)``.
    n_most
        Maximum number of steps; there are at least half as many.

    Returns
    -------
    Shape ``(n, n_steps)``, leading eigenvectors last; some dozens of them are exact.
    """
    n_steps = len(centred)
    while n_steps > n_most:
        n_steps //= 2
    basis = np.zeros((n_steps, len(centred)))
    basis[0, 0] = 1
    diagonal, beside = np.zeros(n_steps), np.zeros(n_steps)
    for k in range(n_steps):
        step = centred @ (basis[k] @ centred)
        diagonal[k] = step @ basis[k]
        for _ in range(2):  # twice, because of rounding errors
            step -= (basis[: k + 1] @ step) @ basis[: k + 1]
        beside[k] = np.linalg.norm(step)
        if k + 1 == n_steps or beside[k] < np.finfo(np.float64).eps * diagonal.max():
            break
        basis[k + 1] = step / beside[k]
    basis, diagonal, beside = basis[: k + 1], diagonal[: k + 1], beside[:k]
    turn = np.copysign(1, np.append(1, np.diag(np.linalg.qr(basis[1:, 1:].T, mode="r"))))
    beside *= turn[:-1] * turn[1:]
    vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[1]
    return np.asarray((basis.T * turn) @ vectors)


def sample_day(scanner: Scanner, rng: Generator) -> Scanner:
    """Return the scanner on another day: one session, whose voxels have gains of their own."""
    gain = 1 + SESSION_GAIN_SPREAD * rng.normal(size=(1, len(scanner.noise_sd)))
    return replace(scanner, session_gain=gain)


def measure_session(scanner: Scanner, session: int, signal: Array, rng: Generator) -> tuple[Array, NDArray[np.bool_]]:
    """Simulate the measurement of one session.

    Parameters
    ----------
    session
        Number of the session, from 0.
    signal
        Shape ``(n_trials, n_voxels)``: the noise-free response to each trial's image, in order of presentation.

    Returns
    -------
    betas
        Shape ``(n_trials, n_voxels)`` float32: per cent signal change.
    lapse
        Shape ``(n_trials,)``: trials on which the subject did not attend.
    """
    n_trials, n_voxels = signal.shape
    lapse = rng.random((n_trials,)) < LAPSE_RATE
    seen = signal * (np.where(lapse, LAPSE_GAIN, 1.0)[:, None] * scanner.session_gain[session])
    noise = _sample_noise(scanner, n_trials, rng) * scanner.noise_sd.astype(np.float32)
    baseline = scanner.baseline + scanner.amplitude * rng.normal(0, 0.3, n_voxels)
    percent = np.clip(baseline + scanner.amplitude * (seen + noise), -_LARGEST_PERCENT, _LARGEST_PERCENT)
    return np.asarray(percent, dtype=np.float32), np.asarray(lapse)


def _sample_noise(scanner: Scanner, n_trials: int, rng: Generator) -> Array:
    """Sample the noise of one session, ``(n_trials, n_voxels)`` float32, unit variance."""
    n_voxels = len(scanner.ncsnr)

    def draw(columns: int) -> Array:
        return rng.standard_normal((n_trials, columns), dtype=np.float32)

    sd = {name: np.float32(np.sqrt(variance)) for name, variance in NOISE_VARIANCES.items()}
    noise = sd["own"] * draw(n_voxels)
    noise += sd["spatial"] * (draw(n_voxels) @ scanner.near.T)
    noise += sd["signal_like"] * (draw(len(scanner.leading)) @ scanner.leading)
    noise += sd["arousal"] * (draw(1) * scanner.arousal)
    drift = rng.standard_normal((4, n_voxels), dtype=np.float32) @ scanner.near.T
    noise += sd["drift"] * (_slow_waves(n_trials) @ drift)
    return np.asarray(noise, dtype=np.float32)


def _slow_waves(n_trials: int) -> Array:
    """Return four waves of half a period to two in a session, ``(n_trials, 4)``, each with variance 1/4."""
    time = (np.arange(n_trials) + 0.5) / n_trials
    return np.stack([np.cos(np.pi * k * time) * np.sqrt(0.5) for k in range(1, 5)], axis=1).astype(np.float32)


def measure_ncsnr(betas: Array, stimulus_id: NDArray[np.int64], session: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the noise ceiling signal-to-noise ratio with NSD's formula, ``(n_voxels,)``.

    Betas are z-scored within each session. Noise variance is the variance (ddof 1) over the first three trials of an
    image, averaged over images with three trials or more. Signal variance is one minus noise variance. If no image has
    three trials, images with two are used.
    """
    scaled = np.empty(betas.shape, dtype=np.float32)
    for one in np.unique(session):
        rows = session == one
        part = betas[rows] - betas[rows].mean(axis=0)
        spread = part.std(axis=0)
        scaled[rows] = part / np.where(spread > 0, spread, 1)
    _, row, count = np.unique(stimulus_id, return_inverse=True, return_counts=True)
    n_used = min(int(count.max()), 3)  # presentations of each image
    if n_used < 2:
        return np.zeros(betas.shape[1], dtype=np.float32)
    starts = (np.cumsum(count) - count)[count >= n_used]
    trials = np.argsort(row, kind="stable")[starts[:, None] + np.arange(n_used)]  # (n_images, n_used)
    noise = scaled[trials].var(axis=1, ddof=1).mean(axis=0)
    signal = np.maximum(1 - noise, 0)
    return np.asarray(np.sqrt(signal / np.where(noise > 0, noise, 1)), dtype=np.float32)
