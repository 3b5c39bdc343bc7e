"""
3. z, c and zc
==============

z describes how an image looks, c what it shows. Which of them does a reconstruction
need? This page generates images from z alone, from c alone and from both, and changes
the one setting that weighs them.
"""

# %%
# The data and the decoders
# -------------------------
# The simulated subject of :doc:`plot_01_method`, and a decoder for each feature.

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])
z_decoder = reseen.Decoder(rois=["early"]).fit(subject.train, features["z"])
c_decoder = reseen.Decoder(rois=["ventral"]).fit(subject.train, features["c"])
z, c = z_decoder.predict(subject.test), c_decoder.predict(subject.test)

# %%
# Three conditions
# ----------------
# A *condition* is a word over the features that an image is generated from. With z
# alone, the autoencoder decodes z, and nothing is denoised. With c alone, denoising
# starts from pure noise. With zc, it starts from z with noise added.

sampling = {"n_samples": 1, "n_steps": 10, "sampler": "dpmpp"}
images = {
    "z": reseen.reconstruct(model, z=z),
    "c": reseen.reconstruct(model, c=c, **sampling),
    "zc": reseen.reconstruct(model, z=z, c=c, **sampling),
}
figure = reseen.plot.images(subject.test_images, images, rows=range(6))

# %%
# Images from z have the right layout and are blurred. Images from c are sharp, and
# their layout is arbitrary: a caption does not say where things are.

# %%
# Which scores show this?
# -----------------------
# Each score measures something else. Pixel scores and the network's early layer compare
# layout and colours; its late layer compares content.

scores = reseen.score(images, subject.test_images, stimuli="scenes")
figure = reseen.plot.scores(scores)

# %%
# ``wide`` has one row for each score. Compare conditions within a column, never
# different scores with each other.

table = scores.wide().reset_index()
classifier = table[(table["network"] == "classifier") & (table["subset"] == "all")]
classifier.pivot_table(index="layer", columns="condition", values="result").round(2)

# %%
# How much of z?
# --------------
# ``strength`` is the proportion of the denoising that is done. At 0.2, the image is
# almost the blurred z; at 1, denoising starts from almost pure noise, and z is almost
# lost. The paper uses 0.8.

z_few, c_few = z.array[:6], c.array[:6]
by_strength = {}
for strength in (0.2, 0.5, 0.8, 1.0):
    by_strength[f"strength {strength}"] = reseen.reconstruct(
        model, z=z_few, c=c_few, strength=strength, **sampling
    )
figure = reseen.plot.images(subject.test_images[:6], by_strength)

# %%
# .. seealso:: :doc:`/conditions` has all features: decoded captions (t), image
#    embeddings (i), pixels (g), and what each is expected to bring.
