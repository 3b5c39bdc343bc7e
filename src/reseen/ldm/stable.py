"""Stable Diffusion of any size, with the classes of diffusers and transformers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.diffusion import Schedule
from reseen.errors import ModelError, ShapeError
from reseen.ldm.batching import Batching, attention_bytes
from reseen.ldm.devices import tensor_float
from reseen.ldm.guidance import guidance_embedding
from reseen.ldm.image_adapter import set_image_scale
from reseen.ldm.image_conditioning import ImageConditioning

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.features import Features
    from reseen.ldm.image_adapter import ImageAdapter
    from reseen.stimuli import Stimuli

SMALL_IMAGE = 128
"""Largest image side (pixels) of a small model."""


@dataclass(frozen=True, eq=False, repr=False)
class StableDiffusion(ImageConditioning):
    """Frozen Stable Diffusion; see `reseen.ldm.LatentDiffusion` for its methods."""

    name: str
    fingerprint: str
    schedule: Schedule
    prediction_type: Literal["epsilon", "v_prediction"]
    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    device: str = "cpu"
    compiled: Any = None
    """The U-Net compiled by `torch.compile`, if requested."""
    image_adapter: ImageAdapter | None = None
    """Image encoder and projection of an adapter, whose keys and values are in the U-Net."""

    def __repr__(self) -> str:
        precision = str(self.unet.dtype).removeprefix("torch.")
        lines = [
            f"{type(self).__name__} {self.name}: images of {self.image_size} x {self.image_size} pixels",
            f"z {self.latent_shape}, c {self.conditioning_shape}, predicts {self.prediction_type}",
            f"U-Net in {precision} on {self.device}",
        ]
        if self.image_adapter is not None:
            lines.append(f"image adapter: i {self.image_shape}, {self.n_image_tokens} tokens")
        return "\n  ".join(lines)

    def extract(self, stimuli: Stimuli, names: Sequence[str] = ("z", "c"), **options: Any) -> dict[str, Features]:
        """Extract features of stimuli; parameters and errors are those of `reseen.extract_features`.

        Examples
        --------
        >>> import numpy as np
        >>> from reseen import Stimuli, load_model
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        >>> load_model("builtin").extract(Stimuli(images), ["z"])["z"]
        Features z: 2 stimuli of shape (4, 10, 10), float32
        """
        from reseen.ldm.denoised_features import extract_features

        return extract_features(self, stimuli, names, **options)

    @property
    def factor(self) -> int:
        """Pixels per latent element along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of the latents of an image of ``image_size``."""
        size = int(self.unet.config.sample_size)
        return int(self.vae.config.latent_channels), size, size

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the U-Net's images."""
        return self.latent_shape[1] * self.factor

    @property
    def n_tokens(self) -> int:
        """Number of tokens of a caption."""
        return int(min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings))

    @property
    def conditioning_shape(self) -> tuple[int, int]:
        """``(n_tokens, dim)`` of the text encoder's output."""
        return self.n_tokens, int(self.text_encoder.config.hidden_size)

    @cached_property
    def unconditional(self) -> NDArray[np.float32]:
        """Conditioning of the empty caption, ``(n_tokens, dim)``; it is computed once."""
        conditioning: NDArray[np.float32] = self.text_to_conditioning([""])[0]
        conditioning.flags.writeable = False
        return conditioning

    @cached_property
    def in_single_precision(self) -> StableDiffusion:
        """The same model with its U-Net in single precision; itself, if it is in single precision already.

        The weights have half precision; only the arithmetic is more exact. This model stays in memory, since other
        images may need it.
        """
        import torch

        if self.unet.dtype == torch.float32:
            return self
        return replace(self, unet=copy.deepcopy(self.unet).float(), compiled=None)

    @cached_property
    def batching(self) -> Batching:
        """Rule for how many rows run together."""
        return Batching(self.name, self.device, small=self.image_size <= SMALL_IMAGE)

    @property
    def most_rows(self) -> int:
        """Largest number of rows that run together on its device."""
        return self.batching.most

    def image_to_latent(
        self, images: NDArray[np.uint8] | NDArray[np.float32], *, noise: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Encode images as latents, times the autoencoder's scaling factor.

        Parameters
        ----------
        images
            Shape ``(n, height, width, 3)``, uint8, or float in 0 to 1; sides divisible by ``factor``.
        noise
            Left out: the mean of the posterior. Standard normal noise of the latents' shape: the sample of the
            posterior for this noise.

        Returns
        -------
        ndarray
            Shape ``(n, channels, height / factor, width / factor)``, float32.

        Raises
        ------
        ShapeError
            If the array is no stack of RGB images, a side is not divisible by ``factor``, or the noise does not fit.
        """
        import torch

        n, height, width, colours = images.shape if images.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or height % self.factor or width % self.factor:
            raise ShapeError(
                f"images of shape (n, height, width, 3) with sides divisible by {self.factor} are needed; "
                f"found {images.shape}.",
                where="images",
                expected=("n", "height", "width", 3),
                found=images.shape,
            )
        shape = (n, self.latent_shape[0], height // self.factor, width // self.factor)
        if noise is not None and noise.shape != shape:
            raise ShapeError(
                f"the noise of the posterior must have the latents' shape {shape}; found {noise.shape}.",
                where="noise",
                expected=shape,
                found=noise.shape,
            )
        drawn = np.zeros(shape, dtype=np.float32) if noise is None else noise

        def encode(images: Tensor, drawn: Tensor) -> Tensor:
            scaled = images.float() / 255 if images.dtype == torch.uint8 else images
            # from 0 ... 1 to -1 ... 1, and from (n, height, width, 3) to (n, 3, height, width)
            posterior = self.vae.encode((scaled * 2 - 1).permute(0, 3, 1, 2).contiguous()).latent_dist
            latents: Tensor = posterior.mean if noise is None else posterior.mean + posterior.std * drawn
            return (latents - self._shift) * self._scale

        latents: NDArray[np.float32] = self._run("encode", encode, as_tensor(images), as_tensor(drawn)).cpu().numpy()
        return latents

    def latent_to_image(self, latents: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Decode latents to images.

        Parameters
        ----------
        latents
            Shape ``(n, channels, h, w)``.

        Returns
        -------
        ndarray
            Shape ``(n, h * factor, w * factor, 3)``, float32, 0 to 1.

        Raises
        ------
        ModelError
            If an image is not finite.
        """

        def decode(latents: Tensor) -> Tensor:
            images: Tensor = self.vae.decode(latents / self._scale + self._shift).sample
            return (images / 2 + 0.5).permute(0, 2, 3, 1)

        source = as_tensor(latents) if isinstance(latents, np.ndarray) else latents
        images = self._run("decode", decode, source.float()).cpu().numpy()
        if not np.isfinite(images).all():
            raise ModelError(
                f"the autoencoder of {self.name} decoded an image that is not finite. Check that the latents "
                "(the decoded z) are finite.",
                where="latents",
            )
        clipped: NDArray[np.float32] = np.clip(np.ascontiguousarray(images), 0, 1)
        return clipped

    def text_to_conditioning(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Encode captions by the text encoder's last hidden states; longer captions are cut off.

        Returns
        -------
        ndarray
            Shape ``(n, n_tokens, dim)``, float32.

        Raises
        ------
        ShapeError
            If there is no caption.
        """
        import torch

        if not captions:
            raise ShapeError("there is no caption to encode.", where="captions", expected=1, found=0)
        words = self.tokenizer(list(captions), padding="max_length", max_length=self.n_tokens, truncation=True)

        def encode(ids: Tensor) -> Tensor:
            states: Tensor = self.text_encoder(ids)[0]
            return states

        states = self._run("text", encode, torch.tensor(words.input_ids))
        conditioning: NDArray[np.float32] = states.cpu().numpy()
        return conditioning

    def count_cut(self, captions: Sequence[str]) -> int:
        """Return the number of captions with too many tokens, which are cut off."""
        lengths = [len(ids) for ids in self.tokenizer(list(captions), verbose=False).input_ids] if captions else []
        return sum(length > self.n_tokens for length in lengths)

    @property
    def embeds_guidance(self) -> bool:
        """Whether guidance is an input of the U-Net, as in latent consistency models, instead of a second half."""
        return getattr(self.unet.config, "time_cond_proj_dim", None) is not None

    def predict_noise(
        self,
        latents: Tensor,
        timestep: int,
        conditioning: Tensor,
        *,
        image_scale: float = 1.0,
        guidance: float = 1.0,
    ) -> Tensor:
        """Predict the noise in latents; a model that predicts velocity is converted.

        Velocity is ``sqrt(level) * noise - sqrt(1 - level) * clean`` (Salimans & Ho 2022), so that
        ``noise = sqrt(level) * velocity + sqrt(1 - level) * latents``.

        Parameters
        ----------
        latents
            Shape ``(n, channels, h, w)``.
        timestep
            Index into the training schedule.
        conditioning
            Shape ``(n, n_tokens, dim)``, or ``(n, n_tokens + n_image_tokens, dim)`` from `join_image`.
        image_scale
            Weight of the attention to the image tokens; it has no effect without them.
        guidance
            Scale of guidance, for a model with ``embeds_guidance``; others do not use it.

        Returns
        -------
        Tensor
            Shape of ``latents``, float32.

        Raises
        ------
        ShapeError
            If a model with an image adapter gets another number of tokens.
        """
        output = self._predict(latents, timestep, conditioning, image_scale, guidance)
        if self.prediction_type == "epsilon":
            return output
        level = float(self.schedule.signal_level[timestep])
        noise: Tensor = output * math.sqrt(level) + latents.to(output) * math.sqrt(1 - level)
        return noise

    def predict_clean(self, latents: Tensor, timestep: int, conditioning: Tensor, **options: float) -> Tensor:
        """Predict clean latents from velocity, also at signal level 0: ``sqrt(level) x - sqrt(1 - level) v``.

        Parameters and shapes are those of `predict_noise`.

        Raises
        ------
        ModelError
            If the model predicts noise.
        """
        if self.prediction_type == "epsilon":
            raise ModelError(
                f"{self.name} predicts noise, which does not determine clean latents at every signal level.",
                where="prediction_type",
                expected="v_prediction",
                found="epsilon",
            )
        velocity = self._predict(latents, timestep, conditioning, **options)
        level = float(self.schedule.signal_level[timestep])
        clean: Tensor = latents.to(velocity) * math.sqrt(level) - velocity * math.sqrt(1 - level)
        return clean

    def _predict(
        self, latents: Tensor, timestep: int, conditioning: Tensor, image_scale: float = 1.0, guidance: float = 1.0
    ) -> Tensor:
        """Return the output of the U-Net in float32, of the shape of ``latents``."""
        import torch

        if self.image_adapter is not None:
            set_image_scale(self.unet, image_scale)
        dtype = self.unet.dtype
        # a tensor: torch.compile treats a number as a constant and compiles again for each timestep
        at = torch.tensor(timestep, device=self.device)
        # a compiled U-Net does not call hooks that were added later
        hooked = self.compiled is None or any(module._forward_hooks for module in self.unet.modules())
        fast = self.unet if hooked else self.compiled
        scale = None
        if self.embeds_guidance:
            scale = guidance_embedding(guidance, self.unet.config.time_cond_proj_dim).to(self.device, dtype)

        def predict(latents: Tensor, conditioning: Tensor) -> Tensor:
            # the first row runs alone to measure memory; torch.compile would need minutes for that number of rows
            network = fast if self.batching.knows("unet", latents) else self.unet
            inputs = self._unet_inputs(conditioning.to(dtype))
            if scale is not None:
                inputs["timestep_cond"] = scale.expand(len(latents), -1)
            output: Tensor = network(latents.to(dtype), at, return_dict=False, **inputs)[0]
            return output.float()

        return self._run("unet", predict, latents, conditioning)

    def _unet_inputs(self, conditioning: Tensor) -> dict[str, Any]:
        """Return the inputs of the U-Net that a batch of conditioning contains, by the names of its parameters."""
        return {"encoder_hidden_states": self._split(conditioning)}

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)

    @property
    def _shift(self) -> float:
        return float(getattr(self.vae.config, "shift_factor", None) or 0.0)

    def _run(self, part: str, network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Run a network in batches of rows.

        Autoencoder and text encoder are in fp32. They multiply in TF32 if the U-Net is in half precision. Otherwise
        PyTorch's default, TF32 in convolutions, is switched off.
        """
        import torch

        half = self.unet.dtype != torch.float32
        # a U-Net in half precision multiplies no fp32, and torch.compile cannot read the switches after they were set
        unused = half and part == "unet"
        switches = nullcontext() if unused else tensor_float(self.device.startswith("cuda") and half)
        with switches:
            return self.batching.run(part, network, inputs, self._scores(part, inputs[0]))

    def _scores(self, part: str, rows: Tensor) -> int:
        """Return the bytes of the largest matrix of attention scores of one row, in fp32; only MPS limits them."""
        if part in ("text", "image", "tokens") or not self.device.startswith("mps"):
            return 0
        if part == "encode":  # images: (n, height, width, 3)
            return 4 * int(math.prod(rows.shape[1:3]) // self.factor**2) ** 2
        n_tokens = math.prod(rows.shape[2:])
        return attention_bytes(self.unet.config, n_tokens) if part == "unet" else 4 * n_tokens**2


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor, without a copy if the array is writable: PyTorch has no read-only tensors."""
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
