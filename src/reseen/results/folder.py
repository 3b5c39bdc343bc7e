"""Folder: what a recipe is run into, held by one process at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reseen.blocks import FeatureBlocks
from reseen.errors import ResultsError
from reseen.features import Features
from reseen.files import (
    Held,
    as_metadata,
    lock,
    opening_tensors,
    read_json,
    read_picture,
    sweep,
    write_json,
    write_text,
    writing,
)
from reseen.files.reading import shown
from reseen.files.shell import shell_line
from reseen.recipe import Recipe, differences, growth, identity, load_recipe, to_toml
from reseen.results.records import VERSION_OF, StageTime, begun, digest, ended, library_versions
from reseen.tables import Level, read_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def lost_recipe(path: Path) -> ResultsError:
    """Give the error of a folder that holds results and no recipe."""
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


class Results:
    """Be the results folder of one recipe, held by one process at a time.

    Use it as a context manager, or call :meth:`close`, to let go of the folder.

    Parameters
    ----------
    path
        The folder.
    recipe
        What is run into it.
    """

    def __init__(self, path: Path, recipe: Recipe, held: Held | None = None) -> None:
        self.path = path
        self.recipe = recipe
        self._held = held

    @classmethod
    def open(cls, path: Path | str, recipe: Recipe) -> Results:
        """Take hold of a results folder, making it if need be.

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
    def join(cls, path: Path, recipe: Recipe) -> Results:
        """Work in a results folder that another process holds, as its workers do.

        Raises
        ------
        ResultsError
            If the libraries here are not those that the results were begun with.
        """
        results = cls(path, recipe)
        results._claim_versions()
        return results

    @classmethod
    def read(cls, path: Path | str) -> Results:
        """Look into a finished results folder, without holding it.

        Raises
        ------
        ResultsError
            If it is no results folder.
        """
        path = Path(path)
        if not (path / "recipe.toml").is_file():
            raise ResultsError(f"{path} is no results folder: it has no recipe.toml. Run a recipe into it first.")
        return cls(path, load_recipe(path / "recipe.toml"))

    def __enter__(self) -> Results:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the folder."""
        self.close()

    def close(self) -> None:
        """Let go of the folder; the files stay readable through this object."""
        if self._held is not None:
            sweep(self.path)  # of workers that were killed
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    # ------------------------------------------------------------------------------------------------ identity

    def claim(self, name: str, value: str) -> None:
        """Record something the results depend on, or hold it against what was recorded when they were begun.

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
                f"{self.path} was begun with another {name}: expected {known[name]}, found {value}. "
                "Choose another folder, or restore what it was begun with."
            )

    @property
    def provenance(self) -> dict[str, str]:
        """Give what the results depend on besides the recipe: fingerprints and versions."""
        found: dict[str, str] = self._recorded("provenance.json", dict[str, str])
        return found

    @property
    def fingerprint(self) -> str:
        """Give the digest of everything that could change a result: recipe, data, model, versions."""
        return digest({"recipe": identity(self.recipe), "provenance": self.provenance})

    def _claim_versions(self) -> None:
        for library, found in library_versions().items():
            self.claim(VERSION_OF + library, found)

    def _compare_recipe(self) -> None:
        file = self.path / "recipe.toml"
        if file.is_file():
            begun = load_recipe(file)
            if differ := differences(self.recipe, begun):
                raise other_recipe(self.path, differ)
            if not (grown := growth(self.recipe, begun)):
                return
            self._drop_tables(("scores", "pictures", *(("reading",) if "evaluate.full" in grown else ())))
        elif self.provenance:
            raise lost_recipe(self.path)
        write_text(file, to_toml(self.recipe))  # last: whatever ends this before begins it again

    def _drop_tables(self, names: Sequence[str]) -> None:
        for folder in (self.path, *(self.path / subject for subject in self.recipe.data.subjects)):
            for name in names:
                (folder / f"{name}.csv").unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------ arrays

    def kept_folder(self, subject: str) -> Path:
        """Give where a subject's large sessions are kept once they have been read."""
        return self.path / "kept" / subject

    def features_path(self, name: str) -> Path:
        """Give where features of this name lie, such as ``"subj01/z"``."""
        return self.path / "features" / f"{name}.safetensors"

    def block_path(self, name: str, block: int) -> Path:
        """Give where a block of features of this name lies, such as of ``"subj01/zc"``."""
        return self.path / "features" / name / f"{block:05d}.safetensors"

    def feature_files(self, name: str) -> list[Path]:
        """Give the files there are of the features of this name: one, or a block each."""
        whole = self.features_path(name)
        return [whole] if whole.is_file() else sorted(self.block_path(name, 0).parent.glob("*.safetensors"))

    def feature_blocks(self, name: str) -> FeatureBlocks:
        """Give the features of this name, such as ``"subj01/zc"``, to be read whole or block by block.

        Raises
        ------
        ResultsError
            If they are not there, not whole or damaged.
        """
        return FeatureBlocks.open(name.partition("/")[2], self.feature_files(name))

    def decode_path(self, subject: str, name: str) -> Path:
        """Give where something decoded lies: ``"z"``, ``"shuffled0_z"``, or a decoder such as ``"z_fold0"``."""
        return self.path / subject / "decode" / f"{name}.safetensors"

    def encode_path(self, subject: str) -> Path:
        """Give where the numbers of each voxel's encoding models lie."""
        return self.path / subject / "encode" / "voxels.safetensors"

    def figure_path(self, subject: str, analysis: str, kind: str) -> Path:
        """Give where the figure of an encoding analysis lies, as ``"png"`` or ``"svg"``."""
        return self.path / "figures" / f"{subject}_{analysis}.{kind}"

    def picture_path(
        self, subject: str, level: Level, condition: str, stimulus_id: int, draw: int, *, trial: int | None = None
    ) -> Path:
        """Give where a reconstructed picture lies; ``trial`` is the item's number where items are single trials."""
        name = f"{stimulus_id:05d}{'' if trial is None else f'-t{trial}'}_{draw}.png"
        return self.path / subject / "pictures" / level / condition / name

    def save_features(self, path: Path, features: Features, made_by: Mapping[str, str]) -> None:
        """Write features to a path of this folder, with the settings that made them.

        Raises
        ------
        ResultsError
            If they cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {"array": features.array, "stimulus_id": features.stimulus_id}
        self.save_arrays(path, tensors, {"name": features.name, **made_by})

    def save_arrays(self, path: Path, arrays: Mapping[str, NDArray[Any]], made_by: Mapping[str, str]) -> None:
        """Write named arrays to a path of this folder, with the settings that made them.

        Raises
        ------
        ResultsError
            If they cannot be written.
        """
        from safetensors.numpy import save_file

        with writing(path) as part:
            whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            save_file(whole, str(part), metadata=as_metadata(made_by))

    def load_features(self, path: Path) -> Features:
        """Read features from a path of this folder.

        Raises
        ------
        ResultsError
            If they are not there or damaged.
        """
        with opening_tensors(path) as (file, metadata):
            name = metadata.get("name", path.stem)
            return Features(name, file.get_tensor("array"), file.get_tensor("stimulus_id"))

    def load_arrays(self, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Read named arrays of this folder, and what made them.

        Raises
        ------
        ResultsError
            If they are not there or damaged.
        """
        with opening_tensors(path) as (file, metadata):
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (no mapping)

    # ------------------------------------------------------------------------------------------------ the rest

    def save_picture(self, path: Path, picture: NDArray[np.uint8]) -> None:
        """Write a picture, ``(height, width, 3)`` uint8, as PNG."""
        from PIL import Image

        with writing(path) as part:
            Image.fromarray(picture).save(part, format="PNG")

    def load_picture(self, path: Path) -> NDArray[np.uint8]:
        """Read a picture, ``(height, width, 3)`` uint8.

        Raises
        ------
        ResultsError
            If it is not there or damaged.
        """
        return read_picture(path, ResultsError)

    def save_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV, such as ``"scores"`` to ``scores.csv``."""
        write_text(self.path / f"{name}.csv", table.to_csv(index=False))

    def has_table(self, name: str, columns: Sequence[str]) -> bool:
        """Tell whether a table is there and has these columns; an older one may have others."""
        path = self.path / f"{name}.csv"
        if not path.is_file():
            return False
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip() == ",".join(columns)

    def load_table(self, name: str) -> pd.DataFrame:
        """Read a table written by :meth:`save_table`, as `reseen.tables.read_table` does."""
        return read_table(self.path / f"{name}.csv")

    def save_text(self, name: str, text: str) -> Path:
        """Write a text file, such as ``"report.html"``, and give its path."""
        write_text(self.path / name, text)
        return self.path / name

    def add_warning(self, text: str) -> None:
        """Note something the reader of the results ought to know, once."""
        known = self.warnings
        if text not in known:
            write_json(self.path / "warnings.json", {"warnings": [*known, text]})

    def drop_warnings(self, ending: str) -> None:
        """Take back what was warned of in words that end so."""
        known = self.warnings
        kept = [text for text in known if not text.endswith(ending)]
        if not kept:
            (self.path / "warnings.json").unlink(missing_ok=True)
        elif kept != known:
            write_json(self.path / "warnings.json", {"warnings": kept})

    @property
    def warnings(self) -> list[str]:
        """Give what was warned of."""
        found: dict[str, list[str]] = self._recorded("warnings.json", dict[Literal["warnings"], list[str]])
        return found.get("warnings", [])

    def begin_stage(self, stage: str, device: str) -> None:
        """Record that a stage runs, so that a kill before its time is written is known."""
        times = self.times
        self._write_times({**times, stage: begun(times.get(stage), device)})

    def end_stage(self, stage: str, seconds: float | None) -> None:
        """Add to the time of a stage that runs; ``None`` where there was nothing to do."""
        times = self.times
        entry = ended(times.pop(stage), seconds)
        self._write_times({**times, stage: entry} if entry is not None else times)

    def _write_times(self, times: Mapping[str, StageTime]) -> None:
        write_json(self.path / "times.json", {stage: entry.model_dump() for stage, entry in times.items()})

    @property
    def times(self) -> dict[str, StageTime]:
        """Return the time of each stage, added up over runs."""
        found: dict[str, StageTime] = self._recorded("times.json", dict[str, StageTime])
        return found

    def _recorded(self, name: str, schema: Any) -> Any:
        """Read a JSON file of this folder; one that is not there is empty."""
        path = self.path / name
        if not os.path.lexists(path):
            return {}
        return read_json(path, schema, ResultsError, fix="Delete it and run the recipe again.")
