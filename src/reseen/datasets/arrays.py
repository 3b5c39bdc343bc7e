"""Read any brain from plain arrays: betas, pictures and who saw what, in an npz file or a folder of npy files.

=================== ================================== =====================================================
array               shape                              also called
=================== ================================== =====================================================
betas               (n_trials, n_voxels)               responses, fmri
pictures            (n_trials, H, W[, 3])              images; or (n_stimuli, H, W[, 3]) by stimulus id
stimulus_id         (n_trials,), 0-based               stimulus, figure; left out: equal pictures are one stimulus
stimulus_pictures   (n_stimuli, H, W[, 3])             pictures by stimulus id, where ``pictures`` would be ambiguous
captions            (n_stimuli,) or (n_stimuli, k) str an empty string is no caption
figure_name         (n_stimuli,) str                   figures, white on black: makes "a white {name} on black"
category            (n_stimuli,) str or whole numbers  told apart from each other in the scores; "" is no category
run                 (n_trials,)                        session; left out: one run
roi_<name>          (n_voxels,) bool                   ROI ``all`` holds every voxel and needs no array
test_stimulus_id    (n_test,)                          a fixed test set; left out: folds that leave stimuli out
ncsnr               (n_voxels,)                        noise-ceiling signal-to-noise ratio
=================== ================================== =====================================================

A folder may hold one array a file (``betas.npy`` ...) for its only subject, or ``<subject>.npz`` or ``<subject>/`` for
each. Where ``stimulus_id`` is left out, stimuli are numbered as they first appear in the trials, from 0. ``n_stimuli``
is the number of pictures by stimulus id, or one more than the highest id; arrays of any other length are refused.
Pictures are whole numbers from 0 to 255, bool, or floats from 0 to 1; whole numbers that are all 0 or 1 are refused.
Grey ones become RGB. Pictures of coarse cells, smaller than 64 pixels, are magnified by a whole number, so that cells
stay crisp, and centred on black.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.datasets.inventory import FileCheck, check_file
from reseen.datasets.splits import make_split
from reseen.errors import DataError
from reseen.recipe import DataRecipe
from reseen.stimuli import Stimuli
from reseen.trials import Split, Trials

SMALLEST_SIDE = 64
"""Smaller pictures are magnified to at most this side and centred on it."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "betas": ("betas", "responses", "fmri"),
    "pictures": ("pictures", "images"),
    "stimulus_id": ("stimulus_id", "stimulus", "figure"),
    "run": ("run", "session"),
}

KNOWN = (
    *(alias for aliases in ALIASES.values() for alias in aliases),
    *("stimulus_pictures", "captions", "figure_name", "category", "test_stimulus_id", "ncsnr"),
)
"""The arrays that are read, beside ``roi_<name>``."""


def load(data: DataRecipe, subject: str) -> tuple[Trials, Stimuli, Split]:
    """Read one subject.

    Parameters
    ----------
    data
        Where the arrays lie; ``rois`` chooses voxels, ``zscore_sessions`` standardises each voxel within each run.
    subject
        Its name; where the arrays of one subject alone are given, any name will do.

    Returns
    -------
    Trials
        Every trial, in the order of the file; the run takes the place of the session.
    Stimuli
        The pictures, at least 64 pixels a side.
    Split
        The fixed test set if there is one and ``data.test`` is "shared"; otherwise folds that leave stimuli out.

    Raises
    ------
    DataError
        If an array is missing, damaged or does not fit the others.
    RecipeError
        If the recipe asks for more folds or test pictures than there are stimuli.
    """
    path = _find(data, subject)
    arrays = _read(path)
    betas = _betas(path, arrays)
    pictures, stimulus_id = _pictures(path, arrays, len(betas))
    rois = _rois(path, arrays, betas.shape[1], data.rois)
    inside = np.logical_or.reduce(list(rois.values()))
    ncsnr = arrays.get("ncsnr")
    run = _lookup(arrays, "run")
    trials = Trials(
        subject=subject,
        betas=betas[:, inside],
        stimulus_id=stimulus_id,
        session=np.zeros(len(betas), dtype=np.int64) if run is None else _integers(path, "run", run, len(betas)),
        rois={name: mask[inside] for name, mask in rois.items()},
        n_repetitions=np.ones(len(betas), dtype=np.int64),
        ncsnr=None if ncsnr is None else _fitting(path, "ncsnr", ncsnr, inside.shape)[inside].astype(np.float32),
    )
    if data.zscore_sessions:
        trials = _zscore(path, trials)
    seen = np.unique(stimulus_id)
    stimuli = Stimuli(
        seen,
        pictures.__getitem__,
        _captions(path, arrays, len(pictures)).__getitem__,
        categories=_categories(path, arrays, len(pictures)),
    )
    return trials, stimuli, make_split(data, seen, {}, test=_fixed_test(path, arrays, seen))


