"""Each protocol against its definition, written out as a loop, on stand-ins for its networks."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import correlation as distance
from stand_ins import stand_in

from reseen.evaluate import evaluate
from reseen.imports import import_torchvision, torchvision_command
from reseen.networks import NETWORKS, PretrainedNetwork, load_panel, prepare
from reseen.networks.inputs import as_tensor
from reseen.protocols import PROTOCOL_NAMES, PROTOCOLS, Input
from reseen.recipe import EvaluateRecipe

N, N_SAMPLES = 4, 2
RECIPE = EvaluateRecipe(n_derangements=3, n_bootstrap=3)
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
CLIP = (np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711]))
RELEASED = tuple(name for name in PROTOCOL_NAMES if name != "builtin")


@pytest.fixture(scope="module")
def truth():
    blocks = np.random.default_rng(0).integers(0, 256, (N, 5, 5, 3), dtype=np.uint8)
    return blocks.repeat(85, axis=1).repeat(85, axis=2)


@pytest.fixture(scope="module")
def made(truth):
    rng = np.random.default_rng(1)
    small = truth[:, ::7, ::7]
    noisy = small[:, None] + rng.normal(0, 120, (N, N_SAMPLES, *small.shape[1:]))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def panel_of(name):
    panel, missing = load_panel(PROTOCOLS[name], load=stand_in)
    assert missing == []
    return panel


def scores_of(name, truth, made):
    table = evaluate("s", truth, np.arange(len(truth)), {("result", "zc"): made}, [panel_of(name)], {}, RECIPE, 0)
    assert set(table["protocol"]) == {name}
    found = table[
        (table["level"] == "result") & table["metric"].isin(["identification", "distance", "pixcorr", "ssim"])
    ]
    keys = found[["metric", "network", "layer", "direction"]].itertuples(index=False, name=None)
    return dict(zip(keys, found["value"], strict=True))


# ------------------------------------------------------------------------------- what a network is given, and gives


def by_pillow(image, size, kernel, normal):
    x = np.asarray(Image.fromarray(image).resize((size, size), kernel)) / 255.0
    return torch.from_numpy(((x - normal[0]) / normal[1]).transpose(2, 0, 1)[None]).float()


def by_torch(image, size, normal=None):
    x = torch.from_numpy(image / 255.0).permute(2, 0, 1)[None].float()
    for side in dict.fromkeys((256, size)):  # all images are brought to 256 pixels first
        x = torch.nn.functional.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)
    if normal is None:
        return x
    return (x - torch.tensor(normal[0]).view(1, 3, 1, 1)).div(torch.tensor(normal[1]).view(1, 3, 1, 1)).float()


def takagi(image):
    seen = by_pillow(image, 299, Image.Resampling.BILINEAR, IMAGENET)
    alexnet, inception, clip = (stand_in(name)[0] for name in ("alexnet", "inception_v3", "clip_vit_l14"))
    out = clip(by_pillow(image, 224, Image.Resampling.BICUBIC, CLIP), output_hidden_states=True)
    return {
        ("inception", "flatten"): inception.avgpool(inception.stem(seen)),
        ("alexnet", "features.5"): alexnet.features[:6](seen),
        ("alexnet", "features.12"): alexnet.features[:13](seen),
        ("alexnet", "classifier.5"): alexnet.classifier[:6](alexnet.avgpool(alexnet.features(seen)).flatten(1)),
        ("clip", "hidden_states.6"): out.hidden_states[6],
        ("clip", "hidden_states.12"): out.hidden_states[12],
        ("clip", "image_embeds"): out.image_embeds,
    }


def eight_metrics(given, efficientnet):
    alexnet, inception, clip = (stand_in(name)[0] for name in ("alexnet", "inception_v3", "clip_vit_l14"))
    eff, swav = stand_in(efficientnet)[0], stand_in("swav_resnet50")[0]
    return {
        ("alexnet", "2"): alexnet.features[:5](given("alexnet", IMAGENET)),
        ("alexnet", "5"): alexnet.features[:12](given("alexnet", IMAGENET)),
        ("inception", "avgpool"): inception.avgpool(inception.stem(given("inception", IMAGENET))),
        ("clip", "final"): clip(given("clip", CLIP)).image_embeds,
        ("efficientnet", "avgpool"): eff.avgpool(eff.stem(given("efficientnet", IMAGENET))),
        ("swav", "avgpool"): swav.avgpool(swav.stem(given("swav", IMAGENET))),
    }


def braindiffuser(image):
    return eight_metrics(
        lambda _, normal: by_pillow(image, 224, Image.Resampling.BILINEAR, normal), "efficientnet_b1_v1"
    )


def mindeye(image):
    sizes = {"alexnet": 256, "inception": 342, "clip": 224, "efficientnet": 255, "swav": 224}
    return eight_metrics(lambda name, normal: by_torch(image, sizes[name], normal), "efficientnet_b1_v2")


FEATURES = {"takagi2023": takagi, "braindiffuser2023": braindiffuser, "mindeye2": mindeye}


def features_of(name, images):
    with torch.inference_mode():
        found = [FEATURES[name](image) for image in images]
    return {key: [part[key].flatten().double().numpy() for part in found] for key in found[0]}


# ------------------------------------------------------------------------------------------------ the definitions


def original_fixed(of_truth, of_samples):
    """Of each original: is its reconstruction more like it than every other? Draws are averaged, ties lose."""
    n, won = len(of_truth), 0
    for i in range(n):
        likeness = [np.mean([np.corrcoef(of_truth[i], sample[j])[0, 1] for sample in of_samples]) for j in range(n)]
        won += sum(likeness[i] > likeness[j] for j in range(n) if j != i)
    return won / (n * (n - 1))


def reconstruction_fixed(of_truth, of_draw):
    """Of each reconstruction: is it more like its original than like every other? Ties lose."""
    n, won = len(of_truth), 0
    for j in range(n):
        right = np.corrcoef(of_truth[j], of_draw[j])[0, 1]
        won += sum(np.corrcoef(of_truth[i], of_draw[j])[0, 1] < right for i in range(n) if i != j)
    return won / (n * (n - 1))


def test_takagi2023_is_its_definition(truth, made):
    found = scores_of("takagi2023", truth, made)
    of_truth = features_of("takagi2023", truth)
    of_samples = [features_of("takagi2023", made[:, sample]) for sample in range(N_SAMPLES)]
    expected = {
        ("identification", *key, "original"): original_fixed(of_truth[key], [sample[key] for sample in of_samples])
        for key in of_truth
    }
    assert found == pytest.approx(expected)
    assert len(found) == 7
    assert len(set(found.values())) > 1


@pytest.mark.parametrize("name", ["braindiffuser2023", "mindeye2"])
def test_the_eight_metrics_are_their_definitions_of_each_draw_alone(name, truth, made):
    of_truth = features_of(name, truth)
    expected = {}
    for sample in (features_of(name, made[:, k]) for k in range(N_SAMPLES)):
        for key in of_truth:
            if key[0] in ("efficientnet", "swav"):
                score = np.mean([distance(a, b) for a, b in zip(of_truth[key], sample[key], strict=True)])
                where = ("distance", *key, "")
            else:
                score, where = (
                    reconstruction_fixed(of_truth[key], sample[key]),
                    ("identification", *key, "reconstruction"),
                )
            expected[where] = expected.get(where, 0) + score / N_SAMPLES
    expected |= pixel_scores(name, truth, made)
    found = scores_of(name, truth, made)
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(found) == 8


def pixel_scores(name, truth, made):
    from skimage.color import rgb2gray
    from skimage.metrics import structural_similarity

    def large(image):
        if name == "mindeye2":
            return by_torch(image, 425)[0].permute(1, 2, 0).numpy()
        return np.asarray(Image.fromarray(image).resize((425, 425), Image.Resampling.BICUBIC)) / 255.0

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    pixcorr, ssim = [], []
    for i in range(N):
        for sample in range(N_SAMPLES):
            a, b = large(truth[i]), large(made[i, sample])
            pixcorr.append(np.corrcoef(a.ravel(), b.ravel())[0, 1])
            a, b = rgb2gray(a), rgb2gray(b)
            # the environment of Brain-Diffuser takes the columns of a grey image for colours
            axis = -1 if name == "braindiffuser2023" else None
            ssim.append(structural_similarity(a, b, channel_axis=axis, **options))
    return {("pixcorr", "", "", ""): np.mean(pixcorr), ("ssim", "", "", ""): np.mean(ssim)}


# ------------------------------------------------------------------------------------------------ what is promised


@pytest.mark.parametrize(
    ("name", "directions", "ties", "samples"),
    [
        ("builtin", ("original", "reconstruction"), "half", "mean_r"),
        ("takagi2023", ("original",), "lose", "mean_r"),
        ("braindiffuser2023", ("reconstruction",), "lose", "each"),
        ("mindeye2", ("reconstruction",), "lose", "each"),
    ],
)
def test_a_protocol_says_its_direction_its_ties_and_what_becomes_of_samples(name, directions, ties, samples):
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert (protocol.directions, protocol.ties, protocol.samples) == (directions, ties, samples)


def test_every_network_of_a_protocol_is_known_and_used_once():
    for protocol in PROTOCOLS.values():
        assert {network.architecture for network in protocol.networks} <= set(NETWORKS)
        assert len({network.network for network in protocol.networks}) == len(protocol.networks)


@pytest.mark.parametrize("name", RELEASED)
def test_a_perfect_image_scores_one(name, truth):
    for (metric, *_), value in scores_of(name, truth, truth[:, None]).items():
        assert value == pytest.approx(0 if metric == "distance" else 1, abs=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("takagi2023", 0.0), ("braindiffuser2023", 0.5), ("mindeye2", 0.5)])
def test_a_constant_image_loses_every_tie_where_the_original_is_fixed(name, expected, truth, made):
    constant = np.broadcast_to(made[:1], made.shape)
    found = scores_of(name, truth, constant)
    assert {value for (metric, *_), value in found.items() if metric == "identification"} == {expected}


def test_of_an_image_that_is_not_square_the_middle_is_seen():
    image = np.random.default_rng(2).integers(0, 256, (1, 301, 204, 3), dtype=np.uint8)
    for shape, top in (("crop", 36), ("crop_down", 35)):  # 71 rows to spare: torchvision rounds, transformers cuts
        seen = prepare(image, Input(150, "pil", "bilinear", shape))
        whole = np.asarray(Image.fromarray(image[0]).resize((150, 221), Image.Resampling.BILINEAR))
        assert np.array_equal(seen[0], whole[top : top + 150])


def test_clip_is_given_what_transformers_own_processor_gives():
    from transformers.models import clip

    processor = getattr(clip, "CLIPImageProcessorPil", None) or clip.CLIPImageProcessor
    given = PROTOCOLS["takagi2023"].networks[-1].given
    for side in ((425, 425), (100, 137), (230, 224)):
        image = np.random.default_rng(3).integers(0, 256, (1, *side, 3), dtype=np.uint8)
        expected = processor()(images=list(image), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(as_tensor(prepare(image, given), given), expected)


@pytest.fixture(scope="module")
def torchvision():
    try:
        return import_torchvision()
    except ImportError as error:
        if os.environ.get("RESEEN_TORCHVISION") == "required":
            pytest.fail(f"torchvision is required, and cannot be imported: {error}")
        pytest.skip(f"{error}; to install it: {torchvision_command()}")


def test_transforms_are_torchvisions_own(torchvision):
    transforms = torchvision.transforms
    given = PROTOCOLS["takagi2023"].networks[0].given
    chain = transforms.Compose(
        [transforms.Resize(299), transforms.CenterCrop(299), transforms.ToTensor(), transforms.Normalize(*given.normal)]
    )
    image = np.random.default_rng(4).integers(0, 256, (1, 425, 380, 3), dtype=np.uint8)
    torch.testing.assert_close(as_tensor(prepare(image, given), given)[0], chain(Image.fromarray(image[0])))
    first, large = PROTOCOLS["mindeye2"].first, PROTOCOLS["mindeye2"].pixels
    tensor = transforms.Resize((256, 256), antialias=False)(torch.from_numpy(image).permute(0, 3, 1, 2) / 255)
    expected = transforms.Resize(425, antialias=False)(tensor).permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.from_numpy(prepare(prepare(image, first), large)), expected)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("alexnet", "AlexNet_Weights.IMAGENET1K_V1"),
        ("inception_v3", "Inception_V3_Weights.IMAGENET1K_V1"),
        ("efficientnet_b1_v1", "EfficientNet_B1_Weights.IMAGENET1K_V1"),
        ("efficientnet_b1_v2", "EfficientNet_B1_Weights.IMAGENET1K_V2"),
    ],
)
def test_the_addresses_of_the_weights_are_torchvisions_own(torchvision, name, weights):
    assert NETWORKS[name].weights == torchvision.models.get_weight(weights).url


UNITS = {
    ("takagi2023", "inception"): [2048],
    ("takagi2023", "alexnet"): [192 * 17 * 17, 256 * 8 * 8, 4096],
    ("braindiffuser2023", "alexnet"): [192 * 27 * 27, 256 * 13 * 13],
    ("braindiffuser2023", "inception"): [2048],
    ("braindiffuser2023", "efficientnet"): [1280],
    ("braindiffuser2023", "swav"): [2048],
    ("mindeye2", "alexnet"): [192 * 31 * 31, 256 * 15 * 15],
    ("mindeye2", "inception"): [2048],
    ("mindeye2", "efficientnet"): [1280],
    ("mindeye2", "swav"): [2048],
}


@pytest.mark.parametrize(("name", "network"), UNITS)
def test_the_modules_are_those_of_torchvisions_networks(torchvision, name, network):
    used = next(used for used in PROTOCOLS[name].networks if used.network == network)
    known = NETWORKS[used.architecture]
    built = torchvision.models.get_model(known.model, weights=None, **dict(known.options)).eval()
    image = np.random.default_rng(5).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    found = PretrainedNetwork(network, "random", built, used.layers, used.given).activations(image)
    assert [part.shape[1] for part in found.values()] == UNITS[name, network]


@pytest.mark.parametrize("name", RELEASED)
def test_with_trained_weights_a_perfect_image_scores_one(name, truth):
    panel, missing = load_panel(PROTOCOLS[name])
    if missing:
        pytest.skip(missing[0])
    table = evaluate("s", truth, np.arange(len(truth)), {("result", "zc"): truth[:, None]}, [panel], {}, RECIPE, 0)
    found = table[(table["level"] == "result") & (table["metric"] == "identification")]
    assert set(found["value"]) == {1.0}
