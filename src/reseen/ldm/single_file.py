"""Single files: a Stable Diffusion in the original format, ``sd-v1-4.ckpt`` or ``.safetensors``, without a network.

The settings of its networks are read from names and shapes (`reseen.ldm.original`). A folder of the same name beside
the file (``sd-v1-4.ckpt`` -> ``sd-v1-4/``), in diffusers' layout, may state them instead: ``unet/config.json``,
``scheduler/scheduler_config.json``, ``tokenizer/`` and so on. The tokenizer is that of the authors' code where none is
beside the file: from the hub's local cache, or fetched from the hub if that is allowed, at one commit. Its vocabulary
is part of the model's fingerprint.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

from reseen.errors import ModelError
from reseen.files import read_json, reading
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.imports import hide_broken_torchvision
from reseen.ldm.checkpoint import read_checkpoint
from reseen.ldm.loading import Loaded, digest
from reseen.ldm.original import EMA, SCHEDULE, UNET, VAE, Weights, check_original, read_settings
from reseen.ldm.parts import NETWORKS, check_network, check_tokenizer, load_tokenizer, quiet
from reseen.ldm.schedules import Prediction, read_scheduler

TOKENIZER, TOKENIZER_COMMIT = "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
NOISE_FROM, VELOCITY_TO = 0.7, 0.3
"""Correlations with pure noise from which a U-Net's output counts as noise, and up to which as velocity."""
_SIDE = 32  # of the latents that this is measured on


def load_single_file(path: Path, name: str, *, fetch: bool = True) -> Loaded:
    """Read a Stable Diffusion 1.x or 2.x from one file in the original format.

    Parameters
    ----------
    path
        safetensors, or a checkpoint of PyTorch. If it has both trained and averaged (EMA) weights, the averaged are
        taken.
    name
        What the user calls it.
    fetch
        Fetch the tokenizer from the hub if it is neither beside the file nor in the local cache.

    Raises
    ------
    ModelError
        If the file or its tokenizer is missing, damaged, or of a kind that cannot be used.
    """
    hide_broken_torchvision()  # before transformers, which imports it
    weights = read_checkpoint(path)
    family = check_original(weights, path)
    beside = path.with_suffix("")
    with tempfile.TemporaryDirectory() as made:
        settings = Path(made)
        _lay_settings(settings, weights, family, path)
        schedule, prediction = read_scheduler(settings / "scheduler" / "scheduler_config.json")
        tokenizer, fix = _tokenizer(beside, family, fetch=fetch)
        text_settings = read_json(settings / "text_encoder" / "config.json", dict[str, Any], ModelError)
        check_tokenizer(tokenizer, text_settings.get("vocab_size", 49408), path, fix)  # before minutes of work
        parts = {**_networks(weights, settings, path), "tokenizer": tokenizer}
    stated = os.path.lexists(beside / "scheduler" / "scheduler_config.json")
    if family == 2 and not stated:
        prediction = _measure_prediction(parts, path, schedule_length=len(schedule.signal_level))
    if not os.path.lexists(beside / "unet" / "config.json"):
        parts["unet"].register_to_config(sample_size=96 if prediction == "v_prediction" else 64)
    files = [path, *sorted(file for file in beside.rglob("*") if file.is_file() and file.suffix in (".json", ".txt"))]
    fingerprint = digest(files, path.parent, also=json.dumps(sorted(parts["tokenizer"].get_vocab().items())))
    return Loaded(name, fingerprint, schedule, prediction, parts)


