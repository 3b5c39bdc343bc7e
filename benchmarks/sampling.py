"""Time sampling: ``python benchmarks/sampling.py [--json FILE] [--quick] [--device D] [--precision P] [--compile]``.

Images from z and c at the paper's settings: the coarse image at full size, 40 of 50 DDIM steps, guidance 5, five
draws of each stimulus. On a GPU with Stable Diffusion v1.4's architecture and random weights, nothing is downloaded; on
a CPU with the built-in model. Three contenders make the same images from the same noise:

- reseen: batches across stimuli, draws and the guidance pair
- diffusers: its StableDiffusionImg2ImgPipeline, called image by image, as a user would
- in a row: the same pipeline as the authors use their sampler, the coarse image encoded once, five samples in a row

reseen goes first, and its weights are freed before the pipeline is built: memory is that of one model. The pipeline's
two ways take turns.

Figures: images a second, how many times as fast reseen is, the largest memory, the operations of an image
(FlopCounterMode) and the share of the device's matrix rate (measured in the same run) at which they are done, the time
for 982 images of five samples, and how far the contenders' images differ, in levels of 255. Processor seconds stand
beside those by the wall on a CPU, which other work on the machine lengthens. GPU rows without a GPU: not measured.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from figures import figure, write
from full_size import Clock, begin_peak, load, matrix_rate, operations, peak_gb, show
from PIL import Image

from reseen import Features, load_recipe
from reseen.ldm.loading import Precision
from reseen.ldm.sampling import COARSE, draw_noise
from reseen.ldm.stable import StableDiffusion
from reseen.recipe import ReconstructRecipe
from reseen.reconstruction import generate

# the pipeline takes an image in bytes and samples its posterior, so that all do
RECIPE = load_recipe("takagi2023").reconstruct.model_copy(
    update={"coarse_posterior": "sample", "truncate_coarse": True}
)
SUBJECT, SEED = "subj01", 0
RANDOM = ("models.autoencoders.vae", "pipelines.stable_diffusion.pipeline_stable_diffusion_img2img")
Images = dict[tuple[int, int], np.ndarray]


@dataclass
class Timed:
    """Hold what a contender took and made."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak: float = 0.0
    images: Images = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Give the images a second by the wall."""
        return len(self.images) / sorted(self.seconds)[len(self.seconds) // 2]

    @property
    def processor_rate(self) -> float:
        """Give the images a second of the processor."""
        return len(self.images) / sorted(self.processor)[len(self.processor) // 2]


class Job:
    """Hold the model, z and c of some stimuli, and the ways to make images of them."""

    def __init__(self, ldm: StableDiffusion, n_stimuli: int, recipe: ReconstructRecipe) -> None:
        self.ldm, self.recipe = ldm, recipe
        rng = np.random.default_rng(SEED)
        side = ldm.image_size * 5 // 8 // ldm.factor
        shapes = {"z": (ldm.latent_shape[0], side, side), "c": ldm.conditioning_shape}
        ids = np.arange(n_stimuli)
        self.given = {
            name: Features(name, rng.standard_normal((n_stimuli, *shape), dtype=np.float32), ids)
            for name, shape in shapes.items()
        }

    @cached_property
    def pipeline(self) -> Any:
        """Give diffusers' pipeline, which takes the model for itself."""
        return _pipeline(self.ldm)

    def reseen(self, stimuli: Sequence[int]) -> Images:
        """Make images by reseen."""
        made: Images = {}
        generate(
            self.ldm,
            "zc",
            self.given,
            recipe=self.recipe,
            seed=SEED,
            subject=SUBJECT,
            jobs=[(item, sample) for item in stimuli for sample in range(self.recipe.n_samples)],
            write=lambda item, sample, image: made.__setitem__((item, sample), image),
        )
        return made

    def diffusers(self, stimuli: Sequence[int]) -> Images:
        """Make images by diffusers' pipeline, one call each."""
        made: Images = {}
        for item in stimuli:
            coarse = self._coarse(item)
            for sample in range(self.recipe.n_samples):
                with self._planted(item, [COARSE, sample]):
                    made[item, sample] = self._call(item, coarse, self._empty())
        return made

    def in_a_row(self, stimuli: Sequence[int]) -> Images:
        """Make images by diffusers' pipeline, the five samples of a stimulus in a row from one encoded image."""
        made: Images = {}
        empty = self._empty()
        for item in stimuli:
            with self._planted(item, [COARSE]), torch.inference_mode():
                coarse = self.pipeline.image_processor.preprocess(self._coarse(item)).to(self._vae_like())
                posterior = self.pipeline.vae.encode(coarse).latent_dist
                latents = posterior.sample() * self.pipeline.vae.config.scaling_factor
            for sample in range(self.recipe.n_samples):
                with self._planted(item, [sample]):
                    made[item, sample] = self._call(item, latents, empty)
        return made

    def _vae_like(self) -> Any:
        return next(self.pipeline.vae.parameters())

    @torch.inference_mode()
    def _empty(self) -> torch.Tensor:
        words = self.pipeline.tokenizer("", padding="max_length", max_length=self.ldm.conditioning_shape[0])
        ids = torch.tensor([words.input_ids], device=self.ldm.device)
        return self.pipeline.text_encoder(ids)[0].to(self.pipeline.unet.dtype)

    @torch.inference_mode()
    def _coarse(self, item: int) -> Image.Image:
        """Give the image of z at the model's size, as a user of the pipeline would make it."""
        z = torch.from_numpy(self.given["z"].array[[item]]).to(self._vae_like())
        made = self.pipeline.vae.decode(z / self.pipeline.vae.config.scaling_factor).sample
        pixels = (made / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).float().cpu().numpy()
        side = self.ldm.image_size
        return Image.fromarray((pixels * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)

    def _call(self, item: int, image: Image.Image | torch.Tensor, empty: torch.Tensor) -> np.ndarray:
        c = torch.from_numpy(self.given["c"].array[[item]]).to(empty)
        made = self.pipeline(
            image=image,
            prompt_embeds=c,
            negative_prompt_embeds=empty,
            strength=self.recipe.strength,
            num_inference_steps=self.recipe.n_steps,
            guidance_scale=self.recipe.guidance,
            output_type="np",
        ).images[0]
        return np.round(made * 255).astype(np.uint8)

    @contextmanager
    def _planted(self, item: int, samples: list[int]) -> Iterator[None]:
        """Let the pipeline draw the noise that reseen draws."""
        shape = self.ldm.latent_shape
        noise = [torch.from_numpy(draw_noise(SEED, SUBJECT, item, sample, shape))[None] for sample in samples]

        def give(*_arguments: object, device: Any = None, dtype: Any = None, **_options: object) -> torch.Tensor:
            return noise.pop(0).to(device=device, dtype=dtype)

        with ExitStack() as stack:
            for module in RANDOM:
                stack.enter_context(patch(f"diffusers.{module}.randn_tensor", give))
            yield


def _pipeline(ldm: StableDiffusion) -> Any:
    """Make a model diffusers' pipeline, in the same precision, as its users load it; its networks are not copied."""
    from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

    # a user has all parts in one precision, and channels where PyTorch puts them
    cast = {torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat16"}[ldm.unet.dtype]
    parts = {name: getattr(getattr(ldm, name), cast)() for name in ("unet", "vae", "text_encoder")}
    for name in ("unet", "vae"):
        parts[name].to(memory_format=torch.contiguous_format)
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )
    pipeline = StableDiffusionImg2ImgPipeline(
        **parts,
        tokenizer=ldm.tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def take_turns(job: Job, n_stimuli: dict[str, int], n_rounds: int) -> dict[str, Timed]:
    """Let contenders that share a model make images in turn; a first go of few steps warms up."""
    ways = {"reseen": job.reseen, "diffusers": job.diffusers, "in a row": job.in_a_row}
    found = {name: Timed() for name in n_stimuli}
    settings, job.recipe = job.recipe, job.recipe.model_copy(update={"n_steps": 4})
    for name in found:
        ways[name](range(n_stimuli[name] if name == "reseen" else 1))
    job.recipe = settings
    for _ in range(n_rounds):
        for name, timed in found.items():
            begin_peak(job.ldm.device)
            clock = Clock(job.ldm.device)
            timed.images = ways[name](range(n_stimuli[name]))
            timed.seconds.append(clock.seconds())
            timed.processor.append(clock.processor())
            timed.peak = peak_gb(job.ldm.device)
    return found


def flop_of_an_image(ldm: StableDiffusion, recipe: ReconstructRecipe) -> float:
    """Count what one image must take; the coarse image is shared by the samples."""
    each = operations(ldm)
    steps = int(recipe.n_steps * recipe.strength)
    shared = each["decode small"] + each["encode"]
    return 2 * steps * each["unet"] + each["decode"] + shared / recipe.n_samples


def measure(device: str, precision: Precision, *, compiled: bool, quick: bool) -> list[dict[str, Any]]:
    """Time all contenders and give the figures."""
    on_gpu = device != "cpu"
    n_ours, n_theirs, n_rounds = (16, 2, 3) if on_gpu else (8, 1, 2)
    recipe = RECIPE
    if quick:
        n_ours, n_theirs, n_rounds = 1, 1, 1
        recipe = RECIPE.model_copy(update={"n_steps": 5, "n_samples": 1})
    job = Job(load(device, precision, compiled=compiled), n_ours, recipe)
    ours = take_turns(job, {"reseen": n_ours}, n_rounds)["reseen"]
    del job
    if compiled:
        torch.compiler.reset()  # kernels may hold weights
    gc.collect()
    job = Job(load(device, precision), n_ours, recipe)
    found = take_turns(job, {"diffusers": n_theirs, "in a row": n_theirs}, n_rounds)
    theirs, row = found["diffusers"], found["in a row"]
    flop, rate = flop_of_an_image(job.ldm, recipe), matrix_rate(device, precision)
    apart = [np.abs(theirs.images[key].astype(int) - ours.images[key]) for key in theirs.images]
    rows_apart = [np.abs(row.images[key].astype(int) - theirs.images[key]) for key in row.images]
    figures = [
        figure("images_per_second", ours.rate, "images/s"),
        figure("diffusers_images_per_second", theirs.rate, "images/s"),
        figure("in_a_row_images_per_second", row.rate, "images/s"),
        figure("speedup_vs_diffusers", ours.rate / theirs.rate, "times", "at least 6 on a GPU"),
        figure("speedup_vs_in_a_row", ours.rate / row.rate, "times"),
        figure("peak_gb", ours.peak, "GB"),
        figure("tflop_per_image", flop / 1e12, "TFLOP"),
        figure("matrix_rate", rate / 1e12, "TFLOP/s"),
        figure("share_of_matrix_rate", 100 * flop * ours.rate / rate, "%", "50 on a GPU"),
        figure("minutes_for_982x5", 982 * 5 / ours.rate / 60, "min", "under 15 on a GPU"),
        figure("largest_difference", float(max(part.max() for part in apart)), "levels of 255"),
        figure("mean_difference", float(np.mean(apart)), "levels of 255"),
        figure("in_a_row_largest_difference", float(max(part.max() for part in rows_apart)), "levels of 255"),
    ]
    if on_gpu:
        return [*figures, figure("diffusers_peak_gb", theirs.peak, "GB")]
    return [
        *figures,
        figure("processor_speedup_vs_diffusers", ours.processor_rate / theirs.processor_rate, "times"),
        figure("processor_seconds_per_image", 1 / ours.processor_rate, "s"),
        *(
            figure(f"gpu: {name}", "not measured", unit, goal)
            for name, unit, goal in (
                ("speedup_vs_diffusers", "times", "at least 6"),
                ("share_of_matrix_rate", "%", "50"),
                ("minutes_for_982x5", "min", "under 15"),
                ("peak_gb", "GB", ""),
            )
        ),
    ]


def main() -> None:
    """Time, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one image in five steps: to see that it runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="left out: fp16 on a GPU, fp32 on a CPU")
    parser.add_argument("--compile", action="store_true", help="let torch.compile make kernels for the U-Net")
    arguments = parser.parse_args()
    precision = arguments.precision or ("fp32" if arguments.device == "cpu" else "fp16")
    figures = measure(arguments.device, precision, compiled=arguments.compile, quick=arguments.quick)
    print(f"{arguments.device}, {precision}, {torch.get_num_threads()} threads")
    show(figures)
    write(arguments.json, figures, packages=("torch", "diffusers", "transformers"))


if __name__ == "__main__":
    main()
