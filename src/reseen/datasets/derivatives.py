"""Write maps of a subject's voxels for other programs, as NIfTI, GIFTI and CIFTI with names of BIDS derivatives.

A name is ``sub-01[_hemi-L]_space-fsaverage[_den-164k]_stat-r_desc-z_statmap.func.gii``. The rule: entities in the order
of the BIDS specification (``sub``, ``hemi``, ``space``, ``den``, with ``desc`` last), and labels of letters and digits.
``stat`` and the suffix ``statmap`` are not in the specification; they are what nilearn and FitLins write. A point in a
number becomes ``p``: ``zc@strength=0.2`` is ``desc-zcStrength0p2``. One npz or CIFTI file has all of a subject's maps.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reseen.analyses import spaces_of
from reseen.datasets.fsaverage import FS_LR
from reseen.datasets.surface import Surface
from reseen.datasets.vertices import OwnVertices, Vertices
from reseen.errors import ResultsError
from reseen.files import write_json, writing
from reseen.results import library_versions

BIDS_VERSION = "1.10.0"
NOT_READ = -2
"""Value in a map of labels where no voxel was read; -1 is a voxel without a label."""
HEMISPHERES = {"lh": ("L", "CortexLeft"), "rh": ("R", "CortexRight")}
_SAID = {
    "r": "Pearson correlation of predicted with measured responses to held-out images",
    "r2": "proportion of the variance of the responses to held-out images that is predicted",
    "q": "p of the correlation, corrected by the false discovery rate over the subject's voxels",
    "split": "what the space after 'of' brings to the correlation of the joint model before it; parts add up to it",
    "unique": "R2 of the joint model less that of the model without the space after 'of'",
    "winner": "number of the U-Net layer with the highest correlation; -1 where none is significant, -2 outside",
    "margin": "correlation of the winning layer less that of the second",
}


@dataclass(frozen=True)
class Maps:
    """Maps of a subject's voxels, and the positions of the voxels.

    Parameters
    ----------
    subject
        Name, such as ``"subj01"``.
    arrays
        Name -> ``(n_voxels,)``, such as ``"r/z"``, ``"split/z+zc@strength=0.2/z"`` or ``"ceiling_r"``; integers are
        labels.
    voxel_index
        Shape ``(n_voxels,)``: C-order index into the volume.
    volume_shape
        (X, Y, Z).
    labels
        Names of labels, by number.
    """

    subject: str
    arrays: Mapping[str, NDArray[Any]]
    voxel_index: NDArray[np.int64]
    volume_shape: tuple[int, int, int]
    labels: Sequence[str] = ()


def describe_folder(root: Path) -> None:
    """Write ``dataset_description.json``, which BIDS requires in a folder of derivatives."""
    computed_by = {"Name": "reseen", "Version": library_versions()["reseen"]}
    description = {"BIDSVersion": BIDS_VERSION, "DatasetType": "derivative", "GeneratedBy": [computed_by]}
    write_json(root / "dataset_description.json", {"Name": "Voxelwise encoding models", **description})


def write_nifti(root: Path, maps: Maps, space: str, affine: NDArray[np.float64]) -> list[Path]:
    """Write each map as a NIfTI volume; other voxels are NaN, or `NOT_READ` for labels.

    Parameters
    ----------
    root
        Folder of derivatives.
    maps
        Maps to write.
    space
        The volume's name, such as ``"func1pt8mm"``.
    affine
        (4, 4): voxels to millimetres.

    Returns
    -------
    list
        The files written.

    Raises
    ------
    ResultsError
        If a file cannot be written.
    """
    import nibabel

    written = []
    make: Any = nibabel.Nifti1Image  # typed in part only
    for name, array in maps.arrays.items():
        integers = np.issubdtype(array.dtype, np.integer)
        volume = np.full(maps.volume_shape, NOT_READ if integers else np.nan, np.int16 if integers else np.float32)
        volume.ravel()[maps.voxel_index] = array
        image = make(volume, affine)
        image.header.set_xyzt_units("mm", "sec")
        path = root / _path(maps.subject, name, {"space": _label(space)}, ".nii.gz")
        with writing(path) as part, part.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
            file.write(image.to_bytes())
        _describe(path, name, maps)
        written.append(path)
    return written


def write_gifti(root: Path, maps: Maps, surface: Surface | Vertices | OwnVertices) -> list[Path]:
    """Write each map on a surface, one GIFTI per hemisphere.

    Parameters
    ----------
    root
        Folder of derivatives.
    maps
        Maps to write.
    surface
        Map from the subject's voxels to the surface.

    Returns
    -------
    list
        The files written.

    Raises
    ------
    ResultsError
        If a file cannot be written.
    """
    written = []
    for name, array in maps.arrays.items():
        carried = _carry(name, array, maps.voxel_index, surface)
        for side, values in carried.items():
            letter, structure = HEMISPHERES[side]
            entities = {"hemi": letter, **_surface_entities(surface.space, len(values))}
            path = root / _path(maps.subject, name, entities, ".func.gii")
            with writing(path) as part:
                part.write_bytes(_gifti(values, structure, name))
            _describe(path, name, maps)
            written.append(path)
    return written


def write_vertices(root: Path, maps: Maps, surface: Surface | Vertices | OwnVertices) -> list[Path]:
    """Write all maps on a surface into one npz: name -> ``(n_vertices,)``, left hemisphere, then right.

    Parameters
    ----------
    root
        Folder of derivatives.
    maps
        Maps to write.
    surface
        Map from the subject's voxels to the surface.

    Returns
    -------
    list
        The file written.

    Raises
    ------
    ResultsError
        If a file cannot be written.
    """
    arrays, n_left = {}, 0
    for name, array in maps.arrays.items():
        sides = list(_carry(name, array, maps.voxel_index, surface).values())
        n_left = len(sides[0])
        arrays[name] = _narrow(np.concatenate(sides))
    path = root / _encoding_path(maps.subject, surface.space, n_left, ".npz")
    with writing(path) as part, part.open("wb") as file:
        save: Any = np.savez_compressed  # any name may be a keyword here
        save(file, **arrays)
    said = (
        f"maps of numbers on the vertices of {surface.space}: {n_left} of the left hemisphere, then those of the right"
    )
    write_json(
        path.with_suffix(".json"), {"Description": said, "Maps": {name: _metadata(name, maps) for name in arrays}}
    )
    return [path]


def write_cifti(root: Path, maps: Maps, n_vertices: int) -> list[Path]:
    """Write all maps of vertices of fsLR into one ``.dscalar.nii``, (maps, vertices read).

    Parameters
    ----------
    root
        Folder of derivatives.
    maps
        Maps to write; ``voxel_index`` is ascending and counts the left hemisphere's vertices, then the right's.
    n_vertices
        Number of vertices of each hemisphere.

    Returns
    -------
    list
        The file written.

    Raises
    ------
    ResultsError
        If the file cannot be written.
    """
    import nibabel
    from nibabel.cifti2 import cifti2_axes

    make: Any = nibabel.Cifti2Image  # typed in part only
    axes: Any = cifti2_axes
    sides = [maps.voxel_index[maps.voxel_index // n_vertices == row] % n_vertices for row in (0, 1)]
    models = [
        axes.BrainModelAxis.from_surface(vertices, n_vertices, name)
        for vertices, name in zip(sides, ("CORTEX_LEFT", "CORTEX_RIGHT"), strict=True)
        if len(vertices)
    ]
    brain: Any = models[0] if len(models) == 1 else models[0] + models[1]
    values = np.stack([array.astype(np.float32) for array in maps.arrays.values()])
    image = make(values, (axes.ScalarAxis(list(maps.arrays)), brain))
    image.update_headers()
    path = root / _encoding_path(maps.subject, FS_LR, n_vertices, ".dscalar.nii")
    with writing(path) as part:
        part.write_bytes(image.to_bytes())
    said = f"maps of numbers on the vertices of {FS_LR} that were read, one row a map"
    metadata = {"Description": said, "Maps": {name: _metadata(name, maps) for name in maps.arrays}}
    write_json(path.with_name(path.name.partition(".")[0] + ".json"), metadata)
    return [path]


def _carry(
    name: str, array: NDArray[Any], voxel_index: NDArray[np.int64], surface: Surface | Vertices | OwnVertices
) -> Mapping[str, NDArray[Any]]:
    """Interpolate numbers; take labels, and q, which belongs to a single voxel, from one voxel each."""
    if np.issubdtype(array.dtype, np.integer):
        return surface.labels(array, voxel_index, NOT_READ)
    if not name.startswith("q/"):
        return surface.values(array, voxel_index)
    places = surface.labels(np.arange(len(array)), voxel_index)
    return {side: np.where(place >= 0, array[place], np.nan).astype(np.float32) for side, place in places.items()}


def _gifti(values: NDArray[Any], structure: str, name: str) -> bytes:
    import nibabel.gifti

    make: Any = nibabel.gifti  # publishes no types

    array = make.GiftiDataArray(
        _narrow(values),
        intent="NIFTI_INTENT_NONE",
        datatype="NIFTI_TYPE_INT32" if np.issubdtype(values.dtype, np.integer) else "NIFTI_TYPE_FLOAT32",
        meta=make.GiftiMetaData({"Name": name}),
    )
    image = make.GiftiImage(darrays=[array], meta=make.GiftiMetaData({"AnatomicalStructurePrimary": structure}))
    content: bytes = image.to_bytes()
    return content


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as float32 and labels as int32."""
    return values.astype(np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32)


