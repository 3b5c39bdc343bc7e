"""Captioners: BLIP and GIT, which write a caption from the hidden states of an image.

Both have an image encoder and a text decoder. The hidden states between them are a feature that can be decoded from
responses; the text decoder then writes a caption from decoded states (Takagi & Nishimoto 2023b, arXiv 2306.11536, with
BLIP). Nothing is trained, and the captions of the true states are those that the network writes from the image.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError, ShapeError
from reseen.files import check_regular, check_tensors, read_json, reading
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.imports import hide_broken_torchvision
from reseen.ldm.devices import check_device
from reseen.ldm.image_encoder import digest_of
from reseen.ldm.parts import check_network, quiet
from reseen.networks.inputs import as_tensor, prepare
from reseen.protocols import CLIP, Input

if TYPE_CHECKING:
    from torch import Tensor

CAPTIONER_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
"""Files of a captioner, in a folder or on the hub."""
EMPTY = "an image"
"""Caption in place of an empty one: the text encoder would read an empty caption as no caption at all."""
_AT_ONCE = 16  # images or captions at a time


@dataclass(frozen=True)
class Writing:
    """Settings by which a captioner writes.

    Parameters
    ----------
    prompt
        Begin of every caption, which is removed; empty: none.
    settings
        Arguments of transformers' ``generate``. No caption is sampled, so that equal states give equal captions.
    """

    prompt: str
    settings: Mapping[str, Any]


WRITING: Mapping[str, Writing] = {
    # as in Takagi & Nishimoto's second paper
    "blip": Writing(
        "a picture of ",
        MappingProxyType(
            {"num_beams": 3, "max_length": 20, "min_length": 5, "repetition_penalty": 1.5, "do_sample": False}
        ),
    ),
    "git": Writing("", MappingProxyType({"num_beams": 1, "max_length": 20, "do_sample": False})),
}
"""Settings of each type of captioner, by the ``model_type`` of its configuration."""


@dataclass(frozen=True, eq=False)
class Captioner:
    """Network that computes hidden states of images, and writes captions from hidden states.

    Parameters
    ----------
    name
        Name that the user gave.
    fingerprint
        SHA-256 of its files, and of the side of its images.
    kind
        ``"blip"`` or ``"git"``.
    shape
        Shape of the states of one image, ``(n_tokens, dim)``.
    given
        Size and normalisation of its images.
    encode
        Function from images ``(n, 3, side, side)`` to states ``(n, *shape)``.
    write
        Function from states to token numbers, ``(n, n_words)``.
    tokenizer
        Tokenizer of its captions.
    device
        Device of the network.
    """

    name: str
    fingerprint: str
    kind: str
    shape: tuple[int, int]
    given: Input
    encode: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]
    tokenizer: Any
    device: str

    def image_to_states(self, images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Compute the hidden states of images.

        Parameters
        ----------
        images
            Shape ``(n, height, width, 3)``, uint8, or a list of images of several sizes. They are resized by Pillow,
            bicubic, and normalised as in the training of the network.

        Returns
        -------
        Shape ``(n, *shape)``, float32.
        """
        import torch

        found = np.empty((len(images), *self.shape), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(images), _AT_ONCE):
                batch = images[start : start + _AT_ONCE]
                resized = np.concatenate([prepare(image[None], self.given) for image in batch])
                pixels = as_tensor(resized, self.given).to(self.device)
                found[start : start + _AT_ONCE] = self.encode(pixels).cpu().numpy()
        return found

    def states_to_captions(self, states: NDArray[np.float32]) -> list[str]:
        """Write a caption from the hidden states of each image, true or decoded.

        Parameters
        ----------
        states
            Shape ``(n, *shape)``.

        Returns
        -------
        One caption for each image, without the prompt. None is empty: `EMPTY` replaces an empty one, with a warning.

        Raises
        ------
        ShapeError
            If the states have another shape, or contain NaN or infinite numbers.
        """
        import torch

        if states.shape[1:] != self.shape or not np.isfinite(states).all():
            raise ShapeError(
                f"{self.name} writes captions from finite states (n, {self.shape[0]}, {self.shape[1]}); found "
                f"{states.shape}. Extract and decode states of the same captioner.",
                where="states",
                expected=("n", *self.shape),
                found=states.shape,
            )
        captions: list[str] = []
        with torch.inference_mode():
            for start in range(0, len(states), _AT_ONCE):
                batch = torch.from_numpy(np.array(states[start : start + _AT_ONCE], dtype=np.float32))
                numbers = self.write(batch.to(self.device))
                captions += self.tokenizer.batch_decode(numbers, skip_special_tokens=True)
        prompt = WRITING[self.kind].prompt.strip()
        captions = [" ".join(caption.removeprefix(prompt).split()) for caption in captions]
        n_empty = captions.count("")
        if n_empty:
            warnings.warn(
                f"{self.name} wrote no word for {n_empty} of {len(captions)} images; {EMPTY!r} is their caption.",
                stacklevel=2,
            )
        return [caption or EMPTY for caption in captions]


