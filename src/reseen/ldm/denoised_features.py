"""Denoised features: one pass over the stimuli that records every latent and activation of a recording plan.

For each stimulus, the image of the true z is encoded again, noised and denoised under the true c, like decoded features
in ``reconstruct``, with the noise of sample 0. All features are recorded in this pass; nothing is denoised twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reseen.conditions import FEATURES, LATENT
from reseen.diffusion import denoise
from reseen.errors import ModelError
from reseen.features import Features
from reseen.ldm.extraction import extract
from reseen.ldm.recording import Recording, recording
from reseen.ldm.recording_plan import RecordingPlan, Run, plan_recording
from reseen.ldm.sampling import begin, coarse_latents, coarse_noise, draw_noise, sampler_inputs
from reseen.ldm.stable import as_tensor
from reseen.recipe import ExtractRecipe, ReconstructRecipe

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

    from reseen.diffusion import OnStep
    from reseen.ldm import LatentDiffusion
    from reseen.stimuli import Stimuli

Arrays = dict[str, NDArray[Any]]
Write = Callable[[int, NDArray[np.int64], Arrays], None]
"""``(block, stimulus_id (n,), for each feature its array (n, ...))``"""
Done = Callable[[int], bool]
Progress = Callable[[int, int], None]


def record_features(
    wanted: RecordingPlan,
    ldm: LatentDiffusion,
    z: Features,
    c: Features,
    *,
    recipe: ReconstructRecipe,
    seed: int,
    subject: str,
    write: Write,
    done: Done | None = None,
    progress: Progress | None = None,
) -> None:
    """Denoise every stimulus and write its recorded features, block by block.

    Memory holds one block in addition to z, c and one batch. Features do not depend on the batch size or on the blocks
    that exist already.

    Parameters
    ----------
    wanted
        Features to record.
    ldm
        The frozen model.
    z, c
        The true features of the stimuli, in the same order.
    recipe
        Steps, guidance, batch size, as for images.
    seed, subject
        With the stimulus id, these determine the noise; the sample is 0.
    write
        Called with the number of a block, its stimulus ids and its arrays.
    done
        Function that returns whether a block exists already.
    progress
        Called with the number of finished stimuli and the total number.

    Raises
    ------
    ModelError
        If a recorded value is not finite, such as a value outside the range of half precision.
    """
    n_done = 0
    for number, ids in enumerate(wanted.blocks(z.stimulus_id)):
        if done is None or not done(number):
            arrays: Arrays = {
                feature: np.empty((len(ids), *shape), dtype=wanted.dtype(feature))
                for feature, shape in wanted.shapes.items()
            }
            for start in range(0, len(ids), recipe.batch_size):
                at = slice(start, min(start + recipe.batch_size, len(ids)))
                noise = np.stack([draw_noise(seed, subject, int(i), 0, ldm.latent_shape) for i in ids[at]])
                coarse = coarse_noise(ldm, recipe, seed=seed, subject=subject, stimulus_id=ids[at])
                batch = _Batch(z.rows(ids[at]), c.rows(ids[at]), noise, coarse)
                _fill({feature: array[at] for feature, array in arrays.items()}, wanted, ldm, batch, recipe)
            _check_finite(arrays, ids, ldm)
            write(number, ids, arrays)
        n_done += len(ids)
        if progress is not None:
            progress(n_done, len(z))


def extract_features(
    model: LatentDiffusion,
    stimuli: Stimuli,
    names: Sequence[str] = ("z", "c"),
    *,
    stimulus_id: ArrayLike | None = None,
    z_size: int | None = None,
    n_steps: int = 50,
    strength: float = 0.8,
    guidance: float = 5.0,
    seed: int = 0,
    subject: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Features]:
    """Extract features of stimuli: z, c, and features recorded during denoising.

    Parameters
    ----------
    model
        A frozen latent diffusion model.
    stimuli
        Images and captions.
    names
        ``"z"``, the image latent; ``"c"``, the text conditioning, averaged over captions; ``"zc"``, the latent
        after z was noised and denoised under c; and other names of `reseen.analyses`, such as
        ``"zc@strength=0.5"`` or ``"unet/mid_block@progress=0.2"``.
    stimulus_id
        Ids of the stimuli. Left out: all.
    z_size
        Side, in pixels, of the image whose latent is z. Left out: 5/8 of the model's, as in the paper (320 of 512).
    n_steps, strength, guidance, seed, subject
        As in `reseen.reconstruct`, where a name needs denoising.
    progress
        Called with the number of finished stimuli and the total number.

    Returns
    -------
    dict
        Name -> `Features` with one row for each stimulus.

    Raises
    ------
    DataError
        If c is requested and a stimulus has no caption.
    RecipeError
        If a name is unknown, or ``z_size`` does not fit the model.

    Examples
    --------
    >>> import numpy as np
    >>> from reseen import Stimuli, load_model
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    >>> features = load_model("builtin").extract(Stimuli(images, ["a red car", "a tree at night"]))
    >>> features["z"]
    Features z: 2 stimuli of shape (4, 10, 10), float32
    """
    ids = stimuli.stimulus_id if stimulus_id is None else np.asarray(stimulus_id, dtype=np.int64)
    settings = {"n_steps": n_steps, "strength": strength, "guidance": guidance}
    sampling = ReconstructRecipe().model_copy(update=settings)
    plan = plan_recording(model, names, recipe=sampling, activations="fp32")
    basic = [name for name in FEATURES if name in names or (plan.runs and name in LATENT)]
    how = ExtractRecipe().model_copy(update={"z_size": z_size})
    found = extract(stimuli, ids, model, basic, recipe=how, progress=progress)
    if plan.runs:
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in plan.shapes}

        def keep(_number: int, _ids: NDArray[np.int64], arrays: Arrays) -> None:
            for name, array in arrays.items():
                parts[name].append(array)

        record_features(
            plan,
            model,
            found["z"],
            found["c"],
            recipe=sampling,
            seed=seed,
            subject=subject,
            write=keep,
            progress=progress,
        )
        for name, blocks in parts.items():
            found[name] = Features(name, np.concatenate(blocks), ids)
    return {name: found[name] for name in names}


class _Batch(NamedTuple):
    """Inputs of one batch of denoising: ``(n, ...)`` each."""

    z: NDArray[np.float32]
    c: NDArray[np.float32]
    noise: NDArray[np.float32]
    coarse_noise: NDArray[np.float32] | None


def _fill(
    arrays: Arrays, wanted: RecordingPlan, ldm: LatentDiffusion, batch: _Batch, recipe: ReconstructRecipe
) -> None:
    """Denoise one batch at every strength and store its features in the arrays."""
    import torch

    coarse = coarse_latents(ldm, batch.z, recipe, batch.coarse_noise)
    for run in wanted.runs:
        latents, timesteps = begin(ldm, coarse, batch.noise, recipe, run.strength)
        _, options = sampler_inputs(ldm, ldm.schedule, timesteps, recipe.guidance, None)
        _take_latents(arrays, run, 0, latents)
        with recording(ldm, run.layers, run.recorded, n=len(coarse), precision=wanted.activations) as recorded:
            denoise(
                recorded.predict_noise,
                latents,
                torch.from_numpy(batch.c).to(ldm.device),
                schedule=ldm.schedule,
                timesteps=timesteps,
                unconditional=as_tensor(ldm.unconditional)[None].to(ldm.device),
                on_step=_taking(arrays, run, recorded),
                **options,
            )


def _taking(arrays: Arrays, run: Run, recorded: Recording) -> OnStep:
    def take(step: int, _timestep: int, latents: Tensor, _clean: Tensor) -> None:
        _take_latents(arrays, run, step + 1, latents)
        for feature, (layer, wanted) in run.activations.items():
            if wanted == step:
                arrays[feature][:] = recorded.taken(layer)

    return take


def _take_latents(arrays: Arrays, run: Run, n_steps: int, latents: Tensor) -> None:
    for feature, wanted in run.latents.items():
        if wanted == n_steps:
            arrays[feature][:] = latents.float().cpu().numpy()


def _check_finite(arrays: Arrays, stimulus_id: NDArray[np.int64], ldm: LatentDiffusion) -> None:
    for feature, array in arrays.items():
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if bad.any():
            first = int(stimulus_id[np.argmax(bad)])
            raise ModelError(
                f"{ldm.name} computed numbers in {feature} that are not finite, for stimulus {first} and "
                f"{bad.sum() - 1} more of its block. If only activations are affected, they exceed half precision: set "
                "encode.activations to 'fp32'. Otherwise set model.precision to 'fp32'; finished blocks are kept.",
                where=feature,
                found=first,
            )
