"""Section ``decode`` of a recipe: how features are decoded from the responses."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from reseen.conditions import FEATURES, STATES
from reseen.recipe.section import Section
from reseen.recipe.types import DecoderName, Folds, Location, Penalty, Some, Text


class RoisRecipe(Section):
    """ROIs that predict each feature."""

    z: Some[Text] = Field(("early",), description="ROIs that predict z")
    c: Some[Text] = Field(("ventral",), description="ROIs that predict c")
    t: Some[Text] | None = Field(None, description="ROIs that predict t; left out: those of c")
    i: Some[Text] | None = Field(None, description="ROIs that predict i; left out: those of c")
    pixels: Some[Text] | None = Field(None, description="ROIs that predict pixels; left out: those of z")


class FeatureAlphasRecipe(Section):
    """Ridge penalties of single features."""

    z: Some[Penalty] | None = Field(None, description="ridge penalties of z; left out: decode.alphas")
    c: Some[Penalty] | None = Field(None, description="ridge penalties of c; left out: decode.alphas")
    t: Some[Penalty] | None = Field(
        None,
        description="ridge penalties of t, or of the states that captions are written from; left out: decode.alphas",
    )
    i: Some[Penalty] | None = Field(None, description="ridge penalties of i; left out: decode.alphas")
    pixels: Some[Penalty] | None = Field(None, description="ridge penalties of pixels; left out: decode.alphas")


class PredictionsRecipe(Section):
    """Predictions of features from other software."""

    z: Location | None = Field(None, description="npz file with stimulus_id and z")
    c: Location | None = Field(None, description="npz file with stimulus_id and c")
    i: Location | None = Field(None, description="npz file with stimulus_id and i")
    pixels: Location | None = Field(
        None, description="npz file with stimulus_id and pixels, or a folder of images named by stimulus id"
    )


class DecodeRecipe(Section):
    """Decoding of z and c from betas."""

    rois: RoisRecipe = Field(
        default_factory=RoisRecipe,
        description='ROIs that predict each feature: {z = ["early"], c = ["ventral"], i = ["ventral"]}; t and i left '
        "out: those of c; pixels left out: those of z",
    )
    decoder: DecoderName = Field(
        "ridge",
        description="ridge, or 'module:name' of your own class or function that, called without arguments, returns an "
        "estimator with fit(X, Y) and predict(X)",
    )
    predictions: PredictionsRecipe | None = Field(
        None,
        description='predictions from other software, instead of decoders: {z = "z.npz", c = "c.npz"}, with arrays '
        "stimulus_id and z or c; {subject} in a path is replaced by the subject's name",
    )
    alphas: Some[Penalty] | None = Field(None, description="ridge penalties; left out: a grid scaled to the data")
    feature_alphas: FeatureAlphasRecipe | None = Field(
        None,
        description="ridge penalties of single features, instead of alphas: {z = [5e4], i = [6e4]}; one number is a "
        "fixed penalty",
    )
    n_folds: Folds = Field(5, description="folds that choose alpha")
    share_alpha: bool = Field(False, description="one alpha for all of z and one for all of c; for few images")
    group_folds: bool = Field(True, description="keep all trials of a stimulus in one fold")
    intercept: bool = Field(True, description="fit the mean of every target")
    rescale_averages: bool = Field(
        True,
        description="undo the shrinkage of predictions that averaging test trials causes; uses training trials only",
    )

    c_prior: Literal["none", "captions"] = Field(
        "none",
        description="none: c as the ridge predicts it; captions: the mean of the training images' c, each weighted by "
        "its probability given the responses; for thousands of training images",
    )

    captions: Literal["retrieved", "blip", "git"] = Field(
        "retrieved",
        description="captions of t: the most probable training caption, or written by model.captioner from its decoded "
        "hidden states",
    )

    def elsewhere(self, feature: str) -> Path | None:
        """Return the file with predictions of a feature from other software, or None."""
        return None if self.predictions is None else getattr(self.predictions, feature, None)

    def rois_of(self, feature: str) -> tuple[str, ...]:
        """Return the ROIs that predict a feature."""
        if feature in STATES:
            return self.rois_of("t")
        rois: tuple[str, ...] | None = getattr(self.rois, feature)
        return self.rois_of(FEATURES[feature].like) if rois is None else rois

    def alphas_of(self, feature: str) -> tuple[float, ...] | None:
        """Return the penalties that a feature's decoder chooses from; None for a grid scaled to the data."""
        named = "t" if feature in STATES else feature
        own: tuple[float, ...] | None = getattr(self.feature_alphas, named, None)
        return self.alphas if own is None else own
