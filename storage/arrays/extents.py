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

import operator
import os
from collections.abc import Sequence
from typing import Any

from persistent import Persistent

from wendelin.storage.arrays import tail
from wendelin.storage.arrays.index import ExtentChunk, ExtentIndex
from wendelin.storage.arrays.log import (
    SEAL,
    WRITE,
    Entry,
    Packer,
    State,
    Summary,
    longer_summary,
    packed_summary,
    upgraded,
)
from wendelin.storage.arrays.merge import named, over, painted, resolve, summary
from wendelin.storage.arrays.older import ExtentPatches
from wendelin.storage.arrays.pages import Pages
from wendelin.storage.arrays.patches import Layers, Patched
from wendelin.storage.arrays.runs import (
    END,
    HOLE,
    PAGE,
    Interval,
    Run,
    clip,
    hidden,
    paint,
    subtract,
    touched_blocks,
    union,
)
from wendelin.storage.arrays.tail import Assembled, Piece

#: Entries of the log from which on a commit folds them: the record is rewritten at each commit.
LOG_ENTRIES = 64

#: Patches, one to an entry, from which on they leave the record for an object of their own; and those that this may
#: hold before they are folded.
RECENT, LOG_PATCHES = 16, 256

#: Runs in the log from which on it is folded although it has few entries.
LOG_RUNS = 1024

#: Pieces, and bytes, of the tail from which on an append seals it.
TAIL_PIECES, TAIL_BYTES = 64, 64 << 20

#: Of an entry its runs.
_RUNS = operator.itemgetter(3)

Segments = dict[int, Any]
Mark = tuple[bytes | None, int, int, int | None, list[Piece]]


