"""Arrays take part in transactions: commit, abort, conflict, visibility, ownership."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.POSException import ConflictError, ConnectionStateError

from tests.storage.arrays.conftest import open_folder
from wendelin import ZBigArray
from wendelin.storage.arrays import compaction, extents, index
from wendelin.storage.arrays.extents import PAGE
from wendelin.storage.errors import ForeignConnectionError, StorageFullError

BLOCK = 1 << 16
PER_BLOCK = BLOCK // 8


@pytest.fixture
def array(root: Any) -> ZBigArray:
    """16 blocks of i8, stored."""
    root["a"] = array = ZBigArray((16 * PER_BLOCK,), "i8", blksize=BLOCK)
    array[:] = np.arange(16 * PER_BLOCK)
    transaction.commit()
    return array


def address(view: np.ndarray) -> int:
    return int(view.__array_interface__["data"][0])


def test_a_view_is_a_plain_ndarray_whose_address_never_changes(array):
    view = array[100:200]
    assert type(view) is np.ndarray
    before = address(view)
    view[0] = 1
    transaction.commit()
    assert address(view) == address(array[100:200]) == before
    view[1] = 1
    transaction.abort()
    assert address(view) == address(array[100:200]) == before


def test_abort_takes_writes_back_in_living_views(array):
    view = array[:]
    view[5] = -1
    array[-1] = -1
    transaction.abort()
    np.testing.assert_array_equal(view, np.arange(16 * PER_BLOCK))


def test_commit_stores_writes_through_views_alone(array, db):
    view = array[:]
    transaction.commit()
    for value in range(3):  # implicit transactions: nothing of ours is called before the commit
        view[value * PER_BLOCK] = -value
        transaction.commit()
    manager = transaction.TransactionManager()
    other = db.open(manager).root()["a"]
    assert [other[k * PER_BLOCK] for k in range(3)] == [0, -1, -2]
    manager.abort()


def test_a_write_through_a_dropped_temporary_is_stored(root, conn, array):
    root["a"][:][7] = -7
    gc.collect()
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"][7] == -7


def test_an_aborted_implicit_transaction_leaves_nothing(array, tmp_path):
    view = array[:]
    transaction.commit()
    view[3] = -3
    transaction.abort()
    assert view[3] == 3
    view[4] = -4
    transaction.commit()
    assert view[3] == 3
    gc.collect()
    assert not list((tmp_path / "db/blobs/tmp").glob("segment*"))


def test_overlapping_views_alias(array):
    a, b = array[:100], array[50:150]
    a[60] = -60
    assert b[10] == -60
    assert np.shares_memory(a, b)


def test_usable_before_its_first_commit(root, conn):
    array = ZBigArray((1000,), "i4")
    view = array[:]
    view[:] = 7
    root["deep/er/a"] = array
    view[1] = 8
    before = address(view)
    transaction.commit()
    assert address(view) == before == address(array[:])
    assert array[1] == 8
    view[2] = 9
    transaction.commit()
    conn.cacheMinimize()
    assert root["deep/er/a"][:4].tolist() == [7, 8, 9, 7]


def test_a_new_array_keeps_its_contents_when_its_transaction_aborts(root):
    root["a"] = array = ZBigArray((1000,), "i4")
    array[:] = 7
    transaction.abort()
    assert "a" not in root
    assert (array[:] == 7).all()
    root["a"] = array
    transaction.commit()
    assert (root["a"][:] == 7).all()


def test_a_new_array_keeps_its_contents_when_its_commit_fails(root, conn, monkeypatch):
    root["a"] = array = ZBigArray((1000,), "i4")
    view = array[:]
    view[:] = 7
    root["b"] = lambda: None  # cannot be pickled
    with pytest.raises(Exception, match=r"(?i)pickle|lambda"):
        transaction.commit()
    transaction.abort()
    assert (view == 7).all()
    root["a"] = array
    view[0] = 1
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"][:3].tolist() == [1, 7, 7]


def test_explicitly_added_array_is_stored_with_its_contents(root, conn):
    array = ZBigArray((10,), "i4")
    array[:] = 3
    conn.add(array)
    array[4] = 4
    root["a"] = array
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"][:].sum() == 31


def test_others_see_a_commit_at_their_next_boundary_in_living_views(array, other):
    theirs = other.root()["a"]
    view = theirs[:]
    array[10] = -10
    assert view[10] == 10
    transaction.commit()
    assert view[10] == 10
    assert theirs[10] == 10
    other.transaction_manager.begin()
    assert view[10] == -10


def test_only_changed_pages_are_mapped_anew(array, other, monkeypatch):
    from wendelin.storage.arrays.addresses import Reservation

    view = other.root()["a"][:]
    mapped: list[tuple[int, int]] = []
    original = Reservation.map_file

    def noting(self: Reservation, offset: int, length: int, *rest: int) -> None:
        mapped.append((offset, length))
        original(self, offset, length, *rest)

    monkeypatch.setattr(Reservation, "map_file", noting)
    array[3 * PER_BLOCK] = -1
    transaction.commit()
    mapped.clear()
    other.transaction_manager.begin()
    assert view[3 * PER_BLOCK] == -1
    assert mapped == [(3 * BLOCK, PAGE)]


def test_different_blocks_merge(array, other):
    theirs = other.root()["a"]
    array[0] = -1
    theirs[PER_BLOCK] = -2
    transaction.commit()
    other.transaction_manager.commit()
    transaction.begin()
    for a in (array, theirs):
        assert a[0] == -1
        assert a[PER_BLOCK] == -2
        np.testing.assert_array_equal(a[PER_BLOCK + 1 :], np.arange(PER_BLOCK + 1, 16 * PER_BLOCK))


def test_the_same_block_conflicts_and_a_retry_succeeds(array, other):
    theirs = other.root()["a"]
    view = theirs[:]
    array[0] = -1
    theirs[PER_BLOCK - 1] = -2
    transaction.commit()
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    assert view[0] == -1
    assert view[PER_BLOCK - 1] == PER_BLOCK - 1
    theirs[PER_BLOCK - 1] = -2
    other.transaction_manager.commit()
    transaction.begin()
    assert array[0] == -1
    assert array[PER_BLOCK - 1] == -2


def test_a_conflict_between_objects_takes_array_writes_back_too(root, array, other):
    theirs = other.root()
    view = theirs["a"][:]
    root["x"] = 1
    transaction.commit()
    theirs["x"] = 2
    view[0] = -1
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    assert view[0] == 0


@pytest.mark.slow
def test_many_transactions_on_many_blocks_merge_also_while_the_map_is_reorganised(root, db, monkeypatch):
    monkeypatch.setattr(extents, "LOG_ENTRIES", 8)
    monkeypatch.setattr(extents, "RECENT", 3)
    monkeypatch.setattr(extents, "LOG_PATCHES", 12)
    monkeypatch.setattr(index, "CHUNK_RUNS", 16)
    root["a"] = array = ZBigArray((200 * 512,), "i8", blksize=PAGE)
    transaction.commit()
    managers = [transaction.TransactionManager() for _ in range(3)]
    arrays = [db.open(manager).root()["a"] for manager in managers]
    expected = np.zeros(200 * 512, "i8")
    order = np.random.default_rng(1).permutation(200)
    for step, block in enumerate(order):
        manager, target = managers[step % 3], arrays[step % 3]
        target[block * 512 + 5] = step + 1
        manager.commit()
        expected[block * 512 + 5] = step + 1
        if step % 3:
            managers[(step + 1) % 3].begin()
    transaction.begin()
    np.testing.assert_array_equal(array[:], expected)
    assert array.extents.base is not None
    for manager in managers:
        manager.abort()


def test_views_outlive_ghosts_and_cache_eviction(root, conn, array):
    view = root["a"][:]
    view[0] = -1
    del array
    conn.cacheMinimize()
    gc.collect()
    conn.cacheMinimize()
    assert root["a"]._p_state == -1
    assert view[0] == -1
    transaction.commit()
    conn.cacheMinimize()
    assert root["a"][0] == -1
    assert np.shares_memory(root["a"][:], view)


def test_views_outlive_the_close_of_their_connection(db, array):
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    view = connection.root()["a"][:]
    manager.abort()
    connection.close()
    again = db.open(manager)  # the same connection, from the pool
    array[0] = -1
    transaction.commit()
    manager.begin()
    fresh = again.root()["a"]
    assert fresh[0] == -1
    assert view[0] == 0  # shows what it showed, and belongs to nobody
    view[1] = -5
    manager.commit()
    manager.begin()
    assert fresh[1] == 1
    manager.abort()


def test_closing_with_uncommitted_views_raises_and_names_the_array(db, array):
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    view = connection.root()["a"][:]
    view[0] = -1
    with pytest.raises(ConnectionStateError, match=r"ZBigArray.*commit\(\)"):
        connection.close()
    manager.abort()
    connection.close()


def test_addresses_are_given_back(db, array):
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    view = connection.root()["a"][:]
    memory = weakref.ref(connection.arrays.memory(connection.root()["a"]))
    manager.abort()
    connection.close()
    gc.collect()
    assert memory() is not None
    del view
    gc.collect()
    assert memory() is None


def test_what_was_committed_is_there_after_reopening(tmp_path, db, conn, root, array):
    array[5] = -5
    root["b/c"] = ZBigArray((4, 4), "c16", order="F")
    root["b/c"][1] = 2j
    transaction.commit()
    conn.close()
    db.close()
    again = open_folder(tmp_path / "db")
    manager = transaction.TransactionManager()
    found = again.open(manager).root()
    assert found["a"][5] == -5
    assert found["b/c"][:].sum() == 8j
    assert found["b/c"].order == "F"
    manager.abort()
    again.close()


def test_a_historical_connection_gives_read_only_views_that_stay_so(db, array):
    before = array.extents._p_serial
    array[0] = -1
    transaction.commit()
    manager = transaction.TransactionManager()
    old = db.open(manager, at=before).root()["a"]
    view = old[:]
    assert view[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    with pytest.raises(ValueError, match="connect"):
        old[0] = 1
    with pytest.raises(ValueError, match="connect"):
        old.resize(5)
    manager.abort()


def test_a_plain_zodb_connection_is_told_what_to_call():
    import ZODB

    plain = ZODB.DB(None)
    connection = plain.open(transaction.TransactionManager())
    connection.root()["a"] = array = ZBigArray((3,))
    connection.add(array)
    with pytest.raises(ForeignConnectionError, match=r"wendelin\.connect"):
        array[0]
    connection.transaction_manager.abort()
    plain.close()


def test_a_full_disk_fails_the_commit_and_a_later_one_succeeds(array, monkeypatch):
    import errno

    view = array[:]
    real = os.writev

    def full(fd: int, buffers: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    view[7:50_000] = -7
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(StorageFullError, match="free space"):
        transaction.commit()
    monkeypatch.setattr(os, "writev", real)
    assert view[7] == -7
    transaction.commit()
    transaction.begin()
    assert array[7] == -7
    view[8:50_000] = -8
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(StorageFullError):
        transaction.commit()
    transaction.abort()
    assert (view[7:50_000] == -7).all()


def test_small_changes_write_few_bytes(array, tmp_path):
    """A page each, in the database's own file: no blob, hence no further file and directory to sync."""

    def blobs() -> int:
        return sum(f.stat().st_size for f in (tmp_path / "db/blobs").rglob("*.blob"))

    before, file = blobs(), (tmp_path / "db/Data.fs").stat().st_size
    array[3] = -3
    array[9 * PER_BLOCK + 3] = -3
    transaction.commit()
    assert blobs() == before
    assert (tmp_path / "db/Data.fs").stat().st_size - file < 2 * PAGE + 1500


