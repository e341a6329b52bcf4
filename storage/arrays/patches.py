"""Patches: a few changed bytes of a page, stored in the record itself.

A patch is laid over whatever the page holds beneath it: earlier patches in the log, and below them a run of a segment
or a hole. It names no segment, so where the bytes beneath lie may change meanwhile. In a record and in memory it is
`bytes`: for each stretch of changed bytes its place in the page, its length, and the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from wendelin.storage.arrays.log import Entry
from wendelin.storage.arrays.runs import HOLE, PAGE, Interval, Run, clip, union

#: Bytes of changes from which on a whole page is stored instead.
MOST = 256

_HEAD = struct.Struct("<HH")

#: Equal bytes between two changed ones that are cheaper to repeat than to leave out.
_NEAR = 2 * _HEAD.size


class Patched:
    """One page as patches and what lies beneath them: stands in for a segment of one page."""

    def __init__(self, page: int, entries: list[Entry], base: list[Run], segments: dict[int, Any]) -> None:
        self._page, self._entries, self._base = page, entries, base
        self.segments = segments

    def layers(self) -> tuple[Run | None, list[bytes]]:
        """What lies beneath, None for a hole, and the patches over it, the first one first."""
        patches: list[bytes] = []
        for _, _, _, runs in reversed(self._entries):
            for run in clip(runs, self._page, self._page + 1):
                patch = self.segments.get(run[2])
                if not isinstance(patch, bytes):
                    return run if run[2] > HOLE else None, patches[::-1]
                patches.append(patch)
        found = clip(self._base, self._page, self._page + 1)
        return found[0] if found else None, patches[::-1]


def made(current: memoryview | bytes, stretches: Iterable[Interval]) -> bytes | None:
    """The patch that brings stretches of a page to what they are in `current`; None when that is too much."""
    out = b"".join(_HEAD.pack(lo, hi - lo) + bytes(current[lo:hi]) for lo, hi in union(stretches))
    return out if len(out) <= MOST else None


def stretches(before: bytes, current: memoryview | bytes) -> list[Interval]:
    """Where two contents of a page differ."""
    changed = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(current, np.uint8))
    if not len(changed):
        return []
    cuts = np.flatnonzero(np.diff(changed) > _NEAR)
    first = changed[np.concatenate(([0], cuts + 1))]
    last = changed[np.concatenate((cuts, [len(changed) - 1]))]
    return [(int(lo), int(hi) + 1) for lo, hi in zip(first, last, strict=True)]


def applied(page: bytes, patches: Iterable[bytes]) -> bytes:
    """A page with patches laid over it."""
    out = bytearray(page.ljust(PAGE, b"\0"))
    for patch in patches:
        for at, data in _parts(patch):
            out[at : at + len(data)] = data
    return bytes(out)


def _parts(patch: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(patch):
        at, length = _HEAD.unpack_from(patch, position)
        position += _HEAD.size
        yield at, patch[position : position + length]
        position += length