def _surface_entities(space: str, n_vertices: int) -> dict[str, str]:
    """Return the entities of a surface: fsaverage5 is fsaverage at a density of 10k."""
    return {"space": "fsLR" if space == FS_LR else "fsaverage", "den": f"{round(n_vertices / 1000)}k"}


def _encoding_path(subject: str, space: str, n_vertices: int, ending: str) -> Path:
    """Return the path of a file with all of a subject's maps."""
    person = _person(subject)
    entities = {**_surface_entities(space, n_vertices), "desc": "encoding"}
    parts = [person, *(f"{key}-{value}" for key, value in entities.items()), "statmap"]
    return Path(person) / "func" / ("_".join(parts) + ending)


def _person(subject: str) -> str:
    return f"sub-{_label(subject.removeprefix('subj').removeprefix('sub-'))}"


def _path(subject: str, name: str, entities: Mapping[str, str], ending: str) -> Path:
    person = _person(subject)
    stat, desc = _split(name)
    parts = [person, *(f"{key}-{value}" for key, value in entities.items()), f"stat-{stat}", f"desc-{desc}", "statmap"]
    return Path(person) / "func" / ("_".join(parts) + ending)


def _split(name: str) -> tuple[str, str]:
    """Split a map's name into statistic and feature."""
    if name == "ceiling_r":
        return "r", "noiseCeiling"
    stat, _, rest = name.partition("/")
    if stat in ("split", "unique"):
        model, _, feature = rest.rpartition("/")
        rest = f"{model} of {feature}"
    return stat, _label(rest)