def test_a_block_of_many_changes_becomes_whole_again(array, monkeypatch):
    monkeypatch.setattr(extents, "LOG_ENTRIES", 4)
    monkeypatch.setattr(extents, "RECENT", 4)
    monkeypatch.setattr(compaction, "RUNS_PER_BLOCK", 4)
    for k in range(14):
        array[k * 512] = -k
        transaction.commit()
    runs, _ = array.extents.lookup(0, BLOCK // PAGE)
    assert len(runs) <= 9
    assert [array[k * 512] for k in range(14)] == [-k for k in range(14)]


def test_an_overwritten_segment_is_garbage(array, db, root, conn, tmp_path):
    def segments() -> int:
        return len(list((tmp_path / "db/blobs").rglob("*.blob")))

    for k in range(5):
        array[:] = k
        transaction.commit()
    assert segments() == 6
    db.pack()
    assert segments() == 1
    conn.cacheMinimize()
    assert (root["a"][:] == 4).all()


def test_views_survive_a_pack(array, db, other):
    view = other.root()["a"][:]
    array[:] = 5
    transaction.commit()
    db.pack()
    np.testing.assert_array_equal(view, np.arange(16 * PER_BLOCK))
    other.transaction_manager.begin()
    assert (view == 5).all()


def test_a_deleted_array_leaves_its_views_alone(root, array, db, other):
    view = other.root()["a"][:]
    del root["a"]
    transaction.commit()
    db.pack()
    other.transaction_manager.begin()
    np.testing.assert_array_equal(view, np.arange(16 * PER_BLOCK))


@pytest.mark.slow
def test_many_arrays_do_not_keep_all_their_addresses(root, conn):
    from wendelin.storage.arrays.owner import KEPT

    for k in range(KEPT + 50):
        root[f"many/{k}"] = ZBigArray((10,), "i4")
        root[f"many/{k}"][:] = k
    transaction.commit()
    transaction.begin()
    assert len(conn.arrays._memories) <= KEPT
    assert all(root[f"many/{k}"][3] == k for k in range(KEPT + 50))


@pytest.mark.parametrize("kept", [0, 3])
def test_what_another_wrote_behind_a_cut_does_not_come_back(root, other, kept):
    root["a"] = array = ZBigArray((20_000,), "i8", blksize=BLOCK)
    transaction.commit()
    other.transaction_manager.begin()
    theirs = other.root()["a"]
    theirs.resize(kept)
    array[10] = array[15_000] = 7
    transaction.commit()
    try:
        other.transaction_manager.commit()
    except ConflictError:  # allowed: both touched the block in which the array now ends
        other.transaction_manager.abort()
        theirs.resize(kept)
        other.transaction_manager.commit()
    theirs.resize(20_000)
    assert not theirs[:].any()
    other.transaction_manager.commit()
    transaction.begin()
    assert not array[:].any()


@pytest.mark.parametrize("writer_first", [True, False])
@pytest.mark.parametrize("size", [3, 5000])
def test_appends_merge_although_another_wrote_behind_a_cut(root, other, writer_first, size):
    """Of the pages behind the end nothing is left that two who append would both have to remove."""
    root["a"] = array = ZBigArray((20_000,), "i8", blksize=BLOCK)
    transaction.commit()
    other.transaction_manager.begin()
    theirs = other.root()["a"]
    theirs.resize(0)
    array[10 : 10 + size] = 7
    managers = [transaction.manager, other.transaction_manager]
    for manager in managers if writer_first else managers[::-1]:
        manager.commit()
    for manager in managers:
        manager.begin()
    array.append([1, 1])
    theirs.append([2])
    for manager in managers:
        manager.commit()
    transaction.begin()
    assert array[:].tolist() == [1, 1, 2]
    array.resize(20_000)
    assert not array[3:].any()


@pytest.mark.parametrize("through_view", [False, True])
def test_what_was_written_to_appended_rows_stays_when_others_are_cut_off(root, other, through_view):
    root["a"] = array = ZBigArray((0,), "i8", blksize=BLOCK)
    transaction.commit()
    array.append(np.full(289, 3))
    transaction.commit()
    (array[:] if through_view else array)[0] = 4
    array.resize(172)
    assert array[:3].tolist() == [4, 3, 3]
    transaction.commit()
    other.transaction_manager.begin()
    assert other.root()["a"][:].tolist() == [4, *[3] * 171]


def test_an_array_with_many_tiny_changes_opens_clean_and_an_abort_leaves_them(db, array):
    """Its pages lie in objects and are shown from a file of this node: nothing looks as if this program wrote it."""
    for k in range(40):
        array[k * 3000] = -k - 1
        array.append([k])
        transaction.commit()
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    fresh = connection.root()["a"]
    view = fresh[:]
    assert [view[k * 3000] for k in range(40)] == [-k - 1 for k in range(40)]
    assert connection.arrays.memory(fresh).dirty() == []
    view[0] = view[9000] = view[-1] = 77
    manager.abort()
    assert (view[0], view[9000], view[-1]) == (-1, -4, 39)
    manager.begin()
    manager.commit()
    connection.close()
