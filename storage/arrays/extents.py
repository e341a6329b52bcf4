"""The extent map: which pages of an array lie where in which segment.

* `Extents`, one record an array, holds the *recent* runs, which a commit adds to. When there are too many, they
  move into the immutable *base* beneath: an `ExtentIndex` of `ExtentChunk`s of about a thousand runs each. So a
  terabyte written in bulk is one run, and of a million scattered ones a slice loads a chunk or two.
* Runs name segments by random 63-bit numbers; the persistent references stand beside them in `segments`. So two
  transactions that wrote different blocks merge on plain values, without loading any object, and a segment that no
  run names any more is garbage by itself.
* A transaction moves only what *others* committed into the base and leaves its own changes in `recent`, so that a
  merge still sees them apart.

A ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Sequence
from typing import Any

from persistent import Persistent
from ZODB.POSException import ConflictError

from wendelin.storage.arrays.runs import (
    HOLE,
    Interval,
    Run,
    clip,
    coalesce,
    difference,
    intersects,
    paint,
    touched_blocks,
)

#: Bytes of one page, the unit of every run. Part of the stored format.
PAGE = 4096

#: Runs an `Extents` record gathers before it moves them into the base: it is rewritten at each commit.
RECENT_RUNS = 512

#: Runs of one chunk of the base: it is loaded whole.
CHUNK_RUNS = 1024

Segments = dict[int, Any]
State = dict[str, Any]


def new_segment_number() -> int:
    """A number that no other segment of the database has (63 random bits, never 0)."""
    return (int.from_bytes(os.urandom(8), "big") >> 1) or new_segment_number()


class ExtentChunk(Persistent):
    """Runs of one range of pages, with the segments they name. Immutable once stored."""

    def __init__(self, runs: list[Run], segments: Segments) -> None:
        self.runs = runs
        self.segments = segments


class ExtentIndex(Persistent):
    """Chunks by their first page; a chunk reaches up to the next one's first page. Immutable once stored."""

    def __init__(self, starts: list[int], chunks: list[ExtentChunk]) -> None:
        self.starts = starts
        self.chunks = chunks

    def chunks_within(self, lo: int, hi: int) -> list[ExtentChunk]:
        """The chunks that may name pages of [lo, hi)."""
        first = max(bisect.bisect_right(self.starts, lo) - 1, 0)
        return self.chunks[first : bisect.bisect_left(self.starts, hi)]

    def painted(self, runs: list[Run], segments: Segments) -> ExtentIndex:
        """A new index with `runs` laid over this one; untouched chunks are shared."""
        starts: list[int] = []
        chunks: list[ExtentChunk] = []
        for position, (start, chunk) in enumerate(zip(self.starts, self.chunks, strict=True)):
            lo = 0 if position == 0 else start
            hi = self.starts[position + 1] if position + 1 < len(self.starts) else 1 << 62
            above = clip(runs, lo, hi)
            for part in _chunks_of(chunk, above, segments) if above else [chunk]:
                starts.append(part.runs[0][0] if part.runs else lo)
                chunks.append(part)
        return ExtentIndex(starts, chunks)


