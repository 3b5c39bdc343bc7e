"""Activations: each layer of the evaluation networks for presented images and for reconstructions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.evaluate.images import view_images
from reseen.evaluate.matrices import Rows
from reseen.networks import Panel, evaluation_networks, load_panel
from reseen.protocols import PROTOCOLS
from reseen.recipe import EvaluateRecipe

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class LayerActivations(Generic[Key]):
    """Activations of one layer: a sequence of samples, each ``(n_items, n_units)``, that are read when they are used.

    Parameters
    ----------
    key
        Name of the reconstructions.
    network, layer
        Names of the network and its layer; the network's includes the protocol, if there are several.
    n_items, n_samples
        Number of items, and of samples of each.
    """

    key: Key
    network: str
    layer: str
    n_items: int
    n_samples: int
    _originals: Rows = field(repr=False)
    _samples: Rows = field(repr=False)

    @property
    def presented(self) -> NDArray[np.floating]:
        """Activations of the presented images, ``(n_items, n_units)``."""
        return self._originals.flat(np.arange(self.n_items))

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.n_samples

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        for sample in range(self.n_samples):
            yield self._samples.flat(np.arange(sample, self.n_items * self.n_samples, self.n_samples))


def panels_of(recipe: EvaluateRecipe, *, device: str = "cpu") -> list[Panel]:
    """Load the evaluation networks of a recipe's protocols; those without weights are left out.

    Parameters
    ----------
    recipe
        Section ``evaluate``: its protocols and networks.
    device
        Device of the networks.

    Warns
    -----
    UserWarning
        If weights of a network are missing.
    """
    networks = evaluation_networks(recipe.networks)
    panels = []
    for protocol in recipe.protocols:
        panel, missing = load_panel(PROTOCOLS[protocol], networks, device=device)
        for why in missing:
            warnings.warn(f"{why}. These scores are left out.", stacklevel=2)
        panels.append(panel)
    return panels


def layer_activations(
    presented: NDArray[np.uint8],
    keys: Iterable[Key],
    images: Callable[[Key], NDArray[np.uint8]],
    panels: Sequence[Panel],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[LayerActivations[Key]]:
    """Yield the activations of each network layer, for several stacks of reconstructions.

    Activations of presented images are computed once for all stacks. Large ones are kept in temporary files.

    Parameters
    ----------
    presented
        Shape ``(n_items, height, width, 3)``.
    keys
        Names of the stacks, such as conditions.
    images
        Function of a key that returns its stack, ``(n_items, n_samples, side, side, 3)``; all have one side.
    panels
        Protocols with their networks, such as `panels_of` a recipe.
    progress
        Callback ``(n_done, n_total)``, in stacks and networks.
    """
    stacks = list(keys)
    n_done, n_total = 0, len(stacks) * sum(len(panel.networks) for panel in panels)
    size = images(stacks[0]).shape[2:4] if stacks else (0, 0)
    for panel in panels if stacks else ():
        # activations only
        protocol = replace(panel.protocol, pixel_metrics=())
        for network in panel.networks:  # one at a time, for memory
            one = replace(panel, protocol=protocol, networks=(network,))
            originals = view_images(presented, one, size)
            for key in stacks:
                stack = images(key)
                found = view_images(stack.reshape(-1, *stack.shape[2:]), one, size)
                n_done += 1
                if progress is not None:
                    progress(n_done, n_total)
                for (_, layer), rows in found.layers.items():
                    yield LayerActivations(
                        key,
                        network.name if len(panels) == 1 else f"{network.name} ({protocol.name})",
                        layer,
                        len(presented),
                        stack.shape[1],
                        originals.layers[network.name, layer],
                        rows,
                    )
