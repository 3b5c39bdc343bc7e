"""Image conditioning: text conditioning and the tokens of an image embedding as one array.

The tokens follow the text along the axis of tokens, so that samplers, guidance, batches and recordings see one
conditioning. The noise predictor splits it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.ldm.image_adapter import ImageAdapter

_AT_ONCE = 64  # images that are float tensors at a time


class ImageConditioning:
    """Methods of a model that accepts image embeddings; see `reseen.ldm.ImageConditioned`."""

    name: str
    image_adapter: ImageAdapter | None
    _run: Callable[..., Tensor]

    @property
    def conditioning_shape(self) -> tuple[int, int]:
        """``(n_tokens, dim)`` of the text encoder's output."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of the embedding of one image; None without an image adapter."""
        return None if self.image_adapter is None else self.image_adapter.encoder.shape

    @property
    def n_image_tokens(self) -> int:
        """Number of tokens of one image; 0 without an image adapter."""
        return 0 if self.image_adapter is None else self.image_adapter.n_tokens

    def image_to_embedding(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the embeddings of images, as the adapter's image encoder returns them; they are not normalised.

        Parameters
        ----------
        images
            Shape ``(n, height, width, 3)``, uint8. A CLIP scales the shorter side to its input and crops the centre.

        Returns
        -------
        ndarray
            Shape ``(n, *image_shape)``, float32.

        Raises
        ------
        ModelError
            If the model has no image adapter.
        ShapeError
            If the array is no stack of 8-bit RGB images.
        """
        encoder = self._adapter.encoder
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
            raise ShapeError(
                f"8-bit images of shape (n, height, width, 3) are needed; found {images.shape}, {images.dtype}.",
                where="images",
                expected=("n", "height", "width", 3),
                found=images.shape,
            )
        parts = [
            self._embed(encoder.read(images[start : start + _AT_ONCE])) for start in range(0, len(images), _AT_ONCE)
        ]
        embeddings: NDArray[np.float32] = np.concatenate(parts)
        return embeddings

    def join_image(
        self, text: NDArray[np.float32], embedding: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Append the tokens of image embeddings to text conditioning.

        Parameters
        ----------
        text
            Shape ``(n, n_tokens, dim)``.
        embedding
            Shape ``(n, *image_shape)``. Left out: the tokens of an absent image, as in the training of the adapter. For
            a pooled embedding these are the tokens of an embedding of zeros, which differ from no tokens.

        Returns
        -------
        ndarray
            Shape ``(n, n_tokens + n_image_tokens, dim)``, float32.

        Raises
        ------
        ModelError
            If the model has no image adapter.
        ShapeError
            If text and embeddings differ in number, or do not fit the model.
        """
        shape = self._adapter.encoder.shape
        if text.ndim != 3 or text.shape[1:] != self.conditioning_shape:
            raise ShapeError(
                f"text conditioning of shape (n, {', '.join(map(str, self.conditioning_shape))}) is needed; found "
                f"{text.shape}.",
                where="text",
                expected=("n", *self.conditioning_shape),
                found=text.shape,
            )
        if embedding is None:
            tokens = np.broadcast_to(self._absent_image, (len(text), *self._absent_image.shape))
        elif embedding.shape == (len(text), *shape):
            tokens = self._project(embedding)
        else:
            raise ShapeError(
                f"{len(text)} conditionings need image embeddings of shape {(len(text), *shape)}; found "
                f"{embedding.shape}. Extract and decode with the same image adapter.",
                where="embedding",
                expected=(len(text), *shape),
                found=embedding.shape,
            )
        both: NDArray[np.float32] = np.concatenate([text, tokens], axis=1, dtype=np.float32)
        return both

    @property
    def _adapter(self) -> ImageAdapter:
        if self.image_adapter is None:
            raise ModelError(
                f"the model {self.name} has no image adapter, and i needs one. Set model.image_adapter, such as "
                "'h94/IP-Adapter:models/ip-adapter_sd15.safetensors' for Stable Diffusion 1.x.",
                where="model.image_adapter",
                expected="an image adapter",
            )
        return self.image_adapter

    @cached_property
    def _absent_image(self) -> NDArray[np.float32]:
        """Tokens of an absent image, ``(n_image_tokens, dim)``."""
        import torch

        adapter = self._adapter
        if adapter.pooled:
            embedding = np.zeros((1, *adapter.encoder.shape), dtype=np.float32)
        else:
            # zeros after the normalisation of colours: an image of the mean colour, not a black image
            embedding = self._embed(torch.zeros(1, 3, adapter.encoder.side, adapter.encoder.side))
        tokens: NDArray[np.float32] = self._project(embedding)[0]
        return tokens

    def _embed(self, given: Tensor) -> NDArray[np.float32]:
        encoder = self._adapter.encoder

        def embed(given: Tensor) -> Tensor:
            return encoder.embed(encoder.network, given)

        embedding: NDArray[np.float32] = self._run("image", embed, given).cpu().numpy()
        return embedding

    def _project(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        given = torch.from_numpy(np.array(embedding, dtype=np.float32))
        tokens: NDArray[np.float32] = self._run("tokens", self._adapter.projection, given).cpu().numpy()
        return tokens

    def _split(self, conditioning: Tensor) -> Any:
        """Return conditioning as the U-Net needs it: text alone, or text and a list with the image tokens.

        Raises
        ------
        ShapeError
            If there are neither the tokens of text alone nor those of text and one image.
        """
        if self.image_adapter is None:
            return conditioning
        n_text, n_image = self.conditioning_shape[0], self.n_image_tokens
        if conditioning.shape[1] == n_text:
            return conditioning, []  # no image tokens: the U-Net computes exactly what it does without an adapter
        if conditioning.shape[1] == n_text + n_image:
            # (n, n_images, n_image_tokens, dim): a U-Net of diffusers accepts several images
            return conditioning[:, :n_text], [conditioning[:, None, n_text:]]
        raise ShapeError(
            f"conditioning has {conditioning.shape[1]} tokens; {self.name} needs {n_text}, or {n_text + n_image} with "
            "an image.",
            where="conditioning",
            expected=(n_text, n_text + n_image),
            found=int(conditioning.shape[1]),
        )
