"""
8. New trials and imagery
=========================

The decoders of a finished run predict any later trial of the same voxels: a single
trial, another session, or an image that was only imagined. Nothing is fitted again.
"""

# %%
# A finished run
# --------------
# This page needs a session of NSD-Imagery, in which the subject sees and imagines a few
# targets. The command line writes it with the data; ``reseen simulate data --imagery``
# in a shell does the same as the next line.

import subprocess
import sys
import warnings

import numpy as np

import reseen

sizes = {"simulate.n_sessions": 2, "simulate.n_train": 450, "simulate.n_test": 24}
settings = [word for key, n in sizes.items() for word in ("--set", f"{key}={n}")]
command = ["simulate", "out/imagery/data", "--recipe", "demo", "--imagery", *settings]
subprocess.run([sys.executable, "-m", "reseen", "-q", *command], check=True)

# %%
# The run stops after its decoders.

recipe = reseen.load_recipe("demo", {**sizes, "data.path": "out/imagery/data"})
reseen.run(recipe, "out/imagery/run", until="decode")
results = reseen.Results.read("out/imagery/run")
results

# %%
# Single trials
# -------------
# New trials are raw betas: the decoder standardises them. Voxels are matched by their
# place in the volume, never by their order. These are six trials of the test images.

raw = reseen.load_nsd(
    "out/imagery/data", "subj01", rois=recipe.data.rois, zscore_sessions=False
)
test_ids = np.unique(raw.test.stimulus_id)
rows = np.flatnonzero(np.isin(raw.trials.stimulus_id, test_ids[:6]))
chosen = np.unique(raw.trials.stimulus_id[rows], return_index=True)[1]
new = raw.trials.take(rows[chosen])

applied = results.apply(new, conditions=["z", "zc"], scaling="training")
presented = np.stack([raw.stimuli.image(stimulus) for stimulus in new.stimulus_id])
figure = reseen.plot.images(presented, applied.images, n_samples=1)

# %%
# A single trial has more noise than an average of three. ``scaling="training"`` uses
# means and standard deviations of the training sessions, so that one trial is enough;
# ``"causal"`` uses running ones of the trials so far, for live use.

# %%
# How certain is a prediction?
# ----------------------------
# The decoder predicts a standard deviation for each number of a feature, from residuals
# of training images that it did not see. Where the stimuli are known, the coverage of
# the intervals is measured: a 90 % interval should contain 90 % of the true numbers.

applied.coverage

# %%
# Imagery
# -------
# The targets of NSD-Imagery were seen in one half of the session and imagined in the
# other. `reseen.Results.imagery` decodes both and scores them in the same way. The
# simulated subject imagines with a weaker signal than it sees.

warnings.filterwarnings("ignore", message=".*captions are longer")  # 1 of 32 is
found = results.imagery(conditions=[])
corrected = found.table.query("scorer == 'corrected' and targets == 'A+B'")
columns = ["condition", "network", "layer", "task", "value", "low", "high", "p"]
corrected[[name for name in columns if name in corrected]].round(3)

# %%
# With 12 targets, one score has a standard deviation of 0.09 at chance. A single
# subject's score therefore shows little; :doc:`/imagery` has the exact null
# distribution, and pools over subjects.
#
# .. seealso:: :doc:`/new_trials` has the files of trials, and other subjects.
