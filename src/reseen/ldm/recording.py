"""Recording: outputs of modules inside a U-Net during denoising, and the list of its modules.

A recording is a context manager: its hooks are on the U-Net only inside the ``with`` block. It predicts
the same noise as the model, to the last bit, and stores the outputs of chosen modules at chosen timesteps.

Under classifier-free guidance every evaluation has an unconditional and a conditional half. Only the conditional half
is stored: it depends on the caption, and it is the complete evaluation where guidance is 1.
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
    """Noise predictor that stores outputs of chosen modules of its U-Net; created by :func:`recording`.

    Parameters
    ----------
    ldm
        The frozen model.
    layers
        Names of modules.
    timesteps
        Timesteps at which outputs are stored.
    n
        Number of last rows of an evaluation that are stored; under guidance these are the conditional ones.
    precision
        Precision of the stored outputs.
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
        """Predict the noise in latents ``(n, channels, h, w)``, and store the modules' outputs at chosen timesteps."""
        self._parts, self._seen = {layer: [] for layer in self._parts}, 0
        if timestep in self._timesteps:
            self._wanted = range(len(latents) - self._n, len(latents))
        try:
            return self._ldm.predict_noise(latents, timestep, conditioning)
        finally:
            self._wanted = range(0)

    def taken(self, layer: str) -> Float:
        """Return a module's output in the last evaluation, ``(n, ...)``.

        Raises
        ------
        KeyError
            If no output of this module was stored.
        """
        import torch

        if not self._parts[layer]:
            raise KeyError(layer)
        kept: Float = torch.cat(self._parts[layer]).numpy()
        return kept

    def begin_batch(self) -> None:
        """Discard the outputs of a batch that ran out of memory."""
        self._batch = {}

    def keep(self, layer: str, output: Any) -> None:
        """Store the chosen rows of a module's output.

        A model runs an evaluation in several batches, in order, and fills up the last one; rows are therefore counted.
        """
        import torch

        if self._wanted:
            rows = first_tensor(output)
            part = rows[max(self._wanted.start - self._seen, 0) : max(self._wanted.stop - self._seen, 0)]
            # a copy, since a later module may work in place
            self._batch[layer] = part.to("cpu", getattr(torch, self._dtype), copy=True)

    def end_batch(self, n_rows: int) -> None:
        """Add the outputs of a finished batch."""
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
    """Record modules of a model's U-Net inside a ``with`` block; see :class:`Recording` for the parameters.

    Yields
    ------
    Recording
        Pass its ``predict_noise`` to ``denoise`` instead of the model's.
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

    A U-Net of the same configuration runs without weights, which needs no memory. Modules
    that run more than once in an evaluation, or that return no tensor with a row for each image, are left out.

    Returns
    -------
    dict
        Name of each module, in order of execution, and the shape of its output for one image.
    """
    import torch

    n_rows = 2
    shapes_of: dict[str, list[tuple[int, ...]]] = {}  # one shape for each run of a module
    with torch.device("meta"), torch.inference_mode():
        network = type(ldm.unet).from_config(ldm.unet.config).eval()
        for name, module in network.named_modules():
            if name:
                module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: shapes_of.setdefault(name, []).append(_shape(output))
                )
        latents, conditioning = torch.zeros(n_rows, *ldm.latent_shape), torch.zeros(n_rows, *ldm.conditioning_shape)
        network(latents, 0, encoder_hidden_states=conditioning, return_dict=False)
    recordable = {}
    for name, shapes in shapes_of.items():
        if len(shapes) == 1 and shapes[0][:1] == (n_rows,):
            recordable[name] = shapes[0][1:]
    return recordable


def default_layers(ldm: LatentDiffusion) -> tuple[str, ...]:
    """Choose up to five layers: two of the encoder, the bottleneck and two of the decoder.

    From the encoder, the outermost and the middle level are chosen (the first and the third of Stable Diffusion's
    four); from the decoder, the same levels. The layer of a level is its last attention, or its last residual block if
    it has no attention: the last output before the resolution changes.
    """
    down, up = ldm.unet.down_blocks, ldm.unet.up_blocks
    levels = list(dict.fromkeys((0, len(down) // 2)))
    layers = [_end(f"down_blocks.{level}", down[level]) for level in levels]
    if ldm.unet.mid_block is not None:
        layers.append("mid_block")
    for level in reversed(levels):
        block = len(up) - 1 - level  # the decoder's blocks are in the reverse order
        layers.append(_end(f"up_blocks.{block}", up[block]))
    return tuple(layers)


def check_layers(ldm: LatentDiffusion, layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Check that modules can be recorded; return the shape of each output for one image.

    Raises
    ------
    RecipeError
        If there is no such module, or it cannot be recorded.
    """
    shapes = layer_shapes(ldm) if layers else {}
    unknown = [layer for layer in layers if layer not in shapes]
    if unknown:
        defaults = default_layers(ldm)
        raise RecipeError(
            f"the U-Net of {ldm.name} has no module {unknown[0]!r} that can be recorded; the default layers are "
            f"{', '.join(defaults)}. Run `reseen layers` with the recipe to list every name.",
            where="encode.layers",
            expected=defaults,
            found=unknown[0],
        )
    return {layer: shapes[layer] for layer in layers}


def first_tensor(output: Any) -> Tensor:
    """Return a module's output tensor, or the first of several."""
    while (isinstance(output, (tuple, list)) or hasattr(output, "to_tuple")) and len(output):
        output = output[0]
    tensor: Tensor = output
    return tensor


def _shape(output: Any) -> tuple[int, ...]:
    return tuple(getattr(first_tensor(output), "shape", ()))


def _end(name: str, block: Any) -> str:
    """Return the name of the last attention of a block, or of its last residual block."""
    modules = "attentions" if len(getattr(block, "attentions", None) or ()) else "resnets"
    return f"{name}.{modules}.{len(getattr(block, modules)) - 1}"


def _end_hook(made: Recording) -> Any:
    return lambda _module, _inputs, output: made.end_batch(len(first_tensor(output)))


def _hook(made: Recording, layer: str) -> Any:
    return lambda _module, _inputs, output: made.keep(layer, output)
