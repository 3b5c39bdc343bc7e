"""Captions from hidden states: equal to those that BLIP and GIT of transformers write from the image."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fields import raises_with
from numpy.typing import NDArray
from tiny_captioner import write_blip, write_git

from reseen.errors import ModelError, ShapeError
from reseen.ldm.captioner import CAPTIONER_FILES, EMPTY, WRITING, Captioner, load_captioner

WRITE = {"blip": write_blip, "git": write_git}
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
CLIP_SD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["blip", "git"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Captioner]:
    """Return the network of transformers and the captioner that was loaded from its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    network = WRITE[request.param](folder)
    return network, load_captioner(folder)


def usual(network: Any, captioner: Captioner, images: NDArray[np.uint8], **options: Any) -> list[str]:
    """Return the captions of the usual route of transformers, from the pixels."""
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - CLIP_MEAN) / CLIP_SD
    writing = WRITING[captioner.kind]
    if captioner.kind == "blip":
        options["input_ids"] = torch.tensor([captioner.tokenizer(writing.prompt)["input_ids"]] * len(images))
    numbers = network.generate(pixel_values=pixels, **writing.settings, **options)
    texts = captioner.tokenizer.batch_decode(numbers, skip_special_tokens=True)
    return [text.removeprefix(writing.prompt.strip()).strip() or EMPTY for text in texts]


@pytest.mark.filterwarnings("ignore:.* wrote no word")
def test_captions_of_states_equal_the_usual_ones(loaded: tuple[Any, Captioner], images: NDArray[np.uint8]) -> None:
    network, captioner = loaded
    states = captioner.image_to_states(images)
    assert states.shape == (20, *captioner.shape) == (20, 17, 16)
    captions = captioner.states_to_captions(states)
    assert captions == usual(network, captioner, images)
    assert len(set(captions)) > 1
    assert captions == captioner.states_to_captions(states)
    assert captions == [captioner.states_to_captions(states[[item]])[0] for item in range(len(states))]


def test_images_are_resized_as_in_training(loaded: tuple[Any, Captioner], images: NDArray[np.uint8]) -> None:
    _, captioner = loaded
    wide = np.concatenate([images, images[:, :, ::-1]], axis=2)  # 32 x 64 pixels
    states = captioner.image_to_states(wide)
    centre = captioner.image_to_states(np.ascontiguousarray(wide[:, :, 16:48]))
    assert np.allclose(states, centre) == (captioner.kind == "git")  # BLIP reads the image in another shape


