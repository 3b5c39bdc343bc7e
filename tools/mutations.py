"""Mutations of a file: of its bytes, of what its format holds, or of what is in its place.

A mutation of bytes takes the content and a random generator, and returns the changed content, or ``None`` where it does
not fit the format. A replacement puts something else where the file was: a pipe, a folder, a file of another kind.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Mutation = Callable[[bytes, random.Random], bytes | None]
Replacement = Callable[[Path, random.Random, Sequence[Path]], None]

LARGE = (2**31 - 1, 2**32 - 1, 2**40, 2**62, -1)
NPY, PNG, GZIP, ZIP = b"\x93NUMPY", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b", b"PK\x03\x04"
MGH = b"\0\0\0\x01"
DEPTH = 100_000


# ------------------------------------------------------------------------------------------------ bytes


def flip_bit(content: bytes, rng: random.Random, n: int = 1) -> bytes | None:
    """Flip one bit, or ``n``."""
    if not content:
        return None
    changed = bytearray(content)
    for _ in range(n):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_early_bits(content: bytes, rng: random.Random) -> bytes | None:
    """Flip some bits of the first 200 bytes, where headers are."""
    head = flip_bit(content[:200], rng, rng.randint(1, 3))
    return None if head is None else head + content[200:]


def _span(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + rng.randint(1, max(1, len(content) // 3)))


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    """Replace a range by random bytes."""
    start, stop = _span(content, rng)
    return content[:start] + rng.randbytes(stop - start) + content[stop:]


def overwrite(content: bytes, rng: random.Random) -> bytes:
    """Replace a range by zeros, or by another byte."""
    start, stop = _span(content, rng)
    return content[:start] + rng.choice([b"\0", b"\0", b"\xff", b"[", b"9"]) * (stop - start) + content[stop:]


def truncate(content: bytes, rng: random.Random) -> bytes:
    """Keep only the start."""
    return content[: rng.randrange(len(content) + 1)]


def leave_hole(content: bytes, rng: random.Random) -> bytes:
    """Keep the start and the length, as a partial download does."""
    kept = truncate(content, rng)
    return kept + b"\0" * (len(content) - len(kept))


def append(content: bytes, rng: random.Random) -> bytes:
    """Append bytes: random ones, zeros, a line break or the file itself again."""
    return content + rng.choice([rng.randbytes(20), b"\0" * 100, b"\n", content])


def insert(content: bytes, rng: random.Random) -> bytes:
    """Insert random bytes, or repeat a range."""
    start, stop = _span(content, rng)
    return content[:start] + rng.choice([content[start:stop], rng.randbytes(20)]) + content[start:]


def lose(content: bytes, rng: random.Random) -> bytes:
    """Take a range away."""
    start, stop = _span(content, rng)
    return content[:start] + content[stop:]


def write_large_number(content: bytes, rng: random.Random) -> bytes:
    """Replace some bytes, early ones above all, by a large number in one of the ways in which headers hold numbers."""
    start = rng.randrange(min(len(content), rng.choice([16, 400, len(content) + 1])) + 1)
    packed = struct.pack(rng.choice("<>") + "q", rng.choice(LARGE))[: rng.choice([2, 4, 8])]
    return content[:start] + packed + content[start + len(packed) :]


def write_other_digits(content: bytes, rng: random.Random) -> bytes | None:
    """Replace a digit by a number or a word of another type."""
    places = [match.start() for match in re.finditer(rb"[0-9]", content[:100_000])]
    if not places:
        return None
    place = rng.choice(places)
    number = rng.choice([b"999999999999", b"-1", b"1e400", b"nan", b"0.5", b"true", b"'a'", b"null", b"[]", b"{}"])
    return content[:place] + number + content[place + 1 :]


def recode(content: bytes, rng: random.Random) -> bytes:
    """Write a text in another encoding, with a byte order mark or with NUL bytes."""
    text = content.decode("latin-1")
    forms = [("\ufeff" + text).encode(), text.encode("utf-16"), text.encode("utf-32"), b"\xfc\xff" + content]
    return rng.choice([*forms, text.replace("\n", "\r").encode("latin-1"), content + b"\0", b"\0" + content])


def write_something_else(content: bytes, rng: random.Random) -> bytes:
    """Replace the content by something that no reader expects: nothing, nested JSON, a web page, a pickle, zeros."""
    page = b"<!doctype html><html><body>404</body></html>"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    depth = rng.choice([500, 5000, DEPTH])
    nested = [b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth]
    short = [
        b"",
        b"",
        b"\0",
        b"null",
        b"[]",
        b"{}",
        b"1",
        b'"a"',
        b"a = 1",
        page,
        pointer,
        pickle.dumps({"a": [1, "b"]}),
    ]
    return rng.choice([*nested, *short, rng.randbytes(300), b"\0" * len(content), b"a" * 5_000_000])


# ------------------------------------------------------------------------------------------------ text of known formats


def change_json(content: bytes, rng: random.Random) -> bytes | None:
    """Change one value of JSON to one of another type, or take it away."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    places = _places(value)
    if not places:
        return None
    parent, key = rng.choice(places)
    if rng.random() < 0.1:
        del parent[key]
        return json.dumps(value).encode()
    odd: list[Any] = [None, True, -1, 0, 0.5, 10**30, 1e308, "", "x", "\x1b[31m", "x" * 100_000, [], [1, "a"], {}]
    deep = rng.choice(["[" * DEPTH + "]" * DEPTH, '{"a":' * DEPTH + "1" + "}" * DEPTH])
    parent[key] = new = rng.choice([*odd, {"a": 1}, "<deep>"])
    text = json.dumps(value)
    return (text.replace('"<deep>"', deep) if new == "<deep>" else text).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each list or object within a JSON value, with each index or key of it."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, dict | list):
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            found += [(node, key) for key in keys]
            stack += [node[key] for key in keys]
    return found


