"""Images from z and c: what each condition does, and that an image depends on nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from fields import raises_with
from PIL import Image
from tiny_ldm import write_tiny_ldm

from reseen.diffusion import add_noise, denoise
from reseen.errors import ModelError, RecipeError, ShapeError
from reseen.features import Features
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.sampling import coarse_latents, coarse_noise, draw_noise
from reseen.ldm.stable import StableDiffusion
from reseen.recipe import Condition, ReconstructRecipe, load_recipe
from reseen.reconstruction import ImageWarning, count_samples, denoising_sequence, generate

IDS = np.array([5, 3, 8, 3, 0, 11, 6], dtype=np.int64)
RECIPE = ReconstructRecipe(n_samples=3, n_steps=4, strength=0.75, batch_size=8)
Images = dict[tuple[int, int], np.ndarray]


@pytest.fixture(scope="module")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_model(str(write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")))


def features(name: str, *shape: int, ids: np.ndarray = IDS) -> Features:
    # one row for each stimulus and place, so that the two trials of stimulus 3 differ
    rows = np.random.default_rng(len(name)).standard_normal((len(ids), *shape), dtype=np.float32)
    return Features(name, rows, ids)


Z = features("z", 4, 5, 5)
C = features("cc", 24, 32)
ROW = {"z": Z.array[4], "c": C.array[4]}
NOISE_OF_VERSION_ONE = [-0.7045815, 0.02621911, 0.2347291]


def run(
    ldm: LatentDiffusion,
    condition: Condition = "zc",
    recipe: ReconstructRecipe = RECIPE,
    z: Features | None = Z,
    c: Features | None = C,
    made: Images | None = None,
    **options: object,
) -> Images:
    images: Images = {} if made is None else made
    given = {name: part for name, part in (("z", z), ("c", c)) if part is not None}
    settings = {"seed": 1, "subject": "subj01"} | options
    if made is not None:
        every = [(item, sample) for item in range(len(IDS)) for sample in range(count_samples(condition, recipe))]
        settings["jobs"] = [job for job in every if job not in made]

    def write(item: int, sample: int, image: np.ndarray) -> None:
        assert image.dtype == np.uint8
        assert image.shape == (32, 32, 3)
        assert (item, sample) not in images
        images[item, sample] = image

    generate(
        ldm,
        condition,
        given,
        recipe=recipe,
        write=write,
        **settings,  # type: ignore[arg-type]
    )
    return images


def assert_same(one: Images, other: Images) -> None:
    assert one.keys() == other.keys()
    for job, image in one.items():
        np.testing.assert_array_equal(image, other[job])


@pytest.fixture(scope="module")
def whole(ldm: LatentDiffusion) -> Images:
    return run(ldm)


def by_hand(ldm: LatentDiffusion, item: int, sample: int, recipe: ReconstructRecipe, condition: str) -> np.ndarray:
    """Make one image of the paper's pipeline, written out for a single item and draw."""
    noise = torch.from_numpy(draw_noise(1, "subj01", int(IDS[item]), sample, (4, 8, 8)))[None]
    timesteps = ldm.schedule.timesteps(recipe.n_steps)
    if condition == "zc":
        coarse = ldm.latent_to_image(Z.array[[item]])[0]
        large = Image.fromarray((coarse * 255).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
        latent = torch.from_numpy(ldm.image_to_latent(np.asarray(large)[None]))
        start, timesteps = ldm.schedule.partial_timesteps(recipe.n_steps, recipe.strength, recipe.noise_index)
        noise = add_noise(latent, noise, start, ldm.schedule)
    latents = denoise(
        ldm.predict_noise,
        noise,
        torch.from_numpy(C.array[[item]]),
        schedule=ldm.schedule,
        timesteps=timesteps,
        guidance=recipe.guidance,
        unconditional=torch.from_numpy(ldm.text_to_conditioning([""])),
    )
    scaled = ldm.latent_to_image(latents)[0] * 255
    return (np.round(scaled) if recipe.to_8_bits == "round" else scaled).astype(np.uint8)


@pytest.mark.parametrize("noise_index", ["diffusers", "compvis"])
def test_zc_is_the_papers_pipeline_written_out_for_one_image(ldm: LatentDiffusion, noise_index: str) -> None:
    recipe = RECIPE.model_copy(update={"truncate_coarse": True, "noise_index": noise_index, "n_samples": 1})
    images = run(ldm, recipe=recipe)
    for item in (0, 4):
        np.testing.assert_array_equal(images[item, 0], by_hand(ldm, item, 0, recipe, "zc"))


def test_c_starts_from_pure_noise_and_takes_every_step(ldm: LatentDiffusion) -> None:
    images = run(ldm, "c", z=None)
    assert len(images) == len(IDS) * 3
    np.testing.assert_array_equal(images[2, 1], by_hand(ldm, 2, 1, RECIPE, "c"))


def test_z_is_one_image_of_the_latent_itself(ldm: LatentDiffusion) -> None:
    images = run(ldm, "z", c=None)
    assert set(images) == {(item, 0) for item in range(len(IDS))}
    assert count_samples("z", RECIPE) == 1
    assert count_samples("zc", RECIPE) == 3
    small = np.round(ldm.latent_to_image(Z.array[[1]])[0] * 255).astype(np.uint8)
    large = np.asarray(Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.abs(images[1, 0].astype(int) - large.astype(int)).max() <= 4


def test_rounding_the_coarse_image_to_bytes_is_a_small_change(ldm: LatentDiffusion) -> None:
    exact, cut = (
        run(ldm, "z", recipe=RECIPE.model_copy(update={"truncate_coarse": truncate})) for truncate in (False, True)
    )
    difference = np.abs(exact[0, 0].astype(int) - cut[0, 0].astype(int))
    assert 0 < difference.max() <= 4


def test_as_released_the_final_image_is_truncated_to_bytes_and_by_default_it_is_rounded(ldm: LatentDiffusion) -> None:
    assert load_recipe("takagi2023_as_released").reconstruct.to_8_bits == "truncate"
    assert RECIPE.to_8_bits == "round"
    default = RECIPE.model_copy(update={"truncate_coarse": True, "n_samples": 1})
    truncated = default.model_copy(update={"to_8_bits": "truncate"})
    for condition in ("c", "zc"):
        rounded, cut = run(ldm, condition, recipe=default), run(ldm, condition, recipe=truncated)
        np.testing.assert_array_equal(cut[0, 0], by_hand(ldm, 0, 0, truncated, condition))
        difference = rounded[0, 0].astype(int) - cut[0, 0]
        assert set(np.unique(difference)) == {0, 1}
        assert 0.3 < difference.mean() < 0.7  # half of all values differ by one


def test_a_denoising_sequence_ends_with_the_truncated_image(ldm: LatentDiffusion) -> None:
    recipe = RECIPE.model_copy(update={"to_8_bits": "truncate", "n_samples": 1})
    made = run(ldm, recipe=recipe)[0, 0]
    z, c = Z.array[0], C.array[0]
    frames = denoising_sequence(
        ldm, "zc", {"z": z, "c": c}, recipe=recipe, seed=1, subject="subj01", stimulus_id=int(IDS[0])
    )
    assert np.abs(frames[-1].astype(int) - made).max() <= 1  # a batch of one and of eight differ in the last digits


def test_the_images_do_not_depend_on_the_batch_size(ldm: LatentDiffusion, whole: Images) -> None:
    for batch_size in (5, 64):
        assert_same(whole, run(ldm, recipe=RECIPE.model_copy(update={"batch_size": batch_size})))


def test_the_images_do_not_depend_on_the_order_or_on_what_is_made_beside_them(
    ldm: LatentDiffusion, whole: Images
) -> None:
    order = np.array([6, 2, 0, 5])
    z, c = (Features(part.name, part.array[order], part.stimulus_id[order]) for part in (Z, C))
    for (item, sample), image in run(ldm, z=z, c=c).items():
        np.testing.assert_array_equal(image, whole[int(order[item]), sample])


def test_two_shards_make_the_images_of_one_run(ldm: LatentDiffusion, whole: Images) -> None:
    every = list(whole)
    made: Images = {}
    for shard in (every[::2], every[1::2]):
        made |= run(dataclasses.replace(ldm), jobs=shard)  # type: ignore[type-var]
    assert_same(whole, made)


def test_a_run_that_was_killed_goes_on_to_the_same_images(ldm: LatentDiffusion, whole: Images) -> None:
    made: Images = {}
    n_calls = 0

    def killed(done: int, _total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(ldm, made=made, progress=killed)
    assert len(made) == 8
    del made[2, 1]  # also a hole in the middle

    def count(_done: int, _total: int) -> None:
        nonlocal n_calls
        n_calls += 1

    assert_same(whole, run(ldm, made=made, progress=count))
    assert n_calls == 1 + 2  # 14 images in batches of 8, after the first word


def test_nothing_is_computed_when_all_is_done(whole: Images) -> None:
    class Untouchable:
        name, latent_shape, conditioning_shape = "untouchable", (4, 8, 8), (24, 32)

    seen: list[tuple[int, int]] = []
    run(Untouchable(), made=dict(whole), progress=lambda *count: seen.append(count))  # type: ignore[arg-type]
    assert seen == [(0, 0)]


def test_progress_counts_images(ldm: LatentDiffusion) -> None:
    seen: list[tuple[int, int]] = []
    run(ldm, "z", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 7), (7, 7)]


def test_the_empty_caption_is_encoded_once(ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    encode = type(ldm).text_to_conditioning

    def counted(self: LatentDiffusion, captions: list[str]) -> np.ndarray:
        asked.append(captions)
        return encode(self, captions)

    monkeypatch.setattr(type(ldm), "text_to_conditioning", counted)
    ldm = dataclasses.replace(ldm)  # type: ignore[type-var]
    for condition in ("zc", "c"):
        run(ldm, condition)  # type: ignore[arg-type]
    assert asked == [[""]]


def test_seed_subject_stimulus_and_draw_each_change_the_noise() -> None:
    reference = draw_noise(0, "subj01", 7, 0, (4, 8, 8))
    np.testing.assert_array_equal(reference, draw_noise(0, "subj01", 7, 0, (4, 8, 8)))
    for other in ((1, "subj01", 7, 0), (0, "subj02", 7, 0), (0, "subj01", 8, 0), (0, "subj01", 7, 1)):
        assert abs(np.corrcoef(reference.ravel(), draw_noise(*other, (4, 8, 8)).ravel())[0, 1]) < 0.25
    many = draw_noise(0, "subj01", 7, 0, (100_000,))
    assert many.mean() == pytest.approx(0, abs=0.02)
    assert many.std() == pytest.approx(1, abs=0.02)


def test_the_noise_of_a_draw_never_changes_between_versions() -> None:
    np.testing.assert_allclose(draw_noise(0, "subj01", 7, 0, (3,)), NOISE_OF_VERSION_ONE, rtol=1e-6)


def test_a_denoising_sequence_ends_with_the_image_itself(ldm: LatentDiffusion, whole: Images) -> None:
    frames = denoising_sequence(
        ldm, "zc", ROW, recipe=RECIPE, seed=1, subject="subj01", stimulus_id=int(IDS[4]), sample=2
    )
    assert frames.shape == (1 + 3, 32, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[-1], whole[4, 2])
    np.testing.assert_array_equal(frames[0], run(ldm, "z")[4, 0])


def test_a_denoising_sequence_without_z_starts_from_noise(ldm: LatentDiffusion) -> None:
    frames = denoising_sequence(
        ldm, "c", {"c": C.array[2]}, recipe=RECIPE, seed=1, subject="subj01", stimulus_id=int(IDS[2]), sample=1
    )
    assert frames.shape == (1 + 4, 32, 32, 3)
    np.testing.assert_array_equal(frames[-1], by_hand(ldm, 2, 1, RECIPE, "c"))


def test_features_that_do_not_fit_are_refused(ldm: LatentDiffusion) -> None:
    with raises_with(ShapeError, where="c", expected=(24, 32), found=(77, 768)):
        run(ldm, c=features("c", 77, 768))
    with raises_with(ShapeError, where="z", expected=(4, "height", "width"), found=(100,)):
        run(ldm, z=features("z", 100))
    with raises_with(ShapeError, where="stimulus_id"):
        run(ldm, c=Features("c", C.array, IDS[::-1].copy()))
    with raises_with(ShapeError, where="c", found=None):
        run(ldm, c=None)


def test_a_strength_that_leaves_no_step_is_refused(ldm: LatentDiffusion) -> None:
    with raises_with(RecipeError, where="reconstruct.strength", found=0.1):
        run(ldm, recipe=RECIPE.model_copy(update={"strength": 0.1}))


def test_numbers_that_are_not_finite_name_the_stimulus_and_are_never_written(ldm: LatentDiffusion) -> None:
    broken = C.array.copy()
    broken[2] = np.nan
    made: Images = {}
    with raises_with(ModelError, found=(8, 0)):
        run(ldm, c=Features("c", broken, IDS), made=made)
    assert all(item < 2 for item, _ in made)


class Faulty:
    """A noise predictor that spoils the rows of chosen conditionings while it is in half precision."""

    def __init__(self, unet: torch.nn.Module, rows: list[int], fault: float) -> None:
        self.unet, self.fault = unet, fault
        self.spoilt = torch.from_numpy(C.array[rows])

    def __deepcopy__(self, _memo: object) -> torch.nn.Module:
        return self.unet

    @property
    def dtype(self) -> torch.dtype:
        return torch.float16

    def __getattr__(self, name: str) -> object:
        return getattr(self.unet, name)

    def __call__(
        self, latents: torch.Tensor, timestep: int, *, encoder_hidden_states: torch.Tensor, **options: bool
    ) -> tuple[torch.Tensor]:
        c = encoder_hidden_states.float()
        noise = self.unet(latents.float(), timestep, encoder_hidden_states=c, **options)[0].half()
        for row, conditioning in enumerate(c):
            if any(torch.allclose(conditioning, own, atol=1e-2) for own in self.spoilt):
                noise[row] = self.fault
        return (noise,)


def test_an_image_that_half_precision_spoils_is_made_again_in_single_precision(
    ldm: LatentDiffusion, whole: Images
) -> None:
    faulty = dataclasses.replace(ldm, unet=Faulty(ldm.unet, [1, 4], float("nan")))  # type: ignore[type-var]
    with pytest.warns(ImageWarning, match="computed again in single precision; the first is of stimulus") as noted:
        made = run(faulty, recipe=RECIPE.model_copy(update={"batch_size": 64}))
    assert len(noted) == 1
    assert "6 of 21 images of condition zc" in str(noted[0].message)
    assert "stimulus 3, sample 0" in str(noted[0].message)
    for (item, sample), image in made.items():
        if item in (1, 4):
            np.testing.assert_array_equal(image, whole[item, sample])
        else:
            assert np.abs(image.astype(int) - whole[item, sample].astype(int)).max() <= 8  # half precision


def test_where_half_precision_spoils_nothing_no_second_noise_predictor_is_made(
    ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(_self: Faulty, _memo: object) -> torch.nn.Module:
        raise AssertionError("it was copied")

    monkeypatch.setattr(Faulty, "__deepcopy__", copied)
    faulty = dataclasses.replace(ldm, unet=Faulty(ldm.unet, [], 0.0))  # type: ignore[type-var]
    assert len(run(faulty, jobs=[(2, 0), (0, 1)])) == 2


def test_an_image_that_half_precision_turns_black_is_made_again(
    ldm: LatentDiffusion, whole: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = type(ldm).latent_to_image

    def black_in_half(self: StableDiffusion, latents: torch.Tensor) -> np.ndarray:
        made = decode(self, latents)
        if self.unet.dtype == torch.float16 and made.shape[1] == 32:
            made[0] = 0
        return made

    faulty = dataclasses.replace(ldm, unet=Faulty(ldm.unet, [], 0.0))  # type: ignore[type-var]
    monkeypatch.setattr(type(ldm), "latent_to_image", black_in_half)
    with pytest.warns(ImageWarning, match="1 of 4 images of condition zc were black or not finite"):
        made = run(faulty, jobs=[(2, 0), (2, 1), (2, 2), (0, 1)])
    np.testing.assert_array_equal(made[2, 0], whole[2, 0])


def test_what_is_not_finite_in_single_precision_either_is_an_error(ldm: LatentDiffusion) -> None:
    broken = C.array.copy()
    broken[2] = np.nan
    faulty = dataclasses.replace(ldm, unet=Faulty(ldm.unet, [], 0.0))  # type: ignore[type-var]
    with (
        pytest.warns(ImageWarning, match="computed again"),
        raises_with(ModelError, found=(8, 0)),
    ):
        run(faulty, c=Features("c", broken, IDS))


def test_the_denoising_sequence_of_a_spoilt_sample_is_exact(ldm: LatentDiffusion, whole: Images) -> None:
    faulty = dataclasses.replace(ldm, unet=Faulty(ldm.unet, [4], float("nan")))  # type: ignore[type-var]
    which = {"seed": 1, "subject": "subj01", "stimulus_id": int(IDS[4]), "sample": 2}
    frames = denoising_sequence(faulty, "zc", ROW, recipe=RECIPE, **which)  # type: ignore[arg-type]
    np.testing.assert_array_equal(frames[-1], whole[4, 2])


def test_draws_share_the_sample_of_the_coarse_posterior_and_stimuli_do_not(ldm: LatentDiffusion) -> None:
    recipe = RECIPE.model_copy(update={"coarse_posterior": "sample"})
    options = {"seed": 1, "subject": "subj01"}
    noise = coarse_noise(ldm, recipe, stimulus_id=IDS, **options)  # type: ignore[arg-type]
    assert noise is not None
    np.testing.assert_array_equal(noise[1], noise[3])  # two trials of stimulus 3
    assert not np.allclose(noise[0], noise[1])
    assert coarse_noise(ldm, RECIPE, stimulus_id=IDS, **options) is None  # type: ignore[arg-type]
    alike = np.repeat(Z.array[:1], 3, axis=0)
    latents = coarse_latents(ldm, alike, recipe, noise[[0, 1, 1]])
    assert not np.allclose(latents[0], latents[1])
    np.testing.assert_array_equal(latents[1], latents[2])
    sampled, plain = (run(ldm, recipe=which) for which in (recipe, RECIPE))
    assert not np.array_equal(sampled[0, 0], plain[0, 0])
    assert_same(sampled, run(ldm, recipe=recipe.model_copy(update={"batch_size": 5})))


def test_black_images_are_warned_of(ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(ldm), "latent_to_image", lambda _self, z: np.zeros((len(z), 20, 20, 3), dtype=np.float32))
    with pytest.warns(ImageWarning, match="7 of 7 images of condition z are black"):
        run(ldm, "z")


def test_the_benchmark_holds_the_weights_of_one_contender_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    sampling = importlib.import_module("sampling")
    load, held, seen = sampling.load, [], []

    def watched(*options: object, **more: object) -> LatentDiffusion:
        seen.append([network() is not None for network in held])
        made: LatentDiffusion = load(*options, **more)
        held.append(weakref.ref(made.unet))
        return made

    def made_nothing(job: object, n_stimuli: dict[str, int], _n_rounds: int) -> dict[str, object]:
        unet = job.ldm.unet if "reseen" in n_stimuli else job.pipeline.unet  # type: ignore[attr-defined]
        assert unet is held[-1]()
        black = {(0, 0): np.zeros((8, 8, 3), dtype=np.uint8)}
        return {name: sampling.Timed([1.0], [1.0], 0.0, black) for name in n_stimuli}

    monkeypatch.setattr(sampling, "load", watched)
    monkeypatch.setattr(sampling, "take_turns", made_nothing)
    monkeypatch.setattr(sampling, "matrix_rate", lambda *_: 1e12)
    monkeypatch.setattr(sampling, "flop_of_an_image", lambda *_: 1e9)
    assert sampling.measure("cpu", "fp32", compiled=False, quick=True)
    assert seen == [[], [False]]
