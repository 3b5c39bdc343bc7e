"""Built-in evaluation networks.

``classifier`` is independent of the diffusion model: it was trained to name the objects of other simulated images.
``image_encoder`` was trained together with the text encoder whose output is c. Its scores are marked, since it favours
images generated from c.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reseen.errors import ModelError
from reseen.files import check_tensors, read_json, reading
from reseen.networks.pretrained import not_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

LAYERS = ("early", "middle", "late")
_FOLDER = Path(__file__).parents[1] / "network_weights"
_FIX = "Install reseen again."
_BATCH = 100  # images at a time


@dataclass(frozen=True)
class BuiltinNetwork:
    """Built-in evaluation network.

    Parameters
    ----------
    name
        Name of the network in tables of scores.
    fingerprint
        SHA-256 of its weights.
    labels
        Label of each output; empty if the outputs are an embedding.
    network
        Network that returns the layers of a batch of images, see `make_network`.
    layers
        Names of the layers.
    """

    name: str
    fingerprint: str
    labels: tuple[str, ...]
    network: nn.Module
    layers: tuple[str, ...] = LAYERS

    def activations(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Compute the activations of each layer for images ``(n, height, width, 3)``: layer -> ``(n, n_units)``."""
        return self._outputs(images, self.layers)

    def name_contents(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the log-odds of each label in each image, ``(n, n_labels)``.

        Raises
        ------
        ModelError
            If this network has no labels.
        """
        if not self.labels:
            raise ModelError(
                f"the evaluation network {self.name} has no labels; use the classifier.",
                where="name",
                expected="classifier",
                found=self.name,
            )
        return self._outputs(images, ("output",))["output"]

    def _outputs(self, images: NDArray[np.uint8], layers: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        import torch

        parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in layers}
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                outputs = self.network(as_input(images[start : start + _BATCH]))
                for layer in layers:
                    parts[layer].append(outputs[layer].flatten(1).numpy())
        return {layer: np.concatenate(part) for layer, part in parts.items()}


def load_builtin_network(name: str) -> BuiltinNetwork:
    """Load a built-in network: ``"classifier"`` or ``"image_encoder"``.

    Raises
    ------
    ModelError
        If there is no such network, or its weights are missing or damaged.
    """
    weights, about = _FOLDER / f"{name}.safetensors", _FOLDER / f"{name}.json"
    if not os.path.lexists(weights):
        known = sorted(path.stem for path in _FOLDER.glob("*.safetensors"))
        raise ModelError(
            f"there is no network {name!r}; reseen has {', '.join(known) or 'none'}.",
            where="evaluate.networks",
            expected=tuple(known),
            found=name,
        )
    import safetensors.torch

    labels = tuple(read_json(about, dict[Literal["labels"], list[str]], ModelError, fix=_FIX).get("labels", ()))
    check_tensors(weights, ModelError, _FIX)
    with reading(weights, ModelError, _FIX):
        state = safetensors.torch.load_file(weights)
        network = make_network(state["output.weight"].shape[0])
        network.load_state_dict({key: value.float() for key, value in state.items()})
    if not_finite(network) or len(labels) not in (0, len(state["output.weight"])):
        raise ModelError(
            f"the weights of the evaluation network {name} in {weights} are damaged. {_FIX}", where=weights
        )
    return BuiltinNetwork(name, hashlib.sha256(weights.read_bytes()).hexdigest(), labels, network.eval())


def as_input(images: NDArray[np.uint8]) -> Any:
    """Return images as input of the networks: a tensor ``(n, 3, 64, 64)`` in -1...1, resized if needed."""
    import torch

    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    if x.shape[2:] != (64, 64):
        x = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear", antialias=True)
    return x


def make_network(n_outputs: int) -> nn.Module:
    """Return an untrained network: five convolutions and one hidden layer.

    Its ``forward`` returns ``early`` (32, 32, 32), ``middle`` (128, 8, 8), ``late`` (128,) and ``output``
    (n_outputs,) of each image.
    """
    from torch import nn

    def block(n_in: int, n_out: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early = nn.Sequential(block(3, 16, 1), block(16, 32, 2))
            self.middle = nn.Sequential(block(32, 64, 2), block(64, 128, 2))
            self.deep = nn.Sequential(block(128, 128, 1), nn.MaxPool2d(2), nn.Flatten())
            self.late = nn.Sequential(nn.Linear(128 * 16, 128), nn.ReLU())
            self.output = nn.Linear(128, n_outputs)

        def forward(self, x: Any) -> dict[str, Any]:
            early = self.early(x)
            middle = self.middle(early)
            late = self.late(self.deep(middle))
            return {"early": early, "middle": middle, "late": late, "output": self.output(late)}

    return Network()
