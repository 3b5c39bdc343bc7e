"""Confidence: what one trial allows to say about how sure its decoding is.

=================== ================================================================================================
number              meaning
=================== ================================================================================================
sd <feature>        predictive standard deviation of one number of the feature (median); the same for every trial
r2 <feature>        R² of held-out single training trials, median over the numbers; the same for every trial
departure <feature> root mean square of (prediction - training mean) / sd; near 0: the decoder returns the mean image
response rms        root mean square of the standardised voxels; about 1 is typical, much more is an artefact
inside <feature>    for known stimuli: proportion of the true numbers in the 80 % intervals of this trial
r <feature>         for known stimuli: correlation of decoded and true feature of this trial
=================== ================================================================================================

None is the probability that the image is right. `reseen.decode.uncertainty` explains the standard deviation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reseen.decode.uncertainty import measure_coverage
from reseen.live.decoding import LiveDecoder, LiveTrial
from reseen.ridge import RidgeMap

COVERAGE = 0.8
"""Nominal coverage of the intervals."""


def confidence_of(decoder: LiveDecoder, trial: LiveTrial, true: NDArray[np.float32] | None = None) -> dict[str, float]:
    """Return the numbers of this module's table for the first feature of a trial, those that are known.

    Parameters
    ----------
    decoder, trial
        The decoder and a trial that it decoded.
    true
        True feature of the stimulus, ``(...)``; None if it is unknown.
    """
    name = decoder.first
    predicted = trial.features[name].array
    found: dict[str, float | None] = {"response rms": trial.response_rms, f"r2 {name}": decoder.reliability(name)}
    sd = decoder.sd.get(name)
    if sd is not None:
        varies = sd > 0
        found[f"sd {name}"] = float(np.median(sd))
        maps = [fitted.map_ for fitted in decoder.decoders[name]]
        mean = np.mean([fitted.intercept for fitted in maps if isinstance(fitted, RidgeMap)], axis=0)
        departure = (predicted[0] - mean.reshape(sd.shape))[varies] / sd[varies]
        found[f"departure {name}"] = float(np.sqrt(np.mean(departure.astype(np.float64) ** 2)))
    if true is not None:
        if sd is not None:
            found[f"inside {name}"] = measure_coverage(predicted, true[None], sd, (COVERAGE,))[0]
        if np.ptp(true) > 0 and np.ptp(predicted) > 0:
            found[f"r {name}"] = float(np.corrcoef(predicted.ravel(), true.ravel())[0, 1])
    return {key: value for key, value in found.items() if value is not None and np.isfinite(value)}
