"""Loading: read a Stable Diffusion from a folder in diffusers' format, and move it to a device."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reseen.diffusion import Schedule
from reseen.errors import ModelError
from reseen.files import check_regular, read_json, reading
from reseen.files.reading import shown
from reseen.files.text import AT_MOST
from reseen.ldm.devices import Precision
from reseen.ldm.image_adapter import ImageAdapter, load_adapter
from reseen.ldm.parts import FIX, NETWORKS, SECOND_ENCODER, SECOND_TOKENIZER, load_parts, smoke_test
from reseen.ldm.schedules import Prediction, read_scheduler
from reseen.ldm.stable import StableDiffusion
from reseen.ldm.xl import REFINER, StableDiffusionXL, check_conditioning


@dataclass(frozen=True)
class Loaded:
    """Parts of a Stable Diffusion before they are moved to a device.

    Parameters
    ----------
    name, fingerprint, schedule, prediction_type
        As in `StableDiffusion`.
    parts
        ``vae``, ``unet``, ``text_encoder`` and ``tokenizer``; of Stable Diffusion XL also ``text_encoder_2`` and
        ``tokenizer_2``.
    zero_unconditional
        Of Stable Diffusion XL: whether the conditioning of the empty caption is zero.
    image_adapter
        Image encoder and projection of an adapter, whose keys and values are in the U-Net.
    """

    name: str
    fingerprint: str
    schedule: Schedule
    prediction_type: Prediction
    parts: dict[str, Any]
    zero_unconditional: bool = True
    image_adapter: ImageAdapter | None = None

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the networks among the parts."""
        return tuple(part for part in (*NETWORKS, SECOND_ENCODER) if part in self.parts)


