"""Write a checkpoint in the original format with random weights, and a tokenizer for it.

    python tools/full_size_checkpoint.py FOLDER [--family 1|2|xl|adapter]

``FOLDER/sd-v1-4.ckpt`` (1,143 tensors, 4.3 GB), ``FOLDER/v2-1_768.ckpt`` (5.2 GB) or ``FOLDER/sd_xl_base.safetensors``
(6.9 GB in half precision), under the names of the original code and at the published sizes. In the folder of the same
name without ending, where reseen looks for it, is ``tokenizer/`` with 49,408 entries, as CLIP's has, made by other
merges than CLIP's (for XL ``tokenizer_2/`` too). ``--family adapter`` writes an image adapter for Stable Diffusion 1.x
on the pooled embedding of a ViT-H: ``FOLDER/ip-adapter_random.safetensors`` (89 MB) and ``FOLDER/image_encoder/``
(2.5 GB). No published weight is in any of them: they show that a file of that layout loads, how long that takes and in
how much memory.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]
SCHEDULE_NAMES = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
    *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
    *("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
)
"""What the original code keeps of its schedule beside the weights."""
N_WORDS = 49408


@dataclass(frozen=True)
class Sizes:
    """Widths of a Stable Diffusion; the published ones are `V1`, `V2` and `XL`."""

    family: int | str
    unet: int
    vae: int
    text: int
    text_layers: int
    n_words: int = N_WORDS
    n_tokens: int = 77
    second: int = 0
    second_layers: int = 0

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of transformers in each attention, by level; the middle block has as many as the last one that has."""
        return (0, 2, 10) if self.family == "xl" else (1, 1, 1, 0)

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the levels of the U-Net."""
        return tuple(self.unet * n for n in ((1, 2, 4) if self.family == "xl" else (1, 2, 4, 4)))

    @property
    def context(self) -> int:
        """Width of the conditioning."""
        return self.text + self.second


V1 = Sizes(family=1, unet=320, vae=128, text=768, text_layers=12)
V2 = Sizes(family=2, unet=320, vae=128, text=1024, text_layers=24)
XL = Sizes(family="xl", unet=320, vae=128, text=768, text_layers=12, second=1280, second_layers=32)
SIZES_OF = {"1": V1, "2": V2, "xl": XL}
FILE_OF = {"1": "sd-v1-4.ckpt", "2": "v2-1_768.ckpt", "xl": "sd_xl_base.safetensors"}
_SIZE_INPUTS = 6 * 256  # numbers by which XL's U-Net embeds the size of the image


def original_shapes(sizes: Sizes) -> Shapes:
    """Return name and shape of every tensor of a checkpoint in the original format."""
    shapes = _below("model.diffusion_model.", _unet(sizes)) | _below("first_stage_model.", _vae(sizes.vae))
    if sizes.family == "xl":
        second = replace(sizes, text=sizes.second, text_layers=sizes.second_layers)
        shapes |= _below("conditioner.embedders.0.", _clip(sizes))
        return shapes | _below("conditioner.embedders.1.", _open_clip(second))
    text = _clip(sizes) if sizes.family == 1 else _open_clip(sizes)
    return dict.fromkeys(SCHEDULE_NAMES, (1000,)) | shapes | _below("cond_stage_model.", text)


def _below(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def _affine(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, n_in: int, n_out: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (n_out, n_in), **({f"{name}.bias": (n_out,)} if bias else {})}


def _conv(name: str, n_in: int, n_out: int, side: int = 3) -> Shapes:
    return {f"{name}.weight": (n_out, n_in, side, side), f"{name}.bias": (n_out,)}


def _unet(sizes: Sizes) -> Shapes:
    """Return the shapes of the U-Net: two blocks a level, with attention at the levels that have transformers."""
    base, widths, depths = sizes.unet, sizes.widths, sizes.depths
    time, last, middle = 4 * base, len(widths) - 1, max(depths)
    shapes = {**_linear("time_embed.0", base, time), **_linear("time_embed.2", time, time)}
    if sizes.family == "xl":
        shapes |= _linear("label_emb.0.0", sizes.second + _SIZE_INPUTS, time) | _linear("label_emb.0.2", time, time)
    shapes |= _conv("input_blocks.0.0", 4, base)
    skips, width, number = [base], base, 1
    for level, wide in enumerate(widths):
        for _ in range(2):
            shapes |= _block(f"input_blocks.{number}.0", width, wide, time)
            if depths[level]:
                shapes |= _transformer(f"input_blocks.{number}.1", wide, depths[level], sizes)
            width = wide
            skips.append(width)
            number += 1
        if level < last:
            shapes |= _conv(f"input_blocks.{number}.0.op", width, width)
            skips.append(width)
            number += 1
    shapes |= _block("middle_block.0", width, width, time) | _block("middle_block.2", width, width, time)
    shapes |= _transformer("middle_block.1", width, middle, sizes)
    number = 0
    for level in reversed(range(len(widths))):
        for layer in range(3):
            shapes |= _block(f"output_blocks.{number}.0", width + skips.pop(), widths[level], time)
            width = widths[level]
            if depths[level]:
                shapes |= _transformer(f"output_blocks.{number}.1", width, depths[level], sizes)
            if layer == 2 and level > 0:
                shapes |= _conv(f"output_blocks.{number}.{2 if depths[level] else 1}.conv", width, width)
            number += 1
    return shapes | _affine("out.0", base) | _conv("out.2", base, 4)


def _block(name: str, n_in: int, n_out: int, time: int) -> Shapes:
    shapes = {**_affine(f"{name}.in_layers.0", n_in), **_conv(f"{name}.in_layers.2", n_in, n_out)}
    shapes |= _linear(f"{name}.emb_layers.1", time, n_out)
    shapes |= _affine(f"{name}.out_layers.0", n_out) | _conv(f"{name}.out_layers.3", n_out, n_out)
    return shapes | (_conv(f"{name}.skip_connection", n_in, n_out, 1) if n_in != n_out else {})


def _transformer(name: str, width: int, depth: int, sizes: Sizes) -> Shapes:
    shapes = _affine(f"{name}.norm", width)
    for end in ("proj_in", "proj_out"):
        # 1.x projects by convolutions of one pixel, 2.x and XL by matrices
        shapes |= (
            _conv(f"{name}.{end}", width, width, 1) if sizes.family == 1 else _linear(f"{name}.{end}", width, width)
        )
    for number in range(depth):
        inside = f"{name}.transformer_blocks.{number}"
        for attention, context in (("attn1", width), ("attn2", sizes.context)):
            shapes |= _linear(f"{inside}.{attention}.to_q", width, width, bias=False)
            shapes |= _linear(f"{inside}.{attention}.to_k", context, width, bias=False)
            shapes |= _linear(f"{inside}.{attention}.to_v", context, width, bias=False)
            shapes |= _linear(f"{inside}.{attention}.to_out.0", width, width)
        shapes |= _linear(f"{inside}.ff.net.0.proj", width, 8 * width)
        shapes |= _linear(f"{inside}.ff.net.2", 4 * width, width)
        for norm in ("norm1", "norm2", "norm3"):
            shapes |= _affine(f"{inside}.{norm}", width)
    return shapes


def _vae(base: int) -> Shapes:
    """Return the shapes of the autoencoder: four levels, two blocks down, three up, attention in the middle."""
    widths = (base, 2 * base, 4 * base, 4 * base)
    shapes = {**_conv("quant_conv", 8, 8, 1), **_conv("post_quant_conv", 4, 4, 1)}
    shapes |= _conv("encoder.conv_in", 3, base) | _conv("decoder.conv_in", 4, widths[-1])
    width = base
    for level, wide in enumerate(widths):
        for block in range(2):
            shapes |= _vae_block(f"encoder.down.{level}.block.{block}", width, wide)
            width = wide
        if level < 3:
            shapes |= _conv(f"encoder.down.{level}.downsample.conv", width, width)
    for half in ("encoder", "decoder"):
        for block in (1, 2):
            shapes |= _vae_block(f"{half}.mid.block_{block}", width, width)
        shapes |= _affine(f"{half}.mid.attn_1.norm", width)
        for name in ("q", "k", "v", "proj_out"):
            shapes |= _conv(f"{half}.mid.attn_1.{name}", width, width, 1)
    for level in reversed(range(4)):
        for block in range(3):
            shapes |= _vae_block(f"decoder.up.{level}.block.{block}", width, widths[level])
            width = widths[level]
        if level > 0:
            shapes |= _conv(f"decoder.up.{level}.upsample.conv", width, width)
    shapes |= _affine("encoder.norm_out", widths[-1]) | _conv("encoder.conv_out", widths[-1], 8)
    return shapes | _affine("decoder.norm_out", base) | _conv("decoder.conv_out", base, 3)


def _vae_block(name: str, n_in: int, n_out: int) -> Shapes:
    shapes = {**_affine(f"{name}.norm1", n_in), **_conv(f"{name}.conv1", n_in, n_out)}
    shapes |= _affine(f"{name}.norm2", n_out) | _conv(f"{name}.conv2", n_out, n_out)
    return shapes | (_conv(f"{name}.nin_shortcut", n_in, n_out, 1) if n_in != n_out else {})


def _clip(sizes: Sizes) -> Shapes:
    width = sizes.text
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (sizes.n_words, width),
        "embeddings.position_embedding.weight": (sizes.n_tokens, width),
        "embeddings.position_ids": (1, sizes.n_tokens),
        **_affine("final_layer_norm", width),
    }
    for number in range(sizes.text_layers):
        layer = f"encoder.layers.{number}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{layer}.self_attn.{name}", width, width)
        shapes |= _linear(f"{layer}.mlp.fc1", width, 4 * width) | _linear(f"{layer}.mlp.fc2", 4 * width, width)
        shapes |= _affine(f"{layer}.layer_norm1", width) | _affine(f"{layer}.layer_norm2", width)
    return _below("transformer.text_model.", shapes)


def _open_clip(sizes: Sizes) -> Shapes:
    width = sizes.text
    shapes: Shapes = {
        "positional_embedding": (sizes.n_tokens, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "token_embedding.weight": (sizes.n_words, width),
        **_affine("ln_final", width),
    }
    for number in range(sizes.text_layers):
        layer = f"transformer.resblocks.{number}"
        shapes |= {f"{layer}.attn.in_proj_weight": (3 * width, width), f"{layer}.attn.in_proj_bias": (3 * width,)}
        shapes |= _linear(f"{layer}.attn.out_proj", width, width)
        shapes |= _linear(f"{layer}.mlp.c_fc", width, 4 * width) | _linear(f"{layer}.mlp.c_proj", 4 * width, width)
        shapes |= _affine(f"{layer}.ln_1", width) | _affine(f"{layer}.ln_2", width)
    return _below("model.", shapes)


def write_tokenizer(folder: Path, n_words: int = N_WORDS, n_tokens: int = 77, padding: str = "<|endoftext|>") -> None:
    """Write a tokenizer of CLIP's form: signs, signs that end a word, one merge for each further entry, two marks."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    # the 256 signs that stand for bytes, of which the printable ones stand for themselves
    signs = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    vocabulary = [*signs, *(sign + "</w>" for sign in signs)]
    merges: list[str] = []
    stems = list(letters)
    while len(vocabulary) + 2 < n_words:
        stem = stems.pop(0)
        for letter in letters[: n_words - 2 - len(vocabulary)]:
            merges.append(f"{stem} {letter}")
            vocabulary.append(stem + letter)
            stems.append(stem + letter)
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": n_tokens, "pad_token": padding}
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **marks}))


