"""Protocols: how images are scored, down to the pixel, by name, so that a number can be compared with a published one.

A protocol is data: which networks look, at which of their modules, at images of which size and resized how; whether
images are identified or their distance is taken; which side is held fixed; what a tie counts; and what becomes of
several samples. Numbers of different protocols are different quantities, and are never compared.
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
"""The same of OpenAI's CLIP."""


@dataclass(frozen=True)
class Input:
    """Size and kernel by which images are resized before they are compared or passed to a network.

    Parameters
    ----------
    size
        Side in pixels; None: that of the generated images.
    by
        ``"pil"``: 8-bit images by Pillow, which averages where it shrinks (antialiasing). ``"tensor"``: numbers in
        0...1 by torch, which does not.
    kernel
        What is interpolated with.
    shape
        ``"square"``: squeezed into a square. ``"crop"``: the shorter side becomes ``size`` and the middle is cut out,
        its corner rounded as torchvision does. ``"crop_down"``: the same, rounded down as transformers does.
    normal
        Mean and standard deviation of each colour, taken away and divided by before a network looks; None: not.
    """

    size: int | None
    by: Literal["pil", "tensor"]
    kernel: Literal["bilinear", "bicubic", "lanczos"]
    shape: Literal["square", "crop", "crop_down"] = "square"
    normal: Normal | None = None


@dataclass(frozen=True)
class Look:
    """Network, and the modules in it, by which images are compared.

    Parameters
    ----------
    network
        What scores call it.
    architecture
        A key of `reseen.networks.NETWORKS`.
    layers
        What scores call a layer, and the module whose output it is, flattened.
    given
        What the network is given.
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
        Stored with every number.
    about
        Whose it is, and where it was read.
    looks
        The networks; none: the evaluation networks that the recipe names.
    directions
        Which side identification holds fixed; see `reseen.metrics.identification_from_correlations`.
    ties
        ``"half"``: a tie counts one half. ``"lose"``: it counts nothing.
    samples
        ``"mean_r"``: correlations are averaged over an image's samples before items are compared. ``"each"``: every
        sample is scored as if it were the only one, and scores are averaged: no sample is selected.
    first
        How all images are resized before anything else; None: they are not.
    pixels
        How they are resized for pixel correlation and SSIM; None: no further.
    pixel_metrics
        Which of ``pixcorr``, ``ssim`` and ``identification`` by pixel correlation.
    ssim
        Which SSIM: see `reseen.metrics.ssim`.
    """

    name: ProtocolName
    about: str
    looks: tuple[Look, ...]
    directions: tuple[Direction, ...]
    ties: Ties
    samples: Literal["mean_r", "each"]
    first: Input | None = None
    pixels: Input | None = None
    pixel_metrics: tuple[Literal["pixcorr", "ssim", "identification"], ...] = ()
    ssim: SsimVariant = "plane"

    def metric_of(self, network: str) -> str:
        """Return what an evaluation network's layers are compared by."""
        return next((look.metric for look in self.looks if look.network == network), "identification")


_TAKAGI = Input(299, "pil", "bilinear", "crop", IMAGENET)
_DIFFUSER = Input(224, "pil", "bilinear", normal=IMAGENET)


def _mindeye(size: int, normal: Normal | None = IMAGENET) -> Input:
    return Input(size, "tensor", "bilinear", normal=normal)


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "builtin": Protocol(
        "builtin",
        "reseen's own: the recipe's networks, both directions, images of the size of the generated ones",
        looks=(),
        directions=DIRECTIONS,
        ties="half",
        samples="mean_r",
        first=Input(None, "pil", "lanczos"),
        pixel_metrics=("pixcorr", "ssim", "identification"),
    ),
    "takagi2023": Protocol(
        "takagi2023",
        "Takagi & Nishimoto 2023 as released: img2feat_decoded.py and identification.py",
        looks=(
            Look("inception", "inception_v3", (("flatten", "avgpool"),), _TAKAGI),  # in between is but a dropout
            Look("alexnet", "alexnet", tuple((m, m) for m in ("features.5", "features.12", "classifier.5")), _TAKAGI),
            Look(
                "clip",
                "clip_vit_l14",
                (
                    ("hidden_states.6", "vision_model.encoder.layers.5"),  # the first of them is the embedding
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
        looks=(
            Look("alexnet", "alexnet", (("2", "features.4"), ("5", "features.11")), _DIFFUSER),
            Look("inception", "inception_v3", (("avgpool", "avgpool"),), _DIFFUSER),
            Look(
                "clip",
                "clip_vit_l14",
                (("final", "visual_projection"),),
                Input(224, "pil", "bilinear", normal=CLIP),
            ),
            Look("efficientnet", "efficientnet_b1_v1", (("avgpool", "avgpool"),), _DIFFUSER, "distance"),
            Look("swav", "swav_resnet50", (("avgpool", "avgpool"),), _DIFFUSER, "distance"),
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
        "Scotti et al. 2024: final_evaluations.ipynb, without the blurry image that is blended in there",
        looks=(
            Look("alexnet", "alexnet", (("2", "features.4"), ("5", "features.11")), _mindeye(256)),
            Look("inception", "inception_v3", (("avgpool", "avgpool"),), _mindeye(342)),
            Look("clip", "clip_vit_l14", (("final", "visual_projection"),), _mindeye(224, CLIP)),
            Look("efficientnet", "efficientnet_b1_v2", (("avgpool", "avgpool"),), _mindeye(255), "distance"),
            Look("swav", "swav_resnet50", (("avgpool", "avgpool"),), _mindeye(224), "distance"),
        ),
        directions=("reconstruction",),
        ties="lose",
        samples="each",
        first=_mindeye(256, None),
        pixels=_mindeye(425, None),
        pixel_metrics=("pixcorr", "ssim"),
    ),
}
"""The protocols by name."""
