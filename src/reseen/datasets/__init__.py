"""Loaders of data on disk: each returns one subject with its trials, stimuli and split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from reseen.datasets import nsd
from reseen.datasets.inventory import FileCheck
from reseen.datasets.opening import extras, inventory, open_subject, outline, overview
from reseen.datasets.outline import Outline, Overview
from reseen.recipe import DataKind, DataRecipe, SessionChoice
from reseen.stimuli import Fit
from reseen.subject import Subject

__all__ = [
    "FileCheck",
    "Outline",
    "Overview",
    "extras",
    "inventory",
    "load_arrays",
    "load_data",
    "load_nsd",
    "open_subject",
    "outline",
    "overview",
]


def load_nsd(
    path: Path | str,
    subject: str = "subj01",
    *,
    rois: Sequence[str] = ("early", "ventral"),
    sessions: int | Sequence[int] | None = None,
    train_sessions: int | Sequence[int] | None = None,
    min_repeats: int | None = None,
    space: str = "func1pt8mm",
    betas: str = "betas_fithrf_GLMdenoise_RR",
    zscore_sessions: bool = True,
    n_test: int | None = None,
    n_folds: int | None = None,
    test: str | None = None,
    fit: Fit = "crop",
    keep: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Subject:
    """Open one subject of the Natural Scenes Dataset (NSD), or of a tree in NSD's layout.

    Betas are read at first use.

    Parameters
    ----------
    path
        Folder that contains ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli``.
    subject
        Folder name of the subject.
    rois
        ROIs to read: names of labels in NSD's atlases, such as ``"early"``, ``"ventral"``, ``"nsdgeneral"``,
        ``"V1"``.
    sessions
        Number of sessions, from the first, or a list of sessions. Default: all sessions on disk.
    train_sessions
        Sessions whose trials train; test images keep the trials of all sessions. Default: all.
    min_repeats
        Minimum number of trials of an image in the sessions read; other images are left out. Default: all images.
    space, betas
        Names of NSD's space and of its version of the betas.
    zscore_sessions
        Standardise each voxel within each session.
    n_test
        Number of shared images in the test set. Default: all.
    n_folds
        Number of folds, which leave all trials of a stimulus out together. Default: the shared images are the test set.
    test
        ``"special515"`` tests the shared images that all subjects saw three times, ``"sessions"`` leaves the trials
        of each session out in turn. Default: the shared images, or ``n_folds``.
    fit
        How to make images square.
    keep
        Folder for the voxels that are read from large sessions, for a faster next start. Default: nothing is kept.
    progress
        Function of the number of sessions read and the total number.

    Returns
    -------
    Subject
        Subject whose stimuli are those of its trials.

    Raises
    ------
    DataError
        If a file is missing, truncated or does not fit the others.
    RecipeError
        If an ROI, a session or a version of the betas is unknown.

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
        sessions=_plain(sessions),
        train_sessions=_plain(train_sessions),
        min_repeats=min_repeats,
        space=space,
        betas=betas,
        zscore_sessions=zscore_sessions,
        n_test=n_test,
        fit=fit,
        **_folds(n_folds, test),
    )
    folder = None if keep is None else Path(keep)
    return nsd.open_subject(data, subject, keep=folder, progress=progress, check_betas=True).only_used()


def load_arrays(
    path: Path | str,
    subject: str = "subj01",
    *,
    rois: Sequence[str] = ("all",),
    zscore_sessions: bool = False,
    n_test: int | None = None,
    n_folds: int | None = None,
    test: str | None = None,
    fit: Fit = "crop",
) -> Subject:
    """Load your own data: an ``.npz`` file or a folder of ``.npy`` files.

    Parameters
    ----------
    path
        The file or folder. ``docs/own_data.md`` lists the arrays.
    subject
        Name of the subject, and of its file or folder where ``path`` holds several.
    rois
        ROIs to read: names of the ``roi_`` arrays without ``roi_``, or ``"all"``.
    zscore_sessions
        Standardise each voxel within each run.
    n_test
        Number of images of the fixed test set to use. Default: all.
    n_folds
        Number of folds, which leave all trials of a stimulus out together; a fixed test set is then ignored. Default:
        the fixed test set, or 10 folds if there is none.
    test
        ``"runs"``, ``"sessions"`` or ``"column:NAME"`` leave out the trials of each run, session or value in turn.
        Default: the fixed test set, or ``n_folds``.
    fit
        How to make images square.

    Raises
    ------
    DataError
        If an array is missing, damaged, of another type, or does not fit the others.
    RecipeError
        If ``n_folds`` or ``n_test`` exceeds the number of stimuli.

    Examples
    --------
    >>> load_arrays(own_data)
    Subject subj01: 4 training and 4 test stimuli
      Stimuli: 8 images with captions
      Trials of subj01: 20 trials of 8 stimuli, 40 voxels
    """
    return load_data(
        path,
        "arrays",
        subject,
        rois=rois,
        zscore_sessions=zscore_sessions,
        n_test=n_test,
        n_folds=n_folds,
        test=test,
        fit=fit,
    )


