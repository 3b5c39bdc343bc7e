"""
1. What the method is
=====================

A person sees an image while an MRI scanner measures their visual cortex. Can the image
be reconstructed from the responses? This page shows the method of Takagi &
Nishimoto (2023) on a simulated subject, in five steps.

A diffusion model such as Stable Diffusion describes an image in two ways. The *latent*
**z** is a small code of how the image looks, from its autoencoder. The *conditioning*
**c** is a code of what it shows, from its text encoder. Early visual cortex predicts z,
higher visual cortex predicts c, and the model turns both into an image. The diffusion
model is frozen: only two linear maps are fitted.
"""

# %%
# A simulated subject
# -------------------
# Real data sets are large and have terms of use, so the tutorials simulate one subject:
# 450 training images, 24 test images, and two sessions of responses. The files have the
# layout of the Natural Scenes Dataset. They are written once, into the folder
# ``out/tutorial/data``; the other tutorials find them there.

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
subject

# %%
# The subject saw each image several times. A row of the *betas* is the response of
# every voxel in one trial. Trials and images are joined by the id of the stimulus,
# never by the number of a row.

subject.train

# %%
# Step 1: what the subject saw
# ----------------------------
# Here are six test images. The decoders never see them.

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 6, figsize=(9, 1.8), layout="constrained")
for number, ax in enumerate(axes):
    ax.imshow(subject.test_images[number])
    ax.set_title(f"stimulus {subject.test.stimulus_id[number]}", fontsize=8)
    ax.axis("off")

# %%
# Step 2: the images in the model's terms
# ---------------------------------------
# The built-in model is a small Stable Diffusion that comes with reseen. ``extract``
# computes z from each image, and c from its captions. 4 x 10 x 10 numbers describe how
# an image looks, and 24 x 128 numbers what it shows.

model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])
features

# %%
# Step 3: from responses to z and c
# ---------------------------------
# A decoder is a ridge regression from voxels to a feature. One is fitted for each
# feature, on the training trials. It then predicts the feature of the test images from
# their responses alone.

z_decoder = reseen.Decoder(rois=["early"]).fit(subject.train, features["z"])
c_decoder = reseen.Decoder(rois=["ventral"]).fit(subject.train, features["c"])
z, c = z_decoder.predict(subject.test), c_decoder.predict(subject.test)
z, c

# %%
# Step 4: from z and c to an image
# --------------------------------
# z is decoded to a blurred image, noise is added to its latent, and the diffusion model
# removes the noise again. c tells the model what the image shows. The result keeps the
# layout of z and gets the content of c.

images = reseen.reconstruct(model, z=z, c=c, n_samples=2, n_steps=10, sampler="dpmpp")
figure = reseen.plot.images(subject.test_images, images, rows=range(6))

# %%
# These are the first six test images: nothing was selected. Two samples of an image
# differ in their noise only.

# %%
# Step 5: how good is it?
# -----------------------
# *Two-way identification* asks of each reconstruction: is it more similar to the image
# that was shown than to another test image? Chance is one half. Similarity is the
# correlation of the activations of an evaluation network.

scores = reseen.score(images, subject.test_images, stimuli="scenes")
scores.headline()

# %%
# The score has an interval over images and a chance level. A high score is not yet
# evidence that the image itself was decoded: its category may be enough. A simulated
# subject shows that the software works; it is no evidence about brains.
#
# .. seealso:: :doc:`/simulated_subject` explains how responses are simulated, without z
#    or c.
