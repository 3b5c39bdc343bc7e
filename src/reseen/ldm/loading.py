"""Load a Stable Diffusion from a folder in diffusers' format, or from one file in the original format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from reseen.diffusion import Schedule
from reseen.errors import ModelError
from reseen.ldm.stable import StableDiffusion

Precision = Literal["fp32", "fp16", "bf16"]
NETWORKS = ("vae", "unet", "text_encoder")


def load_folder(
    folder: Path, name: str, *, precision: Precision = "fp32", device: str = "cpu", fingerprint: str | None = None
) -> StableDiffusion:
    """Load a Stable Diffusion from a folder in diffusers' format.

    Parameters
    ----------
    folder
        Holds ``vae``, ``unet``, ``text_encoder``, ``tokenizer`` and ``scheduler``, weights as safetensors.
    name
        What the user calls it.
    precision
        Of the U-Net; the rest computes in fp32.
    device
        Where it shall lie.
    fingerprint
        Left out: the SHA-256 of its files.

    Raises
    ------
    ModelError
        If a part is missing, cannot be read, or is of a kind that cannot be used.
    """
    _check_folder(folder, name)
    schedule, prediction_type = _read_scheduler(folder / "scheduler" / "scheduler_config.json")
    try:
        parts = _load_parts(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot load the model {name} from {folder}: {error}") from error
    fingerprint = fingerprint or _digest(_files(folder), folder)
    return _assemble(name, fingerprint, schedule, prediction_type, parts, precision, device)


def load_single_file(path: Path, name: str, *, precision: Precision = "fp32", device: str = "cpu") -> StableDiffusion:
    """Load a Stable Diffusion from one file in the original format (``.safetensors``, or ``.ckpt`` without unpickling).

    Such a file holds weights only. Its configuration and tokenizer are read from the folder of the same name beside it
    (``sd-v1-4.ckpt`` -> ``sd-v1-4/``, in diffusers' format, without weights) where there is one, else from the hub.

    Raises
    ------
    ModelError
        If the file is missing, or it or its configuration cannot be read.
    """
    if not path.is_file():
        raise ModelError(f"there is no file {path}.")
    from diffusers import StableDiffusionPipeline

    beside = path.with_suffix("")
    options: dict[str, Any] = {"config": str(beside), "local_files_only": True} if beside.is_dir() else {}
    try:
        with _quiet():
            pipeline = StableDiffusionPipeline.from_single_file(str(path), safety_checker=None, **options)
    except Exception as error:  # a wrong file, an unreachable hub and a pickle all raise kinds of their own
        raise ModelError(
            f"cannot load {path} as a Stable Diffusion checkpoint ({type(error).__name__}: {error}). Its configuration "
            "and tokenizer come from the hub; without a network, put them beside it: `huggingface-cli download "
            'stable-diffusion-v1-5/stable-diffusion-v1-5 --include "*.json" "tokenizer/*" '
            f"--local-dir {beside}`."
        ) from error
    schedule, prediction_type = _schedule_of(dict(pipeline.scheduler.config), str(path))
    parts = {part: getattr(pipeline, part) for part in (*NETWORKS, "tokenizer")}
    return _assemble(name, _digest([path], path.parent), schedule, prediction_type, parts, precision, device)


def _assemble(
    name: str,
    fingerprint: str,
    schedule: Schedule,
    prediction_type: Literal["epsilon", "v_prediction"],
    parts: dict[str, Any],
    precision: Precision,
    device: str,
) -> StableDiffusion:
    channels, latent_channels = parts["unet"].config.in_channels, parts["vae"].config.latent_channels
    if channels != latent_channels:
        raise ModelError(
            f"{name} takes {channels} channels where its latents have {latent_channels}: it is made for inpainting or "
            "depth. Use a plain text-to-image Stable Diffusion 1.x or 2.x."
        )
    casts = {"fp32": "float", "fp16": "half", "bf16": "bfloat16"}
    for part in NETWORKS:
        cast = getattr(parts[part], casts[precision if part == "unet" else "fp32"])
        parts[part] = cast().to(device).eval().requires_grad_(False)
    return StableDiffusion(name, fingerprint, schedule, prediction_type, **parts, device=device)


def _check_folder(folder: Path, name: str) -> None:
    mend = "Reinstall reseen." if name == "builtin" else "Fetch or copy the model again, whole."
    if (folder / "text_encoder_2").exists():
        raise ModelError(f"{name} is a Stable Diffusion XL; reseen works with Stable Diffusion 1.x and 2.x.")
    for part in NETWORKS:
        if not (folder / part / "config.json").is_file():
            raise ModelError(f"the model {name} lacks {folder / part / 'config.json'}. {mend}")
        if not any((folder / part).glob("*.safetensors")):
            raise ModelError(f"the model {name} lacks safetensors weights in {folder / part}. {mend}")
    for file in ("scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"):
        if not (folder / file).is_file():
            raise ModelError(f"the model {name} lacks {folder / file}. {mend}")


def _load_parts(folder: Path) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    networks: dict[str, Any] = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    with _quiet():
        parts: dict[str, Any] = {
            part: kind.from_pretrained(folder / part, use_safetensors=True, local_files_only=True)
            for part, kind in networks.items()
        }
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return parts


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars of transformers' and diffusers' loaders off the terminal."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    loud = [log for log in (diffusers_logging, transformers_logging) if log.is_progress_bar_enabled()]
    for log in loud:
        log.disable_progress_bar()
    try:
        yield
    finally:
        for log in loud:
            log.enable_progress_bar()


def _read_scheduler(path: Path) -> tuple[Schedule, Literal["epsilon", "v_prediction"]]:
    try:
        return _schedule_of(json.loads(path.read_text()), str(path))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} is no valid JSON: {error}.") from error


def _schedule_of(config: dict[str, Any], where: str) -> tuple[Schedule, Literal["epsilon", "v_prediction"]]:
    """Read the schedule that a model was trained with from the settings of any of diffusers' schedulers."""
    kind, predicts = config.get("beta_schedule"), config.get("prediction_type") or "epsilon"
    unusual = [key for key in ("trained_betas", "rescale_betas_zero_snr") if config.get(key) not in (None, False)]
    if kind != "scaled_linear" or predicts not in ("epsilon", "v_prediction") or unusual:
        raise ModelError(
            f"{where}: expected beta_schedule 'scaled_linear' and prediction_type 'epsilon' or 'v_prediction'; found "
            f"{kind!r}, {predicts!r}{' and ' + unusual[0] if unusual else ''}. Use a Stable Diffusion 1.x or 2.x."
        )
    schedule = Schedule.scaled_linear(
        float(config["beta_start"]),
        float(config["beta_end"]),
        int(config.get("num_train_timesteps", 1000)),
        # 1 in every Stable Diffusion; the earliest configurations say 0, which diffusers' own pipelines mend as well
        offset=1,
        final_level=1.0 if config.get("set_alpha_to_one", False) else None,
    )
    return schedule, "epsilon" if predicts == "epsilon" else "v_prediction"


def _files(folder: Path) -> list[Path]:
    parts = (*NETWORKS, "tokenizer", "scheduler")
    return [file for part in parts for file in sorted((folder / part).iterdir()) if file.is_file()]


def _digest(files: Sequence[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        digest.update(f"{file.relative_to(root).as_posix()}\n".encode() + content)
    return f"sha256:{digest.hexdigest()}"
