"""Array data that is not on this node's disks: brought here piece by piece, several at once.

Chunks of storages without blobs, and blob files on network or FUSE file systems (where an I/O error under a mapping
would kill the process), come into the node's cache; blobs over the wire into the storage's own. A slice brings the
pieces that it needs; those behind it follow in the background.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from wendelin.storage.arrays.fetchers import THREADS, fetchers
from wendelin.storage.arrays.filesystems import is_remote
from wendelin.storage.arrays.forms import form_of
from wendelin.storage.arrays.nodecache import Job, NodeCache, node_cache
from wendelin.storage.arrays.pages import Chunks, Parts
from wendelin.storage.arrays.runs import PAGE, Run
from wendelin.storage.database import paths

#: Bytes of a blob file that are copied as one piece.
PIECE = 16 << 20

#: Pieces behind a slice that are brought in the background.
AHEAD = 4

#: Where a run lies now: (first page of the array, pages, file descriptor, page of the file).
Place = tuple[int, int, int, int]


class RemoteFiles:
    """What is brought for one connection. `db` is its database, `url` names it for the cache."""

    def __init__(self, db: Any, url: str) -> None:
        self._db = db
        self._url = url
        self._cache: NodeCache | None = None
        self._wire = form_of(db.storage).wire

    @property
    def cache(self) -> NodeCache:
        """The node's cache for this database."""
        if self._cache is None:
            self._cache = node_cache(self._url or paths.short_hash(self._db.storage.getName()))
        return self._cache

    def is_remote(self, source: Any) -> bool:
        """Whether a segment must be copied before it is mapped."""
        return isinstance(source, Chunks) or is_remote(source.committed())

    def places(self, number: int, source: Any, runs: list[Run]) -> Iterator[Place]:
        """Where copies of some runs of a segment lie; each descriptor is good until the next place is asked for."""
        size = (source.size if isinstance(source, Chunks) else PIECE) // PAGE
        wanted = [(run, piece) for run in runs for piece in range(run[3] // size, -(-(run[3] + run[1]) // size))]
        jobs = {piece: self._job(number, source, piece) for _, piece in wanted}
        with contextlib.closing(self.cache.opened_all(jobs.values())) as opened:
            found: dict[str, int] = {}
            try:
                for (start, length, _, offset), piece in wanted:
                    key = jobs[piece][0]
                    while key not in found:
                        name, fd = next(opened)
                        found[name] = fd
                    first, last = max(offset, piece * size), min(offset + length, (piece + 1) * size)
                    yield start + first - offset, last - first, found[key], first - piece * size
            finally:
                for fd in found.values():
                    os.close(fd)
        self._read_ahead(number, source, max(jobs) + 1)

    def _read_ahead(self, number: int, source: Any, piece: int) -> None:
        last = len(source.parts) if isinstance(source, Chunks) else -(-Path(source.committed()).stat().st_size // PIECE)
        self.cache.ahead(self._job(number, source, k) for k in range(piece, min(piece + AHEAD, last)))

    def _job(self, number: int, source: Any, piece: int) -> Job:
        if isinstance(source, Chunks):
            nbytes = min(source.size, source.nbytes - piece * source.size)
            return f"{number:x}-{piece}", nbytes, partial(self._load, source.parts[piece]._p_oid)
        path = source.committed()
        nbytes = min(PIECE, Path(path).stat().st_size - piece * PIECE)
        return f"{number:x}-{piece}", nbytes, partial(_copy, path, piece * PIECE, nbytes)

    def _load(self, oid: bytes, fd: int) -> None:
        """Write a chunk's bytes to a file. In any thread: it is read beside the connection."""
        storage = self._db._mvcc_storage.new_instance()
        try:
            storage.poll_invalidations()
            record = storage.load(oid)[0]
        finally:
            storage.release()
        unpickler = pickle.Unpickler(BytesIO(record))
        unpickler.load()  # its class
        data = unpickler.load()["data"]
        while data:
            data = data[os.write(fd, data) :]

    def parts(self, number: int, source: Parts, runs: list[Run]) -> Iterator[tuple[int, Any, list[Run]]]:
        """The blobs that some runs of a segment lie in, brought several at once: a number, the blob, runs of it."""
        size = source.size // PAGE
        needed: dict[int, list[Run]] = {}
        for start, length, _, offset in runs:
            for part in range(offset // size, -(-(offset + length) // size)):
                first, last = max(offset, part * size), min(offset + length, (part + 1) * size)
                run = (start + first - offset, last - first, number, first - part * size)
                needed.setdefault(part, []).append(run)
        order = sorted(needed)
        going_on = len(order) > 1 or (order[0] > 0 and source.parts[order[0] - 1]._p_changed is not None)
        for i in range(0, len(order), 2 * THREADS):
            some = order[i : i + 2 * THREADS]
            self.bring_blobs([source.parts[part] for part in some])
            for part in some:
                yield number << 32 | part, source.parts[part], needed[part]
        for blob in source.parts[order[-1] + 1 :][:AHEAD] if going_on else ():
            if blob._p_changed is None:
                fetchers().ahead((id(self._db), blob._p_oid), partial(self._load_blob, blob._p_oid))

    def bring_blobs(self, blobs: list[Any]) -> None:
        """Let several blobs come over the wire at once; those that this connection has looked at are here."""
        absent = [blob._p_oid for blob in blobs if blob._p_changed is None] if self._wire else []
        if len(absent) > 1:
            for future in [fetchers().submit(partial(self._load_blob, oid)) for oid in absent]:
                with contextlib.suppress(Exception):  # raised again, in its turn, where the blob is opened
                    future.result()

    def _load_blob(self, oid: bytes) -> None:
        """Let the storage bring a blob. In any thread; only the record knows the serial of one not looked at yet."""
        storage = self._db._mvcc_storage.new_instance()
        try:
            storage.poll_invalidations()
            storage.loadBlob(oid, storage.load(oid)[1])
        finally:
            storage.release()


def _copy(path: str, start: int, nbytes: int, fd: int) -> None:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = 0
        while done < nbytes:
            data = os.pread(source, min(1 << 20, nbytes - done), start + done)
            if not data:
                return  # too short: the cache says so
            while data:
                written = os.write(fd, data)
                data, done = data[written:], done + written
    finally:
        os.close(source)
