"""Simulate simulated subjects: images, captions and betas with known truth, in the Natural Scenes Dataset's layout.

::

    scenes.py painting.py things.py    the first drawn world, as descriptions and as images
    figures.py captions.py             the second, plain figures; what people say of both
    attributes.py                      the categories in a scene
    images.py design.py              what is shown, to whom, in which order
    anatomy.py surfaces.py             where the voxels lie, and how fsaverage's vertices lie among them
    filters.py cortex.py voxels.py     what a voxel answers to an image
    noise.py                           what the scanner makes of it
    experiment.py                      NSD's design, image table and behavioural responses
    subject.py layout.py               one subject's files; all of NSD's files
    simulation.py                      simulate(): all of it, seeded
    data_set.py                        a data set as a folder that is complete or absent

docs/simulated_subject.md says what is known of brains in this, and what is a guess.
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
