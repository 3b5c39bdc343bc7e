"""Decode from arrays in memory. Replace the random numbers by yours: ids count from 0."""

import numpy as np

import reseen

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)  # (n_stimuli, height, width, 3)
stimulus_id = np.tile(np.arange(30), 3)  # (n_trials,): three presentations of each
trials = reseen.Trials(rng.normal(size=(90, 200)), stimulus_id, rois={"V1": np.arange(200) < 80})
subject = reseen.Subject(trials, reseen.Stimuli(images), test=[26, 27, 28, 29])
z = reseen.load_model("builtin").extract(subject.stimuli, ["z"])["z"]
decoder = reseen.Decoder(["V1"]).fit(subject.train, z)
print(decoder, decoder.score(subject.test, z), sep="\n")
