"""Run the whole method in a few lines: fMRI responses in, reconstructed images out.

Usage: pipeline.py RECIPE [DATA] [FOLDER]. RECIPE is a file or a name such as demo; FOLDER is out/example if left out.
"""

import sys
from pathlib import Path

from PIL import Image

from reseen import decode, extract, load_data, load_ldm, load_recipe, reconstruct

if not 2 <= len(sys.argv) <= 4 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
recipe = load_recipe(sys.argv[1], {"data.path": Path(sys.argv[2]).resolve()} if len(sys.argv) > 2 else {})
folder, subject = Path(sys.argv[3] if len(sys.argv) > 3 else "out/example"), recipe.data.subjects[0]
folder.mkdir(parents=True, exist_ok=True)
trials, stimuli, split = load_data(recipe.data, subject)  # betas (n_trials, n_voxels), images, test set
ldm = load_ldm(recipe.model.name, revision=recipe.model.revision)
true = extract.extract(stimuli, stimuli.stimulus_id, ldm, recipe=recipe.extract)  # z and c of every image
how, seed, decoded = recipe.decode, recipe.seed, {}
for name in ("z", "c"):
    _, decoded[name] = decode.decode(trials, split, true[name], rois=how.rois_of(name), recipe=how, seed=seed)


def save(item, draw, picture):
    Image.fromarray(picture).save(folder / f"{decoded['z'].stimulus_id[item]:05d}_{draw}.png")


reconstruct.reconstruct(ldm, "zc", **decoded, recipe=recipe.reconstruct, seed=seed, subject=subject, write=save)
