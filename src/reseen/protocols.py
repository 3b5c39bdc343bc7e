"""Protocols: exact definitions of scores, by name, so that a number can be compared with a published one.

A protocol defines the networks and their layers; size and resizing of the images; identification or distance; the side
that is held fixed; the value of a tie; and the treatment of several samples. Numbers of different protocols are
different quantities, and are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from reseen.metrics import DIRECTIONS, Direction, SsimVariant, Ties

ProtocolName = Literal["builtin", "takagi2023", "braindiffuser2023", "mindeye2"]
PROTOCOL_NAMES: tuple[ProtocolName, ...] = get_args(ProtocolName)
Triple = tuple[float, float, float]
Normal = tuple[Triple, Triple]

IMAGENET: Normal = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of red, green and blue that torchvision's networks were trained with."""
CLIP: Normal = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation of red, green and blue for OpenAI's CLIP."""


@dataclass(frozen=True)
class Input:
    """Size and kernel by which images are resized before they are compared or passed to a network.

    Parameters
    ----------
    size
        Side length in pixels; None: that of the generated images.
    by
        ``"pil"``: 8-bit images by Pillow, with antialiasing where it reduces. ``"tensor"``: numbers in 0...1 by torch,
        without antialiasing.
    kernel
        Interpolation kernel.
    shape
        ``"square"``: resized to a square. ``"crop"``: the shorter side becomes ``size`` and the centre is cropped, its
        corner rounded as torchvision does. ``"crop_down"``: the same, rounded down as transformers does.
    normal
        Mean and standard deviation of each colour, by which the input of a network is normalised; None: it is not.
    """

    size: int | None
    by: Literal["pil", "tensor"]
    kernel: Literal["bilinear", "bicubic", "lanczos"]
    shape: Literal["square", "crop", "crop_down"] = "square"
    normal: Normal | None = None


@dataclass(frozen=True)
class Network:
    """Evaluation network and its layers, by which images are compared.

    Parameters
    ----------
    network
        Name in tables of scores.
    architecture
        A key of `reseen.networks.NETWORKS`.
    layers
        Name of each layer in tables of scores, and the module whose flattened output it is.
    given
        Input of the network.
    metric
        ``"identification"``: two-way. ``"distance"``: one minus the correlation of the right pairs; lower is better.
    """

    network: str
    architecture: str
    layers: tuple[tuple[str, str], ...]
    given: Input
    metric: Literal["identification", "distance"] = "identification"


@dataclass(frozen=True)
class Protocol:
    """Settings of scoring.

    Parameters
    ----------
    name
        Name, which is stored with every number.
    about
        Authors and source.
    networks
        Evaluation networks; empty: those of the recipe.
    directions
        Sides that identification holds fixed; see `reseen.metrics.identification_from_correlations`.
    ties
        ``"half"``: a tie counts one half. ``"lose"``: it counts 0.
    samples
        ``"mean_r"``: correlations are averaged over an image's samples before items are compared. ``"each"``: every
        sample is scored separately, and scores are averaged: no sample is selected.
    first
        First resizing of all images; None: there is none.
    pixels
        Further resizing for pixel correlation and SSIM; None: there is none.
    pixel_metrics
        Some of ``pixcorr``, ``ssim`` and ``identification`` by pixel correlation.
    ssim
        Variant of SSIM: see `reseen.metrics.ssim`.
    """

    name: ProtocolName
    about: str
    networks: tuple[Network, ...]
    directions: tuple[Direction, ...]
    ties: Ties
    samples: Literal["mean_r", "each"]
    first: Input | None = None
    pixels: Input | None = None
    pixel_metrics: tuple[Literal["pixcorr", "ssim", "identification"], ...] = ()
    ssim: SsimVariant = "plane"

    def metric_of(self, network: str) -> str:
        """Return the metric by which the layers of an evaluation network are compared."""
        return next((used.metric for used in self.networks if used.network == network), "identification")


_TAKAGI = Input(299, "pil", "bilinear", "crop", IMAGENET)
_DIFFUSER = Input(224, "pil", "bilinear", normal=IMAGENET)


def _mindeye(size: int, normal: Normal | None = IMAGENET) -> Input:
    return Input(size, "tensor", "bilinear", normal=normal)


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "builtin": Protocol(
        "builtin",
        "reseen's own: networks of the recipe, both directions, images of the size of the generated ones",
        networks=(),
        directions=DIRECTIONS,
        ties="half",
        samples="mean_r",
        first=Input(None, "pil", "lanczos"),
        pixel_metrics=("pixcorr", "ssim", "identification"),
    ),
    "takagi2023": Protocol(
        "takagi2023",
        "Takagi & Nishimoto 2023 as released: img2feat_decoded.py and identification.py",
        networks=(
            # only a dropout is between "flatten" and "avgpool"
            Network("inception", "inception_v3", (("flatten", "avgpool"),), _TAKAGI),
            Network(
                "alexnet", "alexnet", tuple((m, m) for m in ("features.5", "features.12", "classifier.5")), _TAKAGI
            ),
            Network(
                "clip",
                "clip_vit_l14",
                (
                    ("hidden_states.6", "vision_model.encoder.layers.5"),  # hidden_states.0 is the embedding
                    ("hidden_states.12", "vision_model.encoder.layers.11"),
                    ("image_embeds", "visual_projection"),
                ),
                Input(224, "pil", "bicubic", "crop_down", CLIP),
            ),
        ),
        directions=("original",),
        ties="lose",
        samples="mean_r",
    ),
    "braindiffuser2023": Protocol(
        "braindiffuser2023",
        "Ozcelik & VanRullen 2023: eval_extract_features.py and evaluate_reconstruction.py",
        networks=(
            Network("alexnet", "alexnet", (("2", "features.4"), ("5", "features.11")), _DIFFUSER),
            Network("inception", "inception_v3", (("avgpool", "avgpool"),), _DIFFUSER),
            Network(
                "clip",
                "clip_vit_l14",
                (("final", "visual_projection"),),
                Input(224, "pil", "bilinear", normal=CLIP),
            ),
            Network("efficientnet", "efficientnet_b1_v1", (("avgpool", "avgpool"),), _DIFFUSER, "distance"),
            Network("swav", "swav_resnet50", (("avgpool", "avgpool"),), _DIFFUSER, "distance"),
        ),
        directions=("reconstruction",),
        ties="lose",
        samples="each",
        pixels=Input(425, "pil", "bicubic"),
        pixel_metrics=("pixcorr", "ssim"),
        ssim="columns",
    ),
    "mindeye2": Protocol(
        "mindeye2",
        "Scotti et al. 2024: final_evaluations.ipynb, without blending in the blurry image",
        networks=(
            Network("alexnet", "alexnet", (("2", "features.4"), ("5", "features.11")), _mindeye(256)),
            Network("inception", "inception_v3", (("avgpool", "avgpool"),), _mindeye(342)),
            Network("clip", "clip_vit_l14", (("final", "visual_projection"),), _mindeye(224, CLIP)),
            Network("efficientnet", "efficientnet_b1_v2", (("avgpool", "avgpool"),), _mindeye(255), "distance"),
            Network("swav", "swav_resnet50", (("avgpool", "avgpool"),), _mindeye(224), "distance"),
        ),
        directions=("reconstruction",),
        ties="lose",
        samples="each",
        first=_mindeye(256, None),
        pixels=_mindeye(425, None),
        pixel_metrics=("pixcorr", "ssim"),
    ),
}
"""Name -> protocol."""
