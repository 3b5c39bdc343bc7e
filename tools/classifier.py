"""Train the classifier, and print its accuracy: ``python tools/classifier.py WORK --steps N``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from loop import train

from reseen.networks import as_input, make_network
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS

LABELS = (*BACKGROUNDS, *KINDS, *COLOURS, "figure")
GROUPS = {"background": slice(0, 8), "kind": slice(8, 20), "colour": slice(20, 28)}


def save(network: torch.nn.Module, folder: Path, name: str, labels: tuple[str, ...]) -> None:
    """Write an evaluation network's weights in half precision, beside what its outputs mean."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps({"labels": labels}))


@torch.inference_mode()
def accuracy(network: torch.nn.Module, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Give the share of present labels that are among the k highest of their group, k being how many are present."""
    scores = torch.cat([network(as_input(images[i : i + 100]))["output"] for i in range(0, len(images), 100)]).numpy()
    found = {}
    for group, columns in GROUPS.items():
        hits, total = 0, 0
        for score, truth in zip(scores[:, columns], labels[:, columns], strict=True):
            present = np.flatnonzero(truth)
            hits += len(set(present) & set(np.argsort(-score)[: len(present)]))
            total += len(present)
        found[group] = hits / max(total, 1)
    return found


def main(work: Path, steps: int) -> None:
    """Train, write and measure."""
    images = np.load(work / "judge_world/images.npy", mmap_mode="r")
    labels = np.load(work / "judge_world/labels.npy").astype(np.float32)
    torch.manual_seed(4)
    network = make_network(len(LABELS)).train()

    def loss(step: int) -> torch.Tensor:
        rows = np.sort(np.random.default_rng((4, step)).choice(len(images), 64, replace=False))
        x = as_input(images[rows])
        x = x * (0.85 + 0.3 * torch.rand(len(x), 1, 1, 1)) + torch.randn_like(x) * 0.1 * torch.rand(len(x), 1, 1, 1)
        return (
            torch.nn.functional.binary_cross_entropy_with_logits(network(x)["output"], torch.from_numpy(labels[rows]))
            * 10
        )

    train(network, loss, checkpoint=work / "classifier.pt", n_steps=steps, learning_rate=2e-3, decay=0.99, seed=4)
    save(network, work / "network_weights", "classifier", LABELS)
    for name in ("check", "novel"):
        print(name, accuracy(network, np.load(work / name / "images.npy"), np.load(work / name / "labels.npy")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    main(**vars(parser.parse_args()))
