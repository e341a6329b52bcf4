"""`A.history()` and `A.diff()`, against plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wendelin
from tests.storage.history.conftest import commit
from wendelin.storage.arrays.compaction import defragment
from wendelin.storage.errors import NotStoredError
from wendelin.testing import small_limits


def marked(intervals: Any, rows: int) -> np.ndarray[Any, Any]:
    out = np.zeros(rows, bool)
    for lo, hi in intervals:
        assert 0 <= lo < hi <= rows
        out[lo:hi] = True
    return out


def differing(old: Any, new: Any) -> np.ndarray[Any, Any]:
    both = min(len(old), len(new))
    out = np.ones(max(len(old), len(new)), bool)
    out[:both] = (old[:both] != new[:both]).reshape(both, -1).any(axis=1)
    return out


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "append", "cut", "tidy", "same"]), st.integers(0, 5000), st.integers(1, 900)),
    min_size=1,
    max_size=9,
)


@pytest.mark.parametrize("order", ["C", "F"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_diff_is_what_a_comparison_finds(conn: Any, root: Any, order: Any, steps: Any) -> None:
    """Rows are named exactly; without reading, at least those, and all that was stored far away stays out."""
    shape = (4000, 3) if order == "C" else (3, 4000)
    root["a"] = array = wendelin.ZBigArray(shape, "f8", order=order, blksize=1 << 14)
    states = [(commit(conn), np.zeros((4000, 3)))]
    with small_limits():
        for number, (what, at, size) in enumerate(steps, 1):
            rows = array[:] if order == "C" else array[:].T
            at %= len(rows)
            if what == "write":
                rows[at : at + size] = number
            elif what == "same":
                rows[at : at + size] = rows[at : at + size].copy()
            elif what == "append":
                del rows
                array.append(np.full((size, 3) if order == "C" else (3, size), number, "f8"))
            elif what == "cut":
                del rows
                array.resize((max(at, 1), 3) if order == "C" else (3, max(at, 1)))
            else:
                del rows
                defragment(array)
            states.append((commit(conn), (array[:] if order == "C" else array[:].T).copy()))
    for t0, old in states[:: max(len(states) // 3, 1)]:
        for t1, new in states[:: max(len(states) // 3, 1)]:
            wanted = differing(old, new)
            found = array.diff(t0, t1)
            np.testing.assert_array_equal(marked(found, len(wanted)), wanted)
            assert found.total == wanted.sum()
            assert (marked(array.diff(t0, t1, exact=False), len(wanted)) >= wanted).all()


def test_a_difference_reads_only_what_was_written(conn: Any, root: Any) -> None:
    """Of a terabyte, of which a row was changed."""
    root["a"] = array = wendelin.ZBigArray((1 << 37,), "f8")
    array[5], array[1 << 36] = 1, 1
    first = commit(conn)
    array[1 << 36] = 2
    commit(conn)
    assert list(array.diff(first)) == [(1 << 36, (1 << 36) + 1)]
    assert array.diff(first, first).rows == []
    assert "nothing changed" in repr(array.diff(first, first))
    (quick,) = array.diff(first, exact=False)
    assert quick[0] <= 1 << 36 < quick[1] <= (1 << 36) + 512


def test_other_shapes_and_arrays_that_were_not_there(conn: Any, root: Any) -> None:
    root["n"] = 1
    before = commit(conn)
    root["a"] = array = wendelin.ZBigArray((6, 4), "i4")
    root["s"] = scalar = wendelin.ZBigArray((), "f8")
    scalar[()] = 1
    made = commit(conn)
    assert array.diff(before).rows == [(0, 6)]
    assert (array.diff(before).before, array.diff(before).after) == (None, (6, 4))
    array.resize((8, 3))
    scalar[()] = 2
    commit(conn)
    assert array.diff(made).rows == [(0, 8)]
    assert scalar.diff(made).rows == [(0, 1)]
    assert scalar.diff(made, made).rows == []


def test_versions_tell_who_did_what(conn: Any, root: Any) -> None:
    root["a"] = array = wendelin.ZBigArray((1000, 4), "f8")
    root["a"][:] = 1
    conn.transaction_manager.get().setUser("ada")
    commit(conn, "made\nwith care")
    array[5:7] = 2
    commit(conn, "two rows")
    array.append(np.ones((10, 4)))
    commit(conn, "ten more")
    root["other"] = 1
    commit(conn, "nothing of it")
    array.resize((400, 4))
    commit(conn, "shorter")
    found = array.history()
    assert [each.note for each in found] == ["shorter", "ten more", "two rows", "made\nwith care"]
    assert [each.shape for each in found] == [(400, 4), (1010, 4), (1000, 4), (1000, 4)]
    assert [each.rows for each in found] == [400, 1010, 1000, 1000]
    assert found[3].user.split()[-1] == "ada"
    sizes = [each.changed for each in found]
    assert sizes[1:] == [320, 64, 32768]
    assert [each.note for each in array.history(2)] == ["shorter", "ten more"]
    assert array.history(0) == []
    text, page = repr(found), found._repr_html_()
    for word in ("made · with care", "1,010 × 4", found[0].tid.hex(), "320 B"):
        assert word in text
        assert word in page
    assert page.count("<tr>") == 5
    with pytest.raises(ValueError, match="limit is -1"):
        array.history(-1)


def test_versions_are_those_that_the_connection_sees(url: str, conn: Any, root: Any) -> None:
    root["a"] = array = wendelin.ZBigArray((10,), "f8")
    first = commit(conn, "first")
    array[:] = 1
    commit(conn, "second")
    old = wendelin.connect(url, at=first)
    assert [each.note for each in old.root()["a"].history()] == ["first"]
    old.close()
    assert [each.note for each in array.history()] == ["second", "first"]


def test_an_undone_change_and_a_move_are_versions_too(conn: Any, root: Any) -> None:
    root["a"] = array = wendelin.ZBigArray((1 << 16,), "f8")
    commit(conn, "made")
    array[::600] = 1
    changed = commit(conn, "scattered")
    defragment(array)
    commit(conn, "tidy")
    array[3] = 5
    last = commit(conn, "a value")
    wendelin.undo(conn, last)
    conn.transaction_manager.begin()
    found = array.history()
    assert [each.note for each in found][1:] == ["a value", *[each.note for each in found][2:]]
    assert found[0].note.startswith("undo of")
    assert found[0].changed is None
    assert array.diff(changed).rows == []
    assert array[3] == 0


def test_an_array_that_is_not_stored_has_no_past() -> None:
    array = wendelin.ZBigArray((10,), "f8")
    with pytest.raises(NotStoredError, match="no history: store it"):
        array.history()
    with pytest.raises(NotStoredError, match="no history: store it"):
        array.diff("v1")
