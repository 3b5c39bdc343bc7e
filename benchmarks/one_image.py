"""Make one image on the CPU with a model of published size: ``python benchmarks/one_image.py --file FILE``.

FILE is a checkpoint of ``tools/full_size_checkpoint.py``, with random weights; ``--image-adapter`` is that of the same
tool (``--family adapter``). One image is made from a random z, a caption and, with an adapter, the i of a random image,
in single precision. Reported are seconds and largest memory after loading and at the end, and, with an adapter, the
operations of the U-Net for one row with and without image tokens. Without ``--file`` the built-in model is used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from figures import figure, peak_memory, write
from full_size import Clock, show
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import reseen
from reseen.ldm import LatentDiffusion


def unet_operations(ldm: LatentDiffusion, conditioning: np.ndarray) -> float:
    """Return the floating-point operations of one evaluation of the U-Net for one row."""
    latents = torch.zeros(1, *ldm.latent_shape)
    # trap: the products of the fused attention of a CPU are not counted
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.inference_mode():
        ldm.predict_noise(latents, 500, torch.from_numpy(conditioning))
    return float(counter.get_total_flops())


def one_image(model: str, image_adapter: str | None, n_steps: int) -> list[dict[str, object]]:
    """Load a model and make one image of condition zc, or of zci with an adapter, from random features."""
    clock = Clock("cpu")
    ldm = reseen.load_model(model, precision="fp32", image_adapter=image_adapter)
    figures = [
        figure("loading", round(clock.seconds(), 1), "s"),
        figure("loading, processor", round(clock.processor(), 1), "s"),
        figure("largest memory after loading", round(peak_memory(), 2), "GiB"),
    ]
    rng = np.random.default_rng(0)
    side = ldm.latent_shape[1] * 5 // 8
    features = {
        "z": rng.standard_normal((1, ldm.latent_shape[0], side, side), dtype=np.float32),
        "c": ldm.text_to_conditioning(["a photo of a cat"]),
    }
    operations = {}
    if image_adapter is not None:
        clock = Clock("cpu")
        image = rng.integers(0, 256, (1, ldm.image_size, ldm.image_size, 3), dtype=np.uint8)
        features["i"] = ldm.image_to_embedding(image)
        figures.append(figure("i of one image, processor", round(clock.processor(), 2), "s"))
        operations = {
            "without image tokens": unet_operations(ldm, features["c"]),
            "with image tokens": unet_operations(ldm, ldm.join_image(features["c"], features["i"])),
        }
    clock = Clock("cpu")
    made = reseen.reconstruct(ldm, **features, n_samples=1, n_steps=n_steps, strength=1.0)
    return [
        *figures,
        *(figure(f"U-Net {name}", round(count / 1e12, 4), "TFLOP") for name, count in operations.items()),
        figure(f"one image in {n_steps} steps", round(clock.seconds(), 1), "s"),
        figure(f"one image in {n_steps} steps, processor", round(clock.processor(), 1), "s"),
        figure("largest memory", round(peak_memory(), 2), "GiB"),
        figure("side of the image", made.shape[2], "pixels"),
    ]


def main() -> None:
    """Load, make an image, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="a checkpoint; left out: the built-in model with its adapter")
    parser.add_argument("--image-adapter", type=Path, help="an image adapter for it")
    parser.add_argument("--steps", type=int, default=2, help="steps of the image")
    parser.add_argument("--quick", action="store_true", help="the built-in model: to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model, adapter = "builtin", "builtin"
    if arguments.file is not None and not arguments.quick:
        model, adapter = str(arguments.file), arguments.image_adapter and str(arguments.image_adapter)
    figures = one_image(model, adapter, arguments.steps)
    show(figures)
    write(arguments.json, figures, ("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
