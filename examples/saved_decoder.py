"""Decode one new trial by the decoder of a finished run: `reseen run tiny --data data --out out/tiny` first."""

import numpy as np

import reseen

results = reseen.Results.read("out/tiny")
decoder, run = results.decoder("z"), results.decoded("z")
decoder.save("z_decoder.safetensors")
subject = reseen.load_nsd("data", "subj01", rois=results.recipe.data.rois, zscore_sessions=False)  # raw betas
one = subject.trials.select(run.stimulus_id[:1]).take(np.array([0]))  # a single trial
print(reseen.Decoder.load("z_decoder.safetensors").predict(one))
