"""Loaders of data on disk: each returns one subject with its trials, stimuli and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reseen.datasets import arrays, nsd, nsd_inventory
from reseen.datasets.inventory import FileCheck
from reseen.datasets.outline import Outline
from reseen.recipe import DataRecipe
from reseen.stimuli import Fit
from reseen.subject import Subject

__all__ = ["FileCheck", "Outline", "extras", "inventory", "load_arrays", "load_nsd", "open_subject", "outline"]


def load_nsd(
    path: Path | str,
    subject: str = "subj01",
    *,
    rois: Sequence[str] = ("early", "ventral"),
    sessions: int | None = None,
    space: str = "func1pt8mm",
    betas: str = "betas_fithrf_GLMdenoise_RR",
    zscore_sessions: bool = True,
    n_test: int | None = None,
    n_folds: int | None = None,
    fit: Fit = "crop",
    keep: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Subject:
    """Open one subject of the Natural Scenes Dataset, or of any tree in its layout; betas are read when first used.

    Parameters
    ----------
    path
        Folder that holds ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli``.
    subject
        Folder name of the subject.
    rois
        ROIs whose voxels are read: names of NSD's atlases, such as ``"early"``, ``"ventral"``, ``"nsdgeneral"``,
        ``"V1"``.
    sessions
        Number of sessions, from the first. Left out: all that are there.
    space, betas
        NSD's space and preparation of the betas.
    zscore_sessions
        Standardise each voxel within each session.
    n_test
        Number of shared images to test. Left out: all.
    n_folds
        Leave whole stimuli out in so many folds. Left out: the shared images are the test set.
    fit
        How images that are not square become square.
    keep
        Folder for what is read of large sessions, so that the next start is fast. Left out: nothing is kept.
    progress
        Called with the number of sessions read, and the number there are.

    Returns
    -------
    Subject
        Its stimuli are those that the subject saw.

    Raises
    ------
    DataError
        If a file is missing, truncated or does not fit the others.
    RecipeError
        If an ROI, a session or a preparation is unknown.

    Examples
    --------
    >>> subject = load_nsd(simulated_tree, "subj01", rois=["early", "ventral"])
    >>> subject
    Subject subj01: 8 training and 4 test stimuli
      Stimuli: 12 images with captions
      Trials: read when they are first used
    >>> subject.train.scaling.mean.shape == (len(set(subject.train.session)), subject.train.betas.shape[1])
    True
    """
    data = _section(
        kind="nsd",
        path=Path(path),
        subjects=(subject,),
        rois=tuple(rois),
        sessions=sessions,
        space=space,
        betas=betas,
        zscore_sessions=zscore_sessions,
        n_test=n_test,
        fit=fit,
        **_folds(n_folds),
    )
    found = open_subject(data, subject, keep=None if keep is None else Path(keep), progress=progress)
    nsd.outline(data, subject)  # what is wrong with ROIs or sessions is told now
    return found.only_used()


def load_arrays(
    path: Path | str,
    subject: str = "subj01",
    *,
    rois: Sequence[str] = ("all",),
    zscore_sessions: bool = False,
    n_test: int | None = None,
    n_folds: int | None = None,
    fit: Fit = "crop",
) -> Subject:
    """Load the data of a lab of one's own: an ``.npz`` file or a folder of ``.npy`` files.

    Parameters
    ----------
    path
        The file or folder. ``docs/own_data.md`` lists the arrays.
    subject
        Name of the subject, and of its file or folder where ``path`` holds several.
    rois
        ROIs whose voxels are read: names of the ``roi_`` arrays, or ``"all"``.
    zscore_sessions
        Standardise each voxel within each run.
    n_test
        Number of the fixed test images to use. Left out: all.
    n_folds
        Leave whole stimuli out in so many folds, whether there is a fixed test set or not. Left out: the fixed test
        set, or 10 folds where there is none.
    fit
        How images that are not square become square.

    Raises
    ------
    DataError
        If an array is missing, damaged, of another type, or does not fit the others.
    RecipeError
        If more folds or test images are asked for than there are stimuli.

    Examples
    --------
    >>> load_arrays(own_data)
    Subject subj01: 4 training and 4 test stimuli
      Stimuli: 8 images with captions
      Trials of subj01: 20 trials of 8 stimuli, 40 voxels
    """
    data = _section(
        kind="arrays",
        path=Path(path),
        subjects=(subject,),
        rois=tuple(rois),
        zscore_sessions=zscore_sessions,
        n_test=n_test,
        fit=fit,
        **_folds(n_folds),
    )
    return open_subject(data, subject)


def _section(**values: object) -> DataRecipe:
    return DataRecipe().model_copy(update=values)


def _folds(n_folds: int | None) -> dict[str, object]:
    return {} if n_folds is None else {"test": "folds", "n_folds": n_folds}


def open_subject(
    data: DataRecipe,
    subject: str,
    *,
    keep: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Subject:
    """Open one subject, as ``data.kind`` says; a simulated subject is read as NSD is.

    Parameters
    ----------
    data
        Where the data are and what of them to read.
    subject
        Its name, such as ``"subj01"``.
    keep
        Folder for what was read of large files, which are then read from there; left out: nothing is kept.
    progress
        Called with how much is read, and how much there is.

    Raises
    ------
    DataError
        If a file is missing, damaged or does not fit the others.
    RecipeError
        If the recipe asks for what the data do not hold.
    ResultsError
        If nothing can be written to ``keep``.
    """
    if data.kind == "arrays":
        found = arrays.open_subject(data, subject)
        if progress is not None:
            progress(1, 1)
        return found
    return nsd.open_subject(data, subject, keep=keep, progress=progress)


def extras(data: DataRecipe, subject: str) -> Mapping[str, list[FileCheck]]:
    """List the files that a run does without, by what they are for.

    Raises
    ------
    DataError
        If no data folder was given.
    """
    return {} if data.kind == "arrays" else nsd_inventory.extras(data, subject)


def inventory(data: DataRecipe, subject: str, *, with_trials: bool = True) -> list[FileCheck]:
    """List the files that one subject needs, which of them are there and whole, and how to fetch the others.

    Without trials, these are the files of images, captions and split.

    Raises
    ------
    DataError
        If no data folder was given.
    RecipeError
        If an ROI is unknown.
    """
    if data.kind == "arrays":
        return arrays.inventory(data, subject)
    return nsd_inventory.inventory(data, subject, with_trials=with_trials)


def outline(data: DataRecipe, subject: str) -> Outline:
    """Return what is known of one subject of a tree in NSD's layout before betas are read.

    Raises
    ------
    DataError, RecipeError
        As `open_subject`.
    """
    return nsd.outline(data, subject)
