"""Tiny changes: stored as bytes in the record, and left where they were written."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import numpy as np
import pytest
import transaction
from hypothesis import given
from hypothesis import strategies as st

from wendelin import ZBigArray
from wendelin.storage.arrays import extents, kept, patches
from wendelin.storage.arrays.extents import END, LOG_ENTRIES, LOG_PATCHES, PAGE, RECENT, Extents
from wendelin.storage.arrays.pages import Pages
from wendelin.storage.arrays.patches import Patched

BLOCK = 1 << 16
PER_PAGE = PAGE // 8
SIZE = 16 * BLOCK // 8


@pytest.fixture
def array(root: Any) -> ZBigArray:
    """16 blocks of i8, stored; nobody has a view."""
    root["a"] = array = ZBigArray((SIZE,), "i8", blksize=BLOCK)
    array[:] = np.arange(SIZE)
    transaction.commit()
    transaction.begin()
    return array


def form(array: ZBigArray, page: int) -> type:
    """How a page is stored."""
    runs, segments = array.extents.lookup(page, page + 1)
    return type(segments[runs[0][2]])


def stored(other: Any) -> np.ndarray:
    """What another connection has."""
    other.transaction_manager.begin()
    return np.asarray(other.root()["a"]).copy()


stretches = st.lists(
    st.tuples(st.integers(0, PAGE - 1), st.binary(min_size=1, max_size=9)).filter(lambda it: it[0] + len(it[1]) <= PAGE)
)


@given(stretches, stretches)
def test_a_patch_brings_one_content_to_another(first: list[Any], second: list[Any]) -> None:
    before, after = bytearray(PAGE), bytearray(PAGE)
    for at, data in first:
        before[at : at + len(data)] = data
    after[:] = before
    for at, data in second:
        after[at : at + len(data)] = data
    found = patches.stretches(bytes(before), bytes(after))
    assert all(hi <= lo for (_, hi), (lo, _) in itertools.pairwise(found))
    patch = patches.made(bytes(after), found)
    if patch is None:
        assert sum(hi - lo + 4 for lo, hi in found) > patches.MOST
    else:
        assert patches.applied(bytes(before), [patch]) == after


def test_one_value_is_a_few_bytes_of_the_record_alone(array: ZBigArray, other: Any) -> None:
    """No object and no file beside the extent map's record, which grows by little."""
    storage = array._p_jar.db().storage
    sizes = []
    for number in (1, 2, 3):
        array[number * PER_PAGE + 5] = -number
        transaction.commit()
        records = [record for last in storage.iterator(storage.lastTransaction()) for record in last]
        assert [record.oid for record in records] == [array.extents._p_oid]
        sizes.append(len(records[0].data))
    assert max(sizes[2] - sizes[1], sizes[1] - sizes[0]) < 120
    assert form(array, 1) is Patched
    expected = np.arange(SIZE)
    expected[[PER_PAGE + 5, 2 * PER_PAGE + 5, 3 * PER_PAGE + 5]] = -1, -2, -3
    np.testing.assert_array_equal(stored(other), expected)


