"""The whole chain, number for number: the authors' algorithm written out as a plain loop, and diffusers' pipeline.

Random components of the smallest sizes, in the paper's proportions: images of 32 pixels stand for 512, the 20 pixels
of z for 320; 50 DDIM steps, strength 0.8, guidance 5, five samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image
from tiny_ldm import write_tiny_ldm

from reseen.features import Features
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.extraction import _posterior_noise, extract
from reseen.ldm.sampling import COARSE, draw_noise
from reseen.recipe import Recipe, load_recipe
from reseen.reconstruction import generate
from reseen.stimuli import Stimuli

SMALL, LARGE = 20, 32
IDS = np.array([7, 3], dtype=np.int64)
JOBS = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)]
SUBJECT = "subj01"


def image(stimulus_id: int) -> np.ndarray:
    return np.random.default_rng(stimulus_id).integers(0, 256, (34, 34, 3), dtype=np.uint8)


def captions(stimulus_id: int) -> tuple[str, ...]:
    return tuple(f"a cat {k} of {stimulus_id}" for k in range(5))


STIMULI = Stimuli(image, captions, np.arange(10))


@pytest.fixture(scope="module", params=["epsilon"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny", prediction_type=request.param)


@pytest.fixture(scope="module")
def ldm(folder: Path) -> LatentDiffusion:
    return load_model(str(folder))


@pytest.fixture(scope="module")
def parts(folder: Path) -> Iterator[StableDiffusionImg2ImgPipeline]:
    """The same components as diffusers loads and uses them."""
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(folder, safety_checker=None).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        yield pipeline


def noise_of(stimulus_id: int, sample: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(draw_noise(seed, SUBJECT, stimulus_id, sample, (4, 8, 8)))[None]


class Chain:
    """What came out of reseen: features, the latents that were decoded, and images."""

    def __init__(self, ldm: LatentDiffusion, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
        features = extract(STIMULI, IDS, ldm, recipe=recipe.extract)
        self.z: Features = features["z"]
        self.c: Features = features["c"]
        self.images: dict[tuple[int, int], np.ndarray] = {}
        seen: list[torch.Tensor] = []
        decode = type(ldm).latent_to_image

        def watched(model: LatentDiffusion, latents: np.ndarray | torch.Tensor) -> np.ndarray:
            seen.extend([latents] if isinstance(latents, torch.Tensor) else [])
            return decode(model, latents)

        monkeypatch.setattr(type(ldm), "latent_to_image", watched)
        generate(
            ldm,
            "zc",
            {"z": self.z, "c": self.c},
            recipe=recipe.reconstruct,
            seed=recipe.seed,
            subject=SUBJECT,
            jobs=JOBS,
            write=lambda item, sample, image: self.images.__setitem__((item, sample), image),
        )
        self.latents = dict(zip(JOBS, torch.cat(seen), strict=True))


def encoded(parts: Any, pixels: torch.Tensor, noise: torch.Tensor | None) -> torch.Tensor:
    posterior = parts.vae.encode(pixels).latent_dist
    z = posterior.mean if noise is None else posterior.mean + posterior.std * noise
    return z * parts.vae.config.scaling_factor


def decoded(parts: Any, z: torch.Tensor) -> np.ndarray:
    made = parts.vae.decode(z / parts.vae.config.scaling_factor).sample
    return ((made + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0).numpy()


def pixels(image: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(np.ascontiguousarray(image)) * 2 - 1).permute(2, 0, 1)[None]


def words(parts: Any, texts: Sequence[str]) -> torch.Tensor:
    ids = parts.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids
    return parts.text_encoder(ids)[0]


def enlarged(coarse: np.ndarray, *, in_bytes: bool) -> np.ndarray:
    """The coarse image at full size: through uint8 as the script does it, or in single precision."""
    if in_bytes:
        small = Image.fromarray((255 * coarse).astype(np.uint8))
        return np.asarray(small.resize((LARGE, LARGE), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    planes = [Image.fromarray(np.ascontiguousarray(coarse[..., k])) for k in range(3)]
    large = [np.asarray(plane.resize((LARGE, LARGE), Image.Resampling.BICUBIC)) for plane in planes]
    return np.stack(large, axis=-1).clip(0, 1)


def loop(parts: Any, init: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, *, one_more: bool) -> torch.Tensor:
    """Noise to the fortieth of fifty steps and denoise by DDIM, as ddim.py does; the samples of a stimulus are rows."""
    n_steps, t_enc, scale = 50, int(0.8 * 50), 5.0
    level = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    steps = [1 + 20 * i for i in range(n_steps)]
    level_before = [level[0], *(level[t] for t in steps[:-1])]
    noised = steps[t_enc if one_more else t_enc - 1]
    empty, c = words(parts, [""]).expand(len(noise), -1, -1), c.expand(len(noise), -1, -1)
    x = math.sqrt(level[noised]) * init + math.sqrt(1 - level[noised]) * noise
    for i in range(t_enc - 1, -1, -1):
        a = level[steps[i]]
        e_without = parts.unet(x, steps[i], encoder_hidden_states=empty).sample
        e_under = parts.unet(x, steps[i], encoder_hidden_states=c).sample
        e = e_without + scale * (e_under - e_without)
        x0 = (x - math.sqrt(1 - a) * e) / math.sqrt(a)
        x = math.sqrt(level_before[i]) * x0 + math.sqrt(1 - level_before[i]) * e
    return x


def assert_close(found: torch.Tensor | np.ndarray, expected: torch.Tensor, what: str) -> None:
    error = (torch.as_tensor(found) - expected).norm() / expected.norm()
    assert error < 2e-5, (what, float(error))


def assert_images_alike(found: np.ndarray, expected: np.ndarray, *, truncated: bool = False) -> None:
    """The same bytes, but for numbers that lie on the edge between two of them."""
    stored = (255 * expected).astype(np.uint8) if truncated else np.round(expected * 255)
    differ = np.abs(found.astype(int) - stored.astype(int))
    assert differ.max() <= 1
    assert (differ > 0).mean() < 0.005
    assert found.std() > 5  # no flat image, which would be alike with anything


@pytest.mark.parametrize(("name", "released"), [("takagi2023", False), ("takagi2023_as_released", True)])
def test_the_chain_is_the_authors_algorithm_written_out(
    ldm: LatentDiffusion, parts: Any, monkeypatch: pytest.MonkeyPatch, name: str, released: bool
) -> None:
    recipe = load_recipe(name)
    ours = Chain(ldm, recipe, monkeypatch)
    drawn = _posterior_noise(ldm, recipe.extract, 0, (2, SMALL, SMALL, 3))
    assert (drawn is not None) == released
    for item, stimulus in enumerate(IDS.tolist()):
        samples = [sample for which, sample in JOBS if which == item]
        shown = Image.fromarray(image(stimulus)).resize((SMALL, SMALL), Image.Resampling.LANCZOS)
        own = None if drawn is None else torch.from_numpy(drawn[item])[None]
        z = encoded(parts, pixels(np.asarray(shown).astype(np.float32) / 255), own)
        c = words(parts, captions(stimulus)).mean(dim=0, keepdim=True)
        assert_close(ours.z.array[[item]], z, "z")
        assert_close(ours.c.array[[item]], c, "c")
        large = enlarged(decoded(parts, z), in_bytes=released)
        init = encoded(parts, pixels(large), noise_of(stimulus, COARSE, recipe.seed) if released else None)
        noise = torch.cat([noise_of(stimulus, sample, recipe.seed) for sample in samples])
        made = loop(parts, init, c, noise, one_more=released)
        for sample in samples:
            assert_close(ours.latents[item, sample], made[sample], f"latents of {stimulus}, draw {sample}")
            assert_images_alike(ours.images[item, sample], decoded(parts, made[[sample]]), truncated=released)


@pytest.mark.parametrize("folder", ["epsilon", "v_prediction"], indirect=True)
def test_the_chain_is_diffusers_image_to_image_pipeline_with_its_own_noise_index(
    ldm: LatentDiffusion, parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("takagi2023")
    sampled = recipe.reconstruct.model_copy(update={"coarse_posterior": "sample", "truncate_coarse": True})
    recipe = recipe.model_copy(update={"reconstruct": sampled})
    ours = Chain(ldm, recipe, monkeypatch)
    for item, sample in JOBS[4:]:
        stimulus = int(IDS[item])
        coarse = decoded(parts, torch.from_numpy(ours.z.array[[item]]))
        small = Image.fromarray((255 * coarse).astype(np.uint8))
        large = small.resize((LARGE, LARGE), Image.Resampling.BICUBIC)
        drawn = [noise_of(stimulus, which, recipe.seed) for which in (COARSE, sample)]
        for place in ("models.autoencoders.vae", "pipelines.stable_diffusion.pipeline_stable_diffusion_img2img"):
            monkeypatch.setattr(f"diffusers.{place}.randn_tensor", lambda *_, drawn=drawn, **__: drawn.pop(0))
        theirs = parts(
            image=large,
            prompt_embeds=torch.from_numpy(ours.c.array[[item]]),
            negative_prompt_embeds=words(parts, [""]),
            strength=0.8,
            num_inference_steps=50,
            guidance_scale=5.0,
            output_type="np",
        ).images[0]
        assert drawn == []
        assert_images_alike(ours.images[item, sample], theirs)
