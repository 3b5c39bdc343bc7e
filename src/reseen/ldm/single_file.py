"""Single files: load a Stable Diffusion in the original format, ``sd-v1-4.ckpt`` or ``.safetensors``.

The settings of its networks are read from names and shapes (`reseen.ldm.original`). A folder of the same name next to
the file (``sd-v1-4.ckpt`` -> ``sd-v1-4/``), in diffusers' layout, can provide them instead: ``unet/config.json``,
``scheduler/scheduler_config.json``, ``tokenizer/`` and so on. If this folder has no tokenizer, that of the authors'
code is used, at a fixed commit: from the hub's local cache, or downloaded if that is allowed. Its vocabulary is part of
the model's fingerprint.
"""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from reseen.errors import ModelError
from reseen.files import read_json, reading
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.imports import hide_broken_torchvision
from reseen.ldm.checkpoint import read_checkpoint
from reseen.ldm.loading import Loaded, digest
from reseen.ldm.original import EMA, SCHEDULE, UNET, VAE, Family, Weights, check_original, read_settings
from reseen.ldm.parts import SECOND_ENCODER, SECOND_TOKENIZER, check_network, check_tokenizer, load_tokenizer, quiet
from reseen.ldm.schedules import Prediction, read_scheduler

TOKENIZER, TOKENIZER_COMMIT = "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
NOISE_FROM, VELOCITY_TO = 0.7, 0.3
"""A U-Net predicts noise if its output correlates at least 0.7 with pure noise, and velocity if at most 0.3."""
_SIDE = 32  # height and width of the latents for this measurement


def load_single_file(path: Path, name: str, *, fetch: bool = True) -> Loaded:
    """Read a Stable Diffusion 1.x, 2.x or XL from one file in the original format.

    A file of XL does not contain what it predicts. Published ones predict noise; for others, put the scheduler's
    settings next to the file.

    Parameters
    ----------
    path
        safetensors, or a checkpoint of PyTorch. If it has trained and averaged (EMA) weights, the averaged weights are
        used.
    name
        Name that the user gave.
    fetch
        Download the tokenizer from the hub if it is neither next to the file nor in the local cache.

    Raises
    ------
    ModelError
        If the file or its tokenizer is missing, damaged, or of a type that is not supported.
    """
    hide_broken_torchvision()  # before transformers, which imports it
    weights = read_checkpoint(path)
    family = check_original(weights, path)
    beside = path.with_suffix("")  # folder next to the file
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder)
        _write_settings(settings, weights, family, path)
        schedule, prediction = read_scheduler(settings / "scheduler" / "scheduler_config.json")
        tokenizers = {}
        for name_of, encoder in zip(("tokenizer", SECOND_TOKENIZER), _encoders(family), strict=False):
            # captions are padded with token 0 for OpenCLIP's text encoders, those of 2.x and the second one of XL
            padding = "!" if family == 2 or encoder == SECOND_ENCODER else None
            tokenizers[name_of], fix = _tokenizer(beside / name_of, padding, fetch=fetch)
            text_settings = read_json(settings / encoder / "config.json", dict[str, Any], ModelError)
            # 49408 words: the default of CLIPTextConfig; checked here, before the conversion, which takes minutes
            check_tokenizer(tokenizers[name_of], text_settings.get("vocab_size", 49408), path, fix)
        parts = {**_networks(weights, settings, family, path), **tokenizers}
    if family == 2 and not os.path.lexists(beside / "scheduler" / "scheduler_config.json"):
        prediction = _measure_prediction(parts, path, schedule_length=len(schedule.signal_level))
    if not os.path.lexists(beside / "unet" / "config.json"):
        # published models of 768 pixels predict velocity, those of 512 pixels noise; a latent has 1/8 of the side
        side = 96 if prediction == "v_prediction" else 64
        parts["unet"].register_to_config(sample_size=128 if family == "xl" else side)
    files = [path, *sorted(file for file in beside.rglob("*") if file.is_file() and file.suffix in (".json", ".txt"))]
    words = "".join(json.dumps(sorted(tokenizer.get_vocab().items())) for tokenizer in tokenizers.values())
    fingerprint = digest(files, path.parent, also=words)
    return Loaded(name, fingerprint, schedule, prediction, parts)