def load_data(
    path: Path | str,
    kind: DataKind,
    subject: str = "subj01",
    *,
    rois: Sequence[str] = ("all",),
    sessions: int | Sequence[int] | None = None,
    responses: Path | str | None = None,
    trials: Path | str | None = None,
    images: Path | str | None = None,
    captions: Path | str | None = None,
    mask: Path | str | None = None,
    roi_files: Sequence[Path | str] = (),
    space: str | None = None,
    single_trials: Literal["lsa", "lss"] = "lsa",
    confounds: Sequence[str] | None = None,
    zscore_sessions: bool = True,
    n_test: int | None = None,
    n_folds: int | None = None,
    test: str | None = None,
    fit: Fit = "crop",
) -> Subject:
    """Open a lab's data in the layout that they have on disk; responses are read at first use.

    Parameters
    ----------
    path
        Folder or file of the data.
    kind
        Layout, such as ``"trials"``, ``"bids"`` or ``"glmsingle"``. ``docs/own_data.md`` lists the layouts.
    subject
        Name of the subject.
    rois
        ROIs to read; ``"all"`` is every voxel.
    sessions
        Number of sessions, from the first, or a list of the numbers in their names. Default: all.
    responses, trials
        File or folder of the responses, and of the trial table, where the layout does not determine them. Relative
        paths are in ``path``, or else in the working directory.
    images, captions
        Folder of the image files, and table of captions.
    mask
        Brain mask of the responses, NIfTI.
    roi_files
        Files of ROIs, or folders of them.
    space
        Space of the responses of ``"bids"``, if there are several.
    single_trials, confounds
        Estimation of the responses of ``"bids"``: one model for all trials of a run or one for each trial, and the
        names of confounds. Default: six motion parameters and non-steady-state volumes.
    zscore_sessions
        Standardise each voxel within each session, or each run if sessions are unknown.
    n_test
        Number of images of the fixed test set to use. Default: all.
    n_folds
        Number of folds, which leave all trials of a stimulus out together. Default: the fixed test set, or 10 folds if
        there is none.
    test
        ``"runs"``, ``"sessions"`` or ``"column:NAME"`` leave out the trials of each run, session or value in turn.
        Default: the fixed test set, or ``n_folds``.
    fit
        How to make images square.

    Raises
    ------
    DataError
        If a file is missing, damaged, of another layout, or does not fit the others.
    RecipeError
        If an argument is not used by this kind, a session is unknown, or ``n_folds`` or ``n_test`` exceeds the number
        of stimuli.

    Examples
    --------
    >>> load_data(trial_table, kind="trials", n_folds=4)
    Subject subj01: 8 stimuli, each tested in one of 4 folds
      Stimuli: 8 images with captions
      Trials: read when they are first used
    """
    given = {"responses": responses, "trials": trials, "images": images, "captions": captions, "mask": mask}
    data = _section(
        kind=kind,
        path=Path(path),
        subjects=(subject,),
        rois=tuple(rois),
        sessions=_plain(sessions),
        roi_files=tuple(map(Path, roi_files)),
        single_trials=single_trials,
        confounds=None if confounds is None else tuple(confounds),
        **({} if space is None else {"space": space}),
        zscore_sessions=zscore_sessions,
        n_test=n_test,
        fit=fit,
        **{name: None if place is None else Path(place) for name, place in given.items()},
        **_folds(n_folds, test),
    )
    return open_subject(data, subject)


def _plain(sessions: int | Sequence[int] | None) -> SessionChoice | None:
    return sessions if sessions is None or isinstance(sessions, int) else tuple(sessions)


def _section(**values: object) -> DataRecipe:
    return DataRecipe().model_copy(update=values)


def _folds(n_folds: int | None, test: str | None) -> dict[str, object]:
    """Return the settings of the split; a number of folds alone leaves stimuli out."""
    number = {} if n_folds is None else {"test": "folds", "n_folds": n_folds}
    return number if test is None else {**number, "test": test}
