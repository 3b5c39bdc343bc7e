"""
2. Your first decoder
=====================

A decoder predicts a feature of an image from responses. This page fits one, reads what
it learned, tests it on images that it never saw, and saves it.
"""

# %%
# The data
# --------
# The simulated subject of :doc:`plot_01_method`. If its files exist, ``run`` writes
# nothing.

import numpy as np

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
z = model.extract(subject.stimuli, ["z"])["z"]

# %%
# Fit and predict
# ---------------
# The conventions are those of scikit-learn. ``fit`` takes the single trials of the
# training images and the features of all images, and joins them by stimulus id.

decoder = reseen.Decoder(rois=["early"]).fit(subject.train, z)
decoder

# %%
# ``subject.test`` has one row for each test image: the average of its repetitions,
# which has less noise than a trial.

decoded = decoder.predict(subject.test)
decoded

# %%
# Which penalty?
# --------------
# Ridge regression shrinks its weights by a penalty, alpha. Cross-validation chooses it
# for each of the 400 numbers of z, with all trials of an image in one fold. The shaded
# bars are the ends of the range: if many numbers chose an end, the grid is too short.

figure = reseen.plot.penalties(decoder.map_.alpha)

# %%
# How well?
# ---------
# ``score`` is the correlation of decoded and true values over the test images, averaged
# over the numbers of z.

ventral = reseen.Decoder(rois=["ventral"]).fit(subject.train, z)
print(f"early:   r = {decoder.score(subject.test, z):.2f}")
print(f"ventral: r = {ventral.score(subject.test, z):.2f}")

# %%
# How much data does it need?
# ---------------------------
# Fit again with fewer training images: `reseen.Trials.select` keeps the trials of some
# stimuli.

import matplotlib.pyplot as plt

train_ids = np.unique(subject.train.stimulus_id)
n_images = [50, 100, 200, 450]
accuracy = []
for n in n_images:
    some = subject.train.select(train_ids[:n])
    fitted = reseen.Decoder(rois=["early"]).fit(some, z)
    accuracy.append(fitted.score(subject.test, z))

figure, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
ax.plot(n_images, accuracy, "o-")
ax.set(xlabel="training images", ylabel="correlation with true z", ylim=(0, None))

# %%
# What does decoded z look like?
# ------------------------------
# With z alone, the autoencoder turns z into an image. From the true z, it shows what
# the model itself loses; from the decoded z, also what the decoder loses.

test_ids = subject.test.stimulus_id
true = reseen.Features("z", z.rows(test_ids), test_ids)
shown = {
    "true z": reseen.reconstruct(model, z=true),
    "decoded z": reseen.reconstruct(model, z=decoded),
}
figure = reseen.plot.images(subject.test_images, shown, rows=range(5))

# %%
# Save it
# -------
# A saved decoder has its feature, its voxels, and the means and standard deviations of
# its sessions. It works on a single trial, because nothing is normalised by the test
# set.

decoder.save("out/tutorial/z_decoder.safetensors")
one_trial = subject.trials.take(np.array([0]))
reseen.Decoder.load("out/tutorial/z_decoder.safetensors").predict(one_trial)
