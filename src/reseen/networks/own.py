"""Evaluation networks of the user's own: a callable from images to activations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError, RecipeError
from reseen.networks.builtin import load_builtin_network
from reseen.networks.panel import EvaluationNetwork
from reseen.plugins import fingerprint_of, load_object
from reseen.tables import BUILTIN_NETWORKS, FEATURES, PIXELS

OUTPUT = "output"
"""Name of the only layer of such a network in tables of scores."""
Activations = Callable[[NDArray[np.uint8]], Any]
Named = str | Activations
_TAKEN = (*BUILTIN_NETWORKS, PIXELS, FEATURES)


@dataclass(frozen=True)
class OwnNetwork:
    """Evaluation network from a callable.

    Parameters
    ----------
    name, fingerprint
        Name of the network in tables of scores; text that differs between different code.
    function
        Callable from images ``(n, height, width, 3)`` uint8 to activations ``(n, ...)``: a numpy array, a list or a
        torch tensor. It gets at most 256 images at a time.
    """

    name: str
    fingerprint: str
    function: Activations
    layers: tuple[str, ...] = (OUTPUT,)

    def activations(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Compute the activations for images ``(n, height, width, 3)``: ``"output"`` -> ``(n, n_units)``.

        Raises
        ------
        ModelError
            If the callable returns anything but finite numbers, one row for each image.
        """
        found = self.function(images)
        if hasattr(found, "detach"):  # a torch tensor, perhaps with a gradient or on a GPU
            found = found.detach().cpu()
        try:
            activations = np.asarray(found, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ModelError(
                f"the evaluation network {self.name} returned {type(found).__name__}; expected an array of numbers "
                f"({len(images)}, ...).",
                where=self.name,
                found=type(found).__name__,
            ) from error
        if activations.ndim < 2 or len(activations) != len(images):
            raise ModelError(
                f"the evaluation network {self.name} returned an array of shape {activations.shape} for {len(images)} "
                f"images; expected ({len(images)}, ...), a row of activations for each image.",
                where=self.name,
                expected=(len(images), "n_units"),
                found=activations.shape,
            )
        if not np.isfinite(activations).all():
            raise ModelError(
                f"the evaluation network {self.name} returned activations that are not finite.", where=self.name
            )
        return {OUTPUT: activations.reshape(len(activations), -1)}


def load_evaluation_network(name: str) -> EvaluationNetwork:
    """Load an evaluation network: ``"classifier"``, ``"image_encoder"``, or ``"module:name"`` of a callable.

    The fingerprint of a callable is its name and the SHA-256 of the file that defines it.

    Raises
    ------
    ModelError
        If there is no built-in network of this name, or its weights are missing or damaged.
    RecipeError
        If the callable cannot be imported, or is not callable.
    """
    if ":" not in name:
        return load_builtin_network(name)
    found = load_object(name, "evaluate.networks")
    if inspect.isclass(found):
        raise RecipeError(
            f"evaluate.networks: {name} is a class; expected a function or another callable object, from images "
            "(n, height, width, 3) uint8 to activations (n, ...).",
            where="evaluate.networks",
            found=name,
        )
    return OwnNetwork(name, fingerprint_of(found), found)


def evaluation_networks(networks: Named | Sequence[Named] | Mapping[str, Activations]) -> list[EvaluationNetwork]:
    """Return evaluation networks from names, callables, or callables by name.

    Raises
    ------
    ModelError, RecipeError
        As `load_evaluation_network`; RecipeError too if a name is given twice or is that of a network of reseen.
    """
    if isinstance(networks, str) or callable(networks):
        networks = [networks]
    found: list[EvaluationNetwork] = []
    if isinstance(networks, Mapping):
        found = [_own(name, function) for name, function in networks.items()]
    else:
        for network in networks:
            if isinstance(network, str):
                found.append(load_evaluation_network(network))
            else:
                found.append(_own(_name_of(network), network))
    names = [network.name for network in found]
    if not names:
        raise RecipeError(
            "no evaluation network was given; leave networks out for the built-in ones.", where="networks"
        )
    if len(set(names)) < len(names):
        raise RecipeError(
            f"evaluation networks need different names; found {', '.join(names)}. Pass a dict from names to networks.",
            where="networks",
            found=names,
        )
    return found


def _own(name: str, function: Activations) -> EvaluationNetwork:
    if not callable(function):
        raise RecipeError(
            f"the evaluation network {name!r} is {type(function).__name__}; expected a callable.",
            where="networks",
            found=type(function).__name__,
        )
    if name in _TAKEN:
        raise RecipeError(
            f"the name {name!r} is that of a score of reseen; use another name for the evaluation network.",
            where="networks",
            found=name,
        )
    return OwnNetwork(name, f"callable {name}", function)


def _name_of(function: object) -> str:
    """Return the name of a callable: of its function, or else of its class; a lambda is called network."""
    name = str(getattr(function, "__name__", type(function).__name__))
    return name if name.isprintable() and name != "<lambda>" else "network"
