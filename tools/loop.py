"""One training loop for every built-in network: seeded, resumable after a kill, with averaged weights and progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch


def train(
    module: torch.nn.Module,
    loss: Callable[[int], torch.Tensor],
    *,
    checkpoint: Path,
    n_steps: int,
    learning_rate: float,
    warmup: int = 100,
    decay: float = 0.999,
    seed: int = 0,
    save_every_s: float = 60,
) -> torch.nn.Module:
    """Minimise ``loss(step)`` by AdamW under a cosine schedule and give back the exponential average of the weights.

    A batch depends on (seed, step) alone, so a run that was killed and resumed sees the images of an unbroken one.
    """
    optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.99))
    average = [parameter.detach().clone() for parameter in module.parameters()]
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        average, start = state["average"], state["step"]
    saved = began = time.monotonic()
    recent = 0.0
    for step in range(start, n_steps):
        rate = learning_rate * min(1, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(hash((seed, step)) % 2**31)
        value = loss(step)
        value.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        keep = min(decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(average, [p.detach() for p in module.parameters()], 1 - keep)
        recent += (value.item() - recent) / min(step - start + 1, 50)
        now = time.monotonic()
        if (step + 1) % 50 == 0:
            pace = (now - began) / (step + 1 - start)
            left = (n_steps - step - 1) * pace / 60
            print(
                f"{checkpoint.stem} {step + 1}/{n_steps} loss {recent:.5f}, {left:.1f} min left",
                flush=True,
            )
        if now - saved > save_every_s or step + 1 == n_steps:
            saved = now
            partial = checkpoint.with_suffix(".partial")
            torch.save(
                {
                    "module": module.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average,
                    "step": step + 1,
                },
                partial,
            )
            partial.replace(checkpoint)
    for parameter, mean in zip(module.parameters(), average, strict=True):
        parameter.data.copy_(mean)
    return module.eval()
