"""`ByteStream`: bytes that are appended, read at any offset, and dropped at the head.

The bytes lie in an array of bytes: its appends merge, in the order of the commits and each in one piece, and its extent
map finds any offset by bisection. What is dropped becomes a hole of the map: offsets stay, and packing frees the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from persistent import Persistent
from transaction import TransactionManager
from ZODB.POSException import ConflictError

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.layout import BLOCK, human
from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import DroppedError, NotStoredError, StateGoneError
from wendelin.storage.streams.reader import StreamReader


class ByteStream(Persistent):
    """Persistent bytes in the order in which they came.

    Offsets count from the first byte that was ever appended. `start` is the first one that is still there, `stop` the
    one behind the last, as this transaction sees them. `len(stream)`: bytes that are there.

    *Concurrency*: appends of concurrent transactions merge, each in one piece, in the order of their commits; so their
    place is known after the commit only. Dropping merges with appends, and with dropping.
    """

    _p_jar: Any

    def __init__(self, data: bytes = b"", *, blksize: int = BLOCK) -> None:
        self._array = ZBigArray((0,), "u1", blksize=blksize)
        self._start = 0
        self._links: tuple[Any, Any] = (None, None)
        if data:
            self.append(data)

    # -- what it is

    @property
    def start(self) -> int:
        """The offset of the first byte that was not dropped."""
        return self._start

    @property
    def stop(self) -> int:
        """The offset behind the last byte."""
        return len(self._array)

    @property
    def array(self) -> ZBigArray:
        """The bytes as an array of bytes, by their offsets; what was dropped reads as zeros."""
        return self._array

    @property
    def nbytes(self) -> int:
        """Bytes that are there."""
        return self.stop - self.start

    def __len__(self) -> int:
        return self.nbytes

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<ByteStream {human(self.nbytes)}, offsets {self.start:,} to {self.stop:,}>"

    # -- writing and reading

    def append(self, data: Any) -> None:
        """Add bytes, or whatever has a buffer, at the end. They stay in one piece, with the transaction's others."""
        raw = memoryview(data).cast("B")
        if raw.nbytes:
            self._array.append(np.frombuffer(raw, "u1"))

    def view(self, start: int, stop: int) -> memoryview:
        """The bytes from one offset to another, without a copy, to read. `DroppedError` when they were dropped."""
        if not self.start <= start <= stop <= self.stop:
            if start < self.start:
                raise self._dropped(start)
            raise ValueError(f"offsets {start:,} to {stop:,}: this stream has {self.start:,} to {self.stop:,}")
        view = self._array[start:stop]
        view.flags.writeable = False
        return memoryview(view)

    def read(self, start: int | None = None, nbytes: int | None = None) -> bytes:
        """So many bytes from an offset on, as a copy; all of them when nothing is given. Fewer where it ends."""
        at = self.start if start is None else start
        stop = self.stop if nbytes is None else min(at + nbytes, self.stop)
        return bytes(self.view(at, max(stop, at))) if at <= self.stop else b""

    def open(self, at: int | None = None) -> StreamReader:
        """A binary file to read, whose positions are offsets; it begins at `at`, by default with the first byte.

        It shows what its transaction sees: after the next `begin` what was appended meanwhile. Wrap it in
        `io.BufferedReader` for many small reads.
        """
        return StreamReader(self, self.start if at is None else at)

    def follow(self, at: int | None = None, timeout: float | None = None) -> Iterator[bytes]:
        """What is there from `at` on (default: nothing), then what others append, as they commit it.

        Ends when nothing came for `timeout` seconds; None: never. It has a connection of its own, so the transaction
        of the caller does not matter. Raises `NotStoredError` for a stream that is not committed.
        """
        from wendelin.storage.streams.follow import follow

        return follow(self, self.stop if at is None else at, timeout)

    # -- what may go

    def drop(self, before: int) -> int:
        """Let the bytes before an offset go, in this transaction; how many they are. Offsets of others stay.

        Packing frees them, unless a tag or an open snapshot keeps an earlier state.
        """
        before = min(before, self.stop)
        gone = before - self._start
        if gone <= 0:
            return 0
        self._start = before
        extents = self._array.extents
        last = min(before, extents.sealed or 0) // PAGE
        if last:
            extents.free(0, last)
        return gone

    def keep(self, *, nbytes: int | None = None, since: datetime | None = None) -> int:
        """Drop what is more than `nbytes`, or what was committed before `since`; how many bytes that is.

        `since` asks the database's history: where the state of that time was packed away, nothing is known to be
        older, and nothing is dropped for its age.
        """
        before = self._start if nbytes is None else self.stop - nbytes
        return self.drop(max(before, self._start if since is None else self._stop_at(since)))

    def _stop_at(self, moment: datetime) -> int:
        from wendelin.storage.history.opening import open_at

        if self._p_jar is None:
            raise NotStoredError("this stream is in no database yet, so nothing of it has an age: commit it first")
        try:
            past = open_at(self._p_jar.db(), moment, TransactionManager())
        except StateGoneError:
            return self._start
        try:
            return int(past.get(self._p_oid).stop)
        except KeyError:  # it is younger
            return self._start
        finally:
            past.close()

    def _dropped(self, at: int) -> DroppedError:
        return DroppedError(f"offset {at:,} was dropped: this stream begins at {self.start:,}, stream.open() is there")

    # -- links

    @property
    def predecessor(self) -> ByteStream | None:
        """The stream that this one continues."""
        return self._links[0]  # type: ignore[no-any-return]

    @property
    def successor(self) -> ByteStream | None:
        """The stream that continues this one."""
        return self._links[1]  # type: ignore[no-any-return]

    def continue_with(self, successor: ByteStream) -> ByteStream:
        """Link a stream behind this one, and return it. ValueError when one of them is linked there already."""
        if self.successor is not None or successor.predecessor is not None or successor is self:
            raise ValueError(f"{self!r} or {successor!r} is linked already: link the last one of a chain")
        self._links = (self.predecessor, successor)
        successor._links = (self, successor.successor)
        return successor

    def chain(self) -> Iterator[ByteStream]:
        """This stream and all that continue it."""
        some: ByteStream | None = self
        while some is not None:
            yield some
            some = some.successor

    def _p_resolveConflict(self, old: dict[str, Any], saved: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Two that dropped: the later start counts. Two that linked conflict."""
        before, theirs, ours = (_oids(state["_links"]) for state in (old, saved, new))
        if theirs != before != ours:
            raise ConflictError("two transactions linked the same stream; retry the transaction")
        links = saved["_links"] if ours == before else new["_links"]
        return {**saved, "_links": links, "_start": max(saved["_start"], new["_start"])}


def _oids(links: tuple[Any, Any]) -> list[Any]:
    """A resolver sees references, which do not compare."""
    return [getattr(link, "oid", None) for link in links]


ByteStream.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
