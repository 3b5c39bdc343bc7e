"""Loading: a Stable Diffusion from a folder in diffusers' format, and its way onto a device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reseen.diffusion import Schedule
from reseen.errors import ModelError
from reseen.ldm.stable import StableDiffusion

Precision = Literal["fp32", "fp16", "bf16"]
Prediction = Literal["epsilon", "v_prediction"]
NETWORKS = ("vae", "unet", "text_encoder")


@dataclass(frozen=True)
class Loaded:
    """Hold a Stable Diffusion as it was read, not yet on its device.

    Parameters
    ----------
    name, fingerprint, schedule, prediction_type
        As `StableDiffusion` has them.
    parts
        ``vae``, ``unet``, ``text_encoder`` and ``tokenizer``.
    """

    name: str
    fingerprint: str
    schedule: Schedule
    prediction_type: Prediction
    parts: dict[str, Any]


def load_folder(
    folder: Path,
    name: str,
    *,
    fingerprint: str | None = None,
    mend: str = "Fetch or copy the model again, whole.",
) -> Loaded:
    """Read a Stable Diffusion from a folder in diffusers' format.

    Parameters
    ----------
    folder
        Holds ``vae``, ``unet``, ``text_encoder``, ``tokenizer`` and ``scheduler``, weights as safetensors.
    name
        What the user calls it.
    fingerprint
        Left out: the SHA-256 of its files.
    mend
        What to do where a part is missing.

    Raises
    ------
    ModelError
        If a part is missing, cannot be read, or is of a kind that cannot be used.
    """
    _check_folder(folder, name, mend)
    schedule, prediction_type = read_scheduler(folder / "scheduler" / "scheduler_config.json")
    try:
        parts = _load_parts(folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot load the model {name} from {folder}: {error}") from error
    return Loaded(name, fingerprint or digest(_files(folder), folder), schedule, prediction_type, parts)


def assemble(
    loaded: Loaded, *, precision: Precision = "fp32", device: str = "cpu", compiled: bool = False
) -> StableDiffusion:
    """Put a Stable Diffusion onto a device: the U-Net in a precision, the rest in fp32.

    On a GPU the networks lie with their channels last, as its matrix units read them.

    Raises
    ------
    ModelError
        If it is made for something other than pictures from text.
    """
    import torch

    parts = dict(loaded.parts)
    channels, latent_channels = parts["unet"].config.in_channels, parts["vae"].config.latent_channels
    if channels != latent_channels:
        raise ModelError(
            f"{loaded.name} takes {channels} channels where its latents have {latent_channels}: it is made for "
            "inpainting or depth. Use a plain text-to-image Stable Diffusion 1.x or 2.x."
        )
    casts = {"fp32": "float", "fp16": "half", "bf16": "bfloat16"}
    for part in NETWORKS:
        cast = getattr(parts[part], casts[precision if part == "unet" else "fp32"])
        parts[part] = cast().to(device).eval().requires_grad_(False)
        if device.startswith("cuda") and part != "text_encoder":
            parts[part].to(memory_format=torch.channels_last)
    return StableDiffusion(
        loaded.name,
        loaded.fingerprint,
        loaded.schedule,
        loaded.prediction_type,
        **parts,
        device=device,
        # kernels for each number of rows are faster than such for any, and rows are powers of two
        compiled=torch.compile(parts["unet"], dynamic=False) if compiled else None,
    )


def _check_folder(folder: Path, name: str, mend: str) -> None:
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
    with quiet():
        parts: dict[str, Any] = {
            part: kind.from_pretrained(folder / part, use_safetensors=True, local_files_only=True)
            for part, kind in networks.items()
        }
        parts["tokenizer"] = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return parts


@contextmanager
def quiet() -> Iterator[None]:
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


def read_scheduler(path: Path) -> tuple[Schedule, Prediction]:
    """Read the schedule that a model was trained with, and what it predicts, from a scheduler's settings."""
    try:
        return _schedule_of(json.loads(path.read_text()), str(path))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path} is no valid JSON: {error}.") from error


def _schedule_of(config: dict[str, Any], where: str) -> tuple[Schedule, Prediction]:
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


def digest(files: Sequence[Path], root: Path, *, also: str = "") -> str:
    """Give the SHA-256 of files, of their paths below a folder, and of text that belongs to them."""
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        total.update(f"{file.relative_to(root).as_posix()}\n".encode() + content)
    total.update(also.encode())
    return f"sha256:{total.hexdigest()}"
