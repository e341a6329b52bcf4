"""Checksums of segments: the CRC-32 of each 64 KiB of a blob, in the blob's own database record.

* The record exists anyway, and ZODB's `Blob` ignores what its state says: so checksums cost neither a file nor an
  object, older programs read such blobs, and blobs without checksums are read as before.
* They are computed while the disk writes: a thread reads the pages back from the system's cache during the `fsync`.
* A stretch can be checked without reading the rest. Holes are never read: zeros have a known checksum.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ZODB._compat import Unpickler

#: Bytes that have a checksum of their own.
STEP = 64 << 10

#: Bytes from which on a second thread computes, while the first one waits for the disk.
_LARGE = 1 << 20

#: Bytes that are read at once: they stay in the processor's cache until their checksums are computed.
_READ = 4 * STEP

_ZEROS = zlib.crc32(bytes(STEP))


@dataclass(frozen=True)
class Checksums:
    """Of a file of `nbytes`: the CRC-32 of each `step` bytes, of the last ones as many as there are."""

    nbytes: int
    step: int
    crcs: array[int]

    @classmethod
    def of(cls, fd: int, nbytes: int, step: int = STEP, progress: Callable[[int], object] | None = None) -> Checksums:
        """Read the first `nbytes` of a file. `OSError` where the disk cannot deliver, or the file is shorter."""
        crcs = array("I", [_ZEROS if step == STEP else zlib.crc32(bytes(step))]) * -(-nbytes // step)
        if nbytes % step:
            crcs[-1] = zlib.crc32(bytes(nbytes % step))
        buffer = memoryview(bytearray(max(_READ // step, 1) * step))
        for lo, hi in _data(fd, nbytes, step):
            for at in range(lo, hi, len(buffer)):
                some = buffer[: min(len(buffer), hi - at)]
                _fill(fd, some, at)
                for k in range(0, len(some), step):
                    crcs[(at + k) // step] = zlib.crc32(some[k : k + step])
                if progress is not None:
                    progress(len(some))
        return cls(nbytes, step, crcs)

    def to_state(self) -> dict[str, Any]:
        """What is stored in the record of a blob."""
        return {"nbytes": self.nbytes, "step": self.step, "crc32": _swapped(self.crcs).tobytes()}

    @classmethod
    def from_record(cls, record: bytes) -> Checksums | None:
        """Those in the record of a blob; None when it has none: an older segment, or a program's own blob."""
        unpickler = Unpickler(io.BytesIO(record))
        unpickler.persistent_load = lambda reference: reference
        unpickler.load()  # the class
        state = unpickler.load()
        if not isinstance(state, dict) or "crc32" not in state:
            return None
        return cls(state["nbytes"], state["step"], _swapped(array("I", state["crc32"])))

    def differing(self, found: Checksums) -> list[tuple[int, int]]:
        """Stretches of bytes whose checksums are others in `found`, neighbours joined."""
        out: list[tuple[int, int]] = []
        for i, (wanted, crc) in enumerate(zip(self.crcs, found.crcs, strict=True)):
            if wanted != crc:
                lo, hi = i * self.step, min((i + 1) * self.step, self.nbytes)
                if out and out[-1][1] == lo:
                    out[-1] = (out[-1][0], hi)
                else:
                    out.append((lo, hi))
        return out


def synced(fd: int, nbytes: int) -> Checksums:
    """Bring a file to the disk, and compute its checksums meanwhile."""
    if nbytes < _LARGE:
        found = Checksums.of(fd, nbytes)
        os.fsync(fd)
        return found
    computing = _Computing(fd, nbytes)
    computing.start()
    try:
        os.fsync(fd)
    finally:
        computing.join()
    return computing.result()


class _Computing(threading.Thread):
    """Computes the checksums of a file that its caller keeps open."""

    def __init__(self, fd: int, nbytes: int) -> None:
        super().__init__(name="wendelin-checksums", daemon=True)
        self._fd, self._nbytes = fd, nbytes
        self._found: Checksums | None = None
        self._error: OSError | None = None

    def run(self) -> None:
        try:
            self._found = Checksums.of(self._fd, self._nbytes)
        except OSError as error:
            self._error = error

    def result(self) -> Checksums:
        if self._error is not None:
            raise self._error
        assert self._found is not None
        return self._found


class _State:
    """What a blob's record shall say, as long as its bytes lie in the file at `path`."""

    def __init__(self, path: str, checksums: Checksums) -> None:
        self.path, self._checksums = path, checksums

    def __call__(self) -> dict[str, Any]:
        return self._checksums.to_state()


def noted(blob: Any, checksums: Checksums) -> None:
    """Let a new blob store its checksums. `Blob` must not be derived from: packing would not know it for one."""
    state = _State(blob._p_blob_uncommitted, checksums)
    blob.__dict__["__getstate__"] = state  # not by assignment, which counts as a change of the object


def note_own(blob: Any) -> None:
    """A blob is about to be stored: one that a program has written gets its checksums now."""
    path = blob._p_blob_uncommitted
    if path is None or getattr(blob.__dict__.get("__getstate__"), "path", None) == path:
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        noted(blob, Checksums.of(fd, os.fstat(fd).st_size))
    finally:
        os.close(fd)


def _data(fd: int, nbytes: int, step: int) -> Iterator[tuple[int, int]]:
    """Where a file has data, in whole steps; all of it where the file system does not tell."""
    at = 0
    while at < nbytes:
        try:
            first = os.lseek(fd, at, os.SEEK_DATA)
            hi = -(-os.lseek(fd, first, os.SEEK_HOLE) // step) * step
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: only a hole follows
                yield at, nbytes
            return
        if first >= nbytes:
            return
        yield max(first // step * step, at), min(hi, nbytes)
        at = hi


def _fill(fd: int, buffer: memoryview, at: int) -> None:
    done = 0
    while done < len(buffer):
        got = os.preadv(fd, [buffer[done:]], at + done)
        if not got:
            raise OSError(errno.EIO, f"the file ends at byte {at + done:,}")
        done += got


def _swapped(numbers: array[int]) -> array[int]:
    """Little-endian on disk."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
