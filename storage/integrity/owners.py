"""Whose bytes a damaged record or blob holds: the array, which of its rows and blocks, or what else it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import transaction
from ZODB.blob import Blob
from ZODB.utils import get_pickle_metadata

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.extents import END
from wendelin.storage.arrays.pages import Chunks, Pages, Parts
from wendelin.storage.arrays.runs import HOLE, PAGE
from wendelin.storage.arrays.tail import Assembled
from wendelin.storage.database.connect import shared
from wendelin.storage.database.urls import DatabaseURL
from wendelin.storage.integrity.damage import Damage

#: Bytes of an array, and bytes of the segment where they lie.
Stretch = tuple[int, int, int]


class Owners:
    """The arrays of a database as they are now. What cannot be read because of the damage is passed over."""

    def __init__(self, url: DatabaseURL) -> None:
        self._connection = shared(url, read_only=True).open(transaction.TransactionManager())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def of(self, damage: Damage) -> str:
        """In words, whose bytes a damage has hit; "" when nothing of today names it."""
        if damage.oid is None:
            return ""
        names = []
        for name, obj in self._walk():
            if getattr(obj, "_p_oid", None) == damage.oid:
                names.append(f"{name!r} itself ({type(obj).__name__})")
            elif isinstance(obj, ZBigArray):
                found = _within(name, obj, damage)
                if found:
                    names.append(found)
        return "; ".join(names) if names else self._class_of(damage.oid)

    def _walk(self) -> Iterator[tuple[str, Any]]:
        root = self._connection.root()
        yield "/", root
        try:
            yield from root.walk()
        except Exception:  # noqa: BLE001  a folder that is damaged itself: what it holds has no name any more
            return

    def _class_of(self, oid: bytes) -> str:
        try:
            record, _ = self._connection._storage.load(oid)
            module, name = get_pickle_metadata(record)
        except Exception:  # noqa: BLE001  damaged, or of an earlier state
            return "an object of an earlier state, or one that nothing of today names"
        return f"an object of class {module}.{name} that no name of an array leads to"


def _within(name: str, array: ZBigArray, damage: Damage) -> str:
    oid = damage.oid
    try:
        extents = array.extents
        if oid == extents._p_oid:
            return f"array {name!r}: its extent map, so all of it"
        beneath = [each for each in (extents.base, extents.older, extents.index) if each is not None]
        chunks = [] if extents.index is None else extents.index.chunks
        if any(each._p_oid == oid for each in (*beneath, *chunks)):
            return f"array {name!r}: a part of its extent map"
        return _rows(name, array, list(_stretches(array, damage)))
    except Exception:  # noqa: BLE001  what is damaged may raise anything when it is loaded
        return f"array {name!r}: its extent map cannot be read"


def _stretches(array: ZBigArray, damage: Damage) -> Iterator[Stretch]:
    """Where in the array damaged bytes of a segment show."""
    extents = array.extents
    runs, sources = extents.layout(0, END)
    for start, length, number, offset in runs:
        source = sources[number]
        if isinstance(source, Assembled):
            continue
        for lo, hi in _hit(source, damage):
            first, last = max(lo, offset * PAGE), min(hi, (offset + length) * PAGE)
            if first < last:
                yield start * PAGE + first - offset * PAGE, start * PAGE + last - offset * PAGE, first
    at = extents.sealed or 0
    for number, offset, nbytes in extents.tail:
        for lo, hi in _hit(extents.segments[number], damage) if number != HOLE else ():
            first, last = max(lo, offset), min(hi, offset + nbytes)
            if first < last:
                yield at + first - offset, at + last - offset, first
        at += nbytes


def _hit(source: Any, damage: Damage) -> Iterator[tuple[int, int]]:
    """The bytes of a segment that a damage has hit."""
    if isinstance(source, Parts | Chunks):
        for k, part in enumerate(source.parts):
            for lo, hi in _hit(part, damage):
                yield k * source.size + lo, k * source.size + min(hi, source.size)
        whole = source._p_oid == damage.oid
        if whole:
            yield 0, source.nbytes
    elif isinstance(source, Blob) and source._p_oid == damage.oid and damage.start is not None:
        yield damage.start, damage.stop if damage.stop is not None else 1 << 62
    elif isinstance(source, Blob | Pages) and source._p_oid == damage.oid:
        yield 0, 1 << 62


def _rows(name: str, array: ZBigArray, stretches: list[Stretch]) -> str:
    """Which rows and blocks some bytes of an array are."""
    if not stretches:
        return ""
    lo = min(first for first, _, _ in stretches)
    hi = min(max(last for _, last, _ in stretches), max(array.nbytes, lo + 1))
    blocks = f"{_span(lo // array.blksize, (hi - 1) // array.blksize, 'block')} of {array.blksize:,} bytes"
    if not array.shape or array.order == "F":
        return f"array {name!r}: bytes {lo:,} to {hi:,}, {blocks}"
    row = max(array.nbytes // max(array.shape[0], 1), 1)
    return f"array {name!r}: {_span(lo // row, (hi - 1) // row, 'row')}, {blocks}"


def _span(first: int, last: int, what: str) -> str:
    return f"{what} {first:,}" if first == last else f"{what}s {first:,} to {last:,}"
