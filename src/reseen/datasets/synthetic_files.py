"""Names and facts of NSD-synthetic: its runs, its images, and the paths of its files.

Sources: the NSD data manual (8 runs of 93 trials, fixation and one-back runs in alternation, 83 regular trials and 10
one-back trials in a run, 284 images, one order of trials for all subjects, numbers of images of each type), and public
programs that write or read these files: ``masterordering`` counts from 1; images 1 to 220 are in one file, 221 to 284
in a file of each subject; images have 714 x 1360 pixels and are proportional to luminance; the columns of the table.

No file of NSD-synthetic was read for this module. Not verified: how often each image is presented, that the table of
images has its rows in the order of the image numbers where it lacks the column ``Image number``, and that the files of
images are not compressed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from reseen.datasets.nsd_facts import NsdFiles

SyntheticTask = Literal["fixation", "one-back"]

NAME, TITLE, OPTION = "nsdsynthetic", "NSD-synthetic", "--synthetic"
N_IMAGES = 284
N_SHARED = 220
"""Images 0 to 219 are the same for all subjects. The others have colours of equal luminance for each subject."""
N_RUNS = 8
TRIALS_PER_RUN = 93
N_ONE_BACK = 10
"""Trials of a run that present the image of the trial before again, in runs of both tasks."""
MOST_TRIALS = 107
"""Places of trials in a run, without or with an image: third axis of ``stimpattern`` (1, 8, 107)."""
N_EVENTS = N_RUNS * TRIALS_PER_RUN
IMAGE_SIZE = (714, 1360)
"""Height and width. The middle square of 714 pixels is the area in which the main experiment showed its images."""
COLUMNS = ("Image number", "Image", "Image subclass number", "Image subclass", "Image class number", "Image class")
"""Columns of the table of images, one row for each image."""
CAPTIONS = {
    "Noise": "black and white noise",
    "Natural scenes": "a black and white photograph of a scene",
    "Manipulated scenes": "a drawing of a scene",
    "Contrast modulation": "a grey photograph of a scene",
    "Phase-coherence modulation": "a scene in noise",
    "Single words": "a word on a plain background",
    "Spiral gratings": "a grating",
    "Chromatic noise": "coloured noise",
}
"""Class of an image -> caption of reseen's own: NSD-synthetic has no captions."""


def task_of(run: int) -> SyntheticTask:
    """Return the task of a run, from 1: the first run is one of fixation."""
    return "fixation" if run % 2 else "one-back"


def design_path(files: NsdFiles) -> Path:
    """Return the order of the trials, which all subjects share: ``masterordering`` (1, 744), ``stimpattern``."""
    return files.root / "nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat"


def classes_path(files: NsdFiles) -> Path:
    """Return the table of images and their classes."""
    return files.root / "nsddata/experiments/nsdsynthetic/nsdsyntheticimageinformation.csv"


def shared_images_path(files: NsdFiles) -> Path:
    """Return the images of all subjects: dataset ``imgBrick`` (220, H, W, 3) uint8."""
    return files.root / "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5"


def colour_images_path(files: NsdFiles) -> Path:
    """Return the images of one subject: dataset ``imgBrick`` (64, H, W, 3) uint8."""
    return files.root / f"nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_{files.subject}.hdf5"
