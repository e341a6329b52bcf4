"""The memory of one open array: which of its pages are mapped from where, and which were written.

Pages are mapped when a slice first asks for them, whole blocks at a time, so a terabyte opens at once. Views stand on
one ctypes buffer, the *lease*: the memory knows it weakly and the lease knows the memory, so as long as any view
lives its addresses stay mapped, whatever becomes of the array object or the connection.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays import segments
from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.dirty import Detector, choose
from wendelin.storage.arrays.extents import PAGE, Extents, Run
from wendelin.storage.arrays.runs import Interval, clip, difference, gaps, paint, subtract, union
from wendelin.storage.errors import AddressSpaceError

_detector: list[Detector] = []


def detector() -> Detector:
    """The way of finding written pages that this process uses; chosen at first use."""
    if not _detector:
        _detector.append(choose())
    return _detector[0]


class ArrayMemory:
    """Addresses of one array, for one connection (or none yet, for an array that was never stored).

    `serial` is the transaction of the extent map that is mapped: None means "compare before use".
    """

    def __init__(self, nbytes: int, pages_per_block: int, *, writable: bool = True) -> None:
        self.writable = writable
        self.serial: bytes | None = None
        self.pages_per_block = pages_per_block
        self.handed_out = False  # a writable view was given since the last boundary at which none lived
        self._addresses = Reservation(nbytes, writable=writable)
        self._lease: weakref.ref[Any] | None = None
        self._mapped: list[Interval] = []
        self._runs: list[Run] = []
        self._segments: dict[int, Any] = {}
        self._unsettled: list[Interval] = []  # stored by a commit, and not mapped from its segment yet

    # -- views

    def view(self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...]) -> npt.NDArray[Any]:
        """The whole array, standing on the addresses. Only what `ensure` mapped may be touched."""
        buffer: Any = self._leased()
        if not self.writable:
            # `setflags(write=True)` cannot undo this; `np.ndarray` alone would look through the memoryview
            buffer = np.frombuffer(memoryview(buffer).toreadonly(), np.uint8)
        return np.ndarray(shape, dtype, buffer, strides=strides)

    @property
    def start(self) -> int:
        """Address of the first byte."""
        return self._addresses.start

    @property
    def has_views(self) -> bool:
        """Whether any ndarray still stands on this memory."""
        return self._lease is not None and self._lease() is not None

    def _leased(self) -> ctypes.Array[ctypes.c_ubyte]:
        lease = self._lease() if self._lease is not None else None
        if lease is None:
            lease = self._addresses.buffer()
            lease.owner = self  # type: ignore[attr-defined]  # ctypes arrays take any attribute
            self._lease = weakref.ref(lease)
        return lease

    # -- mapping

    def ensure(self, lo: int, hi: int, extents: Extents) -> None:
        """Map bytes [lo, hi) as `extents` has them stored, whole blocks."""
        step = self.pages_per_block
        first = lo // PAGE // step * step
        last = min(-(-hi // (PAGE * step)) * step, self._addresses.size // PAGE)
        missing = gaps(self._mapped, first, last)
        for a, b in missing:
            self._addresses.map_zeros(a * PAGE, (b - a) * PAGE)
            runs, named = extents.lookup(a, b)
            self._map(runs, named)
            self._runs = paint(self._runs, runs)
            self._segments.update({run[2]: named[run[2]] for run in runs})
        if missing:
            self._mapped = union([*self._mapped, *missing])

    def follow(self, extents: Extents) -> None:
        """Show what `extents` has now: only pages that moved are mapped anew, at the same addresses."""
        runs: list[Run] = []
        named: dict[int, Any] = {}
        for lo, hi in self._mapped:
            some, segments_there = extents.lookup(lo, hi)
            runs += some
            named.update(segments_there)
        changes = difference(self._runs, runs)
        for start, length, segment, _ in changes:
            if not segment:
                self._addresses.map_zeros(start * PAGE, length * PAGE)
        self._map([run for run in changes if run[2]], named)
        if not extents._p_changed:
            self._settle()
        self._runs = runs
        self._segments = {number: named[number] for number in {run[2] for run in runs}}
        self.serial = None if extents._p_changed else extents._p_serial

    def _settle(self) -> None:
        """Drop private copies of what was committed, also where another commit has already undone it."""
        for lo, hi in self._unsettled:
            self._addresses.discard(lo * PAGE, (hi - lo) * PAGE)
        self._unsettled = []

    def _map(self, runs: list[Run], named: dict[int, Any]) -> None:
        """Lay files over the addresses, each segment opened once."""
        by_segment: dict[int, list[Run]] = {}
        for run in runs:
            by_segment.setdefault(run[2], []).append(run)
        for number, some in by_segment.items():
            needed = max(offset + length for _, length, _, offset in some)
            with segments.opened(named[number], needed) as fd:
                for start, length, _, offset in some:
                    self._addresses.map_file(start * PAGE, length * PAGE, fd, offset * PAGE)

    def reserve(self, nbytes: int) -> None:
        """Make sure that `nbytes` fit: in place, else by moving, which living views forbid."""
        if nbytes <= self._addresses.size or self._addresses.extend(nbytes):
            return
        if self.has_views:
            raise AddressSpaceError(
                0,
                f"no addresses are free behind this array to grow it to {nbytes:,} bytes while views of it live: "
                "delete the views (`del view`), then resize",
            )
        self._move(Reservation(nbytes, writable=self.writable))

    def _move(self, target: Reservation) -> None:
        source, written = self._addresses, self.dirty()
        self._addresses = target
        for lo, hi in self._mapped:
            target.map_zeros(lo * PAGE, (hi - lo) * PAGE)
        self._map(self._runs, self._segments)
        for lo, hi in written:
            target.copy_from(source, lo * PAGE, (hi - lo) * PAGE)
        source.release()

    # -- what was written

    def dirty(self) -> list[Interval]:
        """Pages the program wrote since the last boundary, sorted."""
        return detector().dirty(self._addresses.start, self._mapped, self._stored, self._holes)

    def revert(self) -> None:
        """Throw away what was written: stored bytes show again."""
        self._unsettled = []
        if detector().name == "compare":
            written = self._mapped
        else:
            written = self.dirty()
        for lo, hi in written:
            self._addresses.discard(lo * PAGE, (hi - lo) * PAGE)

    def trim(self, written: list[Interval], nbytes: int) -> list[Interval]:
        """Drop what views wrote behind the end of an array that was cut; returns the rest of `written`."""
        end = -(-nbytes // PAGE)
        for lo, hi in written:
            if hi > end:
                self._addresses.discard(max(lo, end) * PAGE, (hi - max(lo, end)) * PAGE)
            if nbytes % PAGE and lo < end <= hi:
                self._addresses.clear(nbytes, end * PAGE - nbytes)
        return [(lo, min(hi, end)) for lo, hi in written if lo < end]

    def write(self, pages: list[Interval], folder: str) -> Any:
        """Write some mapped pages to a new segment."""
        self._unsettled = union([*self._unsettled, *pages])
        return segments.write_segment(self._addresses, pages, folder)

    def truncate(self, nbytes: int) -> None:
        """Let everything from byte `nbytes` on read as zeros, at once and for the transaction."""
        page = -(-nbytes // PAGE)
        self.serial = None  # an abort must lay the files back
        for lo, hi in gaps(gaps(self._mapped, 0, 1 << 62), page, 1 << 62):
            self._addresses.map_zeros(lo * PAGE, (hi - lo) * PAGE)
            self._runs = subtract(self._runs, [(lo, hi)])
        if nbytes % PAGE and gaps(self._mapped, page - 1, page) == []:
            self._addresses.clear(nbytes, page * PAGE - nbytes)

    def tail_is_written(self, nbytes: int) -> bool:
        """Whether the page that byte `nbytes` lies in, which is mapped, holds anything from there on."""
        rest = -nbytes % PAGE
        return bool(rest) and any(self._addresses.memory(nbytes, rest))

    def _holes(self, lo: int, hi: int) -> list[Interval]:
        return gaps([(run[0], run[0] + run[1]) for run in clip(self._runs, lo, hi)], lo, hi)

    def _stored(self, first: int, count: int) -> npt.NDArray[np.uint8]:
        """What is stored beneath some mapped pages, as a copy."""
        out = np.zeros((count, PAGE), np.uint8)
        for start, length, number, offset in clip(self._runs, first, first + count):
            out[start - first : start - first + length] = segments.read_pages(self._segments[number], offset, length)
        return out

    def __repr__(self) -> str:
        mapped = sum(hi - lo for lo, hi in self._mapped) * PAGE
        return f"<ArrayMemory {mapped:,} bytes mapped in {len(self._runs)} runs at {self.start:#x}>"
