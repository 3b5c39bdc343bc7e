"""Small networks with random weights; their modules have the names of the real networks."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn


class AlexNet(nn.Module):
    """AlexNet with thirteen feature modules, seven classifier modules and few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 6, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(6, 8, 5, 1, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        hidden = (nn.Linear(288, 24), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Dropout(), *hidden, nn.Linear(24, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Pooled(nn.Module):
    """Stem, ``avgpool``, dropout and ``fc``, the last modules of Inception, EfficientNet and ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 7, 5), nn.ReLU(), nn.Conv2d(12, 16, 5, 4))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(self.avgpool(self.stem(x))).flatten(1))


def clip() -> nn.Module:
    """Create transformers' CLIP with the smallest sizes, deep enough for the requested layers."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "projection_dim": 6}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(num_hidden_layers=13, patch_size=32, **sizes))


@cache
def stand_in(name: str, *, device: str = "cpu") -> tuple[nn.Module, str]:
    """Return a small network in place of `reseen.networks.load_network`."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        network = AlexNet() if name == "alexnet" else clip() if name.startswith("clip") else Pooled()
    return network.eval().requires_grad_(False), f"random-{name}"
