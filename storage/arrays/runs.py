"""Arithmetic on runs of pages. A run is `(start, length, segment, offset)`, in pages.

It says that `length` pages of an array, from page `start`, lie in a segment from page `offset` of that segment.
Segment 0 is the *hole*: those pages read as zeros. A list of runs is sorted by start and never overlaps itself;
pages it does not name are *unknown* to it (a hole, or whatever lies beneath in another list).

Everything here is plain tuples and lists, without NumPy and without persistence, because a ZEO server resolves
conflicts with these functions and should need nothing else.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence

Run = tuple[int, int, int, int]
Interval = tuple[int, int]

#: Bytes of one page, the unit of every run. Part of the stored format.
PAGE = 4096

HOLE = 0

#: A page behind the end of every array.
END = 1 << 50

#: Instead of a segment: pages that later runs hide. They count as touched, and need no segment any more.
HIDDEN = -1

#: Intervals up to which it is quicker to look them up one by one.
_FEW = 32

#: Above every page.
_LAST = 1 << 62

#: What no run names; a mask for `subtract`.
_MASK = -(1 << 64)


def clip(runs: Sequence[Run], lo: int, hi: int) -> list[Run]:
    """The parts of `runs` within pages [lo, hi). Looks at these only, however many there are."""
    out: list[Run] = []
    for position in range(max(bisect.bisect_right(runs, (lo, _LAST)) - 1, 0), len(runs)):
        start, length, segment, offset = runs[position]
        if start >= hi:
            break
        first, last = max(start, lo), min(start + length, hi)
        if first < last:
            out.append((first, last - first, segment, _shifted(segment, offset, first - start)))
    return out


def replaced(runs: list[Run], lo: int, hi: int, new: Sequence[Run]) -> list[Run]:
    """`runs` with pages [lo, hi) as `new` has them, which names no others. However many `runs`, few are looked at."""
    first = max(bisect.bisect_right(runs, (lo, _LAST)) - 1, 0)
    last = bisect.bisect_left(runs, (hi,))
    near = runs[max(first - 1, 0) : last + 1]
    edge = (max(first - 1, 0), last + 1)
    middle = coalesce([*clip(near, 0, lo), *new, *clip(near, hi, _LAST)])
    return [*runs[: edge[0]], *middle, *runs[edge[1] :]]


def laid(below: Sequence[Run], parts: Sequence[Interval], above: Sequence[Run]) -> list[Run]:
    """`below` with sorted, disjoint parts as `above` has them; looks at little else where parts are few."""
    out = list(below)
    for lo, hi in reversed(parts):
        first = max(bisect.bisect_right(out, (lo, _LAST)) - 1, 0)
        last = bisect.bisect_left(out, (hi,), first)
        near = out[first:last]
        new = [*clip(near[:1], 0, lo), *clip(above, lo, hi), *clip(near[-1:], hi, _LAST)]
        first, last = max(first - 1, 0), last + 1
        out[first:last] = coalesce([*out[first : last - 1 - len(near)], *new, *out[last - 1 : last]])
    return out


def coalesce(runs: Iterable[Run]) -> list[Run]:
    """The same pages in the fewest runs."""
    out: list[Run] = []
    for run in runs:
        if out and _continues(out[-1], run):
            start, length, segment, offset = out[-1]
            out[-1] = (start, length + run[1], segment, offset)
        else:
            out.append(run)
    return out


def paint(below: Sequence[Run], above: Sequence[Run]) -> list[Run]:
    """`above` laid over `below`: where both name a page, `above` wins."""
    out: list[Run] = []
    upper = iter(above)
    top = next(upper, None)
    for run in below:
        rest: Run | None = run
        while rest is not None and top is not None and top[0] < rest[0] + rest[1]:
            if top[0] > rest[0]:
                out.append((rest[0], top[0] - rest[0], rest[2], rest[3]))
            rest = _after(rest, max(top[0] + top[1], rest[0]))
            if rest is None:
                break  # `top` may also cover the next run below
            out.append(top)
            top = next(upper, None)
        if rest is not None:
            out.append(rest)
    if top is not None:
        out.append(top)
        out.extend(upper)
    return coalesce(out)


def covered(runs: Iterable[Run]) -> list[Interval]:
    """The pages of each run."""
    return [(start, start + length) for start, length, _, _ in runs]


def subtract(runs: Sequence[Run], intervals: Sequence[Interval]) -> list[Run]:
    """`runs` without the pages of `intervals` (sorted, disjoint `(lo, hi)`)."""
    mask = [(lo, hi - lo, _MASK, 0) for lo, hi in intervals]
    return [run for run in paint(runs, mask) if run[2] != _MASK]


def hidden(runs: list[Run], intervals: Sequence[Interval]) -> list[Run]:
    """`runs` whose pages within `intervals` (sorted, disjoint) are marked as hidden."""
    if len(intervals) > _FEW:
        below = [(start, length, HIDDEN, 0) for start, length, _, _ in runs]
        return paint(below, subtract(runs, intervals))
    for lo, hi in intervals:
        covered = clip(runs, lo, hi)
        if covered:
            runs = replaced(runs, lo, hi, [(start, length, HIDDEN, 0) for start, length, _, _ in covered])
    return runs


def difference(old: Sequence[Run], new: Sequence[Run]) -> list[Run]:
    """What must be painted over `old` so that it equals `new`; pages that `new` does not name become holes."""
    if old == new:
        return []
    out: list[Run] = []
    i = j = 0
    for lo, hi in _pieces(old, new):
        while i < len(old) and old[i][0] + old[i][1] <= lo:
            i += 1
        while j < len(new) and new[j][0] + new[j][1] <= lo:
            j += 1
        before, after = _at(old, i, lo), _at(new, j, lo)
        if before != after:
            out.append((lo, hi - lo, *(after or (HOLE, 0))))
    return coalesce(out)


def touched_blocks(runs: Iterable[Run], pages_per_block: int) -> list[Interval]:
    """The blocks that `runs` reach into, as disjoint intervals `(first, last + 1)` of block numbers."""
    out: list[Interval] = []
    for start, length, _, _ in runs:
        lo, hi = start // pages_per_block, -(-(start + length) // pages_per_block)
        if out and lo <= out[-1][1]:
            out[-1] = (out[-1][0], max(hi, out[-1][1]))
        else:
            out.append((lo, hi))
    return out


def intersects(a: Sequence[Interval], b: Sequence[Interval]) -> bool:
    """Whether two sorted lists of disjoint half-open intervals share a point."""
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i][1] <= b[j][0]:
            i += 1
        elif b[j][1] <= a[i][0]:
            j += 1
        else:
            return True
    return False


def within(intervals: Sequence[Interval], lo: int, hi: int) -> list[Interval]:
    """The parts of sorted, disjoint intervals within [lo, hi)."""
    first = max(bisect.bisect_right(intervals, (lo, _LAST)) - 1, 0)
    some = intervals[first : bisect.bisect_left(intervals, (hi,))]
    return [(max(a, lo), min(b, hi)) for a, b in some if b > lo]


def meets(intervals: Sequence[Interval], lo: int, hi: int) -> bool:
    """Whether sorted, disjoint intervals share a point with [lo, hi)."""
    position = bisect.bisect_left(intervals, (hi,))
    return position > 0 and intervals[position - 1][1] > lo


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Half-open intervals in any order → sorted, disjoint, the touching ones joined."""
    out: list[Interval] = []
    for lo, hi in sorted(intervals):
        if lo >= hi:
            continue
        if out and lo <= out[-1][1]:
            out[-1] = (out[-1][0], max(hi, out[-1][1]))
        else:
            out.append((lo, hi))
    return out


