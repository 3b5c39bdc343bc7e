"""Check the structure of a MATLAB file of version 5 before a library reads it: damaged files can crash scipy's reader.

Such a file is a header of 128 bytes and elements, each with a tag: type and number of bytes. An element of type
`_MATRIX` contains elements: flags, dimensions, name and values. One of type `_COMPRESSED` contains another by zlib.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from reseen.datasets.volumes import reading
from reseen.errors import DataError
from reseen.files import check_regular
from reseen.files.reading import shown

MOST_BYTES = 256 * 2**20
"""Maximum size of a file, and of its decompressed content; NSD's design has 2 MB."""
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # bytes of a value by type of the element
_NUMERIC = range(6, 16)  # classes of arrays, from double to uint64


def check_mat(path: Path) -> None:
    """Check that a file is of MATLAB's version 5, and that its elements have their declared lengths.

    Raises
    ------
    DataError
        If it is missing, of another format, truncated or damaged.
    """
    n_bytes = check_regular(path)
    if n_bytes > MOST_BYTES:
        raise DataError(f"{shown(path)} has {n_bytes:,} bytes; at most {MOST_BYTES:,} are expected. Fetch it again.")
    with reading(path):
        content = path.read_bytes()
        if content[:10] == b"MATLAB 7.3":
            raise DataError(f"{shown(path)} is of MATLAB's version 7.3, and version 5 is expected. Fetch it again.")
        order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
        if len(content) < _HEADER or order is None:
            raise DataError(f"{shown(path)} is no MATLAB file of version 5. Fetch it again.")
        n_elements = 0
        for element_type, data in _elements(content[_HEADER:], order):
            _check_element(element_type, data, order)
            n_elements += 1
        if not n_elements:
            raise DataError(f"{shown(path)} contains no variable. Fetch it again.")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield type and data of each element."""
    place = 0
    while place < len(content):
        element_type, size = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if element_type >> 16:  # up to four bytes are in the tag itself
            element_type, size, start = element_type & 0xFFFF, element_type >> 16, place + 4
            end = place + 8
            if size > 4:
                raise ValueError("a short element is longer than four bytes")
        else:
            end = start + size
            if element_type != _COMPRESSED:
                end += -(end - place) % 8
        if start + size > len(content):
            raise EOFError(f"an element of {size:,} bytes ends after the file")
        yield element_type, content[start : start + size]
        place = end


def _check_element(element_type: int, data: bytes, order: str) -> None:
    if element_type == _COMPRESSED:
        inflate = zlib.decompressobj()
        data = inflate.decompress(data, MOST_BYTES)
        if not inflate.eof:  # zlib compares its checksum at the end
            raise EOFError("a compressed element ends early")
        for inner, content in _elements(data, order):
            _check_element(inner, content, order)
    elif element_type == _MATRIX:
        _check_matrix(data, order)
    elif element_type not in _SIZES:
        raise ValueError(f"there is no element of type {element_type}")


def _check_matrix(data: bytes, order: str) -> None:
    """Check that a numeric array has as many values as its dimensions declare; other arrays are not read."""
    parts = list(_elements(data, order))
    if len(parts) < 3 or len(parts[0][1]) != 8 or parts[1][0] != 5 or len(parts[1][1]) % 4:
        raise ValueError("an array lacks its flags or dimensions")
    array_class = struct.unpack_from(f"{order}I", parts[0][1])[0] & 0xFF
    if array_class not in _NUMERIC:
        return
    dimensions = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    n_values = math.prod(dimensions)
    for element_type, values in parts[3:]:
        if element_type not in _SIZES or len(values) != n_values * _SIZES[element_type]:
            raise ValueError(f"an array of {n_values:,} values has {len(values):,} bytes")
    if len(parts) < 4 and n_values:
        raise EOFError("an array has no values")