def inventory(data: DataRecipe, subject: str) -> list[FileCheck]:
    """Check the one file or folder that holds a subject's arrays.

    Raises
    ------
    DataError
        If nothing lies there.
    """
    path = _find(data, subject)

    def describe() -> str:
        arrays = _read(path)
        betas = _betas(path, arrays)
        pictures, stimulus_id = _pictures(path, arrays, len(betas))
        _rois(path, arrays, betas.shape[1], data.rois)
        _captions(path, arrays, len(pictures))
        _categories(path, arrays, len(pictures))
        seen, run = np.unique(stimulus_id), _lookup(arrays, "run")
        tested = _fixed_test(path, arrays, seen)
        said = [
            f"{len(betas)} trials of {len(seen)} stimuli",
            f"{betas.shape[1]} voxels",
            f"{1 if run is None else len(np.unique(run))} runs",
            "no test_stimulus_id" if tested is None else f"{len(tested)} test pictures",
        ]
        unread = sorted(name for name in arrays if name not in KNOWN and not name.startswith("roi_"))
        return ", ".join([*said, *([f"not read: {' '.join(unread)}"] if unread else [])])

    return [check_file(path, describe, missing="missing")]


def _find(data: DataRecipe, subject: str) -> Path:
    root = data.path
    if root is None:
        raise DataError("no data folder was given: set data.path in the recipe, or pass --data FOLDER or FILE.npz.")
    if not root.exists():
        raise DataError(f"there is no {root}. A folder of arrays or an npz file is needed.")
    for own in (root / f"{subject}.npz", root / subject):
        if own.exists():
            return own
    if len(data.subjects) > 1:
        raise DataError(
            f"{root} holds the arrays of one subject; data.subjects names {len(data.subjects)}. Give each subject "
            f"a file or folder of its own: {subject}.npz or {subject}/ in one folder."
        )
    files = sorted(root.glob("*.npz")) if root.is_dir() else []
    if len(files) > 1:
        raise DataError(f"{root} holds {len(files)} npz files, and none is called {subject}.npz. Mend data.subjects.")
    return files[0] if files else root


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array; nothing pickled is ever loaded."""
    try:
        if path.is_dir():
            arrays = {file.stem: np.load(file, allow_pickle=False) for file in sorted(path.glob("*.npy"))}
        else:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read ({error}). A whole npz file, or a folder of npy files, is needed."
        ) from error
    if not arrays:
        raise DataError(
            f"{path} holds no arrays. betas, pictures and stimulus_id are needed, as .npy files or in one .npz."
        )
    return arrays


def _lookup(arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any] | None:
    return next((arrays[alias] for alias in ALIASES[name] if alias in arrays), None)


def _need(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    found = _lookup(arrays, name)
    if found is None:
        raise DataError(
            f"{path} holds no {name} (or {', '.join(ALIASES[name][1:])}); it holds {', '.join(sorted(arrays))}. "
            f"Save {name} there too."
        )
    return found


def _betas(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    betas = _need(path, arrays, "betas")
    if betas.ndim != 2 or betas.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: betas has shape {betas.shape} and type {betas.dtype}; (n_trials, n_voxels) is needed."
        )
    bad = ~np.isfinite(betas).all(axis=0)
    if bad.any():
        raise DataError(
            f"{path}: betas holds NaN or infinite values in {bad.sum()} of {betas.shape[1]} voxels. "
            "Take these voxels out."
        )
    return betas.astype(np.float32)


def _integers(path: Path, name: str, values: NDArray[Any], n: int) -> NDArray[np.int64]:
    whole = values.astype(np.int64) if np.issubdtype(values.dtype, np.number) else None
    if values.shape != (n,) or whole is None or not np.array_equal(whole, values):
        raise DataError(
            f"{path}: {name} has shape {values.shape} and type {values.dtype}; whole numbers ({n},) are needed."
        )
    return whole


def _fitting(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if values.shape != shape:
        raise DataError(f"{path}: {name} has shape {values.shape}; the voxels of betas need {shape}.")
    return values


def _rois(
    path: Path, arrays: Mapping[str, NDArray[Any]], n_voxels: int, wanted: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    known = {
        name.removeprefix("roi_"): _fitting(path, name, mask, (n_voxels,)).astype(bool)
        for name, mask in arrays.items()
        if name.startswith("roi_")
    }
    known["all"] = np.ones(n_voxels, dtype=bool)
    for name in wanted:
        if name not in known:
            raise DataError(
                f"{path} has no ROI {name!r}; it has {', '.join(sorted(known))}. Set data.rois to some of these."
            )
        if not known[name].any():
            raise DataError(f"{path}: roi_{name} holds no voxel; take it out of data.rois.")
    return {name: known[name] for name in wanted}


def _pictures(
    path: Path, arrays: Mapping[str, NDArray[Any]], n_trials: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give a picture for each stimulus, ``(n_stimuli, H, W, 3)``, and the stimulus of each trial."""
    shown = _lookup(arrays, "stimulus_id")
    ids = None if shown is None else _integers(path, "stimulus_id", shown, n_trials)
    if ids is not None and ids.min() < 0:
        raise DataError(f"{path}: stimulus_id holds {ids.min()}; ids count from 0.")
    if "stimulus_pictures" in arrays:
        pictures, each = arrays["stimulus_pictures"], "stimulus"
    else:
        pictures = _need(path, arrays, "pictures")
        each = _whose(path, len(pictures), n_trials, ids)
    pictures = magnify(_to_rgb(path, pictures))
    if each == "stimulus":
        if ids is None or ids.max() >= len(pictures):
            found = "none" if ids is None else f"ids to {ids.max()}"
            raise DataError(
                f"{path}: {len(pictures)} pictures need a stimulus_id from 0 to {len(pictures) - 1}; found {found}."
            )
        return pictures, ids
    if ids is None:
        return _as_they_appear(pictures)
    by_id = np.zeros((int(ids.max()) + 1, *pictures.shape[1:]), dtype=np.uint8)
    by_id[ids] = pictures
    wrong = np.flatnonzero((by_id[ids] != pictures).any(axis=(1, 2, 3)))
    if len(wrong):
        raise DataError(
            f"{path}: two trials of stimulus {ids[wrong[0]]} show different pictures. Mend stimulus_id or pictures."
        )
    return by_id, ids


