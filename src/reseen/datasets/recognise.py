"""Name files and folders for what they are, if ``data.kind`` does not read them, and the setting that does.

Only names, first bytes and headers are read, after a reader has refused the data.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reseen.errors import DataError, RecipeError, ReseenError
from reseen.files import IMAGE_SUFFIXES
from reseen.files.reading import shown
from reseen.recipe import DataRecipe

MOST_FILES = 20_000
"""Maximum number of files of a folder whose names are compared."""
_HEAD = 512
_ARRAYS = 'Set data.kind = "arrays".'
_OWN = ("arrays",)
_LABELS = re.compile(r"(\S+)[ \t,]+\d+")


class Layout(NamedTuple):
    """What a file or folder is.

    Parameters
    ----------
    what
        Noun phrase for ``"... is {what}."``.
    fix
        Sentences: what is missing, and which setting reads it.
    kinds
        Values of ``data.kind`` that read it as ``data.path``.
    """

    what: str
    fix: str
    kinds: tuple[str, ...] = ()


@contextmanager
def naming_layout(data: DataRecipe) -> Iterator[None]:
    """Replace an error of a reader by a sentence about the data, if they are of another layout than ``data.kind``.

    Raises
    ------
    DataError
        The sentence, or the error of the reader.
    """
    try:
        yield
    except (DataError, RecipeError) as error:
        refuse_other_layout(data, error)
        raise


def refuse_other_layout(data: DataRecipe, cause: ReseenError | None = None) -> None:
    """Refuse data of another layout than ``data.kind`` reads, unless settings name the responses or the trials.

    Raises
    ------
    DataError
        If ``data.path`` is recognised, and ``data.kind`` is not one of its kinds.
    """
    chosen = data.path is None or data.responses is not None or data.trials is not None
    found = None if chosen or data.path is None else recognise(data.path)
    if found is not None and data.kind not in found.kinds:
        raise DataError(
            f"{shown(str(data.path))} is {found.what}. {found.fix}",
            where="data.kind",
            expected=found.kinds or None,
            found=data.kind,
        ) from cause


def recognise(path: Path) -> Layout | None:
    """Return what a file or folder is; None if it is nothing known."""
    try:
        if path.is_dir():
            return _folder(path)
        return _file(path) if path.is_file() else None
    except OSError:
        return None  # the reader's own error says what prevents reading


# --------------------------------------------------------------------------------------------------------- files


def _file(path: Path) -> Layout | None:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for is_it, describe in _FILES:
        if is_it(path, head):
            return describe(path, head)
    return None


def _npz(_path: Path, _head: bytes) -> Layout:
    return Layout("an npz file", _ARRAYS, _OWN)


def _events(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "an events file of BIDS: trials without responses",
        'Give the folder of the data set, with data.kind = "bids"; or set data.trials to this file, data.responses to '
        'the betas, and data.kind = "trials".',
    )


def _cifti(path: Path, _head: bytes) -> Layout:
    if ".dtseries." in path.name:
        return Layout(
            "a CIFTI time series, and one row for each trial is needed",
            'Fit a GLM with a regressor for each trial, save its betas as .dscalar.nii, and set data.kind = "cifti".',
        )
    return Layout(
        "a CIFTI file: responses without their images",
        'Set data.kind = "cifti" and data.trials to the events files or a trial table.',
        ("cifti",),
    )


def _gifti(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "a GIFTI file: responses of one hemisphere without their images",
        'Give the folder of both hemispheres, with data.kind = "gifti" and data.trials for the events files or a trial '
        "table.",
        ("gifti",),
    )


def _nifti(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "a NIfTI file: a volume without a table of the images shown",
        "Write trials.csv (one row for each volume, with a column image) and give its folder; set data.kind = "
        '"trials", data.responses to this file and data.mask to the brain mask. If it is a time series in BIDS, give '
        'the folder of the data set, with data.kind = "bids".',
    )


def _hdf5(path: Path, head: bytes) -> Layout:
    names = _names_in(path)
    if {"dataset", "metadata"} <= names or {"dataSet", "metaData"} <= names:
        return Layout("a BData file of the Kamitani lab", 'Set data.kind = "bdata".', ("bdata",))
    if "ResponseData" in names:
        return Layout(
            "the responses of THINGS-fMRI", 'Give the folder of betas_csv, with data.kind = "things".', ("things",)
        )
    if names & {"betasmd", "modelmd"} or path.name.startswith("DESIGNINFO"):
        return Layout(
            "an output of GLMsingle, which names no images",
            'Give its folder, with data.kind = "glmsingle" and data.trials for the table of conditions.',
            ("glmsingle",),
        )
    if "betas" in names and path.name.startswith("betas_all_"):
        return Layout("a file of MindEye2's betas", 'Give its folder, with data.kind = "mindeye".')
    what = "a MATLAB 7.3 file" if head.startswith(b"MATLAB 7.3") else "an HDF5 file (or MATLAB 7.3)"
    listed = f" with {', '.join(map(shown, sorted(names)[:5]))}" if names else ""
    return Layout(
        f"{what}{listed}, of no layout that is known",
        'Read its arrays with h5py and save them by numpy.savez, for data.kind = "arrays".',
    )


def _names_in(path: Path) -> set[str]:
    """Return the names in an HDF5 file's root group; none if it is damaged."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return set(file)  # names alone: no link is followed
    except (OSError, RuntimeError):
        return set()


