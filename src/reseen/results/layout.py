"""Layout: where each file of a results folder is."""

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
        """Return the folder of a subject's large sessions once they have been read."""
        return self.path / "kept" / subject

    def features_path(self, name: str) -> Path:
        """Return the path of the features of this name, such as ``"subj01/z"``."""
        return self.path / "features" / f"{name}.safetensors"

    def block_path(self, name: str, block: int) -> Path:
        """Return the path of a block of the features of this name, such as of ``"subj01/zc"``."""
        return self.path / "features" / name / f"{block:05d}.safetensors"

    def feature_files(self, name: str) -> list[Path]:
        """Return the files that exist of the features of this name: one, or a block each."""
        whole = self.features_path(name)
        return [whole] if whole.is_file() else sorted(self.block_path(name, 0).parent.glob("*.safetensors"))

    def decode_path(self, subject: str, name: str) -> Path:
        """Return the path of something decoded: ``"z"``, ``"permuted0_z"``, or a decoder such as ``"z_fold0"``."""
        return self.path / subject / "decode" / f"{name}.safetensors"

    def encode_path(self, subject: str) -> Path:
        """Return the path of the numbers of each voxel's encoding models."""
        return self.path / subject / "encode" / "voxels.safetensors"

    def figure_path(self, name: str, kind: str) -> Path:
        """Return the path of a figure for print, such as ``"subj01_features"``, as ``"png"`` or ``"svg"``."""
        return self.path / "figures" / f"{name}.{kind}"

    def image_path(
        self, subject: str, level: Level, condition: str, stimulus_id: int, sample: int, *, trial: int | None = None
    ) -> Path:
        """Return the path of a reconstructed image; ``trial`` is the item's number where items are single trials."""
        name = f"{stimulus_id:05d}{'' if trial is None else f'-t{trial}'}_{sample}.png"
        return self.path / subject / "images" / level / condition / name

    def place(self, path: Path) -> str:
        """Return where a file is in this folder, the same on every machine: ``"subj01/decode/z.safetensors"``."""
        whole, root = path.absolute(), self.path.absolute()
        if not whole.is_relative_to(root):
            whole, root = whole.resolve(), root.resolve()
        return whole.relative_to(root).as_posix()
