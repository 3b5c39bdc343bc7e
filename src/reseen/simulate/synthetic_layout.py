"""Write a simulated session in the layout of NSD-synthetic; see `reseen.datasets.synthetic_files`."""

from __future__ import annotations

import csv
import io

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.experiment_files import experiment_paths
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.synthetic_files import (
    COLUMNS,
    NAME,
    classes_path,
    colour_images_path,
    design_path,
    shared_images_path,
)
from reseen.simulate.experiment import mat_content
from reseen.simulate.layout import in_folder, write_betas, write_images
from reseen.simulate.subject import SubjectTree
from reseen.simulate.synthetic import SyntheticDesign
from reseen.simulate.synthetic_images import SyntheticImages


def write_shared(files: NsdFiles, images: SyntheticImages, design: SyntheticDesign) -> None:
    """Write the files that all subjects share: order of the trials, table of images, and 220 images."""
    order = (design.order + 1).astype(np.int32)[None]
    content = mat_content({"masterordering": order, "stimpattern": design.pattern})
    in_folder(design_path(files)).write_bytes(content)
    in_folder(classes_path(files)).write_text(_table(images), encoding="utf-8", newline="")
    write_images(shared_images_path(files), _luminance(images.shared))


def write_synthetic(
    files: NsdFiles, subject: SubjectTree, colours: NDArray[np.float64], betas: NDArray[np.float32], *, nifti: bool
) -> None:
    """Write betas and the images of one subject."""
    (path,) = experiment_paths(files, NAME)
    write_betas(path, betas, subject, nifti=nifti)
    write_images(colour_images_path(files), _luminance(colours))


def _luminance(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return values that are proportional to luminance: a screen shows the square of a value from 0 to 1."""
    return np.rint(255 * images**2).astype(np.uint8)


def _table(images: SyntheticImages) -> str:
    """Return the table of images; all numbers count from 1."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    subclasses, classes = (list(dict.fromkeys(names)) for names in (images.subclasses, images.classes))
    rows = zip(images.names, images.subclasses, images.classes, strict=True)
    for number, (name, subclass, of_class) in enumerate(rows, start=1):
        writer.writerow([number, name, subclasses.index(subclass) + 1, subclass, classes.index(of_class) + 1, of_class])
    return buffer.getvalue()
