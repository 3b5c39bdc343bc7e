"""Loading and using a Stable Diffusion: a tiny random one in diffusers' folder format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from fields import raises_with
from tiny_ldm import write_tiny_ldm

from reseen import ldm as door
from reseen import load_recipe
from reseen.errors import ModelError, ShapeError
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.batching import _even_threads
from reseen.ldm.devices import check_device
from reseen.ldm.recording import recording
from reseen.ldm.stable import StableDiffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")


@pytest.fixture(scope="module")
def ldm(folder: Path) -> LatentDiffusion:
    return load_model(str(folder))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def some_images(n: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_sizes_are_read_from_the_model(ldm: LatentDiffusion) -> None:
    assert ldm.image_size == 32
    assert ldm.factor == 4
    assert ldm.latent_shape == (4, 8, 8)
    assert ldm.conditioning_shape == (24, 32)
    assert ldm.fingerprint.startswith("sha256:")


def test_latents_images_and_captions_have_the_promised_shapes(ldm: LatentDiffusion) -> None:
    latents = ldm.image_to_latent(some_images(3))
    decoded = ldm.latent_to_image(latents)
    conditioning = ldm.text_to_conditioning(["a red house", "", "a word " * 40])
    assert (latents.shape, latents.dtype) == ((3, 4, 8, 8), np.float32)
    assert (decoded.shape, decoded.dtype) == ((3, 32, 32, 3), np.float32)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert (conditioning.shape, conditioning.dtype) == ((3, 24, 32), np.float32)
    assert not np.allclose(conditioning[0], conditioning[1])


def test_an_image_of_another_size_has_a_latent_of_another_size(ldm: LatentDiffusion) -> None:
    assert ldm.image_to_latent(some_images(1, size=20)).shape == (1, 4, 5, 5)


def test_arrays_that_may_not_be_written_to_are_read_all_the_same(ldm: LatentDiffusion) -> None:
    images, latents = some_images(1), np.ones((1, 4, 8, 8), dtype=np.float32)
    images.flags.writeable = latents.flags.writeable = False
    assert (ldm.latent_to_image(latents).shape, ldm.image_to_latent(images).shape) == ((1, 32, 32, 3), (1, 4, 8, 8))


def test_images_in_bytes_and_in_fractions_have_the_same_latent(ldm: LatentDiffusion) -> None:
    images = some_images(2)
    fractions = images.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(ldm.image_to_latent(images), ldm.image_to_latent(fractions))


def test_networks_give_what_the_components_of_diffusers_give(folder: Path, ldm: LatentDiffusion) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.to(torch.float32)
    with torch.inference_mode():
        theirs = pipeline.encode_prompt("a cat on a beach", "cpu", 1, False)[0].numpy()
        image = torch.from_numpy(some_images(1).astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
        latent = pipeline.vae.encode(image).latent_dist.mean * pipeline.vae.config.scaling_factor
        decoded = pipeline.vae.decode(latent / pipeline.vae.config.scaling_factor).sample
    np.testing.assert_allclose(ldm.text_to_conditioning(["a cat on a beach"]), theirs, atol=2e-5)
    np.testing.assert_allclose(ldm.image_to_latent(some_images(1)), latent.numpy(), atol=2e-5)
    expected = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ldm.latent_to_image(latent.numpy()), expected, atol=2e-5)


def test_a_posterior_sample_is_its_mean_and_the_noise_times_its_spread(folder: Path, ldm: LatentDiffusion) -> None:
    images, noise = some_images(2), np.random.default_rng(1).standard_normal((2, 4, 8, 8), dtype=np.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(folder).to(torch.float32)
    with torch.inference_mode():
        posterior = pipeline.vae.encode(
            torch.from_numpy(images / np.float32(127.5) - 1).permute(0, 3, 1, 2)
        ).latent_dist
    expected = (posterior.mean + posterior.std * torch.from_numpy(noise)) * pipeline.vae.config.scaling_factor
    np.testing.assert_allclose(ldm.image_to_latent(images, noise=noise), expected.numpy(), atol=2e-5)
    np.testing.assert_array_equal(ldm.image_to_latent(images, noise=0 * noise), ldm.image_to_latent(images))
    with raises_with(ShapeError, where="noise", expected=(2, 4, 8, 8), found=(1, 4, 8, 8)):
        ldm.image_to_latent(images, noise=noise[:1])


def test_a_model_of_velocity_predicts_the_noise_that_is_there(tmp_path: Path) -> None:
    loaded = load_model(str(write_tiny_ldm(tmp_path / "v", prediction_type="v_prediction")))
    rng = np.random.default_rng(0)
    clean, noise = (torch.from_numpy(rng.standard_normal((2, 4, 8, 8), dtype=np.float32)) for _ in range(2))
    level = float(loaded.schedule.signal_level[500])

    class KnowsTheAnswer(torch.nn.Module):
        dtype = torch.float32
        config = loaded.unet.config

        def forward(self, latents: torch.Tensor, *_: object, **__: object) -> tuple[torch.Tensor]:
            velocity = level**0.5 * noise - (1 - level) ** 0.5 * clean
            return (velocity[torch.arange(len(latents)).clamp(max=1)],)

    object.__setattr__(loaded, "unet", KnowsTheAnswer())
    noised = level**0.5 * clean + (1 - level) ** 0.5 * noise
    torch.testing.assert_close(loaded.predict_noise(noised, 500, torch.zeros(2, 24, 32)), noise, rtol=1e-4, atol=1e-4)


def test_every_network_gives_the_same_bytes_alone_in_a_batch_and_in_another_order(ldm: LatentDiffusion) -> None:
    rng = np.random.default_rng(1)
    n = 21
    order = rng.permutation(n)
    images = some_images(n)
    latents = torch.from_numpy(rng.standard_normal((n, 4, 8, 8), dtype=np.float32))
    conditioning = torch.from_numpy(rng.standard_normal((n, 24, 32), dtype=np.float32))

    def predict(at: np.ndarray) -> np.ndarray:
        return ldm.predict_noise(latents[at], 301, conditioning[at]).numpy()

    for network in (
        predict,
        lambda at: ldm.image_to_latent(images[at]),
        lambda at: ldm.latent_to_image(latents[at]),
        lambda at: ldm.text_to_conditioning([f"a red cat {i}" for i in at]),
    ):
        together = network(np.arange(n))
        np.testing.assert_array_equal(network(order), together[order])
        for one in (0, 7, 20):
            np.testing.assert_array_equal(network(np.array([one])), together[[one]])


@pytest.mark.parametrize(("threads", "even"), [(1, 1), (2, 2), (3, 2), (7, 4), (12, 8), (64, 16)])
def test_threads_share_the_rows_evenly_and_are_given_back(threads: int, even: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with _even_threads(16):
            assert torch.get_num_threads() == even
        assert torch.get_num_threads() == threads
        with _even_threads(1):
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_does_not_change_the_bytes(ldm: LatentDiffusion) -> None:
    images, before = some_images(17), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            found.append(ldm.latent_to_image(ldm.image_to_latent(images)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_weights_stored_in_half_precision_compute_in_single_precision(ldm: LatentDiffusion) -> None:
    assert isinstance(ldm, StableDiffusion)
    for network in (ldm.vae, ldm.unet, ldm.text_encoder):
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not network.training


def test_half_precision_is_for_the_noise_predictor_alone(folder: Path) -> None:
    loaded = load_model(str(folder), precision="bf16")
    assert loaded.unet.dtype == torch.bfloat16
    assert loaded.vae.dtype == loaded.text_encoder.dtype == torch.float32
    noise = loaded.predict_noise(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 24, 32))
    assert noise.dtype == torch.float32


def test_the_fingerprint_follows_the_weights_and_not_the_place(folder: Path, copy: Path, ldm: LatentDiffusion) -> None:
    assert load_model(str(copy)).fingerprint == ldm.fingerprint
    other = write_tiny_ldm(copy.parent / "other", seed=1)
    assert load_model(str(other)).fingerprint != ldm.fingerprint


def test_images_that_do_not_fit_are_refused(ldm: LatentDiffusion) -> None:
    with raises_with(ShapeError, where="images", found=(1, 30, 30, 3)):
        ldm.image_to_latent(some_images(1, size=30))
    with raises_with(ShapeError, where="images", expected=("n", "height", "width", 3)):
        ldm.image_to_latent(some_images(1)[..., 0])
    with raises_with(ShapeError, where="inputs", found=0):
        ldm.latent_to_image(np.zeros((0, 4, 8, 8), dtype=np.float32))
    with raises_with(ShapeError, where="captions", found=0):
        ldm.text_to_conditioning([])


def test_latents_that_are_not_finite_are_refused(ldm: LatentDiffusion) -> None:
    with raises_with(ModelError, where="latents"):
        ldm.latent_to_image(np.full((1, 4, 8, 8), np.nan, dtype=np.float32))


@pytest.mark.parametrize("lost", ["unet/config.json", "vae/*.safetensors", "tokenizer/tokenizer_config.json"])
def test_a_folder_that_lacks_a_part_is_named(copy: Path, lost: str) -> None:
    for file in copy.glob(lost):
        file.unlink()
    with pytest.raises(ModelError, match=rf"lacks .*{lost.split('/')[0]}"):
        load_model(str(copy))


def test_truncated_weights_are_an_error_with_a_message(copy: Path) -> None:
    weights = next((copy / "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(
        ModelError, match=r"unet/.* cannot be read .its header is longer than the file.*the complete model"
    ):
        load_model(str(copy))


def test_a_schedule_that_is_not_stable_diffusions_is_refused(copy: Path) -> None:
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"beta_schedule": "squaredcos_cap_v2"}))
    with pytest.raises(ModelError, match=r"beta_schedule is 'squaredcos_cap_v2'"):
        load_model(str(copy))


def test_an_incomplete_stable_diffusion_xl_is_refused(copy: Path) -> None:
    (copy / "text_encoder_2").mkdir()
    with pytest.raises(ModelError, match=r"lacks .*text_encoder_2/config\.json"):
        load_model(str(copy))


def test_a_model_that_cannot_be_fetched_names_the_command_that_fetches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"hf download CompVis/stable-diffusion-v1-4 --revision abc --incl"):
        load_model("CompVis/stable-diffusion-v1-4", revision="abc")


def test_a_hub_model_is_known_by_its_commit(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    commit = Path(shutil.copytree(folder, folder.parent / "0123abc", dirs_exist_ok=True))
    asked = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = load_model("someone/some-model", revision="0123abc")
    assert loaded.fingerprint == "someone/some-model@0123abc"
    assert asked["revision"] == "0123abc"
    assert not any("safety" in pattern for pattern in asked["allow_patterns"])


def test_a_part_that_the_hubs_local_cache_lacks_is_named_with_the_command_that_fetches_it(
    monkeypatch: pytest.MonkeyPatch, copy: Path
) -> None:
    next((copy / "unet").glob("*.safetensors")).unlink()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(copy))
    with pytest.raises(
        ModelError, match=r"lacks safetensors weights in .*unet.*run `hf download someone/some-model --"
    ):
        load_model("someone/some-model")


@pytest.mark.parametrize("name", ["nowhere", "./no/such/folder", "a/b/c", "/absent"])
def test_a_name_that_is_nothing_is_refused(name: str) -> None:
    with raises_with(ModelError, where="model.name", found=name):
        load_model(name)


def test_a_single_file_that_is_missing_or_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"sd-v1-4\.ckpt is missing"):
        load_model(str(tmp_path / "sd-v1-4.ckpt"))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing of use")
    (tmp_path / "broken").mkdir()
    with pytest.raises(ModelError, match="hf download CompVis/stable-diffusion-v-1-4-original"):
        load_model(str(broken))


def test_a_pickle_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (ran,))  # type: ignore[return-value]

    path = tmp_path / "trap.ckpt"
    torch.save({"state_dict": {"model": Trap()}}, path)
    (tmp_path / "trap").mkdir()
    with pytest.raises(ModelError, match="which no tensor needs: loading it could run code"):
        load_model(str(path))
    assert not ran.exists()


def test_the_guide_to_nsd_fetches_what_a_run_would() -> None:
    model = load_recipe("takagi2023").model
    guide = (Path(__file__).parents[1] / "docs/nsd.md").read_text()
    assert f"$ {door.fetch_command(model.name, model.revision)}\n" in guide


@pytest.mark.parametrize("device", ["cuda:2", "cuda:9", "cuda:256", "cpu:0", "mps", "meta", "abacus"])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with raises_with(ModelError, where="device", found=device):
        load_model(str(folder), device=device)


def test_devices_that_are_there_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for device in ("cpu", "mps", "cuda", "cuda:0", "cuda:1"):
        check_device(device)


def test_the_built_in_model_lies_in_the_package() -> None:
    assert Path(door.__file__).parent / "builtin" == door.BUILTIN


def test_the_empty_caption_is_encoded_once_and_may_not_be_written_to(ldm: LatentDiffusion) -> None:
    np.testing.assert_array_equal(ldm.unconditional, ldm.text_to_conditioning([""])[0])
    assert ldm.unconditional is ldm.unconditional
    with pytest.raises(ValueError, match="read-only"):
        ldm.unconditional[0] = 0


def test_single_precision_is_the_model_itself_or_the_same_weights(folder: Path, ldm: LatentDiffusion) -> None:
    assert ldm.in_single_precision is ldm
    half = load_model(str(folder), precision="bf16")
    exact = half.in_single_precision
    assert exact is half.in_single_precision
    assert exact.unet.dtype == torch.float32
    assert half.unet.dtype == torch.bfloat16
    for name, tensor in half.unet.state_dict().items():
        assert torch.equal(tensor.float(), exact.unet.state_dict()[name])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_predicts_nearly_the_same_noise(folder: Path, ldm: LatentDiffusion, precision: str) -> None:
    rng = np.random.default_rng(0)
    latents = torch.from_numpy(rng.standard_normal((2, 4, 8, 8), dtype=np.float32))
    c = torch.from_numpy(rng.standard_normal((2, 24, 32), dtype=np.float32))
    noise = ldm.predict_noise(latents, 301, c)
    half = load_model(str(folder), precision=precision).predict_noise(latents, 301, c)  # type: ignore[arg-type]
    assert (half - noise).norm() / noise.norm() < (2e-3 if precision == "fp16" else 2e-2)


def test_a_compiled_noise_predictor_is_used_except_where_hooks_are_laid(
    folder: Path, ldm: LatentDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def compile_by_name(unet: torch.nn.Module, **_: bool) -> Callable[..., object]:
        def compiled(*arguments: object, **options: object) -> object:
            calls.append(len(calls))
            return unet(*arguments, **options)

        return compiled

    monkeypatch.setattr(torch, "compile", compile_by_name)
    fast = load_model(str(folder), compiled=True)
    latents, c = torch.zeros(1, 4, 8, 8), torch.zeros(1, 24, 32)
    expected = ldm.predict_noise(latents, 1, c)
    assert torch.equal(fast.predict_noise(latents, 1, c), expected)
    assert calls == [0]
    with recording(fast, ["mid_block"], [1], n=1) as recorded:
        assert torch.equal(recorded.predict_noise(latents, 1, c), expected)
        assert recorded.taken("mid_block").shape[0] == 1
    assert calls == [0]


def test_captions_longer_than_the_text_encoder_reads_are_counted(folder: Path) -> None:
    ldm = load_model(str(folder))
    fits = "a" * (ldm.conditioning_shape[0] - 2)  # one token a letter, and the two marks
    assert ldm.count_cut([]) == 0
    assert ldm.count_cut([fits, "a cat", ""]) == 0
    assert ldm.count_cut([fits + "a", "a cat", "x " * 200]) == 2
