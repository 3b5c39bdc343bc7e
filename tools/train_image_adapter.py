"""Train an image adapter for the built-in model: ``python tools/train_image_adapter.py WORK --steps N``.

The adapter turns hidden states of an image encoder into tokens, and adds an attention to these tokens to every
cross-attention of the U-Net (Ye et al. 2023, arXiv 2308.06721, "Plus"). Everything else is frozen. WORK/world comes
from ``world.py``. Writes WORK/image_adapter/image_adapter.safetensors in the published layout of IP-Adapter, and
image_adapter.json, which records how it was trained.

The noise that a denoising step must predict is mostly unpredictable, and the part that an embedding explains is small,
so that a training on noise alone is slow. It is therefore the last of three steps, of which the first does not even
need the U-Net: each added attention learns what the attention to the captions adds to that to an empty caption, for
queries that were recorded once. Then rows without text have another target, the prediction of the same U-Net under the
captions, which is exchanged for the true noise linearly during training.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from reseen.imports import hide_broken_torchvision

hide_broken_torchvision()  # before diffusers and transformers import it by themselves

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel  # noqa: E402
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor  # noqa: E402
from diffusers.models.embeddings import IPAdapterPlusImageProjection  # noqa: E402
from loop import train  # noqa: E402
from text_encoder import token_ids  # noqa: E402
from tiny_ldm import published_resampler  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402
from unet import condition_all, encode_all, make_scheduler  # noqa: E402

from reseen.ldm import BUILTIN  # noqa: E402
from reseen.ldm.image_adapter import ENCODER_KEY  # noqa: E402
from reseen.ldm.image_encoder import load_builtin_encoder  # noqa: E402

SEED = 6
BATCH = 32
N_TOKENS, DEPTH, HEADS, HEAD = 8, 2, 4, 64
WIDTH = 128
"""Width of the hidden states of the built-in image encoder. The headline's evaluation network is another one."""
N_RECORDED, N_QUERIES, N_DISTILLED = 20_000, 8, 4000
"""Images whose queries are recorded, queries of each image and attention, and batches of the first step."""
DROP_IMAGE, DROP_TEXT, DROP_BOTH = 0.05, 0.45, 0.05
"""Proportions of training rows without the image, without the caption, and without both. The paper has 5 % each; here
i without a text is a condition of its own, and needs more rows."""


class Adapter(torch.nn.Module):
    """The trained parts: the projection, and the keys and values of each cross-attention."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        dim = unet.config.cross_attention_dim
        self.projection = IPAdapterPlusImageProjection(
            embed_dims=WIDTH,
            output_dims=dim,
            hidden_dims=dim,
            depth=DEPTH,
            dim_head=HEAD,
            heads=HEADS,
            num_queries=N_TOKENS,
        )
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
        state = published_resampler(self.projection)
        for i, own in enumerate(self.attentions):
            state[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"] = own.to_k_ip[0].weight
            state[f"ip_adapter.{2 * i + 1}.to_v_ip.weight"] = own.to_v_ip[0].weight
        return {name: weight.detach().half().contiguous() for name, weight in state.items()}


@torch.inference_mode()
def embed_all(images: np.ndarray, cache: Path) -> torch.Tensor:
    """Return the hidden states of every image, (n, n_states, WIDTH) float16."""
    if not cache.exists():
        encoder = load_builtin_encoder(WIDTH)
        parts = [encoder.embed(encoder.network, encoder.read(images[i : i + 250])) for i in range(0, len(images), 250)]
        torch.save(torch.cat(parts).half(), cache)
    return torch.load(cache, weights_only=True)


def absent_image() -> torch.Tensor:
    """Return the hidden states that stand for an absent image, (n_states, WIDTH): those of an input of zeros."""
    encoder = load_builtin_encoder(WIDTH)
    with torch.inference_mode():
        states = encoder.embed(encoder.network, torch.zeros(1, 3, encoder.side, encoder.side))[0]
    return states.clone()


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Return the output of the heads of an attention, ``(batch, n_queries, n_heads * width)``."""
    split = [part.unflatten(-1, (n_heads, -1)).transpose(1, 2) for part in (queries, keys, values)]
    return torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


@torch.inference_mode()
def record_queries(
    unet: UNet2DConditionModel, z: torch.Tensor, conditioning: torch.Tensor, scheduler: DDIMScheduler, cache: Path
) -> list[torch.Tensor]:
    """Return some queries of every cross-attention for noised latents: one tensor (n, N_QUERIES, width) for each."""
    if cache.exists():
        return torch.load(cache, weights_only=True)
    attentions = [unet.get_submodule(name) for name in cross_attentions(unet)]
    parts: list[list[torch.Tensor]] = [[] for _ in attentions]

    def keep(part: list[torch.Tensor], _module: torch.nn.Module, _given: object, queries: torch.Tensor) -> None:
        chosen = torch.randint(0, queries.shape[1], (N_QUERIES,))
        part.append(queries[:, chosen].half())

    hooks = [
        attention.to_q.register_forward_hook(partial(keep, part))
        for attention, part in zip(attentions, parts, strict=True)
    ]
    torch.manual_seed(SEED)
    for start in range(0, len(z), BATCH):
        rows = z[start : start + BATCH].float()
        t = (torch.rand(len(rows)).sqrt() * 1000).long().clamp(max=999)
        noised = scheduler.add_noise(rows, torch.randn_like(rows), t)
        unet(noised, t, conditioning[start : start + BATCH].float().mean(dim=1))
    for hook in hooks:
        hook.remove()
    queries = [torch.cat(part) for part in parts]
    torch.save(queries, cache)
    return queries


