"""A torchvision of every kind: absent, whole, built for CUDA beside a torch for CPUs, or of another torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reseen.imports import hide_broken_torchvision, import_torchvision, torchvision_command

WITHOUT_OPERATORS = """
import torch
for name in ("nms", "qnms"):
    @torch.library.register_fake(f"torchvision::{name}")
    def _(dets, scores, iou_threshold):
        raise NotImplementedError
models = "networks"
"""  # what torchvision's own package does at its import
OF_ANOTHER_TORCH = "raise OSError('undefined symbol: _ZN3c10')"


def python(tmp_path: Path, code: str, torchvision: str | None) -> str:
    """Run code in a process of its own, where another torchvision comes first."""
    if torchvision is not None:
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision/__init__.py").write_text(torchvision)
    setting = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    run = subprocess.run([sys.executable, "-W", "error", "-c", setting + code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_torchvision_built_for_cuda_is_imported_beside_a_torch_for_cpus(tmp_path: Path) -> None:
    found = python(
        tmp_path,
        """
from reseen.imports import hide_broken_torchvision, import_torchvision
hide_broken_torchvision()
import torchvision
assert import_torchvision() is torchvision
print(torchvision.models, torchvision.__file__)
""",
        WITHOUT_OPERATORS,
    )
    assert found.split() == ["networks", str(tmp_path / "torchvision/__init__.py")]


def test_a_torchvision_that_cannot_be_imported_is_hidden_from_transformers_and_the_built_in_model_loads(
    tmp_path: Path,
) -> None:
    found = python(
        tmp_path,
        """
import reseen
model = reseen.load_model("builtin")
from transformers.utils import is_torchvision_available
print(model.image_size, is_torchvision_available())
from reseen.imports import import_torchvision
try:
    import_torchvision()
except ImportError as error:
    print(error)
""",
        OF_ANOTHER_TORCH,
    )
    assert found.splitlines()[0] == "64 False" or found.splitlines()[0].endswith(" False")


def test_an_absent_torchvision_is_an_import_error_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    hide_broken_torchvision()
    with pytest.raises(ImportError, match="torchvision"):
        import_torchvision()


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("2.13.0+cpu", "pip install --no-deps 'torchvision==0.28.*'"),
        ("2.5.1", "pip install --no-deps 'torchvision==0.20.*'"),
        ("2.14.0a0+git1", "pip install --no-deps 'torchvision==0.29.*'"),
        ("3.0.0", "pip install --no-deps torchvision"),
    ],
)
def test_the_command_installs_the_torchvision_of_the_installed_torch_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, version: str, command: str
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    assert torchvision_command() == command
