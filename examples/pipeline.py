"""Run the whole method in a few lines: fMRI responses in, reconstructed images out.

Usage: pipeline.py RECIPE [DATA] [FOLDER]. RECIPE is a file or a name such as demo; FOLDER is out/example if left out.
"""

import sys
from pathlib import Path

from PIL import Image

import reseen

if not 2 <= len(sys.argv) <= 4 or sys.argv[1].startswith("-"):
    sys.exit(__doc__)
recipe = reseen.load_recipe(sys.argv[1], {"data.path": Path(sys.argv[2]).resolve()} if len(sys.argv) > 2 else {})
folder, name = Path(sys.argv[3] if len(sys.argv) > 3 else "out/example"), recipe.data.subjects[0]
folder.mkdir(parents=True, exist_ok=True)
subject = reseen.open_subject(recipe.data, name)
model = reseen.load_model(recipe.model.name, revision=recipe.model.revision)
true, decoded = model.extract(subject.stimuli, ["z", "c"], stimulus_id=subject.split.used), {}
for letter in ("z", "c"):
    decoder = reseen.Decoder(recipe.decode.rois_of(letter), n_folds=recipe.decode.n_folds, seed=recipe.seed)
    decoded[letter] = decoder.fit(subject.train, true[letter]).predict(subject.test)
sampling = {"n_samples": recipe.reconstruct.n_samples, "n_steps": recipe.reconstruct.n_steps}
images = reseen.reconstruct(model, **decoded, **sampling, seed=recipe.seed, subject=name)
for stimulus, samples in zip(decoded["z"].stimulus_id, images, strict=True):
    for number, image in enumerate(samples):
        Image.fromarray(image).save(folder / f"{stimulus:05d}_{number}.png")
