"""Train the U-Net on latents under captions: ``python tools/unet.py WORK --steps N``; writes WORK/builtin/unet."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from reseen.imports import hide_broken_torchvision

hide_broken_torchvision()  # before diffusers and transformers import it by themselves

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel  # noqa: E402
from diffusers.models.attention_processor import AttnProcessor  # noqa: E402
from loop import train  # noqa: E402
from text_encoder import token_ids  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402

from reseen.networks import as_input  # noqa: E402

BATCH = 64
EMPTY_SHARE = 0.1


def make() -> UNet2DConditionModel:
    """Make the untrained U-Net: latents (4, 16, 16), conditioning (24, 128)."""
    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(64, 128, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
        use_linear_projection=True,
    )
    unet.set_attn_processor(AttnProcessor())  # faster than the fused one at this size on a CPU
    return unet


def make_scheduler() -> DDIMScheduler:
    """Make Stable Diffusion's schedule."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


@torch.inference_mode()
def encode_all(vae: AutoencoderKL, images: np.ndarray, cache: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Give posterior mean and standard deviation of every image, each (n, 4, 16, 16) float16, scaled."""
    if cache.exists():
        state = torch.load(cache, weights_only=True)
        return state["mean"], state["std"]
    means, stds = [], []
    for start in range(0, len(images), 250):
        posterior = vae.encode(as_input(images[start : start + 250])).latent_dist
        means.append((posterior.mean.float() * vae.config.scaling_factor).half())
        stds.append((posterior.std.float() * vae.config.scaling_factor).half())
    state = {"mean": torch.cat(means), "std": torch.cat(stds)}
    torch.save(state, cache)
    return state["mean"], state["std"]


@torch.inference_mode()
def condition_all(text: CLIPTextModel, ids: torch.Tensor, cache: Path) -> torch.Tensor:
    """Give the conditioning of every caption of every image, (n, 5, 24, 128) float16; the text encoder is frozen."""
    if cache.exists():
        return torch.load(cache, weights_only=True)
    parts = [text(block.flatten(0, 1)).last_hidden_state.half().unflatten(0, (-1, 5)) for block in ids.split(64)]
    conditioning = torch.cat(parts)
    torch.save(conditioning, cache)
    return conditioning


def main(work: Path, steps: int, start: Path | None) -> None:
    """Train, from another U-Net's weights where one is named, and write."""
    built = work / "builtin"
    images = np.load(work / "world/images.npy", mmap_mode="r")
    captions = json.loads((work / "world/captions.json").read_text())
    vae = AutoencoderKL.from_pretrained(built / "vae").float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(built / "tokenizer")
    text = CLIPTextModel.from_pretrained(built / "text_encoder").float().eval()
    mean, std = encode_all(vae, images, work / "latents.pt")
    ids = torch.stack([token_ids(tokenizer, [five[k] for five in captions]) for k in range(5)], dim=1)
    conditioning = condition_all(text, ids, work / "conditioning.pt")
    with torch.inference_mode():
        empty = text(token_ids(tokenizer, [""])).last_hidden_state
    scheduler = make_scheduler()
    signal = scheduler.alphas_cumprod
    weight = torch.minimum(signal / (1 - signal), torch.tensor(5.0)) / (signal / (1 - signal))
    unet = make().train()
    if start is not None:
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(start).float().state_dict())

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((3, step))
        rows = torch.from_numpy(np.sort(rng.choice(len(images), BATCH, replace=False)))
        z = mean[rows].float() + std[rows].float() * torch.randn(BATCH, 4, 16, 16)
        several = (1, 5, 2, 5)[step % 4]
        c = conditioning[rows][:, rng.choice(5, several, replace=False)].float().mean(dim=1)
        c = torch.where(torch.rand(BATCH, 1, 1) < EMPTY_SHARE, empty, c)
        t = torch.randint(0, 1000, (BATCH,))
        noise = torch.randn_like(z)
        noised = scheduler.add_noise(z, noise, t)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = unet(noised, t, c).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        return (error * weight[t]).mean() / weight.mean()

    train(unet, loss, checkpoint=work / "unet.pt", n_steps=steps, learning_rate=8e-4, warmup=200, seed=3)
    write(unet, built)


def write(unet: UNet2DConditionModel, built: Path) -> None:
    """Write the U-Net in half precision with scheduler and index, the folder that diffusers reads."""
    unet.half().save_pretrained(built / "unet", safe_serialization=True)
    make_scheduler().save_pretrained(built / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (built / "model_index.json").write_text(json.dumps(index, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument(
        "--start", type=Path, help="folder of a U-Net to continue from, such as the one that is built in"
    )
    main(**vars(parser.parse_args()))
