"""Observers: networks that look at a picture, so that pictures can be compared by what is seen in them.

::

    builtin.py    the two that come with reseen: judge and image_encoder
    networks.py   AlexNet, Inception, CLIP and others, from torchvision and transformers, with their weights
    own.py        a user's own network: any callable from images to activations
    inputs.py     pictures, made into what a protocol gives to a network
    panel.py      a protocol and the observers that it asks for
"""

from reseen.observers.builtin import LAYERS, Observer, as_input, load_observer, make_network
from reseen.observers.inputs import prepare
from reseen.observers.networks import NETWORKS, load_network
from reseen.observers.own import OwnNetwork, evaluation_networks, load_evaluation_network
from reseen.observers.panel import EvaluationNetwork, NamedObserver, Panel, load_panel

__all__ = [
    "LAYERS",
    "NETWORKS",
    "EvaluationNetwork",
    "NamedObserver",
    "Observer",
    "OwnNetwork",
    "Panel",
    "as_input",
    "evaluation_networks",
    "load_evaluation_network",
    "load_network",
    "load_observer",
    "load_panel",
    "make_network",
    "prepare",
]