def write_adapter(folder: Path) -> Path:
    """Write an image adapter for Stable Diffusion 1.x of the published size, with its ViT-H, and return its file."""
    import torch

    from reseen.imports import hide_broken_torchvision

    hide_broken_torchvision()
    from diffusers import UNet2DConditionModel
    from tiny_ldm import write_random_adapter
    from transformers import CLIPVisionConfig

    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=V1.text)
    vit_h = CLIPVisionConfig(
        hidden_size=1280,
        intermediate_size=5120,
        projection_dim=1024,
        num_hidden_layers=32,
        num_attention_heads=16,
        patch_size=14,
        hidden_act="gelu",
    )
    return write_random_adapter(folder, dim=V1.text, unet=unet, encoder=vit_h)


def main() -> None:
    """Write the checkpoint and the tokenizer."""
    import torch
    from safetensors.torch import save_file

    from reseen.diffusion import Schedule

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write them")
    parser.add_argument("--family", choices=("1", "2", "xl", "adapter"), default="1", help="1.x, 2.x, XL or adapter")
    wanted = parser.parse_args()
    if wanted.family == "adapter":
        file = write_adapter(wanted.folder)
        print(f"{file}: {file.stat().st_size:,} bytes")
        return
    sizes, file = SIZES_OF[wanted.family], wanted.folder / FILE_OF[wanted.family]
    wanted.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    dtype = torch.float16 if wanted.family == "xl" else torch.float32
    tensors = {name: (0.02 * torch.randn(shape)).to(dtype) for name, shape in original_shapes(sizes).items()}
    for name in [name for name in tensors if name.endswith("position_ids")]:
        tensors[name] = torch.arange(sizes.n_tokens)[None]
    if wanted.family == "xl":
        save_file(tensors, file)
        write_tokenizer(file.with_suffix("") / "tokenizer_2", padding="!")
    else:
        tensors["alphas_cumprod"] = torch.from_numpy(Schedule.scaled_linear().signal_level).float()
        torch.save({"state_dict": tensors, "global_step": 0}, file)
    write_tokenizer(file.with_suffix("") / "tokenizer")
    print(f"{file}: {len(tensors):,} tensors, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
