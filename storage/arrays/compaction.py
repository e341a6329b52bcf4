"""Scattered bytes put together: folding the log, sealing the tail, rewriting fragmented blocks.

Commits do it by themselves, a little at a time: one that finds the log of an array long folds it, and while it does
so, gathers tiny pages into one segment and rewrites the few blocks that have fallen into most runs. `defragment` does
it for a whole array.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ZODB.blob import Blob

from wendelin.storage.arrays import segments, tail
from wendelin.storage.arrays.extents import END, TAIL_BYTES, TAIL_PIECES, Extents
from wendelin.storage.arrays.forms import Form
from wendelin.storage.arrays.log import MOVE
from wendelin.storage.arrays.pages import PART, Pages
from wendelin.storage.arrays.patches import Patched
from wendelin.storage.arrays.reader import Reader
from wendelin.storage.arrays.runs import (
    HOLE,
    PAGE,
    Interval,
    Run,
    clip,
    coalesce,
    paint,
    subtract,
    touched_blocks,
    union,
)
from wendelin.storage.arrays.segments import HUGE, Draft, is_huge
from wendelin.storage.arrays.tail import Assembled

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray

#: Runs within one block from which on it is rewritten as a whole: reading needs a mapping a run.
RUNS_PER_BLOCK = 128

#: Blocks that one commit looks at, those that changed most.
LOOKED_AT = 16

#: Blocks that one commit rewrites at most, so that no single commit takes long.
BLOCKS_AT_ONCE = 4

#: Bytes that `defragment` moves in one transaction.
MOVED_AT_ONCE = 256 << 20

#: Share of a segment that must be in use, else `defragment` rewrites it.
LIVE = 0.85


class Copier:
    """Copies stored pages into one new segment. Nothing is written before the first copy.

    `held`: segments whose bytes are at hand, by their numbers.
    """

    def __init__(self, folder: str, form: Form, held: dict[int, Any] | None = None) -> None:
        self._folder = folder
        self._form = form
        self._held = held or {}
        self.draft: Draft | None = None
        self.made: list[Any] = []

    def range(self, lo: int, hi: int, runs: list[Run], sources: dict[int, Any]) -> list[Run]:
        """Copy pages [lo, hi) as `runs` have them, holes left out; the runs that have them now.

        A huge page is written by one call, to where it lies in the file as in memory (see `segments.HUGE`).
        """
        out: list[Run] = []
        with Reader(sources) as reader:
            for first, last in _blocks(lo, hi, HUGE):
                found = _neighbours(clip(runs, first, last))
                out += [self._copy(some, reader, huge=is_huge(lo, hi)) for some in found]
        return coalesce(out)

    def each(self, runs: list[Run], sources: dict[int, Any]) -> list[Run]:
        """Copy small runs that lie apart from each other, by one call; the runs that have them now."""
        if not runs:
            return []
        held = {run[2]: some for run in runs if isinstance(some := self._held.get(run[2]), Pages)}
        with Reader({**sources, **held}) as reader:
            data = b"".join(reader.read(number, offset * PAGE, length * PAGE) for _, length, number, offset in runs)
        if self.draft is None:
            self.draft = Draft(self._folder, apart=self._form.near)
        at = self.draft.add_bytes(data)
        there = segments.placed([(start, start + length) for start, length, _, _ in runs], self.draft.number)
        return [(start, length, number, at + offset) for start, length, number, offset in there]

    def _copy(self, runs: list[Run], reader: Reader, *, huge: bool) -> Run:
        """Copy neighbouring runs, a huge page at most; `huge`: they belong to at least one."""
        if self.draft is None:
            self.draft = Draft(self._folder, apart=self._form.near)
        start, data = runs[0][0], b"".join(reader.read(run[2], run[3] * PAGE, run[1] * PAGE) for run in runs)
        at = self.draft.add_bytes(data, self.draft.next_like(start) if huge and self.draft.apart else None)
        return start, len(data) // PAGE, self.draft.number, at

    def segments(self) -> dict[int, Any]:
        """The new segment by its number."""
        if self.draft is None:
            return {}
        self.made = [self.draft.store(self._form)]
        return {self.draft.number: self.made[0]}


def _neighbours(runs: list[Run]) -> Iterator[list[Run]]:
    """Runs with no page between them, together; holes left out."""
    some: list[Run] = []
    for run in runs:
        if some and (run[2] == HOLE or some[-1][0] + some[-1][1] < run[0]):
            yield some
            some = []
        if run[2] != HOLE:
            some.append(run)
    if some:
        yield some


def tend(extents: Extents, copier: Copier, *, seal: bool = True) -> None:
    """What a commit does for an array before it adds its own changes: seal a long tail, fold a long log.

    Other transactions may do the same meanwhile: then one of the results is dropped, never data. `seal`: False when
    the commit itself gives the tail its place.
    """
    size = tail.length(extents.tail)
    sealing: list[Run] = []
    sources: dict[int, Any] = {}
    if seal and must_seal(extents):
        sealing, sources = sealed_runs(extents, copier)
    if extents.must_fold:
        above = _folded(extents, copier)
        known = copier.segments()
        extents.fold(above, known)
    elif extents.must_set_aside:
        extents.set_aside()
        known = copier.segments()
    else:
        known = copier.segments()
    if sealing:
        extents.seal(sealing, {**sources, **known}, size)


def must_seal(extents: Extents) -> bool:
    """Whether the tail has become long."""
    return len(extents.tail) >= TAIL_PIECES or tail.length(extents.tail) >= TAIL_BYTES


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
        lies_well = len(some) <= 2 and not any(isinstance(sources[run[2]], Pages | Patched | Assembled) for run in some)
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
        runs, named = extents.lookup(block * step, (block + 1) * step)
        out += copier.range(block * step, (block + 1) * step, runs, named)
    tiny = [run for run in extents.log if isinstance(extents.named(run[2], {run[2]: None}), Pages | bytes)]
    apart = union((start, start + length) for start, length, _, _ in tiny if start // step not in fragmented)
    out += copier.each(*extents.lookup_all(apart))
    return paint([], sorted(out))


def _most_fragmented(extents: Extents) -> set[int]:
    """Of the blocks that the log changed most, those that have fallen into most runs."""
    step = extents.pages_per_block
    changed = Counter(run[0] // step for run in extents.log if run[2] != HOLE)
    counted = [
        (len(extents.lookup(block * step, (block + 1) * step)[0]), block)
        for block, count in changed.most_common(LOOKED_AT)
        if 2 * count + extents.runs_beneath(block * step, (block + 1) * step) > RUNS_PER_BLOCK
    ]
    worst = sorted((item for item in counted if item[0] > RUNS_PER_BLOCK), reverse=True)[:BLOCKS_AT_ONCE]
    return {block for _, block in worst}


def fragments(array: ZBigArray) -> int:
    """How many separate runs an array's stored bytes lie in; 1 for one that was written at once."""
    return len(array.extents.layout(0, END)[0])


