"""Layout: paths of the files of a results folder."""

from __future__ import annotations

from pathlib import Path

from reseen.tables import Level


class Layout:
    """Paths of a results folder.

    Parameters
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def kept_folder(self, subject: str) -> Path:
        """Return the folder of the cached sessions of a subject."""
        return self.path / "kept" / subject

    def features_path(self, name: str) -> Path:
        """Return the path of the features of this name, such as ``"subj01/z"``."""
        return self.path / "features" / f"{name}.safetensors"

    def block_path(self, name: str, block: int) -> Path:
        """Return the path of one block of the features of this name, such as ``"subj01/zc"``."""
        return self.path / "features" / name / f"{block:05d}.safetensors"

    def feature_files(self, name: str) -> list[Path]:
        """Return the existing files of the features of this name: one, or one for each block."""
        single = self.features_path(name)
        return [single] if single.is_file() else sorted(self.block_path(name, 0).parent.glob("*.safetensors"))

    def decode_path(self, subject: str, name: str) -> Path:
        """Return the path of a decoded feature, ``"z"`` or ``"permuted0_z"``, or of a decoder, ``"z_fold0"``."""
        return self.path / subject / "decode" / f"{name}.safetensors"

    def encode_path(self, subject: str) -> Path:
        """Return the path of the encoding results of each voxel."""
        return self.path / subject / "encode" / "voxels.safetensors"

    def figure_path(self, name: str, suffix: str) -> Path:
        """Return the path of a figure for print, such as ``"subj01_features"``, as ``"png"`` or ``"svg"``."""
        return self.path / "figures" / f"{name}.{suffix}"

    def image_path(
        self, subject: str, level: Level, condition: str, stimulus_id: int, sample: int, *, trial: int | None = None
    ) -> Path:
        """Return the path of a reconstructed image; ``trial`` is the number of the item if items are single trials."""
        item = f"{stimulus_id:05d}" if trial is None else f"{stimulus_id:05d}-t{trial}"
        return self.path / subject / "images" / level / condition / f"{item}_{sample}.png"

    def place(self, path: Path) -> str:
        """Return a path relative to this folder, equal on every machine: ``"subj01/decode/z.safetensors"``."""
        absolute, root = path.absolute(), self.path.absolute()
        if not absolute.is_relative_to(root):  # one of them goes through a symbolic link
            absolute, root = absolute.resolve(), root.resolve()
        return absolute.relative_to(root).as_posix()
