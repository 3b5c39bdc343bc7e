"""Recording: what the modules inside a U-Net give while it denoises, and which modules there are.

A recording is a context manager: its hooks are on the U-Net inside the ``with`` block and nowhere else. It predicts
noise as the model does, to the last bit, and keeps what the chosen modules gave at the chosen timesteps.

Under classifier-free guidance every evaluation holds an unconditional and a conditional half. The conditional half is
what is kept: it is the one that depends on the caption, and it is the whole evaluation where guidance is 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reseen.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from reseen.ldm import LatentDiffusion

Precision = Literal["fp16", "fp32"]
Float = NDArray[np.float16] | NDArray[np.float32]


class Recording:
    """Predict noise as a model does, and keep what chosen modules of its U-Net gave; made by :func:`recording`.

    Parameters
    ----------
    ldm
        The frozen model.
    layers
        Names of modules.
    timesteps
        At which evaluations something is kept.
    n
        How many rows of an evaluation are kept, from the last; under guidance these are the conditional ones.
    precision
        What is kept is of this precision.
    """

    def __init__(
        self, ldm: LatentDiffusion, layers: Sequence[str], timesteps: Collection[int], n: int, precision: Precision
    ) -> None:
        self._ldm = ldm
        self._timesteps = frozenset(timesteps)
        self._n = n
        self._dtype = {"fp16": "float16", "fp32": "float32"}[precision]
        self._parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        self._batch: dict[str, Tensor] = {}
        self._seen = 0
        self._wanted = range(0)

    def predict_noise(self, latents: Tensor, timestep: int, conditioning: Tensor) -> Tensor:
        """Predict the noise in latents ``(n, channels, h, w)``, and keep what the modules gave if it is wanted."""
        self._parts, self._seen = {layer: [] for layer in self._parts}, 0
        if timestep in self._timesteps:
            self._wanted = range(len(latents) - self._n, len(latents))
        try:
            return self._ldm.predict_noise(latents, timestep, conditioning)
        finally:
            self._wanted = range(0)

    def taken(self, layer: str) -> Float:
        """Return what a module gave in the last evaluation, ``(n, ...)``.

        Raises
        ------
        KeyError
            If nothing was kept of this module then.
        """
        import torch

        if not self._parts[layer]:
            raise KeyError(layer)
        kept: Float = torch.cat(self._parts[layer]).numpy()
        return kept

    def begin_batch(self) -> None:
        """Forget what a batch that was broken off, for want of memory, has given."""
        self._batch = {}

    def keep(self, layer: str, output: Any) -> None:
        """Keep the wanted rows of what a module gave.

        A model runs an evaluation in several batches, in order, and fills up the last one: rows are counted.
        """
        import torch

        if self._wanted:
            rows = first_tensor(output)
            part = rows[max(self._wanted.start - self._seen, 0) : max(self._wanted.stop - self._seen, 0)]
            # a copy, since a module further on may work in place
            self._batch[layer] = part.to("cpu", getattr(torch, self._dtype), copy=True)

    def end_batch(self, n_rows: int) -> None:
        """Add what a batch has given, now that it went to its end."""
        for layer, part in self._batch.items():
            self._parts[layer].append(part)
        self._seen += n_rows


@contextmanager
def recording(
    ldm: LatentDiffusion,
    layers: Sequence[str],
    timesteps: Collection[int],
    *,
    n: int,
    precision: Precision = "fp32",
) -> Iterator[Recording]:
    """Record modules of a model's U-Net while the ``with`` block lasts; see :class:`Recording` for the parameters.

    Yields
    ------
    Recording
        Hand its ``predict_noise`` to ``denoise`` in place of the model's.
    """
    made = Recording(ldm, layers, timesteps, n, precision)
    with ExitStack() as hooks:
        if layers:
            hooks.callback(ldm.unet.register_forward_pre_hook(lambda *_: made.begin_batch()).remove)
            hooks.callback(ldm.unet.register_forward_hook(_end_hook(made)).remove)
        for layer in layers:
            hook = _hook(made, layer)
            hooks.callback(ldm.unet.get_submodule(layer).register_forward_hook(hook).remove)
        yield made


def layer_shapes(ldm: LatentDiffusion) -> dict[str, tuple[int, ...]]:
    """List the modules of a model's U-Net that can be recorded.

    They are found by running a U-Net of the same configuration without weights, so that this takes no memory. Modules
    that run more than once in an evaluation, or that give no tensor with a row for each image, are left out.

    Returns
    -------
    dict
        Name of each module, in the order in which they end, and the shape of its output for one image.
    """
    import torch

    n_rows = 2
    given: dict[str, list[tuple[int, ...]]] = {}
    with torch.device("meta"), torch.inference_mode():
        network = type(ldm.unet).from_config(ldm.unet.config).eval()
        for name, module in network.named_modules():
            if name:
                module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: given.setdefault(name, []).append(_shape(output))
                )
        latents, conditioning = torch.zeros(n_rows, *ldm.latent_shape), torch.zeros(n_rows, *ldm.conditioning_shape)
        network(latents, 0, encoder_hidden_states=conditioning, return_dict=False)
    return {name: found[0][1:] for name, found in given.items() if len(found) == 1 and found[0][:1] == (n_rows,)}


def default_layers(ldm: LatentDiffusion) -> tuple[str, ...]:
    """Choose up to five layers: two of the encoder, the bottleneck and two of the decoder.

    Of the encoder the outermost level and the one halfway down (of Stable Diffusion's four the first and the third), of
    the decoder the same levels on the way up. Of a level the last attention, or the last residual block where it has no
    attention: what the level makes before it hands on to another size.
    """
    down, up = ldm.unet.down_blocks, ldm.unet.up_blocks
    levels = list(dict.fromkeys((0, len(down) // 2)))
    encoder = [_end(f"down_blocks.{level}", down[level]) for level in levels]
    decoder = [_end(f"up_blocks.{len(up) - 1 - level}", up[len(up) - 1 - level]) for level in reversed(levels)]
    return (*encoder, *(["mid_block"] if ldm.unet.mid_block is not None else []), *decoder)


def check_layers(ldm: LatentDiffusion, layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Make sure that modules can be recorded; give the shape of each one's output for one image.

    Raises
    ------
    RecipeError
        If there is no such module, or it cannot be recorded.
    """
    shapes = layer_shapes(ldm) if layers else {}
    unknown = [layer for layer in layers if layer not in shapes]
    if unknown:
        raise RecipeError(
            f"the U-Net of {ldm.name} has no module {unknown[0]!r} that can be recorded; the default layers are "
            f"{', '.join(default_layers(ldm))}. Run `reseen layers` with the recipe to see every name."
        )
    return {layer: shapes[layer] for layer in layers}


def first_tensor(output: Any) -> Tensor:
    """Return the tensor that a module returned, or the first of several."""
    while (isinstance(output, (tuple, list)) or hasattr(output, "to_tuple")) and len(output):
        output = output[0]
    tensor: Tensor = output
    return tensor


def _shape(output: Any) -> tuple[int, ...]:
    return tuple(getattr(first_tensor(output), "shape", ()))


def _end(name: str, block: Any) -> str:
    kind = "attentions" if len(getattr(block, "attentions", None) or ()) else "resnets"
    return f"{name}.{kind}.{len(getattr(block, kind)) - 1}"


def _end_hook(made: Recording) -> Any:
    return lambda _module, _inputs, output: made.end_batch(len(first_tensor(output)))


def _hook(made: Recording, layer: str) -> Any:
    return lambda _module, _inputs, output: made.keep(layer, output)