def gaps(intervals: Sequence[Interval], lo: int, hi: int) -> list[Interval]:
    """What of [lo, hi) the sorted, disjoint `intervals` leave uncovered."""
    out: list[Interval] = []
    position = lo
    for index in range(max(bisect.bisect_right(intervals, (lo, _LAST)) - 1, 0), len(intervals)):
        first, last = intervals[index]
        if last <= position:
            continue
        if first >= hi:
            break
        if first > position:
            out.append((position, first))
        position = last
    if position < hi:
        out.append((position, hi))
    return out


def _shifted(segment: int, offset: int, by: int) -> int:
    return offset if segment in (HOLE, HIDDEN) else offset + by


def _continues(run: Run, following: Run) -> bool:
    start, length, segment, offset = run
    return (
        start + length == following[0] and segment == following[2] and following[3] == _shifted(segment, offset, length)
    )


def _after(run: Run, page: int) -> Run | None:
    """The part of `run` from `page` on."""
    start, length, segment, offset = run
    if page <= start:
        return run
    if page >= start + length:
        return None
    return page, start + length - page, segment, _shifted(segment, offset, page - start)


def _pieces(a: Sequence[Run], b: Sequence[Run]) -> Iterable[Interval]:
    """Intervals within which neither list changes its run."""
    cuts = sorted({edge for runs in (a, b) for start, length, _, _ in runs for edge in (start, start + length)})
    return itertools.pairwise(cuts)


def _at(runs: Sequence[Run], position: int, page: int) -> tuple[int, int] | None:
    """(segment, offset) of one page that lies before the end of the run at `position`; None if before its start."""
    if position == len(runs) or runs[position][0] > page:
        return None
    start, _, segment, offset = runs[position]
    return segment, _shifted(segment, offset, page - start)
