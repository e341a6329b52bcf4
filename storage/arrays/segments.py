"""Segments: the immutable bytes that a commit stores, in one of four forms behind one contract.

* A *blob*: a file that becomes a ZODB blob by a rename, without a copy. It is on the disk (`fsync`) before the
  transaction can vote; the storage makes the directory entry durable (`wendelin.storage.database.durable`).
* `Pages`: tiny changes, inside a database object.
* `Parts`: what is large, in storages that send blobs over the wire: blobs of some MiB, so that a slice brings few.
* `Chunks`: what is large, in storages without blobs.

A `Draft` is a segment in the making: pages go to its file early when a transaction outgrows the memory, and at the
latest at the commit. A segment file is never rewritten nor truncated, only unlinked: so what is mapped stays valid.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ZODB.blob import Blob

from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.checksums import noted, synced
from wendelin.storage.arrays.extents import new_segment_number
from wendelin.storage.arrays.forms import Form
from wendelin.storage.arrays.leftovers import OwnedPath, new_file
from wendelin.storage.arrays.pages import CHUNK, PART, Chunks, Pages, Parts
from wendelin.storage.arrays.patches import Patched, applied
from wendelin.storage.arrays.runs import PAGE, Interval, Run
from wendelin.storage.arrays.tail import Assembled
from wendelin.storage.errors import DamagedSegmentError, StorageFullError

#: Bytes up to which a transaction's changes of an array are stored inside a database object.
INLINE = 128 << 10

#: Scattered pieces of memory from which on a file keeps the holes between them.
MANY_RUNS = 512

#: Pages of a huge page. What lies in a file as it lies in huge pages of memory, written at once, the kernel keeps and
#: maps as huge pages: where its file system can (ext4 from Linux 6.16, XFS), scans take two thirds of the time.
HUGE = 512

#: Bytes and buffers of one write call; the kernel takes at most 2 GiB - 4 KiB in 1,024 pieces.
_WRITE, _BUFFERS = 1 << 30, 1024


class Draft:
    """A segment in the making: a file in `folder` that pages are added to.

    `number` names it in runs already. Nobody else sees the file; it goes when the draft is dropped or collected,
    unless `store` made a blob of it. `apart`: holes in the file cost nothing, so pages may lie as they do in memory.
    """

    def __init__(self, folder: str, *, apart: bool = False) -> None:
        self.number = new_segment_number()
        self.folder = folder
        self.apart = apart
        self.pages = 0
        self.is_gathered = False  # copies of its pages may be shown: to rewrite them in place would show nothing
        self.fd, self.path = _new_file(folder)
        self._blob: Blob | None = None
        self._end = weakref.finalize(self, _dropped, self.fd, self.path, os.getpid())

    def add(self, memory: Reservation, pages: list[Interval]) -> list[Run]:
        """Append pages of a memory; returns where they lie now.

        Raises `StorageFullError` when the disk or a quota refuses; what was added before is untouched then.
        """
        if self.apart and len(pages) > MANY_RUNS:
            return self._add_apart(memory, pages)
        out: list[Run] = []
        for some in self._together(pages):
            at = self.next_like(some[0][0]) if self.apart and is_huge(*some[0]) else self.pages
            self._write(memory, some, at)
            out += [(lo, length, self.number, at + offset) for lo, length, _, offset in placed(some, self.number)]
            self.pages = at + sum(hi - lo for lo, hi in some)
        return out

    def _together(self, pages: list[Interval]) -> Iterator[list[Interval]]:
        """Pages that are written one behind the other, by one call; those that hold huge pages begin a new one."""
        some: list[Interval] = []
        for lo, hi in pages:
            if some and self.apart and is_huge(lo, hi):
                yield some
                some = []
            some.append((lo, hi))
        if some:
            yield some

    def next_like(self, page: int) -> int:
        """Where to write `page` of an array next, so that it lies in the file as it lies in a huge page of memory."""
        return self.pages + (page - self.pages) % HUGE

    def _add_apart(self, memory: Reservation, pages: list[Interval]) -> list[Run]:
        """Pages as far from each other as they are in memory: one mapping shows them and the holes between."""
        base = self.pages - pages[0][0]
        for lo, hi in pages:
            self._write(memory, [(lo, hi)], base + lo)
        self.pages = base + pages[-1][1]
        return [(lo, hi - lo, self.number, base + lo) for lo, hi in pages]

    @property
    def is_stored(self) -> bool:
        """Whether a blob was made of the file."""
        return self._blob is not None

    def rewrite(self, memory: Reservation, runs: list[Run]) -> None:
        """Write pages that lie here already once more; only while nothing but this memory shows them."""
        for start, length, _, offset in runs:
            self._write(memory, [(start, start + length)], offset)

    def _write(self, memory: Reservation, pages: list[Interval], at: int) -> None:
        with _room_for(pages, self.folder):
            os.lseek(self.fd, at * PAGE, os.SEEK_SET)
            for some in (pages[i : i + _BUFFERS] for i in range(0, len(pages), _BUFFERS)):
                _write(self.fd, [memory.memory(lo * PAGE, (hi - lo) * PAGE) for lo, hi in some])

    def moved(self, folder: str) -> None:
        """Let the file lie in `folder`, where the storage can make a blob of it by a rename."""
        if folder == self.folder:
            return
        fd, path = _new_file(folder)
        try:
            Path(self.path).rename(path)
            os.close(fd)
        except OSError:  # another file system
            try:
                with _room_for([(0, self.pages)], folder):
                    _copy(self.fd, fd, self.pages * PAGE)
            except BaseException:
                os.close(fd)
                _unlink(path)
                raise
            os.dup2(fd, self.fd, inheritable=False)
            os.close(fd)
            _unlink(self.path)
        self._end.detach()
        self.folder, self.path = folder, path
        self._end = weakref.finalize(self, _dropped, self.fd, self.path, os.getpid())

    def copied(self, folder: str) -> Draft:
        """Another draft with the same pages under the same number."""
        new = Draft(folder, apart=self.apart)
        with _room_for([(0, self.pages)], folder):
            _copy(self.fd, new.fd, self.pages * PAGE)
        new.number, new.pages, new.is_gathered = self.number, self.pages, self.is_gathered
        return new

    def add_bytes(self, data: bytes, at: int | None = None) -> int:
        """Append whole pages, with a hole before page `at` if it is given; returns the page at which they lie."""
        start = self.pages if at is None else at
        self.pages = start + append(self.fd, data, start * PAGE, self.folder) // PAGE
        return start

    def store(self, form: Form) -> Any:
        """The segment as a persistent object, its bytes on the disk already if it is a blob.

        May be called again, with more pages, when the commit that it was for has failed before it stored anything.
        """
        nbytes = self.pages * PAGE
        if nbytes <= INLINE and self._blob is None:
            return Pages(pread(self.fd, nbytes, 0))
        if not form.blobs:
            parts = [Pages(file=self, offset=at, nbytes=min(CHUNK, nbytes - at)) for at in range(0, nbytes, CHUNK)]
            return Chunks(nbytes, CHUNK, parts)
        if form.wire and nbytes > PART and self._blob is None:
            cut = ((at, min(PART, nbytes - at)) for at in range(0, nbytes, PART))
            return Parts(nbytes, PART, [_part(self.fd, at, size, self.folder) for at, size in cut])
        with _room_for([(0, self.pages)], self.folder):
            os.ftruncate(self.fd, nbytes)  # what a write that failed has left behind the end
            checksums = synced(self.fd, nbytes)
        if self._blob is None:
            self._blob = _blob(self.path)
            self._end.detach()
            self._end = weakref.finalize(self, _dropped, self.fd, None, os.getpid())
        noted(self._blob, checksums)
        return self._blob

    def drop(self) -> None:
        """Remove the file. What is mapped from it stays readable."""
        self._end()


def _dropped(fd: int, path: str | None, pid: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
    if path is not None:
        _unlink(path, pid)


def is_huge(lo: int, hi: int) -> bool:
    """Whether there is a huge page among pages [lo, hi)."""
    return hi // HUGE > -(-lo // HUGE)


def _part(source: int, start: int, nbytes: int, folder: str) -> Blob:
    """A piece of a file as a blob of its own, on the disk."""
    fd, path = _new_file(folder)
    try:
        with _room_for([(0, -(-nbytes // PAGE))], folder):
            _copy(source, fd, nbytes, start)
            checksums = synced(fd, nbytes)
    except BaseException:
        _unlink(path)
        raise
    finally:
        os.close(fd)
    blob = _blob(path)
    noted(blob, checksums)
    return blob


def placed(pages: list[Interval], segment: int) -> list[Run]:
    """Runs of pages that lie one behind the other in a segment, from its start."""
    out: list[Run] = []
    offset = 0
    for lo, hi in pages:
        out.append((lo, hi - lo, segment, offset))
        offset += hi - lo
    return out


@contextlib.contextmanager
def opened(blob: Any, nbytes: int) -> Iterator[int]:
    """A file descriptor of a committed blob. Brings it to this node first where the storage keeps it elsewhere.

    Raises `DamagedSegmentError` if it is missing or shorter than `nbytes`: touching what a mapped file lacks would
    kill the process.
    """
    path = blob.committed()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    try:
        size = os.fstat(fd).st_size
        if size < nbytes:
            raise _damaged(path, f"has {size:,} bytes instead of at least {nbytes:,}")
        yield fd
    finally:
        os.close(fd)


def size(source: Any) -> int:
    """Bytes of a stored segment, as it lies on disk."""
    if isinstance(source, Patched):
        return PAGE
    if isinstance(source, Pages):
        return len(source.data)
    if isinstance(source, Chunks | Parts):
        return source.nbytes
    return Path(source.committed()).stat().st_blocks * 512


def read(source: Any, offset: int, nbytes: int, sources: dict[int, Any]) -> bytes:
    """Bytes of a segment in any form; `sources` are the segments that an assembled one is made of."""
    if isinstance(source, Draft):
        return os.pread(source.fd, nbytes, offset)
    if isinstance(source, Pages):
        return _exactly(source.data[offset : offset + nbytes], nbytes)
    if isinstance(source, Chunks):
        first, last = offset // source.size, -(-(offset + nbytes) // source.size)
        raw = b"".join(part.data for part in source.parts[first:last])
        return _exactly(raw[offset - first * source.size :][:nbytes], nbytes)
    if isinstance(source, Parts):
        return b"".join(read(part, at, some, sources) for part, at, some in source.within(offset, nbytes))
    if isinstance(source, Assembled):
        return _assembled(source, offset, nbytes, sources)
    if isinstance(source, Patched):
        return _patched(source)[offset : offset + nbytes]
    with opened(source, offset + nbytes) as fd:
        return pread(fd, nbytes, offset)


def append(fd: int, data: bytes, at: int, folder: str) -> int:
    """Write bytes to byte `at`, the end of a file in `folder`; returns how many. `StorageFullError` without room."""
    with _room_for([(0, -(-len(data) // PAGE))], folder):
        os.lseek(fd, at, os.SEEK_SET)
        _write(fd, [memoryview(data)])
    return len(data)


def _copy(source: int, target: int, nbytes: int, start: int = 0) -> None:
    at = 0
    os.lseek(target, 0, os.SEEK_SET)
    while at < nbytes:
        at += os.sendfile(target, source, start + at, min(_WRITE, nbytes - at))


def pread(fd: int, nbytes: int, offset: int) -> bytes:
    """`os.pread` of more than the kernel gives at once."""
    first = os.pread(fd, nbytes, offset)
    if len(first) == nbytes:
        return first
    parts = [first]
    while (got := sum(map(len, parts))) < nbytes:
        parts.append(os.pread(fd, nbytes - got, offset + got))
        if not parts[-1]:
            break
    return b"".join(parts)


def _exactly(data: bytes, nbytes: int) -> bytes:
    return data if len(data) == nbytes else data.ljust(nbytes, b"\0")


def _assembled(source: Assembled, offset: int, nbytes: int, sources: dict[int, Any]) -> bytes:
    out = bytearray(nbytes)
    for at, number, start, length in source.parts:
        lo, hi = max(at, offset), min(at + length, offset + nbytes)
        if lo < hi:
            out[lo - offset : hi - offset] = read(sources[number], start + lo - at, hi - lo, sources)
    return bytes(out)


def _patched(source: Patched) -> bytes:
    run, patches = source.layers()
    return applied(b"" if run is None else read(source.segments[run[2]], run[3] * PAGE, PAGE, source.segments), patches)


def _write(fd: int, buffers: list[memoryview]) -> None:
    """Write buffers one behind the other; the kernel may take less than offered."""
    left = deque(buffers)
    while left:
        written = os.writev(fd, [left[0][:_WRITE]] if left[0].nbytes > _WRITE else list(_up_to(left, _WRITE)))
        while left and written >= left[0].nbytes:
            written -= left.popleft().nbytes
        if written:
            left[0] = left[0][written:]


def _up_to(buffers: Iterable[memoryview], nbytes: int) -> Iterator[memoryview]:
    for buffer in buffers:
        nbytes -= buffer.nbytes
        if nbytes < 0:
            return
        yield buffer


def _blob(path: str) -> Blob:
    """A new blob whose uncommitted file is `path`: as `Blob.consumeFile`, but it stays on its file system.

    `consumeFile` moves the file to the temporary folder of the machine when the blob has no connection yet, and giving
    it one here would store it twice (an object added while another is being stored).
    """
    blob = Blob()
    blob._p_blob_uncommitted = path
    weakref.finalize(blob, _unlink, path, os.getpid())
    return blob


def _damaged(path: str, what: str) -> DamagedSegmentError:
    return DamagedSegmentError(
        errno.EIO,
        f"the segment {path} {what}: the database was damaged from outside, or its disk did not keep what it had "
        "acknowledged; bring the file back from a backup, or abort and delete the array",
    )


def _unlink(path: str, pid: int | None = None) -> None:
    """Remove the file of an aborted transaction; a committed one has moved away, a forked child's is the parent's."""
    if pid not in (None, os.getpid()):
        return
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _new_file(folder: str) -> tuple[int, OwnedPath]:
    """A new file in `folder`, open. Raises `StorageFullError` where there is no room for a name."""
    with _room_for([], folder):
        return new_file(folder)


@contextlib.contextmanager
def _room_for(pages: list[Interval], folder: str) -> Iterator[None]:
    """Raise the refusal of a disk or a quota as `StorageFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        needed = sum(hi - lo for lo, hi in pages) * PAGE
        raise StorageFullError(
            error.errno,
            f"no room for {needed:,} bytes of array data in {folder} ({os.strerror(error.errno or 0)}): free space "
            "there and commit again, or abort; what was committed is untouched",
        ) from error
