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
from reseen.files.shell import shell_line
from reseen.recipe import Recipe, differences, growth, identity, load_recipe, to_toml
from reseen.results.journal import Journal
from reseen.results.manifest import verify_table, write_table
from reseen.results.records import VERSION_OF, computed_by, digest, library_versions
from reseen.tables import read_table, to_csv

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


PLACE = "place"
"""Key of where in the folder a file of arrays was written, among what its arrays were computed by."""


def lost_recipe(path: Path) -> ResultsError:
    """Return the error for a folder that has results and no recipe."""
    return ResultsError(
        f"{path} holds results, and no recipe.toml that says of what. Put it back, or choose another folder with --out."
    )


def other_recipe(path: Path, differ: Sequence[str]) -> ResultsError:
    """Return the error of a folder that was started with another recipe; ``differ`` is what `differences` returns."""
    return ResultsError(
        f"{shown(path)} holds the results of another recipe. Expected is what it was started with, found is what this "
        "command asks for:\n  " + "\n  ".join(differ) + "\nChoose another folder with --out, or continue with the "
        f"folder's own recipe: {shell_line('reseen', 'run', path / 'recipe.toml', '--out', path)}"
    )


class ResultsFolder(Journal):
    """Results folder of one recipe, locked by one process at a time.

    Use it as a context manager, or call :meth:`close`, to let go of the folder.

    Parameters
    ----------
    path
        The folder.
    recipe
        What is run into it.
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
            If the folder holds the results of another recipe or of other library versions (the field is named),
            if another process is writing to it, or if it cannot be written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(f"cannot make the results folder {path}: {error.strerror}.") from error
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
        """Work in a results folder that another process holds, as its workers do.

        Raises
        ------
        ResultsError
            If the libraries here are not those that the results were started with.
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
            raise ResultsError(f"{path} is no results folder: it has no recipe.toml. Run a recipe into it first.")
        return cls(path, load_recipe(path / "recipe.toml"))

    def __enter__(self) -> ResultsFolder:
        """Return the folder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the folder."""
        self.close()

    def close(self) -> None:
        """Release the folder; the files stay readable through this object."""
        if self._held is not None:
            sweep(self.path)  # of workers that were killed
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    # ------------------------------------------------------------------------------------------------ identity

    def claim(self, name: str, value: str) -> None:
        """Record something the results depend on, or hold it against what was recorded when they were started.

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
                f"{self.path} was started with another {name}: expected {known[name]}, found {value}. "
                "Choose another folder, or restore what it was started with."
            )

    @property
    def provenance(self) -> dict[str, str]:
        """What the results depend on besides the recipe: fingerprints and versions."""
        found: dict[str, str] = self.read_record("provenance.json", dict[str, str])
        return found

    @property
    def fingerprint(self) -> str:
        """Digest of everything that could change a result: recipe, data, model, versions."""
        return digest({"recipe": identity(self.recipe), "provenance": self.provenance})

    def _claim_versions(self) -> None:
        for library, found in library_versions().items():
            self.claim(VERSION_OF + library, found)

    def _compare_recipe(self) -> None:
        file = self.path / "recipe.toml"
        if file.is_file():
            started = load_recipe(file)
            if differ := differences(self.recipe, started):
                raise other_recipe(self.path, differ)
            if not (grown := growth(self.recipe, started)):
                return
            self._drop_tables(grown)
        elif self.provenance:
            raise lost_recipe(self.path)
        write_text(file, to_toml(self.recipe))  # last: whatever ends this before begins it again

    def _drop_tables(self, grown: Sequence[str]) -> None:
        """Delete the tables that what was added to the recipe changes; joined tables are made again from the others."""
        names = {"scores", "images"} if "evaluate.protocols" in grown else set()
        if "evaluate.full" in grown:
            names |= {"scores", "images", "diagnostics"}
        for subject in self.recipe.data.subjects:
            for name in names:
                (self.path / subject / f"{name}.csv").unlink(missing_ok=True)
        for name in ("encoding", "scores", "images", "diagnostics"):
            (self.path / f"{name}.csv").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------ arrays

    def feature_blocks(self, name: str) -> FeatureBlocks:
        """Return the features of this name, such as ``"subj01/zc"``, to be read whole or block by block.

        Raises
        ------
        ResultsError
            If they are not there, not whole or damaged.
        """
        files = self.feature_files(name)
        for file in files:
            self.check_place(file)
        return FeatureBlocks.open(name.partition("/")[2], files)

    def computed_by(self, stage: str, subject: str) -> dict[str, str]:
        """Return what a stage's arrays and images are computed by: the settings that matter, the data and the model."""
        return computed_by(self.recipe, self.provenance, stage, subject)

    def save_features(self, path: Path, features: Features, computed_by: Mapping[str, str]) -> None:
        """Write features to a path of this folder, with the settings that they were computed by.

        Raises
        ------
        ResultsError
            If they cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {"array": features.array, "stimulus_id": features.stimulus_id}
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
            If they are missing or damaged, changed after they were written, belong elsewhere or were computed by other
            settings.
        """
        self.check_place(path, computed_by)
        with opening_tensors(path) as (file, settings):
            name = settings.get("name", path.stem)
            return Features(name, file.get_tensor("array"), file.get_tensor("stimulus_id"))

    def load_arrays(self, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Read named arrays of this folder, and what they were computed by.

        Raises
        ------
        ResultsError
            As `load_features`.
        """
        computed_by = self.check_place(path)
        with opening_tensors(path) as (file, _):
            return {name: file.get_tensor(name) for name in file.keys()}, computed_by  # noqa: SIM118 (no mapping)

    def check_place(self, path: Path, computed_by: Mapping[str, str] | None = None) -> dict[str, str]:
        """Check that a file of arrays is complete, unchanged and where it was written, and return its settings.

        Where settings are given, the arrays must have been computed by them.

        Raises
        ------
        ResultsError
            If it is not.
        """
        found = verify_tensors(path)
        place = self.place(path)
        if (written := found.pop(PLACE, None)) != place:
            raise ResultsError(
                f"{shown(path)} holds other arrays than were written there: those of {shown(str(written))}. Put it "
                "back where it was, or delete it and run the recipe again."
            )
        if differ := [name for name, value in (computed_by or {}).items() if found.get(name) != value]:
            raise ResultsError(
                f"{shown(path)} was computed otherwise than this folder says: {', '.join(differ)} of the arrays differ "
                "from those of the recipe, the data and the model here. Delete it and run the recipe again."
            )
        return found

    def has_arrays(self, path: Path, computed_by: Mapping[str, str]) -> bool:
        """Return whether arrays are there, after checking that they were computed by these settings.

        Raises
        ------
        ResultsError
            As `check_place`.
        """
        if not os.path.lexists(path):
            return False
        self.check_place(path, computed_by)
        return True

    # ------------------------------------------------------------------------------------------------ the rest

    def save_image(self, path: Path, image: NDArray[np.uint8]) -> None:
        """Write an image, ``(height, width, 3)`` uint8, as PNG with a checksum."""
        write_sealed(path, image, self._belongs(path))

    def has_image(self, path: Path) -> bool:
        """Return whether an image is there, after comparing it with its checksum.

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
        """Return which image a path is for, and what it is computed by."""
        place = self.place(path)
        subject = place.partition("/")[0]
        if subject not in self._seals:
            self._seals[subject] = digest(self.computed_by("reconstruct", subject))
        return f"{place} {self._seals[subject]}"

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV, such as ``"scores"`` to ``scores.csv``."""
        write_table(self.path, f"{name}.csv", to_csv(table))

    def has_table(self, name: str, columns: Sequence[str]) -> bool:
        """Return whether a table is there and has these columns; an older one may have others.

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
            raise ResultsError(f"{shown(path)} is missing. Run the recipe up to the stage that writes it.")
        verify_table(self.path, f"{name}.csv")
        return read_table(path)

    def save_text(self, name: str, text: str) -> Path:
        """Write a text file, such as ``"report.html"``, and give its path."""
        write_text(self.path / name, text)
        return self.path / name
