"""Train text and image encoder against each other: ``python tools/text_encoder.py WORK --steps N``.

Writes WORK/builtin/{tokenizer,text_encoder} and the evaluation network image_encoder; prints retrieval accuracy.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from reseen.imports import hide_broken_torchvision

hide_broken_torchvision()  # before diffusers and transformers import it by themselves

from classifier import save  # noqa: E402
from loop import train  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402

from reseen.networks import as_input, make_network  # noqa: E402

BATCH = 128
N_TOKENS, DIM = 24, 128


def write_tokenizer(captions: list[list[str]], folder: Path) -> CLIPTokenizer:
    """Write a byte-pair tokenizer in which every word of the captions is one token."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    trainer = trainers.BpeTrainer(
        vocab_size=1200, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator((caption for five in captions for caption in five), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    words = list(learnt["vocab"]) + [f"{a}</w>" for a in letters if f"{a}</w>" not in learnt["vocab"]]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in learnt["merges"]))
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": N_TOKENS,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return CLIPTokenizer.from_pretrained(folder)


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Make the untrained text encoder."""
    n_words = len(tokenizer)
    torch.manual_seed(2)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=n_words,
            hidden_size=DIM,
            intermediate_size=4 * DIM,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=N_TOKENS,
            projection_dim=DIM,
            bos_token_id=n_words - 2,
            eos_token_id=n_words - 1,
            pad_token_id=n_words - 1,
        )
    )


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Give token ids padded to full length, (n, 24)."""
    return tokenizer(
        captions, padding="max_length", max_length=N_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids


class Pair(torch.nn.Module):
    """Hold both encoders; text is read as the mean of all its token states, padding included."""

    def __init__(self, text: CLIPTextModel) -> None:
        super().__init__()
        self.text = text
        self.image = make_network(DIM)
        self.project = torch.nn.Linear(DIM, DIM, bias=False)
        self.log_scale = torch.nn.Parameter(torch.tensor(2.5))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Give one vector for each text, (n, 128)."""
        return self.text(ids).last_hidden_state.mean(dim=1)

    def similarity(self, text: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Give the scaled cosine of every text with every image, (n_texts, n_images)."""
        a = torch.nn.functional.normalize(self.project(text), dim=1)
        b = torch.nn.functional.normalize(self.image(x)["output"], dim=1)
        return a @ b.T * self.log_scale.exp().clamp(max=50)


def main(work: Path, steps: int) -> None:
    """Train, write and measure."""
    images = np.load(work / "world/images.npy", mmap_mode="r")
    captions = json.loads((work / "world/captions.json").read_text())
    tokenizer = write_tokenizer(captions, work / "builtin/tokenizer")
    ids = torch.stack([token_ids(tokenizer, [five[k] for five in captions]) for k in range(5)], dim=1)
    pair = Pair(make_text_encoder(tokenizer)).train()

    def loss(step: int) -> torch.Tensor:
        rng = np.random.default_rng((2, step))
        rows = np.sort(rng.choice(len(images), BATCH, replace=False))
        several = 2 if step % 2 else 1
        chosen = ids[rows][:, rng.choice(5, several, replace=False)]
        with torch.autocast("cpu", torch.bfloat16):
            text = pair.embed(chosen.flatten(0, 1)).float().unflatten(0, (BATCH, several)).mean(dim=1)
            logits = pair.similarity(text, as_input(images[rows])).float()
        target = torch.arange(BATCH)
        return (
            torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
        ) / 2

    train(pair, loss, checkpoint=work / "text_encoder.pt", n_steps=steps, learning_rate=1.5e-3, decay=0.99, seed=2)
    save(pair.image, work / "network_weights", "image_encoder", ())
    with torch.inference_mode():
        for name in ("check", "novel"):
            held_out = json.loads((work / name / "captions.json").read_text())[:500]
            images = np.load(work / name / "images.npy")[:500]
            text = torch.stack([pair.embed(token_ids(tokenizer, five)).mean(dim=0) for five in held_out])
            best = pair.similarity(text, as_input(images)).argmax(dim=1)
            print(name, f"image of five captions found among 500: {(best == torch.arange(500)).float().mean():.3f}")
    pair.text.half().save_pretrained(work / "builtin/text_encoder", safe_serialization=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    main(**vars(parser.parse_args()))