def _as_they_appear(pictures: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Take equal pictures of ``(n_trials, H, W, 3)`` for one stimulus; the first that appears is stimulus 0."""
    _, first, row = np.unique(pictures.reshape(len(pictures), -1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return pictures[first[order]], np.argsort(order)[row.ravel()].astype(np.int64)


def _whose(path: Path, n_pictures: int, n_trials: int, ids: NDArray[np.int64] | None) -> str:
    if n_pictures != n_trials:
        return "stimulus"
    if (
        ids is not None
        and np.array_equal(np.sort(ids), np.arange(n_trials))
        and not np.array_equal(ids, np.arange(n_trials))
    ):
        raise DataError(
            f"{path}: {n_pictures} pictures may be ordered by trial or by stimulus, and every stimulus is shown once. "
            "Call the array stimulus_pictures if picture i is stimulus i, or leave stimulus_id out if it is trial i."
        )
    return "trial"


def _to_rgb(path: Path, pictures: NDArray[Any]) -> NDArray[np.uint8]:
    if pictures.ndim == 3:
        pictures = np.repeat(pictures[..., None], 3, axis=3)
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.size == 0:
        raise DataError(f"{path}: pictures have shape {pictures.shape}; (n, H, W) or (n, H, W, 3) is needed.")
    whole = np.issubdtype(pictures.dtype, np.integer)
    low, high = float(pictures.min()), float(pictures.max())
    if pictures.dtype == bool or (np.issubdtype(pictures.dtype, np.floating) and low >= 0 and high <= 1):
        return np.rint(pictures.astype(np.float32) * 255).astype(np.uint8)
    if whole and 0 <= low <= high <= 1:
        raise DataError(
            f"{path}: pictures are {pictures.dtype} from {low:g} to {high:g}; of whole numbers 255 is white, so that "
            "all would be black or nearly so. Save them as bool, or times 255."
        )
    if whole and low >= 0 and high <= 255:
        return pictures.astype(np.uint8, copy=False)
    raise DataError(
        f"{path}: pictures are {pictures.dtype} from {low} to {high}; uint8, integers to 255, or floats "
        "from 0 to 1 are needed."
    )


def magnify(pictures: NDArray[np.uint8], side: int = SMALLEST_SIDE) -> NDArray[np.uint8]:
    """Magnify small pictures by a whole number and centre them on a black square; larger ones come back as they are.

    Parameters
    ----------
    pictures
        Shape ``(n, H, W, 3)``.
    side
        Pictures whose longer side is smaller than this become ``(n, side, side, 3)``.
    """
    height, width = pictures.shape[1:3]
    if max(height, width) >= side:
        return pictures
    factor = side // max(height, width)
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    top, left = (side - large.shape[1]) // 2, (side - large.shape[2]) // 2
    canvas = np.zeros((len(pictures), side, side, 3), dtype=np.uint8)
    canvas[:, top : top + large.shape[1], left : left + large.shape[2]] = large
    return canvas


def _captions(path: Path, arrays: Mapping[str, NDArray[Any]], n_stimuli: int) -> list[tuple[str, ...]]:
    if "captions" in arrays:
        texts = _by_stimulus(path, arrays, "captions", n_stimuli, most_axes=2)
        return [tuple(str(text) for text in np.atleast_1d(row) if str(text)) for row in texts]
    if "figure_name" in arrays:
        names = _by_stimulus(path, arrays, "figure_name", n_stimuli)
        return [(f"a white {name} on black",) for name in names]
    return [()] * n_stimuli


def _categories(path: Path, arrays: Mapping[str, NDArray[Any]], n_stimuli: int) -> dict[str, dict[int, str]]:
    if "category" not in arrays:
        return {}
    return {"category": {i: str(label) for i, label in enumerate(_by_stimulus(path, arrays, "category", n_stimuli))}}


def _by_stimulus(
    path: Path, arrays: Mapping[str, NDArray[Any]], name: str, n_stimuli: int, *, most_axes: int = 1
) -> NDArray[Any]:
    """Give an array that says something of each stimulus; one of another length would be of trials, or of others."""
    values = arrays[name]
    if 1 <= values.ndim <= most_axes and len(values) == n_stimuli:
        return values
    needed = f"{path}: {name} has shape {values.shape}; {n_stimuli} stimuli need one each"
    if _lookup(arrays, "stimulus_id") is not None:
        raise DataError(f"{needed}, by stimulus_id, from 0 to {n_stimuli - 1}.")
    raise DataError(
        f"{needed}. Ids are left out: equal pictures are one stimulus, and stimuli are numbered as they first appear "
        f"in the trials. Give {name} in that order, or save stimulus_id too."
    )


def _fixed_test(path: Path, arrays: Mapping[str, NDArray[Any]], seen: NDArray[np.int64]) -> NDArray[np.int64] | None:
    test = arrays.get("test_stimulus_id")
    if test is None:
        return None
    ids = np.unique(_integers(path, "test_stimulus_id", test, test.size))
    if not np.isin(ids, seen).all():
        raise DataError(f"{path}: test_stimulus_id names stimulus {np.setdiff1d(ids, seen)[0]}, which no trial shows.")
    return ids


def _zscore(path: Path, trials: Trials) -> Trials:
    """Standardise within runs, unless a run is too short to know its own mean and spread."""
    runs, counts = np.unique(trials.session, return_counts=True)
    if counts.min() < 3:
        raise DataError(
            f"{path}: run {runs[counts.argmin()]} holds {counts.min()} trials, too few to standardise within runs. "
            "Set data.zscore_sessions to false, or join the run to another."
        )
    return trials.zscore_sessions()
