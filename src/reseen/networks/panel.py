"""Panel: a protocol and its evaluation networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from typing import Protocol as TypingProtocol

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError
from reseen.networks.inputs import Images, as_tensor, prepare
from reseen.networks.pretrained import load_network
from reseen.protocols import Input, Network, Protocol

if TYPE_CHECKING:
    from torch import nn

_BATCH = 32  # images at a time


class EvaluationNetwork(TypingProtocol):
    """Protocol of an evaluation network: a name, layers, and their activations for images."""

    @property
    def name(self) -> str:
        """Name of the network in tables of scores."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""

    @property
    def fingerprint(self) -> str:
        """Text that differs between different weights."""

    def activations(self, images: Any) -> dict[str, NDArray[np.float32]]:
        """Compute the activations of each layer for images ``(n, height, width, 3)``: layer -> ``(n, n_units)``."""


@dataclass(frozen=True)
class PretrainedNetwork:
    """Evaluation network whose layers are outputs of modules of a pretrained network.

    Parameters
    ----------
    name, fingerprint
        Name of the network in tables of scores; text that differs between different weights.
    network
        Any network with input ``(n, 3, H, W)``; modules are those of its ``named_modules``.
    modules
        Name of each layer in tables of scores, and the module whose output it is.
    given
        Size and normalisation of the network's input.
    device
        Device of the network.
    """

    name: str
    fingerprint: str
    network: nn.Module
    modules: tuple[tuple[str, str], ...]
    given: Input
    device: str = "cpu"

    def __post_init__(self) -> None:
        known = sorted(name for name, _ in self.network.named_modules() if name)
        for _, module in self.modules:
            if module and module not in known:
                raise ModelError(
                    f"{self.name} has no module {module!r}; it has {', '.join(known[:12])} ... Check that it is the "
                    "right network.",
                    where=self.name,
                    expected=known,
                    found=module,
                )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of its layers."""
        return tuple(layer for layer, _ in self.modules)

    def activations(self, images: Images) -> dict[str, NDArray[np.float32]]:
        """Compute the activations of each layer for images ``(n, height, width, 3)``: layer -> ``(n, n_units)``."""
        import torch

        parts: dict[str, list[NDArray[np.float32]]] = {layer: [] for layer in self.layers}
        with torch.inference_mode(), self._recording(parts):
            for start in range(0, len(images), _BATCH):
                batch = prepare(images[start : start + _BATCH], self.given)
                self.network(as_tensor(batch, self.given).to(self.device))
        return {layer: np.concatenate(part) for layer, part in parts.items()}

    @contextmanager
    def _recording(self, parts: dict[str, list[NDArray[np.float32]]]) -> Iterator[None]:
        def keep(layer: str) -> Callable[..., None]:
            def hook(_module: object, _given: object, output: Any) -> None:
                first = output[0] if isinstance(output, tuple) else output
                # copied, since the next module may work in place
                parts[layer].append(np.array(first.flatten(1).float().cpu().numpy()))

            return hook

        handles = [self.network.get_submodule(m).register_forward_hook(keep(layer)) for layer, m in self.modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@dataclass(frozen=True)
class Panel:
    """Protocol with its evaluation networks."""

    protocol: Protocol
    networks: tuple[EvaluationNetwork, ...]


def load_panel(
    protocol: Protocol,
    builtin: Sequence[EvaluationNetwork] = (),
    *,
    device: str = "cpu",
    load: Callable[..., tuple[nn.Module, str]] = load_network,
) -> tuple[Panel, list[str]]:
    """Load those networks of a protocol whose weights are on this machine.

    Parameters
    ----------
    protocol
        The protocol.
    builtin
        The evaluation networks of a protocol that names no network.
    device
        Device of the networks.
    load
        Function that loads one of `reseen.networks.NETWORKS` by name.

    Returns
    -------
    panel
        The protocol and the networks that were loaded.
    messages
        For each cause, the missing networks and the command that installs them. Their scores are left out.
    """
    if not protocol.networks:
        return Panel(protocol, tuple(builtin)), []
    found: list[EvaluationNetwork] = []
    missing: dict[str, list[str]] = {}
    for used in protocol.networks:
        try:
            found.append(_pretrained(used, *load(used.architecture, device=device), device))
        except ModelError as error:
            missing.setdefault(str(error), []).append(used.network)
    messages = [f"protocol {protocol.name} lacks {', '.join(names)}: {why}" for why, names in missing.items()]
    return Panel(protocol, tuple(found)), messages


def _pretrained(used: Network, network: nn.Module, fingerprint: str, device: str) -> PretrainedNetwork:
    return PretrainedNetwork(used.network, fingerprint, network, used.layers, used.given, device)
