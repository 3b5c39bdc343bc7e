"""
7. Your own decoder, generator or metric
========================================

Every part of the method can be replaced by one of yours: an argument in Python, or
``"module:name"`` in a recipe. This page replaces the decoder, the generator and the
evaluation network, and compares each with the built-in part.
"""

# %%
# The data
# --------
# The simulated subject of :doc:`plot_01_method`.

import numpy as np
from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])

# %%
# A decoder
# ---------
# Any estimator with ``fit(X, Y)`` and ``predict(X)`` will do, such as a scikit-learn
# pipeline. X has one row for each trial, Y one column for each number of z. reseen
# still joins trials and images, and restores the shape.

own = make_pipeline(StandardScaler(), PLSRegression(n_components=10))
ridge = reseen.Decoder(rois=["early"]).fit(subject.train, features["z"])
pls = reseen.Decoder(rois=["early"], estimator=own).fit(subject.train, features["z"])
print(pls)
print(f"ridge: r = {ridge.score(subject.test, features['z']):.2f}")
print(f"PLS:   r = {pls.score(subject.test, features['z']):.2f}")

# %%
# A generator
# -----------
# A decoded feature is an array with stimulus ids, so anything can turn it into images.
# This generator returns the training image whose z is most similar. It is a baseline
# that every other generator should beat.


def nearest_training_image(decoded, true, train_ids):
    """Return the training image whose feature correlates best with the decoded one."""
    known = true.rows(train_ids).reshape(len(train_ids), -1)
    centred = known - known.mean(axis=0)
    wanted = decoded.array.reshape(len(decoded), -1) - known.mean(axis=0)
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    similarity = wanted @ (centred / np.linalg.norm(centred, axis=1, keepdims=True)).T
    best = train_ids[similarity.argmax(axis=1)]
    return np.stack([subject.stimuli.image(stimulus) for stimulus in best])


z = ridge.predict(subject.test)
train_ids = np.unique(subject.train.stimulus_id)
images = {
    "diffusion, z": reseen.reconstruct(model, z=z),
    "nearest": nearest_training_image(z, features["z"], train_ids),
}
figure = reseen.plot.images(subject.test_images, images, rows=range(5))

# %%
# A diffusion model of your own is an object with the methods of
# `reseen.LatentDiffusion`; pass it to `reseen.reconstruct` in place of ``model``. A
# function with the parameters of `reseen.denoise` replaces the sampler:
# ``reconstruct(sampler=...)``.

# %%
# A metric
# --------
# An evaluation network is a function from images to activations. This one has the mean
# colour of each of 8 x 8 fields. Scores, intervals and chance levels are computed as
# for any other network.


def colours(images):
    """Return the mean colour of 8 x 8 fields, ``(n, 8, 8, 3)``."""
    n, side = len(images), images.shape[1] // 8
    cropped = images[:, : 8 * side, : 8 * side]
    return cropped.reshape(n, 8, side, 8, side, 3).mean(axis=(2, 4))


scores = reseen.score(images["diffusion, z"], subject.test_images, networks=colours)
scores.headline()

# %%
# In a recipe
# -----------
# The same parts in a recipe are named by module and object, here from a file
# ``my_parts.py`` in the current folder:
#
# .. code-block:: toml
#
#    [decode]
#    decoder = "my_parts:make_decoder"    # called without arguments
#
#    [evaluate]
#    networks = ["classifier", "my_parts:colours"]
#
# The results folder records the file's checksum. :doc:`/python` has the requirements of
# every part.
