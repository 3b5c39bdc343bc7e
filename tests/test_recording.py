"""Recording what modules inside the U-Net give."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fields import raises_with
from tiny_ldm import write_tiny_ldm

from reseen.errors import RecipeError
from reseen.ldm import LatentDiffusion, load_model
from reseen.ldm.recording import check_layers, default_layers, layer_shapes, recording

Inputs = tuple[torch.Tensor, torch.Tensor]
LAYERS = ("down_blocks.0.attentions.0", "mid_block")


@pytest.fixture(scope="module")
def ldm(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_model(str(write_tiny_ldm(tmp_path_factory.mktemp("ldm") / "tiny")))


def hooks_of(unet: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in unet.modules())


@pytest.fixture(scope="module")
def inputs(ldm: LatentDiffusion) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    shapes = (ldm.latent_shape, ldm.conditioning_shape)
    latents, conditioning = (torch.randn((20, *shape), generator=generator) for shape in shapes)
    return latents, conditioning


def test_a_recording_gives_what_a_plain_forward_with_a_hook_gives(ldm: LatentDiffusion, inputs: Inputs) -> None:
    latents, conditioning = inputs
    seen: dict[str, torch.Tensor] = {}
    handles = [
        ldm.unet.get_submodule(layer).register_forward_hook(
            lambda _m, _i, out, layer=layer: seen.__setitem__(layer, out[0] if isinstance(out, tuple) else out)
        )
        for layer in LAYERS
    ]
    with torch.inference_mode():
        ldm.unet(latents, 301, encoder_hidden_states=conditioning)
    for handle in handles:
        handle.remove()
    # 20 rows run as a batch of 16 and one that is filled up
    with recording(ldm, LAYERS, [301], n=20) as recorded:
        noise = recorded.predict_noise(latents, 301, conditioning)
    assert torch.equal(noise, ldm.predict_noise(latents, 301, conditioning))
    for layer in LAYERS:
        assert recorded.taken(layer).shape == seen[layer].shape
        np.testing.assert_allclose(recorded.taken(layer), seen[layer].numpy(), atol=1e-5)


def test_a_recording_keeps_the_last_rows_of_the_wanted_evaluations_only(ldm: LatentDiffusion, inputs: Inputs) -> None:
    latents, conditioning = inputs
    with recording(ldm, LAYERS, [301], n=20) as whole:
        whole.predict_noise(latents, 301, conditioning)
    with recording(ldm, LAYERS, [301], n=3, precision="fp16") as half:
        half.predict_noise(latents, 301, conditioning)
        taken = half.taken("mid_block")
        assert taken.dtype == np.float16
        np.testing.assert_array_equal(taken, whole.taken("mid_block")[-3:].astype(np.float16))
        half.predict_noise(latents, 201, conditioning)
        with pytest.raises(KeyError, match="mid_block"):
            half.taken("mid_block")


def test_no_hook_outlives_a_recording(ldm: LatentDiffusion) -> None:
    before = hooks_of(ldm.unet)
    with recording(ldm, LAYERS, [1], n=1):
        assert hooks_of(ldm.unet) == before + 2 + 2  # of the layers, and at both ends of the whole
    assert hooks_of(ldm.unet) == before

    def break_off() -> None:
        with recording(ldm, LAYERS, [1], n=1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert hooks_of(ldm.unet) == before
    with pytest.raises(AttributeError), recording(ldm, (*LAYERS, "nosuch"), [1], n=1):
        pass
    assert hooks_of(ldm.unet) == before


@pytest.mark.filterwarnings("ignore::reseen.ldm.batching.MemoryWarning")
def test_a_batch_that_is_broken_off_for_want_of_memory_is_not_kept_twice(ldm: LatentDiffusion, inputs: Inputs) -> None:
    latents, conditioning = inputs
    with recording(ldm, LAYERS, [1], n=18) as whole:
        whole.predict_noise(latents, 1, conditioning)
    scarce = dataclasses.replace(ldm)  # type: ignore[type-var]

    def run_out(_module: object, _inputs: object, output: torch.Tensor) -> None:
        if len(output) > 4:
            raise torch.OutOfMemoryError("planted")

    with recording(scarce, LAYERS, [1], n=18) as recorded:
        planted = ldm.unet.up_blocks[0].resnets[0].register_forward_hook(run_out)
        recorded.predict_noise(latents, 1, conditioning)
        planted.remove()
        for layer in LAYERS:
            assert recorded.taken(layer).shape == whole.taken(layer).shape
            np.testing.assert_allclose(recorded.taken(layer), whole.taken(layer), atol=1e-5)


def test_the_layers_that_are_listed_have_the_shapes_that_are_recorded(ldm: LatentDiffusion, inputs: Inputs) -> None:
    latents, conditioning = inputs
    shapes = layer_shapes(ldm)
    assert set(default_layers(ldm)) <= set(shapes)
    assert shapes["conv_out"] == ldm.latent_shape
    with recording(ldm, list(shapes), [1], n=2) as recorded:
        recorded.predict_noise(latents[:2], 1, conditioning[:2])
        assert {layer: recorded.taken(layer).shape[1:] for layer in shapes} == shapes


def test_the_default_layers_are_two_of_the_encoder_the_bottleneck_and_two_of_the_decoder(ldm: LatentDiffusion) -> None:
    assert default_layers(ldm) == (
        "down_blocks.0.attentions.0",
        "down_blocks.1.resnets.0",
        "mid_block",
        "up_blocks.0.resnets.1",
        "up_blocks.1.attentions.1",
    )
    levels = [SimpleNamespace(attentions=[0, 0], resnets=[0, 0]) for _ in range(4)]
    unet = SimpleNamespace(down_blocks=levels, up_blocks=levels, mid_block=0)
    assert default_layers(SimpleNamespace(unet=unet)) == (
        "down_blocks.0.attentions.1",
        "down_blocks.2.attentions.1",
        "mid_block",
        "up_blocks.1.attentions.1",
        "up_blocks.3.attentions.1",
    )


def test_an_unknown_layer_is_refused_with_those_there_are(ldm: LatentDiffusion) -> None:
    with raises_with(RecipeError, where="encode.layers", expected=default_layers(ldm), found="mid"):
        check_layers(ldm, ["mid"])
