"""The model card and the data card have the numbers of the files, the tools and the recipe that they describe."""

import json
import math
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from reseen.recipe import SimulateRecipe
from reseen.simulate.anatomy import N_VOXELS
from reseen.simulate.scenes import BACKGROUNDS, COLOURS, KINDS

ROOT = Path(__file__).resolve().parents[1]
MODEL, DATA = ((ROOT / f"docs/{name}_card.md").read_text(encoding="utf-8") for name in ("model", "data"))
BUILTIN, NETWORKS = ROOT / "src/reseen/ldm/builtin", ROOT / "src/reseen/network_weights"
WEIGHTS = {
    "vae": (BUILTIN / "vae/diffusion_pytorch_model.safetensors", "autoencoder"),
    "text_encoder": (BUILTIN / "text_encoder/model.safetensors", "text_encoder"),
    "unet": (BUILTIN / "unet/diffusion_pytorch_model.safetensors", "unet"),
    "image_adapter": (BUILTIN / "image_adapter/image_adapter.safetensors", "train_image_adapter"),
    "classifier": (NETWORKS / "classifier.safetensors", "classifier"),
    "image_encoder": (NETWORKS / "image_encoder.safetensors", "text_encoder"),
}
ROWS = {
    row[0].strip("` "): [cell.strip() for cell in row[1:]]
    for row in (line.strip("|").split("|") for line in MODEL.splitlines() if line.startswith("| `"))
}


def n_parameters(path):
    """Count the numbers of all tensors of half precision; a count of batches is an integer and no parameter."""
    with safe_open(path, "numpy") as file:
        shapes = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 (no mapping)
        return sum(math.prod(part.get_shape()) for part in shapes if part.get_dtype() == "F16")


def test_the_model_card_lists_every_file_of_weights():
    found = {path for folder in (BUILTIN, NETWORKS) for path in folder.rglob("*.safetensors")}
    assert found == {path for path, _ in WEIGHTS.values()}
    assert set(ROWS) == set(WEIGHTS)


@pytest.mark.parametrize("part", WEIGHTS)
def test_parameters_and_seeds_are_those_of_the_files_and_the_tools(part):
    path, tool = WEIGHTS[part]
    _, parameters, _, seed = ROWS[part]
    assert int(parameters.replace(",", "")) == n_parameters(path)
    text = (ROOT / f"tools/{tool}.py").read_text(encoding="utf-8")
    seeds = re.findall(r"(?:manual_seed\(|^SEED = )(\d+)", text, re.MULTILINE)
    assert seed.split(";")[0] in seeds


def test_the_adapter_and_the_labels_are_those_of_the_files_beside_the_weights():
    adapter = json.loads((BUILTIN / "image_adapter/image_adapter.json").read_text())
    assert ROWS["image_adapter"][2] == f"{adapter['n_images']:,}, seed 100"
    assert ROWS["image_adapter"][3] == str(adapter["seed"])
    labels = json.loads((NETWORKS / "classifier.json").read_text())["labels"]
    assert f"{len(labels)} labels" in ROWS["classifier"][0]
    for page in (MODEL, DATA):
        text = " ".join(page.split())
        assert f"{len(BACKGROUNDS)} backgrounds, {len(KINDS)} object categories" in text
        assert f"{len(COLOURS)} colours" in text


def test_figures_of_quality_are_those_of_the_log():
    log = (ROOT / "docs/log.md").read_text(encoding="utf-8")
    quality = MODEL[MODEL.index("## Quality") :]
    figures = re.findall(r"\d*\.\d{2,3}\b", quality)
    assert len(figures) > 15
    assert [figure for figure in figures if figure not in log] == []


def test_the_data_card_has_the_defaults_of_the_recipe():
    section = SimulateRecipe()
    shown = {
        "n_subjects": f"| {section.n_subjects} (",
        "n_sessions": f"| {section.n_sessions} of {section.trials_per_session} trials",
        "n_train": f"| {section.n_train}, of the subject's own",
        "n_test": f"| {section.n_test}, shared",
        "seed": f"| {section.seed} (`seed`)",
        "voxel_fraction": f"| {sum(N_VOXELS.values()):,} in seven streams, of which {N_VOXELS['early']} early "
        f"and {N_VOXELS['ventral']} ventral",
    }
    assert [name for name, words in shown.items() if words not in DATA or f"`{name}`" not in DATA] == []
    assert len(N_VOXELS) == 7
