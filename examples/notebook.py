"""The method as it is typed in a notebook. Simulate subjects first: `reseen simulate data --recipe demo`."""

import reseen

subject = reseen.load_nsd("data", "subj01", rois=["early", "ventral"])
model = reseen.load_model("builtin")
features = model.extract(subject.stimuli, ["z", "c"])
z = reseen.Decoder(rois=["early"]).fit(subject.train, features["z"]).predict(subject.test)
c = reseen.Decoder(rois=["ventral"]).fit(subject.train, features["c"]).predict(subject.test)
images = reseen.reconstruct(model, z=z, c=c, n_samples=2, n_steps=20, seed=0, subject="subj01")
scores = reseen.score(images, subject.test_images)
figure = reseen.plot.images(subject.test_images, images)
print(scores.headline())