def change_table(content: bytes, rng: random.Random) -> bytes | None:
    """Change a table: drop a column or a row, rename a column, or write text, nothing or zeros for numbers."""
    head = content.partition(b"\n")[0]
    delimiter = b"\t" if b"\t" in head else b","
    if delimiter not in head or not head.isascii() or b"{" in head:
        return None
    rows = list(csv.reader(io.StringIO(content.decode("latin-1")), delimiter=delimiter.decode()))
    if len(rows) < 2:
        return None
    column, row = rng.randrange(len(rows[0])), rng.randrange(1, len(rows))
    how = rng.choice(["drop column", "drop rows", "rename", "cell", "cell", "cell", "fill", "shorten", "twice"])
    if how == "drop column":
        rows = [[cell for place, cell in enumerate(cells) if place != column] for cells in rows]
    elif how == "drop rows":
        rows = rng.choice([rows[:1], rows[:row], rows[1:], rows + rows[1:]])
    elif how == "rename":
        rows[0][column] = rng.choice(["", "other", rows[0][0], rows[0][column].upper()])
    elif how == "twice":
        rows = [[*cells, cells[column % len(cells)] if cells else ""] for cells in rows]
    elif how == "shorten":
        rows[row] = rows[row][:column]
    else:
        odd = rng.choice(["", "text", "nan", "inf", "-1", "0", "0.5", "1e400", "9" * 40, "\x1b[31m", "=1+1", '"'])
        for cells in rows[1:] if how == "fill" else [rows[row]]:
            cells[column % max(1, len(cells)) : column % max(1, len(cells)) + 1] = [odd]
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter.decode(), lineterminator="\n").writerows(rows)
    return written.getvalue().encode("latin-1")


def change_lines(content: bytes, rng: random.Random) -> bytes | None:
    """Drop, repeat or permutation lines of a text."""
    lines = content.split(b"\n")
    if len(lines) < 3 or b"\0" in content:
        return None
    place = rng.randrange(len(lines))
    how = rng.choice(["drop", "repeat", "permutation"])
    if how == "drop":
        del lines[place]
    elif how == "repeat":
        lines.insert(place, lines[place])
    else:
        rng.shuffle(lines)
    return b"\n".join(lines)


# ------------------------------------------------------------------------------------------------ binary formats


def declare_other_size(content: bytes, rng: random.Random) -> bytes | None:
    """Change a size or a type in the header of a binary format, with every checksum right."""
    if content.startswith(GZIP):
        return _within_gzip(content, rng, declare_other_size)
    if content.startswith(ZIP):
        return _within_zip(content, rng, declare_other_size)
    if content.startswith(NPY):
        return _npy_header(content, rng)
    if content.startswith(PNG):
        return _png_chunk(content, rng, _png_size)
    if content[344:347] in (b"n+1", b"ni1"):
        return _numbers(content, rng, "<h", range(40, 56, 2), (70, 72))  # dim, datatype and bitpix of NIfTI-1
    if content.startswith(MGH):
        return _numbers(content, rng, ">i", range(4, 20, 4), (20,))  # width, height, depth, frames and type of MGH
    return change_tensor_header(content, rng)


def change_inside(content: bytes, rng: random.Random) -> bytes | None:
    """Change bytes within a container, and write its checksums anew."""
    change = rng.choice([flip_bit, flip_early_bits, change_bytes, overwrite, truncate, lose, write_large_number])
    if content.startswith(GZIP):
        return _within_gzip(content, rng, change)
    if content.startswith(ZIP):
        return _within_zip(content, rng, change)
    if content.startswith(PNG):
        return _png_chunk(content, rng, change)
    return None


