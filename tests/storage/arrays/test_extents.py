"""Runs and extent maps against a plain list of pages."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wendelin.storage.arrays import extents as module
from wendelin.storage.arrays import index
from wendelin.storage.arrays import runs as R
from wendelin.storage.arrays.extents import Extents

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
def test_an_extent_map_remembers_every_page_whatever_is_folded(steps):
    limits = module.LOG_ENTRIES, index.CHUNK_RUNS
    module.LOG_ENTRIES, index.CHUNK_RUNS = 4, 3
    try:
        extents = Extents(1, PAGES)
        model: list[Page] = [None] * PAGES
        for number, (frees, start, length) in enumerate(steps, 1):
            stop = min(start + length, PAGES)
            if extents.must_fold:
                extents.fold()
            if frees:
                extents.free(start, stop)
                model[start:stop] = [None] * (stop - start)
            else:
                extents.write([(start, stop - start, number, 5)], {number: f"segment {number}"})
                model[start:stop] = [(number, 5 + k) for k in range(stop - start)]
            runs, segments = extents.lookup(0, PAGES)
            assert pages(runs) == model
            assert all(segments[run[2]] == f"segment {run[2]}" for run in runs)
            assert set(extents.segments) == {run[2] for run in extents.log} - {0}, "what is hidden is not held"
            assert len(extents.entries) <= 4
    finally:
        module.LOG_ENTRIES, index.CHUNK_RUNS = limits


@given(run_lists(), st.integers(0, PAGES), st.integers(0, PAGES), st.integers(1, 3))
def test_replacing_a_range_leaves_the_rest(a, lo, hi, segment):
    lo, hi = min(lo, hi), max(lo, hi)
    new = [(lo, hi - lo, segment, 3)] if lo < hi else []
    assert R.replaced(a, lo, hi, new) == R.coalesce([*R.clip(a, 0, lo), *new, *R.clip(a, hi, PAGES)])


@given(run_lists(), run_lists(), st.lists(st.tuples(st.integers(0, PAGES), st.integers(0, PAGES)), max_size=5))
def test_laying_parts_leaves_the_rest(a, b, parts):
    parts = R.union(parts)
    inside = {page for lo, hi in parts for page in range(lo, hi)}
    expected = [
        above if page in inside else below for page, (below, above) in enumerate(zip(pages(a), pages(b), strict=True))
    ]
    found = R.laid(a, parts, b)
    assert pages(found) == expected
    assert found == R.coalesce(sorted(found))


@given(steps)
def test_what_is_stored_of_a_map_is_what_is_loaded(steps):
    extents = Extents(4, 10)
    for number, (appends, start, length) in enumerate(steps, 1):
        if appends:
            extents.append([(number, start, length)], {number: f"segment {number}"})
        else:
            extents.write([(start, length, number, 0)], {number: f"segment {number}"})
    loaded = Extents(1)
    loaded.__setstate__(pickle.loads(pickle.dumps(extents.__getstate__())))
    assert loaded.__dict__ == {name: value for name, value in extents.__dict__.items() if not name.startswith("_v_")}


def test_what_was_undone_is_looked_at_as_a_whole():
    extents = Extents(1, PAGES)
    extents.settle(PAGES * R.PAGE)
    empty = extents.mark()
    extents.write([(3, 1, 1, 0)], {1: "segment 1"})
    written = extents.mark()
    assert extents.touched_since(empty) == [(3, 4)]
    assert extents.touched_since(written) == []
    before = Extents(1, PAGES)
    before.settle(PAGES * R.PAGE)
    assert before.touched_since(written) is None
    before.write([(5, 1, 2, 0)], {2: "segment 2"})
    assert before.touched_since(written) is None, "the same number, another transaction"
    extents.append([(4, 0, 10)], {4: "segment 4"})
    assert extents.touched_since(written) == [(PAGES, module.END)]
