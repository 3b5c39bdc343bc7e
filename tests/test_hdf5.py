"""HDF5 files of betas and images: what takes values from another file is refused, and that file is never opened."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fields import raises_with
from loading import load
from nsd_tree import make_images, make_subject, make_tree, recipe_for

from reseen.datasets import nsd
from reseen.datasets.hdf5 import open_dataset, read_all
from reseen.datasets.nsd_facts import NsdFiles
from reseen.datasets.nsd_images import check_images, count_images
from reseen.datasets.volumes import peek, read_voxels
from reseen.errors import DataError

SIZE = (3, 2, 2, 2)
VALUES = np.arange(24, dtype=np.int16).reshape(SIZE)
BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session01.hdf5"
STIMULI = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"


def external_link(file: h5py.File, name: str, other: Path) -> None:
    file[name] = h5py.ExternalLink(other, name)


def soft_link(file: h5py.File, name: str, other: Path) -> None:
    file["folder"] = h5py.ExternalLink(other, "/")
    file[name] = h5py.SoftLink(f"/folder/{name}")


def external_storage(file: h5py.File, name: str, other: Path) -> None:
    file.create_dataset(name, SIZE, "i2", external=[(other, 0, VALUES.nbytes)])


def virtual(file: h5py.File, name: str, other: Path) -> None:
    layout = h5py.VirtualLayout(SIZE, "i2")
    layout[:] = h5py.VirtualSource(other, name, SIZE)
    file.create_virtual_dataset(name, layout)


WAYS = {
    external_link: "is a link",
    soft_link: "is a link",
    external_storage: "is external storage",
    virtual: "is a virtual dataset",
}
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def write(path: Path, way: Callable[[h5py.File, str, Path], None], name: str = "betas") -> Path:
    """Write a file whose dataset has its values in another one, and return the other one."""
    other = path.with_name("other.hdf5")
    if way is external_storage:
        other.write_bytes(VALUES.tobytes())
    else:
        with h5py.File(other, "w") as file:
            file[name] = VALUES
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        way(file, name, other)
    with h5py.File(path) as file:  # h5py itself reads the other file
        np.testing.assert_array_equal(file[name], VALUES)
    return other


@each_way
def test_values_of_another_file_are_refused(tmp_path: Path, way: Callable[..., None]) -> None:
    path = tmp_path / "betas_session01.hdf5"
    write(path, way)
    for read in (lambda: peek(path), lambda: read_voxels(path, np.arange(2))):
        with pytest.raises(DataError, match=rf"betas_session01\.hdf5: 'betas' {WAYS[way]}.*copy the values"):
            read()


@each_way
def test_the_other_file_is_not_opened(tmp_path: Path, way: Callable[..., None]) -> None:
    # to open it would fail with another error: it is damaged first, and missing then
    path = tmp_path / "betas_session01.hdf5"
    other = write(path, way)
    other.write_bytes(b"damaged")
    with pytest.raises(DataError, match=WAYS[way]):
        peek(path)
    other.unlink()
    with pytest.raises(DataError, match=WAYS[way]):
        peek(path)


@each_way
def test_images_and_betas_of_a_tree_are_refused_by_check_and_by_load(tmp_path: Path, way: Callable[..., None]) -> None:
    make_tree(tmp_path, make_subject("subj01"))
    for name, dataset in ((BETAS, "betas"), (STIMULI, "imgBrick")):
        path = tmp_path / name
        content = path.read_bytes()
        write(path, way, dataset)
        with pytest.raises(DataError, match=WAYS[way]):
            load(recipe_for(tmp_path), "subj01")
        bad = {check.path: check.note for check in nsd.inventory(recipe_for(tmp_path), "subj01") if not check.ok}
        assert WAYS[way] in bad[path]
        path.write_bytes(content)


@each_way
def test_images_that_were_replaced_after_the_check_are_refused(tmp_path: Path, way: Callable[..., None]) -> None:
    make_tree(tmp_path, make_subject("subj01"))
    stimuli = load(recipe_for(tmp_path), "subj01")[1]
    write(tmp_path / STIMULI, way, "imgBrick")
    files = NsdFiles(tmp_path, "subj01", "func1pt8mm", "")
    for look in (lambda: stimuli.images([0]), lambda: count_images(files), lambda: check_images(files)):
        with pytest.raises(DataError, match=WAYS[way]):
            look()


def test_what_is_in_the_file_itself_is_opened(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["imgBrick"] = make_images()
        file["group/inside"] = VALUES
    with open_dataset(tmp_path / "a.hdf5", "imgBrick") as found:
        np.testing.assert_array_equal(found[:], make_images())
    with pytest.raises(DataError, match="'group' is no dataset"), open_dataset(tmp_path / "a.hdf5", "group"):
        pass
    with (
        pytest.raises(DataError, match="no dataset 'betas'; it contains group, imgBrick"),
        open_dataset(tmp_path / "a.hdf5", "betas"),
    ):
        pass


def test_a_dataset_in_a_group_is_opened_and_a_link_on_the_way_to_it_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["group/inside"] = VALUES
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["own/inside"] = VALUES
        file["group"] = h5py.ExternalLink(tmp_path / "other.hdf5", "/group")
        file["own/link"] = h5py.ExternalLink(tmp_path / "other.hdf5", "/group/inside")
        file["own/soft"] = h5py.SoftLink("/group/inside")
    with open_dataset(tmp_path / "a.hdf5", "own/inside") as found:
        np.testing.assert_array_equal(found[:], VALUES)
    for name in ("group/inside", "own/link", "own/soft"):
        with pytest.raises(DataError, match="is a link"), open_dataset(tmp_path / "a.hdf5", name):
            pass
    with pytest.raises(DataError, match="'inside' is no group"), open_dataset(tmp_path / "a.hdf5", "own/inside/more"):
        pass


@pytest.mark.parametrize("chunks", [None, (100,)])
def test_a_length_beyond_the_file_is_refused_before_memory_is_allocated(
    tmp_path: Path, chunks: tuple[int] | None
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        most = None if chunks is None else (None,)
        texts = file.create_dataset("texts", (3,), dtype=h5py.string_dtype(), chunks=chunks, maxshape=most)
        texts[:] = ["a", "b" * 777, "c"]
    with h5py.File(path) as file:
        texts = file["texts"]
        assert [text.decode() for text in read_all(path, texts)] == ["a", "b" * 777, "c"]
        start = texts.id.get_offset() if chunks is None else texts.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    assert content[start + 16 : start + 20] == (777).to_bytes(4, "little")  # the length of the second text
    content[start + 16 : start + 20] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with h5py.File(path) as file, raises_with(DataError, where=path, expected=len(content), found=2**31 + 2):
        read_all(path, file["texts"])


@pytest.mark.parametrize(("options", "ratio"), [({"chunks": (1000,)}, 1), ({"compression": "gzip"}, 1100)])
def test_a_shape_of_more_values_than_are_stored_is_refused(
    tmp_path: Path, options: dict[str, object], ratio: int
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("fits", data=np.zeros(1000), maxshape=(None,), **options)
        file.create_dataset("more", data=np.zeros(1000), maxshape=(None,), **options)
        file["more"].resize((10**8,))  # the new values are not stored
    with h5py.File(path) as file:
        assert read_all(path, file["fits"]).tolist() == [0] * 1000
        stored = file["more"].id.get_storage_size()
        assert stored * ratio < 8 * 10**8
        with raises_with(DataError, where=path, expected=stored, found=8 * 10**8):
            read_all(path, file["more"])
