"""Alignment: a target subject decoded with the decoder of a source subject, in memory and as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reseen import plot
from reseen.applied.contents import Applied
from reseen.decode import Decoder
from reseen.decode.alignment import AlignmentRoute
from reseen.decode.alignment_levels import AlignmentProtocol
from reseen.errors import ResultsError
from reseen.evaluate import describe_alignment
from reseen.files import read_text, reading, shown, write_text, writing_folder
from reseen.plot.figure import new_figure
from reseen.report import AlignmentReport, alignment_report
from reseen.tables import to_csv

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STIMULI_FILE = "training_stimuli.csv"
"""Ids of the stimuli that the decoders of a folder were fitted on."""


@dataclass(frozen=True, eq=False, repr=False)
class AlignedSubject:
    """Alignment of a target subject with the decoder of a source subject, next to the target's own data.

    Parameters
    ----------
    recipe_name, source, target
        Name of the run's recipe, and of both subjects.
    protocol, through
        As in `alignment_stimuli` and `align`.
    table
        Scores of each level, with the columns `reseen.tables.ALIGNMENT_COLUMNS`.
    decoders
        Level -> feature -> decoder of the target's voxels, fitted on the largest number of sessions; of the levels
        ``"aligned"`` and ``"combined"``.
    stimulus_id, test_id
        Ids of alignment stimuli and of test stimuli.
    trained_id
        Ids of the stimuli that ``decoders`` depend on: those of the alignment, and those of the source decoder.
    applied
        Test stimuli of the target, decoded by the aligned decoders: features, images and scores. None if the level
        ``"aligned"`` was left out.
    notes
        Facts that limit the interpretation.
    """

    recipe_name: str
    source: str
    target: str
    protocol: AlignmentProtocol
    through: AlignmentRoute
    table: pd.DataFrame
    decoders: Mapping[str, Mapping[str, Decoder]]
    stimulus_id: NDArray[np.int64]
    test_id: NDArray[np.int64]
    trained_id: NDArray[np.int64]
    applied: Applied | None
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        features = ", ".join(dict.fromkeys(self.table["feature"]))
        return (
            f"AlignedSubject: {self.target} with the decoder of {self.source}, protocol {self.protocol}\n"
            f"  {features}; {len(self.stimulus_id):,} alignment stimuli, {len(self.test_id):,} test stimuli"
        )

    @property
    def sentences(self) -> list[str]:
        """Sentences that say which level is better; see `reseen.evaluate.describe_alignment`."""
        return describe_alignment(self.table)

    def figure(self) -> Figure:
        """Return the curves of all features, one panel each; see `reseen.plot.alignment`."""
        features = list(dict.fromkeys(self.table["feature"]))
        figure = new_figure(5.6 * len(features), 3.2)
        for feature, axes in zip(features, np.atleast_1d(figure.subplots(1, len(features))), strict=True):
            plot.alignment(self.table, feature, ax=axes)
            axes.set_title(feature, size=10, weight="bold", loc="left")
        return figure

    def report(self) -> str:
        """Return the report: one self-contained HTML page."""
        has_images = self.applied is not None and bool(self.applied.images)
        return alignment_report(
            AlignmentReport(
                recipe_name=self.recipe_name,
                source=self.source,
                target=self.target,
                protocol=self.protocol,
                through=self.through,
                n_align=len(self.stimulus_id),
                table=self.table,
                sentences=self.sentences,
                notes=self.notes,
                items=self.applied.page if self.applied is not None and has_images else None,
            )
        )

    def save(self, folder: Path | str) -> None:
        """Write table, curves, decoders, decoded test stimuli and report into a new folder, completely or not at all.

        ``decoders/aligned/z.safetensors`` is a decoder of the target's voxels; ``reseen apply --decoders`` reads a
        folder of them. ``aligned/`` has features, images and scores of the test stimuli, as `Applied.save` writes them.

        Raises
        ------
        ResultsError
            If the folder is not empty or cannot be written.
        """
        import pandas as pd

        with writing_folder(Path(folder)) as part:
            write_text(part / "alignment.csv", to_csv(self.table))
            plot.save(self.figure(), part / "alignment.svg")
            for level, fitted in self.decoders.items():
                for feature, decoder in fitted.items():
                    decoder.save(part / "decoders" / level / f"{feature}.safetensors")
                write_text(
                    part / "decoders" / level / STIMULI_FILE, to_csv(pd.DataFrame({"stimulus_id": self.trained_id}))
                )
            if self.applied is not None:
                self.applied.save(part / "aligned")
            write_text(part / "report.html", self.report())


def read_decoders(folder: Path, features: Sequence[str]) -> tuple[dict[str, tuple[Decoder]], NDArray[np.int64]]:
    """Read the decoders of a folder that `AlignedSubject.save` wrote, such as ``decoders/aligned``.

    Returns
    -------
    decoders
        Feature -> its decoder, as the only fold.
    trained_id
        Ids of the stimuli that they depend on.

    Raises
    ------
    ResultsError
        If the folder lacks a feature or its list of stimuli, or a file is damaged.
    """
    found = {}
    for feature in features:
        path = folder / f"{feature}.safetensors"
        if not path.is_file():
            raise ResultsError(
                f"{shown(folder)} has no decoder of {feature!r}. Name a folder of decoders, such as decoders/aligned "
                "of a folder that reseen align wrote, and conditions whose features it has.",
                where=path,
            )
        found[feature] = (Decoder.load(path),)
        if found[feature][0].feature_ != feature:
            raise ResultsError(
                f"{shown(path)} is a decoder of {found[feature][0].feature_!r}. Write the alignment again.",
                where=path,
                expected=feature,
                found=found[feature][0].feature_,
            )
    path = folder / STIMULI_FILE
    lines = read_text(path, ResultsError).split()
    with reading(path, ResultsError, "Write the alignment again."):
        return found, np.array(lines[1:], dtype=np.int64)
