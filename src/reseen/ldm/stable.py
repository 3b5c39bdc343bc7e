"""Stable Diffusion, of any size, through diffusers' and transformers' own classes.

Same bytes whatever the batch
-----------------------------
A picture must not depend on the pictures that happen to be computed beside it. The fast kernels do depend on the number
of rows: with 1 to 12 rows they pick other algorithms than with 16, and where rows cannot be shared out evenly among the
threads, the same row gives other bytes in another place. So every network here runs on a fixed number of rows, the last
batch is filled up, and on the CPU the threads that work on it are a power of two that divides the rows. Measured with
the built-in sizes: equal to the last bit in any order and batch, and between 1, 2, 4, 8 and 16 threads, and not on 3,
5 or 7. Big models on a CPU run row by row, where a row has no neighbours; there the bytes hold for one thread count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.diffusion import Schedule
from reseen.errors import ModelError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

SMALL_IMAGE = 128
"""Up to this side (pixels) a model counts as small."""


@dataclass(frozen=True, eq=False)
class StableDiffusion:
    """Hold one frozen Stable Diffusion; see ``reseen.ldm.LatentDiffusion`` for what its methods promise."""

    name: str
    fingerprint: str
    schedule: Schedule
    prediction_type: Literal["epsilon", "v_prediction"]
    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    device: str = "cpu"

    @property
    def factor(self) -> int:
        """Give the pixels per latent element along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Give ``(channels, height, width)`` of the latents of a picture of ``image_size``."""
        size = int(self.unet.config.sample_size)
        return int(self.vae.config.latent_channels), size, size

    @property
    def image_size(self) -> int:
        """Give the side, in pixels, of the pictures that the U-Net was made for."""
        return self.latent_shape[1] * self.factor

    @property
    def conditioning_shape(self) -> tuple[int, int]:
        """Give ``(n_tokens, dim)`` of the text encoder's output."""
        config = self.text_encoder.config
        return min(int(self.tokenizer.model_max_length), config.max_position_embeddings), int(config.hidden_size)

    @property
    def rows(self) -> int:
        """Give the fixed number of rows that every network runs on."""
        small = self.image_size <= SMALL_IMAGE
        if self.device == "cpu":
            return 16 if small else 1
        return 256 if small else 8

    def image_to_latent(
        self, images: NDArray[np.uint8] | NDArray[np.float32], *, seed: int | None = None
    ) -> NDArray[np.float32]:
        """Encode pictures as latents, times the autoencoder's scaling factor.

        Parameters
        ----------
        images
            Shape ``(n, height, width, 3)``, uint8, or float in 0 to 1; sides divisible by ``factor``.
        seed
            Left out: the mean of the posterior. Given: a sample of it, from one stream of noise for the whole array.

        Returns
        -------
        ndarray
            Shape ``(n, channels, height / factor, width / factor)``, float32.

        Raises
        ------
        ShapeError
            If the array is no stack of RGB pictures, or a side is not divisible by ``factor``.
        """
        import torch

        n, height, width, colours = images.shape if images.ndim == 4 else (0, 0, 0, 0)
        if colours != 3 or height % self.factor or width % self.factor:
            raise ShapeError(
                f"pictures of shape (n, height, width, 3) with sides divisible by {self.factor} are needed; "
                f"found {images.shape}."
            )
        shape = (n, self.latent_shape[0], height // self.factor, width // self.factor)
        noise = np.zeros(shape, dtype=np.float32)
        if seed is not None:
            noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

        def encode(pictures: Tensor, noise: Tensor) -> Tensor:
            scaled = pictures.float() / 255 if pictures.dtype == torch.uint8 else pictures
            posterior = self.vae.encode((scaled * 2 - 1).permute(0, 3, 1, 2).contiguous()).latent_dist
            latents: Tensor = posterior.mean if seed is None else posterior.mean + posterior.std * noise
            return (latents - self._shift) * self._scale

        latents: NDArray[np.float32] = self._by_rows(encode, as_tensor(images), as_tensor(noise)).cpu().numpy()
        return latents

    def latent_to_image(self, latents: NDArray[np.float32] | Tensor) -> NDArray[np.float32]:
        """Decode latents to pictures.

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
            If a picture is not finite.
        """

        def decode(latents: Tensor) -> Tensor:
            pictures: Tensor = self.vae.decode(latents / self._scale + self._shift).sample
            return (pictures / 2 + 0.5).permute(0, 2, 3, 1)

        source = as_tensor(latents) if isinstance(latents, np.ndarray) else latents
        pictures = self._by_rows(decode, source.float()).cpu().numpy()
        if not np.isfinite(pictures).all():
            raise ModelError(
                f"the autoencoder of {self.name} made a picture that is not finite. Check that the latents given to it "
                "(the decoded z) are."
            )
        clipped: NDArray[np.float32] = np.clip(np.ascontiguousarray(pictures), 0, 1)
        return clipped

    def text_to_conditioning(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Encode captions by the text encoder's last hidden states; longer ones than it can read are cut off.

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
            raise ShapeError("there is no caption to encode.")
        words = self.tokenizer(
            list(captions), padding="max_length", max_length=self.conditioning_shape[0], truncation=True
        )

        def encode(ids: Tensor) -> Tensor:
            states: Tensor = self.text_encoder(ids)[0]
            return states

        conditioning: NDArray[np.float32] = self._by_rows(encode, torch.tensor(words.input_ids)).cpu().numpy()
        return conditioning

    def predict_noise(self, latents: Tensor, timestep: int, conditioning: Tensor) -> Tensor:
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
            Shape ``(n, n_tokens, dim)``.

        Returns
        -------
        Tensor
            Shape of ``latents``, float32.
        """
        dtype = self.unet.dtype

        def predict(latents: Tensor, conditioning: Tensor) -> Tensor:
            output: Tensor = self.unet(
                latents.to(dtype), timestep, encoder_hidden_states=conditioning.to(dtype), return_dict=False
            )[0]
            return output.float()

        output = self._by_rows(predict, latents, conditioning)
        if self.prediction_type == "epsilon":
            return output
        level = float(self.schedule.signal_level[timestep])
        noise: Tensor = output * math.sqrt(level) + latents.to(output) * math.sqrt(1 - level)
        return noise

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)

    @property
    def _shift(self) -> float:
        return float(getattr(self.vae.config, "shift_factor", None) or 0.0)

    def _by_rows(self, network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Run a network on a fixed number of rows at a time; the last row is repeated to fill the last batch."""
        import torch

        n, rows = len(inputs[0]), self.rows
        if n == 0:
            raise ShapeError("there is nothing to compute: the array holds no row.")
        outputs = []
        with torch.inference_mode(), _even_threads(rows if self.device == "cpu" else 1):
            for start in range(0, n, rows):
                at = torch.arange(start, start + rows).clamp(max=n - 1)
                # indexing copies, so that every batch also begins at an aligned address
                batch = (array[at.to(array.device)].to(self.device) for array in inputs)
                outputs.append(network(*batch)[: n - start])
            return torch.cat(outputs)


@contextmanager
def _even_threads(rows: int) -> Iterator[None]:
    """Work with a power of two of threads that divides the rows, so that a row's place among them does not matter."""
    import torch

    threads = torch.get_num_threads()
    even = threads
    if rows > 1:
        even = 1
        while even * 2 <= threads and rows % (even * 2) == 0:
            even *= 2
    if even == threads:
        yield
        return
    torch.set_num_threads(even)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Give an array as a tensor, without a copy where that is safe: PyTorch has no read-only tensors."""
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def check_device(device: str) -> None:
    """Make sure that a device can be used.

    Raises
    ------
    ModelError
        If it is unknown or not there.
    """
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ModelError(f"there is no device {device!r}; expected cpu, cuda, cuda:N or mps.") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise ModelError(f"the device {device!r} is not available here. Leave it out to run on the CPU.")