def load_folder(folder: Path, name: str, *, fingerprint: str | None = None, fix: str = FIX) -> Loaded:
    """Read a Stable Diffusion from a folder in diffusers' format.

    Parameters
    ----------
    folder
        Has ``vae``, ``unet``, ``text_encoder``, ``tokenizer`` and ``scheduler``, weights as safetensors; that of Stable
        Diffusion XL also ``text_encoder_2`` and ``tokenizer_2``.
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
    settings = folder / "model_index.json"
    index = read_json(settings, dict[str, Any], ModelError, fix=fix) if settings.exists() else {}
    kind = str(index.get("_class_name", ""))
    xl = (folder / SECOND_ENCODER).exists() or kind.startswith("StableDiffusionXL")
    if xl and (index.get("requires_aesthetics_score") or not (folder / "text_encoder").exists()):
        raise ModelError(f"{shown(name)} {REFINER}.", where=folder)
    _check_folder(folder, name, fix, xl=xl)
    schedule, prediction_type = read_scheduler(folder / "scheduler" / "scheduler_config.json")
    parts = load_parts(folder, fix, xl=xl)
    zeros = index.get("force_zeros_for_empty_prompt", True) is not False  # diffusers' default
    also = "" if zeros or not xl else "the empty caption is encoded"
    fingerprint = fingerprint or digest(_files(folder, xl=xl), folder, also=also)
    return Loaded(name, fingerprint, schedule, prediction_type, parts, zeros)


def with_image_adapter(loaded: Loaded, name: str, *, fetch: bool = True) -> Loaded:
    """Return a model with an image adapter, whose keys and values are added to its U-Net in place.

    Raises
    ------
    ModelError
        As `reseen.ldm.image_adapter.load_adapter`.
    """
    adapter = load_adapter(name, loaded.parts["unet"], fetch=fetch)
    return replace(loaded, image_adapter=adapter, fingerprint=f"{loaded.fingerprint}+{adapter.fingerprint}")


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
    _check_distillation(loaded.name, parts["unet"].config, loaded.schedule)
    if compiled:
        _check_compiler(device)
    casts = {"fp32": "float", "fp16": "half", "bf16": "bfloat16"}
    for part in loaded.networks:
        cast = getattr(parts[part], casts[precision if part == "unet" else "fp32"])
        parts[part] = cast().to(device).eval().requires_grad_(False)
        if device.startswith("cuda") and not part.startswith("text_encoder"):
            parts[part].to(memory_format=torch.channels_last)
    make: Any = StableDiffusion
    if SECOND_ENCODER in parts:
        make = partial(StableDiffusionXL, zero_unconditional=loaded.zero_unconditional)
    ldm: StableDiffusion = make(
        loaded.name,
        loaded.fingerprint,
        loaded.schedule,
        loaded.prediction_type,
        **parts,
        device=device,
        # kernels for one number of rows are faster than general ones, and rows are powers of two
        compiled=torch.compile(parts["unet"], dynamic=False) if compiled else None,
        image_adapter=None if loaded.image_adapter is None else loaded.image_adapter.to(device),
    )
    smoke_test(ldm)
    return ldm


def _check_purpose(name: str, parts: dict[str, Any]) -> None:
    """Check that a model is for images from text, and has parts that fit each other."""
    unet, vae, text_encoder = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    _check_number(name, "sample_size", "U-Net", unet.sample_size, type(unet.sample_size) is int, above=0)
    scale, shift = vae.scaling_factor, getattr(vae, "shift_factor", None) or 0.0
    _check_number(name, "scaling_factor", "autoencoder", scale, isinstance(scale, float | int), above=0)
    _check_number(name, "shift_factor", "autoencoder", shift, isinstance(shift, float | int))
    if unet.in_channels != vae.latent_channels:
        raise ModelError(
            f"{name} needs {unet.in_channels} channels and its latents have {vae.latent_channels}: it is for "
            "inpainting, depth or editing. Use a plain text-to-image Stable Diffusion 1.x, 2.x or XL.",
            where="in_channels",
            expected=vae.latent_channels,
            found=unet.in_channels,
        )
    if getattr(vae, "latents_mean", None) is not None:
        raise ModelError(
            f"{name} standardises its latents by latents_mean and latents_std, which reseen does not have. Use a plain "
            "Stable Diffusion 1.x, 2.x or XL.",
            where="latents_mean",
            found=vae.latents_mean,
        )
    if SECOND_ENCODER in parts:
        check_conditioning(name, parts)
        return
    if unet.cross_attention_dim != text_encoder.hidden_size:
        raise ModelError(
            f"{name}: the U-Net needs conditioning of width {unet.cross_attention_dim}, and the text encoder returns "
            f"{text_encoder.hidden_size}. The parts are of different models.",
            where="cross_attention_dim",
            expected=text_encoder.hidden_size,
            found=unet.cross_attention_dim,
        )
    for setting in ("class_embed_type", "addition_embed_type"):
        if found := getattr(unet, setting, None):
            raise ModelError(
                f"{name} needs more than latents and captions ({setting}). Use a plain Stable Diffusion 1.x or 2.x.",
                where=setting,
                found=found,
            )


def _check_distillation(name: str, unet: Any, schedule: Schedule) -> None:
    """Check that a U-Net with guidance as an input has the scheduler of a latent consistency model."""
    size = getattr(unet, "time_cond_proj_dim", None)
    if size is not None and (schedule.spacing != "lcm" or size < 4):
        raise ModelError(
            f"{name} is distilled for LCM sampling (time_cond_proj_dim {size}), and its scheduler is not an "
            "LCMScheduler. Add the scheduler_config.json with which it was published, or use the model from which it "
            "was distilled.",
            where="time_cond_proj_dim",
            expected="LCMScheduler",
            found=size,
        )


def _check_number(name: str, setting: str, part: str, value: Any, is_number: bool, above: float = -math.inf) -> None:
    """Check that a setting of a part is a finite number above a limit."""
    if not is_number or not above < value < math.inf:
        expected = "a finite number" if above == -math.inf else f"a finite number above {above}"
        raise ModelError(
            f"{name}: {setting} of the {part} is {value!r}; expected {expected}.", where=setting, found=value
        )


def _check_compiler(device: str) -> None:
    """Check that `torch.compile` can run; otherwise it would fail only after hours."""
    on_gpu = device.startswith("cuda")
    compilers = ("cc", "gcc", "clang") if on_gpu else ("c++", "g++", "clang++")
    if not any(shutil.which(compiler) for compiler in compilers):
        raise ModelError(
            f"model.compiled needs a compiler ({', '.join(compilers)}), and none is on the PATH. Install one, or set "
            "model.compiled to false.",
            where="model.compiled",
            expected=compilers,
        )
    if on_gpu and find_spec("triton") is None:
        raise ModelError(
            "model.compiled needs Triton on a GPU, and it is not installed. Set model.compiled to false.",
            where="model.compiled",
            expected="triton",
        )


def _check_folder(folder: Path, name: str, fix: str, *, xl: bool) -> None:
    """Check that a folder has the files of every part."""
    for part in (*NETWORKS, SECOND_ENCODER) if xl else NETWORKS:
        _check_part(folder, part, name, fix)
        own = folder / part
        weights = sorted(file.name for file in own.glob("*.safetensors"))
        if not weights:
            has_pickles = any(own.glob("*.bin"))
            also = " (its .bin files are pickles, which reseen does not read)" if has_pickles else ""
            raise ModelError(
                f"the model {shown(name)} lacks safetensors weights in {shown(own)}{also}. {fix}", where=own
            )
        if all(".fp16." in file for file in weights):
            raise ModelError(
                f"the model {shown(name)} has only half-precision weights in {shown(own)} ({weights[0]}). "
                "Download those without .fp16 in their names, too.",
                where=own,
                found=weights[0],
            )
    _check_part(folder, "scheduler", name, fix)
    for part in ("tokenizer", SECOND_TOKENIZER) if xl else ("tokenizer",):
        if not (folder / part).is_dir():
            raise _lacks(name, folder / part, fix)


def _check_part(folder: Path, part: str, name: str, fix: str) -> None:
    """Check that the settings of a part are a regular file."""
    file = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    if not file.exists():
        raise _lacks(name, file, fix)
    check_regular(file, ModelError)


def _lacks(name: str, path: Path, fix: str) -> ModelError:
    return ModelError(f"the model {shown(name)} lacks {shown(path)}. {fix}", where=path)


def _files(folder: Path, *, xl: bool) -> list[Path]:
    parts = (*NETWORKS, "tokenizer", "scheduler", *((SECOND_ENCODER, SECOND_TOKENIZER) if xl else ()))
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
            raise ModelError(
                f"{shown(file)} has more than {AT_MOST:,} bytes, too many for settings. Remove it.",
                where=file,
                expected=AT_MOST,
            )
        with reading(file, ModelError), file.open("rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
        total.update(f"{file.relative_to(root).as_posix()}\n".encode() + content)
    total.update(also.encode())
    return f"sha256:{total.hexdigest()}"
