"""Names of ROIs in NSD's layout: labels of atlases by name or number, unions of labels, and mask files.

A name is resolved in this order: a path that ends with ``.nii`` or ``.nii.gz`` is a mask; ``atlas:labels`` is a list of
labels, each a number or a name; any other name is a label or a union of `nsd_facts`. Names of labels that `nsd_facts`
does not list come from the atlas's colour table in the tree.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reseen.datasets.fsaverage import SIDES
from reseen.datasets.nsd_facts import ATLASES, ROI_LABELS, ROI_UNIONS, NsdFiles
from reseen.errors import DataError, RecipeError
from reseen.files import read_text

MASK_SUFFIXES = (".nii", ".nii.gz")
N_CLOSEST = 3
"""Maximum number of names that an error suggests."""
CLOSE = 0.6
"""Minimum similarity of a name that an error suggests, from 0 to 1, as `difflib` computes it."""


@dataclass(frozen=True)
class Roi:
    """One ROI of a recipe.

    Parameters
    ----------
    name
        The name in ``data.rois``.
    atlas
        Name of the atlas, or the path of the mask.
    labels
        Numbers of the labels, and names that the atlas's colour table has to resolve. Of a mask: empty, for every
        voxel above 0.
    is_mask
        Whether the ROI is a mask file.
    """

    name: str
    atlas: str
    labels: tuple[int | str, ...] = ()
    is_mask: bool = False

    @property
    def needs_table(self) -> bool:
        """Whether a label has a name that only the atlas's colour table has."""
        return any(isinstance(label, str) for label in self.labels)


def parse_roi(name: str) -> Roi | None:
    """Return the atlas and the labels of an ROI, or None if no atlas of NSD has a label of this name.

    Examples
    --------
    >>> parse_roi("V1").atlas, parse_roi("V1").labels
    ('prf-visualrois', (1, 2))
    >>> parse_roi("streams:5,6").labels
    (5, 6)
    >>> parse_roi("HCP_MMP1:FFC").labels
    ('FFC',)
    """
    if name.endswith(MASK_SUFFIXES):
        return Roi(name, name, is_mask=True)
    atlas, colon, listed = name.partition(":")
    if not colon:
        return next((Roi(name, atlas, found) for atlas in ROI_LABELS if (found := _known(atlas, name))), None)
    labels: list[int | str] = []
    for part in listed.split(","):
        labels += _read_label(atlas, part.strip())
    words = [label for label in labels if isinstance(label, str)]
    known = "" not in words and not (words and atlas in ROI_LABELS)
    return Roi(name, atlas, tuple(labels)) if atlas and known else None


def _read_label(atlas: str, part: str) -> tuple[int | str, ...]:
    """Return the labels that one part of a list names.

    A number is a label. HCP_MMP1 has areas whose *names* are numbers, such as area 44, whose label is another number:
    such a name is written in quotes.
    """
    if part.isdecimal():
        return (int(part),)
    quoted = re.fullmatch(r"(['\"])(.*)\1", part)
    word = quoted[2] if quoted else part
    return _known(atlas, word) or (word,)


def _known(atlas: str, name: str) -> tuple[int, ...]:
    """Return the labels of a name or a union that `nsd_facts` lists for this atlas; empty if it lists none."""
    numbers = ROI_LABELS.get(atlas, {})
    parts = ROI_UNIONS.get(name, (name,))
    return tuple(numbers[part] for part in parts) if all(part in numbers for part in parts) else ()


def find_rois(files: NsdFiles, names: Sequence[str]) -> list[Roi]:
    """Return the ROIs of a recipe; labels keep their names where the atlas's colour table is missing.

    Raises
    ------
    RecipeError
        If no atlas has an ROI.
    DataError
        If a colour table is damaged.
    """
    found = []
    for name in names:
        roi = parse_roi(name)
        if roi is None or not (roi.is_mask or _has_atlas(files, roi.atlas)):
            raise unknown_roi(files, name)
        table = find_table(files, roi.atlas) if roi.needs_table else None
        found.append(roi if table is None else _resolve(files, roi, table))
    return found


def _resolve(files: NsdFiles, roi: Roi, table: Path) -> Roi:
    """Replace names of labels by their numbers in a colour table."""
    numbers = read_table(table)
    unknown = [label for label in roi.labels if isinstance(label, str) and label not in numbers]
    if unknown:
        raise unknown_roi(files, roi.name)
    labels = tuple(numbers[label] if isinstance(label, str) else label for label in roi.labels)
    return Roi(roi.name, roi.atlas, labels)


