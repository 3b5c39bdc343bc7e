"""Score predictions of another program. Here reseen's ridge stands for it; the recipe needs the two files alone."""

import numpy as np

import reseen

subject, model = reseen.load_nsd("data", "subj01", rois=["early", "ventral"]), reseen.load_model("builtin")
true, paths = model.extract(subject.stimuli, ["z", "c"]), {"z": "z.npz", "c": "c.npz"}
for name, roi in (("z", "early"), ("c", "ventral")):
    found = reseen.Decoder([roi], alphas=[1000.0]).fit(subject.train, true[name]).predict(subject.test)
    np.savez(paths[name], stimulus_id=found.stimulus_id, **{name: found.array})
recipe = reseen.load_recipe("tiny", {"decode.predictions": paths, "data.path": "data"})
reseen.run(recipe, "out/elsewhere", until="report")
print(reseen.Results.read("out/elsewhere").scores)
