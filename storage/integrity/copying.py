"""Copying transactions from one storage to another, one by one, each whole: with its number, its texts, its blobs.

Whoever is killed between two of them has copied the earlier ones.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ZODB.blob import is_blob_record
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

from wendelin.storage.arrays.forms import blob_folder
from wendelin.storage.history.states import transactions_from
from wendelin.storage.integrity.blobs import check
from wendelin.storage.integrity.damage import Damage, Stored

Progress = Callable[[int, int | None], object]


class Copy:
    """Transactions on their way from `source` to `target`. Counts what it copied; damaged blobs are `damages`."""

    def __init__(self, source: Any, target: Any, progress: Progress | None = None) -> None:
        self.transactions = self.blobs = self.nbytes = 0
        self.damages: list[Damage] = []
        self._source, self._target, self._progress = source, target, progress
        self._total = _total(source)
        self._restores = hasattr(target, "restoreBlob")

    def after(self, tid: bytes) -> None:
        """Copy what was committed behind transaction `tid`; z64: all."""
        start = None if tid == z64 else p64(u64(tid) + 1)
        with transactions_from(self._source, start) as found:
            for each in found:
                self._one(each)

    def _one(self, each: Any) -> None:
        self._target.tpc_begin(each, each.tid, each.status)
        try:
            for record in each:
                self._record(each, record)
            self._target.tpc_vote(each)
            self._target.tpc_finish(each)
        except BaseException:
            self._target.tpc_abort(each)
            raise
        self.transactions += 1

    def _record(self, each: Any, record: Any) -> None:
        data = record.data
        self._done(len(data or b""))
        if data is not None and is_blob_record(data) and (path := self._fetched(record)) is not None:
            self.blobs += 1
            self._done(Path(path).stat().st_size)
            if self._restores:
                self._target.restoreBlob(record.oid, record.tid, data, path, record.data_txn, each)
            else:
                self._target.storeBlob(record.oid, self._serial(record.oid), data, path, "", each)
        elif self._restores:
            self._target.restore(record.oid, record.tid, data, "", record.data_txn, each)
        elif data is not None:  # a server is not told that a creation was undone: nothing leads to that object any more
            self._target.store(record.oid, self._serial(record.oid), data, "", each)

    def _serial(self, oid: bytes) -> bytes:
        try:
            return bytes(self._target.getTid(oid))
        except KeyError:
            return bytes(8)

    def _fetched(self, record: Any) -> str | None:
        """A copy of a blob, where the target takes it by a rename; what differs from its checksums is noted."""
        try:
            found = Path(self._source.loadBlob(record.oid, record.tid))
        except POSKeyError:
            self.damages.append(Damage("a blob is missing", "its file", tid=record.tid, oid=record.oid))
            return None
        fd, path = tempfile.mkstemp(prefix="copied-", suffix=".tmp", dir=blob_folder(self._target))
        os.close(fd)
        _copied(found, Path(path))
        checked = check(Stored(record.oid, record.tid, record.data), Path(path))
        self.damages += checked.damages
        return path

    def _done(self, nbytes: int) -> None:
        self.nbytes += nbytes
        if self._progress is not None:
            self._progress(self.nbytes, self._total)


def _copied(source: Path, target: Path) -> None:
    """Copy a file; its holes stay holes, where the system can tell them."""
    size = source.stat().st_size
    with source.open("rb") as read, target.open("wb") as write:
        for lo, hi in _data(read.fileno(), size):
            at = lo
            os.lseek(write.fileno(), lo, os.SEEK_SET)
            while at < hi:
                at += os.sendfile(write.fileno(), read.fileno(), at, hi - at)
        write.truncate(size)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    while at < size:
        try:
            lo = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # only a hole follows
            return
        at = os.lseek(fd, lo, os.SEEK_HOLE)
        yield lo, at


def _total(storage: Any) -> int | None:
    """Bytes of records and blobs, where the latter lie in a folder here."""
    folder = blob_folder(storage)
    with contextlib.suppress(AttributeError, NotImplementedError, TypeError, OSError):
        files = [] if folder is None else Path(folder).parent.rglob("*.blob")
        return int(storage.getSize()) + sum(path.stat().st_size for path in files)
    return None


def remove_copies(folder: Path) -> None:
    """Remove what a killed copy left in a folder of blobs."""
    for path in (folder / "tmp").glob("copied-*.tmp"):
        path.unlink(missing_ok=True)
