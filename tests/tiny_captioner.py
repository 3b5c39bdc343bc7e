"""Write small captioners with random weights: the classes of transformers, for images of 32 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reseen.imports import hide_broken_torchvision
from reseen.ldm.captioner import WRITING

WORDS = (
    *WRITING["blip"].prompt.split(),
    "red",
    "blue",
    "cat",
    "dog",
    "house",
    "on",
    "the",
    "sea",
    "and",
    "small",
    "two",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BEGIN = len(SPECIAL) + len(WORDS)
"""Number of BLIP's own first token, which follows the words of the tokenizer."""


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer of BERT with a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_blip(folder: Path, *, seed: int = 0) -> Any:
    """Write a small BLIP, 4 x 4 patches of 8 pixels, and return it."""
    hide_broken_torchvision()
    import torch
    from transformers import BlipConfig, BlipForConditionalGeneration

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = {"vocab_size": BEGIN + 2, "encoder_hidden_size": 16, "max_position_embeddings": 64, "projection_dim": 16}
    numbers = {"bos_token_id": BEGIN, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}
    config = BlipConfig(
        text_config={**sizes, **words, **numbers, "is_decoder": True},
        vision_config={**sizes, "image_size": 32, "patch_size": 8, "projection_dim": 16},
    )
    return _write(BlipForConditionalGeneration(config), folder)


def write_git(folder: Path, *, seed: int = 0) -> Any:
    """Write a small GIT, 4 x 4 patches of 8 pixels, and return it."""
    hide_broken_torchvision()
    import torch
    from transformers import GitConfig, GitForCausalLM

    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GitConfig(
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        vocab_size=BEGIN,
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        **sizes,
    )
    return _write(GitForCausalLM(config), folder)


def _write(network: Any, folder: Path) -> Any:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # so that different images have different captions
    network = network.eval()
    network.save_pretrained(folder)
    write_tokenizer(folder)
    return network
