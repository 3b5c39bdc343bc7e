"""Frozen latent diffusion models: the protocol, and how to load one by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from reseen.errors import ModelError
from reseen.files.shell import shell_line
from reseen.imports import hide_broken_torchvision
from reseen.plugins import is_importable, load_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from reseen.diffusion import Schedule

BUILTIN = Path(__file__).parent / "builtin"
SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
HUB_PATTERNS = (
    *("vae/*", "unet/*", "text_encoder/*", "text_encoder_2/*", "tokenizer/*", "tokenizer_2/*", "scheduler/*"),
    "model_index.json",
)
HUB_IGNORED = ("*.bin", "*.msgpack", "*.fp16.*", "*non_ema*", "*.onnx*")


class LatentDiffusion(Protocol):
    """Protocol of a frozen latent diffusion model: an autoencoder, a text encoder and a noise predictor.

    `reseen.extract_features` and `reseen.reconstruct` accept any object with these attributes.
    """

    @property
    def name(self) -> str:
        """Name by which it was loaded."""
        ...

    @property
    def fingerprint(self) -> str:
        """Text that changes whenever the weights do."""
        ...

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square images that the noise predictor was trained on."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the latents of such an image."""
        ...

    @property
    def factor(self) -> int:
        """Pixels per latent element along a side."""
        ...

    @property
    def conditioning_shape(self) -> tuple[int, int]:
        """``(n_tokens, dim)`` of the conditioning of a caption."""
        ...

    @property
    def schedule(self) -> Schedule:
        """Noise schedule that it was trained with."""
        ...

    @property
    def device(self) -> str:
        """Device of its networks."""
        ...

    @property
    def most_rows(self) -> int:
        """Largest number of rows that run together on its device."""
        ...

    @property
    def unconditional(self) -> NDArray[np.float32]:
        """Conditioning of the empty caption, ``(n_tokens, dim)``."""
        ...

    @property
    def in_single_precision(self) -> LatentDiffusion:
        """The same model in single precision; itself, if it is in single precision already."""
        ...

    @property
    def unet(self) -> Any:
        """The U-Net behind ``predict_noise``, whose modules can be recorded (see `reseen.ldm.recording`)."""
        ...

    def image_to_latent(
        self, images: NDArray[np.uint8] | NDArray[np.float32], *, noise: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Encode images ``(n, height, width, 3)``, uint8 or float in 0 to 1, as latents ``(n, channels, h, w)``."""
        ...

    def latent_to_image(self, latents: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Decode latents ``(n, channels, h, w)`` to images ``(n, height, width, 3)`` in 0 to 1."""
        ...

    def text_to_conditioning(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Encode captions as ``(n, n_tokens, dim)``."""
        ...

    def count_cut(self, captions: Sequence[str]) -> int:
        """Return the number of captions that are longer than the text encoder's input and are cut off."""
        ...

    def predict_noise(self, latents: Tensor, timestep: int, conditioning: Tensor) -> Tensor:
        """Predict the noise in latents ``(n, channels, h, w)`` under conditioning ``(n, n_tokens, dim)``."""
        ...


class ImageConditioned(LatentDiffusion, Protocol):
    """Optional protocol of a model that can also generate from image embeddings, feature ``i``.

    A model without these attributes is complete: read ``getattr(ldm, "image_shape", None)``.
    """

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of the embedding of one image; None if the model uses no image embeddings."""
        ...

    @property
    def n_image_tokens(self) -> int:
        """Number of tokens that `join_image` appends."""
        ...

    def image_to_embedding(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the embeddings ``(n, *image_shape)`` of images ``(n, height, width, 3)``, uint8."""
        ...

    def join_image(self, text: NDArray[np.float32], embedding: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Append image tokens to text: ``(n, n_tokens + n_image_tokens, dim)``; None: an absent image."""
        ...

    def predict_noise(
        self, latents: Tensor, timestep: int, conditioning: Tensor, *, image_scale: float = 1.0
    ) -> Tensor:
        """Predict the noise under text, ``n_tokens`` rows, or under text and an image, ``n_image_tokens`` more rows."""
        ...


def load_model(
    name: str,
    *,
    revision: str | None = None,
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto",
    device: str = "cpu",
    compiled: bool = False,
    image_adapter: str | None = None,
    fetch: bool = True,
) -> LatentDiffusion:
    """Load a frozen latent diffusion model.

    No safety checker is ever loaded, and nothing is unpickled: weights are safetensors, or a ``.ckpt`` read by
    ``torch.load(weights_only=True)``.

    Parameters
    ----------
    name
        One of: ``"builtin"``; the path of a diffusers folder; the path of an original ``.safetensors`` or ``.ckpt``
        file; a hub id such as ``"CompVis/stable-diffusion-v1-4"`` (Stable Diffusion 1.x, 2.x and XL);
        ``"module:name"`` of your own function that is called with ``device`` and returns a `LatentDiffusion`.
    revision
        Commit of a hub model.
    precision
        Precision of the noise predictor; ``"auto"`` is chosen by `reseen.ldm.devices.choose_precision`. Autoencoder
        and text encoder always compute in fp32: they cost little, and half precision in the autoencoder causes black
        images.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or similar.
    compiled
        Compile the noise predictor with `torch.compile`: it takes minutes at the start, and less time for each image.
    image_adapter
        Adapter that lets the model use image embeddings (`ImageConditioned`): the path of a ``.safetensors`` file of an
        IP-Adapter, or a file on the hub, such as ``"h94/IP-Adapter:models/ip-adapter_sd15.safetensors"``. Its
        image encoder is in the folder ``image_encoder`` next to the file.
    fetch
        Download a hub model that is not in the local cache. If false, a missing model is an error.

    Raises
    ------
    ModelError
        If the model or its image adapter is missing and cannot be downloaded, if its type is not supported, or if the
        device is not available.

    Examples
    --------
    >>> load_model("builtin")
    StableDiffusion builtin: images of 64 x 64 pixels
      z (4, 16, 16), c (24, 128), predicts epsilon
      U-Net in float32 on cpu
    """
    from reseen.ldm.devices import check_device, choose_precision
    from reseen.ldm.loading import assemble, load_folder, with_image_adapter
    from reseen.ldm.single_file import load_single_file

    check_device(device)
    hide_broken_torchvision()
    if is_importable(name):
        if image_adapter is not None:
            raise ModelError(
                f"model.image_adapter is for models that reseen loads, and {name} is your own. Add the attributes of "
                "reseen.ldm.ImageConditioned to your model instead.",
                where="model.image_adapter",
                found=image_adapter,
            )
        return _make_own(name, device)
    path = Path(name).expanduser()
    if name == "builtin":
        parts = load_folder(BUILTIN, name, fix="Reinstall reseen.")
    elif path.is_dir():
        parts = load_folder(path, name)
    elif path.suffix.lower() in SINGLE_FILES:
        parts = load_single_file(path, name, fetch=fetch)
    else:
        folder = _find(name, revision, fetch=fetch)
        # the hub stores each commit in a folder of its name, so that this name determines the weights
        fix = f"With a network connection, run `{fetch_command(name, revision)}`."
        parts = load_folder(folder, name, fingerprint=f"{name}@{folder.name}", fix=fix)
    if image_adapter is not None:
        parts = with_image_adapter(parts, image_adapter, fetch=fetch)
    return assemble(parts, precision=choose_precision(precision, device), device=device, compiled=compiled)


def _make_own(name: str, device: str) -> LatentDiffusion:
    """Return the user's own model, after a check that it has every attribute of the protocol.

    Raises
    ------
    RecipeError
        If there is no such object.
    ModelError
        If it fails, or does not return a model.
    """
    found = load_object(name, "model.name")
    try:
        model = found(device=device)
    except Exception as error:
        raise ModelError(
            f"{name}(device={device!r}) failed: {error}. It must return a model on that device.", where="model.name"
        ) from error
    wanted = [attribute for attribute in vars(LatentDiffusion) if not attribute.startswith("_")]
    missing = [attribute for attribute in wanted if not hasattr(model, attribute)]
    if missing:
        raise ModelError(
            f"{name} returned {type(model).__name__}, which lacks {', '.join(missing)}. See "
            "reseen.LatentDiffusion for the attributes of a model.",
            where="model.name",
            expected=missing,
            found=type(model).__name__,
        )
    own: LatentDiffusion = model
    return own


def _find(name: str, revision: str | None, *, fetch: bool) -> Path:
    """Return the folder of a hub model, from the local cache, or from the network if allowed."""
    owner, slash, model = name.partition("/")
    if not (owner and slash and model) or "/" in model or name.startswith((".", "~")):
        raise ModelError(
            f"there is no model {name!r}: expected 'builtin', a diffusers folder, a .safetensors or .ckpt file, or a "
            "hub id such as CompVis/stable-diffusion-v1-4.",
            where="model.name",
            found=name,
        )
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(HUB_PATTERNS),
            ignore_patterns=list(HUB_IGNORED),
            local_files_only=not fetch,
        )
    except Exception as error:  # the hub's client raises a dozen types, from a wrong name to a lost connection
        places = "the hub or its local cache" if fetch else "the hub's local cache"
        raise ModelError(
            f"the model {name} cannot be loaded from {places} ({type(error).__name__}). With a network connection, run "
            f"`{fetch_command(name, revision)}`, or use the path of a local copy.",
            where="model.name",
            found=name,
        ) from error
    return Path(folder)


def fetch_command(name: str, revision: str | None = None) -> str:
    """Return the command that fetches a hub model's files into the local cache."""
    pinned = ("--revision", revision) if revision else ()
    wanted = [word for pattern in HUB_PATTERNS for word in ("--include", pattern)]
    ignored = [word for pattern in HUB_IGNORED for word in ("--exclude", pattern)]
    return shell_line("hf", "download", name, *pinned, *wanted, *ignored)
