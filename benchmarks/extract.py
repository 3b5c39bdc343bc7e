"""Time extraction: ``python benchmarks/extract.py [--json FILE] [--quick] [--device D]``.

z and c of NSD's 10,000 images of a subject, 425 pixels and five captions each: timed on a sample of random images
and scaled up, since every image takes as long; drawing them stands for reading them. On a GPU with Stable Diffusion
v1.4's architecture and random weights, on a CPU with the built-in model. Two contenders:

- reseen: images and captions in batches, the next ones read while the last are encoded
- one by one: the same networks through diffusers' and transformers' classes, a call for each image and one for its
  five captions

Processor seconds stand beside those by the wall on a CPU. GPU rows without a GPU: not measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import figure, write
from full_size import Clock, begin_peak, load, operations, peak_gb, show
from PIL import Image

from reseen import Stimuli
from reseen.ldm.extraction import extract, z_size
from reseen.ldm.loading import Precision
from reseen.ldm.stable import StableDiffusion
from reseen.recipe import ExtractRecipe

N_IMAGES = 10_000
N_CAPTIONS = 5
COLOURS = ("red", "green", "yellow")  # words that the built-in text encoder knows
Found = tuple[np.ndarray, np.ndarray]


def image(stimulus_id: int) -> np.ndarray:
    """Draw an image of NSD's size."""
    return np.random.default_rng(stimulus_id).integers(0, 256, (425, 425, 3), dtype=np.uint8)


def captions(stimulus_id: int) -> tuple[str, ...]:
    """Give five captions of some length."""
    colour = COLOURS[stimulus_id % len(COLOURS)]
    return tuple(f"a {colour} house {k} beside a blue tree {stimulus_id}" for k in range(N_CAPTIONS))


def one_by_one(ldm: StableDiffusion, stimuli: Stimuli, ids: np.ndarray) -> Found:
    """Give z and c as a script of one's own would: a call for each image."""
    size, device = z_size(ldm, ExtractRecipe()), ldm.device
    z, c = [], []
    with torch.inference_mode():
        for i in ids.tolist():
            small = Image.fromarray(stimuli.image(i)).resize((size, size), Image.Resampling.LANCZOS)
            pixels = (
                torch.from_numpy(np.asarray(small).astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None].to(device)
            )
            z.append((ldm.vae.encode(pixels).latent_dist.mean * ldm.vae.config.scaling_factor).cpu().numpy())
            words = ldm.tokenizer(
                list(stimuli.captions(i)), padding="max_length", max_length=ldm.conditioning_shape[0], truncation=True
            )
            states = ldm.text_encoder(torch.tensor(words.input_ids, device=device))[0]
            c.append(states.mean(dim=0, keepdim=True).cpu().numpy())
    return np.concatenate(z), np.concatenate(c)


def measure(device: str, precision: Precision, *, quick: bool) -> list[dict[str, Any]]:
    """Time both and give the figures."""
    ldm = load(device, precision)
    n, n_rounds = (2, 1) if quick else (512, 3)
    stimuli, ids = Stimuli(image, captions, np.arange(n)), np.arange(n)

    def ours(ids: np.ndarray) -> Found:
        found = extract(stimuli, ids, ldm, recipe=ExtractRecipe())
        return found["z"].array, found["c"].array

    def theirs(ids: np.ndarray) -> Found:
        return one_by_one(ldm, stimuli, ids)

    spent: dict[str, list[float]] = {}
    made: dict[str, Found] = {}
    for contend in (ours, theirs):
        contend(ids[:64])  # warms up
    begin_peak(device)
    for _ in range(n_rounds):
        for name, contend in (("ours", ours), ("theirs", theirs)):
            clock = Clock(device)
            made[name] = contend(ids)
            spent.setdefault(name, []).append(clock.seconds())
            spent.setdefault(f"{name}, processor", []).append(clock.processor())
    took = {name: sorted(seconds)[len(seconds) // 2] for name, seconds in spent.items()}
    each, scale = operations(ldm), N_IMAGES / n
    differ = [float(np.abs(a - b).max() / np.abs(b).std()) for a, b in zip(made["ours"], made["theirs"], strict=True)]
    figures = [
        figure("minutes_for_10000", took["ours"] * scale / 60, "min"),
        figure("one_by_one_minutes_for_10000", took["theirs"] * scale / 60, "min"),
        figure("speedup_vs_one_by_one", took["theirs"] / took["ours"], "times"),
        figure("peak_gb", peak_gb(device), "GB"),
        figure("tflop_per_image", (each["encode small"] + N_CAPTIONS * each["text"]) / 1e12, "TFLOP"),
        figure("largest_difference_of_z", differ[0], "standard deviations"),
        figure("largest_difference_of_c", differ[1], "standard deviations"),
    ]
    if device == "cpu":
        ratio = took["theirs, processor"] / took["ours, processor"]
        figures += [
            figure("processor_speedup_vs_one_by_one", ratio, "times"),
            figure("gpu: minutes_for_10000", "not measured", "min"),
            figure("gpu: speedup_vs_one_by_one", "not measured", "times"),
        ]
    return figures


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two images, once: to see that it runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    precision: Precision = "fp32" if arguments.device == "cpu" else "fp16"
    figures = measure(arguments.device, precision, quick=arguments.quick)
    print(f"{arguments.device}, {torch.get_num_threads()} threads")
    show(figures)
    write(arguments.json, figures, packages=("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