def _lay_settings(made: Path, weights: Weights, family: Literal[1, 2], path: Path) -> None:
    """Write the settings of every part into a folder: those beside the file, or those that are read from it."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    # diffusers converts by the configuration as it is in the file, so that its own defaults have to be in it
    defaults = {"unet": _defaults(UNet2DConditionModel), "vae": _defaults(AutoencoderKL)}
    for part in (*NETWORKS, "scheduler"):
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        stated, target = path.with_suffix("") / part / file, made / part / file
        target.parent.mkdir(parents=True)
        if os.path.lexists(stated):
            target.write_text(json.dumps(read_json(stated, dict[str, Any], ModelError)), encoding="utf-8")
        else:
            own = SCHEDULE if part == "scheduler" else read_settings(part, weights, family, path)
            target.write_text(json.dumps({**defaults.get(part, {}), **own}), encoding="utf-8")


def _defaults(kind: Any) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters
    return {name: value.default for name, value in parameters.items() if value.default is not inspect.Parameter.empty}


def _networks(weights: Weights, settings: Path, path: Path) -> dict[str, Any]:
    """Convert the tensors by diffusers' own tables, and check that each was used."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from transformers import CLIPTextModel

    averaged = any(key.startswith(EMA) for key in weights)
    make_text_encoder: Any = create_diffusers_clip_model_from_ldm
    where: dict[str, Any] = {"config": str(settings), "local_files_only": True}
    beside = shown(path.with_suffix(""))
    fix = f"It is not whole: fetch or copy it again. If it has another size, put its configuration into {beside}."
    with quiet(), reading(path, ModelError, fix):
        parts = {
            "unet": UNet2DConditionModel.from_single_file(weights, subfolder="unet", extract_ema=averaged, **where),
            "vae": AutoencoderKL.from_single_file(weights, subfolder="vae", **where),
            "text_encoder": make_text_encoder(CLIPTextModel, weights, subfolder="text_encoder", **where),
        }
    for part in NETWORKS:
        check_network(part, parts[part], (), (), path, fix)
    for part, start in (("unet", UNET), ("vae", VAE)):  # one tensor becomes one tensor
        n_found, n_used = sum(key.startswith(start) for key in weights), len(parts[part].state_dict())
        if n_found != n_used:
            raise ModelError(f"{shown(path)} has {n_found} tensors of a {part} that has {n_used}. {fix}")
    return parts


def _tokenizer(beside: Path, family: int, *, fetch: bool) -> tuple[Any, str]:
    """Load the tokenizer from beside the file, the hub's cache or the hub; also return how to get a complete one."""
    command = shell_line("hf", "download", TOKENIZER, "--revision", TOKENIZER_COMMIT, *TOKENIZER_FILES)
    fix = f"Run `{command}` where there is a network, or put these files into {shown(beside / 'tokenizer')}."
    if (beside / "tokenizer").is_dir():
        return load_tokenizer(beside / "tokenizer", fix), fix
    import huggingface_hub

    failed: Exception | None = None
    for local in (True, False) if fetch else (True,):
        try:
            folder = huggingface_hub.snapshot_download(
                TOKENIZER, revision=TOKENIZER_COMMIT, allow_patterns=list(TOKENIZER_FILES), local_files_only=local
            )
        except Exception as error:  # the hub's client raises a dozen kinds
            failed = error
            continue
        tokenizer = load_tokenizer(Path(folder), fix)
        if family == 2:
            tokenizer.pad_token = "!"  # the captions of 2.x are filled up with token 0
        return tokenizer, fix
    raise ModelError(f"the tokenizer that a Stable Diffusion needs is not here ({type(failed).__name__}). {fix}")


def _measure_prediction(parts: dict[str, Any], path: Path, *, schedule_length: int) -> Prediction:
    """Find out whether a U-Net predicts noise or velocity, which a checkpoint of 2.x does not say.

    At the last timestep the latents are noise almost alone. A U-Net that predicts noise gives them back; velocity,
    ``sqrt(level) * noise - sqrt(1 - level) * clean``, is then the clean image, which has nothing to do with them.

    Raises
    ------
    ModelError
        If the output is between the two.
    """
    import torch

    with torch.no_grad():
        words = parts["tokenizer"]([""], padding="max_length", max_length=77, truncation=True).input_ids
        length = parts["text_encoder"].config.max_position_embeddings
        c = parts["text_encoder"].float()(torch.tensor(words)[:, :length])[0]
        noise = torch.randn((1, 4, _SIDE, _SIDE), generator=torch.Generator().manual_seed(0))
        output = parts["unet"].float()(noise, schedule_length - 1, encoder_hidden_states=c).sample
        r = float(torch.corrcoef(torch.stack([noise.flatten(), output.flatten()]))[0, 1])
    if VELOCITY_TO < r < NOISE_FROM:
        raise ModelError(
            f"{shown(path)} is a Stable Diffusion 2.x. Whether it predicts noise or velocity is neither in the file "
            f"nor clear from its output (r = {r:.2f} with pure noise). Put its scheduler_config.json into "
            f"{shown(path.with_suffix('') / 'scheduler')}."
        )
    predicts = "noise" if r >= NOISE_FROM else "velocity"
    warnings.warn(
        f"{shown(path)} does not say whether it predicts noise or velocity. It is taken to predict {predicts}: its "
        f"output for pure noise correlates {r:.2f} with that noise. To state it, put its scheduler_config.json into "
        f"{shown(path.with_suffix('') / 'scheduler')}.",
        stacklevel=2,
    )
    return "epsilon" if r >= NOISE_FROM else "v_prediction"
