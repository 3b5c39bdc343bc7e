"""
5. Encoding models and flat maps
================================

A decoder goes from responses to features. An *encoding model* goes the other way: it
predicts the response of every voxel from a feature. Where it predicts well, the voxel
responds to what the feature describes. This page fits encoding models of z and c, and
draws them on the cortex.
"""

# %%
# One encoding model
# ------------------
# The simulated subject of :doc:`plot_01_method`.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
recipe = reseen.load_recipe("demo", sizes)
reseen.run(recipe, "out/tutorial", until="simulate")

subject = reseen.load_nsd("out/tutorial/data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])

encoder = reseen.Encoder().fit(subject.train, features["z"])
encoder

# %%
# ``score`` is the correlation of predicted and measured responses over the test images,
# one for each voxel. Fit c too, and compare: each point is a voxel.

r_z = encoder.score(subject.test, features["z"])
r_c = (
    reseen.Encoder()
    .fit(subject.train, features["c"])
    .score(subject.test, features["c"])
)

figure, ax = plt.subplots(figsize=(4.2, 4), layout="constrained")
for roi, mask in subject.test.rois.items():
    ax.plot(r_z[mask], r_c[mask], ".", label=roi, alpha=0.5)
ax.axline((0, 0), slope=1, color="grey", lw=1)
ax.set(xlabel="r of z", ylabel="r of c", aspect="equal")
ax.legend()
print(
    {roi: f"{np.nanmean(r_z[m] - r_c[m]):+.2f}" for roi, m in subject.test.rois.items()}
)

# %%
# The printed numbers are mean differences of r. They are close to zero: in drawn
# scenes, what an image shows and how it looks go together, so z and c predict much the
# same voxels. With photographs, the paper finds that z predicts early areas best, and c
# higher areas.

# %%
# All voxels, with a recipe
# -------------------------
# A run fits the encoding models of all ROIs, computes the significance of each voxel,
# and writes ``encoding.csv``.

encode = {
    **sizes,
    "name": "encoding",
    "data.path": "out/tutorial/data",
    "encode.n_bootstrap": 200,
}
results = reseen.run(reseen.load_recipe("demo", encode), "out/encoding", until="encode")
table = pd.read_csv("out/encoding/encoding.csv")
figure = reseen.plot.encoding(table, "features")

# %%
# Dots are the mean r of each ROI, with 95 % intervals; a tick is the noise ceiling.
#
# Flat maps
# ---------
# ``maps`` carries the numbers of the voxels to fsaverage5 with NSD's transform files.
# Coloured vertices are significant at a false discovery rate of 5 %.

maps = results.maps()
figure = reseen.plot.flat_map(maps, "z")

# %%
# ``maps.values["r/z"]["lh"]`` has the numbers themselves, one for each vertex. The
# stage ``report`` also draws z and c beside each other, into the folder ``figures``.
#
# Maps of your own numbers
# ------------------------
# `reseen.plot.flat_map` draws any numbers on fsaverage5, 10,242 vertices for each
# hemisphere. Here it draws random ones, to show the arguments.

rng = np.random.default_rng(0)
values = {side: rng.uniform(0, 0.5, 10242) for side in ("lh", "rh")}
regions = {side: np.zeros(10242, dtype=np.int64) for side in ("lh", "rh")}
maps = reseen.plot.CorticalMaps({"r/z": values}, {}, {}, (), regions, ("cortex",))
figure = reseen.plot.flat_map(maps, "z", vmax=0.5, title="Random numbers")

# %%
# ``reseen run encode_demo`` has all analyses of the paper: noise, denoising, and the
# layers of the U-Net (:doc:`/maps`).
