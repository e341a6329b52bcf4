"""Patches: a few changed bytes of a page, stored in the record itself.

A patch is laid over whatever the page holds beneath it: earlier patches in the log, and below them a run of a segment
or a hole. It names no segment, so where the bytes beneath lie may change meanwhile. In a record and in memory it is
`bytes`: for each stretch of changed bytes its place in the page, its length, and the bytes.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wendelin.storage.arrays.log import Entry, pieces
from wendelin.storage.arrays.runs import HIDDEN, HOLE, PAGE, Interval, Run, clip, union

#: Bytes of changes from which on a whole page is stored instead.
MOST = 256

_HEAD = struct.Struct("<HH")

#: Equal bytes between two changed ones that are cheaper to repeat than to leave out.
_NEAR = 2 * _HEAD.size


class Layers:
    """What lies over each other on the pages of a log that have patches. Looked up once, when it is first asked for.

    `older`: those of the part of the log beneath.
    """

    def __init__(self, entries: list[Entry], segments: dict[int, Any], older: Layers | None = None) -> None:
        self._entries, self._segments, self._older = entries, segments, older
        self._patches: dict[int, list[bytes]] | None = None
        self._below: dict[int, Run] = {}

    def on(self, page: int) -> tuple[Run | None, list[bytes]]:
        """The run of the log beneath the patches, None when it is the base's; and the patches, the first one first."""
        if self._patches is None:
            self._patches = self._found()
        below, patches = self._below.get(page), self._patches.get(page, [])
        if below is not None or self._older is None:
            return below, patches
        below, older = self._older.on(page)
        return below, [*older, *patches]

    def _found(self) -> dict[int, list[bytes]]:
        runs = [run for _, _, _, some in self._entries for run in some]
        pages = sorted({run[0] for run in runs if isinstance(self._segments.get(run[2]), bytes)})
        found: dict[int, list[bytes]] = {page: [] for page in pages}
        for run in runs:
            patch = self._segments.get(run[2])
            if isinstance(patch, bytes):
                found[run[0]].append(patch)
            elif run[2] != HIDDEN:
                first, last = bisect.bisect_left(pages, run[0]), bisect.bisect_left(pages, run[0] + run[1])
                for page in pages[first:last]:
                    found[page], self._below[page] = [], clip([run], page, page + 1)[0]
        return found


class Patched:
    """One page as patches and what lies beneath them: stands in for a segment of one page."""

    def __init__(self, page: int, layers: Layers, base: list[Run], segments: dict[int, Any]) -> None:
        self._page, self._layers, self._base = page, layers, base
        self.segments = segments

    def layers(self) -> tuple[Run | None, list[bytes]]:
        """What lies beneath, None for a hole, and the patches over it, the first one first."""
        below, patches = self._layers.on(self._page)
        found = [below] if below is not None else clip(self._base, self._page, self._page + 1)
        return found[0] if found and found[0][2] != HOLE else None, patches


def made(current: memoryview | bytes, stretches: Sequence[Interval]) -> bytes | None:
    """The patch that brings stretches of a page to what they are in `current`; None when that is too much."""
    joined = union(stretches) if len(stretches) > 1 else stretches
    out = b"".join([_HEAD.pack(lo, hi - lo) + bytes(current[lo:hi]) for lo, hi in joined])
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
        for at, data in pieces(_HEAD, patch):
            out[at : at + len(data)] = data
    return bytes(out)
