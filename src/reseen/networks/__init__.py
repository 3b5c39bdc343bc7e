"""Evaluation networks: networks whose activations compare images.

::

    builtin.py    the networks that come with reseen: classifier and image_encoder
    pretrained.py AlexNet, Inception, CLIP and others, from torchvision and transformers, with their weights
    own.py        a user's own network: any callable from images to activations
    inputs.py     images in the size and normalisation of a protocol
    panel.py      a protocol and its evaluation networks
"""

from reseen.networks.builtin import LAYERS, BuiltinNetwork, as_input, load_builtin_network, make_network
from reseen.networks.inputs import prepare
from reseen.networks.own import OwnNetwork, evaluation_networks, load_evaluation_network
from reseen.networks.panel import EvaluationNetwork, Panel, PretrainedNetwork, load_panel
from reseen.networks.pretrained import NETWORKS, load_network

__all__ = [
    "LAYERS",
    "NETWORKS",
    "BuiltinNetwork",
    "EvaluationNetwork",
    "OwnNetwork",
    "Panel",
    "PretrainedNetwork",
    "as_input",
    "evaluation_networks",
    "load_builtin_network",
    "load_evaluation_network",
    "load_network",
    "load_panel",
    "make_network",
    "prepare",
]
