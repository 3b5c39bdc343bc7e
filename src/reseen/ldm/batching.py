"""Batching: number of rows that a network processes together.

On a CPU: the same bytes whatever the batch
-------------------------------------------
An image must not depend on the other images of its batch. The fast kernels do depend on the number of rows: with 1 to
12 rows they choose other algorithms than with 16. If rows cannot be divided evenly among the threads, the same row has
other bytes in another position. On a CPU every network therefore runs on a fixed number of rows, the last batch is
padded, and the number of threads is a power of two that divides the number of rows. Measured with the built-in sizes:
equal to the last bit in any order and batch, and on 1, 2, 4, 8 and 16 threads, but not on 3, 5 or 7. Big models on a
CPU run row by row; there the bytes are the same only for one number of threads.

On a GPU: as many rows as fit into memory
-----------------------------------------
The first row of a type runs alone and its memory is measured. Then as many rows as fit into free memory run together,
a power of two. If memory still runs out, the number of rows is halved and the run continues. The last batch is
padded to a power of two only. The values of a row are the same up to rounding in any batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reseen.errors import ModelError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

MOST = {"cpu": (16, 1), "cuda": (256, 64), "mps": (256, 8)}
"""Largest number of rows of a small and of a big model that run together; on a CPU, the exact number."""
FREE_PROPORTION = 0.8
"""Proportion of a GPU's free memory for rows; the rest allows for fragmentation."""
OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "backend out of memory",
    "Invalid buffer size",
)
"""Texts of out-of-memory errors without their own type: of the driver, of libraries that allocate memory, of MPS."""
LARGEST_BUFFER = 2**32
"""Bytes of one tensor at which MPS may abort the process with an assertion that cannot be caught."""


class MemoryWarning(UserWarning):
    """Warn that the memory of a device ran out and that fewer rows run together."""


@dataclass
class Batching:
    """Number of rows on which the networks of one model run together on a device.

    Parameters
    ----------
    name
        Name of the model, for messages.
    device
        Device of the model.
    small
        True for a small model.
    """

    name: str
    device: str
    small: bool
    rows: dict[tuple[object, ...], int] = field(default_factory=dict)
    """Number of rows that run together, for each type of network and shape of its rows."""
    at_once: int | None = None
    """Number of rows on a CPU in place of the fixed one: 2 for one image at a time, which padding would make several
    times as slow. Its bytes are then not those of a run; the values are the same up to rounding."""

    @property
    def most(self) -> int:
        """Largest number of rows that run together; on a CPU always this number."""
        if self.device == "cpu" and self.at_once is not None:
            return self.at_once
        small, big = MOST[self.device.partition(":")[0]]
        return small if self.small else big

    def knows(self, part: str, rows: Tensor) -> bool:
        """Return whether the number of rows of this shape is known; on a CPU it always is."""
        return self.device == "cpu" or (part, *rows.shape[1:]) in self.rows

    def run(self, part: str, network: Callable[..., Tensor], inputs: Sequence[Tensor], scores: int = 0) -> Tensor:
        """Run a network on all rows of its inputs, some at a time.

        Parameters
        ----------
        part
            Name of the network, such as ``"unet"``.
        network
            Function of as many tensors ``(rows, ...)`` as there are inputs, which returns one.
        inputs
            Shape ``(n, ...)`` each.
        scores
            Bytes of the largest tensor of attention scores of one row. On MPS the total of all rows stays below
            `LARGEST_BUFFER`.

        Raises
        ------
        ShapeError
            If there is no row.
        ModelError
            If not even one row fits into memory.
        """
        import torch

        most = self._most_for(scores)
        n = len(inputs[0])
        if n == 0:
            raise ShapeError("there is nothing to compute: the array has no row.", where="inputs", expected=1, found=0)
        key = (part, *inputs[0].shape[1:])
        outputs: list[Tensor] = []
        start = 0
        with torch.inference_mode(), _even_threads(self.most if self.device == "cpu" else 1):
            while start < n:
                size = self._size(key, n - start)
                at = torch.arange(start, start + size).clamp(max=n - 1)
                output = self._attempt(key, network, [array[at.to(array.device)] for array in inputs], most)
                if output is not None:
                    outputs.append(output[: n - start])
                    start += size
            return torch.cat(outputs)

    def _size(self, key: tuple[object, ...], n_left: int) -> int:
        """Return the number of rows that run next, including padding."""
        if self.device == "cpu":
            return self.rows.get(key, self.most)
        # one row for a type that has not run yet
        return min(self.rows.get(key, 1), power_of_two(n_left, up=True))

    def _most_for(self, scores: int) -> int:
        """Return the largest number of rows that run together, given the bytes of attention scores of each."""
        if not self.device.startswith("mps") or scores == 0:
            return self.most
        fit = (LARGEST_BUFFER - 1) // scores
        if fit == 0:
            raise ModelError(
                f"the attention scores of one image of {self.name} take {scores / 2**30:.1f} GiB, and {self.device} "
                "ends the process at 4 GiB. Leave --device out to run on the CPU.",
                where="device",
                expected=LARGEST_BUFFER - 1,
                found=scores,
            )
        return min(self.most, power_of_two(fit))

    def _attempt(
        self, key: tuple[object, ...], network: Callable[..., Tensor], batch: list[Tensor], most: int
    ) -> Tensor | None:
        """Run one batch; return None if memory ran out, after which fewer rows run together."""
        unknown = self.device.startswith("cuda") and key not in self.rows
        before = _begin_measuring(self.device) if unknown else 0
        try:
            # indexing has copied, so that every batch also begins at an aligned address
            output = network(*(array.to(self.device) for array in batch))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(batch[0]) == 1:
                raise ModelError(
                    f"{self.name} does not fit into the memory of {self.device}, not even for one image. Set "
                    "model.precision to 'fp16' or 'bf16', end other programs on the device, or leave --device out.",
                    where="device",
                    found=self.device,
                ) from error
        else:
            if unknown:
                self.rows[key] = rows_that_fit(*_measured(self.device, before), most)
            elif key not in self.rows:
                self.rows[key] = most
            return output
        self._halve(key, len(batch[0]))  # after the handler: the error references the tensors computed so far
        return None

    def _halve(self, key: tuple[object, ...], rows: int) -> None:
        import torch

        self.rows[key] = rows // 2
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self.device.startswith("mps"):
            torch.mps.empty_cache()
        warnings.warn(
            f"the memory of {self.device} ran out; fewer images of {self.name} run together from here on. They are "
            "the same up to rounding.",
            MemoryWarning,
            stacklevel=4,
        )


