"""Train an image adapter for the built-in model: ``python tools/train_image_adapter.py WORK --steps N``.

The adapter turns an embedding of an image into tokens, and adds an attention to these tokens to every cross-attention
of the U-Net (Ye et al. 2023, arXiv 2308.06721). Everything else is frozen. WORK/world comes from ``world.py``. Writes
WORK/image_adapter/image_adapter.safetensors in the published layout of IP-Adapter, and image_adapter.json, which
records how it was trained.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from reseen.imports import hide_broken_torchvision

hide_broken_torchvision()  # before diffusers and transformers import it by themselves

from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor  # noqa: E402
from diffusers.models.embeddings import ImageProjection  # noqa: E402
from loop import train  # noqa: E402
from text_encoder import token_ids  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402
from unet import condition_all, encode_all, make_scheduler  # noqa: E402

from reseen.ldm import BUILTIN  # noqa: E402
from reseen.ldm.image_adapter import ENCODER_KEY  # noqa: E402
from reseen.networks import load_builtin_network  # noqa: E402

SEED = 6
BATCH = 32
N_TOKENS = 4
DROP_IMAGE, DROP_TEXT, DROP_BOTH = 0.05, 0.05, 0.05
"""Proportions of training rows without the image, without the caption, and without both, as in the paper."""
NETWORK, LAYER = "image_encoder", "output"
"""Source of the embedding. The headline's evaluation network is another one."""


class Adapter(torch.nn.Module):
    """The trained parts: the projection, and the keys and values of each cross-attention."""

    def __init__(self, unet: UNet2DConditionModel, embedding_dim: int) -> None:
        super().__init__()
        dim = unet.config.cross_attention_dim
        self.projection = ImageProjection(embedding_dim, dim, N_TOKENS)
        self.attentions = torch.nn.ModuleList()
        processors = {}
        for name in unet.attn_processors:
            attention = unet.get_submodule(name.removesuffix(".processor"))
            if name.endswith("attn1.processor"):
                processors[name] = AttnProcessor()  # faster than the fused one at this size on a CPU
                continue
            own = IPAdapterAttnProcessor(attention.to_k.out_features, dim, num_tokens=(N_TOKENS,), scale=1.0)
            own.to_k_ip[0].weight.data.copy_(attention.to_k.weight)
            own.to_v_ip[0].weight.data.copy_(attention.to_v.weight)
            processors[name] = own
            self.attentions.append(own)
        unet.set_attn_processor(processors)

    def layout(self) -> dict[str, torch.Tensor]:
        """Return the weights under the names of published IP-Adapters, which number attentions 1, 3, 5 ..."""
        state = {
            f"image_proj.{name.replace('image_embeds', 'proj')}": weight
            for name, weight in self.projection.state_dict().items()
        }
        for i, own in enumerate(self.attentions):
            state[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"] = own.to_k_ip[0].weight
            state[f"ip_adapter.{2 * i + 1}.to_v_ip.weight"] = own.to_v_ip[0].weight
        return {name: weight.detach().half().contiguous() for name, weight in state.items()}


def embed_all(images: np.ndarray, cache: Path) -> torch.Tensor:
    """Return the embedding of every image, (n, embedding_dim)."""
    if not cache.exists():
        network = replace(load_builtin_network(NETWORK), layers=(LAYER,))
        np.save(cache, network.activations(images)[LAYER])
    return torch.from_numpy(np.load(cache))


def main(work: Path, steps: int, learning_rate: float) -> None:
    """Train and write."""
    images = np.load(work / "world/images.npy", mmap_mode="r")
    captions = json.loads((work / "world/captions.json").read_text())
    vae = AutoencoderKL.from_pretrained(BUILTIN / "vae").float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(BUILTIN / "tokenizer")
    text = CLIPTextModel.from_pretrained(BUILTIN / "text_encoder").float().eval()
    unet = UNet2DConditionModel.from_pretrained(BUILTIN / "unet").float().eval().requires_grad_(False)
    mean, std = encode_all(vae, images, work / "latents.pt")
    ids = torch.stack([token_ids(tokenizer, [five[k] for five in captions]) for k in range(5)], dim=1)
    conditioning = condition_all(text, ids, work / "conditioning.pt")
    with torch.inference_mode():
        empty = text(token_ids(tokenizer, [""])).last_hidden_state
    empty = empty.clone()
    embeddings = embed_all(images, work / "embeddings.npy")
    scheduler = make_scheduler()
    signal = scheduler.alphas_cumprod
    weight = torch.minimum(signal / (1 - signal), torch.tensor(5.0)) / (signal / (1 - signal))
    torch.manual_seed(SEED)
    adapter = Adapter(unet, embeddings.shape[1]).train()

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((SEED, step))
        rows = torch.from_numpy(np.sort(rng.choice(len(images), BATCH, replace=False)))
        z = mean[rows].float() + std[rows].float() * torch.randn(BATCH, 4, 16, 16)
        several = (1, 5, 2, 5)[step % 4]
        c = conditioning[rows][:, rng.choice(5, several, replace=False)].float().mean(dim=1)
        drawn = torch.rand(BATCH)
        no_image = (drawn < DROP_IMAGE) | (drawn >= 1 - DROP_BOTH)
        no_text = ((drawn >= DROP_IMAGE) & (drawn < DROP_IMAGE + DROP_TEXT)) | (drawn >= 1 - DROP_BOTH)
        c = torch.where(no_text[:, None, None], empty, c)
        embedding = torch.where(no_image[:, None], 0, embeddings[rows])
        t = torch.randint(0, 1000, (BATCH,))
        noise = torch.randn_like(z)
        noised = scheduler.add_noise(z, noise, t)
        tokens = adapter.projection(embedding)
        # single precision: half of it is emulated, and seven times slower, on a CPU without instructions for it
        predicted = unet(noised, t, (c, [tokens[:, None]])).sample
        error = (predicted - noise).square().mean(dim=(1, 2, 3))
        return (error * weight[t]).mean() / weight.mean()

    checkpoint = work / "image_adapter.pt"
    train(adapter, loss, checkpoint=checkpoint, n_steps=steps, learning_rate=learning_rate, warmup=50, seed=SEED)
    folder = work / "image_adapter"
    folder.mkdir(exist_ok=True)
    file = folder / "image_adapter.safetensors"
    safetensors.torch.save_file(adapter.layout(), file, metadata={ENCODER_KEY: "builtin"})
    about = {
        "network": NETWORK,
        "layer": LAYER,
        "n_images": len(images),
        "n_steps": steps,
        "batch": BATCH,
        "learning_rate": learning_rate,
        "seed": SEED,
        "dropped": {"image": DROP_IMAGE, "text": DROP_TEXT, "both": DROP_BOTH},
    }
    (folder / "image_adapter.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    main(**vars(parser.parse_args()))
