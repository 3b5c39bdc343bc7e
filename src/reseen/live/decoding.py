"""Decoding: one trial after the other, its start (such as z) at once, then its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import features_of, in_role
from reseen.decode import Decoder
from reseen.decode.new_trials import (
    RunningScaling,
    ScalingRule,
    match_voxels,
    predict_rows,
    training_statistics,
    units_of_fit,
)
from reseen.errors import DataError, ModelError, RecipeError
from reseen.features import Features
from reseen.reconstruction import generate
from reseen.ridge import RidgeMap
from reseen.trials import Trials

if TYPE_CHECKING:
    from reseen.ldm import LatentDiffusion
    from reseen.recipe import ReconstructRecipe

LIVE_RULES: tuple[ScalingRule, ...] = ("causal", "training")
"""Rules of standardisation that use no later trial."""
LARGEST_BETA = 1e20
"""Betas from here on are fill values or errors, whose standardised values would not be finite in float32."""

Float32 = NDArray[np.float32]
Standardised = Mapping[str, Sequence[Trials]]
"""Standardised row of each decoder, by feature and fold."""


@dataclass(frozen=True, eq=False)
class LiveTrial:
    """One trial that was decoded live.

    Parameters
    ----------
    number
        Number of the trial, from 0 in the order in which trials were decoded.
    session
        Session of the trial.
    stimulus_id
        Stimulus of the trial, or its number if the stimulus is unknown.
    labelled
        Whether the stimulus is known.
    features
        Decoded features by name, one row each. The feature of the start is there at once, the others after
        `LiveDecoder.complete`.
    response_rms
        Root mean square of the standardised voxels of all decoders, about 1 for a typical trial.
    """

    number: int
    session: int
    stimulus_id: int
    labelled: bool
    features: dict[str, Features]
    response_rms: float
    rows: Standardised = field(repr=False)


class LiveDecoder:
    """Decoders of a finished run, for trials that arrive one by one; from `reseen.Results.live`.

    Parameters
    ----------
    decoders
        Decoders of each fold by feature. The prediction is the mean over folds.
    condition
        Condition of the image.
    scaling
        ``"causal"`` or ``"training"``; see `reseen.decode.new_trials`.
    model
        Model that generates the images; None to decode features only.
    recipe
        Settings of the images. One sample of each trial is generated.
    seed, subject
        With the stimulus id, or the number of an unlabelled trial, these determine the noise.
    sd
        Predictive standard deviation of each feature, ``(...)``; features without it have none.
    as_grey
        Replace the colours of each image by its luminance.

    Raises
    ------
    RecipeError
        If the rule of standardisation needs later trials.
    """

    def __init__(
        self,
        decoders: Mapping[str, Sequence[Decoder]],
        *,
        condition: str,
        scaling: ScalingRule,
        model: LatentDiffusion | None,
        recipe: ReconstructRecipe,
        seed: int,
        subject: str,
        sd: Mapping[str, Float32],
        as_grey: bool = False,
    ) -> None:
        if scaling not in LIVE_RULES:
            raise RecipeError(
                f"the scaling {scaling!r} is not for live use: it needs the trials that come later, or does not exist. "
                f"Choose {' or '.join(LIVE_RULES)}.",
                where="scaling",
                expected=LIVE_RULES,
                found=scaling,
            )
        self.decoders = {name: tuple(decoders[name]) for name in features_of(condition)}
        self.condition, self.scaling, self.model, self.sd = condition, scaling, model, dict(sd)
        self.subject = subject
        self._recipe, self._seed, self._as_grey = recipe, seed, as_grey
        self._statistics = {name: list(map(training_statistics, fitted)) for name, fitted in self.decoders.items()}
        self._running: dict[tuple[str, int, int], RunningScaling] = {}
        self._n_decoded = 0

    @property
    def first(self) -> str:
        """Feature that is decoded at once: that of the start, such as z, or the first of the condition."""
        return in_role(self.condition, "start") or features_of(self.condition)[0]

    def __len__(self) -> int:
        """Return the number of trials so far."""
        return self._n_decoded

    def decode(self, trial: Trials, *, labelled: bool = False) -> LiveTrial:
        """Decode the feature of the start of the next trial.

        Parameters
        ----------
        trial
            One trial, with the index of each voxel, not standardised.
        labelled
            Whether its ``stimulus_id`` names a stimulus.

        Raises
        ------
        DataError
            If there is not exactly one trial, it is standardised already, or a number is not finite.
        ShapeError
            If the trial lacks voxels of a decoder, has no voxel indices, or is in another volume.
        """
        found = self.standardise(trial, labelled=labelled)
        self._predict(found, self.first)
        return found

    def standardise(self, trial: Trials, *, labelled: bool = False) -> LiveTrial:
        """Take the next trial into account without decoding it, as `decode` does first; the errors are the same."""
        rows = self._standardised(trial)
        number, self._n_decoded = self._n_decoded, self._n_decoded + 1
        squares = [row.betas.astype(np.float64) ** 2 for parts in rows.values() for row in parts]
        rms = float(np.sqrt(np.concatenate(squares, axis=1).mean()))
        in_units = {name: self._in_units(name, parts) for name, parts in rows.items()}
        stimulus = int(trial.stimulus_id[0]) if labelled else number
        return LiveTrial(number, int(trial.session[0]), stimulus, labelled, {}, rms, in_units)

    def complete(self, trial: LiveTrial) -> None:
        """Decode the features of a trial that are not decoded yet."""
        for name in self.decoders:
            if name not in trial.features:
                self._predict(trial, name)

    def start_image(self, trial: LiveTrial) -> NDArray[np.uint8] | None:
        """Return the image of the start alone, such as the decoding of z; None for a condition without a start.

        Returns
        -------
        ndarray or None
            Shape ``(image_size, image_size, 3)``, RGB.
        """
        start = in_role(self.condition, "start")
        return None if start is None or self.model is None else self._generate(trial.features, start)

    def image(self, trial: LiveTrial) -> NDArray[np.uint8]:
        """Return the image of a trial, one sample, after its remaining features are decoded.

        Returns
        -------
        ndarray
            Shape ``(image_size, image_size, 3)``, RGB.

        Raises
        ------
        ModelError
            If there is no model, or the image is not finite.
        """
        self.complete(trial)
        return self.image_of(trial.features)

    def image_of(self, features: Mapping[str, Features]) -> NDArray[np.uint8]:
        """Return the image of the features of one trial; see `image`."""
        return self._generate(features, self.condition)

    def reliability(self, feature: str) -> float | None:
        """Return the median over the numbers of a feature of R² of held-out single training trials, if it is known."""
        found = []
        for decoder in self.decoders[feature]:
            fitted = decoder.map_
            if not isinstance(fitted, RidgeMap) or fitted.cv_score is None or decoder.n_averaged_ > 1:
                return None
            chosen = np.searchsorted(fitted.alphas, fitted.alpha)
            found.append(fitted.cv_score[chosen, np.arange(len(chosen))])
        return float(np.median(np.mean(found, axis=0)))

    def _standardised(self, trial: Trials) -> dict[str, list[Trials]]:
        """Return the standardised row of every decoder; the running statistics change only if no voxel is wrong."""
        if len(trial) != 1 or trial.scaling is not None:
            raise DataError(
                f"found {len(trial)} trials{' that are standardised already' * (trial.scaling is not None)}; one trial "
                "that is not standardised is needed. Pass one trial at a time, in order of presentation.",
                where="trial",
                expected=1,
                found=len(trial),
            )
        columns = {}
        for name, fitted in self.decoders.items():
            columns[name] = [match_voxels(decoder, trial) for decoder in fitted]
        every = np.unique(np.concatenate([column for parts in columns.values() for column in parts]))
        bad = every[~(np.abs(trial.betas[0, every]) < LARGEST_BETA)]  # also NaN and infinity
        if len(bad):
            raise DataError(
                f"the trial has {len(bad):,} betas that are not finite, or {LARGEST_BETA:g} and more, among the "
                f"{len(every):,} voxels of the decoders. Check the estimate of this trial.",
                where="betas",
                found=len(bad),
            )
        session, rows = int(trial.session[0]), {}
        for name, parts in columns.items():
            found = []
            for fold, column in enumerate(parts):
                standard = self._next(name, fold, session, trial.betas[0, column])
                found.append(Trials(standard[None], trial.stimulus_id, rois={}))
            rows[name] = found
        return rows

    def _next(self, name: str, fold: int, session: int, beta: Float32) -> Float32:
        """Standardise the voxels of one decoder by the rule."""
        mean, scale = self._statistics[name][fold]
        if self.scaling == "training":
            return ((beta - mean) / scale).astype(np.float32)
        key = (name, fold, session)
        if key not in self._running:
            self._running[key] = RunningScaling(mean, scale)
        return self._running[key].standardise(beta)

    def _in_units(self, name: str, rows: Sequence[Trials]) -> list[Trials]:
        """Return the rows of a feature's decoders in the units of their fits."""
        which = zip(self.decoders[name], rows, strict=True)
        return [Trials(units_of_fit(decoder, row.betas), row.stimulus_id, rois={}) for decoder, row in which]

    def _predict(self, trial: LiveTrial, name: str) -> None:
        """Predict one feature: the mean over the decoders of all folds."""
        which = zip(self.decoders[name], trial.rows[name], strict=True)
        parts = [predict_rows(decoder, row).array for decoder, row in which]
        mean = parts[0] if len(parts) == 1 else np.stack(parts).mean(axis=0, dtype=np.float64).astype(np.float32)
        trial.features[name] = Features(name, mean, np.array([trial.stimulus_id]))

    def _generate(self, features: Mapping[str, Features], condition: str) -> NDArray[np.uint8]:
        if self.model is None:
            raise ModelError("this decoder has no model, so that it generates no images. Open it with images=True.")
        made: list[NDArray[np.uint8]] = []
        generate(
            self.model,
            condition,
            {name: features[name] for name in features_of(condition)},
            recipe=self._recipe,
            seed=self._seed,
            subject=self.subject,
            write=lambda _item, _sample, image: made.append(image),
            as_grey=self._as_grey,
        )
        return made[0]