class Extents(Persistent):
    """Where an array's pages are stored. `pages_per_block` is the unit in which writers conflict."""

    _p_changed: bool | None

    def __init__(self, pages_per_block: int) -> None:
        self.pages_per_block = pages_per_block
        self.recent: list[Run] = []
        self.segments: Segments = {}
        self.base: ExtentIndex | None = None

    def lookup(self, lo: int, hi: int) -> tuple[list[Run], Segments]:
        """Runs that store pages of [lo, hi), without holes, and the segments they name. Loads only chunks needed."""
        below: list[Run] = []
        segments: Segments = dict(self.segments)
        if self.base is not None:
            for chunk in self.base.chunks_within(lo, hi):
                below += clip(chunk.runs, lo, hi)
                segments.update(chunk.segments)
        runs = paint(below, clip(self.recent, lo, hi))
        return [run for run in runs if run[2] != HOLE], segments

    def record(self, runs: list[Run], segment_number: int, segment: Any) -> None:
        """Note that `runs`, all of one new segment, were written."""
        self._make_room()
        self._paint(runs, {segment_number: segment})

    def free(self, lo: int, hi: int) -> None:
        """Make pages [lo, hi) holes."""
        if self.lookup(lo, hi)[0]:
            self._make_room()
            self._paint([(lo, hi - lo, HOLE, 0)], {})

    def _paint(self, runs: list[Run], segments: Segments) -> None:
        self.recent = paint(self.recent, runs)
        self.segments = _named(self.recent, {**self.segments, **segments})

    def _make_room(self) -> None:
        if len(self.recent) < RECENT_RUNS or self._p_changed:
            return  # when changed already, `recent` holds this transaction's own runs too
        base = self.base or ExtentIndex([0], [ExtentChunk([], {})])
        self.base = base.painted(self.recent, self.segments)
        self.recent, self.segments = [], {}

    def _p_resolveConflict(self, old: State, committed: State, new: State) -> State:
        return resolve(old, committed, new)


def resolve(old: State, committed: State, new: State) -> State:
    """Merge two transactions that wrote different blocks; ConflictError when they wrote the same.

    States are those of `Extents`, their references of whatever kind the storage gives: never compared but by `.oid`.
    """
    old_base, committed_base, new_base = (_oid(state["base"]) for state in (old, committed, new))
    if committed_base != old_base:
        raise ConflictError("the extent map was reorganised meanwhile: retry the transaction")
    theirs = difference_over(old["recent"], committed["recent"])
    moved = new_base != old_base  # we moved `old["recent"]` into the base, so that ours stand alone
    ours = new["recent"] if moved else difference_over(old["recent"], new["recent"])
    pages_per_block = new["pages_per_block"]
    if intersects(touched_blocks(theirs, pages_per_block), touched_blocks(ours, pages_per_block)):
        raise ConflictError("both transactions wrote the same block: retry the transaction")
    recent = paint(theirs if moved else committed["recent"], ours)
    segments = _named(recent, {**committed["segments"], **new["segments"]})
    return {**new, "recent": recent, "segments": segments}


def difference_over(old: list[Run], new: list[Run]) -> list[Run]:
    """What `new` paints differently from `old`. Runs leave `recent` only by moving to the base."""
    return [run for run in difference(old, new) if not _unnamed(new, run)]


def _unnamed(runs: Sequence[Run], run: Run) -> bool:
    return run[2] == HOLE and not clip(runs, run[0], run[0] + run[1])


def _oid(reference: Any) -> Any:
    """What identifies a persistent reference: of an object its `_p_oid`, of a resolver's reference its `oid`."""
    return None if reference is None else getattr(reference, "oid", None) or reference._p_oid


def _named(runs: list[Run], segments: Segments) -> Segments:
    return {number: segments[number] for number in {run[2] for run in runs} if number != HOLE}


def _chunks_of(chunk: ExtentChunk, above: list[Run], segments: Segments) -> list[ExtentChunk]:
    """`above` laid over one chunk, cut into chunks of a good size."""
    runs = coalesce(run for run in paint(chunk.runs, above) if run[2] != HOLE)
    known = {**chunk.segments, **segments}
    size = len(runs) if len(runs) <= 2 * CHUNK_RUNS else CHUNK_RUNS
    parts = [runs[i : i + size] for i in range(0, len(runs), max(size, 1))] or [[]]
    return [ExtentChunk(part, _named(part, known)) for part in parts]


__all__ = ["PAGE", "ExtentChunk", "ExtentIndex", "Extents", "Interval", "Run", "new_segment_number", "resolve"]

for _class in (ExtentChunk, ExtentIndex, Extents):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
