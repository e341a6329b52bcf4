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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ZODB.blob import Blob

from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.extents import PAGE, Run
from wendelin.storage.arrays.runs import Interval
from wendelin.storage.errors import StorageFullError

#: Bytes of one write call; the kernel takes at most 2 GiB - 4 KiB.
_WRITE = 1 << 30


def write_segment(memory: Reservation, pages: list[Interval], folder: str) -> Blob:
    """Write some pages of a memory, one behind the other, to a durable new file in `folder`; returns it as a blob.

    Raises `StorageFullError` when the disk or a quota refuses; nothing is left behind then.
    """
    fd, path = tempfile.mkstemp(prefix="segment-", dir=folder)
    try:
        for lo, hi in pages:
            _write(fd, memory.memory(lo * PAGE, (hi - lo) * PAGE))
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
def opened(segment: Any) -> Iterator[int]:
    """A file descriptor of a committed segment. Brings it to this node first where the storage keeps it elsewhere."""
    fd = os.open(segment.committed(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def read_pages(segment: Any, offset: int, count: int) -> npt.NDArray[np.uint8]:
    """Some pages of a segment as a copy, uint8 of shape (count, PAGE)."""
    with opened(segment) as fd:
        raw = os.pread(fd, count * PAGE, offset * PAGE)
    if len(raw) != count * PAGE:
        raise OSError(errno.EIO, f"segment {segment.committed()} ends before page {offset + count}")
    return np.frombuffer(raw, np.uint8).reshape(count, PAGE)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data[:_WRITE]) :]


def _blob(path: str) -> Blob:
    """A new blob whose uncommitted file is `path`: as `Blob.consumeFile`, but it stays on its file system.

    `consumeFile` moves the file to the temporary folder of the machine when the blob has no connection yet, and giving
    it one here would store it twice (an object added while another is being stored).
    """
    blob = Blob()
    blob._p_blob_uncommitted = path
    weakref.finalize(blob, _unlink, path)
    return blob


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
