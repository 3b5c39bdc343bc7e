"""A small study in BIDS with derivatives of fMRIPrep, whose series are made of known betas."""

import json

import nibabel
import numpy as np
import pandas as pd
from PIL import Image

AFFINE = np.diag([3.0, 3, 3, 1])
SHAPE = (4, 3, 2)
N_VOLUMES = 60
RUNS = [("1", "2"), ("1", "10"), ("2", "1")]
ONSETS = np.array([30.0, 4, 60, 16, 46, 88])  # not sorted; the event at 16 s is no image
IMAGES = ["item_1", "item_0", "item_0", "n/a", "item_2", "item_1"]
ORDER = [0, 1, 2, 0, 1]  # images of the trials in order of onset
MASK = np.ones(SHAPE, dtype=bool)
MASK[0, 0] = False


def stem(session, run):
    return f"sub-01_ses-{session}_task-pics_run-{run}"


def betas_of(number, n_trials=5):
    return np.random.default_rng(number).normal(size=(*SHAPE, n_trials)).astype(np.float32)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, AFFINE)
    if values.ndim == 4:
        image.header.set_zooms((3.0, 3.0, 3.0, 2.0))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_table(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, na_rep="n/a")


def write_study(folder):
    """Write three runs of two sessions, a run of rest, and betas of each run as one 4-D file."""
    (folder / "stimuli").mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((64, 64, 3), 60 * number, dtype=np.uint8)).save(folder / f"stimuli/item_{number}.png")
    (folder / "task-pics_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    derived = folder / "derivatives/fmriprep"
    for number, (session, run) in enumerate(RUNS):
        place = f"sub-01/ses-{session}/func"
        files = [name if name == "n/a" else f"stimuli/{name}.png" for name in IMAGES]
        events = {"onset": ONSETS, "duration": 3.0, "trial_type": "x", "stim_file": files, "rating": range(6)}
        write_table(folder / place / f"{stem(session, run)}_events.tsv", events)
        start = f"{stem(session, run)}_space-T1w_desc"
        save(derived / place / f"{start}-brain_mask.nii.gz", MASK.astype(np.uint8))
        save(derived / place / f"{start}-preproc_bold.nii.gz", series_of(number))
        confounds = {"trans_x": drift(number), "rot_z": drift(number + 1), "csf": drift(number + 2)}
        write_table(derived / place / f"{stem(session, run)}_desc-confounds_timeseries.tsv", confounds)
        save(folder / f"betas/{start}-LSA_betas.nii.gz", betas_of(number))
    save(derived / "sub-01/ses-1/func/sub-01_ses-1_task-rest_space-T1w_desc-preproc_bold.nii.gz", series_of(0))


def drift(number):
    return np.cumsum(np.random.default_rng(100 + number).normal(size=N_VOLUMES)) / 10


def design_of(order_of_names):
    from nilearn.glm.first_level import make_first_level_design_matrix

    events = pd.DataFrame({"onset": np.sort(ONSETS), "duration": 3.0, "trial_type": order_of_names})
    return make_first_level_design_matrix(2.0 * np.arange(N_VOLUMES), events, hrf_model="spm", drift_model=None)


def series_of(number):
    """Series whose betas are those of `betas_of`, in per cent of the mean, with an effect of motion; no noise."""
    names = ["trial 0", "fixation", "trial 1", "trial 2", "trial 3", "trial 4"]
    regressors = design_of(names)[[name for name in names if name != "fixation"]].to_numpy()
    percent = np.einsum("xyzn,tn->xyzt", betas_of(number), regressors) + drift(number) * betas_of(9, 1)
    return (500 * (1 + percent / 100)).astype(np.float32)
