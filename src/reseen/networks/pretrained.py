"""Pretrained networks: AlexNet, Inception, EfficientNet and ResNet from torchvision, CLIP from transformers.

This module downloads nothing; if weights are missing, the error has the command that downloads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reseen.errors import ModelError
from reseen.files import check_archive, check_regular, reading
from reseen.imports import hide_broken_torchvision, import_torchvision, torchvision_command

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """Source of a network and of its weights.

    Parameters
    ----------
    source
        Library that builds it.
    model
        Name of the model in torchvision, or on the hub.
    weights
        URL of the weights, or the commit on the hub.
    options
        Further arguments of the builder.
    may_lack
        Tensors of the network that may be missing in the file of weights: prefixes of layers that no protocol records.
    may_hold
        Tensors of the file of weights that the network does not have: prefixes.
    """

    source: Literal["torchvision", "transformers"]
    model: str
    weights: str
    options: tuple[tuple[str, Any], ...] = ()
    may_lack: tuple[str, ...] = ()
    may_hold: tuple[str, ...] = ()


MOST_BYTES = 4 * 2**30
"""Largest allowed size of a file of weights, in bytes; the largest of `NETWORKS`, CLIP's, has 1.7 GB."""
_PYTORCH = "https://download.pytorch.org/models/"

NETWORKS: dict[str, Network] = {
    "alexnet": Network("torchvision", "alexnet", _PYTORCH + "alexnet-owt-7be5be79.pth"),
    "inception_v3": Network(
        "torchvision",
        "inception_v3",
        _PYTORCH + "inception_v3_google-0cc3c7bd.pth",
        # torchvision's own options for these weights: colours are converted to those of the training
        (("transform_input", True), ("init_weights", False)),
    ),
    "efficientnet_b1_v1": Network(
        "torchvision", "efficientnet_b1", _PYTORCH + "efficientnet_b1_rwightman-bac287d4.pth"
    ),
    "efficientnet_b1_v2": Network("torchvision", "efficientnet_b1", _PYTORCH + "efficientnet_b1-c27df63c.pth"),
    "swav_resnet50": Network(
        "torchvision",
        "resnet50",
        "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        # SwAV has a projection head and no classifier
        may_lack=("fc.",),
        may_hold=("projection_head.", "prototypes."),
    ),
    "clip_vit_l14": Network(
        "transformers",
        "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        # the published file also contains CLIP's text encoder
        may_hold=("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids"),
    ),
}
"""The networks of the protocols in `reseen.protocols`, by name."""


def fetch_command(name: str) -> str:
    """Return the shell command that downloads the weights of one of `NETWORKS`."""
    network = NETWORKS[name]
    if network.source == "transformers":
        return f"hf download {network.model} --revision {network.weights} config.json model.safetensors"
    named = network.weights.startswith(_PYTORCH)  # the name of such a file ends with the first digits of its SHA-256
    check = ", check_hash=True" if named else ""
    code = f"import torch; torch.hub.load_state_dict_from_url('{network.weights}', map_location='cpu'{check})"
    return f'python -c "{code}"'


def load_network(name: str, *, device: str = "cpu") -> tuple[nn.Module, str]:
    """Load one of `NETWORKS`, frozen, with the weights in the caches of torch or the hub.

    Every tensor is checked: none may be missing, unexpected or not finite.

    Parameters
    ----------
    name
        Name in `NETWORKS`.
    device
        Device of the network.

    Returns
    -------
    The network, and a fingerprint of its weights.

    Raises
    ------
    ModelError
        If the library that builds it is not installed, or if its weights are missing, damaged or of another network.
        The message has the command that installs them.
    """
    network = NETWORKS[name]
    load = _torchvision if network.source == "torchvision" else _clip
    found, fingerprint = load(name, network)
    return found.float().to(device).eval().requires_grad_(False), fingerprint


def _torchvision(name: str, network: Network) -> tuple[nn.Module, str]:
    import torch

    try:
        import_torchvision()
    except ImportError as error:
        raise ModelError(
            f"{name} needs torchvision ({error}). To install it: {torchvision_command()}",
            where=name,
            expected="torchvision",
        ) from error
    from torchvision import models

    path = Path(torch.hub.get_dir()) / "checkpoints" / network.weights.rpartition("/")[2]
    fingerprint = _checked(name, path)
    check_archive(path, ModelError, f"Delete it; {_fetch(name)}")
    built: nn.Module = models.get_model(network.model, weights=None, **dict(network.options))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in state.items()}
        lacks, surplus = built.load_state_dict(state, strict=False)
    except Exception as error:  # torch raises many types of errors for damaged files
        raise _damaged(name, path, " or of another network") from error
    _compare(name, path, lacks, surplus, built)
    return built, fingerprint


def _clip(name: str, network: Network) -> tuple[nn.Module, str]:
    from huggingface_hub import try_to_load_from_cache

    hide_broken_torchvision()
    from transformers import CLIPVisionModelWithProjection

    path = try_to_load_from_cache(network.model, "model.safetensors", revision=network.weights)
    if not isinstance(path, str):
        raise _missing(name)
    try:
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(
            network.model,
            revision=network.weights,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # transformers and safetensors raise many types of errors for damaged files
        raise _damaged(name, Path(path), " or of another network") from error
    built, info = loaded
    _compare(name, Path(path), info["missing_keys"], info["unexpected_keys"], built)
    return built, f"{network.model}@{network.weights}"


def _compare(name: str, path: Path, lacks: Iterable[str], surplus: Iterable[str], built: nn.Module) -> None:
    """Raise a ModelError if a tensor is missing, unexpected or not finite."""
    network = NETWORKS[name]
    faults = {
        "missing": sorted(key for key in lacks if not key.startswith(network.may_lack)),
        "unexpected": sorted(key for key in surplus if not key.startswith(network.may_hold)),
        "not finite": not_finite(built),
    }
    for fault, keys in faults.items():
        if keys:
            raise ModelError(
                f"the weights of {name} in {path} are not those of this network: {len(keys)} tensors are {fault}, "
                f"the first is {keys[0]}. Delete the file; {_fetch(name)}",
                where=path,
                found=keys,
            )


def not_finite(network: nn.Module) -> list[str]:
    """List the tensors of a network that contain NaN or infinity."""
    import torch

    return [key for key, tensor in network.state_dict().items() if not torch.isfinite(tensor).all()]


def _checked(name: str, path: Path) -> str:
    """Return the SHA-256 of a file; torchvision's file names end with its first digits, which are checked."""
    if not path.is_file():
        raise _missing(name)
    if check_regular(path, ModelError) > MOST_BYTES:
        raise _damaged(name, path)
    with reading(path, ModelError), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    promised = path.stem.rpartition("-")[2]
    if "-" in path.stem and not found.startswith(promised):
        raise _damaged(name, path)
    return f"sha256:{found}"


def _missing(name: str) -> ModelError:
    return ModelError(f"the weights of {name} are missing; {_fetch(name)}", where=name)


def _damaged(name: str, path: Path, also: str = "") -> ModelError:
    return ModelError(f"the weights of {name} in {path} are damaged{also}. Delete them; {_fetch(name)}", where=path)


def _fetch(name: str) -> str:
    return f"to download them: {fetch_command(name)}"
