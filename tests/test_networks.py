import hashlib
import shutil
import sys
import types
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from fields import raises_with
from stand_ins import AlexNet, stand_in

from reseen.errors import ModelError, ShapeError
from reseen.networks import (
    LAYERS,
    NETWORKS,
    PretrainedNetwork,
    builtin,
    load_builtin_network,
    load_network,
    load_panel,
    prepare,
)
from reseen.networks.pretrained import fetch_command
from reseen.protocols import PROTOCOLS, Input
from reseen.simulate.painting import draw_scene
from reseen.simulate.scenes import BACKGROUNDS, sample_scene


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(77)
    scenes = [sample_scene(rng) for _ in range(120)]
    return scenes, np.stack([draw_scene(scene) for scene in scenes])


@pytest.mark.parametrize("name", ["classifier", "image_encoder"])
def test_an_evaluation_network_gives_one_row_of_each_layer_for_each_image(name, images):
    responses = load_builtin_network(name).activations(images[1][:5])
    assert tuple(responses) == LAYERS
    assert [responses[layer].shape for layer in LAYERS] == [(5, 32 * 32 * 32), (5, 128 * 8 * 8), (5, 128)]
    assert all(np.isfinite(response).all() for response in responses.values())


def test_what_an_evaluation_network_sees_in_an_image_does_not_depend_on_its_neighbours(images):
    classifier = load_builtin_network("classifier")
    together = classifier.activations(images[1])
    alone = classifier.activations(images[1][110:111])
    for layer in LAYERS:
        np.testing.assert_allclose(together[layer][110], alone[layer][0], rtol=1e-4, atol=1e-4)


def test_images_of_another_size_are_resized(images):
    small, classifier = images[1][:20], load_builtin_network("classifier")
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    for of_large, of_small in zip(
        classifier.activations(large)["late"], classifier.activations(small)["late"], strict=True
    ):
        assert np.corrcoef(of_large, of_small)[0, 1] > 0.8


def test_the_judge_names_the_background_of_scenes_it_never_saw(images):
    scenes, images = images
    classifier = load_builtin_network("classifier")
    named = classifier.name_contents(images)[:, : len(BACKGROUNDS)].argmax(axis=1)
    truth = [classifier.labels.index(scene.background) for scene in scenes]
    assert np.mean(named == truth) > 0.9


def test_an_evaluation_network_without_labels_says_so(images):
    with raises_with(ModelError, expected="classifier", found="image_encoder"):
        load_builtin_network("image_encoder").name_contents(images[1][:1])


def test_the_built_in_networks_are_those_whose_weights_come_with_reseen():
    from reseen.tables import BUILTIN_NETWORKS

    assert set(BUILTIN_NETWORKS) == {path.stem for path in builtin._FOLDER.glob("*.safetensors")}


def test_an_unknown_network_is_named_with_those_there_are():
    with raises_with(ModelError, expected=("classifier", "image_encoder"), found="inception"):
        load_builtin_network("inception")


# ------------------------------------------------------------------------------------------------ networks of others


@pytest.fixture
def torchvision(tmp_path, monkeypatch):
    """A torchvision that builds stand-ins, and an empty cache of weights."""
    models = types.ModuleType("torchvision.models")
    models.get_model = lambda name, weights, **_: deepcopy(stand_in(name)[0]) if weights is None else None
    package = types.ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def save_weights(path, network, prefix="", **changes):
    state = {**network.state_dict(), **changes}
    torch.save({prefix + key: value for key, value in state.items() if value is not None}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_of_torchvision_are_read_from_its_cache(torchvision, monkeypatch):
    network = AlexNet()
    digest = save_weights(torchvision / "new.pth", network)
    (torchvision / "new.pth").rename(torchvision / f"alexnet-{digest[:8]}.pth")
    address = f"https://nowhere/alexnet-{digest[:8]}.pth"
    monkeypatch.setitem(NETWORKS, "alexnet", replace(NETWORKS["alexnet"], weights=address))
    found, fingerprint = load_network("alexnet")
    assert fingerprint == f"sha256:{digest}"
    assert not found.training
    torch.testing.assert_close(found.features[0].weight.data, network.features[0].weight.data)


SWAV = "swav_800ep_pretrain.pth.tar"
HEAD = {"projection_head.0.weight": torch.ones(2, 2), "prototypes.weight": torch.ones(3, 2)}


def test_weights_of_swav_are_freed_of_their_prefix_and_need_no_classifier(torchvision):
    network = stand_in("resnet50")[0]
    save_weights(torchvision / SWAV, network, "module.", **HEAD, **{"fc.weight": None, "fc.bias": None})
    found, _ = load_network("swav_resnet50")
    torch.testing.assert_close(found.stem[0].weight.data, network.stem[0].weight.data)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem.0.weight": None}, r"1 tensors are missing, the first is stem.0.weight"),
        ({"layer9.weight": torch.ones(2)}, r"1 tensors are unexpected, the first is layer9.weight"),
        ({"stem.2.bias": torch.full((16,), torch.nan)}, r"1 tensors are not finite, the first is stem.2.bias"),
        ({"stem.2.bias": torch.ones(3)}, r"damaged or of another network"),
        ({"stem.2.bias": "a text"}, r"damaged or of another network"),
    ],
    ids=["missing", "unexpected", "not-finite", "another-shape", "no-tensor"],
)
def test_every_tensor_of_the_weights_is_compared(torchvision, changes, said):
    save_weights(torchvision / SWAV, stand_in("resnet50")[0], "module.", **HEAD, **changes)
    with pytest.raises(ModelError, match=said):
        load_network("swav_resnet50")


