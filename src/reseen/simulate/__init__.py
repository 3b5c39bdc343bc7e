"""Simulate subjects: images, captions and betas with known ground truth, in the Natural Scenes Dataset's layout.

::

    scenes.py painting.py things.py    drawn scenes, as descriptions and as images
    figures.py captions.py             plain figures; captions of scenes and figures
    attributes.py                      the categories in a scene
    images.py design.py                images of each subject, and the order of trials
    anatomy.py surfaces.py             positions of voxels, and of fsaverage's vertices in the volume
    filters.py cortex.py voxels.py     noise-free response of a voxel to an image
    noise.py                           measurement noise
    experiment.py                      NSD's design, table of images and behavioural responses
    imagery.py imagery_layout.py       session of NSD-Imagery, and its files
    synthetic.py synthetic_images.py synthetic_layout.py    session of NSD-synthetic, its images and files
    subject.py layout.py               one subject's files; all of NSD's files
    simulation.py                      simulate(): runs all of these from one seed
    data_set.py                        a data set as a folder that is complete or absent

docs/simulated_subject.md lists which parameters come from neuroscience and which are guesses.
"""

from reseen.simulate.data_set import check_settings, write_data_set
from reseen.simulate.layout import BETAS, SPACE
from reseen.simulate.simulation import SimulatedSubject, plan_of, scan_subject, simulate, simulated_subjects

__all__ = [
    "BETAS",
    "SPACE",
    "SimulatedSubject",
    "check_settings",
    "plan_of",
    "scan_subject",
    "simulate",
    "simulated_subjects",
    "write_data_set",
]
