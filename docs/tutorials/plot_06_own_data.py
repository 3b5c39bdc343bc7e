"""
6. Your own data
================

reseen needs three things: responses of voxels in single trials, the image of each
trial, and which images are held out. This page builds a subject from arrays, checks the
labels, and decodes.
"""

# %%
# Arrays in memory
# ----------------
# Your arrays may come from any software. Here they are taken out of the simulated
# subject, so that the page can run.

import numpy as np

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")
simulated = reseen.load_nsd(
    "out/tutorial/data", "subj01", rois=["early"], zscore_sessions=False
)

ids, stimulus_id = np.unique(simulated.trials.stimulus_id, return_inverse=True)
images = np.stack([simulated.stimuli.image(stimulus) for stimulus in ids])
captions = [simulated.stimuli.captions(stimulus)[0] for stimulus in ids]
betas, session = simulated.trials.betas, simulated.trials.session
test = np.flatnonzero(np.isin(ids, simulated.test.stimulus_id))
betas.shape, stimulus_id.shape, images.shape, len(captions), test.shape

# %%
# ``stimulus_id`` says which image each trial showed. It **counts from 0**: image 0 is
# the first row of ``images``. Betas are estimates of a GLM, one row for each trial, in
# any unit.

# %%
# A subject
# ---------
# ``zscore_sessions`` standardises each voxel within each session. Do this once, and
# before trials are averaged.

in_v1 = np.arange(betas.shape[1]) < 200  # a mask of each ROI, one number for each voxel
trials = reseen.Trials(betas, stimulus_id, session=session, rois={"V1": in_v1})
subject = reseen.Subject(
    trials.zscore_sessions(), reseen.Stimuli(images, captions), test=test
)
subject

# %%
# Check the labels first
# ----------------------
# If the labels are right, trials of one image are more similar than trials of different
# images. This is the first thing to check, and the commonest silent error.

standardised = subject.trials
first, second = [], []
for stimulus in range(len(ids)):
    rows = np.flatnonzero(standardised.stimulus_id == stimulus)
    if len(rows) >= 2:
        first.append(standardised.betas[rows[0]])
        second.append(standardised.betas[rows[1]])
similarity = np.corrcoef(first, second)[: len(first), len(first) :]
same = np.diag(similarity)
different = similarity[~np.eye(len(first), dtype=bool)]

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.hist(different, bins=60, density=True, alpha=0.6, label="different images")
ax.hist(same, bins=30, density=True, alpha=0.6, label="the same image")
ax.set(xlabel="correlation of two trials", yticks=[])
ax.legend()

# %%
# ``reseen check`` and every run make a similar test and warn.

# %%
# Decode
# ------
# With photographs, load Stable Diffusion instead: the built-in model only knows drawn
# scenes.

model = reseen.load_model("builtin")
z = model.extract(subject.stimuli, ["z"])["z"]
decoder = reseen.Decoder(rois=["V1"]).fit(subject.train, z)
decoded = decoder.predict(subject.test)
print(f"r = {decoder.score(subject.test, z):.2f}")
shown = reseen.reconstruct(model, z=decoded)
figure = reseen.plot.images(subject.test_images, shown, rows=range(4))

# %%
# From a file, with a recipe
# --------------------------
# The same arrays in one file are enough for a complete run: ``reseen run own_data
# --data my_data.npz``. The names of the arrays are fixed; a mask is called ``roi_`` and
# its name.

np.savez(
    "out/my_data.npz",
    betas=betas,
    stimulus_id=stimulus_id,
    images=images,
    captions=np.array(captions),
    run=session,
    roi_V1=in_v1,
    test_stimulus_id=test,
)
reseen.load_arrays("out/my_data.npz", rois=["V1"])

# %%
# BIDS, GLMsingle, GIFTI, CIFTI and other layouts are read without a conversion:
# :doc:`/own_data` has a command for each.
