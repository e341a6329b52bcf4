"""What a commit does for one array: written pages become a segment, noted in the extent map.

* Pages that were there before and changed are *written*: a `WRITE` entry of the log.
* Bytes behind the old end are *appended*: they get their place when the commit is merged with others'.
* After a change of the shape, and for a new array, all that was written gets its place at once.
* A page in the array's tail has no place yet; writing to it in place gives the whole tail its place.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from wendelin.storage.arrays import tail
from wendelin.storage.arrays.compaction import Copier, must_seal, tend
from wendelin.storage.arrays.extents import Extents, new_segment_number
from wendelin.storage.arrays.forms import Form
from wendelin.storage.arrays.log import WRITE
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.arrays.pages import Chunks, Pages
from wendelin.storage.arrays.runs import PAGE, Interval, Run, clip, union
from wendelin.storage.arrays.segments import INLINE, placed

#: Pages of one transaction that are stored as patches at most.
PATCHED = 4

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray


def store(array: ZBigArray, memory: ArrayMemory, folder: str, form: Form) -> list[Chunks]:
    """Store what was written to `array` since the transaction began; returns segments made of database objects."""
    extents, nbytes = array.extents, array.nbytes
    if _quickly(extents, memory, nbytes):
        return []
    changed = memory.trim(memory.changed(), nbytes)
    if extents.reshaped:
        return _store_reshaped(extents, memory, changed, nbytes, form)
    before = nbytes if extents.stored is None else extents.stored
    if not changed and nbytes == before:
        return []
    if nbytes > before:
        memory.ensure(before // PAGE * PAGE, nbytes, extents)
    in_place = _in_place(memory, changed, before, nbytes)
    zone = _zone(extents, in_place, before)
    # Never more of the end than was written: what others append lies there too, or will.
    whole = (extents.sealed if extents.tail and extents.sealed is not None and not zone else before) // PAGE
    written = _widened(in_place, extents.pages_per_block, whole)
    pages = union([*written, *zone])
    if pages:
        memory.ensure(pages[0][0] * PAGE, pages[-1][1] * PAGE, extents)
    copier = Copier(folder, form, memory.sources)
    tend(extents, copier, seal=not zone)  # from here on `extents` names what nobody can map yet
    if nbytes == before and not zone and memory.draft is None and _patched(extents, memory, pages):
        return [segment for segment in copier.made if isinstance(segment, Chunks)]
    runs, pieces, segments = _written(memory, pages, before, nbytes, form)
    if zone:
        extents.seal(clip(runs, *zone[0]), segments, tail.length(extents.tail))
    if in_place:
        extents.write([run for lo, hi in written for run in clip(runs, lo, hi)], segments, WRITE)
    if pieces:
        extents.append(pieces, segments)
    return [segment for segment in (*copier.made, *segments.values()) if isinstance(segment, Chunks)]


def _quickly(extents: Extents, memory: ArrayMemory, nbytes: int) -> bool:
    """Store what a few assignments changed well within an array, where there is nothing else to do; else False."""
    if memory.draft is not None or not memory.written.is_known or extents.reshaped or extents.stored != nbytes:
        return False
    pages = memory.written.pages()
    end = extents.sealed if extents.tail and extents.sealed is not None else nbytes
    if not pages or pages[-1][1] > end // PAGE or extents.must_fold or must_seal(extents):
        return False
    return _patched(extents, memory, pages, aside=extents.must_set_aside)


def _store_reshaped(
    extents: Extents, memory: ArrayMemory, changed: list[Interval], nbytes: int, form: Form
) -> list[Chunks]:
    """All that was written, and what has no fixed place yet, gets its place."""
    end = -(-nbytes // PAGE)
    zone = [(extents.sealed // PAGE, end)] if extents.tail and extents.sealed is not None else []
    zone = [(lo, hi) for lo, hi in zone if lo < hi]
    pages = union([*_widened(changed, extents.pages_per_block, end), *zone]) if changed or zone else []
    if pages:
        memory.ensure(pages[0][0] * PAGE, pages[-1][1] * PAGE, extents)
    runs, _, segments = _written(memory, pages, nbytes, nbytes, form)
    if runs:
        extents.write(runs, segments)
    extents.settle(nbytes)
    return [segment for segment in segments.values() if isinstance(segment, Chunks)]


def _in_place(memory: ArrayMemory, changed: list[Interval], before: int, nbytes: int) -> list[Interval]:
    """Pages that changed and were there before. Of the page in which the old end lies only the old bytes count."""
    last = -(-before // PAGE)
    pages = [(lo, min(hi, last)) for lo, hi in changed if lo < last]
    if nbytes > before and before % PAGE and pages and pages[-1][1] == last:
        start = (last - 1) * PAGE
        if memory.peek(start, before) == memory.beneath(last - 1)[: before - start]:
            pages[-1] = (pages[-1][0], last - 1)
    return [(lo, hi) for lo, hi in pages if lo < hi]


def _zone(extents: Extents, in_place: list[Interval], before: int) -> list[Interval]:
    """The pages of the tail, when one of them was written to."""
    if not extents.tail or extents.sealed is None or not in_place:
        return []
    first = extents.sealed // PAGE
    return [(first, -(-before // PAGE))] if in_place[-1][1] > first else []


def _written(
    memory: ArrayMemory, pages: list[Interval], before: int, nbytes: int, form: Form
) -> tuple[list[Run], list[tail.Piece], dict[int, Any]]:
    """Store `pages` and the bytes from `before` to `nbytes`: runs of the pages, pieces of the bytes, the segments."""
    size = sum(hi - lo for lo, hi in pages) * PAGE + nbytes - before
    if memory.draft is None and size <= INLINE:
        return _inline(memory, pages, before, nbytes)
    appended = [(before // PAGE, -(-nbytes // PAGE))] if nbytes > before else []
    runs = memory.stored(union([*pages, *appended]))
    assert memory.draft is not None
    segments = {memory.draft.number: memory.draft.store(form)}
    pieces: list[tail.Piece] = []
    position = before
    for start, length, number, offset in (run for lo, hi in appended for run in clip(runs, lo, hi)):
        stop = min((start + length) * PAGE, nbytes)
        pieces.append((number, offset * PAGE + position - start * PAGE, stop - position))
        position = stop
    return [run for lo, hi in pages for run in clip(runs, lo, hi)], tail.joined(pieces), segments


def _patched(extents: Extents, memory: ArrayMemory, pages: list[Interval], *, aside: bool = False) -> bool:
    """Store a few changed bytes of a few pages as patches; False when there is more. `aside`: earlier ones go there."""
    if sum(hi - lo for lo, hi in pages) > PATCHED:
        return False
    contents: dict[Run, bytes] = {}
    patches: dict[int, Any] = {}
    for page in (page for lo, hi in pages for page in range(lo, hi)):
        current, number = memory.peek(page * PAGE, (page + 1) * PAGE), new_segment_number()
        patch = memory.written.patch(page, current, partial(memory.beneath, page))
        if patch is None:
            return False
        contents[page, 1, number, 0], patches[number] = current, patch
    alone = memory.serial is not None and not extents._p_changed
    if contents:
        if aside:
            extents.set_aside()
        extents.write(list(contents), patches)
        memory.written.kept.leave_patched(contents)
        if alone:
            memory.written.kept.expect(extents, contents)
    return bool(contents)


def _inline(
    memory: ArrayMemory, pages: list[Interval], before: int, nbytes: int
) -> tuple[list[Run], list[tail.Piece], dict[int, Any]]:
    number = new_segment_number()
    written = b"".join(memory.peek(lo * PAGE, hi * PAGE) for lo, hi in pages)
    data = written + memory.peek(before, nbytes)
    if nbytes == before:
        memory.written.kept.leave(pages, number, data)
    else:
        memory.written.kept.leave(union([*pages, (before // PAGE, -(-nbytes // PAGE))]))
    pieces = [(number, len(written), nbytes - before)] if nbytes > before else []
    return placed(pages, number), pieces, {number: Pages(data)} if data else {}


def _widened(pages: list[Interval], step: int, end: int) -> list[Interval]:
    """Whole blocks where most of a block changed anyway."""
    widened: list[Interval] = []
    partial: dict[int, list[Interval]] = {}
    for lo, hi in pages:
        first, last = -(-lo // step), hi // step
        if first >= last:
            edges = [(lo, hi)] if lo // step == (hi - 1) // step else [(lo, first * step), (first * step, hi)]
        else:
            widened.append((first * step, last * step))
            edges = [(lo, first * step), (last * step, hi)]
        for a, b in edges:
            if a < b:
                partial.setdefault(a // step, []).append((a, b))
    for block, intervals in partial.items():
        lo, hi = block * step, min((block + 1) * step, end)
        if 2 * sum(b - a for a, b in intervals) >= hi - lo:
            intervals = [*intervals, (lo, hi)]
        widened += intervals
    return union(widened)
