"""The whole method in a few lines: brain arrays in, pictures out. Usage: pipeline.py RECIPE DATA [FOLDER]."""

import sys
from pathlib import Path

from PIL import Image

from reseen import decode, extract, load_data, load_ldm, load_recipe, reconstruct

recipe = load_recipe(sys.argv[1])
data = recipe.data.model_copy(update={"path": Path(sys.argv[2])}) if len(sys.argv) > 2 else recipe.data
folder = Path(sys.argv[3] if len(sys.argv) > 3 else "out/example")
folder.mkdir(parents=True, exist_ok=True)

trials, stimuli, split = load_data(data, data.subjects[0])  # betas (n_trials, n_voxels), pictures, who tests
ldm = load_ldm(recipe.model.name)
true = extract.extract(stimuli, stimuli.stimulus_id, ldm, recipe=recipe.extract)  # z and c of every picture
rois = {"z": recipe.decode.z_rois, "c": recipe.decode.c_rois}
decoded = {
    name: decode.decode(trials, split, true[name], rois=rois[name], recipe=recipe.decode, seed=recipe.seed)[1]
    for name in ("z", "c")
}


def save(item, draw, picture):
    Image.fromarray(picture).save(folder / f"{decoded['z'].stimulus_id[item]:05d}_{draw}.png")


who = {"seed": recipe.seed, "subject": trials.subject}
reconstruct.reconstruct(ldm, "zc", decoded["z"], decoded["c"], recipe=recipe.reconstruct, write=save, **who)