def _matlab(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "a MATLAB file of version 5",
        'Read its arrays with scipy.io.loadmat and save them by numpy.savez, for data.kind = "arrays". An output of '
        'GLMsingle is read with data.kind = "glmsingle" if it is saved with -v7.3.',
    )


def _npy(path: Path, _head: bytes) -> Layout:
    if not _is_pickled(path):
        return Layout(
            "one array, without the others",
            'Give the folder of the npy files, or an npz of all (data.kind = "arrays"); or set data.responses to this '
            'file, data.trials to a trial table, and data.kind = "trials".',
        )
    if path.name.startswith(("TYPE", "DESIGNINFO")):
        return Layout(
            "an output of GLMsingle, pickled by numpy",
            'Give its folder, with data.kind = "glmsingle" and data.trials for the table of conditions.',
        )
    if path.name.startswith("mapping_"):
        return Layout(
            "a table of ROI names of the Algonauts challenge, pickled by numpy",
            'Give the folder of the subjects, with data.kind = "algonauts".',
        )
    return Layout(
        "a pickled Python object, and pickles are not read because they can run any program",
        'Save its arrays by numpy.savez, for data.kind = "arrays".',
    )


def _is_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return bool(read(file)[2].hasobject)
        except ValueError:
            return False


def _pickle(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "a pickle, which is not read because it can run any program",
        'Save its arrays by numpy.savez, for data.kind = "arrays".',
    )


def _is_image(path: Path, head: bytes) -> bool:
    return head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or path.suffix.lower() in IMAGE_SUFFIXES


def _image(_path: Path, _head: bytes) -> Layout:
    return Layout(
        "an image: a stimulus without responses",
        "Give the folder of the responses as data.path, and set data.images to the folder of the images.",
    )


def _blocks(path: Path, _head: bytes) -> Layout:
    return _block_design(path, _block_labels(path))


def _block_design(path: Path, labels: Sequence[str]) -> Layout:
    some = ", ".join(map(shown, sorted(set(labels))[:4]))
    return Layout(
        f"a block design: {path.name} has categories ({some}) for {len(labels)} volumes, not an image for each trial",
        "reseen reconstructs single images from the responses to each, so that such data cannot be used. A table that "
        "names the image of each trial is needed.",
    )


