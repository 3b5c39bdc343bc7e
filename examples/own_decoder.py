"""Decode by a scikit-learn pipeline. Simulate subjects first: `reseen simulate data --recipe demo`."""

from sklearn.cross_decomposition import PLSRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import reseen

subject, model = reseen.load_nsd("data", "subj01", rois=["early"]), reseen.load_model("builtin")
z = model.extract(subject.stimuli, ["z"])["z"]
decoder = reseen.Decoder(["early"], estimator=make_pipeline(StandardScaler(), PLSRegression(n_components=2)))
images = reseen.reconstruct(model, z=decoder.fit(subject.train, z).predict(subject.test))
print(decoder, reseen.score(images, subject.test_images).headline(), sep="\n")
