"""Results folder of a recipe, locked by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reseen.blocks import FeatureBlocks
from reseen.errors import ResultsError
from reseen.features import Features
from reseen.files import (
    Held,
    lock,
    opening_tensors,
    read_image,
    read_text,
    sweep,
    verify_sealed,
    verify_tensors,
    write_json,
    write_sealed,
    write_tensors,
    write_text,
)
from reseen.files.reading import shown
from reseen.recipe import DataRecipe, Recipe, growth, identity, load_recipe, to_toml
from reseen.results.journal import Journal
from reseen.results.manifest import verify_table, write_table
from reseen.results.records import VERSION_OF, computed_by, digest, library_versions, started_recipe
from reseen.tables import read_table, to_csv

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


PLACE = "place"
"""Key of a file's place in the folder, among the settings in the file."""


class ResultsFolder(Journal):
    """Results folder of one recipe, locked by one process at a time.

    Use it as a context manager, or call :meth:`close`, to release the folder.

    Parameters
    ----------
    path
        The folder.
    recipe
        The recipe that is run into it.
    """

    def __init__(self, path: Path, recipe: Recipe, held: Held | None = None) -> None:
        super().__init__(path)
        self.recipe = recipe
        self._held = held
        self._seals: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path | str, recipe: Recipe) -> Self:
        """Open and lock a results folder; create it if it does not exist.

        Raises
        ------
        ResultsError
            If the folder contains the results of another recipe or of other library versions (the field is named),
            if another process is writing to it, or if it cannot be written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"cannot create the results folder {shown(path)}: {error.strerror}."
            raise ResultsError(message, where=path) from error
        results = cls(path, recipe, lock(path))
        try:
            results._compare_recipe()
            results._claim_versions()
            sweep(path)
        except BaseException:
            results._release()
            raise
        return results

    @classmethod
    def join(cls, path: Path, recipe: Recipe) -> Self:
        """Open a results folder on a worker, while another process has locked it.

        Raises
        ------
        ResultsError
            If the worker's libraries are not those that the results were started with.
        """
        results = cls(path, recipe)
        results._claim_versions()
        return results

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Open a finished results folder to read it, without a lock.

        Raises
        ------
        ResultsError
            If it is no results folder.
        """
        path = Path(path)
        if not (path / "recipe.toml").is_file():
            message = f"{shown(path)} is no results folder: it has no recipe.toml. Run a recipe into it first."
            raise ResultsError(message, where=path)
        return cls(path, load_recipe(path / "recipe.toml"))

    def __enter__(self) -> ResultsFolder:
        """Return the folder itself."""
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the folder."""
        self.close()

    def close(self) -> None:
        """Release the folder; the files stay readable through this object."""
        if self._held is not None:
            sweep(self.path)  # workers may have been killed
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    @property
    def data(self) -> DataRecipe:
        """Section ``data`` of the recipe; simulated subjects without a path of their own are in this folder."""
        data = self.recipe.data
        own = data.path is None and data.kind == "simulated"
        return data.model_copy(update={"path": self.path / "data"}) if own else data

    # ------------------------------------------------------------------------------------------------ identity

    def claim(self, name: str, value: str) -> None:
        """Record something that the results depend on; when they resume, compare it with the recorded value.

        Raises
        ------
        ResultsError
            If another value was recorded under this name.
        """
        known = self.provenance
        if name not in known:
            write_json(self.path / "provenance.json", {**known, name: value})
        elif known[name] != value:
            raise ResultsError(
                f"{shown(self.path)} was started with another {name}: expected {known[name]}, found {value}. "
                "Choose another folder, or restore the one that it was started with.",
                where=name,
                expected=known[name],
                found=value,
            )

    @property
    def provenance(self) -> dict[str, str]:
        """Fingerprints and versions that the results depend on, besides the recipe."""
        found: dict[str, str] = self.read_record("provenance.json", dict[str, str])
        return found

    @property
    def fingerprint(self) -> str:
        """Digest of recipe, data, model and versions, which is everything that could change a result."""
        return digest({"recipe": identity(self.recipe), "provenance": self.provenance})

    def _claim_versions(self) -> None:
        for library, found in library_versions().items():
            self.claim(VERSION_OF + library, found)

    def _compare_recipe(self) -> None:
        started = started_recipe(self.path, self.recipe)
        if started is not None:
            grown = growth(self.recipe, started)
            if not grown:
                return
            self._delete_tables(grown)
        # last: if the process is killed before, the next run does all of it again
        write_text(self.path / "recipe.toml", to_toml(self.recipe))

    def _delete_tables(self, grown: Sequence[str]) -> None:
        """Delete the tables that depend on added settings, and all joined tables, which are joined again."""
        names = {"scores", "images", "retrieval"} if "evaluate.protocols" in grown else set()
        if "evaluate.full" in grown:
            names |= {"scores", "images", "diagnostics"}
        for subject in self.recipe.data.subjects:
            for name in names:
                (self.path / subject / f"{name}.csv").unlink(missing_ok=True)
        for name in ("encoding", "scores", "images", "diagnostics", "retrieval", "captions"):
            (self.path / f"{name}.csv").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------ arrays

    def feature_blocks(self, name: str) -> FeatureBlocks:
        """Open the features of this name, such as ``"subj01/zc"``, to be read at once or block by block.

        Raises
        ------
        ResultsError
            If they are missing, incomplete or damaged.
        """
        files = self.feature_files(name)
        for file in files:
            self.check_place(file)
        return FeatureBlocks.open(name.partition("/")[2], files)

    def computed_by(self, stage: str, subject: str) -> dict[str, str]:
        """Return the settings, data and model that a stage's arrays and images are computed by."""
        return computed_by(self.recipe, self.provenance, stage, subject)

    def save_features(self, path: Path, features: Features, computed_by: Mapping[str, str]) -> None:
        """Write features to a path of this folder, with the settings that they were computed by.

        Raises
        ------
        ResultsError
            If they cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {"array": features.array, "stimulus_id": features.stimulus_id}
        if features.fold is not None:
            tensors["fold"] = features.fold
        self.save_arrays(path, tensors, {"name": features.name, **computed_by})

    def save_arrays(self, path: Path, arrays: Mapping[str, NDArray[Any]], computed_by: Mapping[str, str]) -> None:
        """Write named arrays to a path of this folder, with the settings that they were computed by and a checksum.

        Raises
        ------
        ResultsError
            If they cannot be written.
        """
        write_tensors(path, arrays, {**computed_by, PLACE: self.place(path)})

    def load_features(self, path: Path, computed_by: Mapping[str, str] | None = None) -> Features:
        """Read features from a path of this folder, after the checks of `check_place`.

        Raises
        ------
        ResultsError
            If they are missing or damaged, were changed or moved after they were written, or were computed by other
            settings.
        """
        self.check_place(path, computed_by)
        with opening_tensors(path) as (file, settings):
            name = settings.get("name", path.stem)
            fold = file.get_tensor("fold") if "fold" in file.keys() else None  # noqa: SIM118 (no mapping)
            return Features(name, file.get_tensor("array"), file.get_tensor("stimulus_id"), fold)

    def load_arrays(self, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Read named arrays of this folder, and the settings that they were computed by.

        Raises
        ------
        ResultsError
            As `load_features`.
        """
        computed_by = self.check_place(path)
        with opening_tensors(path) as (file, _):
            return {name: file.get_tensor(name) for name in file.keys()}, computed_by  # noqa: SIM118 (no mapping)

    def check_place(self, path: Path, computed_by: Mapping[str, str] | None = None) -> dict[str, str]:
        """Check that a file of arrays is complete, unchanged and in its place, and return its settings.

        If settings are given, they must be equal to those in the file.

        Raises
        ------
        ResultsError
            If a check fails.
        """
        settings = verify_tensors(path)
        place, written = self.place(path), settings.pop(PLACE, None)
        if written != place:
            raise ResultsError(
                f"{shown(path)} has the arrays of {shown(str(written))}: the file was moved. Put it back, or delete it "
                "and run the recipe again.",
                where=path,
                expected=place,
                found=written,
            )
        wanted = computed_by or {}
        differ = [name for name, value in wanted.items() if settings.get(name) != value]
        if differ:
            raise ResultsError(
                f"{shown(path)} was computed by another recipe, other data or another model than those of this folder: "
                f"{', '.join(differ)} of the arrays differ. Delete it and run the recipe again.",
                where=path,
                expected={name: wanted[name] for name in differ},
                found={name: settings.get(name) for name in differ},
            )
        return settings

    def has_arrays(self, path: Path, computed_by: Mapping[str, str]) -> bool:
        """Return whether arrays exist, after a check that they were computed by these settings.

        Raises
        ------
        ResultsError
            As `check_place`.
        """
        if not os.path.lexists(path):
            return False
        self.check_place(path, computed_by)
        return True

    # ------------------------------------------------------------------------------------------------ images and text

    def save_image(self, path: Path, image: NDArray[np.uint8]) -> None:
        """Write an image, ``(height, width, 3)`` uint8, as PNG with a checksum."""
        write_sealed(path, image, self._belongs(path))

    def has_image(self, path: Path) -> bool:
        """Return whether an image exists, after a check against its checksum.

        Raises
        ------
        ResultsError
            If it is not the image that was written there.
        """
        if not os.path.lexists(path):
            return False
        verify_sealed(path, self._belongs(path))
        return True

    def load_image(self, path: Path) -> NDArray[np.uint8]:
        """Read an image, ``(height, width, 3)`` uint8.

        Raises
        ------
        ResultsError
            If it is missing or damaged, or is not the image that was written there.
        """
        verify_sealed(path, self._belongs(path))
        return read_image(path, ResultsError)

    def _belongs(self, path: Path) -> str:
        """Return the place of an image and a digest of its settings, which its checksum covers."""
        place = self.place(path)
        subject = place.partition("/")[0]
        if subject not in self._seals:
            self._seals[subject] = digest(self.computed_by("reconstruct", subject))
        return f"{place} {self._seals[subject]}"

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV, such as ``"scores"`` to ``scores.csv``."""
        write_table(self.path, f"{name}.csv", to_csv(table))

    def has_table(self, name: str, columns: Sequence[str]) -> bool:
        """Return whether a table exists and has these columns; an older version may have written others.

        Raises
        ------
        ResultsError
            If it was changed after it was written.
        """
        path = self.path / f"{name}.csv"
        if not os.path.lexists(path):
            return False
        if read_text(path, ResultsError).partition("\n")[0] != ",".join(columns):
            return False
        verify_table(self.path, f"{name}.csv")
        return True

    def load_table(self, name: str) -> pd.DataFrame:
        """Read a table written by :meth:`save_table`, as `reseen.tables.read_table` does."""
        path = self.path / f"{name}.csv"
        if not os.path.lexists(path):
            message = f"{shown(path)} is missing. Run the recipe up to the stage that writes it."
            raise ResultsError(message, where=path)
        verify_table(self.path, f"{name}.csv")
        return read_table(path)

    def save_text(self, name: str, text: str) -> Path:
        """Write a text file, such as ``"report.html"``, and return its path."""
        write_text(self.path / name, text)
        return self.path / name
