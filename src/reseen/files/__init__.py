"""Files: complete or absent, read or refused with a reason; and locks of folders.

::

    reading.py     checks before a file is opened, and one error for every failure
    text.py        text and JSON
    images.py      images
    archives.py    checksums of zip archives
    tensors.py     arrays as safetensors files, with checksums
    sealing.py     images as PNG files, with checksums
    writing.py     files and folders that are complete or absent
    locking.py     locks of folders
"""

from reseen.files.archives import check_archive
from reseen.files.images import IMAGE_SUFFIXES, read_image
from reseen.files.locking import Held, lock
from reseen.files.reading import check_regular, file_state, reading, shown, unreadable
from reseen.files.sealing import verify_sealed, write_sealed
from reseen.files.tensors import check_tensors, opening_tensors, verify_tensors, write_tensors
from reseen.files.text import read_json, read_text
from reseen.files.writing import check_vacant, sweep, write_json, write_text, writing, writing_folder

GB = 1e9
"""Bytes."""

__all__ = [
    "GB",
    "IMAGE_SUFFIXES",
    "Held",
    "check_archive",
    "check_regular",
    "check_tensors",
    "check_vacant",
    "file_state",
    "lock",
    "opening_tensors",
    "read_image",
    "read_json",
    "read_text",
    "reading",
    "shown",
    "sweep",
    "unreadable",
    "verify_sealed",
    "verify_tensors",
    "write_json",
    "write_sealed",
    "write_tensors",
    "write_text",
    "writing",
    "writing_folder",
]