def _within_gzip(content: bytes, rng: random.Random, change: Mutation) -> bytes | None:
    changed = change(gzip.decompress(content), rng)
    return None if changed is None else gzip.compress(changed, compresslevel=1, mtime=0)


def _within_zip(content: bytes, rng: random.Random, change: Mutation) -> bytes | None:
    """Change one member of an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    place = rng.randrange(len(members))
    changed = change(members[place][1], rng)
    if changed is None:
        return None
    members[place] = (members[place][0], changed)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for member, data in members:
            archive.writestr(member, data)
    return written.getvalue()


def _npy_header(content: bytes, rng: random.Random) -> bytes:
    """Write another shape or type into the header of an npy array."""
    end = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:end].decode("latin-1")
    shapes = [
        "(99999999999,)",
        "(1000000, 1000000)",
        "(-1,)",
        "()",
        "(0,)",
        "(1, 2, 3)",
        "(3.5,)",
        "'a'",
        "(9223372036854775807, 3)",
    ]
    types = ["'<f8'", "'|O'", "'<U999999999'", "'<c16'", "'|S0'", "'<M8[s]'", "'>i2'", "[('a', '<i4')]", "'nothing'"]
    if rng.random() < 0.5:
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {rng.choice(shapes)}", header)
    else:
        header = re.sub(r"'descr': '[^']*'", f"'descr': {rng.choice(types)}", header)
    packed = (header.rstrip() + "\n").encode("latin-1")
    return content[:8] + len(packed).to_bytes(2, "little") + packed + content[end:]


def _png_chunk(content: bytes, rng: random.Random, change: Mutation) -> bytes | None:
    """Change the data of one chunk of a PNG, and write its checksum."""
    chunks = []
    place = len(PNG)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = 0 if change is _png_size else rng.randrange(len(chunks))
    changed = change(chunks[chosen][1], rng)
    if changed is None:
        return None
    chunks[chosen] = (chunks[chosen][0], changed)
    written = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return PNG + b"".join(written)


def _png_size(header: bytes, rng: random.Random) -> bytes:
    """Write another width or height, bit depth or colour type into the first chunk of a PNG."""
    place, size = rng.choice([(0, 4), (4, 4), (8, 1), (9, 1)])
    number = rng.choice([0, 1, 2, 17, 33, 255, 100_000, 2**31 - 1, 2**32 - 1]) % 256**size
    return header[:place] + number.to_bytes(size, "big") + header[place + size :]


def _numbers(content: bytes, rng: random.Random, form: str, sizes: range, types: Sequence[int]) -> bytes:
    """Write other numbers at known places of a header."""
    place = rng.choice([*sizes, *types])
    odd = (0, 1, 2, 3, -1, 7, 32767, -32768, 1 << 20, 2**31 - 1)
    size = struct.calcsize(form)
    number = rng.choice([value for value in odd if -(256**size) // 2 <= value < 256**size // 2])
    return content[:place] + struct.pack(form, number) + content[place + size :]


def change_tensor_header(content: bytes, rng: random.Random) -> bytes | None:
    """Change the header of a safetensors file, and its length with it; or its length alone."""
    size = int.from_bytes(content[:8], "little")
    if content[8:9] != b"{" or size > len(content):
        return None
    if rng.random() < 0.2:
        return rng.choice([2**40, 2**63, size + 1, size - 1, 0]).to_bytes(8, "little") + content[8:]
    change = rng.choice([change_json, change_json, write_other_digits, flip_early_bits, write_something_else])
    header = change(content[8 : 8 + size], rng)
    return None if header is None else len(header).to_bytes(8, "little") + header + content[8 + size :]


def change_array(content: bytes, rng: random.Random) -> bytes | None:
    """Change type, shape or values of an array in an npy or npz file, or leave an array of an npz out."""
    if not content.startswith((NPY, ZIP)):
        return None
    try:
        loaded = np.load(io.BytesIO(content))
        written = io.BytesIO()
        if isinstance(loaded, np.ndarray):
            np.save(written, _other_array(loaded, rng))
            return written.getvalue()
        arrays = dict(loaded)
        name = rng.choice(sorted(arrays))
        changed = _other_array(arrays.pop(name), rng)
        np.savez(written, **(arrays if rng.random() < 0.2 else {**arrays, name: changed}))
    except (ValueError, TypeError, AttributeError, OSError, OverflowError):  # no arrays, or a type that does not fit
        return None
    return written.getvalue()


def _other_array(array: np.ndarray[Any, Any], rng: random.Random) -> np.ndarray[Any, Any]:
    odd = [np.nan, np.inf, -1, 2**40, 0.5]
    how = rng.choice(["type", "value", "shape", "fill"])
    with np.errstate(all="ignore"):
        if how == "type":
            return array.astype(
                rng.choice([bool, "i1", "u1", "u8", "i8", "f2", "f8", "c8", "U3", "S3", "M8[s]", ">f4"])
            )
        if how == "value" and array.size:
            changed = array.copy()
            changed.reshape(-1)[rng.randrange(array.size)] = rng.choice(odd)
            return changed
        if how == "shape":
            shapes = [array[:-1], array[None], array.reshape(-1), np.repeat(array, 2, axis=0), array[:0], array.T]
            return rng.choice(shapes)
        return np.full(array.shape, rng.choice([*odd, "a", None]))


MUTATIONS: dict[str, Mutation] = {
    "a bit flipped": flip_bit,
    "twenty bits flipped": lambda content, rng: flip_bit(content, rng, 20),
    "early bits flipped": flip_early_bits,
    "bytes changed": change_bytes,
    "a range overwritten": overwrite,
    "cut short": truncate,
    "a hole at the end": leave_hole,
    "bytes appended": append,
    "bytes inserted": insert,
    "bytes lost": lose,
    "a large number": write_large_number,
    "other digits": write_other_digits,
    "another encoding": recode,
    "something else": write_something_else,
    "another value of JSON": change_json,
    "another table": change_table,
    "other lines": change_lines,
    "another size declared": declare_other_size,
    "changed within a container": change_inside,
    "another header of tensors": change_tensor_header,
    "another array": change_array,
}
"""Mutations of bytes, by name."""


# ------------------------------------------------------------------------------------- something in place of the file


def _sparse(path: Path, rng: random.Random, _others: Sequence[Path]) -> None:
    with path.open("wb") as file:
        file.truncate(rng.choice([5 * 10**9, 2 * 10**10]))


def _sparse_end(path: Path, rng: random.Random, others: Sequence[Path]) -> None:
    """Write the start of another file, and 20 GB that are not stored behind it."""
    with path.open("wb") as file:
        file.write(rng.choice(others).read_bytes()[:4096])
        file.truncate(2 * 10**10)


def _swap(path: Path, rng: random.Random, others: Sequence[Path]) -> None:
    path.write_bytes(rng.choice(others).read_bytes())


def _hdf5(path: Path, rng: random.Random, _others: Sequence[Path]) -> None:
    """Write an HDF5 file whose datasets promise much, or are of another type or elsewhere."""
    import h5py

    with h5py.File(path, "w") as file:
        for name in ("betas", "imgBrick"):
            how = rng.randrange(8)
            if how == 0:
                file.create_dataset(name, (10**6, 10**3, 10**3, 10**3), "f8", chunks=(1, 1, 10, 10))
            elif how == 1:
                file.create_dataset(name, data=np.ones((6, 3, 4, 5), np.complex64))
            elif how == 2:
                file[name] = h5py.ExternalLink("/dev/zero", "betas")
            elif how == 3:
                file.create_group(name)
            elif how == 4:
                file.create_dataset(name, data=rng.choice([1.0, "text", [b"a", b"b"]]))
            elif how == 5:
                file[name] = h5py.SoftLink(f"/{name}")
            elif how == 6:  # of the right type, and nothing of it is stored
                file.create_dataset(
                    name, rng.choice([(6, 3, 4, 5), (6, 10**4, 10**4, 10**4)]), "<i2", chunks=(6, 1, 1, 1)
                )
            else:
                file.create_dataset(name, (14, 10**5, 10**5, 3), "u1", chunks=(1, 64, 64, 3))


REPLACEMENTS: dict[str, Replacement] = {
    "a pipe": lambda path, _rng, _others: os.mkfifo(path),
    "a folder": lambda path, _rng, _others: path.mkdir(),
    "a device": lambda path, _rng, _others: path.symlink_to("/dev/zero"),
    "a broken link": lambda path, _rng, _others: path.symlink_to("/nowhere/at/all"),
    "a loop of links": lambda path, _rng, _others: path.symlink_to(path),
    "nothing": lambda _path, _rng, _others: None,
    "a sparse file": _sparse,
    "a sparse end": _sparse_end,
    "another kind of file": _swap,
    "another HDF5 file": _hdf5,
}
"""What is put in place of a file, by name."""


def mutate(path: Path, rng: random.Random, others: Sequence[Path]) -> str:
    """Mutate a file by a mutation or a replacement that the generator chooses.

    Parameters
    ----------
    path
        The file.
    rng
        Chooses everything: the same state of it makes the same change of the same file.
    others
        Files of other kinds.

    Returns
    -------
    str
        Name of the change.
    """
    content = path.read_bytes()
    while True:
        name = rng.choice([*MUTATIONS, *REPLACEMENTS])
        if name in REPLACEMENTS:
            path.unlink()
            REPLACEMENTS[name](path, rng, others)
            return name
        changed = MUTATIONS[name](content, rng)
        if changed is not None:
            path.unlink()  # a new file: whoever has the old one mapped keeps it
            path.write_bytes(changed)
            return name
