"""
4. Is it decoding or guessing?
==============================

A reconstruction can look good because the generator draws plausible images, or because
the decoder recognises a category. This page asks how much of a score comes from the
responses: with chance levels, an upper bound, and diagnostics.
"""

# %%
# The data and the decoders
# -------------------------
# The simulated subject of :doc:`plot_01_method`.

import dataclasses

import numpy as np

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])
sampling = {"n_samples": 1, "n_steps": 10, "sampler": "dpmpp"}


def reconstruct_from(train):
    """Fit both decoders on some trials, and reconstruct the test images."""
    z_decoder = reseen.Decoder(rois=["early"]).fit(train, features["z"])
    c_decoder = reseen.Decoder(rois=["ventral"]).fit(train, features["c"])
    z, c = z_decoder.predict(subject.test), c_decoder.predict(subject.test)
    return z, reseen.reconstruct(model, z=z, c=c, **sampling)


z, images = reconstruct_from(subject.train)

# %%
# Chance level 1: other images
# ----------------------------
# *Mismatched*: the same reconstructions, paired with other test images. ``score``
# always computes it. It is one half for two-way identification, and not zero for pixel
# correlation: all photographs resemble each other a little.
#
# Chance level 2: permuted labels
# -------------------------------
# *Permuted*: the decoders are fitted again, and each image gets the responses to
# another one. Everything else is the same. If these reconstructions score clearly above
# one half, test images have leaked into the training. With 24 images, one permutation
# alone scatters by several per cent.

ids = np.unique(subject.train.stimulus_id)
other = dict(zip(ids, np.random.default_rng(0).permutation(ids), strict=True))
labels = np.array([other[stimulus] for stimulus in subject.train.stimulus_id])
wrong = dataclasses.replace(subject.train, stimulus_id=labels)
_, permuted = reconstruct_from(wrong)

# %%
# Upper bound: the oracle
# -----------------------
# *Oracle*: reconstructions from the true z and c of the test images. No decoder can be
# better on average, because the generator loses the rest.

test_ids = subject.test.stimulus_id
true = {name: features[name].rows(test_ids) for name in ("z", "c")}
oracle = reseen.reconstruct(model, **true, **sampling)

shown = {"oracle": oracle, "decoded": images, "permuted": permuted}
figure = reseen.plot.images(subject.test_images, shown, rows=range(5))

# %%
# The permuted reconstructions are plausible images too. Only a score tells that they
# are unrelated to what was shown.

scores = reseen.score(images, subject.test_images, oracle=oracle, stimuli="scenes")
scores.headline()

# %%
null = reseen.score(permuted, subject.test_images, stimuli="scenes")
low, high = null.headline().low, null.headline().high
value = null.headline().value
print(f"decoders of permuted labels: {value:.2f} [{low:.2f}, {high:.2f}]")

# %%
# Dots are results with 95 % intervals over images; the other marks are the chance level
# and the upper bound.

figure = reseen.plot.scores(scores)

# %%
# Is it the image, or only its category?
# --------------------------------------
# Two-way identification asks a single easy question. `reseen.diagnose` asks harder ones
# of a decoded feature: against the most similar test images, within a category, and
# among the training images.

found = reseen.diagnose(
    z, features["z"], subject.split, categories=subject.stimuli.categories
)
found.checks[["check", "setting", "value", "chance", "status"]].round(2)

# %%
# Each check passes, warns or fails, and has a sentence. With 24 test images, intervals
# are wide, and a warning often means: too few images to tell.

for sentence in found.checks["sentence"]:
    print("-", sentence)

# %%
# A decoder that only recognises categories would pass *identification* and fail *within
# category*. A run computes these checks for every feature and for the images, and its
# report shows them.
#
# .. seealso:: :doc:`/scores` defines each number and says what none of them shows.
