"""Which pages did the program write? Three ways to know, best first.

* `PAGEMAP_SCAN`, an ioctl on `/proc/self/pagemap` (Linux ≥ 6.7), lists the written ranges at once: a written page of a
  private file mapping is no file page any more. A hole that was only read shows the kernel's zero page, which looks
  anonymous too, so it is excluded by name.
* `/proc/self/pagemap` itself, 8 bytes a page, on older kernels: bit 63 present, 62 swapped, 61 file page. It does not
  tell the zero page from a written one to a program without rights, so pages of holes are compared with zero.
* Comparison with what is stored, where the kernel offers nothing. It reads all that was handed out.

The file `/proc/self/pagemap` shows the memory of whoever opened it, also after a fork: it is opened anew in the child.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays.runs import PAGE, Interval, union

#: Reads the stored bytes of some pages: (first page, pages) → uint8 of shape (pages, PAGE).
Stored = Callable[[int, int], npt.NDArray[np.uint8]]

_FILE, _PRESENT, _SWAPPED, _PFNZERO = 4, 8, 16, 32
_ROOM = 4096
_COMPARED_AT_ONCE = 256  # pages: 1 MiB
_descriptors: dict[int, int] = {}


class _ScanArg(ctypes.Structure):
    """`struct pm_scan_arg` of linux/fs.h."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "size",
            "flags",
            "start",
            "end",
            "walk_end",
            "vec",
            "vec_len",
            "max_pages",
            "category_inverted",
            "category_mask",
            "category_anyof_mask",
            "return_mask",
        )
    ]


_PAGEMAP_SCAN = (3 << 30) | (ctypes.sizeof(_ScanArg) << 16) | (ord("f") << 8) | 16


def by_scan(start: int, lo: int, hi: int) -> Iterator[Interval]:
    """Written pages among [lo, hi) of the memory at address `start`, by `PAGEMAP_SCAN`."""
    found = np.empty((_ROOM, 3), np.uint64)
    position, end = start + lo * PAGE, start + hi * PAGE
    while position < end:
        arg = _ScanArg(
            size=ctypes.sizeof(_ScanArg),
            start=position,
            end=end,
            vec=found.ctypes.data,
            vec_len=_ROOM,
            category_inverted=_FILE | _PFNZERO,
            category_mask=_FILE | _PFNZERO,
            category_anyof_mask=_PRESENT | _SWAPPED,
            return_mask=_PRESENT | _SWAPPED,
        )
        count = fcntl.ioctl(_pagemap(), _PAGEMAP_SCAN, arg, True)
        for first, last, _ in found[:count].tolist():
            yield (first - start) // PAGE, (last - start) // PAGE
        position = arg.walk_end


def by_pagemap(start: int, lo: int, hi: int) -> Iterator[Interval]:
    """Pages that may be written, by the bits of `/proc/self/pagemap`; holes that were read look written too."""
    step = 1 << 16
    for first in range(lo, hi, step):
        count = min(step, hi - first)
        raw = os.pread(_pagemap(), 8 * count, (start // PAGE + first) * 8)
        entry = np.frombuffer(raw, np.uint64)
        written = ((entry >> np.uint64(62)) & np.uint64(3) != 0) & ((entry >> np.uint64(61)) & np.uint64(1) == 0)
        for a, b in _true_runs(written):
            yield first + a, first + b


def differing(start: int, lo: int, hi: int, stored: Stored) -> Iterator[Interval]:
    """Pages among [lo, hi) that differ from what is stored."""
    for first in range(lo, hi, _COMPARED_AT_ONCE):
        count = min(_COMPARED_AT_ONCE, hi - first)
        address = start + first * PAGE
        memory = np.frombuffer(_bytes_at(address, count * PAGE), np.uint64).reshape(count, -1)
        changed = (memory != stored(first, count).view(np.uint64).reshape(count, -1)).any(axis=1)
        for a, b in _true_runs(changed):
            yield first + a, first + b


def _bytes_at(address: int, length: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * length).from_address(address)).cast("B")


class Detector:
    """Finds written pages; `name` is `scan`, `pagemap` or `compare`."""

    def __init__(self, name: str) -> None:
        if name not in DETECTORS:
            raise ValueError(f"WENDELIN_DIRTY={name!r} is none of {', '.join(DETECTORS)}; unset it to choose by itself")
        self.name = name

    def dirty(self, start: int, intervals: list[Interval], stored: Stored, is_hole: Any) -> list[Interval]:
        """Written pages within `intervals` of the memory at `start`; `is_hole(lo, hi)` gives the holes within."""
        out: list[Interval] = []
        for lo, hi in intervals:
            if self.name == "scan":
                out += by_scan(start, lo, hi)
            elif self.name == "compare":
                out += differing(start, lo, hi, stored)
            else:
                for first, last in by_pagemap(start, lo, hi):
                    out += self._without_read_holes(start, first, last, stored, is_hole)
        return union(out)

    @staticmethod
    def _without_read_holes(start: int, lo: int, hi: int, stored: Stored, is_hole: Any) -> list[Interval]:
        out: list[Interval] = []
        position = lo
        for first, last in is_hole(lo, hi):
            out.append((position, first))
            out += differing(start, first, last, stored)
            position = last
        return [*out, (position, hi)]


DETECTORS = ("scan", "pagemap", "compare")


def choose() -> Detector:
    """The best detector that works on this kernel, proven on three pages; `WENDELIN_DIRTY` overrides."""
    named = os.environ.get("WENDELIN_DIRTY")
    if named:
        return Detector(named)
    for name, way in (("scan", by_scan), ("pagemap", by_pagemap)):
        try:
            if _proves_itself(way):
                return Detector(name)
        except OSError:
            continue
    return Detector("compare")


def _proves_itself(way: Callable[[int, int, int], Iterator[Interval]]) -> bool:
    """One page written of three: a detector must name it, and never one that was not touched."""
    from wendelin.storage.arrays.addresses import Reservation

    memory = Reservation(3 * PAGE)
    memory.map_zeros(0, 3 * PAGE)
    memory.memory(PAGE, 1)[0] = 1
    return list(way(memory.start, 0, 3)) == [(1, 2)]


def _pagemap() -> int:
    pid = os.getpid()
    if pid not in _descriptors:
        _descriptors.clear()
        _descriptors[pid] = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    return _descriptors[pid]


def _true_runs(flags: npt.NDArray[np.bool_]) -> list[Interval]:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
