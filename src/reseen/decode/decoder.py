"""Decoder: a linear map, or a user's estimator, from the voxels of some ROIs to one feature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import TypeAdapter

from reseen.decode.estimators import FittedMap
from reseen.decode.tasks import FitData, fit_all, only_voxels
from reseen.errors import ResultsError, ShapeError
from reseen.estimator import Estimator
from reseen.executor import Serial
from reseen.features import Features
from reseen.files import opening_tensors, write_tensors
from reseen.recipe import DecodeRecipe
from reseen.responses import correlation
from reseen.ridge import RidgeMap
from reseen.trials import SessionScaling, Trials

SAVED_AS = "decoder"
"""Key of the decoder's settings in the metadata of its file."""


class Decoder(Estimator):
    """Decoder from the responses of some ROIs to a feature, such as z or c.

    Follows scikit-learn's conventions: `get_params`, `set_params` and ``sklearn.base.clone`` work, and attributes that
    end with an underscore exist once it is fitted.

    Parameters
    ----------
    rois
        ROIs whose voxels are used, as a union. Left out: all voxels.
    estimator
        Any object with ``fit(X, Y)`` and ``predict(X)``, such as a scikit-learn pipeline; X has shape ``(n_trials,
        n_voxels)``, Y ``(n_trials, n_targets)``. It is cloned before it is fitted. Left out: reseen's ridge, which
        chooses a penalty for each target; the parameters below are for this ridge.
    alphas
        Grid of ridge penalties, in the convention of scikit-learn's ``Ridge``. Left out: a grid scaled to the data.
    n_folds
        Number of folds for choosing the penalty.
    share_alpha
        Choose one penalty for all targets; for few stimuli.
    group_folds
        Keep all trials of a stimulus in one fold.
    intercept
        Fit an intercept for every target.
    rescale_averages
        Undo the shrinkage of predictions from averages under a map fitted on single trials
        (`reseen.ridge.average_gain`).
    seed
        Determines which stimuli share a fold.
    device
        ``"numpy"``, or a torch device, such as ``"cuda"``.

    Attributes
    ----------
    map_
        The fitted map: a `reseen.RidgeMap`, or the fitted estimator.
    feature_, shape_
        Name of the feature, and its shape for one stimulus.
    voxels_
        Shape ``(n_voxels,)``: True for the voxels that are used.
    voxel_index_
        Indices of these voxels in the volume, or ``None``.
    volume_shape_
        Shape of this volume, or ``None`` if it is unknown.
    scaling_
        Means and standard deviations that standardised the training trials within sessions, or ``None``.
    n_trials_, n_stimuli_
        Number of training trials and stimuli.
    n_averaged_
        Largest number of trials averaged in one training row; 1 for single trials.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Features, Trials
    >>> rng = np.random.default_rng(0)
    >>> z = Features("z", rng.normal(size=(40, 4, 2, 2)).astype(np.float32), np.arange(40))
    >>> betas = z.flat @ rng.normal(size=(16, 60)) + rng.normal(size=(40, 60))
    >>> trials = Trials(betas, np.arange(40))
    >>> decoder = Decoder().fit(trials.select(range(30)), z)
    >>> decoder
    Decoder of z (4, 2, 2) from 60 voxels (all)
      ridge, fitted on 30 trials of 30 stimuli
    >>> decoder.predict(trials.select(range(30, 40)))
    Features z: 10 stimuli of shape (4, 2, 2), float32
    >>> decoder.predict(betas[35]).array.shape
    (1, 4, 2, 2)
    >>> decoder.score(trials.select(range(30, 40)), z) > 0.5
    True
    """

    def __init__(
        self,
        rois: Sequence[str] | None = None,
        *,
        estimator: Any = None,
        alphas: Sequence[float] | None = None,
        n_folds: int = 5,
        share_alpha: bool = False,
        group_folds: bool = True,
        intercept: bool = True,
        rescale_averages: bool = True,
        seed: int = 0,
        device: str = "numpy",
    ) -> None:
        self.rois = rois
        self.estimator = estimator
        self.alphas = alphas
        self.n_folds = n_folds
        self.share_alpha = share_alpha
        self.group_folds = group_folds
        self.intercept = intercept
        self.rescale_averages = rescale_averages
        self.seed = seed
        self.device = device

    def __repr__(self) -> str:
        rois = "all" if self.rois is None else ", ".join(self.rois)
        how = "ridge" if self.estimator is None else type(self.estimator).__name__
        if not hasattr(self, "map_"):
            return f"Decoder from {rois}: {how}, not fitted"
        scaled = "" if self.scaling_ is None else "\n  betas standardised within sessions"
        averaged = "" if self.n_averaged_ == 1 else f", averages of up to {self.n_averaged_}"
        return (
            f"Decoder of {self.feature_} {self.shape_} from {int(self.voxels_.sum()):,} voxels ({rois})\n"
            f"  {how}, fitted on {self.n_trials_:,} trials of {self.n_stimuli_:,} stimuli{averaged}{scaled}"
        )

    def fit(self, trials: Trials, features: Features) -> Self:
        """Fit the decoder.

        Parameters
        ----------
        trials
            Training trials, single or averaged; every one is a row of the fit.
        features
            The feature of at least these stimuli.

        Raises
        ------
        ShapeError
            If an ROI or a stimulus is unknown, or there are fewer stimuli than folds.
        DataError
            If a number is not finite.
        """
        chosen = only_voxels(trials, self.rois)
        folds = ((trials.stimulus_id, np.empty(0, dtype=np.int64)),)
        data = FitData(chosen, features, folds, self._recipe(), self.seed, device=self.device, estimator=self.estimator)
        every = np.ones(len(trials), dtype=bool)
        return self.take_map(fit_all(data, Serial(), None)[0], trials, features, every)

    def take_map(
        self,
        fitted: FittedMap,
        trials: Trials,
        features: Features,
        train: NDArray[np.bool_],
        *,
        averaged: bool = False,
    ) -> Self:
        """Store a map that was fitted elsewhere, such as on several workers, and return this decoder.

        Parameters
        ----------
        fitted
            The map.
        trials, features
            Data of the fit, including other voxels and other trials.
        train
            Shape ``(n_trials,)``: True for the trials of the fit.
        averaged
            True if these were averaged by stimulus before the fit.
        """
        counts = trials.n_repetitions[train]
        _, row = np.unique(trials.stimulus_id[train], return_inverse=True)
        if averaged:
            counts = np.bincount(row, weights=counts).astype(np.int64)
        self.map_ = fitted
        self.feature_ = features.name
        self.shape_ = tuple(int(size) for size in features.array.shape[1:])
        self.voxels_ = trials.roi(self.rois)
        self.voxel_index_ = None if trials.voxel_index is None else trials.voxel_index[self.voxels_]
        self.volume_shape_ = trials.volume_shape
        self.scaling_ = None if trials.scaling is None else trials.scaling.voxels(self.voxels_)
        self.n_trials_ = int(train.sum())
        self.n_stimuli_ = int(row.max()) + 1
        self.n_averaged_ = int(counts.max())
        return self

    def predict(self, trials: Trials | ArrayLike) -> Features:
        """Predict the feature of each row.

        Parameters
        ----------
        trials
            Trials with the voxels of the fit. Where the training trials were standardised within sessions and these are
            not, they are standardised like their session. Or an array, ``(n_rows, n_voxels)`` or ``(n_voxels,)``, of
            all voxels of the training trials or of the used voxels, in the units of the training betas; its rows
            get the ids 0, 1, ...

        Returns
        -------
        Features
            One row for each row of ``trials``, in their order.

        Raises
        ------
        ShapeError
            If the voxels are not those of the fit, or a session is unknown.
        DataError
            If a number is not finite.
        """
        self._check_fitted()
        if isinstance(trials, Trials):
            betas, ids = self.betas_of(trials), trials.stimulus_id
            counts = trials.n_repetitions if self.rescale_averages else None
        else:
            betas, counts = self._rows(trials), None
            ids = np.arange(len(betas), dtype=np.int64)
        flat = self.map_.predict(betas, n_repetitions=counts)
        return Features(self.feature_, flat.reshape(len(flat), *self.shape_), ids)

    def score(self, trials: Trials, features: Features) -> float:
        """Return the mean over targets of Pearson's r between prediction and feature, over the rows of ``trials``.

        Targets that do not vary are left out; one that is predicted to be constant counts as 0.
        """
        predicted = self.predict(trials).flat
        true = features.rows(trials.stimulus_id).reshape(len(predicted), -1)
        return float(np.nanmean(correlation(true, predicted)))

    def save(self, path: Path | str) -> None:
        """Write a fitted decoder as one safetensors file.

        Raises
        ------
        ResultsError
            If it cannot be written, or has a user's estimator; save that with its own library.
        """
        arrays, described = self.describe()
        write_tensors(Path(path), arrays, described)

    @classmethod
    def load(cls, path: Path | str) -> Decoder:
        """Read a decoder that `save` wrote, or one of a results folder.

        Raises
        ------
        ResultsError
            If the file is missing, is not a decoder, or changed after it was written.
        """
        with opening_tensors(Path(path)) as (file, computed_by):
            return cls.from_arrays({name: file.get_tensor(name) for name in file.keys()}, computed_by)  # noqa: SIM118

    def describe(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the arrays of a fitted decoder, and its settings as text.

        Raises
        ------
        ResultsError
            If it has a user's estimator.
        """
        self._check_fitted()
        if not isinstance(self.map_, RidgeMap):
            raise ResultsError(
                f"{type(self.estimator).__name__} cannot be saved by reseen, which writes no pickles. Save the "
                "estimator, decoder.map_.estimator, with its own library."
            )
        arrays = {**self.map_.arrays, "voxels": self.voxels_}
        if self.voxel_index_ is not None:
            arrays["voxel_index"] = self.voxel_index_
        if self.scaling_ is not None:
            arrays |= {f"session_{name}": value for name, value in vars(self.scaling_).items()}
        params = self.get_params(deep=False)
        params["rois"] = None if self.rois is None else list(self.rois)
        params["alphas"] = None if self.alphas is None else [float(alpha) for alpha in self.alphas]
        known = {
            "params": params,
            "feature": self.feature_,
            "shape": list(self.shape_),
            "counts": [self.n_trials_, self.n_stimuli_, self.n_averaged_],
            "volume_shape": None if self.volume_shape_ is None else [int(size) for size in self.volume_shape_],
        }
        return arrays, {SAVED_AS: json.dumps(known)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, str]) -> Decoder:
        """Return the decoder of the arrays and text of `describe`.

        Raises
        ------
        ResultsError
            If these are not of a decoder.
        """
        if SAVED_AS not in described:
            raise ResultsError("the file is not a decoder: its metadata name no feature.")
        known = TypeAdapter(dict[str, Any]).validate_json(described[SAVED_AS])
        decoder = cls(**known["params"])
        parts = dict(arrays)
        decoder.voxels_ = parts.pop("voxels")
        decoder.voxel_index_ = parts.pop("voxel_index", None)
        scaling = {
            name: parts.pop(f"session_{name}") for name in ("session", "mean", "scale") if f"session_{name}" in parts
        }
        decoder.scaling_ = SessionScaling(**scaling) if scaling else None
        decoder.map_ = RidgeMap(**parts)
        decoder.feature_ = known["feature"]
        decoder.shape_ = tuple(known["shape"])
        volume = known.get("volume_shape")  # files of earlier versions have none
        decoder.volume_shape_ = None if volume is None else tuple(volume)
        decoder.n_trials_, decoder.n_stimuli_, decoder.n_averaged_ = known["counts"]
        return decoder

    def _recipe(self) -> DecodeRecipe:
        """Return the settings of the ridge as a recipe."""
        names = ("n_folds", "share_alpha", "group_folds", "intercept", "rescale_averages")
        values = {name: getattr(self, name) for name in names}
        values["alphas"] = None if self.alphas is None else tuple(float(alpha) for alpha in self.alphas)
        return DecodeRecipe().model_copy(update=values)

    def _check_fitted(self) -> None:
        if not hasattr(self, "map_"):
            raise ShapeError("this decoder is not fitted. Call fit(trials, features) first.")

    def betas_of(self, trials: Trials) -> NDArray[np.float32]:
        """Return the betas of the decoder's voxels, ``(n_trials, n_voxels)``, in the units of the fit.

        Raises
        ------
        ShapeError
            If the voxels are not those of the fit, or a session is unknown.
        """
        self._check_fitted()
        mask = trials.roi(self.rois)
        betas = trials.betas[:, mask]
        if betas.shape[1] != self.voxels_.sum():
            raise ShapeError(
                f"these trials have {betas.shape[1]} voxels in the ROIs of the decoder; it was fitted on "
                f"{self.voxels_.sum()}. Read the same ROIs of the same subject."
            )
        index = None if trials.voxel_index is None else trials.voxel_index[mask]
        if index is not None and self.voxel_index_ is not None and not np.array_equal(index, self.voxel_index_):
            raise ShapeError("these trials have other voxels than the decoder was fitted on: their indices differ.")
        if self.scaling_ is None and trials.scaling is not None:
            raise ShapeError("the decoder was fitted on betas that were not standardised within sessions; these were.")
        if self.scaling_ is not None and trials.scaling is None:
            return self.scaling_.apply(betas, trials.session)
        return betas

    def _rows(self, betas: ArrayLike) -> NDArray[np.float32]:
        """Return the rows of an array, with the decoder's voxels."""
        array = np.asarray(betas, dtype=np.float32)
        rows = array[None] if array.ndim == 1 else array
        n_used, n_all = int(self.voxels_.sum()), len(self.voxels_)
        if rows.ndim != 2 or rows.shape[1] not in (n_used, n_all):
            raise ShapeError(
                f"betas have shape {array.shape}; the decoder needs {n_used} voxels, or the {n_all} of its training "
                "trials, in each row."
            )
        return rows if rows.shape[1] == n_used else rows[:, self.voxels_]