def new_segment_number() -> int:
    """A number that no other segment of the database has (63 random bits, never 0)."""
    return (int.from_bytes(os.urandom(8), "big") >> 1) or new_segment_number()


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
        self.base: ExtentIndex | ExtentPatches | None = None
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
        return self.sealed + tail.length(self.tail) if self.tail and self.sealed is not None else self.sealed

    def lookup(self, lo: int, hi: int) -> tuple[list[Run], Segments]:
        """Runs that store pages of [lo, hi), without holes and without the tail, and the segments they name."""
        return self.lookup_all([(lo, hi)])

    def lookup_all(self, pages: Sequence[Interval]) -> tuple[list[Run], Segments]:
        """As `lookup`, for some sorted, disjoint intervals."""
        below: list[Run] = []
        above: list[Run] = []
        beneath: Segments = {}
        for lo, hi in pages:
            for chunk in () if self.index is None else self.index.chunks_within(lo, hi):
                some = clip(chunk.runs, lo, hi)
                below += some
                beneath.update((run[2], chunk.segments[run[2]]) for run in some)
            above += clip(self.log, lo, hi)
        runs = [run for run in paint(below, above) if run[2] != HOLE]
        segments = {number: self.named(number, beneath) for _, _, number, _ in runs}
        patched = [run for run in runs if isinstance(segments[run[2]], bytes)]
        if patched:
            known = {**self.segments, **beneath}
            segments.update({run[2]: Patched(run[0], self._layers, below, known) for run in patched})
        return runs, segments

    def named(self, number: int, beneath: Segments) -> Any:
        """The segment that the log, or what lies `beneath` it, names by a number."""
        if number in self.segments:
            return self.segments[number]
        older = self.older
        return older.patches[number] if older is not None and number in older.patches else beneath[number]

    def runs_beneath(self, lo: int, hi: int) -> int:
        """How many runs of the base reach into pages [lo, hi)."""
        return 0 if self.index is None else sum(len(clip(c.runs, lo, hi)) for c in self.index.chunks_within(lo, hi))

    @property
    def _layers(self) -> Layers:
        found = self.__dict__.get("_v_layers")
        if found is None or found[0] is not self.entries:
            older = None if self.older is None else self.older.layers
            found = self._v_layers = (self.entries, Layers(self.entries, self.segments, older))
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
        entries = self.entries or self._all_entries
        last = entries[-1][:2] if entries else (self.number, 0)
        return None if self.index is None else self.index._p_oid, *last, self.sealed, self.tail

    def touched_since(self, mark: Mark | None) -> list[Interval] | None:
        """Pages that may lie elsewhere than they did at `mark`; None when that is not known."""
        if mark is None:
            return None
        moved: list[Interval] = []
        entries = self.entries if self.entries and self.entries[0][0] <= mark[1] else self._all_entries
        if mark[0] != (None if self.index is None else self.index._p_oid):
            before, index, moved = self.__dict__.get("_v_fold", (None, None, []))
            if index is not self.index or before != mark[0] or not entries or entries[0][0] != mark[1] + 1:
                return None
            mark = (mark[0], mark[1], 0, *mark[3:])  # this object folded it, and nobody came between
        _, number, token, sealed, pieces = mark
        known = [entry for entry in entries if entry[0] <= number]
        last = known[-1][:2] if known else (entries[0][0] - 1 if entries else self.number, 0)
        if last != (number, token):
            return None  # another history: something was undone or folded
        pages = moved + [(run[0], run[0] + run[1]) for entry in entries[len(known) :] for run in entry[3]]
        if (self.sealed, self.tail) != (sealed, pieces):
            same = self.sealed == sealed and sealed is not None and self.tail[: len(pieces)] == pieces
            first = sealed + tail.length(pieces) if same and sealed is not None else min(sealed or 0, self.sealed or 0)
            pages.append((first // PAGE, END))
        return union(pages)

    @property
    def _all_entries(self) -> list[Entry]:
        return self.entries if self.older is None else [*self.older.entries, *self.entries]

    @property
    def older(self) -> ExtentPatches | None:
        """The part of the log that has left the record."""
        return self.base if isinstance(self.base, ExtentPatches) else None

    @property
    def index(self) -> ExtentIndex | None:
        """What lies beneath the log."""
        return self.base.base if isinstance(self.base, ExtentPatches) else self.base

    @property
    def log(self) -> list[Run]:
        """What the log says, holes included."""
        found = self.__dict__.get("_v_painted")
        if found is None:
            recent = painted(self.entries)
            found = self._v_painted = recent if self.older is None else paint(self.older.log, recent)
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
        count, older = len(self.entries), self.older
        many = count >= LOG_ENTRIES or sum(map(len, map(_RUNS, self.entries))) >= LOG_RUNS
        if older is not None and count >= RECENT:
            many = many or len(older.entries) + count > LOG_PATCHES
        return many and not self._has_own

    @property
    def must_set_aside(self) -> bool:
        """Whether the patches, which all else lies beneath, make the record longer than it should be."""
        if len(self.entries) < RECENT or self._has_own:
            return False
        lead = self._lead
        return lead is not None and len(self.entries) - lead >= RECENT and not (lead and self.older)

    @property
    def _has_own(self) -> bool:
        return bool(self._p_changed) and self.__dict__.get("_v_own") == self._p_serial

    @property
    def _lead(self) -> int | None:
        """How many entries lie before the patches; None when others lie among them, or should be gathered."""
        kinds = [{type(self.segments.get(run[2])) for run in entry[3]} for entry in self.entries]
        lead = next((i for i, kind in enumerate(kinds) if bytes in kind), len(kinds))
        fits = all(kind == {bytes} for kind in kinds[lead:]) and not any(Pages in kind for kind in kinds[:lead])
        return lead if fits else None

    def set_aside(self) -> None:
        """Move patches out of the record, and what lies before them into the base. No page moves."""
        lead, size, index = self._lead or 0, self.pages_per_block, self.index
        first, patches = self.entries[:lead], self.entries[lead:]
        if first:
            index = (index or ExtentIndex([0], [ExtentChunk([], {})])).painted(painted(first), self.segments)
            self.passed = packed_summary(summary(self.passed, first, size))
        own = {number: some for number, some in self.segments.items() if isinstance(some, bytes)}
        self.base = (self.older or ExtentPatches([], {}, index)).followed_by(patches, own)
        more = [(number, touched_blocks(runs, size), list[Interval]()) for number, _, _, runs in patches]
        self.passed = longer_summary(self.passed, more)
        self.entries = []
        self._name({})

    def fold(self, above: list[Run] | None = None, segments: Segments | None = None) -> None:
        """Move the log into the base; `above`: runs of new `segments` with the same bytes, laid over it."""
        runs, known = self.log, {**self.segments, **(segments or {})}
        rest = subtract(runs, [(run[0], run[0] + run[1]) for run in above or []])
        patches = () if self.older is None else self.older.patches
        held = (run[2] for run in rest if run[2] in patches or isinstance(known.get(run[2]), bytes))
        assert not any(held), "patches stay in the log"
        before = None if self.index is None else self.index._p_oid
        index = self.index or ExtentIndex([0], [ExtentChunk([], {})])
        self.base = index.painted(paint(runs, above or []), known)
        self._v_fold = (before, self.base, union((run[0], run[0] + run[1]) for run in above or []))
        self.passed = packed_summary(summary(self.passed, self.entries, self.pages_per_block))
        self.entries = []
        self._name({})

    def _name(self, segments: Segments) -> None:
        self._v_painted = self._v_laid = None
        self.segments = named(self.entries, self.tail, {**self.segments, **segments})

    def _p_resolveConflict(self, old: State, committed: State, new: State) -> State:
        return resolve(old, committed, new)


__all__ = [
    "END", "PAGE", "Assembled", "Extents", "Interval", "Run", "new_segment_number", "resolve",
]  # fmt: skip

Extents.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
