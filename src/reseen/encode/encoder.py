"""Encoder: a voxelwise encoding model, from one feature to the responses of every voxel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from reseen.errors import ResultsError, ShapeError
from reseen.estimator import Estimator
from reseen.features import Features
from reseen.files import opening_tensors, write_tensors
from reseen.kernels import default_alphas
from reseen.responses import correlation
from reseen.ridge import EdgeWarning, RidgeMap, fit_ridge
from reseen.trials import Trials

SAVED_AS = "encoder"
"""Key of the encoder's settings in the metadata of its file."""


class Encoder(Estimator):
    """Voxelwise encoding model: predicts the response of every voxel to a stimulus from a feature of the stimulus.

    Ridge regression with a penalty for each voxel, from the standardised feature to the response averaged over
    repetitions. The encoding analyses of a run fit the same models from kernels, without weights, so that features of a
    million numbers fit in memory. Follows scikit-learn's conventions, as `reseen.Decoder` does.

    Parameters
    ----------
    rois
        ROIs whose voxels are predicted, as a union. Left out: all voxels.
    alphas
        Grid of penalties, in the convention of scikit-learn's ``Ridge``. Left out: the grid of the encoding analyses.
    n_folds
        Number of folds for choosing each voxel's penalty.
    seed
        Determines which stimuli share a fold.
    device
        ``"numpy"``, or a torch device, such as ``"cuda"``.

    Attributes
    ----------
    map_
        The fitted `reseen.RidgeMap`, from feature to voxels.
    feature_, shape_
        Name of the feature, and its shape for one stimulus.
    voxels_
        Shape ``(n_voxels,)``: True for the voxels that are predicted.
    voxel_index_
        Indices of these voxels in the volume, or ``None``.
    n_stimuli_
        Number of training stimuli.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Features, Trials
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(60, 4, 2, 2)).astype(np.float32), np.arange(60))
    >>> betas = z.flat @ rng.normal(size=(16, 30)) + rng.normal(size=(60, 30))
    >>> trials = Trials(betas, np.arange(60))
    >>> encoder = Encoder().fit(trials.select(range(50)), z)
    >>> encoder
    Encoder from z (4, 2, 2) to 30 voxels (all)
      ridge, fitted on 50 stimuli
    >>> r = encoder.score(trials.select(range(50, 60)), z)
    >>> r.shape, bool(np.median(r) > 0.5)
    ((30,), True)

    Source: Naselaris et al. (2011), https://doi.org/10.1016/j.neuroimage.2010.07.073.
    """

    def __init__(
        self,
        rois: Sequence[str] | None = None,
        *,
        alphas: Sequence[float] | None = None,
        n_folds: int = 5,
        seed: int = 0,
        device: str = "numpy",
    ) -> None:
        self.rois = rois
        self.alphas = alphas
        self.n_folds = n_folds
        self.seed = seed
        self.device = device

    def __repr__(self) -> str:
        rois = "all" if self.rois is None else ", ".join(self.rois)
        if not hasattr(self, "map_"):
            return f"Encoder to {rois}: ridge, not fitted"
        return (
            f"Encoder from {self.feature_} {self.shape_} to {int(self.voxels_.sum()):,} voxels ({rois})\n"
            f"  ridge, fitted on {self.n_stimuli_:,} stimuli"
        )

    def fit(self, trials: Trials, features: Features) -> Self:
        """Fit the model of every voxel.

        Parameters
        ----------
        trials
            Training trials; they are averaged by stimulus.
        features
            The feature of at least these stimuli.

        Raises
        ------
        ShapeError
            If an ROI or a stimulus is unknown, or there are fewer stimuli than folds.
        DataError
            If a number is not finite.
        """
        self.voxels_ = trials.roi(self.rois)
        averaged = trials.average()
        x = features.rows(averaged.stimulus_id).reshape(len(averaged), -1)
        # a kernel is divided by the number of columns that vary, and so is its penalty
        n_varying = int((np.ptp(x, axis=0) > 0).sum())
        alphas = default_alphas(len(x)) * n_varying if self.alphas is None else self.alphas
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EdgeWarning)  # a voxel of noise has no finite best penalty
            self.map_ = fit_ridge(
                x,
                averaged.betas[:, self.voxels_],
                groups=np.arange(len(x)),
                alphas=[float(alpha) for alpha in alphas],
                n_folds=self.n_folds,
                seed=self.seed,
                device=self.device,
            )
        self.feature_ = features.name
        self.shape_ = tuple(int(size) for size in features.array.shape[1:])
        self.voxel_index_ = None if trials.voxel_index is None else trials.voxel_index[self.voxels_]
        self.n_stimuli_ = len(x)
        return self

    def predict(self, features: Features) -> NDArray[np.float32]:
        """Predict the responses to stimuli, ``(n_stimuli, n_voxels)``, in the order of the features.

        Raises
        ------
        ShapeError
            If the feature has another shape than that of the fit.
        """
        if not hasattr(self, "map_"):
            raise ShapeError("this encoder is not fitted. Call fit(trials, features) first.")
        if features.array.shape[1:] != self.shape_:
            raise ShapeError(
                f"{features.name} has shape {features.array.shape[1:]}; the encoder was fitted on {self.feature_} of "
                f"shape {self.shape_}."
            )
        return self.map_.predict(features.flat)

    def score(self, trials: Trials, features: Features) -> NDArray[np.float64]:
        """Return Pearson's r between the predicted and the measured responses of each voxel over stimuli.

        Parameters
        ----------
        trials
            Test trials of at least three stimuli; they are averaged by stimulus.
        features
            The feature of at least these stimuli.

        Returns
        -------
        ndarray
            Shape ``(n_voxels,)``; NaN for a voxel whose response does not vary, 0 for a constant prediction.
        """
        measured = trials.average()
        if len(measured) < 3:
            raise ShapeError(f"a correlation needs at least three test stimuli; found {len(measured)}.")
        rows = Features(features.name, features.rows(measured.stimulus_id), measured.stimulus_id)
        return correlation(measured.betas[:, trials.roi(self.rois)], self.predict(rows))

    def save(self, path: Path | str) -> None:
        """Write a fitted encoder as one safetensors file.

        Raises
        ------
        ResultsError
            If it cannot be written.
        """
        if not hasattr(self, "map_"):
            raise ShapeError("this encoder is not fitted. Call fit(trials, features) first.")
        arrays = {**self.map_.arrays, "voxels": self.voxels_}
        if self.voxel_index_ is not None:
            arrays["voxel_index"] = self.voxel_index_
        params = self.get_params(deep=False)
        params["rois"] = None if self.rois is None else list(self.rois)
        params["alphas"] = None if self.alphas is None else [float(alpha) for alpha in self.alphas]
        known = {"params": params, "feature": self.feature_, "shape": self.shape_, "n_stimuli": self.n_stimuli_}
        write_tensors(Path(path), arrays, {SAVED_AS: json.dumps(known)})

    @classmethod
    def load(cls, path: Path | str) -> Encoder:
        """Read an encoder that `save` wrote.

        Raises
        ------
        ResultsError
            If the file is missing, is not an encoder, or changed after it was written.
        """
        with opening_tensors(Path(path)) as (file, described):
            if SAVED_AS not in described:
                raise ResultsError(f"{path} is not an encoder: its metadata name no feature.")
            known = TypeAdapter(dict[str, Any]).validate_json(described[SAVED_AS])
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        encoder = cls(**known["params"])
        encoder.voxels_ = parts.pop("voxels")
        encoder.voxel_index_ = parts.pop("voxel_index", None)
        encoder.map_ = RidgeMap(**parts)
        encoder.feature_, encoder.shape_ = known["feature"], tuple(known["shape"])
        encoder.n_stimuli_ = known["n_stimuli"]
        return encoder
