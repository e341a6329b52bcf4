"""Checksums of records: each transaction of a FileStorage carries those of its records.

They lie in the transaction's extension, which ZODB keeps through packing, copies and `repozo`, and hands to whoever
iterates over a storage, a client of a ZEO server too. A transaction has a *set* of checksums, each of an object's
number and its data: so what packing leaves of a transaction can still be checked.

A ZEO server imports this module: it needs nothing but ZODB.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ZODB._compat import dumps, loads

#: The name of the checksums in an extension.
KEY = "wendelin.checksums"

#: Records of a transaction that have checksums of their own: a FileStorage's extension takes 64 KiB. Where there are
#: more, all together have one, which no longer says anything once packing has removed some.
MOST = 12_000

_EACH, _ALL = b"e", b"a"
_HEAD = struct.Struct("<cII")  # kind, checksum of the transaction's own texts, number of records

_PROTOCOL = 3


def record_sum(oid: bytes, data: bytes | None) -> int:
    """The checksum of one record; None: the object's creation was undone."""
    return zlib.crc32(data or b"", zlib.crc32(oid))


def with_sums(tid: bytes, user: bytes, note: bytes, extension: bytes, sums: Iterable[int]) -> bytes:
    """An extension with the checksums of a transaction's records; those that it brought from elsewhere are replaced."""
    rest = _decoded(extension)
    rest.pop(KEY, None)
    packed = _packed(sorted(sums))
    kind, body = (_EACH, packed) if len(packed) <= 4 * MOST else (_ALL, _packed([zlib.crc32(packed)]))
    head = _HEAD.pack(kind, _text_sum(tid, user, note, rest), len(packed) // 4)
    return _encoded(_decoded(_encoded({**rest, KEY: head + body})))


def is_as_written(extension: dict[Any, Any], raw: bytes) -> bool:
    """Whether an extension with checksums is stored byte for byte as `with_sums` gave it."""
    return _encoded(extension) == raw


@dataclass(frozen=True)
class RecordSums:
    """The checksums of one transaction. `count`: records that it had when it was committed."""

    count: int
    text: int
    each: frozenset[int] | None
    all: int | None

    @classmethod
    def of(cls, extension: dict[Any, Any]) -> RecordSums | None:
        """Those in an extension; None when it has none. Raises `ValueError` when they are damaged."""
        raw = extension.get(KEY)
        if raw is None:
            if any(_nearly(name) for name in extension):
                raise ValueError("the name of the checksums is damaged")
            return None
        try:
            kind, text, count = _HEAD.unpack_from(raw)
            numbers = _unpacked(raw[_HEAD.size :])
        except (TypeError, ValueError, struct.error) as error:
            raise ValueError(f"the checksums are damaged: {error}") from error
        if kind == _EACH and len(numbers) == count:
            return cls(count, text, frozenset(numbers), None)
        if kind == _ALL and len(numbers) == 1:
            return cls(count, text, None, numbers[0])
        raise ValueError("the checksums are damaged")

    def fits_text(self, tid: bytes, user: bytes, note: bytes, extension: dict[Any, Any]) -> bool:
        """Whether a transaction's number, user, note and extension are those that were committed."""
        rest = {name: value for name, value in extension.items() if name != KEY}
        return self.text == _text_sum(tid, user, note, rest)

    def wrong(self, records: list[tuple[bytes, int]], *, packed: bool) -> list[bytes]:
        """The objects, of (object, checksum) in a transaction, that are not as committed.

        `packed`: some may be missing. An empty answer with `all` given and some missing says nothing.
        """
        if self.each is not None:
            return [oid for oid, found in records if found not in self.each]
        if len(records) < self.count and packed:
            return []
        whole = zlib.crc32(_packed(sorted(found for _, found in records)))
        return [] if whole == self.all else [oid for oid, _ in records]


def _text_sum(tid: bytes, user: bytes, note: bytes, rest: dict[Any, Any]) -> int:
    return zlib.crc32(b"\0".join((tid, user, note, _encoded(rest))))


def _decoded(extension: bytes) -> dict[Any, Any]:
    return loads(extension) if extension else {}


def _encoded(extension: dict[Any, Any]) -> bytes:
    return bytes(dumps(extension, _PROTOCOL)) if extension else b""


def _nearly(name: Any) -> bool:
    """Whether a name is ours but for one bit."""
    if not isinstance(name, str) or len(name) != len(KEY):
        return False
    return sum((ord(a) ^ ord(b)).bit_count() for a, b in zip(name, KEY, strict=True)) == 1


def _packed(numbers: list[int]) -> bytes:
    values = array("I", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _unpacked(raw: bytes) -> list[int]:
    values = array("I", raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
