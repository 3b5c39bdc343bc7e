"""Activations: each layer of the evaluation networks for presented images and for reconstructions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from reseen.evaluate.images import view_images
from reseen.networks import evaluation_networks, load_panel
from reseen.protocols import PROTOCOLS
from reseen.recipe import EvaluateRecipe

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class LayerActivations(Generic[Key]):
    """Activations of one layer.

    Parameters
    ----------
    key
        Name of the reconstructions.
    network, layer
        Names of the network and its layer; the network's includes the protocol, if a recipe has several.
    presented
        Shape ``(n_items, n_units)``.
    reconstructed
        Shape ``(n_items, n_samples, n_units)``.
    """

    key: Key
    network: str
    layer: str
    presented: NDArray[np.floating]
    reconstructed: NDArray[np.floating]


def layer_activations(
    presented: NDArray[np.uint8],
    keys: Iterable[Key],
    images: Callable[[Key], NDArray[np.uint8]],
    recipe: EvaluateRecipe,
    *,
    device: str = "cpu",
) -> Iterator[LayerActivations[Key]]:
    """Yield the activations of each network layer of a recipe, for several stacks of reconstructions.

    Activations of presented images are computed once for all stacks. Networks without weights are left out.

    Parameters
    ----------
    presented
        Shape ``(n_items, height, width, 3)``.
    keys
        Names of the stacks, such as conditions.
    images
        Function of a key that returns its stack, ``(n_items, n_samples, side, side, 3)``; all have one side.
    recipe
        Section ``evaluate``: its protocols and networks.
    device
        Device of the networks.

    Warns
    -----
    UserWarning
        If weights of a network are missing.
    """
    stacks = list(keys)
    networks = evaluation_networks(recipe.networks)
    for protocol in recipe.protocols if stacks else ():
        panel, missing = load_panel(PROTOCOLS[protocol], networks, device=device)
        for why in missing:
            warnings.warn(f"{why}. These scores are left out.", stacklevel=2)
        panel = replace(panel, protocol=replace(panel.protocol, pixel_metrics=()))  # activations only
        size = images(stacks[0]).shape[2:4]
        for network in panel.networks:  # one at a time, for memory
            one = replace(panel, networks=(network,))
            originals = view_images(presented, one, size)
            for key in stacks:
                stack = images(key)
                n_items, n_samples = stack.shape[:2]
                found = view_images(stack.reshape(-1, *stack.shape[2:]), one, size)
                for (_, layer), rows in found.layers.items():
                    yield LayerActivations(
                        key,
                        network.name if len(recipe.protocols) == 1 else f"{network.name} ({protocol})",
                        layer,
                        originals.layers[network.name, layer].flat(np.arange(n_items)),
                        rows.flat(np.arange(n_items * n_samples)).reshape(n_items, n_samples, -1),
                    )
