"""The extent map: which pages of an array lie where in which segment.

* `Extents`, one record an array, holds a *log*: an entry for each of the latest transactions, with the runs it wrote.
  When there are many, they are *folded* into the immutable *base* beneath: an `ExtentIndex` of `ExtentChunk`s of some
  hundred runs each. So a terabyte written in bulk is one run, and of a million scattered ones a slice loads a chunk
  or two.
* Appended bytes have no fixed place until they are *sealed*: they are the `tail` (see `wendelin.storage.arrays.tail`).
  Runs are valid below byte `sealed`, where the tail begins.
* Runs name segments by random 63-bit numbers; the persistent references stand beside them in `segments`. So two
  transactions merge on plain values, without loading any object (`wendelin.storage.arrays.merge`), and a segment that
  nothing names any more is garbage by itself.

A ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import bisect
import operator
import os
from collections.abc import Sequence
from typing import Any

from persistent import Persistent

from wendelin.storage.arrays import tail
from wendelin.storage.arrays.log import (
    SEAL,
    WRITE,
    Entry,
    Packer,
    State,
    Summary,
    packed_chunk,
    packed_summary,
    unpacked_chunk,
    upgraded,
)
from wendelin.storage.arrays.merge import named, over, painted, resolve, summary
from wendelin.storage.arrays.patches import Layers, Patched
from wendelin.storage.arrays.runs import HOLE, PAGE, Interval, Run, clip, coalesce, hidden, paint, subtract, union
from wendelin.storage.arrays.tail import Assembled, Piece

#: Entries of the log from which on a commit folds them: the record is rewritten at each commit.
LOG_ENTRIES = 64

#: Runs in the log from which on it is folded although it has few entries.
LOG_RUNS = 1024

#: Pieces, and bytes, of the tail from which on an append seals it.
TAIL_PIECES, TAIL_BYTES = 64, 64 << 20

#: Runs of one chunk of the base: it is loaded whole.
CHUNK_RUNS = 256

#: Of an entry its runs.
_RUNS = operator.itemgetter(3)

#: A page behind the end of every array.
END = 1 << 50

Segments = dict[int, Any]
Mark = tuple[bytes | None, int, int, int | None, list[Piece]]


def new_segment_number() -> int:
    """A number that no other segment of the database has (63 random bits, never 0)."""
    return (int.from_bytes(os.urandom(8), "big") >> 1) or new_segment_number()


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


class Extents(Persistent):
    """Where an array's bytes are stored. `pages_per_block` is the unit in which writers conflict.

    `rows`: elements along the major axis; None in records of issue 2, whose array knows it. `sealed`: the byte where
    the tail begins; None until somebody asks for it there.
    """

    _p_changed: bool | None
    _v_painted: list[Run] | None
    _v_laid: tuple[list[Run], Segments] | None
    _v_own: bytes
    _v_packer: Packer
    _v_layers: tuple[list[Entry], Layers]
    _v_fold: tuple[bytes | None, ExtentIndex, list[Interval]]

    def __init__(self, pages_per_block: int, rows: int | None = None) -> None:
        self.pages_per_block = pages_per_block
        self.rows = rows
        self.sealed: int | None = None if rows is None else 0
        self.tail: list[Piece] = []
        self.number = 0
        self.entries: list[Entry] = []
        self.passed: Summary = []
        self.segments: Segments = {}
        self.base: ExtentIndex | None = None
        self.shaped = 0
        self.reshaped = rows is not None

    def __setstate__(self, state: State) -> None:
        super().__setstate__(upgraded(state))

    def __getstate__(self) -> Any:
        state = super().__getstate__()
        if not isinstance(state, dict):
            return state
        packer: Packer | None = self.__dict__.get("_v_packer")
        if packer is None:
            packer = self._v_packer = Packer()
        return packer.packed(state)

    # -- reading

    @property
    def stored(self) -> int | None:
        """Bytes of the array that have been stored, by runs or in the tail; None in records of issue 2."""
        return None if self.sealed is None else self.sealed + tail.length(self.tail)

    def lookup(self, lo: int, hi: int) -> tuple[list[Run], Segments]:
        """Runs that store pages of [lo, hi), without holes and without the tail, and the segments they name."""
        return self.lookup_all([(lo, hi)])

    def lookup_all(self, pages: Sequence[Interval]) -> tuple[list[Run], Segments]:
        """As `lookup`, for some sorted, disjoint intervals."""
        below: list[Run] = []
        above: list[Run] = []
        beneath: Segments = {}
        for lo, hi in pages:
            for chunk in () if self.base is None else self.base.chunks_within(lo, hi):
                some = clip(chunk.runs, lo, hi)
                below += some
                beneath.update((run[2], chunk.segments[run[2]]) for run in some)
            above += clip(self.log, lo, hi)
        runs, own = [run for run in paint(below, above) if run[2] != HOLE], self.segments
        segments = {number: own[number] if number in own else beneath[number] for _, _, number, _ in runs}
        patched = [run for run in runs if isinstance(segments[run[2]], bytes)]
        if patched:
            known = {**own, **beneath}
            segments.update({run[2]: Patched(run[0], self._layers, below, known) for run in patched})
        return runs, segments

    @property
    def _layers(self) -> Layers:
        found = self.__dict__.get("_v_layers")
        if found is None or found[0] is not self.entries:
            found = self._v_layers = (self.entries, Layers(self.entries, self.segments))
        return found[1]

    def layout(self, lo: int, hi: int) -> tuple[list[Run], Segments]:
        """Runs for all stored pages of [lo, hi), the tail's too, and what they name.

        Pages of the tail that must be put together are runs of an `Assembled`, which stands in for a segment.
        """
        return self.layout_all([(lo, hi)])

    def layout_all(self, pages: Sequence[Interval]) -> tuple[list[Run], Segments]:
        """As `layout`, for some sorted, disjoint intervals."""
        runs, segments = self.lookup_all(pages)
        if not self.tail or self.sealed is None or not pages or pages[-1][1] * PAGE <= self.sealed:
            return runs, segments
        laid, more = self._laid_out()
        segments.update(more)
        return paint(runs, [run for lo, hi in pages for run in clip(laid, lo, hi)]), segments

    def _laid_out(self) -> tuple[list[Run], Segments]:
        """Runs of the tail's pages, and what they name; the page in which `sealed` lies needs what is below too."""
        found = self.__dict__.get("_v_laid")
        if found is None:
            assert self.sealed is not None
            first = self.sealed // PAGE
            below, segments = self.lookup(first, first + 1)
            direct, assembled = tail.laid_out(self.sealed, self.tail, below)
            segments.update({piece[0]: self.segments[piece[0]] for piece in self.tail if piece[0] != HOLE})
            segments.update({some.number: some for some in assembled})
            runs = sorted([*direct, *((some.start, some.pages, some.number, 0) for some in assembled)])
            found = self._v_laid = (runs, segments)
        return found

    def mark(self) -> Mark:
        """What `touched_since` compares this state with."""
        last = self.entries[-1][:2] if self.entries else (self.number, 0)
        return None if self.base is None else self.base._p_oid, *last, self.sealed, self.tail

    def touched_since(self, mark: Mark | None) -> list[Interval] | None:
        """Pages that may lie elsewhere than they did at `mark`; None when that is not known."""
        if mark is None:
            return None
        moved: list[Interval] = []
        if mark[0] != (None if self.base is None else self.base._p_oid):
            before, base, moved = self.__dict__.get("_v_fold", (None, None, []))
            if base is not self.base or before != mark[0] or not self.entries or self.entries[0][0] != mark[1] + 1:
                return None
            mark = (mark[0], mark[1], 0, *mark[3:])  # this object folded it, and nobody came between
        _, number, token, sealed, pieces = mark
        known = [entry for entry in self.entries if entry[0] <= number]
        last = known[-1][:2] if known else (self.entries[0][0] - 1 if self.entries else self.number, 0)
        if last != (number, token):
            return None  # another history: something was undone or folded
        pages = moved + [(run[0], run[0] + run[1]) for entry in self.entries[len(known) :] for run in entry[3]]
        if (self.sealed, self.tail) != (sealed, pieces):
            same = self.sealed == sealed and sealed is not None and self.tail[: len(pieces)] == pieces
            first = sealed + tail.length(pieces) if same and sealed is not None else min(sealed or 0, self.sealed or 0)
            pages.append((first // PAGE, END))
        return union(pages)

    @property
    def log(self) -> list[Run]:
        """What the log says, holes included."""
        found = self.__dict__.get("_v_painted")
        if found is None:
            found = self._v_painted = painted(self.entries)
        return found

    # -- writing

    def write(self, runs: list[Run], segments: Segments, kind: int = WRITE) -> None:
        """Note that `runs` were written, or (SEAL) that bytes of the tail lie there now."""
        self._v_own = self._p_serial  # the state that this transaction changes
        self.number += 1
        if segments and all(isinstance(segment, bytes) for segment in segments.values()):  # they hide nothing
            self.entries = [*self.entries, (self.number, runs[0][2], kind, runs)]
            self.segments, self._v_laid, self._v_painted = {**self.segments, **segments}, None, None
            return
        written = [(run[0], run[0] + run[1]) for run in runs]
        entry, log = (self.number, new_segment_number(), kind, runs), over(self.log, runs)
        if any(clip(self.log, lo, hi) for lo, hi in written):
            older = [(number, token, k, hidden(some, written)) for number, token, k, some in self.entries]
            self.entries = [*older, entry]
            self._name(segments)
        else:  # nothing is hidden by it, as most often
            self.entries = [*self.entries, entry]
            self.segments, self._v_laid = {**self.segments, **segments}, None
        self._v_painted = log

    def append(self, pieces: list[Piece], segments: Segments) -> None:
        """Note that bytes were appended."""
        self.tail = [*self.tail, *pieces]
        self._name(segments)

    def seal(self, runs: list[Run], segments: Segments, nbytes: int) -> None:
        """Note that the first `nbytes` of the tail lie in `runs`, and with them the page that it begins in."""
        assert self.sealed is not None
        self.write(runs, segments, SEAL)
        self.tail = tail.trimmed(self.tail, nbytes)
        self.sealed += nbytes
        self._name({})

    def free(self, lo: int, hi: int) -> None:
        """Make pages [lo, hi) holes."""
        if self.lookup(lo, hi)[0]:
            self.write([(lo, hi - lo, HOLE, 0)], {})

    def cut(self, nbytes: int) -> None:
        """Forget all bytes from `nbytes` on."""
        if self.sealed is not None and self.stored is not None and nbytes < self.stored:
            self.tail = tail.cut(self.tail, nbytes - self.sealed)
            self.sealed = min(self.sealed, nbytes)
            self._name({})
        self.free(-(-nbytes // PAGE), END)

    def settle(self, nbytes: int) -> None:
        """Note that all of the array, `nbytes`, is stored in runs: there is no tail any more."""
        self.tail, self.sealed, self.reshaped = [], nbytes, False
        self._name({})

    def grow(self, rows: int, nbytes: int) -> None:
        """Count `rows` more of the major axis; `nbytes` is what the array had before."""
        if self.sealed is None:
            self.sealed = nbytes
        assert self.rows is not None
        self.rows += rows

    def reshape(self, rows: int | None) -> None:
        """Another shape: the next commit stores the end of the array anew, and no append merges with it."""
        self.rows = rows
        self.shaped = new_segment_number()
        self.reshaped = True

    # -- folding

    @property
    def must_fold(self) -> bool:
        """Whether the log has become long; never with entries of this very transaction, which others must see."""
        own = bool(self._p_changed) and self.__dict__.get("_v_own") == self._p_serial
        many = len(self.entries) >= LOG_ENTRIES or sum(map(len, map(_RUNS, self.entries))) >= LOG_RUNS
        return many and not own

    def fold(self, above: list[Run] | None = None, segments: Segments | None = None) -> None:
        """Move the log into the base; `above`: runs of new `segments` with the same bytes, laid over it."""
        runs, known = self.log, {**self.segments, **(segments or {})}
        rest = subtract(runs, [(run[0], run[0] + run[1]) for run in above or []])
        assert not any(isinstance(known.get(run[2]), bytes) for run in rest), "patches stay in the log"
        base = self.base or ExtentIndex([0], [ExtentChunk([], {})])
        before = None if self.base is None else self.base._p_oid
        self.base = base.painted(paint(runs, above or []), known)
        self._v_fold = (before, self.base, union((run[0], run[0] + run[1]) for run in above or []))
        self.passed = packed_summary(summary(self.passed, self.entries, self.pages_per_block))
        self.entries = []
        self._name({})

    def _name(self, segments: Segments) -> None:
        self._v_painted = self._v_laid = None
        self.segments = named(self.entries, self.tail, {**self.segments, **segments})

    def _p_resolveConflict(self, old: State, committed: State, new: State) -> State:
        return resolve(old, committed, new)


def _chunks_of(chunk: ExtentChunk, above: list[Run], segments: Segments) -> list[ExtentChunk]:
    """`above` laid over one chunk, cut into chunks of a good size."""
    runs = coalesce(run for run in paint(chunk.runs, above) if run[2] != HOLE)
    known = {**chunk.segments, **segments}
    size = len(runs) if len(runs) <= 2 * CHUNK_RUNS else CHUNK_RUNS
    parts = [runs[i : i + size] for i in range(0, len(runs), max(size, 1))] or [[]]
    return [ExtentChunk(part, _of(part, known)) for part in parts]


def _of(runs: list[Run], segments: Segments) -> Segments:
    return {number: segments[number] for number in {run[2] for run in runs} if number != HOLE}


__all__ = [
    "PAGE", "Assembled", "ExtentChunk", "ExtentIndex", "Extents", "Interval", "Run", "new_segment_number", "resolve",
]  # fmt: skip

for _class in (ExtentChunk, ExtentIndex, Extents):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
