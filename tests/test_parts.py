"""Parts of a model: whole or refused, whatever the library that loads them does about it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from reseen.errors import ModelError
from reseen.ldm import load_model


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.mark.parametrize("lost", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_tokenizer_that_lacks_a_file_is_refused(model, lost):
    (model / "tokenizer" / lost).unlink()
    with pytest.raises(ModelError, match=rf"tokenizer lacks .*{lost}"):
        load_model(str(model))


def test_a_tokenizer_of_another_model_is_refused(model):
    file = model / "tokenizer" / "vocab.json"
    words = json.loads(file.read_text())
    file.write_text(json.dumps({word: number for word, number in words.items() if number != 3}))
    with pytest.raises(ModelError, match=r"the tokenizer of .* (has \d+ entries, and the text encoder \d+|cannot be)"):
        load_model(str(model))


def test_a_tokenizer_without_its_merges_is_refused(tmp_path):
    from reseen.ldm import BUILTIN

    model = shutil.copytree(BUILTIN, tmp_path / "model")
    (model / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ModelError, match="merges and vocabulary differ in 281 entries"):
        load_model(str(model))


def test_a_vocabulary_that_numbers_its_words_up_to_a_large_number_is_refused(model):
    """tokenizers allocates an entry for each number up to the highest, and aborts the process where it cannot."""
    file = model / "tokenizer" / "vocab.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "a": 4_000_000_000}))
    with pytest.raises(ModelError, match=r"vocab.json numbers \d+ words up to 4,000,000,000: it is damaged"):
        load_model(str(model))


@pytest.mark.parametrize("length", ["many", 0, -1])
def test_a_tokenizer_whose_longest_caption_is_no_number_is_refused(model, length):
    file = model / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": length}))
    with pytest.raises(ModelError, match=r"model_max_length|cannot be"):
        load_model(str(model))


@pytest.mark.parametrize("change", [-1, 10**9])
def test_weights_of_another_length_than_their_header_says_are_refused_unread(model, change):
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    os.truncate(file, file.stat().st_size + change)
    with pytest.raises(ModelError, match=r"its header declares [\d,]+ bytes"):
        load_model(str(model))


DAMAGED = ["tokenizer/vocab.json", "tokenizer/tokenizer_config.json", "unet/config.json", "vae/config.json"]
DAMAGED += ["text_encoder/config.json", "scheduler/scheduler_config.json"]


@pytest.mark.parametrize("file", DAMAGED)
@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"[" * 100_000, b"\xff\xfe{}", b'{"a": NaN', b"version https://git-lfs"]
)
def test_damaged_settings_are_a_model_error(model, file, content):
    (model / file).write_bytes(content)
    with pytest.raises(ModelError):
        load_model(str(model))


VALUES = [
    ("unet", "sample_size", "8"),
    ("unet", "sample_size", [8, 16]),
    ("unet", "sample_size", 0),
    ("unet", "cross_attention_dim", None),
    ("unet", "block_out_channels", {"a": 1}),
    ("unet", "block_out_channels", [16, -32]),
    ("unet", "time_cond_proj_dim", 8),
    ("vae", "scaling_factor", "large"),
    ("vae", "scaling_factor", 0),
    ("vae", "scaling_factor", None),
    ("vae", "shift_factor", "far"),
    ("vae", "latent_channels", 5),
    ("text_encoder", "hidden_size", "32"),
    ("text_encoder", "max_position_embeddings", 1.5),
    ("text_encoder", "num_attention_heads", 0),
]


@pytest.mark.parametrize(("part", "name", "value"), VALUES)
def test_settings_of_another_type_or_size_are_a_model_error(model, part, name, value):
    file = model / part / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(ModelError):
        load_model(str(model))


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(model):
    for name in ("unet/config.json", "tokenizer/vocab.json", "vae/diffusion_pytorch_model.safetensors"):
        file = model / name
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(ModelError, match="is a pipe"):
            load_model(str(model))
        file.unlink()
        file.write_bytes(content)


def test_half_precision_alone_and_pickles_are_said_to_be_so(model):
    file = model / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    with pytest.raises(ModelError, match="has only half-precision weights"):
        load_model(str(model))
    file.with_name("diffusion_pytorch_model.fp16.safetensors").rename(file.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(ModelError, match=r"its \.bin files are pickles, which reseen does not read"):
        load_model(str(model))


def test_a_compiler_is_asked_for_before_hours_of_work(model, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ModelError, match=r"model.compiled needs a compiler"):
        load_model(str(model), compiled=True)