def _label(text: str) -> str:
    """Convert a name to letters and digits: join its words in camel case."""
    words = [
        word for word in re.split(r"[^0-9A-Za-z]+", re.sub(r"(?<=\d)\.(?=\d)", "p", text.replace("+", " and "))) if word
    ]
    return "".join([*words[:1], *(word[0].upper() + word[1:] for word in words[1:])])


def _describe(path: Path, name: str, maps: Maps) -> None:
    """Write the sidecar."""
    write_json(path.with_name(path.name.partition(".")[0] + ".json"), _metadata(name, maps))


def _metadata(name: str, maps: Maps) -> dict[str, Any]:
    """Return the description of a map."""
    stat, _, of = name.partition("/")
    metadata: dict[str, Any] = {"Description": _SAID.get(stat, "noise ceiling of the correlation" if not of else stat)}
    metadata |= {"Feature": " of ".join(_parts(of))} if of else {}
    metadata |= {"Levels": {str(number): label for number, label in enumerate(maps.labels)}} if stat == "winner" else {}
    return metadata


def _parts(of: str) -> Iterator[str]:
    model, slash, feature = of.rpartition("/")
    yield from (model, feature) if slash and len(spaces_of(model)) > 1 else (of,)


def check_placed(subject: str, volume_shape: tuple[int, int, int] | None) -> None:
    """Refuse maps of voxels without a position in a volume.

    Raises
    ------
    ResultsError
        If they have none.
    """
    if volume_shape is None:
        raise ResultsError(
            f"encode.export asks for maps; the voxels of {subject} have no place in a volume. Leave encode.export out."
        )
