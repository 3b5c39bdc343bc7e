"""Recording: the folder of live trials. Every trial is complete or absent, so that a killed program loses nothing.

::

    live.json                   settings, which a program that resumes must have too
    voxels.npy                  index of each voxel of the betas
    trials/00007/trial.json     file, session, stimulus, times and confidence; see `TrialRecord`
    trials/00007/betas.npy      betas of the trial as they arrived, (n_voxels,)
    trials/00007/z.npy, z.png   feature and image of the start
    trials/00007/c.npy          other features
    trials/00007/zc.png         image
    trials/00007/image.json     written last: time of the image; see `ImageRecord`
    bad/00000.json              files that cannot be used; see `BadRecord`
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reseen.errors import ResultsError
from reseen.files import lock, read_json, reading, shown, sweep, write_json, writing, writing_folder

SETTINGS = "live.json"
FIX = "Restore it from a copy, or start a new recording with --out."


@dataclass(frozen=True)
class TrialRecord:
    """One decoded trial.

    Parameters
    ----------
    number
        Number of the trial, from 0.
    file
        Name of its file.
    size, modified
        Size of the file in bytes, and time of its last change in ns, by which a later change is noticed.
    session
        Session of the trial.
    stimulus_id
        Stimulus, or None if it is unknown.
    arrived
        Time at which the trial was there, in seconds since 1970: the last change of its file, or the start of the
        program if the file was there before.
    seconds
        Seconds from then until the feature of the start and its image were there.
    confidence
        Numbers of `reseen.live.confidence`.
    """

    number: int
    file: str
    size: int
    modified: int
    session: int
    stimulus_id: int | None
    arrived: float
    seconds: float
    confidence: dict[str, float]


@dataclass(frozen=True)
class ImageRecord:
    """Image of a trial.

    Parameters
    ----------
    seconds
        Seconds from the arrival of the trial until the image was recorded; None if it was generated after a restart.
    error
        Reason why there is no image; empty if there is one.
    """

    seconds: float | None
    error: str


@dataclass(frozen=True)
class BadRecord:
    """A file that cannot be used, its state (see `reseen.live.arrivals.FileState`), the reason, and the time."""

    file: str
    inode: int
    size: int
    modified: int
    error: str
    time: float


class Recording:
    """Folder of live trials; `open` locks it for one program that writes, `read` only reads.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials: list[TrialRecord] = []
        self.images: dict[int, ImageRecord] = {}
        self.bad: list[BadRecord] = []

    @classmethod
    @contextmanager
    def open(cls, path: Path, settings: Mapping[str, Any], voxel_index: NDArray[np.int64]) -> Iterator[Self]:
        """Start a recording, or resume one with the same settings.

        Raises
        ------
        ResultsError
            If the folder has another recording or other files, is in use, is damaged, or cannot be written.
        """
        _check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        with closing(lock(path)):
            sweep(path)
            found = cls(path)
            found._claim(settings, voxel_index)
            found._load()
            yield found

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recording.

        Raises
        ------
        ResultsError
            If it is no recording, or is damaged.
        """
        if not (path / SETTINGS).is_file():
            message = f"{shown(path)} is no recording of live trials: it has no {SETTINGS}. Name the folder of --out."
            raise ResultsError(message, where=path)
        found = cls(path)
        found._load()
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the recording."""
        known: dict[str, Any] = read_json(self.path / SETTINGS, dict[str, Any], ResultsError, fix=FIX)
        return known

    @property
    def pending(self) -> list[int]:
        """Numbers of the trials whose images are not generated yet."""
        return [record.number for record in self.trials if record.number not in self.images]

    def folder(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.path / "trials" / f"{number:05d}"

    def betas(self, number: int) -> NDArray[np.float32]:
        """Return the betas of a trial, ``(n_voxels,)``."""
        return self.feature(number, "betas")

    def feature(self, number: int, name: str) -> NDArray[np.float32]:
        """Return a decoded feature of a trial, ``(...)``.

        Raises
        ------
        ResultsError
            If it is missing or damaged.
        """
        path = self.folder(number) / f"{name}.npy"
        with reading(path, ResultsError, FIX):
            found: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return found

    def add_trial(
        self,
        record: TrialRecord,
        betas: NDArray[np.float32],
        features: Mapping[str, NDArray[np.float32]],
        images: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        """Write a decoded trial.

        Raises
        ------
        ResultsError
            If it cannot be written.
        """
        with writing_folder(self.folder(record.number)) as part:
            for name, array in {"betas": betas, **features}.items():
                _save(part / f"{name}.npy", array)
            for name, image in images.items():
                _save_image(part / f"{name}.png", image)
            write_json(part / "trial.json", asdict(record))
        self.trials.append(record)

    def add_features(self, number: int, features: Mapping[str, NDArray[np.float32]]) -> None:
        """Write the other features of a trial; `ResultsError` as in `add_trial`."""
        for name, array in features.items():
            _save(self.folder(number) / f"{name}.npy", array)

    def add_image(
        self,
        number: int,
        record: ImageRecord,
        images: Mapping[str, NDArray[np.uint8]],
    ) -> None:
        """Write the image of a trial; `ResultsError` as in `add_trial`."""
        folder = self.folder(number)
        for name, image in images.items():
            _save_image(folder / f"{name}.png", image)
        write_json(folder / "image.json", asdict(record))
        self.images[number] = record

    def add_bad(self, record: BadRecord) -> None:
        """Write why a file cannot be used; `ResultsError` as in `add_trial`."""
        write_json(self.path / "bad" / f"{len(self.bad):05d}.json", asdict(record))
        self.bad.append(record)

    def _claim(self, settings: Mapping[str, Any], voxel_index: NDArray[np.int64]) -> None:
        """Write the settings, or compare them with those of the recording."""
        voxels = self.path / "voxels.npy"
        if not (self.path / SETTINGS).exists():
            _save(voxels, voxel_index)
            write_json(self.path / SETTINGS, settings)
            return
        known = self.settings
        differ = [name for name in {**known, **settings} if known.get(name) != settings.get(name)]
        if differ:
            name = differ[0]
            raise ResultsError(
                f"{shown(self.path)} has a recording with {name} = {known.get(name)!r}, not {settings.get(name)!r}. "
                "Resume it with its own settings, or choose another --out.",
                where=name,
                expected=known.get(name),
                found=settings.get(name),
            )

    def _load(self) -> None:
        """Read the records of all trials and bad files."""
        for folder in sorted((self.path / "trials").glob("[0-9]*")):
            record: TrialRecord = read_json(folder / "trial.json", TrialRecord, ResultsError, fix=FIX)
            if record.number != len(self.trials) or folder.name != self.folder(record.number).name:
                raise ResultsError(
                    f"{shown(self.path)} lacks trial {len(self.trials)}: found {folder.name} next. {FIX}",
                    where=folder,
                    expected=len(self.trials),
                    found=record.number,
                )
            self.trials.append(record)
            done = folder / "image.json"
            if done.exists():
                self.images[record.number] = read_json(done, ImageRecord, ResultsError, fix=FIX)
        for path in sorted((self.path / "bad").glob("[0-9]*.json")):
            self.bad.append(read_json(path, BadRecord, ResultsError, fix=FIX))


def _check_folder(path: Path) -> None:
    """Refuse a folder with other files."""
    if path.is_dir() and any(path.iterdir()) and not (path / SETTINGS).exists():
        names = [found.name for found in path.iterdir()]  # names with a dot are a lock, or left by a kill
        left = [name for name in names if name != "voxels.npy" and not name.startswith(".")]
        if left:
            raise ResultsError(
                f"{shown(path)} is not empty and has no recording. Name a folder that does not exist yet.", where=path
            )


def _save(path: Path, array: NDArray[Any]) -> None:
    with writing(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _save_image(path: Path, image: NDArray[np.uint8]) -> None:
    from PIL import Image

    with writing(path) as part:
        Image.fromarray(image).save(part, format="PNG")
