"""The commands of the decision table in docs/own_data.md read true-shaped samples of each layout."""

import os
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from reseen.cli import app
from reseen.recipe import DataKind

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = Path(os.environ.get("RESEEN_SAMPLES", ROOT.parent / "shared" / "samples"))
PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
TABLE = PAGE[: PAGE.index("## Trial tables")]
COMMANDS = [shlex.split(found)[1:] for found in re.findall(r"`(reseen check own_data [^`]*)`", TABLE)]
ELSEWHERE = {"my_data.npz": "brain_file", "my_study": "trial_table"}
"""Fixtures for the commands that need no sample."""
WITHOUT_SAMPLE = {"mindeyev2"}  # its files have 24 GB; tests/test_lab_public.py writes them in miniature
WITHOUT_CAPTIONS = {"algonauts2023"}


def folder_of(words: list[str]) -> str:
    return words[words.index("--data") + 1]


def run(words: list[str], tmp_path: Path, *, captions: bool) -> None:
    settings = ["data.test=folds", "data.n_folds=4", "decode.n_folds=2", "encode.n_folds=2"]
    if not captions:
        settings += ['reconstruct.conditions=["z"]', 'encode.features=["z"]']
    extra = [word for setting in settings for word in ("--set", setting)]
    extra += ["--model", "builtin", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, *extra])
    assert result.exit_code == 0, result.output or result.exception
    assert "own_data can run." in result.output


def test_the_table_has_a_command_for_every_kind():
    kinds = {word.removeprefix("data.kind=") for words in COMMANDS for word in words if word.startswith("data.kind=")}
    assert kinds == set(get_args(DataKind)) - {"nsd", "simulated", "arrays"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", [words for words in COMMANDS if folder_of(words) in ELSEWHERE], ids=folder_of)
def test_a_command_without_a_sample_reads_the_same_layout(words, request, tmp_path):
    own = str(request.getfixturevalue(ELSEWHERE[folder_of(words)]))
    # the captions of the fixtures, such as "image 3", are alike for the built-in text encoder
    run([own if word == folder_of(words) else word for word in words], tmp_path, captions=False)


SAMPLED = [words for words in COMMANDS if folder_of(words) not in {*ELSEWHERE, *WITHOUT_SAMPLE}]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not next to the repository")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("words", SAMPLED, ids=folder_of)
def test_the_command_of_a_layout_reads_its_sample(words, tmp_path, monkeypatch):
    monkeypatch.chdir(SAMPLES)
    run(words, tmp_path, captions=folder_of(words) not in WITHOUT_CAPTIONS)
