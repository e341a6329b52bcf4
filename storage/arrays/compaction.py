"""Scattered bytes put together: folding the log, sealing the tail, rewriting fragmented blocks.

Commits do it by themselves, a little at a time: every 64th change of an array folds its log, and while it does so,
gathers tiny pages into one segment and rewrites the few blocks that have fallen into most runs. `defragment` does it
for a whole array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from wendelin.storage.arrays import segments, tail
from wendelin.storage.arrays.extents import END, LOG_ENTRIES, TAIL_BYTES, TAIL_PIECES, Extents
from wendelin.storage.arrays.log import MOVE
from wendelin.storage.arrays.pages import Pages
from wendelin.storage.arrays.runs import HOLE, PAGE, Interval, Run, clip, paint, subtract, union
from wendelin.storage.arrays.segments import Draft
from wendelin.storage.arrays.tail import Assembled

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray

#: Runs within one block from which on it is rewritten as a whole: reading needs a mapping a run.
RUNS_PER_BLOCK = 32

#: Blocks that one commit rewrites at most, so that no single commit takes long.
BLOCKS_AT_ONCE = 4

#: Bytes that `defragment` moves in one transaction.
MOVED_AT_ONCE = 256 << 20

#: Share of a segment that must be in use, else `defragment` rewrites it.
LIVE = 0.85

#: Bytes copied at once.
_STEP = 8 << 20


class Copier:
    """Copies stored pages into one new segment. Nothing is written before the first copy."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.draft: Draft | None = None
        self.made: list[Any] = []

    def copy(self, start: int, length: int, source: Any, offset: int, sources: dict[int, Any]) -> Run:
        """Copy `length` pages from page `offset` of a segment; the run that has them as pages from `start` on."""
        if self.draft is None:
            self.draft = Draft(self._folder)
        at = self.draft.pages
        for page in range(0, length, _STEP // PAGE):
            some = min(_STEP // PAGE, length - page)
            self.draft.add_bytes(segments.read(source, (offset + page) * PAGE, some * PAGE, sources))
        return start, length, self.draft.number, at

    def range(self, lo: int, hi: int, runs: list[Run], sources: dict[int, Any]) -> list[Run]:
        """Copy pages [lo, hi) as `runs` have them, one behind the other, holes left out."""
        return [
            self.copy(start, length, sources[number], offset, sources)
            for start, length, number, offset in clip(runs, lo, hi)
            if number != HOLE
        ]

    def segments(self, *, as_blob: bool) -> dict[int, Any]:
        """The new segment by its number."""
        if self.draft is None:
            return {}
        self.made = [self.draft.store(as_blob=as_blob)]
        return {self.draft.number: self.made[0]}


def tend(extents: Extents, copier: Copier, *, as_blob: bool, seal: bool = True) -> None:
    """What a commit does for an array before it adds its own changes: seal a long tail, fold a long log.

    Other transactions may do the same meanwhile: then one of the results is dropped, never data. `seal`: False when
    the commit itself gives the tail its place.
    """
    size = tail.length(extents.tail)
    sealing: list[Run] = []
    sources: dict[int, Any] = {}
    if seal and (len(extents.tail) >= TAIL_PIECES or size >= TAIL_BYTES):
        sealing, sources = sealed_runs(extents, copier)
    if extents.must_fold:
        above = _folded(extents, copier)
        known = copier.segments(as_blob=as_blob)
        extents.fold(above, known)
    else:
        known = copier.segments(as_blob=as_blob)
    if sealing:
        extents.seal(sealing, {**sources, **known}, size)


def sealed_runs(extents: Extents, copier: Copier) -> tuple[list[Run], dict[int, Any]]:
    """Runs for all bytes of the tail and the page it begins in: what can stay stays, what must be joined is copied.

    With the segments of what stays.
    """
    assert extents.sealed is not None
    lo, hi = extents.sealed // PAGE, -(-(extents.sealed + tail.length(extents.tail)) // PAGE)
    runs, sources = extents.layout(lo, hi)
    out: list[Run] = []
    for first, last in _blocks(lo, hi, extents.pages_per_block):
        some = clip(runs, first, last)
        lies_well = len(some) <= 2 and not any(isinstance(sources[run[2]], Pages | Assembled) for run in some)
        out += some if lies_well else copier.range(first, last, some, sources)
    return out, sources


def _blocks(lo: int, hi: int, step: int) -> Iterator[Interval]:
    while lo < hi:
        last = min((lo // step + 1) * step, hi)
        yield lo, last
        lo = last


def _folded(extents: Extents, copier: Copier) -> list[Run]:
    """Copies of tiny pages of the log, and of the blocks that are in most runs."""
    fragmented = _most_fragmented(extents)
    step = extents.pages_per_block
    out: list[Run] = []
    for block in sorted(fragmented):
        runs, sources = extents.lookup(block * step, (block + 1) * step)
        out += copier.range(block * step, (block + 1) * step, runs, sources)
    tiny = [run for run in extents.log if isinstance(extents.segments.get(run[2]), Pages)]
    for start, length, number, offset in tiny:
        if start // step not in fragmented:
            out.append(copier.copy(start, length, extents.segments[number], offset, extents.segments))
    return paint([], sorted(out))


def _most_fragmented(extents: Extents) -> set[int]:
    """Of the blocks that the log changed most, those that have fallen into most runs."""
    step = extents.pages_per_block
    changed = Counter(run[0] // step for run in extents.log if run[2] != HOLE)
    counted = [
        (len(extents.lookup(block * step, (block + 1) * step)[0]), block)
        for block, _ in changed.most_common(LOG_ENTRIES)
    ]
    worst = sorted((item for item in counted if item[0] > RUNS_PER_BLOCK), reverse=True)[:BLOCKS_AT_ONCE]
    return {block for _, block in worst}


def fragments(array: ZBigArray) -> int:
    """How many separate runs an array's stored bytes lie in; 1 for one that was written at once."""
    return len(array.extents.layout(0, END)[0])


def defragment(array: ZBigArray, progress: Callable[[int], object] | None = None) -> int:
    """Rewrite the fragmented parts of an array as whole, neighbouring blocks; returns the bytes moved.

    Changes the stored layout, not the contents, in transactions of their own of the connection's transaction manager,
    `MOVED_AT_ONCE` bytes each: call it outside of other work; a conflict with a writer is tried again. The old
    copies are history and go when the database is packed. `progress` is called with the bytes looked at since the
    last call.
    """
    jar = array._p_jar
    manager = jar.transaction_manager
    manager.begin()
    moved, page, step = 0, 0, array.pages_per_block
    wasted = _wasteful(array.extents, array.nbytes)
    at_once = max(MOVED_AT_ONCE // PAGE // step, 1) * step
    while array.extents.tail or page * PAGE < array.nbytes:
        last = min(page + at_once, -(-array.nbytes // PAGE))
        sealing, some = bool(array.extents.tail), 0
        for attempt in manager.attempts(10):
            with attempt:
                some = _rewritten(array, page, last, wasted)
        moved += some
        manager.begin()
        if sealing:
            continue
        if progress is not None:
            progress((last - page) * PAGE)
        page = last
    for attempt in manager.attempts(10):
        with attempt:
            _fold(array)
    manager.begin()
    return moved


def _fold(array: ZBigArray) -> None:
    """Fold the log, however short: the base beneath still names what the log hides."""
    extents, owner = array.extents, array._p_jar.arrays
    extents._p_activate()
    if extents.entries and extents.base is not None:
        copier = Copier(owner.drafts)
        extents.fold(_folded(extents, copier), copier.segments(as_blob=owner.as_blobs))


def _rewritten(array: ZBigArray, lo: int, hi: int, wasted: set[int] | None = None) -> int:
    extents, owner = array.extents, array._p_jar.arrays
    extents._p_activate()
    copier = Copier(owner.drafts)
    if extents.tail:
        size = tail.length(extents.tail)
        sealing, stay = sealed_runs(extents, copier)
        extents.seal(sealing, {**stay, **copier.segments(as_blob=owner.as_blobs)}, size)
        return size
    runs, sources = extents.lookup(lo, hi)
    above: list[Run] = []
    for a, b in _scattered(runs, sources, extents.pages_per_block, wasted or set(), array.nbytes):
        above += copier.range(a, b, runs, sources)
    if above:
        extents.write(above, copier.segments(as_blob=owner.as_blobs), MOVE)
    return sum(run[1] for run in above) * PAGE


def _wasteful(extents: Extents, nbytes: int) -> set[int]:
    """Segments of which little is shown, or would be once scattered blocks are rewritten.

    As long as anything names a segment, packing cannot free it.
    """
    runs, sources = extents.lookup(0, END)
    staying = subtract(runs, _scattered(runs, sources, extents.pages_per_block, set(), nbytes))
    live: Counter[int] = Counter()
    for _, length, number, _ in staying:
        live[number] += length
    return {number for number, pages in live.items() if pages * PAGE < LIVE * segments.size(sources[number])}


def _scattered(runs: list[Run], sources: dict[int, Any], step: int, wasted: set[int], nbytes: int) -> list[Interval]:
    """Blocks that are not in one run of a large segment that is well used, neighbours joined."""
    bad: list[Interval] = []
    seen = -1
    for start, length, number, _ in runs:
        first, last = start // step, (start + length - 1) // step
        if first == seen:
            bad.append((first * step, (first + 1) * step))
        if number in wasted or (isinstance(sources[number], Pages) and nbytes > segments.INLINE):
            bad.append((first * step, (last + 1) * step))
        seen = last
    return union(bad)
