"""A file that is locked or forbidden may be whole: it is never called damaged (h5py/h5py#1101)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import h5py
import pytest

from reseen.check import check
from reseen.datasets.volumes import peek
from reseen.errors import DataError
from reseen.files.reading import is_blocked
from reseen.recipe import load_recipe, with_settings


@pytest.fixture
def tree(simulated_tree, tmp_path):
    return shutil.copytree(simulated_tree, tmp_path / "tree")


def told(tree, tmp_path):
    recipe = with_settings(load_recipe("tiny"), [f"data.path={tree}", "simulate.n_sessions=1"])
    return {one.what: one for one in check(recipe, tmp_path / "out")}["data of subj01"]


def test_a_file_that_another_process_has_open_for_writing_is_locked(tree, tmp_path):
    session = next(tree.rglob("betas_session01.hdf5"))
    code = f"import h5py; f = h5py.File({str(session)!r}, 'r+'); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as held:
        held.stdout.readline()
        try:
            with pytest.raises(DataError, match="is locked: another process has it open for writing") as caught:
                peek(session)
            found = told(tree, tmp_path)
        finally:
            held.communicate("\n")
    assert is_blocked(caught.value)
    line = next(line for line in found.more if session.name in line)
    assert line.startswith("not readable")
    assert "damaged" not in found.found
    assert not any("delete" in line.lower() or "aws" in line for line in found.more)


@pytest.mark.parametrize(
    ("code", "said"),
    [(errno.ENOLCK, "its disk has no locks. Set HDF5_USE_FILE_LOCKING=FALSE"), (errno.EAGAIN, "is locked")],
)
def test_a_lock_that_fails_names_the_cure(tree, monkeypatch, code, said):
    def fail(*_arguments, **_options):
        raise BlockingIOError(code, f"unable to lock file, errno = {code}, error message = '{os.strerror(code)}'")

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(DataError, match=said):
        peek(next(tree.rglob("betas_session01.hdf5")))


def test_a_file_without_permission_is_said_to_be_so(tree, tmp_path, monkeypatch):
    session, access = next(tree.rglob("betas_session01.hdf5")), os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: str(path) != str(session) and access(path, mode, **more)
    )
    with pytest.raises(DataError, match="no permission to read"):
        peek(session)
    found = told(tree, tmp_path)
    assert any(line.startswith("not readable  no permission to read") for line in found.more)


def test_a_loop_of_links_and_a_folder_in_place_of_a_file_are_named(tree):
    session = next(tree.rglob("betas_session01.hdf5"))
    session.unlink()
    session.symlink_to(session)
    with pytest.raises(DataError, match="symbolic link that leads back to itself"):
        peek(session)
    session.unlink()
    session.mkdir()
    with pytest.raises(DataError, match="is a folder"):
        peek(session)
