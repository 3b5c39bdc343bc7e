"""Captions: the decoded caption of each item, in ``captions.jsonl`` of a subject's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from reseen.errors import ResultsError
from reseen.files import read_text, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from reseen.results.folder import ResultsFolder

FILE = "captions.jsonl"


@dataclass(frozen=True)
class DecodedCaption:
    """Decoded caption of one item: one line of ``captions.jsonl``.

    Parameters
    ----------
    stimulus_id
        Stimulus of the item.
    caption
        The decoded caption.
    oracle_caption
        Caption from the true features of the stimulus, as if decoding had no noise.
    training_stimulus_id, probability
        Training stimulus whose caption it is, and its probability given the responses; None for a written caption.
    oracle_training_stimulus_id
        Training stimulus of ``oracle_caption``; None for a written caption.
    """

    stimulus_id: int
    caption: str
    oracle_caption: str
    training_stimulus_id: int | None = None
    probability: float | None = None
    oracle_training_stimulus_id: int | None = None


def save_captions(results: ResultsFolder, subject: str, captions: Sequence[DecodedCaption]) -> None:
    """Write the captions of a subject, as a JSON object on a line for each item."""
    lines = [json.dumps(asdict(caption), ensure_ascii=False) for caption in captions]
    results.save_text(f"{subject}/{FILE}", "\n".join(lines) + "\n")


def has_captions(results: ResultsFolder, subject: str) -> bool:
    """Return whether a subject has a file of captions."""
    return os.path.lexists(results.path / subject / FILE)


def load_captions(results: ResultsFolder, subject: str) -> list[DecodedCaption]:
    """Read the captions of a subject, in the order of the decoded items.

    Raises
    ------
    ResultsError
        If the file is missing, or a line is no caption that this version writes.
    """
    from pydantic import ValidationError

    path = results.path / subject / FILE
    if not has_captions(results, subject):
        message = f"{shown(path)} is missing. Run the recipe up to decode, with a condition that has t."
        raise ResultsError(message, where=path)
    captions = []
    for number, line in enumerate(read_text(path, ResultsError).splitlines(), start=1):
        try:
            captions.append(_adapter().validate_json(line, strict=True))
        except ValidationError as error:
            raise ResultsError(
                f"{shown(path)}: line {number} is no decoded caption that this version of reseen writes. Delete the "
                "file and run the recipe again, which writes it again.",
                where=path,
                found=number,
            ) from error
    return captions


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[DecodedCaption]:
    from pydantic import TypeAdapter

    return TypeAdapter(DecodedCaption)
