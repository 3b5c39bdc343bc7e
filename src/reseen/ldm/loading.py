"""Loading: read a Stable Diffusion from a folder in diffusers' format, and move it to a device."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reseen.diffusion import Schedule
from reseen.errors import ModelError
from reseen.files import check_regular, reading
from reseen.files.reading import shown
from reseen.files.text import AT_MOST
from reseen.ldm.devices import Precision
from reseen.ldm.parts import FIX, NETWORKS, load_parts, smoke_test
from reseen.ldm.schedules import Prediction, read_scheduler
from reseen.ldm.stable import StableDiffusion


@dataclass(frozen=True)
class Loaded:
    """Parts of a Stable Diffusion before they are moved to a device.

    Parameters
    ----------
    name, fingerprint, schedule, prediction_type
        As in `StableDiffusion`.
    parts
        ``vae``, ``unet``, ``text_encoder`` and ``tokenizer``.
    """

    name: str
    fingerprint: str
    schedule: Schedule
    prediction_type: Prediction
    parts: dict[str, Any]


def load_folder(folder: Path, name: str, *, fingerprint: str | None = None, fix: str = FIX) -> Loaded:
    """Read a Stable Diffusion from a folder in diffusers' format.

    Parameters
    ----------
    folder
        Has ``vae``, ``unet``, ``text_encoder``, ``tokenizer`` and ``scheduler``, weights as safetensors.
    name
        Name that the user gave.
    fingerprint
        Left out: the SHA-256 of its files.
    fix
        Advice if a part is missing or damaged.

    Raises
    ------
    ModelError
        If a part is missing, not complete, damaged, or of a type that is not supported.
    """
    _check_folder(folder, name, fix)
    schedule, prediction_type = read_scheduler(folder / "scheduler" / "scheduler_config.json")
    parts = load_parts(folder, fix)
    return Loaded(name, fingerprint or digest(_files(folder), folder), schedule, prediction_type, parts)


def assemble(
    loaded: Loaded, *, precision: Precision = "fp32", device: str = "cpu", compiled: bool = False
) -> StableDiffusion:
    """Move a Stable Diffusion to a device, the U-Net in a precision and the rest in fp32; then test that it works.

    On a GPU the networks are in channels-last layout, as its matrix units need.

    Raises
    ------
    ModelError
        If its parts do not belong together, if it is not a text-to-image model, or if the test
        fails (`reseen.ldm.parts.smoke_test`).
    """
    import torch

    parts = dict(loaded.parts)
    _check_purpose(loaded.name, parts)
    if compiled:
        _check_compiler(device)
    casts = {"fp32": "float", "fp16": "half", "bf16": "bfloat16"}
    for part in NETWORKS:
        cast = getattr(parts[part], casts[precision if part == "unet" else "fp32"])
        parts[part] = cast().to(device).eval().requires_grad_(False)
        if device.startswith("cuda") and part != "text_encoder":
            parts[part].to(memory_format=torch.channels_last)
    ldm = StableDiffusion(
        loaded.name,
        loaded.fingerprint,
        loaded.schedule,
        loaded.prediction_type,
        **parts,
        device=device,
        # kernels for one number of rows are faster than general ones, and rows are powers of two
        compiled=torch.compile(parts["unet"], dynamic=False) if compiled else None,
    )
    smoke_test(ldm)
    return ldm


def _check_purpose(name: str, parts: dict[str, Any]) -> None:
    """Check that a model is for images from text, is not distilled, and has parts that fit each other."""
    unet, vae, text_encoder = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    if type(unet.sample_size) is not int or unet.sample_size < 1:
        raise ModelError(f"{name}: sample_size of the U-Net is {unet.sample_size!r}, and a number above 0 is expected.")
    if not isinstance(vae.scaling_factor, float | int) or not 0 < vae.scaling_factor < float("inf"):
        raise ModelError(
            f"{name}: scaling_factor of the autoencoder is {vae.scaling_factor!r}, and a number above 0 is expected."
        )
    shift = getattr(vae, "shift_factor", None) or 0.0
    if not isinstance(shift, float | int) or not abs(shift) < float("inf"):
        raise ModelError(f"{name}: shift_factor of the autoencoder is {shift!r}, and a number is expected.")
    if unet.in_channels != vae.latent_channels:
        raise ModelError(
            f"{name} needs {unet.in_channels} channels and its latents have {vae.latent_channels}: it is for "
            "inpainting, depth or editing. Use a plain text-to-image Stable Diffusion 1.x or 2.x."
        )
    if getattr(unet, "time_cond_proj_dim", None) is not None:
        raise ModelError(
            f"{name} is distilled for LCM sampling (time_cond_proj_dim), which DDIM with guidance does not sample. Use "
            "the model that it was distilled from."
        )
    if unet.cross_attention_dim != text_encoder.hidden_size:
        raise ModelError(
            f"{name}: the U-Net needs conditioning of width {unet.cross_attention_dim}, and the text encoder returns "
            f"{text_encoder.hidden_size}. The parts are of different models."
        )
    if getattr(unet, "class_embed_type", None) or getattr(unet, "addition_embed_type", None):
        raise ModelError(f"{name} needs more than latents and captions. Use a plain Stable Diffusion 1.x or 2.x.")


def _check_compiler(device: str) -> None:
    """Check that `torch.compile` can run; otherwise it would fail after hours of work."""
    needed = ("c++", "g++", "clang++") if not device.startswith("cuda") else ("cc", "gcc", "clang")
    if not any(shutil.which(compiler) for compiler in needed):
        raise ModelError(
            f"model.compiled needs a compiler ({', '.join(needed)}), and none is on the PATH. Install one, or set "
            "model.compiled to false."
        )
    if device.startswith("cuda") and find_spec("triton") is None:
        raise ModelError("model.compiled needs Triton on a GPU, and it is not installed. Set model.compiled to false.")


def _check_folder(folder: Path, name: str, fix: str) -> None:
    if (folder / "text_encoder_2").exists():
        raise ModelError(f"{shown(name)} is a Stable Diffusion XL; reseen works with Stable Diffusion 1.x and 2.x.")
    for part in NETWORKS:
        _check_part(folder, part, name, fix)
        weights = sorted(file.name for file in (folder / part).iterdir() if file.name.endswith(".safetensors"))
        plain = [file for file in weights if ".fp16." not in file]
        if weights and not plain:
            raise ModelError(
                f"the model {shown(name)} has only half-precision weights in {shown(folder / part)} ({weights[0]}). "
                "Fetch those without .fp16 in their names, too."
            )
        if not weights:
            also = (
                " (it has .bin files, which are pickles and are not read)" if any((folder / part).glob("*.bin")) else ""
            )
            raise ModelError(
                f"the model {shown(name)} lacks safetensors weights in {shown(folder / part)}{also}. {fix}"
            )
    _check_part(folder, "scheduler", name, fix)
    if not (folder / "tokenizer").is_dir():
        raise ModelError(f"the model {shown(name)} lacks {shown(folder / 'tokenizer')}. {fix}")


def _check_part(folder: Path, part: str, name: str, fix: str) -> None:
    """Check that the settings of a part are a regular file."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    if not file.exists():
        raise ModelError(f"the model {shown(name)} lacks {shown(file)}. {fix}")
    check_regular(file, ModelError)


def _files(folder: Path) -> list[Path]:
    parts = (*NETWORKS, "tokenizer", "scheduler")
    return [file for part in parts for file in sorted((folder / part).iterdir()) if file.is_file()]


def digest(files: Sequence[Path], root: Path, *, also: str = "") -> str:
    """Return the SHA-256 of files, of their paths below a folder, and of additional text.

    Raises
    ------
    ModelError
        If a file cannot be read, or settings exceed the limit for text files.
    """
    total = hashlib.sha256()
    for file in files:
        if file.suffix in (".json", ".txt") and check_regular(file, ModelError) > AT_MOST:
            raise ModelError(f"{shown(file)} has more than {AT_MOST:,} bytes, too many for settings. Remove it.")
        with reading(file, ModelError), file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        total.update(f"{file.relative_to(root).as_posix()}\n".encode() + content)
    total.update(also.encode())
    return f"sha256:{total.hexdigest()}"