def _write_settings(folder: Path, weights: Weights, family: Family, path: Path) -> None:
    """Write the settings of every part into a folder: those next to the file, or those read from its tensors."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    # diffusers converts by the configuration file alone, so that it must contain the defaults of the class as well
    defaults = {"unet": _defaults(UNet2DConditionModel), "vae": _defaults(AutoencoderKL)}
    for part in ("vae", "unet", *_encoders(family), "scheduler"):
        file = "scheduler_config.json" if part == "scheduler" else "config.json"
        own, target = path.with_suffix("") / part / file, folder / part / file
        settings: dict[str, Any]
        if os.path.lexists(own):
            settings = read_json(own, dict[str, Any], ModelError)
        elif part == "scheduler":
            settings = SCHEDULE
        else:
            settings = {**defaults.get(part, {}), **read_settings(part, weights, family, path)}
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(settings), encoding="utf-8")


def _encoders(family: Family) -> tuple[str, ...]:
    """Return the names of the text encoders."""
    return ("text_encoder", SECOND_ENCODER) if family == "xl" else ("text_encoder",)


def _defaults(network: Any) -> dict[str, Any]:
    """Return the default values of the settings of a class."""
    parameters = inspect.signature(network.__init__).parameters
    return {name: value.default for name, value in parameters.items() if value.default is not inspect.Parameter.empty}


def _networks(weights: Weights, settings: Path, family: Family, path: Path) -> dict[str, Any]:
    """Convert the tensors to diffusers' names, and check that each tensor is used."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    averaged = any(key.startswith(EMA) for key in weights)
    make_text_encoder: Any = create_diffusers_clip_model_from_ldm
    where: dict[str, Any] = {"config": str(settings), "local_files_only": True}
    beside = shown(path.with_suffix(""))
    fix = f"It is not complete: download or copy it again. If it has another size, put its settings into {beside}."
    with quiet(), reading(path, ModelError, fix):
        parts: dict[str, Any] = {
            "unet": UNet2DConditionModel.from_single_file(weights, subfolder="unet", extract_ema=averaged, **where),
            "vae": AutoencoderKL.from_single_file(weights, subfolder="vae", **where),
        }
        for part in _encoders(family):
            kind = CLIPTextModelWithProjection if part == SECOND_ENCODER else CLIPTextModel
            parts[part] = make_text_encoder(kind, weights, subfolder=part, **where)
    for part in parts:
        check_network(part, parts[part], (), (), path, fix)
    for part, start in (("unet", UNET), ("vae", VAE)):  # the conversion maps each tensor to one tensor
        n_found, n_used = sum(key.startswith(start) for key in weights), len(parts[part].state_dict())
        if n_found != n_used:
            raise ModelError(
                f"{shown(path)} has {n_found} tensors of a {part} that has {n_used}. {fix}",
                where=path,
                expected=n_used,
                found=n_found,
            )
    return parts


def _tokenizer(folder: Path, padding: str | None, *, fetch: bool) -> tuple[Any, str]:
    """Load a tokenizer from a folder next to the file, the hub's cache or the hub; also return advice for errors.

    Raises
    ------
    ModelError
        If it is in none of these places.
    """
    command = shell_line("hf", "download", TOKENIZER, "--revision", TOKENIZER_COMMIT, *TOKENIZER_FILES)
    fix = f"With a network connection, run `{command}`, or put these files into {shown(folder)}."
    if folder.is_dir():
        return load_tokenizer(folder, fix), fix
    import huggingface_hub

    failed: Exception | None = None
    for local in (True, False) if fetch else (True,):
        try:
            found = huggingface_hub.snapshot_download(
                TOKENIZER, revision=TOKENIZER_COMMIT, allow_patterns=list(TOKENIZER_FILES), local_files_only=local
            )
        except Exception as error:  # the hub's client raises a dozen types
            failed = error
            continue
        tokenizer = load_tokenizer(Path(found), fix)
        if padding is not None:
            tokenizer.pad_token = padding
        return tokenizer, fix
    raise ModelError(
        f"the tokenizer that a Stable Diffusion needs is not on this machine ({type(failed).__name__}). {fix}",
        where=TOKENIZER,
    )


def _measure_prediction(parts: dict[str, Any], path: Path, *, schedule_length: int) -> Prediction:
    """Measure whether a U-Net predicts noise or velocity, which a checkpoint of 2.x does not contain.

    At the last timestep the latents are almost pure noise. A U-Net that predicts noise returns them. Velocity,
    ``sqrt(level) * noise - sqrt(1 - level) * clean``, is then almost ``-clean``, which does not correlate with them.

    Raises
    ------
    ModelError
        If the correlation is between the two limits.
    """
    import torch

    with torch.no_grad():
        words = parts["tokenizer"]([""], padding="max_length", max_length=77, truncation=True).input_ids
        length = parts["text_encoder"].config.max_position_embeddings
        c = parts["text_encoder"].float()(torch.tensor(words)[:, :length])[0]  # (1, n_tokens, dim)
        noise = torch.randn((1, 4, _SIDE, _SIDE), generator=torch.Generator().manual_seed(0))
        output = parts["unet"].float()(noise, schedule_length - 1, encoder_hidden_states=c).sample
        r = float(torch.corrcoef(torch.stack([noise.flatten(), output.flatten()]))[0, 1])
    fix = f"put its scheduler_config.json into {shown(path.with_suffix('') / 'scheduler')}."
    if VELOCITY_TO < r < NOISE_FROM:
        raise ModelError(
            f"{shown(path)} is a Stable Diffusion 2.x. Neither the file nor its output (r = {r:.2f} with pure noise) "
            f"shows whether it predicts noise or velocity. To set it, {fix}",
            where=path,
            found=r,
        )
    prediction: Prediction = "epsilon" if r >= NOISE_FROM else "v_prediction"
    predicts = "noise" if prediction == "epsilon" else "velocity"
    warnings.warn(
        f"{shown(path)} does not contain whether it predicts noise or velocity. reseen assumes {predicts}: the output "
        f"for pure noise correlates {r:.2f} with that noise. To set it, {fix}",
        stacklevel=2,
    )
    return prediction
