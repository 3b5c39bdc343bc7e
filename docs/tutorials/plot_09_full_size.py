"""
9. Full size: NSD, Stable Diffusion, one GPU, a cluster
=======================================================

The previous pages used a small model and a small subject. The same calls take the
Natural Scenes Dataset and Stable Diffusion v1.4. This page downloads nothing: it counts
what a run needs, and has the commands. NSD and Stable Diffusion were never available to
the developers, so every size on this page is counted and not measured.
"""

# %%
# What is missing?
# ----------------
# ``reseen check`` lists what a recipe needs before hours are spent: files, weights,
# disk and device. It prints the commands that download what is missing. The folder is
# empty here, so everything is.

import subprocess
import sys

import reseen

one = ["--set", 'data.subjects=["subj01"]']
command = ["check", "takagi2023", "--data", "/data/nsd", *one]
line = [sys.executable, "-m", "reseen", *command]
done = subprocess.run(line, capture_output=True, text=True, check=False)
for text in done.stdout.splitlines():
    if text[:1].strip():  # details are indented
        print(text[:78])

# %%
# What does it cost?
# ------------------
# Most of the time is spent in the U-Net. Count its evaluations: guidance needs two for
# each step and image. A condition with z skips the first steps. The recipe generates
# images at three levels: the result, permuted labels, and the oracle.

recipe = reseen.load_recipe("takagi2023")
settings = recipe.reconstruct
n_images = 982 * settings.n_samples
steps = {"z": 0, "c": settings.n_steps, "zc": settings.n_steps * settings.strength}
evaluations = {name: 2 * steps[name] * n_images for name in settings.conditions}
for name, n in evaluations.items():
    print(f"{name:>2}: {n:9,.0f} evaluations for one level of one subject")

# %%
# z alone costs nothing, because nothing is denoised. Fewer steps of another sampler cut
# the rest: 20 steps of DPM-Solver++ instead of 50.

import matplotlib.pyplot as plt

samplers = {f"{settings.n_steps} steps of ddim": 1.0, "20 steps of dpmpp": 0.4}
figure, ax = plt.subplots(figsize=(6, 1.8), layout="constrained")
total = sum(evaluations.values())
ax.barh(list(samplers), [total * part / 1e6 for part in samplers.values()])
ax.invert_yaxis()
ax.set(xlabel="million evaluations of the U-Net, one level of one subject")

# %%
# One GPU
# -------
# Download what ``check`` printed, and run. A run that is stopped continues with the
# same command.
#
# .. code-block:: console
#
#    $ reseen check takagi2023 --data /data/nsd
#    $ reseen run takagi2023 --data /data/nsd --device cuda --out out/subj01
#
# In Python, two words change:
#
# .. code-block:: python
#
#    subject = reseen.load_nsd("/data/nsd", "subj01", rois=["early", "ventral"])
#    model = reseen.load_model("CompVis/stable-diffusion-v1-4", device="cuda")
#
# For a first result, use fewer test images, no permuted labels and no oracle:
#
# .. code-block:: console
#
#    $ reseen run takagi2023 --data /data/nsd --device cuda --out out/first \
#        --set data.n_test=20 --set evaluate.n_permutations=0 \
#        --set evaluate.oracle=false
#
# A cluster
# ---------
# Workers fit blocks of targets and generate batches of images. The files are the same
# as without workers: the noise of an image depends on its stimulus and its sample
# alone.
#
# .. code-block:: console
#
#    $ reseen run takagi2023 --data /data/nsd --executor dask --device cuda
#    $ reseen run takagi2023 --data /data/nsd --executor dask --cluster tcp://node7:8786
#
# Subjects can also be separate jobs, which are joined at the end:
#
# .. code-block:: console
#
#    $ reseen merge out/subj01 out/subj02 --out out/both
#
# .. seealso:: :doc:`/nsd` explains each step, with terms, sizes and ROIs;
#    :doc:`/cluster` has schedulers; :doc:`/performance` has what was measured.
