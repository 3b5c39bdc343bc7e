"""Networks of others: AlexNet, Inception, EfficientNet and ResNet from torchvision, CLIP from transformers.

Nothing is fetched here; weights that are missing are named with the command that fetches them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reseen.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

INSTALL = "pip install 'reseen[metrics]'"
"""The command that installs what these networks are built with."""


@dataclass(frozen=True)
class Network:
    """Say where a network and its weights come from.

    Parameters
    ----------
    source
        Who builds it.
    model
        torchvision's name of it, or the model's on the hub.
    weights
        torchvision's name of the weights, an address, or the commit on the hub.
    options
        What the builder is told besides.
    """

    source: Literal["torchvision", "transformers"]
    model: str
    weights: str
    options: tuple[tuple[str, Any], ...] = ()


NETWORKS: dict[str, Network] = {
    "alexnet": Network("torchvision", "alexnet", "AlexNet_Weights.IMAGENET1K_V1"),
    "inception_v3": Network(
        "torchvision",
        "inception_v3",
        "Inception_V3_Weights.IMAGENET1K_V1",
        # as torchvision itself builds it for these weights: colours are brought to those it was trained with
        (("transform_input", True), ("init_weights", False)),
    ),
    "efficientnet_b1_v1": Network("torchvision", "efficientnet_b1", "EfficientNet_B1_Weights.IMAGENET1K_V1"),
    "efficientnet_b1_v2": Network("torchvision", "efficientnet_b1", "EfficientNet_B1_Weights.IMAGENET1K_V2"),
    "swav_resnet50": Network(
        "torchvision", "resnet50", "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"
    ),
    "clip_vit_l14": Network(
        "transformers", "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
    ),
}
"""The networks that the protocols of `reseen.protocols` look through, by name."""


def fetch_command(name: str) -> str:
    """Give the shell command that fetches the weights of one of `NETWORKS`."""
    network = NETWORKS[name]
    if network.source == "transformers":
        return f"hf download {network.model} --revision {network.weights} config.json model.safetensors"
    if network.weights.startswith("https://"):
        code = f"import torch; torch.hub.load_state_dict_from_url('{network.weights}', map_location='cpu')"
    else:
        code = f"from torchvision.models import get_weight; get_weight('{network.weights}').get_state_dict()"
    return f'python -c "{code}"'


def load_network(name: str, *, device: str = "cpu") -> tuple[nn.Module, str]:
    """Load one of `NETWORKS`, frozen, with the weights that lie in the usual caches.

    Parameters
    ----------
    name
        Which.
    device
        Where to put it.

    Returns
    -------
    The network, and a fingerprint of its weights.

    Raises
    ------
    ModelError
        If what it is built with is not installed, or its weights are not there or damaged; with the command that helps.
    """
    network = NETWORKS[name]
    found, fingerprint = _torchvision(name, network) if network.source == "torchvision" else _clip(name, network)
    return found.float().to(device).eval().requires_grad_(False), fingerprint


def _torchvision(name: str, network: Network) -> tuple[nn.Module, str]:
    import torch

    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch is a RuntimeError
        raise ModelError(f"torchvision cannot be imported ({error}). Install it: {INSTALL}") from error
    address = network.weights
    if not address.startswith("https://"):
        address = models.get_weight(address).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    fingerprint = _checked(name, path)
    built: nn.Module = models.get_model(network.model, weights=None, **dict(network.options))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        # SwAV's has a head of its own and none for labels; nothing here looks at either
        built.load_state_dict(state, strict=not network.weights.startswith("https://"))
    except Exception as error:  # torch raises many kinds for a file that is not what it should be
        raise ModelError(f"the weights of {name} in {path} are damaged. Delete them; {_fetch(name)}") from error
    return built, fingerprint


def _clip(name: str, network: Network) -> tuple[nn.Module, str]:
    from transformers import CLIPVisionModelWithProjection

    try:
        built = CLIPVisionModelWithProjection.from_pretrained(
            network.model, revision=network.weights, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"the weights of {name} are not there; {_fetch(name)}") from error
    return built, f"{network.model}@{network.weights}"


def _checked(name: str, path: Path) -> str:
    """Give the SHA-256 of a file; torchvision's names end with the first digits of it."""
    if not path.is_file():
        raise ModelError(f"the weights of {name} are not there; {_fetch(name)}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    promised = path.stem.rpartition("-")[2]
    if "-" in path.stem and not found.startswith(promised):
        raise ModelError(f"the weights of {name} in {path} are damaged. Delete them; {_fetch(name)}")
    return f"sha256:{found}"


def _fetch(name: str) -> str:
    return f"to fetch them: {fetch_command(name)}"
