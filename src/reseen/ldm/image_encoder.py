"""Image encoders: networks whose embedding of an image an adapter turns into tokens.

Published adapters use the vision half of a CLIP. An adapter for the built-in model can use the built-in evaluation
network ``image_encoder``, which is not the network of the headline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError
from reseen.files import check_regular, check_tensors, read_json, reading
from reseen.files.reading import shown
from reseen.imports import hide_broken_torchvision
from reseen.ldm.parts import check_network, quiet
from reseen.networks import as_input, load_builtin_network
from reseen.networks.inputs import as_tensor, prepare
from reseen.protocols import CLIP, Input

if TYPE_CHECKING:
    from torch import Tensor

CLIP_FILES = ("config.json", "model.safetensors")
"""Files of the folder of a CLIP."""
_NETWORK, _SIDE = "image_encoder", 64
_PLACES = 4  # hidden states in a row of the grid


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """Network that computes the embedding of an image.

    Parameters
    ----------
    network
        The network.
    fingerprint
        SHA-256 of its files.
    shape
        Shape of the embedding of one image.
    side
        Height and width of the network's input.
    read
        Function that returns images ``(n, height, width, 3)``, uint8, as input of the network, ``(n, 3, side, side)``.
    embed
        Function of the network and its input that returns embeddings ``(n, *shape)``.
    """

    network: Any
    fingerprint: str
    shape: tuple[int, ...]
    side: int
    read: Callable[[NDArray[np.uint8]], Tensor]
    embed: Callable[[Any, Tensor], Tensor]


def load_builtin_encoder(width: int) -> ImageEncoder:
    """Load the built-in network ``image_encoder``, whose middle layer gives the hidden states of an image.

    Parameters
    ----------
    width
        Width of the hidden states that is needed.

    Raises
    ------
    ModelError
        If its weights are missing or damaged, or if the hidden states have another width.
    """
    built = load_builtin_network(_NETWORK)
    one_image = np.zeros((1, _SIDE, _SIDE, 3), dtype=np.uint8)
    n_states, found = _builtin_states(built.network, as_input(one_image)).shape[1:]
    if found != width:
        raise ModelError(
            f"the built-in network {_NETWORK} computes hidden states of width {found}, and the adapter needs {width}: "
            "they do not belong together. Train the adapter again with tools/train_image_adapter.py.",
            where=_NETWORK,
            expected=width,
            found=found,
        )
    shape = (n_states, found)
    return ImageEncoder(built.network, f"sha256:{built.fingerprint}", shape, _SIDE, as_input, _builtin_states)


def load_clip_encoder(folder: Path, width: int, *, pooled: bool, fix: str) -> ImageEncoder:
    """Load the vision half of a CLIP from a folder in transformers' format.

    Parameters
    ----------
    folder
        Has ``config.json`` and ``model.safetensors``.
    width
        Width of the embedding that is needed.
    pooled
        Whether the embedding is the pooled and projected vector, ``(width,)``. Else it is the hidden states before the
        last layer, ``(n_patches + 1, width)``.
    fix
        Advice if a file is missing or damaged.

    Raises
    ------
    ModelError
        If a file is missing, damaged or a pickle, or if the embedding has another width.
    """
    hide_broken_torchvision()
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    settings, weights = (folder / name for name in CLIP_FILES)
    if not weights.exists() and any(folder.glob("*.bin")):
        raise ModelError(
            f"the image encoder in {shown(folder)} has only pickles (.bin), which reseen does not read. {fix}",
            where=folder,
            expected=weights.name,
        )
    for file in (settings, weights):
        if not file.exists():
            raise ModelError(f"the image encoder lacks {shown(file)}. {fix}", where=file)
        check_regular(file, ModelError)
    check_tensors(weights, ModelError, fix)
    read_json(settings, dict[str, Any], ModelError, fix=fix)
    with quiet(), reading(settings, ModelError, fix):
        from_folder: Any = CLIPVisionConfig.from_pretrained
        config = from_folder(folder, local_files_only=True)
        found = int(config.projection_dim if pooled else config.hidden_size)
        side = int(config.image_size)
        n_states = (side // int(config.patch_size)) ** 2 + 1  # one for each patch, and one for the image
    if found != width:
        raise ModelError(
            f"the image encoder in {shown(folder)} computes embeddings of width {found}, and the adapter needs "
            f"{width}: they do not belong together. {fix}",
            where=folder,
            expected=width,
            found=found,
        )
    with quiet(), reading(weights, ModelError, fix):
        options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(folder, **options)
        network, info = loaded
    check_network("image encoder", network, info["missing_keys"], info["unexpected_keys"], folder, fix)
    given = Input(side, "pil", "bicubic", "crop_down", CLIP)

    def read(images: NDArray[np.uint8]) -> Tensor:
        prepared: Tensor = as_tensor(prepare(images, given), given)
        return prepared

    shape = (width,) if pooled else (n_states, width)
    embed = _pooled if pooled else _hidden_states
    return ImageEncoder(network, digest_of((settings, weights)), shape, side, read, embed)


def digest_of(files: Sequence[Path], also: str = "") -> str:
    """Return the SHA-256 of the content of files, whatever their names, and of additional text.

    Raises
    ------
    ModelError
        If a file cannot be read.
    """
    total = hashlib.sha256(also.encode())
    for file in files:
        with reading(file, ModelError), file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{total.hexdigest()}"


def _builtin_states(network: Any, images: Tensor) -> Tensor:
    """Return the hidden states of images, ``(n, 16, 128)``: one of each sixteenth of the image, with its place."""
    import torch

    layer: Tensor = network(images)["middle"]
    states = torch.nn.functional.adaptive_avg_pool2d(layer, _PLACES).flatten(2).transpose(1, 2)
    return states + _place_code(states.shape[-1])


def _place_code(width: int) -> Tensor:
    """Return a code of each place of a grid, ``(n_places, width)``: sines and cosines of its row and its column.

    A convolution does not say where a state comes from, and a resampler does not see the order of the states. The code
    is the same for all images, so that the intercept of a ridge is all that it changes.
    """
    import torch

    place = torch.arange(_PLACES) * (torch.pi / _PLACES)
    frequency = 2.0 ** torch.arange(width // 4).remainder(3)  # one to four half waves over the image
    row = (place[:, None] * frequency).unsqueeze(1).expand(-1, _PLACES, -1)
    column = row.transpose(0, 1)
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], dim=-1).flatten(0, 1)


def _pooled(network: Any, images: Tensor) -> Tensor:
    # not normalised: adapters were trained on embeddings as the network returns them
    embedding: Tensor = network(images).image_embeds
    return embedding


def _hidden_states(network: Any, images: Tensor) -> Tensor:
    # the input of the last layer, as in the training of IP-Adapter Plus
    states: Tensor = network(images, output_hidden_states=True).hidden_states[-2]
    return states