def rows_that_fit(free: int, for_one: int, most: int) -> int:
    """Return how many rows to run together, a power of two.

    Parameters
    ----------
    free
        Bytes that are free.
    for_one
        Bytes that one row needed in addition to the weights.
    most
        Upper limit.
    """
    return min(power_of_two(max(int(FREE_PROPORTION * free) // max(for_one, 1), 1)), most)


def attention_bytes(config: Any, n_tokens: int) -> int:
    """Return the bytes of the largest matrix of self-attention scores of one row of a U-Net, in fp32.

    Parameters
    ----------
    config
        Of a diffusers U-Net.
    n_tokens
        Height times width of the latents. Each level below the first has a quarter of the tokens of the one above.
    """
    # attention_head_dim is the number of heads: the name is an old mistake of diffusers
    heads = config.num_attention_heads or config.attention_head_dim
    block_types = config.down_block_types
    each = [heads] * len(block_types) if isinstance(heads, int) else heads
    last = len(block_types) - 1
    most = 4 * each[-1] * (n_tokens // 4**last) ** 2  # of the middle block: 4 bytes * heads * tokens^2
    for level, (block_type, n_heads) in enumerate(zip(block_types, each, strict=True)):
        if "Attn" in block_type:
            most = max(most, 4 * n_heads * (n_tokens // 4**level) ** 2)
    return int(most)


def power_of_two(n: int, *, up: bool = False) -> int:
    """Return the largest power of two that is at most ``n``; with ``up``, the smallest that is at least ``n``."""
    return 1 << ((n - 1).bit_length() if up else n.bit_length() - 1)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of PyTorch is about the memory of a device."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def _begin_measuring(device: str) -> int:
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _measured(device: str, before: int) -> tuple[int, int]:
    """Return the free bytes of a GPU, and the peak allocation since ``before``."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch can use it, too
    return free + reserved, torch.cuda.max_memory_allocated(device) - before


@contextmanager
def _even_threads(rows: int) -> Iterator[None]:
    """Use a power of two of threads that divides the rows, so that results do not depend on a row's position."""
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