def test_more_than_a_little_of_a_page_is_stored_whole(array: ZBigArray, other: Any) -> None:
    array[: PER_PAGE // 2] = 9
    transaction.commit()
    assert form(array, 0) is Pages
    assert (stored(other)[:PER_PAGE] == [9] * (PER_PAGE // 2) + list(range(PER_PAGE // 2, PER_PAGE))).all()


@pytest.mark.parametrize("through_views", [False, True])
def test_patches_over_patches_over_pages_over_patches(array: ZBigArray, other: Any, through_views: bool) -> None:
    """All kinds of layers on one page, read by others after each, over a fold of the log."""
    expected, random = np.arange(SIZE), np.random.default_rng(7)
    view = array[:] if through_views else array
    for step in range(2 * LOG_ENTRIES + 5):
        at = int(random.integers(2 * PER_PAGE))
        if step % 13 == 7:
            view[:PER_PAGE] = step
            expected[:PER_PAGE] = step
        elif step % 17 == 3:
            view[at : at + 20] = -step
            expected[at : at + 20] = -step
        view[at] = expected[at] = step
        if step % 5 == 4:
            transaction.abort()
            expected[:] = stored(other)
        else:
            transaction.commit()
        if step % 7 == 0 or step > LOG_ENTRIES:
            np.testing.assert_array_equal(array[: 3 * PER_PAGE], expected[: 3 * PER_PAGE], str(step))
            np.testing.assert_array_equal(stored(other), expected, str(step))


def test_where_all_that_was_written_is_known_the_kernel_is_not_asked(
    array: ZBigArray, monkeypatch: pytest.MonkeyPatch, other: Any
) -> None:
    gc.collect()
    memory = array._p_jar.arrays.memory(array)

    def refuse(*_: Any) -> Any:
        raise AssertionError("the kernel was asked")

    with monkeypatch.context() as patch:
        patch.setattr("wendelin.storage.arrays.dirty.Detector.dirty", refuse)
        for number in range(5):
            array[number * 3 * PER_PAGE] = -1
            assert array[number * 3 * PER_PAGE] == -1
            transaction.commit()
        view = array[:]
        view[1] = -2  # what goes through a view only the kernel knows
        with pytest.raises(AssertionError, match="the kernel was asked"):
            transaction.commit()
    transaction.abort()
    assert memory.dirty() == []
    assert list(view[:2]) == [-1, 1]
    view[1] = -3
    transaction.commit()
    assert list(stored(other)[:2]) == [-1, -3]


def test_a_record_taken_out_is_a_view_too(root: Any, other: Any) -> None:
    """`A[i]` of a structured array can be written through; the commit must look."""
    root["a"] = array = ZBigArray((1000,), [("x", "i8"), ("y", "f8")])
    array["x"] = 1
    transaction.commit()
    transaction.begin()
    record = array[5]
    record["x"] = 7
    transaction.commit()
    assert [stored(other)["x"][i] for i in (4, 5)] == [1, 7]


@pytest.mark.parametrize("commits", [1, kept.MOST + 5])
def test_what_stays_in_memory_is_neither_written_nor_lost(array: ZBigArray, other: Any, commits: int) -> None:
    """Committed pages that still lie where they were written: nothing to store, and an abort brings them back."""
    memory = array._p_jar.arrays.memory(array)
    for number in range(commits):
        array[(number * 5) % SIZE] = -1
        transaction.commit()
        if number % 3 == 0:
            array[(number * 5) % SIZE] = -2
            transaction.abort()
    view = array[:]
    assert memory.dirty() == []
    before = array._p_jar._storage.lastTransaction()
    transaction.commit()
    assert array._p_jar._storage.lastTransaction() == before
    expected = stored(other)
    np.testing.assert_array_equal(view, expected)
    view[:] = 0
    transaction.abort()
    np.testing.assert_array_equal(view, expected)
    transaction.begin()
    view[0] = 3  # through a view of an earlier transaction
    transaction.savepoint()
    view[0] = 4
    saved = transaction.savepoint()
    view[:100] = 5
    saved.rollback()
    assert list(view[:2]) == [4, expected[1]]
    transaction.abort()
    np.testing.assert_array_equal(view, expected)
    view[0] = -1 if commits > 1 else expected[0]  # the same value again
    transaction.commit()
    np.testing.assert_array_equal(stored(other), expected)


def test_what_others_store_replaces_what_stayed(array: ZBigArray, other: Any) -> None:
    view = array[:]
    view[3] = -1
    transaction.commit()
    for number in range(3):
        theirs = other.root()["a"]
        other.transaction_manager.begin()
        theirs[4] = -2 - number
        other.transaction_manager.commit()
        transaction.begin()
        assert list(view[2:6]) == [2, -1, -2 - number, 5]
        view[3] = 0
        transaction.abort()
        assert list(view[2:6]) == [2, -1, -2 - number, 5]
        view[2 + number] += 0  # touched, and the same
        transaction.commit()
        assert list(stored(other)[2:6]) == [2, -1, -2 - number, 5]


def test_a_move_beneath_a_patch_is_not_seen(array: ZBigArray, other: Any) -> None:
    """Another connection rewrites the block while a tiny change of it is under way."""
    from wendelin.storage.arrays.compaction import defragment

    for number in range(3):
        array[number * PER_PAGE] = -1
        transaction.commit()
    array[1] = -5
    theirs = other.root()["a"]
    other.transaction_manager.begin()
    defragment(theirs)
    transaction.commit()
    expected = np.arange(SIZE)
    expected[[0, 1, PER_PAGE, 2 * PER_PAGE]] = -1, -5, -1, -1
    np.testing.assert_array_equal(stored(other), expected)
    np.testing.assert_array_equal(array[:], expected)


def test_a_hole_a_new_end_and_a_cut_under_patches(root: Any, other: Any) -> None:
    root["a"] = array = ZBigArray((10 * PER_PAGE,), "i8")
    transaction.commit()
    array[3] = 1  # over a hole
    transaction.commit()
    array.append(np.full(3, 7))
    transaction.commit()
    array[4] = 2
    transaction.commit()
    array[10 * PER_PAGE + 1] = 8  # in the tail
    transaction.commit()
    assert list(stored(other)[[3, 4]]) == [1, 2]
    assert list(stored(other)[-4:]) == [0, 7, 8, 7]
    array.resize((4,))
    transaction.commit()
    array.resize((8,))
    transaction.commit()
    assert list(stored(other)) == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("more", [2, RECENT + 2])
def test_an_array_of_patches_is_packed_and_folded_without_a_trace(array: ZBigArray, other: Any, more: int) -> None:
    """Patches leave the record when they are some, and become pages when they are many."""
    expected = np.arange(SIZE)
    for number in range(LOG_PATCHES + more):
        at = number * 3 * PER_PAGE % SIZE
        array[at] = expected[at] = -number
        transaction.commit()
        assert len(array.extents.entries) <= RECENT + 1
    assert any(isinstance(some, Patched) for some in array.extents.layout(0, END)[1].values())
    assert (array.extents.older is None) == (more == RECENT + 2)
    array._p_jar.db().pack()
    array._p_jar.cacheMinimize()
    np.testing.assert_array_equal(stored(other), expected)
    np.testing.assert_array_equal(array[:], expected)


def test_own_patches_are_not_looked_up_again(array: ZBigArray, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit stored shows already; only what others stored is looked for in the extent map."""
    gc.collect()
    expected = np.arange(SIZE)
    looked: list[int] = []
    monkeypatch.setattr(Extents, "layout_all", counting(Extents.layout_all, looked))
    for number in range(3 * RECENT):
        array[number * PER_PAGE] = expected[number * PER_PAGE] = -1
        transaction.commit()
    assert len(looked) <= 1, "nothing but what lies before the patches was set aside once"
    theirs = other.root()["a"]
    other.transaction_manager.begin()
    theirs[5 * PER_PAGE + 1] = expected[5 * PER_PAGE + 1] = -2
    other.transaction_manager.commit()
    array[40 * PER_PAGE + 1] = expected[40 * PER_PAGE + 1] = -3
    transaction.commit()
    assert looked
    np.testing.assert_array_equal(array[:], expected)
    np.testing.assert_array_equal(stored(other), expected)


def counting(function: Any, calls: list[int]) -> Any:
    """A function that notes that it was called."""

    def called(*arguments: Any) -> Any:
        calls.append(1)
        return function(*arguments)

    return called


def test_a_commit_that_was_merged_or_taken_back_is_not_taken_for_what_shows(array: ZBigArray, other: Any) -> None:
    expected = np.arange(SIZE)
    theirs = other.root()["a"]
    for number in range(2 * RECENT):
        mine, far = number % 3, BLOCK // 8 * 3 + number
        other.transaction_manager.begin()
        array[mine] = expected[mine] = 1000 + number
        theirs[far] = expected[far] = 2000 + number
        other.transaction_manager.commit()
        transaction.commit()  # merged
        if number % 4 == 1:
            array[mine] = -1
            transaction.abort()
        assert [array[mine], array[far]] == [1000 + number, 2000 + number]
    array[9] = 7
    transaction.commit()
    array._p_jar.db().undo(array._p_jar.db().undoLog(0, 1)[0]["id"])
    transaction.commit()
    np.testing.assert_array_equal(array[:], expected)
    array[10] = expected[10] = 8
    transaction.commit()
    np.testing.assert_array_equal(array[:], expected)
    np.testing.assert_array_equal(stored(other), expected)


@pytest.mark.parametrize("page", ["the same", "others"])
def test_what_was_stored_long_ago_is_not_held_in_memory(
    array: ZBigArray, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(extents, "RECENT", 4)
    monkeypatch.setattr(extents, "LOG_PATCHES", 12)
    memory = array._p_jar.arrays.memory(array)
    for number in range(100):
        array[3 if page == "the same" else (number * 7 % 200) * PER_PAGE] = number
        transaction.commit()
    assert array[3 if page == "the same" else 99 * 7 % 200 * PER_PAGE] == 99
    assert len(memory.sources) < 40


def test_an_element_that_a_traceback_keeps_keeps_its_addresses(root: Any) -> None:
    root["a"] = array = ZBigArray((4,), "i8")
    transaction.commit()
    with pytest.raises(ValueError, match="broadcast") as caught:
        array[1:3] = [1, 2, 3]
    kept = next(entry.frame.f_locals["view"] for entry in caught.traceback if "view" in entry.frame.f_locals)
    transaction.abort()
    array.resize((1 << 30,))  # moves: nothing that counts as a view lives
    assert list(kept) == [0, 0]
    assert len(array) == 1 << 30


def test_one_value_costs_one_record_of_a_kilobyte_or_two_however_many_were_written(array: ZBigArray) -> None:
    storage = array._p_jar.db().storage
    sizes = []
    for number in range(200):
        array[number * 631 % SIZE] = -1
        transaction.commit()
        records = [record for last in storage.iterator(storage.lastTransaction()) for record in last]
        sizes.append(sum(len(record.data) for record in records if record.oid == array.extents._p_oid))
    assert max(sizes) < 2600