def _block_labels(path: Path) -> list[str]:
    """Return the category of each volume, of a text file with a label and a run in each line; none for other files.

    In blocks, most lines have the label of the line before.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.read(2**20).splitlines()
    matches = [_LABELS.fullmatch(line.strip()) for line in lines if line.strip()]
    if matches and matches[0] is None:
        matches = matches[1:]  # a header
    labels = [match[1] for match in matches if match is not None]
    if len(labels) < 20 or len(labels) < len(matches):
        return []
    n_repeated = sum(first == second for first, second in itertools.pairwise(labels))
    return labels if n_repeated > len(labels) / 2 and not labels[0].isdecimal() else []


def _text(path: Path, _head: bytes) -> Layout:
    if path.suffix in (".csv", ".tsv"):
        return Layout(
            "a text file, such as a trial table, without responses",
            'Give its folder, with data.kind = "trials" and data.trials for this file.',
        )
    return Layout("a text file", 'Responses are needed: an npz file or a folder of npy files for data.kind = "arrays".')


def _is_text(head: bytes) -> bool:
    return bool(head) and all(byte in b"\t\n\r" or byte >= 32 for byte in head)


def _is_nifti(head: bytes) -> bool:
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, _HEAD)
        except zlib.error:
            return False
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0"


def _compressed(_path: Path, _head: bytes) -> Layout:
    return Layout("a compressed file", "Decompress it, and give the file or folder that it contains.")


_FILES: Sequence[tuple[Callable[[Path, bytes], bool], Callable[[Path, bytes], Layout]]] = (
    (lambda path, _: path.name.endswith("events.tsv"), _events),
    (lambda path, _: path.name.endswith((".dscalar.nii", ".dlabel.nii", ".dtseries.nii")), _cifti),
    (lambda path, _: path.suffix == ".gii", _gifti),
    (lambda _, head: head.startswith((b"PK\x03\x04", b"PK\x05\x06")), _npz),
    (lambda _, head: head.startswith((b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3")), _hdf5),
    (lambda _, head: head.startswith(b"MATLAB 5.0"), _matlab),
    (lambda _, head: _is_nifti(head), _nifti),
    (lambda _, head: head.startswith(b"\x1f\x8b"), _compressed),
    (lambda _, head: head.startswith(b"\x93NUMPY"), _npy),
    (lambda path, head: head[:1] == b"\x80" and path.suffix in (".pkl", ".pickle", ".p"), _pickle),
    (
        lambda path, head: head.startswith((b"\x89PNG", b"\xff\xd8\xff")) or path.suffix.lower() in IMAGE_SUFFIXES,
        _image,
    ),
    (lambda path, head: _is_text(head) and bool(_block_labels(path)), _blocks),
    (lambda _, head: _is_text(head), _text),
)
"""Tests of name and first bytes, and what a file is that passes; the first decides."""

# ------------------------------------------------------------------------------------------------------- folders

_PATTERNS: Mapping[str, Layout] = {
    r"(.*/)?nsddata(_betas|_stimuli)?/.*": Layout(
        "a tree in NSD's layout", 'Set data.kind = "nsd".', ("nsd", "simulated")
    ),
    r"([^/]*/)?trials\.[ct]sv": Layout("a folder with a trial table", 'Set data.kind = "trials".', ("trials",)),
    r"([^/]*/)?training_split/.*": Layout(
        "data of the Algonauts challenge", 'Set data.kind = "algonauts".', ("algonauts",)
    ),
    r"betas_all_[^/]*\.hdf5": Layout("a folder of MindEye2's files", 'Set data.kind = "mindeye".', ("mindeye",)),
    r"(.*/)?[^/]*_ResponseData\.h5|(.*/)?[^/]*ses-things[^/]*_betas\.nii\.gz": Layout(
        "THINGS-fMRI", 'Set data.kind = "things".', ("things",)
    ),
    r"(.*/)?[^/]*_GLMbetas-[^/]*_ses-\d+\.nii(\.gz)?": Layout(
        "BOLD5000", 'Set data.kind = "bold5000", and data.trials to its events files.', ("bold5000",)
    ),
    r"(.*/)?(TYPE[A-D]_[^/]*|DESIGNINFO)\.(npy|hdf5|mat)": Layout(
        "a folder of GLMsingle's outputs, which name no images",
        'Set data.kind = "glmsingle", and data.trials to a table of the conditions and their images.',
        ("glmsingle",),
    ),
    r"(.*/)?[^/]*\.dscalar\.nii": Layout(
        "a folder of CIFTI files", 'Set data.kind = "cifti", and data.trials to the events files.', ("cifti",)
    ),
    r"(.*/)?[^/]*\.(func|shape)\.gii": Layout(
        "a folder of GIFTI files", 'Set data.kind = "gifti", and data.trials to the events files.', ("gifti",)
    ),
    r"dataset_description\.json|(.*/)?sub-[^/]*_events\.tsv|(.*/)?sub-[^/]*_bold\.nii(\.gz)?": Layout(
        "a BIDS data set", 'Set data.kind = "bids", and data.images to the folder of the images.', ("bids",)
    ),
    r"([^/]*/)?[^/.][^/]*\.npz|([^/]*/)?(betas|responses|fmri)\.npy": Layout("a folder of arrays", _ARRAYS, _OWN),
}
"""Regular expressions of a file's path in the folder -> what the folder is; the first that a file fits names it."""


def _folder(folder: Path) -> Layout | None:
    paths = itertools.islice(folder.rglob("*"), MOST_FILES)
    files = sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file() and path.name[0] != ".")
    fitting = []
    for pattern, layout in _PATTERNS.items():
        if any(re.fullmatch(pattern, name) for name in files):
            fitting.append(layout)
    hdf5 = [name for name in files if name.endswith(".h5") and "/" not in name]
    if not fitting and hdf5:
        first = _file(folder / hdf5[0])
        fitting = [first] if first is not None and first.kinds else []
    if fitting:
        kinds = tuple(kind for layout in fitting for kind in layout.kinds)
        return fitting[0]._replace(kinds=kinds)
    return _plain_folder(folder, files)


def _plain_folder(folder: Path, files: Sequence[str]) -> Layout | None:
    """Return what a folder without the names of a layout is: a block design, volumes, or images."""
    volumes = [name for name in files if name.endswith((".nii", ".nii.gz"))]
    for name in files:
        labels = _block_labels(folder / name) if name.endswith((".txt", ".csv", ".tsv")) else []
        if labels:
            return _block_design(folder / name, labels)
    if volumes:
        return Layout(
            f"a folder of {len(volumes)} NIfTI files without a table of the images shown",
            "Write trials.csv into it: one row for each trial, with a column image, and a column beta with "
            'file names if each trial has its own file. Set data.kind = "trials".',
            ("trials", "bids"),
        )
    n_images = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files)
    if n_images and n_images > len(files) / 2:
        return Layout(
            f"a folder of {n_images} images, without responses",
            "Give the folder of the responses as data.path, and set data.images to this folder.",
        )
    return None