def test_weights_of_another_network_are_refused(torchvision):
    save_weights(torchvision / SWAV, AlexNet())
    with pytest.raises(ModelError, match=r"swav_resnet50 in .* are not those of this network: \d+ tensors are missing"):
        load_network("swav_resnet50")
    torch.save([1, 2, 3], torchvision / SWAV)
    with pytest.raises(ModelError, match="damaged or of another network"):
        load_network("swav_resnet50")


def test_weights_that_are_missing_or_damaged_are_named_with_the_command_that_fetches_them(torchvision):
    with pytest.raises(ModelError, match=r"alexnet are missing; to download them: python -c .*alexnet-owt-7be5be79"):
        load_network("alexnet")
    (torchvision / "alexnet-owt-7be5be79.pth").write_bytes(b"half of it")
    with pytest.raises(ModelError, match=r"alexnet-owt-7be5be79.pth are damaged. Delete them"):
        load_network("alexnet")
    (torchvision / SWAV).write_bytes(b"half of it")
    with pytest.raises(ModelError, match=r"damaged.*swav_800ep"):
        load_network("swav_resnet50")


def test_a_flipped_bit_in_weights_without_a_digest_in_their_name_is_noticed(torchvision):
    """torch does not compare the checksums of a zip archive."""
    network = stand_in("resnet50")[0]
    save_weights(torchvision / SWAV, network, "module.", **HEAD, **{"fc.weight": None, "fc.bias": None})
    content = bytearray((torchvision / SWAV).read_bytes())
    content[content.index(network.stem[0].weight.detach().numpy().tobytes()) + 1] ^= 1
    (torchvision / SWAV).write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged|bad CRC"):
        load_network("swav_resnet50")


def test_without_torchvision_the_command_that_leaves_torch_as_it_is_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(
        ModelError, match=r"alexnet needs torchvision .*: pip install --no-deps 'torchvision==0\.\d+\.\*'"
    ):
        load_network("alexnet")


@pytest.fixture
def clip_cache(monkeypatch, tmp_path):
    """The hub's cache with a small CLIP in the place of the published one."""
    snapshot = tmp_path / "models--openai--clip-vit-large-patch14/snapshots" / NETWORKS["clip_vit_l14"].weights
    stand_in("clip")[0].save_pretrained(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return snapshot


def test_clip_takes_no_more_from_the_hubs_cache_than_its_command_brings(clip_cache, connections):
    words = fetch_command("clip_vit_l14").split()
    assert {path.name for path in clip_cache.iterdir()} == set(words[5:]) == {"config.json", "model.safetensors"}
    found, fingerprint = load_network("clip_vit_l14")
    assert fingerprint == f"openai/clip-vit-large-patch14@{NETWORKS['clip_vit_l14'].weights}"
    expected = stand_in("clip")[0].visual_projection.weight
    torch.testing.assert_close(found.visual_projection.weight, expected, rtol=0, atol=0)
    assert connections == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("visual_projection.weight"), r"1 tensors are missing, the first is visual_projection"),
        (lambda state: state.update(more=torch.ones(2)), r"1 tensors are unexpected, the first is more"),
        (lambda state: state["visual_projection.weight"].fill_(torch.nan), r"1 tensors are not finite"),
        (lambda state: state.update(logit_scale=torch.ones(1)), None),
        (lambda state: state.update({"visual_projection.weight": torch.ones(3, 3)}), r"damaged or of another network"),
    ],
    ids=["missing", "unexpected", "not-finite", "text-side", "another-shape"],
)
def test_every_tensor_of_clip_is_compared(clip_cache, change, said):
    weights = clip_cache / "model.safetensors"
    state = safetensors.torch.load_file(weights)
    change(state)
    safetensors.torch.save_file(state, weights, metadata={"format": "pt"})
    if said is None:
        assert load_network("clip_vit_l14")
        return
    with pytest.raises(ModelError, match=said):
        load_network("clip_vit_l14")