def defragment(array: ZBigArray, progress: Callable[[int], object] | None = None) -> int:
    """Rewrite the fragmented parts of an array as whole, neighbouring huge pages; returns the bytes moved.

    Changes the stored layout, not the contents, in transactions of their own of the connection's transaction manager,
    `MOVED_AT_ONCE` bytes each: call it outside of other work; a conflict with a writer is tried again. The old
    copies are history and go when the database is packed. `progress` is called with the bytes looked at since the
    last call. Takes a few MiB of memory, and what the extent map of `MOVED_AT_ONCE` bytes takes.
    """
    jar = array._p_jar
    manager = jar.transaction_manager
    manager.begin()
    moved = 0
    while array.extents.tail:
        for attempt in manager.attempts(10):
            with attempt:
                moved += _seal(array)
        manager.begin()
    wasted = _wasted(array)
    for lo, hi in _windows(array):
        some = 0
        for attempt in manager.attempts(10):
            with attempt:
                some = _rewritten(array, lo, hi, wasted)
        moved += some
        manager.begin()
        if progress is not None:
            progress((hi - lo) * PAGE)
    for attempt in manager.attempts(10):
        with attempt:
            _fold(array)
    manager.begin()
    return moved


def _windows(array: ZBigArray) -> Iterator[Interval]:
    """An array's pages, as many at a time as are moved at once."""
    return _blocks(0, -(-array.nbytes // PAGE), max(MOVED_AT_ONCE // PAGE // HUGE, 1) * HUGE)


def _fold(array: ZBigArray) -> None:
    """Fold the log, however short: the base beneath still names what the log hides."""
    extents, owner = array.extents, array._p_jar.arrays
    extents._p_activate()
    if (extents.entries or extents.older is not None) and extents.index is not None:
        copier = Copier(owner.drafts, owner.form)
        extents.fold(_folded(extents, copier), copier.segments())


def _seal(array: ZBigArray) -> int:
    """Give appended bytes their place; how many they are."""
    extents, owner = array.extents, array._p_jar.arrays
    extents._p_activate()
    copier = Copier(owner.drafts, owner.form)
    size = tail.length(extents.tail)
    if size:
        sealing, stay = sealed_runs(extents, copier)
        extents.seal(sealing, {**stay, **copier.segments()}, size)
    return size


def _rewritten(array: ZBigArray, lo: int, hi: int, wasted: set[int] | None = None) -> int:
    """Rewrite what lies badly of pages [lo, hi); how many bytes that is."""
    extents, owner = array.extents, array._p_jar.arrays
    extents._p_activate()
    copier = Copier(owner.drafts, owner.form)
    runs, sources = extents.lookup(lo, hi)
    above: list[Run] = []
    for a, b in _untidy(array, lo, hi, runs, sources, wasted or set()):
        above += copier.range(a, b, runs, sources)
    if above:
        extents.write(above, copier.segments(), MOVE)
    return sum(run[1] for run in above) * PAGE


def _wasted(array: ZBigArray) -> set[int]:
    """Segments of which little is shown, or would be once what lies badly is rewritten: so they are rewritten too.

    As long as anything names a segment, packing cannot free it.
    """
    sizes: dict[int, int] = {}
    wasted: set[int] = set()
    while True:
        live: Counter[int] = Counter()
        for lo, hi in _windows(array):
            runs, sources = array.extents.lookup(lo, hi)
            for _, length, number, _ in subtract(runs, _untidy(array, lo, hi, runs, sources, wasted)):
                live[number] += length
                if number not in sizes:
                    sizes[number] = segments.size(sources[number])
            array._p_jar.cacheGC()
        more = {number for number, pages in live.items() if pages * PAGE < LIVE * sizes[number]}
        if not more:
            return wasted
        wasted |= more


def _untidy(
    array: ZBigArray, lo: int, hi: int, runs: list[Run], sources: dict[int, Any], wasted: set[int]
) -> list[Interval]:
    """Huge pages of [lo, hi) that lie badly, neighbours joined; all that are stored when it is most of them."""
    stored: list[Interval] = []
    bad: list[Interval] = []
    form = array._p_jar.arrays.form
    for first, last in touched_blocks(runs, HUGE):
        for huge in range(first, last):
            some = clip(runs, huge * HUGE, (huge + 1) * HUGE)
            stored.append((huge * HUGE, (huge + 1) * HUGE))
            tiny = array.nbytes > segments.INLINE and any(isinstance(sources[run[2]], Pages | Patched) for run in some)
            whole = form.wire and any(isinstance(sources[n], Blob) and (o + k) * PAGE > PART for _, k, n, o in some)
            if tiny or whole or any(run[2] in wasted for run in some) or not _lies_well(some, near=form.near):
                bad.append(stored[-1])
    return union(stored if 2 * len(bad) > len(stored) else bad)


def _lies_well(runs: list[Run], *, near: bool) -> bool:
    """Whether what is stored of a huge page lies in one segment, in order.

    Near, with the same holes between, so that one mapping shows it, and where the kernel can take it for a huge page.
    """
    if len({run[2] for run in runs}) > 1:
        return False
    if not near:
        return all(a[3] + a[1] == b[3] for a, b in itertools.pairwise(runs))
    shifts = {run[3] - run[0] for run in runs}
    full = sum(run[1] for run in runs) == HUGE
    return len(shifts) == 1 and not (full and min(shifts) % HUGE)
