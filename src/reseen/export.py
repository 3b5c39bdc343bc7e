"""Export: presented images and reconstructions of a finished run, as two folders of image files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reseen.datasets.opening import open_subject
from reseen.errors import ResultsError
from reseen.files import shown, writing_folder
from reseen.reconstruction import count_samples
from reseen.tables import Level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reseen.results import ResultsFolder

PRESENTED, RECONSTRUCTED = "presented", "reconstructed"
"""Names of the two folders."""


@dataclass(frozen=True)
class ImageFiles:
    """Files of the images of one subject, level and condition in a results folder.

    Parameters
    ----------
    stimulus_id
        Stimulus of each item, ``(n_items,)``.
    paths
        For each item, a path for each sample.
    """

    stimulus_id: NDArray[np.int64]
    paths: tuple[tuple[Path, ...], ...]


def image_files(
    results: ResultsFolder, subject: str, condition: str, level: Level, decoded: NDArray[np.int64]
) -> ImageFiles:
    """Return the files of the images of a condition.

    Parameters
    ----------
    results
        Results folder of the run.
    subject, condition, level
        As in `reseen.Results.images`.
    decoded
        Stimulus of each decoded item, ``(n_items,)``.

    Raises
    ------
    ResultsError
        If the run did not generate them.
    """
    items, single = decoded, len(np.unique(decoded)) < len(decoded)
    if level not in ("result", "permuted"):  # these levels have each stimulus once
        items, single = np.unique(decoded), False
    recipe = results.recipe
    count = recipe.n_permuted if level == "permuted" else count_samples(condition, recipe.reconstruct)
    paths = []
    for item, stimulus in enumerate(items.tolist()):
        trial = item if single else None
        of_item = [
            results.image_path(subject, level, condition, stimulus, sample, trial=trial) for sample in range(count)
        ]
        paths.append(tuple(of_item))
    if not count or not paths or not paths[0][0].is_file():
        message = f"{shown(results.path)} has no images of level {level!r}, condition {condition!r}."
        raise ResultsError(message, where="level", found=level)
    return ImageFiles(items, tuple(paths))


def export_images(
    results: ResultsFolder,
    subject: str,
    files: ImageFiles,
    folder: Path,
    *,
    data: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write images and the presented ones to a new folder; see `reseen.Results.export`."""
    from PIL import Image

    section = results.data if data is None else results.data.model_copy(update={"path": data.resolve()})
    stimuli = open_subject(section, subject).stimuli
    with writing_folder(folder) as part:
        for name in (PRESENTED, RECONSTRUCTED):
            (part / name).mkdir()
        for item, stimulus in enumerate(files.stimulus_id.tolist()):
            presented = part / PRESENTED / f"{stimulus:05d}.png"
            if not presented.exists():  # trials of one stimulus share it
                Image.fromarray(stimuli.image(stimulus)).save(presented, format="PNG")
            for path in files.paths[item]:
                image = results.load_image(path)  # compared with its checksum
                Image.fromarray(image).save(part / RECONSTRUCTED / path.name, format="PNG")
            if progress is not None:
                progress(f"export {subject}", item + 1, len(files.paths))
    return folder / PRESENTED, folder / RECONSTRUCTED
