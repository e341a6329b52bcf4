"""The base of an extent map: immutable runs, some hundred to a chunk, beneath the log.

A ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import bisect
from typing import Any

from persistent import Persistent

from wendelin.storage.arrays.log import State, packed_chunk, unpacked_chunk
from wendelin.storage.arrays.runs import HOLE, Run, clip, covered, laid, paint

#: Runs up to which it is quicker to lay one after the other over a chunk.
FEW = 64

#: Runs of one chunk: it is loaded whole.
CHUNK_RUNS = 256

Segments = dict[int, Any]


class ExtentChunk(Persistent):
    """Runs of one range of pages, with the segments they name. Immutable once stored."""

    def __init__(self, runs: list[Run], segments: Segments) -> None:
        self.runs = runs
        self.segments = segments

    def __getstate__(self) -> Any:
        return packed_chunk(self.runs, self.segments)

    def __setstate__(self, state: State) -> None:
        super().__setstate__(unpacked_chunk(state))


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
        first = [run[0] for run in runs]
        for position, (start, chunk) in enumerate(zip(self.starts, self.chunks, strict=True)):
            lo = 0 if position == 0 else start
            hi = self.starts[position + 1] if position + 1 < len(self.starts) else 1 << 62
            near = runs[max(bisect.bisect_right(first, lo) - 1, 0) : bisect.bisect_left(first, hi)]
            above = clip(near, lo, hi)
            for part in _chunks_of(chunk, above, segments) if above else [chunk]:
                starts.append(part.runs[0][0] if above and part.runs else min(lo, start))
                chunks.append(part)
        return ExtentIndex(starts, chunks)


def _chunks_of(chunk: ExtentChunk, above: list[Run], segments: Segments) -> list[ExtentChunk]:
    """`above` laid over one chunk, cut into chunks of a good size."""
    painted = laid(chunk.runs, covered(above), above) if len(above) < FEW else paint(chunk.runs, above)
    runs = [run for run in painted if run[2] != HOLE]
    known = {**chunk.segments, **segments}
    size = len(runs) if len(runs) <= 2 * CHUNK_RUNS else CHUNK_RUNS
    parts = [runs[i : i + size] for i in range(0, len(runs), max(size, 1))] or [[]]
    return [ExtentChunk(part, _of(part, known)) for part in parts]


def _of(runs: list[Run], segments: Segments) -> Segments:
    return {number: segments[number] for number in {run[2] for run in runs} if number != HOLE}


for _class in (ExtentChunk, ExtentIndex):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
