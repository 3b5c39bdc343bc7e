"""Train the autoencoder: ``python tools/autoencoder.py WORK --steps N``; writes WORK/builtin/vae, prints its PSNR."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from reseen.imports import hide_broken_torchvision

hide_broken_torchvision()  # before diffusers and transformers import it by themselves

from diffusers import AutoencoderKL  # noqa: E402
from loop import train  # noqa: E402

from reseen.networks import as_input  # noqa: E402

BATCH = 16


def make() -> AutoencoderKL:
    """Make the untrained network: 3 levels, so that an image is four times as wide as its latent."""
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        sample_size=64,
    )


@torch.inference_mode()
def psnr(model: AutoencoderKL, images: np.ndarray, size: int = 64) -> float:
    """Give the mean peak signal-to-noise ratio over images, in dB, latents at their posterior mean."""
    values = []
    for start in range(0, len(images), 100):
        x = as_input(images[start : start + 100])
        if size != 64:
            x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        y = model.decode(model.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        values.append(10 * torch.log10(4 / (x - y).square().mean(dim=(1, 2, 3)).clamp(min=1e-9)))
    return float(torch.cat(values).mean())


def batch(images: np.ndarray, seed: int, step: int) -> torch.Tensor:
    """Give the images of one step; every fourth batch is of 40 pixels, the size whose z is decoded from brains."""
    small = step % 4 == 3
    rng = np.random.default_rng((seed, step))
    x = as_input(images[np.sort(rng.choice(len(images), BATCH * 2 if small else BATCH, replace=False))])
    return torch.nn.functional.interpolate(x, size=(40, 40), mode="bilinear", antialias=True) if small else x


def main(work: Path, steps: int, decoder_steps: int) -> None:
    """Train both halves, then the decoder alone on frozen latents; write and measure."""
    images = np.load(work / "world/images.npy", mmap_mode="r")
    model = make()

    def loss(step: int) -> torch.Tensor:
        x = batch(images, 1, step)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(x).latent_dist
            y = model.decode(posterior.sample()).sample
        error = y.float() - x
        kl = (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        return error.square().mean() + 0.05 * error.abs().mean() + 1e-5 * kl

    def decoder_loss(step: int) -> torch.Tensor:
        x = batch(images, 5, step)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                z = model.encode(x).latent_dist.sample()
            y = model.decode(z).sample
        return (y.float() - x).square().mean()

    train(model, loss, checkpoint=work / "autoencoder.pt", n_steps=steps, learning_rate=2e-3, decay=0.998, seed=1)
    write(model, images, work / "builtin/vae")
    measure(model, work)
    decoder = torch.nn.ModuleList([model.post_quant_conv, model.decoder])
    train(decoder, decoder_loss, checkpoint=work / "decoder.pt", n_steps=decoder_steps, learning_rate=1e-3, seed=5)
    write(model, images, work / "builtin/vae")
    measure(model, work)


def write(model: AutoencoderKL, images: np.ndarray, folder: Path) -> None:
    """Write the autoencoder in half precision, scaled so that latents have a standard deviation of one."""
    with torch.inference_mode():
        batches = (as_input(images[start : start + 100]) for start in range(0, 2000, 100))
        latents = [model.encode(batch).latent_dist.mode() for batch in batches]
    model.register_to_config(scaling_factor=round(1 / float(torch.cat(latents).std()), 5))
    model.half().save_pretrained(folder)
    model.float()


def measure(model: AutoencoderKL, work: Path) -> None:
    """Print the peak signal-to-noise ratio on images never trained on."""
    for name in ("check", "novel"):
        held_out = np.load(work / name / "images.npy", mmap_mode="r")[:1000]
        print(name, f"PSNR {psnr(model, held_out):.2f} dB, of 40-pixel images {psnr(model, held_out, 40):.2f} dB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--decoder-steps", type=int, default=2500)
    main(**vars(parser.parse_args()))