def test_clip_that_is_not_there_or_damaged_is_named_with_its_commit(clip_cache, monkeypatch, tmp_path):
    (clip_cache / "model.safetensors").write_bytes(b"half of it")
    with pytest.raises(ModelError, match=r"damaged.*hf download openai/clip-vit-large-patch14 --revision 32bd642"):
        load_network("clip_vit_l14")
    (clip_cache / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"missing.*hf download openai/clip-vit-large-patch14 --revision 32bd642"):
        load_network("clip_vit_l14")


def test_weights_of_a_built_in_network_are_compared_too(monkeypatch, tmp_path):
    shutil.copytree(builtin._FOLDER, tmp_path / "weights")
    monkeypatch.setattr(builtin, "_FOLDER", tmp_path / "weights")
    path = tmp_path / "weights/classifier.safetensors"
    state = safetensors.torch.load_file(path)
    bias = state["output.bias"]
    for changed in ({"output.bias": torch.full_like(bias, torch.nan)}, {"more": bias.clone()}):
        safetensors.torch.save_file({**state, **changed}, path)
        with pytest.raises(ModelError, match=r"damaged.*Install reseen again") as caught:
            load_builtin_network("classifier")
        assert str(path) in str(caught.value)
    safetensors.torch.save_file(state, path)
    load_builtin_network("classifier")
    (tmp_path / "weights/classifier.json").write_text('{"labels": ["one"]}')
    with raises_with(ModelError, where=path):
        load_builtin_network("classifier")


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_says_how_its_weights_are_fetched(name):
    assert NETWORKS[name].weights in fetch_command(name)


def test_the_guide_to_nsd_fetches_every_network_that_the_papers_protocol_looks_through():
    guide = (Path(__file__).parents[1] / "docs/nsd.md").read_text()
    for network in PROTOCOLS["takagi2023"].networks:
        assert f"$ {fetch_command(network.architecture)}\n" in guide


def test_a_panel_goes_without_what_is_missing_and_says_so():
    def load(name, *, device):
        if name == "clip_vit_l14":
            raise ModelError("not there")
        return stand_in(name)

    panel, missing = load_panel(PROTOCOLS["takagi2023"], load=load)
    assert [network.name for network in panel.networks] == ["inception", "alexnet"]
    assert missing == ["protocol takagi2023 lacks clip: not there"]


def test_a_layer_is_what_its_module_gives_although_the_next_works_in_place_and_no_hook_is_left(images):
    modules = AlexNet().eval()
    given = Input(64, "pil", "bilinear", normal=None)
    network = PretrainedNetwork("alexnet", "none", modules, (("before", "features.0"), ("after", "features.1")), given)
    looked = network.activations(images[1][:40])
    assert looked["before"].min() < 0 == looked["after"].min()
    np.testing.assert_array_equal(np.maximum(looked["before"], 0), looked["after"])
    assert not any(module._forward_hooks for module in modules.modules())


def test_a_module_that_a_network_does_not_have_is_named(images):
    with raises_with(ModelError, where="alexnet", found="features.99"):
        PretrainedNetwork("alexnet", "none", AlexNet(), (("late", "features.99"),), Input(64, "pil", "bilinear"))


def test_sizes_left_open_and_numbers_for_pillow_are_refused():
    with raises_with(ShapeError, where="size"):
        prepare(np.zeros((1, 8, 8, 3), dtype=np.uint8), Input(None, "pil", "lanczos"))
    with raises_with(ShapeError, where="images", expected="uint8", found="float32"):
        prepare(np.zeros((1, 8, 8, 3), dtype=np.float32), Input(4, "pil", "lanczos"))