def need_labels(files: NsdFiles, roi: Roi) -> list[int]:
    """Return the numbers of an ROI's labels.

    Raises
    ------
    DataError
        If a label has a name, and there is no colour table.
    """
    if roi.needs_table:
        table = files.color_table(roi.atlas)
        raise DataError(
            f"{table} is missing: it has the number of each label that {roi.name!r} names. Fetch it "
            f"({files.fetch_command(table)}), or name labels by number, such as {roi.atlas}:1.",
            where=table,
        )
    return [label for label in roi.labels if isinstance(label, int)]


def mask_path(files: NsdFiles, roi: Roi) -> Path:
    """Return the path of a mask: ``{subject}`` is the subject, and a relative path is in the tree, or where we are."""
    path = Path(roi.atlas.replace("{subject}", files.subject))
    in_tree = files.root / path
    return in_tree if in_tree.exists() or not path.exists() else path


def find_table(files: NsdFiles, atlas: str) -> Path | None:
    """Return the colour table of an atlas, of fsaverage or of the subject; None if there is none."""
    return next((path for path in files.color_tables(atlas) if path.is_file()), None)


def read_table(path: Path) -> dict[str, int]:
    """Read a colour table: name of each label -> its number.

    A line is a number, a name and, in FreeSurfer's own tables, four numbers of a colour.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    found = {}
    for line in read_text(path).splitlines():
        entry = re.fullmatch(r"\s*(\d+)\s+(.*?)(?:\s+\d+){4}\s*|\s*(\d+)\s+(.+?)\s*", line)
        if entry:
            number, name = entry[1] or entry[3], entry[2] or entry[4] or ""
            found[name.partition("\t")[0].strip()] = int(number)
    return found


def list_atlases(files: NsdFiles) -> list[str]:
    """List the atlases whose labels are in the tree, for the space of the betas."""
    if not files.on_surface:
        names = {path.name.removesuffix(".nii.gz") for path in files.roi("x").parent.glob("[!.]*.nii.gz")}
        return sorted(name for name in names if not name.startswith(("lh.", "rh.")))
    folders = {files.color_table(atlas).parent for atlas in ATLASES}
    side = next(iter(SIDES))
    found = {path.name for folder in folders for path in folder.glob(f"{side}.*.mgz")}
    return sorted(name.removeprefix(f"{side}.").removesuffix(".mgz") for name in found)


def _has_atlas(files: NsdFiles, atlas: str) -> bool:
    """Return whether an atlas is NSD's, which can be fetched, or in the tree."""
    return atlas.removeprefix("lh.").removeprefix("rh.") in ATLASES or files.has_atlas(atlas)


def unknown_roi(files: NsdFiles, name: str) -> RecipeError:
    """Return the error for an ROI that no atlas has, with the closest names and the atlases in the tree."""
    there = ", ".join(list_atlases(files)) or "none yet"
    close = closest(files, name)
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return RecipeError(
        f"data.rois: there is no ROI {name!r}.{meant} Name a label of NSD (early, V1, FFA-1, nsdgeneral), atlas:labels "
        f"(streams:5,6 or HCP_MMP1:FFC) or a mask in NIfTI; atlases in the tree: {there}.",
        where="data.rois",
        found=name,
    )


def closest(files: NsdFiles, name: str) -> list[str]:
    """Return the known names that are closest to an unknown one, best first."""
    known: dict[str, str] = {}
    for key, full in _candidates(files):
        known.setdefault(key.casefold(), full)
    found = difflib.get_close_matches(name.casefold(), known, n=N_CLOSEST, cutoff=CLOSE)
    return list(dict.fromkeys(known[key] for key in found))


def _candidates(files: NsdFiles) -> Iterator[tuple[str, str]]:
    """Yield names that a user may have meant, each with the name to write in ``data.rois``."""
    for union in ROI_UNIONS:
        yield union, union
    tables: Mapping[str, Mapping[str, int]] = {**_tables(files), **ROI_LABELS}
    for atlas, labels in tables.items():
        for label in labels:
            full = label if atlas in ROI_LABELS else f"{atlas}:{label}"
            yield label, full
            yield f"{atlas}:{label}", full
        for number in labels.values():
            yield f"{atlas}:{number}", f"{atlas}:{number}"


def _tables(files: NsdFiles) -> dict[str, dict[str, int]]:
    """Return the labels of the atlases that have a colour table in the tree; a damaged table counts as missing."""
    found = {}
    for atlas in (name for name in ATLASES if name not in ROI_LABELS):
        table = find_table(files, atlas)
        try:
            found[atlas] = {} if table is None else read_table(table)
        except DataError:
            continue
    return found
