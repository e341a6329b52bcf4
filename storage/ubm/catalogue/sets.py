"""Sets of row numbers and lists of words, in pieces of 4,096 rows: compact in the database, quick in NumPy.

A piece of a set is a bitmap of 512 bytes, or the sorted offsets when they take less. Pieces lie in one BTree by the
name of the set and the number of the piece, so that all pieces of a set are neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 4096

_BITMAP = PIECE // 8
_AFTER = "\0\U0010ffff"

Mask = NDArray[np.bool_]

#: A row that has a word: its offset in the piece, and how often it has it, 255 at most.
POSTING = np.dtype([("offset", "<u2"), ("count", "u1")])


def key(name: str, piece: int) -> str:
    """Where a piece lies."""
    return f"{name}\0{chr(piece)}"


def pieces(tree: Any, name: str) -> Iterator[tuple[int, bytes]]:
    """The pieces of a set, with their numbers."""
    for found, data in tree.items(name + "\0", name + _AFTER):
        yield ord(found[-1]), data


def gathered(tree: Any, prefix: str) -> list[tuple[int, bytes]]:
    """The pieces of all sets whose names begin so, with their numbers."""
    limits = (prefix, prefix + "\U0010ffff")
    return [(ord(found[-1]), data) for found, data in tree.items(*limits)]


def named(tree: Any, prefix: str) -> Iterator[tuple[str, int, bytes]]:
    """The pieces of all sets whose names begin so: name, number, data."""
    for found, data in tree.items(prefix, prefix + "\U0010ffff"):
        yield found[:-2], ord(found[-1]), data


def offsets(data: bytes) -> NDArray[Any]:
    """The sorted offsets in a piece."""
    if len(data) == _BITMAP:
        return np.flatnonzero(bits(data))
    return np.frombuffer(data, "<u2")


def bits(data: bytes) -> Mask:
    """A bitmap as booleans."""
    return np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").view(np.bool_)


def changed(data: bytes | None, changes: dict[int, bool]) -> bytes:
    """A piece with offsets added (True) and removed (False)."""
    if data is None or len(data) < 128:
        found = set() if data is None else set(offsets(data).tolist())
        found |= {offset for offset, there in changes.items() if there}
        found -= {offset for offset, there in changes.items() if not there}
        if len(found) * 2 < _BITMAP:
            return np.array(sorted(found), "<u2").tobytes()
        data = np.array(sorted(found), "<u2").tobytes()
    mask = np.zeros(PIECE, np.bool_)
    mask[offsets(data)] = True
    mask[list(changes)] = list(changes.values())
    there = np.flatnonzero(mask)
    if len(there) * 2 < _BITMAP:
        return there.astype("<u2").tobytes()
    return np.packbits(mask, bitorder="little").tobytes()


def add_to(mask: Mask, piece: int, data: bytes) -> None:
    """Set the rows of a piece in a mask of all rows."""
    first = piece * PIECE
    if len(data) == _BITMAP:
        mask[first : first + PIECE] |= bits(data)
    else:
        mask[first + offsets(data).astype(np.int64)] = True


def count_in(mask: Mask, piece: int, data: bytes) -> int:
    """How many rows of a piece are in a mask."""
    part = mask[piece * PIECE : (piece + 1) * PIECE]
    return int(np.count_nonzero(part & bits(data) if len(data) == _BITMAP else part[offsets(data)]))


def changed_postings(data: bytes | None, changes: dict[int, int]) -> bytes:
    """A piece of a word's rows with new counts; 0 removes."""
    found: dict[int, int] = {}
    if data:
        old = np.frombuffer(data, POSTING)
        found = dict(zip(old["offset"].tolist(), old["count"].tolist(), strict=True))
    found |= changes
    rows = [(offset, min(count, 255)) for offset, count in sorted(found.items()) if count]
    return np.array(rows, POSTING).tobytes()


def postings(found: list[tuple[int, bytes]]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Row numbers and counts of pieces together."""
    together = np.frombuffer(b"".join(data for _, data in found), POSTING)
    sizes = [len(data) // POSTING.itemsize for _, data in found]
    first = np.repeat(np.array([piece * PIECE for piece, _ in found], np.int64), sizes)
    return first + together["offset"], together["count"]
