"""Segments: the immutable files that a commit writes its pages to.

A segment becomes a ZODB blob by a rename, without a copy. It is on the disk (`fsync`) before the transaction can
vote; the storage makes the directory entry durable (`wendelin.storage.database.durable`). A segment file is never
rewritten nor truncated, only unlinked: so what is mapped from it stays valid.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ZODB.blob import Blob

from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.extents import PAGE, Run
from wendelin.storage.arrays.runs import Interval
from wendelin.storage.errors import DamagedSegmentError, StorageFullError

#: Bytes and buffers of one write call; the kernel takes at most 2 GiB - 4 KiB in 1,024 pieces.
_WRITE, _BUFFERS = 1 << 30, 1024


def write_segment(memory: Reservation, pages: list[Interval], folder: str) -> Blob:
    """Write some pages of a memory, one behind the other, to a durable new file in `folder`; returns it as a blob.

    Raises `StorageFullError` when the disk or a quota refuses; nothing is left behind then.
    """
    fd, path = tempfile.mkstemp(prefix="segment-", dir=folder)
    try:
        for some in (pages[i : i + _BUFFERS] for i in range(0, len(pages), _BUFFERS)):
            _write(fd, [memory.memory(lo * PAGE, (hi - lo) * PAGE) for lo, hi in some])
        os.fsync(fd)
    except BaseException as error:
        Path(path).unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _full(folder, pages, error) from error
        raise
    finally:
        os.close(fd)
    return _blob(path)


def placed(pages: list[Interval], segment: int) -> list[Run]:
    """Where `write_segment` put each of `pages`."""
    out: list[Run] = []
    offset = 0
    for lo, hi in pages:
        out.append((lo, hi - lo, segment, offset))
        offset += hi - lo
    return out


@contextlib.contextmanager
def opened(segment: Any, pages: int) -> Iterator[int]:
    """A file descriptor of a committed segment. Brings it to this node first where the storage keeps it elsewhere.

    Raises `DamagedSegmentError` if it is missing or has not `pages` pages: touching what a mapped file lacks would
    kill the process.
    """
    path = segment.committed()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    try:
        size = os.fstat(fd).st_size
        if size < pages * PAGE:
            raise _damaged(path, f"has {size:,} bytes instead of at least {pages * PAGE:,}")
        yield fd
    finally:
        os.close(fd)


def read_pages(segment: Any, offset: int, count: int) -> npt.NDArray[np.uint8]:
    """Some pages of a segment as a copy, uint8 of shape (count, PAGE)."""
    with opened(segment, offset + count) as fd:
        raw = os.pread(fd, count * PAGE, offset * PAGE)
    return np.frombuffer(raw, np.uint8).reshape(count, PAGE)


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
    weakref.finalize(blob, _unlink, path)
    return blob


def _damaged(path: str, what: str) -> DamagedSegmentError:
    return DamagedSegmentError(
        errno.EIO,
        f"the segment {path} {what}: the database was damaged from outside, or its disk did not keep what it had "
        "acknowledged; bring the file back from a backup, or abort and delete the array",
    )


def _unlink(path: str) -> None:
    """Remove the file of an aborted transaction; a committed one has moved away."""
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _full(folder: str, pages: list[Interval], error: OSError) -> StorageFullError:
    needed = sum(hi - lo for lo, hi in pages) * PAGE
    return StorageFullError(
        error.errno,
        f"no room for {needed:,} bytes of array data in {folder} ({os.strerror(error.errno or 0)}): free space there "
        "and commit again, or abort; what was committed is untouched",
    )
