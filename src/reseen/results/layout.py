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

    def place(self, path: Path) -> str:
        """Return where a file is in this folder, the same on every machine: ``"subj01/decode/z.safetensors"``."""
        whole, root = path.absolute(), self.path.absolute()
        if not whole.is_relative_to(root):
            whole, root = whole.resolve(), root.resolve()
        return whole.relative_to(root).as_posix()