def cross_attentions(unet: UNet2DConditionModel) -> list[str]:
    """Return the names of the cross-attentions, in the order of the published files."""
    return [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]


def distil(
    adapter: Adapter,
    unet: UNet2DConditionModel,
    embeddings: torch.Tensor,
    conditioning: torch.Tensor,
    empty: torch.Tensor,
    queries: list[torch.Tensor],
    checkpoint: Path,
) -> None:
    """Train each added attention to give what the captions add to an empty caption, for the recorded queries."""
    attentions = [unet.get_submodule(name) for name in cross_attentions(unet)]
    n = len(queries[0])

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((SEED, 1, step))
        rows = torch.from_numpy(np.sort(rng.choice(n, 4 * BATCH, replace=False)))
        c = conditioning[rows].float().mean(dim=1)
        tokens = adapter.projection(embeddings[rows].float())
        total = torch.zeros(())
        for attention, own, recorded in zip(attentions, adapter.attentions, queries, strict=True):
            asked = recorded[rows].float()
            with torch.no_grad():
                under_captions, under_none = (
                    attend(asked, attention.to_k(text), attention.to_v(text), attention.heads)
                    for text in (c, empty.expand(len(rows), -1, -1))
                )
                added = under_captions - under_none
            given = attend(asked, own.to_k_ip[0](tokens), own.to_v_ip[0](tokens), attention.heads)
            total = total + (given - added).square().mean() / added.square().mean()
        return total / len(attentions)

    train(adapter, loss, checkpoint=checkpoint, n_steps=N_DISTILLED, learning_rate=2e-3, warmup=100, seed=SEED)


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
    embeddings, absent = embed_all(images, work / "embeddings.pt"), absent_image()
    scheduler = make_scheduler()
    signal = scheduler.alphas_cumprod
    weight = torch.minimum(signal / (1 - signal), torch.tensor(5.0)) / (signal / (1 - signal))
    torch.manual_seed(SEED)
    queries = record_queries(unet, mean[:N_RECORDED], conditioning, scheduler, work / "queries.pt")
    adapter = Adapter(unet).train()
    distil(adapter, unet, embeddings, conditioning, empty, queries, work / "image_adapter_distilled.pt")

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((SEED, step))
        rows = torch.from_numpy(np.sort(rng.choice(len(images), BATCH, replace=False)))
        z = mean[rows].float() + std[rows].float() * torch.randn(BATCH, 4, 16, 16)
        several = (1, 5, 2, 5)[step % 4]
        c = conditioning[rows][:, rng.choice(5, several, replace=False)].float().mean(dim=1)
        drawn = torch.rand(BATCH)
        no_image = (drawn < DROP_IMAGE) | (drawn >= 1 - DROP_BOTH)
        no_text = ((drawn >= DROP_IMAGE) & (drawn < DROP_IMAGE + DROP_TEXT)) | (drawn >= 1 - DROP_BOTH)
        embedding = torch.where(no_image[:, None, None], absent, embeddings[rows].float())
        # the root of a uniform number: noisy latents, whose content is still open, are drawn more often
        t = (torch.rand(BATCH).sqrt() * 1000).long().clamp(max=999)
        noise = torch.randn_like(z)
        noised = scheduler.add_noise(z, noise, t)
        # single precision: half of it is emulated, and seven times slower, on a CPU without instructions for it
        target = noise.clone()
        taught = no_text & ~no_image
        with torch.no_grad():
            every_caption = conditioning[rows[taught]].float().mean(dim=1)
            no_tokens = torch.zeros(len(every_caption), 1, N_TOKENS, every_caption.shape[-1])
            teacher = unet(noised[taught], t[taught], (every_caption, [no_tokens])).sample
        target[taught] = torch.lerp(teacher, noise[taught], step / steps)
        c = torch.where(no_text[:, None, None], empty, c)
        tokens = adapter.projection(embedding)
        predicted = unet(noised, t, (c, [tokens[:, None]])).sample
        error = (predicted - target).square().mean(dim=(1, 2, 3))
        return (error * weight[t]).mean() / weight.mean()

    checkpoint = work / "image_adapter.pt"
    train(adapter, loss, checkpoint=checkpoint, n_steps=steps, learning_rate=learning_rate, warmup=50, seed=SEED)
    folder = work / "image_adapter"
    folder.mkdir(exist_ok=True)
    file = folder / "image_adapter.safetensors"
    safetensors.torch.save_file(adapter.layout(), file, metadata={ENCODER_KEY: "builtin"})
    about = {
        "network": "image_encoder",
        "layer": "middle",
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
