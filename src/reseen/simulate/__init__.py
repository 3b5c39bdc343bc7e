"""Simulate digital subjects: pictures, captions and betas with known truth, in the Natural Scenes Dataset's layout.

::

    scenes.py painting.py things.py    the first drawn world, as descriptions and as pictures
    figures.py captions.py             the second, plain figures; what people say of both
    attributes.py                      the categories in a scene
    pictures.py design.py              what is shown, to whom, in which order
    anatomy.py surfaces.py             where the voxels lie, and how fsaverage's vertices lie among them
    filters.py cortex.py voxels.py     what a voxel answers to a picture
    noise.py                           what the scanner makes of it
    experiment.py                      NSD's design, image table and behavioural responses
    subject.py layout.py               one subject's files; all of NSD's files
    simulation.py                      simulate(): all of it, seeded
    data_set.py                        a data set as a folder that is complete or absent

docs/digital_subject.md says what is known of brains in this, and what is a guess.
"""

from reseen.simulate.data_set import check_settings, write_data_set
from reseen.simulate.layout import BETAS, SPACE
from reseen.simulate.simulation import DigitalSubject, digital_subjects, plan_of, scan_subject, simulate

__all__ = [
    "BETAS",
    "SPACE",
    "DigitalSubject",
    "check_settings",
    "digital_subjects",
    "plan_of",
    "scan_subject",
    "simulate",
    "write_data_set",
]
