"""Sections of a recipe: every key, its default and its description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from reseen.conditions import decoded_features
from reseen.protocols import ProtocolName
from reseen.recipe.data import SURFACES, DataRecipe
from reseen.recipe.decode import DecodeRecipe
from reseen.recipe.section import NOT_IDENTITY, Section
from reseen.recipe.types import (
    ConditionName,
    EncodedName,
    Folds,
    ListOf,
    Once,
    Proportion,
    SamplerName,
    Text,
    Title,
)
from reseen.tables import BUILTIN_NETWORKS


class SimulateRecipe(Section):
    """Simulated subjects, where data.kind is 'simulated'."""

    n_subjects: PositiveInt = Field(1, description="number of simulated subjects")
    n_sessions: PositiveInt = Field(4, description="sessions of 750 trials")
    n_train: PositiveInt = Field(930, description="training images of each subject, most of them shown three times")
    n_test: Annotated[PositiveInt, Field(le=1000)] = Field(
        100, description="shared test images, half of them novel combinations; at most 1,000, as in NSD"
    )
    trials_per_session: PositiveInt = Field(750, description="750 in NSD; fewer only for tests")
    voxel_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="fraction of the voxels; below 1 only for tests"
    )
    seed: NonNegativeInt = Field(1, description="the same seed writes the same bytes")


class ModelRecipe(Section):
    """Latent diffusion model."""

    name: Text = Field(
        "builtin",
        description="'builtin', a diffusers folder, a .ckpt or .safetensors file, a hub id, or 'module:name' of "
        "your own function that returns a model",
    )
    revision: Text | None = Field(None, description="commit of a hub model, pinned")
    image_adapter: Text | None = Field(
        None,
        description="IP-Adapter for feature i: 'builtin' for the built-in model, a .safetensors file, or a file on the "
        "hub such as 'h94/IP-Adapter:models/ip-adapter_sd15.safetensors'; its image encoder is in the folder "
        "image_encoder next to it",
    )
    captioner: Text | None = Field(
        None,
        description="BLIP or GIT for decode.captions: a folder, or a hub id that is in the local cache, such as "
        "'microsoft/git-large-coco'",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto",
        description="number format of the U-Net; auto: fp16 on a CUDA GPU with matrix units, fp32 elsewhere; "
        "recorded in the results folder",
    )
    compiled: bool = Field(
        False,
        description="compile the U-Net with torch.compile; for long runs on a GPU",
        json_schema_extra=NOT_IDENTITY,
    )


class ExtractRecipe(Section):
    """Extraction of z and c from images and captions."""

    z_size: PositiveInt | None = Field(
        None, description="side of the image that z encodes, in pixels; left out: 5/8 of the model's side"
    )
    posterior: Literal["mean", "sample"] = Field("mean", description="the autoencoder's posterior mean, or one sample")
    captioner_side: PositiveInt | None = Field(
        None, description="side of the image that a BLIP reads, in pixels, 240 in the paper; left out: its own"
    )
    pixels_size: PositiveInt = Field(32, description="side of the image whose pixels are decoded, for condition pixels")


class ReconstructRecipe(Section):
    """Reconstruction of images from decoded z and c."""

    conditions: Once[ConditionName] = Field(
        ("z", "c", "zc"),
        description="features that images are generated from, as words: z or g (start: latent, decoded pixels), c or t "
        "(text: conditioning, retrieved caption), i (image embedding), such as zc, zci, gt; pixels: g alone",
    )
    n_samples: PositiveInt = Field(5, description="images per stimulus, each from its own noise")
    n_steps: PositiveInt = Field(50, description="steps of the sampler")
    strength: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="proportion of the steps that are noised and denoised again, for zc"
    )
    guidance: Annotated[float, Field(ge=1)] = Field(5.0, description="classifier-free guidance scale")
    image_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="weight of i beside the text; left out: 0.5 beside c or t, 1 without them"
    )
    sampler: SamplerName = Field(
        "ddim",
        description="ddim; dpmpp: DPM-Solver++(2M), for about half the steps; lcm: for models distilled to a few "
        "steps; or 'module:name' of your own function with the parameters of reseen.denoise",
    )
    noise_index: Literal["diffusers", "compvis", "fixed"] = Field(
        "diffusers",
        description="noise to the step at which denoising starts (diffusers), to one step more (compvis: the released "
        "script), or to that of 50 steps whatever n_steps is, from which pure noise is denoised too (fixed)",
    )
    truncate_coarse: bool = Field(False, description="truncate the coarse image to 8 bits before it is encoded again")
    coarse_posterior: Literal["mean", "sample"] = Field(
        "mean", description="posterior mean of the coarse image, or one sample, as in the released script"
    )
    to_8_bits: Literal["round", "truncate"] = Field(
        "round",
        description="conversion of pixel values to 8-bit integers: rounded to the nearest one, or truncated, as in the "
        "released script",
    )
    grey: Literal["auto"] | bool = Field(
        "auto",
        description="write grey images, by luminance; auto: if all training images of the subject are grey; recorded "
        "in the results folder",
    )
    batch_size: PositiveInt = Field(
        64, description="images denoised together; does not change the images", json_schema_extra=NOT_IDENTITY
    )


class EvaluateRecipe(Section):
    """Settings of scoring."""

    protocols: Once[ProtocolName] = Field(
        ("builtin",),
        description="protocols of scoring: builtin, takagi2023, braindiffuser2023, mindeye2",
    )
    networks: Once[Text] = Field(
        BUILTIN_NETWORKS,
        description="evaluation networks of the protocol builtin: classifier, image_encoder, or your own "
        "callable as module:name, from images (n, height, width, 3) uint8 to activations (n, ...)",
    )
    oracle: bool = Field(True, description="also reconstruct from the true z and c")
    n_permutations: NonNegativeInt = Field(
        3,
        description="number of permutations of the labels; for each, decoders are fitted and reconstruct every item; "
        "scores are averaged over the permutations; 0: no permuted level",
    )
    full: bool = Field(
        False,
        description="also compute chance levels without responses, and decoders with categories of images left out",
    )
    n_derangements: PositiveInt = Field(
        200, description="mismatched pairings of the level mismatched, and permutations of p"
    )
    n_bootstrap: PositiveInt = Field(1000, description="bootstrap samples of images for each interval")


class EncodeRecipe(Section):
    """Encoding models, from features to voxels."""

    features: ListOf[EncodedName] = Field(
        ("z", "c"),
        description="feature spaces, one encoding model each: z, c, i, pixels, and zc, the latent after denoising; "
        "noise, denoising and layers add others",
    )
    noise: ListOf[Proportion] = Field((), description="strengths of zc, each in one model with z; none: left out")
    denoising: ListOf[Proportion] = Field(
        (), description="proportions of the denoising steps, the latent after each in one model with z; none: left out"
    )
    layers: ListOf[Text] = Field(
        (), description="U-Net modules by name, see `reseen layers`; auto: five of them; none: left out"
    )
    layer_progress: ListOf[Proportion] = Field(
        (0.2, 0.66, 1.0), description="proportions of the steps at which modules are recorded, with the caption"
    )
    activations: Literal["fp16", "fp32"] = Field("fp16", description="number format of the activations on disk")
    n_folds: Folds = Field(5, description="folds that choose alpha")
    reduce: Literal["none", "pca", "projection"] = Field(
        "none", description="keep every feature, their first principal components, or a random projection of them"
    )
    n_components: PositiveInt = Field(
        6400, description="number of components or projections, where features are reduced"
    )
    null: Literal["parametric", "permutation"] = Field(
        "parametric", description="null of r: independent Gaussian vectors, or the test images permuted"
    )
    n_permutations: PositiveInt = Field(1000, description="permutations, where they are the null")
    fdr: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="false discovery rate over a subject's voxels")
    n_bootstrap: PositiveInt = Field(1000, description="bootstrap samples of test images for each interval")
    export: ListOf[Literal["nifti", "gifti", "cifti", "vertices"]] = Field(
        (),
        description="also write maps, named as BIDS derivatives: nifti in the volume, gifti on fsaverage or the "
        "surface of the responses, cifti on fsLR, vertices: one npz on the surface, for pycortex",
        json_schema_extra=NOT_IDENTITY,
    )

    @property
    def has_models(self) -> bool:
        """Whether there is any encoding model."""
        return bool(self.features or self.noise or self.denoising or self.layers)


class ReportRecipe(Section):
    """Contents of the report."""

    n_random: PositiveInt = Field(6, description="number of random test images shown next to best, median and worst")
    n_sequences: PositiveInt = Field(2, description="number of images whose denoising is shown step by step")


class Recipe(Section):
    """All settings of a run; one TOML section for each field.

    Name, data path, batch size, compilation and exported maps may change between runs into one folder. Subjects,
    protocols and a full evaluation may be added (`growth`). All other keys are part of its identity. Device and
    executor are not part of a recipe.

    Examples
    --------
    >>> Recipe().decode.rois.z, Recipe().reconstruct.strength
    (('early',), 0.8)
    """

    name: Title = Field("unnamed", description="name of the recipe and its folder", json_schema_extra=NOT_IDENTITY)
    seed: NonNegativeInt = Field(0, description="seed of every sample, fold and resampling")
    data: DataRecipe = Field(default_factory=DataRecipe)
    simulate: SimulateRecipe = Field(default_factory=SimulateRecipe)
    model: ModelRecipe = Field(default_factory=ModelRecipe)
    extract: ExtractRecipe = Field(default_factory=ExtractRecipe)
    decode: DecodeRecipe = Field(default_factory=DecodeRecipe)
    reconstruct: ReconstructRecipe = Field(default_factory=ReconstructRecipe)
    evaluate: EvaluateRecipe = Field(default_factory=EvaluateRecipe)
    encode: EncodeRecipe = Field(default_factory=EncodeRecipe)
    report: ReportRecipe = Field(default_factory=ReportRecipe)

    @model_validator(mode="after")
    def _check_decoding(self) -> Recipe:
        """Refuse settings with which the decoders of the recipe's conditions cannot be fitted."""
        decoded = decoded_features(self.reconstruct.conditions)
        for feature in decoded:
            unread = [roi for roi in self.decode.rois_of(feature) if roi not in self.data.rois]
            if unread:
                raise PydanticCustomError(
                    "rois",
                    "decode.rois.{feature} names {roi}, and data.rois reads only {read}. Add it there, or decode from "
                    "another",
                    {"feature": feature, "roi": repr(unread[0]), "read": ", ".join(self.data.rois)},
                )
        if self.decode.c_prior == "captions" and self.decode.elsewhere("c") is not None:
            raise PydanticCustomError(
                "prior",
                "decode.c_prior is 'captions', and decode.predictions sets c; leave one of them out",
            )
        if self.decode.c_prior == "captions" and self.decode.decoder != "ridge":
            raise PydanticCustomError(
                "prior",
                "decode.c_prior is 'captions', which estimates its noise from the folds of reseen's ridge; set it to "
                "'none' or leave decode.decoder out",
            )
        if self.decode.captions != "retrieved" and self.model.captioner is None:
            raise PydanticCustomError(
                "captions",
                "decode.captions is {captions}, and model.captioner is missing; name a folder or a model of the hub",
                {"captions": repr(self.decode.captions)},
            )
        retrieved = "t" in decoded and self.decode.captions == "retrieved"
        if retrieved and (self.decode.decoder != "ridge" or self.data.test_trials == "single"):
            raise PydanticCustomError(
                "prior",
                "reconstruct.conditions has t, the most probable training caption, which needs reseen's ridge and "
                "averaged test trials; leave decode.decoder and data.test_trials out, or leave t out, or set "
                "decode.captions",
            )
        if "c" in decoded and self.decode.c_prior == "captions" and self.data.test_trials == "single":
            raise PydanticCustomError(
                "prior",
                "decode.c_prior is 'captions', which is for averaged test trials, and data.test_trials is 'single'; "
                "change one of them",
            )
        return self

    @property
    def decodes_captions(self) -> bool:
        """Whether captions are decoded and scored, as a condition has t."""
        return "t" in decoded_features(self.reconstruct.conditions)

    @property
    def states(self) -> str | None:
        """Feature from whose decoded values captions are written, or None."""
        return self.decode.captions if self.decodes_captions and self.decode.captions != "retrieved" else None

    @property
    def decoded(self) -> tuple[str, ...]:
        """Features that are decoded; hidden states come before the captions that are written from them."""
        found: list[str] = []
        for name in decoded_features(self.reconstruct.conditions):
            found += [self.states, name] if name == "t" and self.states is not None else [name]
        return tuple(found)

    @property
    def n_permuted(self) -> int:
        """Number of times that decoders are fitted on permuted labels; 0 with predictions of other software."""
        return 0 if self.decode.predictions is not None else self.evaluate.n_permutations

    @model_validator(mode="after")
    def _check_space(self) -> Recipe:
        space = {"space": self.data.space}
        if self.data.space in SURFACES and self.data.kind == "simulated":
            raise PydanticCustomError(
                "space",
                "data.space: a simulated subject is written in func1pt8mm, not on {space}; leave data.space out",
                space,
            )
        if self.data.space in SURFACES and "nifti" in self.encode.export:
            raise PydanticCustomError(
                "space", "encode.export: betas on {space} have no volume, so no NIfTI; use gifti or vertices", space
            )
        return self
