"""A Data.fs byte by byte, while others write to it: each byte is covered by a checksum or told twice in the file.

The file of a FileStorage is a row of transactions; each says its length at both ends and holds records, of which each
says where its transaction begins. A transaction that is being written has the status "c". The file is opened once: a
pack meanwhile puts another one in its place, which `was_replaced` tells.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ZODB._compat import loads
from ZODB.blob import is_blob_record
from ZODB.utils import z64

from wendelin.storage.database.recordsums import RecordSums, is_as_written, record_sum
from wendelin.storage.integrity.damage import Damage, Looked, Stored

_MAGIC = b"FS30"
_TRANSACTION = struct.Struct(">8sQcHHH")  # number, length, status, lengths of user, note and extension
_RECORD = struct.Struct(">8s8sQQHQ")  # object, transaction, previous record, own transaction, 0, length

#: Back pointers that are followed to a record's data.
_FAR = 10_000


class DataFile:
    """The Data.fs at `path`. Closed by `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._fd = self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self._fd).st_size

    @property
    def was_replaced(self) -> bool:
        """Whether a pack has put another file in its place."""
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def transactions(self, start: int = len(_MAGIC)) -> Iterator[tuple[int, Looked]]:
        """Each transaction from byte `start` on, with where the next one begins."""
        if start == len(_MAGIC) and self._read(0, len(_MAGIC)) != _MAGIC:
            yield start, Looked(z64, 0, True, [self._damage("the head of the file", 0, len(_MAGIC))], [])
        last = z64
        while (found := self._transaction(start, last)) is not None:
            start, looked = found
            last = max(last, looked.tid)
            yield start, looked

    def _transaction(self, start: int, last: bytes) -> tuple[int, Looked] | None:
        raw = self._read(start, _TRANSACTION.size)
        if len(raw) < _TRANSACTION.size:
            if not raw or self._grows(start):
                return None
            return self.size, Looked(last, 0, True, [self._damage("what follows the last transaction", start)], [])
        head = _TRANSACTION.unpack(raw)
        if head[2] == b"c":
            return None  # being written, the last one
        end, damages = self._end(start, head[1])
        if end is None:
            problem = "the length of a transaction is damaged, and those behind it are not found"
            return self.size, Looked(last, 0, True, [self._damage(problem, start)], [])
        looked = self._looked(start, end, head, last)
        return end + 8, Looked(looked.tid, end + 8 - start, looked.checked, damages + looked.damages, looked.blobs)

    def _grows(self, start: int) -> bool:
        """Whether somebody is about to write a transaction here."""
        size = self.size
        return size - start >= _TRANSACTION.size or self._read(start + 16, 1) in (b"c", b"")

    def _end(self, start: int, length: int) -> tuple[int | None, list[Damage]]:
        """Where a transaction ends, its length behind it not counted; what is wrong with these two lengths."""
        end: int = start + length
        if self._number(end) == length:
            return end, []
        walked = self._walked_end(start)
        if walked is None and self._begins(end + 8):
            walked = end
        elif walked is None:
            return None, []
        return walked, [self._damage("the length of a transaction is damaged", start, walked + 8)]

    def _walked_end(self, start: int) -> int | None:
        """The end that the records, and one of the two lengths, tell."""
        head = _TRANSACTION.unpack(self._read(start, _TRANSACTION.size))
        at: int = start + _TRANSACTION.size + sum(head[3:])
        while True:
            length = at - start
            if length in (head[1], self._number(at)) and (self._begins(at + 8) or at + 8 >= self.size):
                return at
            raw = self._read(at, _RECORD.size)
            if len(raw) < _RECORD.size:
                return None
            record = _RECORD.unpack(raw)
            if record[3] != start or record[4]:
                return None
            at += _RECORD.size + (record[5] or 8)

    def _begins(self, at: int) -> bool:
        """Whether a transaction begins here."""
        raw = self._read(at, _TRANSACTION.size)
        if len(raw) < _TRANSACTION.size:
            return False
        _, length, status, *_ = _TRANSACTION.unpack(raw)
        return status in b" puc" and (status == b"c" or self._number(at + length) == length)

    def _looked(self, start: int, end: int, head: tuple[Any, ...], last: bytes) -> Looked:
        tid, _, status, *lengths = head
        damages: list[Damage] = []
        if status not in b" pu":
            damages.append(self._damage("the status of a transaction is damaged", start, end, tid))
        if tid <= last:
            damages.append(self._damage("the number of a transaction is damaged", start, end, tid))
        at = start + _TRANSACTION.size
        texts = []
        for length in lengths:
            texts.append(self._read(at, length))
            at += length
        if at > end:
            damages.append(self._damage("the head of a transaction is damaged", start, end, tid))
            return Looked(tid, end - start, True, damages, [])
        records = list(self._records(start, at, end, tid, damages))
        sums = self._sums(start, at, tid, texts, damages)
        if sums is not None:
            found = [(oid, record_sum(oid, data)) for _, oid, data in records]
            wrong = set(sums.wrong(found, packed=status != b" "))
            damages += [
                self._damage("a record is damaged", place, place + len(data or b""), tid, oid)
                for place, oid, data in records
                if oid in wrong
            ]
            if status == b" " and len(records) != sums.count and not damages:
                damages.append(self._damage("records of a transaction are missing", start, end, tid))
        # ZEO's clients store the record of a blob twice.
        blobs = {oid: Stored(oid, tid, data) for _, oid, data in records if data and is_blob_record(data)}
        return Looked(tid, end - start, sums is not None, damages, list(blobs.values()))

    def _sums(self, start: int, at: int, tid: bytes, texts: list[bytes], damages: list[Damage]) -> RecordSums | None:
        user, note, raw = texts
        try:
            extension = loads(raw) if raw else {}
            sums = RecordSums.of(extension)
            sound = sums is None or (sums.fits_text(tid, user, note, extension) and is_as_written(extension, raw))
            if not sound:
                damages.append(self._damage("the number, user or note of a transaction is damaged", start, at, tid))
        except Exception:  # noqa: BLE001  a damaged pickle may raise anything
            damages.append(self._damage("the extension of a transaction is damaged", start, at, tid))
            return None
        return sums

    def _records(
        self, start: int, at: int, end: int, tid: bytes, damages: list[Damage]
    ) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Of each record where it lies, its object and its data."""
        while at < end:
            raw = self._read(at, _RECORD.size)
            record = _RECORD.unpack(raw) if len(raw) == _RECORD.size else (b"", b"", 0, 0, 1, 0)
            oid, serial, previous, own, zero, length = record
            stop = at + _RECORD.size + (length or 8)
            if own != start or zero or stop > end:
                damages.append(self._damage("the head of a record is damaged", at, end, tid))
                return
            if serial != tid or not self._is_of(previous, oid, at):
                damages.append(self._damage("the head of a record is damaged", at, stop, tid, oid))
            place = at + _RECORD.size
            yield place, oid, self._read(place, length) if length else self._behind(place, oid, tid, damages)
            at = stop

    def _is_of(self, previous: int, oid: bytes, at: int) -> bool:
        return not previous or (previous < at and self._read(previous, 8) == oid)

    def _behind(self, place: int, oid: bytes, tid: bytes, damages: list[Damage]) -> bytes | None:
        """The data that a pointer names: an undone record has no data of its own."""
        at = place
        for _ in range(_FAR):
            back = self._number(at)
            if not back:
                return None
            raw = self._read(back, _RECORD.size)
            record = _RECORD.unpack(raw) if len(raw) == _RECORD.size else (b"", b"", 0, 0, 0, 0)
            if back >= at or record[0] != oid:
                break
            if record[5]:
                return self._read(back + _RECORD.size, record[5])
            at = back + _RECORD.size
        damages.append(self._damage("the pointer of an undone record is damaged", place, place + 8, tid, oid))
        return None

    def _number(self, at: int) -> int | None:
        raw = self._read(at, 8)
        return int.from_bytes(raw) if len(raw) == 8 else None

    def _read(self, at: int, nbytes: int) -> bytes:
        """Bytes of the file; fewer where it ends, none from a place that no file has."""
        if not 0 <= at < self.size:
            return b""
        self._file.seek(at)
        return self._file.read(min(nbytes, self.size - at))

    def _damage(
        self, problem: str, start: int, stop: int | None = None, tid: bytes | None = None, oid: bytes | None = None
    ) -> Damage:
        return Damage(problem, str(self.path), start, self.size if stop is None else stop, tid, oid)
