"""Parts of a Stable Diffusion: loaded by diffusers and transformers, then checked.

diffusers and transformers fill missing tensors with random numbers, or leave them empty, and at most write a log line;
a tokenizer without files becomes an empty one. This module therefore checks every loaded part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen.errors import ModelError, ReseenError
from reseen.files import check_regular, check_tensors, read_json, read_text
from reseen.files.reading import shown
from reseen.imports import hide_broken_torchvision

if TYPE_CHECKING:
    from reseen.ldm.stable import StableDiffusion

NETWORKS = ("vae", "unet", "text_encoder")
"""Networks of every Stable Diffusion; that of Stable Diffusion XL also has `SECOND_ENCODER`."""
SECOND_ENCODER, SECOND_TOKENIZER = "text_encoder_2", "tokenizer_2"
FIX = "Download or copy the complete model again."
"""Default advice for an incomplete model."""
HARMLESS = ("position_ids", "text_projection.weight", "text_projection", "logit_scale")
"""Ends of names of tensors that no part needs: counters, and those of CLIP that do not affect its hidden states."""
HARMLESS_OF = {SECOND_ENCODER: ("position_ids", "logit_scale")}
"""The same for the second text encoder, whose projection returns the pooled embedding."""
SMOKE_CAPTIONS = ("a cat", "two red houses")
_SPARE_TOKENS = 10_000  # numbers that a vocabulary may leave out
_NAMED = 3  # number of tensors that an error message names


def load_parts(folder: Path, fix: str = FIX, *, xl: bool = False) -> dict[str, Any]:
    """Load the networks and the tokenizer of a folder in diffusers' format; with ``xl``, two text encoders.

    Raises
    ------
    ModelError
        If a part cannot be read, or is not complete.
    """
    hide_broken_torchvision()  # before diffusers and transformers, which import it
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    classes: dict[str, Any] = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
    if xl:
        classes[SECOND_ENCODER] = CLIPTextModelWithProjection
    parts: dict[str, Any] = {}
    for name, network_class in classes.items():
        _check_files(folder / name)
        for file in sorted((folder / name).glob("*.safetensors")):
            check_tensors(file, ModelError, fix)
        read_json(folder / name / "config.json", dict[str, Any], ModelError, fix=fix)
        what = f"the {name} of {shown(folder / name)} cannot be loaded: its configuration or its weights are damaged"
        with quiet(), _as_model_error(what, fix):
            options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
            parts[name], info = network_class.from_pretrained(folder / name, **options)
        check_network(name, parts[name], info["missing_keys"], info["unexpected_keys"], folder / name, fix)
    for encoder, name in (("text_encoder", "tokenizer"), (SECOND_ENCODER, SECOND_TOKENIZER))[: 2 if xl else 1]:
        parts[name] = load_tokenizer(folder / name, fix)
        check_tokenizer(parts[name], parts[encoder].config.vocab_size, folder / name, fix)
    return parts


def check_network(
    name: str, network: Any, missing: Iterable[str], unexpected: Iterable[str], where: Path, fix: str = FIX
) -> None:
    """Check that every tensor of a network was read, that no tensor is left over, and that all numbers are finite.

    Parameters
    ----------
    name
        Name of the part, for the message.
    network
        The loaded network.
    missing, unexpected
        Names of tensors that the file lacks or has in addition, as the library reports.
    where
        File or folder, for the message.
    fix
        Advice for the message.

    Raises
    ------
    ModelError
        If one of these checks fails; the message names some tensors.
    """
    import torch

    tensors, harmless = network.state_dict(), HARMLESS_OF.get(name, HARMLESS)
    lost = {*missing, *(key for key, tensor in tensors.items() if tensor.is_meta)}
    if lost := {key for key in lost if not key.endswith(harmless)}:
        raise ModelError(
            f"{shown(where)} lacks {_some(lost)} of the {name} ({len(tensors)} tensors). {fix}",
            where=where,
            expected=sorted(lost),
        )
    if more := {key for key in unexpected if not key.endswith(harmless)}:
        raise ModelError(
            f"{shown(where)} has tensors that the {name} of its configuration lacks: {_some(more)}. {fix}",
            where=where,
            found=sorted(more),
        )
    floats = {key: tensor for key, tensor in tensors.items() if tensor.is_floating_point()}
    if broken := [key for key, tensor in floats.items() if not torch.isfinite(tensor).all()]:
        raise ModelError(
            f"{shown(where)}: {_some(broken)} of the {name} contain NaN or infinite numbers. {fix}",
            where=where,
            found=sorted(broken),
        )


def load_tokenizer(folder: Path, fix: str = FIX) -> Any:
    """Load a tokenizer of CLIP from a folder that has ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``.

    Raises
    ------
    ModelError
        If the files are missing or cannot be read.
    """
    from transformers import CLIPTokenizer

    there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:
        raise ModelError(f"{shown(folder)} lacks tokenizer.json, or vocab.json and merges.txt. {fix}", where=folder)
    if "tokenizer_config.json" not in there:
        raise ModelError(
            f"{shown(folder)} lacks tokenizer_config.json. {fix}", where=folder, expected="tokenizer_config.json"
        )
    _check_files(folder)
    for file in sorted(folder.glob("*.json")):
        found = read_json(file, dict[str, Any], ModelError, fix=fix)
        # the library allocates an entry for every number up to the highest; if memory runs out, it aborts the process
        numbers = _token_numbers(found if file.name == "vocab.json" else found.get("model"))
        if max(numbers, default=0) > 2 * len(numbers) + _SPARE_TOKENS:
            raise ModelError(
                f"{shown(file)} numbers {len(numbers):,} words up to {max(numbers):,}: it is damaged. {fix}",
                where=file,
                found=max(numbers),
            )
    if "merges.txt" in there:
        read_text(folder / "merges.txt", ModelError)  # its size and its encoding
    with quiet(), _as_model_error(f"the tokenizer of {shown(folder)} cannot be loaded", fix):
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    length = tokenizer.model_max_length
    if not isinstance(length, int | float) or not 2 <= length < float("inf"):
        file = folder / "tokenizer_config.json"
        raise ModelError(
            f"model_max_length in {shown(file)} is {length!r}; expected 2 or more. {fix}",
            where=file,
            expected=2,
            found=length,
        )
    return tokenizer


def _token_numbers(model: Any) -> list[int]:
    """Return the numbers of the words of a vocabulary, or of a model that contains one; else an empty list."""
    vocabulary = model.get("vocab", model) if isinstance(model, dict) else None
    words = vocabulary.values() if isinstance(vocabulary, dict) else ()
    return [number for number in words if isinstance(number, int)]


def _check_files(folder: Path) -> None:
    """Check that files are regular and readable; a library would wait for a pipe, or report a damaged file."""
    for file in sorted(folder.iterdir()):
        if not file.is_dir():
            check_regular(file, ModelError)


def check_tokenizer(tokenizer: Any, vocab_size: int, where: Path | str, fix: str = FIX) -> None:
    """Check that a tokenizer is complete and belongs to a text encoder with a vocabulary of ``vocab_size``.

    Its vocabulary must be as large as the text encoder's, and every entry of more than one character must result from
    a merge. Without merges a tokenizer splits every word into letters; without a vocabulary all captions are equal.

    Raises
    ------
    ModelError
        If a check fails.
    """
    with _as_model_error(f"the tokenizer of {shown(where)} cannot be used", fix):
        vocabulary = tokenizer.get_vocab()
        if len(vocabulary) != vocab_size:
            raise ModelError(
                f"the tokenizer of {shown(where)} has {len(vocabulary):,} entries, and the text encoder "
                f"{vocab_size:,}. {fix}",
                where=where,
                expected=vocab_size,
                found=len(vocabulary),
            )
        merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
        # a merge is a pair, or in older files a string with a space; it creates the word of both parts
        merged = {"".join(pair) if isinstance(pair, list) else pair.replace(" ", "") for pair in merges}
        words = {word for word in vocabulary if len(word.removesuffix("</w>")) > 1}
        if odd := (words ^ merged) - set(tokenizer.get_added_vocab()):
            raise ModelError(
                f"the tokenizer of {shown(where)} is not complete: merges and vocabulary differ in {len(odd):,} "
                f"entries. {fix}",
                where=where,
                expected=0,
                found=len(odd),
            )


def smoke_test(ldm: StableDiffusion) -> None:
    """Check that a model encodes two captions differently, and encodes and decodes an image with finite numbers.

    Raises
    ------
    ModelError
        If a check fails.
    """
    captions = ldm.text_to_conditioning(SMOKE_CAPTIONS)
    if not np.isfinite(captions).all() or np.array_equal(captions[0], captions[1]):
        raise ModelError(
            f"{ldm.name}: the text encoder returns equal or not finite conditioning for two different captions. Its "
            f"tokenizer or its weights are damaged. {FIX}",
            where="text_encoder",
        )
    side = 8 * ldm.factor
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    image = np.broadcast_to(ramp[None, :, None, None], (1, side, side, 3)).copy()
    latent = ldm.image_to_latent(image)
    if not np.isfinite(latent).all() or not np.ptp(latent):
        raise ModelError(
            f"{ldm.name}: the autoencoder encodes an image as equal or not finite numbers. {FIX}", where="vae"
        )
    ldm.latent_to_image(latent)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the progress bars and reports of transformers' and diffusers' loaders."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    logs = (diffusers_logging, transformers_logging)
    before = [(log.is_progress_bar_enabled(), log.get_verbosity()) for log in logs]
    for log in logs:
        log.disable_progress_bar()
        log.set_verbosity_error()  # this module checks the same facts and raises errors
    try:
        yield
    finally:
        for log, (bars, verbosity) in zip(logs, before, strict=True):
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()


@contextmanager
def _as_model_error(what: str, fix: str) -> Iterator[None]:
    try:
        yield
    except ReseenError:
        raise
    except BaseException as error:  # the libraries raise a dozen types, from TypeError to a panic of Rust
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        first_line = str(error).strip().partition("\n")[0]
        reason = shown(first_line)[:200].rstrip(". ") or type(error).__name__
        raise ModelError(f"{what} ({reason}). {fix}") from error


def _some(names: Iterable[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(map(shown, known[:_NAMED])) + more
