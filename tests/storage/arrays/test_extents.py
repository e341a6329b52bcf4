"""Runs and extent maps against a plain list of pages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ZODB.POSException import ConflictError

from wendelin.storage.arrays import extents as module
from wendelin.storage.arrays import runs as R
from wendelin.storage.arrays.extents import Extents, resolve

PAGES = 40

Page = tuple[int, int] | None


@pytest.fixture(autouse=True)
def detector() -> None:
    """Nothing here touches memory: once is enough."""


@st.composite
def run_lists(draw: Any) -> list[R.Run]:
    out: list[R.Run] = []
    position = 0
    for gap, length, segment, offset in draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(0, 3), st.integers(0, 9)), max_size=8)
    ):
        start = position + gap
        position = start + length
        if position > PAGES:
            break
        out.append((start, length, segment, offset if segment else 0))
    return R.coalesce(out)


def pages(runs: list[R.Run]) -> list[Page]:
    out: list[Page] = [None] * PAGES
    for start, length, segment, offset in runs:
        for k in range(length):
            out[start + k] = (segment, offset + k if segment else 0)
    return out


def laid(below: list[Page], above: list[Page]) -> list[Page]:
    return [a if a is not None else b for a, b in zip(above, below, strict=True)]


@given(run_lists(), run_lists())
def test_paint_lays_one_list_over_another(a, b):
    painted = R.paint(a, b)
    assert pages(painted) == laid(pages(a), pages(b))
    assert painted == R.coalesce(sorted(painted))


@given(run_lists(), run_lists())
def test_difference_leads_from_one_list_to_the_other(a, b):
    reached = pages(R.paint(a, R.difference(a, b)))
    assert [p or (0, 0) for p in reached] == [p or (0, 0) for p in pages(b)]


@given(run_lists(), st.integers(0, PAGES), st.integers(0, PAGES))
def test_clip_keeps_what_lies_within(a, lo, hi):
    expected = [p if lo <= k < hi else None for k, p in enumerate(pages(a))]
    assert pages(R.clip(a, lo, hi)) == expected


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))), st.integers(0, 30), st.integers(0, 30))
def test_gaps_are_what_a_union_leaves(intervals, lo, hi):
    joined = R.union(intervals)
    covered = {k for a, b in intervals for k in range(a, b)}
    assert {k for a, b in joined for k in range(a, b)} == covered
    assert {k for a, b in R.gaps(joined, lo, hi) for k in range(a, b)} == set(range(lo, hi)) - covered


steps = st.lists(st.tuples(st.booleans(), st.integers(0, PAGES - 1), st.integers(1, 8)), max_size=60)


@given(steps)
def test_an_extent_map_remembers_every_page_whatever_moves_to_its_base(steps):
    limits = module.RECENT_RUNS, module.CHUNK_RUNS
    module.RECENT_RUNS, module.CHUNK_RUNS = 4, 3
    try:
        extents = Extents(1)
        model: list[Page] = [None] * PAGES
        for number, (frees, start, length) in enumerate(steps, 1):
            stop = min(start + length, PAGES)
            if frees:
                extents.free(start, stop)
                model[start:stop] = [None] * (stop - start)
            else:
                extents.record([(start, stop - start, number, 5)], number, f"segment {number}")
                model[start:stop] = [(number, 5 + k) for k in range(stop - start)]
            runs, segments = extents.lookup(0, PAGES)
            assert pages(runs) == model
            assert all(segments[run[2]] == f"segment {run[2]}" for run in runs)
            assert set(extents.segments) == {run[2] for run in extents.recent} - {0}
    finally:
        module.RECENT_RUNS, module.CHUNK_RUNS = limits


def state(recent: list[R.Run], base: Any = None) -> dict[str, Any]:
    return {
        "pages_per_block": 4,
        "recent": recent,
        "segments": {run[2]: f"segment {run[2]}" for run in recent if run[2]},
        "base": base,
    }


def test_different_blocks_merge_on_plain_values():
    old, theirs, ours = state([(0, 8, 1, 0)]), state([(0, 1, 2, 0), (1, 7, 1, 1)]), state([(0, 7, 1, 0), (7, 1, 3, 0)])
    merged = resolve(old, theirs, ours)
    assert merged["recent"] == [(0, 1, 2, 0), (1, 6, 1, 1), (7, 1, 3, 0)]
    assert merged["segments"] == {1: "segment 1", 2: "segment 2", 3: "segment 3"}


@pytest.mark.parametrize("theirs", [[(3, 1, 2, 0)], [(0, 8, 0, 0)]])
def test_the_same_block_conflicts(theirs):
    with pytest.raises(ConflictError, match="same block"):
        resolve(state([]), state(theirs), state([(0, 1, 3, 0)]))


class Reference:
    def __init__(self, oid: bytes) -> None:
        self.oid = oid

    def __eq__(self, other: object) -> bool:
        raise ValueError("references cannot be compared")

    __hash__ = None  # type: ignore[assignment]


def test_reorganising_merges_with_what_others_added():
    base = Reference(b"new")
    merged = resolve(
        state([(0, 8, 1, 0)]), state([(0, 4, 1, 0), (4, 1, 2, 0), (5, 3, 1, 5)]), state([(0, 1, 3, 0)], base)
    )
    assert merged["recent"] == [(0, 1, 3, 0), (4, 1, 2, 0)]
    assert merged["base"] is base


def test_a_base_that_changed_meanwhile_conflicts():
    with pytest.raises(ConflictError, match="reorganised"):
        resolve(state([], Reference(b"a")), state([], Reference(b"b")), state([(0, 1, 3, 0)], Reference(b"a")))