def load_captioner(
    name: str | Path, *, revision: str | None = None, side: int | None = None, device: str = "cpu"
) -> Captioner:
    """Load a BLIP or a GIT from a folder, or from the local cache of the hub; nothing is downloaded.

    Parameters
    ----------
    name
        Folder with `CAPTIONER_FILES`, or the name of such a model on the hub, such as
        ``"Salesforce/blip-image-captioning-base"`` or ``"microsoft/git-large-coco"``.
    revision
        Commit on the hub. Left out: the one that the cache has as ``main``.
    side
        Side of the images in pixels, of a BLIP; a smaller one has fewer states. Left out: that of its training. A GIT
        has only that one.
    device
        Device of the network, which computes in single precision.

    Raises
    ------
    ModelError
        If a file is missing, damaged, a pickle or of another model, or ``side`` is not possible. The message has the
        command that downloads the files.

    Examples
    --------
    >>> captioner = load_captioner(blip_folder)
    >>> states = captioner.image_to_states(np.zeros((2, 64, 64, 3), dtype=np.uint8))
    >>> states.shape[1:] == captioner.shape
    True
    >>> all(captioner.states_to_captions(states))
    True
    """
    check_device(device)
    folder, fix = _find(str(name), revision)
    files = [folder / file for file in CAPTIONER_FILES]
    for file in files:
        if not file.exists():
            has_pickles = file.suffix == ".safetensors" and any(folder.glob("*.bin"))
            also = " (its .bin files are pickles, which reseen does not read)" if has_pickles else ""
            raise ModelError(f"the captioner {shown(name)} lacks {shown(file)}{also}. {fix}", where=file)
        check_regular(file, ModelError)
        if file.suffix == ".json":
            read_json(file, dict[str, Any], ModelError, fix=fix)
    settings, weights, *_ = files
    kind = read_json(settings, dict[str, Any], ModelError, fix=fix).get("model_type")
    if kind not in WRITING:
        raise ModelError(
            f"{shown(settings)} describes a model of type {kind!r}; a captioner is of type {' or '.join(WRITING)}. "
            "Name another model.",
            where=settings,
            expected=tuple(WRITING),
            found=kind,
        )
    check_tensors(weights, ModelError, fix)
    network, tokenizer = _load(kind, folder, fix)
    network = network.float().to(device).eval().requires_grad_(False)
    vision = network.config.vision_config
    own, patch = int(vision.image_size), int(vision.patch_size)
    side = own if side is None else side
    if side < patch or side % patch or (kind == "git" and side != own):
        possible = f"{own}" if kind == "git" else f"a multiple of {patch}"
        raise ModelError(
            f"{shown(name)} reads images of {own} x {own} pixels; side {side} is not possible, {possible} is.",
            where="side",
            expected=own,
            found=side,
        )
    make = _blip if kind == "blip" else _git
    encode, write = make(network, tokenizer)
    shape = ((side // patch) ** 2 + 1, int(vision.hidden_size))
    # BLIP was trained on images resized to a square, GIT on the centre of images, as CLIP
    given = Input(side, "pil", "bicubic", "square" if kind == "blip" else "crop_down", CLIP)
    fingerprint = digest_of(files, f"side {side}")
    return Captioner(str(name), fingerprint, kind, shape, given, encode, write, tokenizer, device)


def _find(name: str, revision: str | None) -> tuple[Path, str]:
    """Return the folder of a captioner, and the advice if one of its files is missing or damaged."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, f"Copy the complete captioner again ({', '.join(CAPTIONER_FILES)})."
    import huggingface_hub

    command = shell_line("hf", "download", name, *(("--revision", revision) if revision else ()), *CAPTIONER_FILES)
    fix = f"With a network connection, run `{command}`."
    try:
        found = huggingface_hub.try_to_load_from_cache(name, CAPTIONER_FILES[0], revision=revision)
    except ValueError:  # no name of the hub
        found = None
    if not isinstance(found, str):
        raise ModelError(
            f"there is no folder {shown(name)}, and the hub's local cache has no such captioner. {fix}",
            where=name,
            found=name,
        )
    return Path(found).parent, fix


def _load(kind: str, folder: Path, fix: str) -> tuple[Any, Any]:
    """Load network and tokenizer, and check that they are complete and belong together."""
    hide_broken_torchvision()  # before transformers, which imports it
    from transformers import BertTokenizer, BlipForConditionalGeneration, GenerationConfig, GitForCausalLM

    classes: dict[str, Any] = {"blip": BlipForConditionalGeneration, "git": GitForCausalLM}
    with quiet(), reading(folder / "model.safetensors", ModelError, fix):
        options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        network, info = classes[kind].from_pretrained(folder, **options)
    writer = network.text_decoder if kind == "blip" else network
    # a file generation_config.json next to the weights must not change captions
    writer.generation_config = GenerationConfig.from_model_config(writer.config)
    check_network("captioner", network, info["missing_keys"], info["unexpected_keys"], folder, fix)
    with quiet(), reading(folder / "tokenizer.json", ModelError, fix):
        load: Any = BertTokenizer.from_pretrained
        tokenizer = load(folder, local_files_only=True)
        unknown = tokenizer.unk_token_id in tokenizer("a picture of ")["input_ids"]
        n_words = len(tokenizer)
    size = int(writer.config.vocab_size)
    if unknown or n_words > size:
        raise ModelError(
            f"the tokenizer in {shown(folder)} has {n_words:,} words for a network with {size:,}, or lacks common "
            f"words: they do not belong together. {fix}",
            where=folder,
            expected=size,
            found=n_words,
        )
    return network, tokenizer


Functions = tuple[Callable[["Tensor"], "Tensor"], Callable[["Tensor"], "Tensor"]]


def _blip(network: Any, tokenizer: Any) -> Functions:
    """Return the two halves of a BLIP, which together compute what its ``generate`` computes."""
    import torch

    words, writing = network.config.text_config, WRITING["blip"]

    def encode(pixels: Tensor) -> Tensor:
        # without this flag, a smaller image is accepted and its states get the codes of other places
        states: Tensor = network.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        return states

    def write(states: Tensor) -> Tensor:
        # the prompt without its last token [SEP], and with BLIP's own first token
        prompt = [words.bos_token_id, *tokenizer(writing.prompt)["input_ids"][1:-1]]
        ids = torch.tensor([prompt] * len(states), device=states.device)
        written: Tensor = network.text_decoder.generate(
            input_ids=ids,
            eos_token_id=words.sep_token_id,
            pad_token_id=words.pad_token_id,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=states.device),
            **writing.settings,
        )
        return written

    return encode, write


def _git(network: Any, _: Any) -> Functions:
    """Return the two halves of a GIT; its text decoder then reads states in place of an image."""
    encoder = network.git.image_encoder
    network.git.image_encoder = _states_as_they_are()

    def encode(pixels: Tensor) -> Tensor:
        states: Tensor = encoder(pixels).last_hidden_state
        return states

    def write(states: Tensor) -> Tensor:
        # GIT reads images of four axes, so that the states get one more
        written: Tensor = network.generate(pixel_values=states[:, None], **WRITING["git"].settings)
        return written

    return encode, write


def _states_as_they_are() -> Any:
    """Return a module in place of GIT's image encoder: its output is its input, without the additional axis."""
    import torch

    class StatesAsTheyAre(torch.nn.Module):
        def forward(self, pixel_values: Tensor, **_: object) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=pixel_values[:, 0])

    return StatesAsTheyAre()