@pytest.mark.filterwarnings("ignore:.* wrote no word")
def test_a_smaller_image_keeps_the_places_of_its_states(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    network = write_blip(tmp_path)
    captioner = load_captioner(tmp_path, side=16)
    assert captioner.shape == (5, 16)
    assert captioner.fingerprint != load_captioner(tmp_path).fingerprint
    small = np.ascontiguousarray(images[:, 8:24, 8:24])
    captions = captioner.states_to_captions(captioner.image_to_states(small))
    assert captions == usual(network, captioner, small, interpolate_pos_encoding=True)
    # transformers accepts the smaller image without the flag, and gives its states the codes of the first five places
    pixels = (torch.from_numpy(small).permute(0, 3, 1, 2).float() / 255 - CLIP_MEAN) / CLIP_SD
    with torch.no_grad():
        misplaced = network.vision_model(pixels).last_hidden_state.numpy()
        right = network.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state.numpy()
    assert misplaced.shape == right.shape
    assert np.abs(misplaced - right).max() > 0.1
    np.testing.assert_allclose(captioner.image_to_states(small), right, atol=1e-5)


def test_no_caption_is_empty(tmp_path: Path) -> None:
    network = write_git(tmp_path)
    with torch.no_grad():  # the end of the caption is always the most probable word
        network.output.weight.zero_()
        network.output.bias.zero_()
        network.output.bias[3] = 9
    network.save_pretrained(tmp_path)
    captioner = load_captioner(tmp_path)
    with pytest.warns(UserWarning, match="wrote no word for 3 of 3 images"):
        captions = captioner.states_to_captions(np.ones((3, *captioner.shape), dtype=np.float32))
    assert captions == [EMPTY] * 3


def test_states_of_another_shape_or_without_numbers_are_refused(loaded: tuple[Any, Captioner]) -> None:
    _, captioner = loaded
    with raises_with(ShapeError, where="states", expected=("n", 17, 16), found=(2, 16, 16)):
        captioner.states_to_captions(np.zeros((2, 16, 16), dtype=np.float32))
    with raises_with(ShapeError, where="states"):
        captioner.states_to_captions(np.full((2, 17, 16), np.nan, dtype=np.float32))


def test_settings_of_another_writing_next_to_the_weights_change_nothing(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    write_git(tmp_path)
    captioner = load_captioner(tmp_path)
    states = captioner.image_to_states(images)
    captions = captioner.states_to_captions(states)
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps({**settings, "no_repeat_ngram_size": 1}))
    assert load_captioner(tmp_path).states_to_captions(states) == captions


def test_a_captioner_is_read_from_the_cache_of_the_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    commit, cache = "a" * 40, tmp_path / "models--someone--captioner"
    write_git(tmp_path / "blobs")
    snapshot = cache / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in CAPTIONER_FILES:  # the cache has links to its files
        (snapshot / file).symlink_to(tmp_path / "blobs" / file)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    expected = load_captioner(tmp_path / "blobs")
    for found in (load_captioner("someone/captioner"), load_captioner("someone/captioner", revision=commit)):
        assert found.fingerprint == expected.fingerprint
        np.testing.assert_array_equal(found.image_to_states(images[:2]), expected.image_to_states(images[:2]))


def test_a_captioner_that_is_missing_names_the_command_that_downloads_it(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    command = "hf download someone/captioner --revision abc config.json model.safetensors tokenizer.json"
    with pytest.raises(ModelError, match=command):
        load_captioner("someone/captioner", revision="abc")
    with raises_with(ModelError, where=str(tmp_path / "no folder")):
        load_captioner(tmp_path / "no folder")


def test_damaged_or_other_models_are_refused(tmp_path: Path) -> None:
    write_blip(tmp_path)
    settings, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    for side in (12, 0, 4):
        with raises_with(ModelError, where="side", expected=32, found=side):
            load_captioner(tmp_path, side=side)
    known = settings.read_text()
    settings.write_text(json.dumps({**json.loads(known), "model_type": "vit"}))
    with raises_with(ModelError, where=settings, found="vit"):
        load_captioner(tmp_path)
    settings.write_text(known)
    for file in CAPTIONER_FILES:
        kept = (tmp_path / file).read_bytes()
        (tmp_path / file).unlink()
        with raises_with(ModelError, where=tmp_path / file):
            load_captioner(tmp_path)
        (tmp_path / file).write_bytes(kept)
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with raises_with(ModelError, where=weights):
        load_captioner(tmp_path)
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="pickles"):
        load_captioner(tmp_path)


def test_weights_and_words_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_git(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    name = next(key for key in tensors if key.endswith("visual_projection.visual_projection.0.weight"))
    save_file({**tensors, name: torch.full_like(tensors[name], torch.nan)}, weights, metadata={"format": "pt"})
    with raises_with(ModelError, found=[name]):
        load_captioner(tmp_path)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, weights, metadata={"format": "pt"})
    with raises_with(ModelError, expected=[name]):
        load_captioner(tmp_path)
    save_file(tensors, weights, metadata={"format": "pt"})
    with raises_with(ModelError, where="side", expected=32, found=16):
        load_captioner(tmp_path, side=16)
    words = tmp_path / "tokenizer.json"
    known = json.loads(words.read_text())
    known["model"]["vocab"]["more"] = max(known["model"]["vocab"].values()) + 1
    words.write_text(json.dumps(known))
    with warnings.catch_warnings(), raises_with(ModelError, where=tmp_path):
        warnings.simplefilter("ignore")
        load_captioner(tmp_path)
