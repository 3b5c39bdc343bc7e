"""Stable Diffusion XL, with the classes of diffusers and transformers.

It differs from Stable Diffusion 1.x and 2.x in its conditioning. Two text encoders return hidden states, and the second
one also returns a pooled embedding of the caption. The conditioning stays one tensor: its last row is the pooled
embedding, followed by zeros, so that decoding, batches and guidance are those of every other model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ModelError, ShapeError
from reseen.ldm.stable import StableDiffusion

if TYPE_CHECKING:
    from torch import Tensor

REFINER = "is the refiner of Stable Diffusion XL, which changes images that the base model made. Use the base model"
"""Reason why a refiner is refused."""
N_SIZES = 6
"""Numbers that describe an image's size to the U-Net: height, width, top, left, target height, target width."""


@dataclass(frozen=True, eq=False, repr=False)
class StableDiffusionXL(StableDiffusion):
    """Frozen Stable Diffusion XL; see `reseen.ldm.LatentDiffusion` for its methods.

    Source: Podell et al. (2023), "SDXL: Improving latent diffusion models for high-resolution image synthesis".
    """

    text_encoder_2: Any = field(kw_only=True)
    tokenizer_2: Any = field(kw_only=True)
    zero_unconditional: bool = field(default=True, kw_only=True)
    """Whether the conditioning of the empty caption is zero, as the published model was trained."""

    @property
    def n_tokens(self) -> int:
        """Number of tokens of a caption."""
        second = min(self.tokenizer_2.model_max_length, self.text_encoder_2.config.max_position_embeddings)
        return int(min(super().n_tokens, second))

    @property
    def conditioning_shape(self) -> tuple[int, int]:
        """``(n_tokens + 1, dim)``: hidden states of both text encoders side by side, and the pooled embedding."""
        widths = self.text_encoder.config.hidden_size, self.text_encoder_2.config.hidden_size
        return self.n_tokens + 1, int(sum(widths))

    @cached_property
    def unconditional(self) -> NDArray[np.float32]:
        """Conditioning of the empty caption, ``(n_tokens + 1, dim)``: zeros, or its encoding."""
        if self.zero_unconditional:
            conditioning = np.zeros(self.conditioning_shape, dtype=np.float32)
        else:
            conditioning = self.text_to_conditioning([""])[0]
        conditioning.flags.writeable = False
        return conditioning

    def text_to_conditioning(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """Encode captions; longer ones are cut off.

        Rows 0 to ``n_tokens - 1`` are the penultimate hidden states of both text encoders. The last row starts with
        the pooled embedding of the second one; the rest of it is zero. `unconditional` differs from the encoding of
        ``""`` if it is zero.

        Returns
        -------
        ndarray
            Shape ``(n, n_tokens + 1, dim)``, float32.

        Raises
        ------
        ShapeError
            If there is no caption.
        """
        import torch

        if not captions:
            raise ShapeError("there is no caption to encode.", where="captions", expected=1, found=0)
        how = {"padding": "max_length", "max_length": self.n_tokens, "truncation": True}
        words = [torch.tensor(tokenizer(list(captions), **how).input_ids) for tokenizer in self._tokenizers]

        def encode(first: Tensor, second: Tensor) -> Tensor:
            one = self.text_encoder(first, output_hidden_states=True)
            other = self.text_encoder_2(second, output_hidden_states=True)
            # -2: the published model was trained on the output of the layer before the last one, not normalised
            states = torch.cat([one.hidden_states[-2], other.hidden_states[-2]], dim=-1)
            pooled = other.text_embeds
            last = torch.nn.functional.pad(pooled, (0, states.shape[-1] - pooled.shape[-1]))
            return torch.cat([states, last[:, None]], dim=1)

        conditioning: NDArray[np.float32] = self._run("text", encode, *words).cpu().numpy()
        return conditioning

    def _unet_inputs(self, conditioning: Tensor) -> dict[str, Any]:
        """Split conditioning into hidden states, pooled embedding and image tokens, and add the size of the images."""
        pooled = conditioning[:, self.n_tokens, : self.text_encoder_2.config.projection_dim]
        split = self._split(conditioning)
        if isinstance(split, tuple):
            states: Any = split[0][:, : self.n_tokens], split[1]
        else:
            states = split[:, : self.n_tokens]
        size = self.image_size
        sizes = conditioning.new_tensor([[size, size, 0, 0, size, size]]).expand(len(conditioning), -1)
        return {
            "encoder_hidden_states": states,
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes},
        }

    @property
    def _tokenizers(self) -> tuple[Any, Any]:
        return self.tokenizer, self.tokenizer_2


def check_conditioning(name: str, parts: dict[str, Any]) -> None:
    """Check that the U-Net of a Stable Diffusion XL needs what its two text encoders return.

    Raises
    ------
    ModelError
        If the parts are of different models, or of the refiner.
    """
    unet, first, second = (parts[part].config for part in ("unet", "text_encoder", "text_encoder_2"))
    width, pooled = first.hidden_size + second.hidden_size, second.projection_dim
    per_number = getattr(unet, "addition_time_embed_dim", None) or 0
    needed = getattr(unet, "projection_class_embeddings_input_dim", None)
    if unet.addition_embed_type == "text_time" and needed == pooled + (N_SIZES - 1) * per_number:
        raise ModelError(f"{name} {REFINER}.", where="projection_class_embeddings_input_dim", found=needed)
    expected = {
        "addition_embed_type": "text_time",
        "cross_attention_dim": width,
        "projection_class_embeddings_input_dim": pooled + N_SIZES * per_number,
    }
    for setting, value in expected.items():
        found = getattr(unet, setting, None)
        if found != value:
            raise ModelError(
                f"{name}: {setting} of the U-Net is {found!r}, and its text encoders need {value!r}. The parts are of "
                "different models.",
                where=setting,
                expected=value,
                found=found,
            )
    if pooled > width:
        raise ModelError(
            f"{name}: the pooled embedding has {pooled} numbers, more than a row of the conditioning ({width}).",
            where="projection_dim",
            expected=width,
            found=pooled,
        )
