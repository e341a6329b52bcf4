"""Earlier states by name, what changed between them, tags, and packing that keeps what is wanted."""

from __future__ import annotations

import functools
import unittest
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from transaction import TransactionManager
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, u64

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.errors import MomentError, PastIsReadOnlyError, StateGoneError, UndoRefusedError
from wendelin.storage.history.opening import open_at
from wendelin.storage.history.packing import pack
from wendelin.storage.history.transactions import history, undo
from wendelin.storage.testing.base import Base, begin, commit
from wendelin.storage.testing.contents import BLOCK, assert_same, noise

ROWS = BLOCK // 64


class Times(Base):
    """Earlier states, named; tags; what packing keeps."""

    def test_a_state_opens_by_transaction_time_and_text(self) -> None:
        self._need_times()
        connection = self.connect()
        array = self._array(connection, "a")
        past = [(self._last(connection), np.asarray(array).copy())]
        for step in range(3):
            array[step * ROWS : step * ROWS + 5] = step
            array.append(noise((3, 8), "i8"))
            commit(connection)
            past.append((self._last(connection), np.asarray(array).copy()))
        opened: list[Any] = []
        for info, wanted in past:
            ways = (info, info.tid, u64(info.tid), info.tid.hex(), info.time, info.time.isoformat())
            opened += [(self._open_at(at), wanted) for at in ways]
        for old, wanted in opened:  # all are open at once
            assert_same(self.place(old)["a"], wanted)
            assert not self.place(old)["a"][...].flags.writeable
            assert old.isReadOnly()
        place = self.place(opened[0][0])
        refuses(PastIsReadOnlyError, place.__setitem__, "b", 1)
        refuses(ValueError, place["a"].append, noise((3, 8), "i8"))
        assert list(place) == ["a"]
        begin(connection)
        assert list(self.place(connection)) == ["a"]

    def test_states_that_do_not_exist_are_refused_and_those_that_do_are_named(self) -> None:
        self._need_times()
        connection = self.connect()
        self._array(connection, "a")
        now = datetime.now(UTC)
        missing: list[Any] = [now + timedelta(days=1), now - timedelta(days=9999), (1 << 62) + 5]
        for at in missing:
            assert "this database has" in refuses(StateGoneError, self._open_at, at)
        wrong: list[Any] = ["2026-01-01T00:00", now.replace(tzinfo=None), "there is no such tag", b"short", 0, 1.5]
        for at in wrong:
            refuses(MomentError, self._open_at, at)
        before = self._last(connection)
        self.place(connection)["a"][:] = 5
        commit(connection)
        self._pack(connection)
        assert "was packed away" in refuses(StateGoneError, self._open_at, before)
        assert_same(self.place(self._open_at(self.db.lastTransaction()))["a"], np.full((4 * ROWS, 8), 5))

    def test_an_array_tells_its_versions_and_what_changed(self) -> None:
        self._need_times()
        connection = self.connect()
        array = self._array(connection, "a")
        first = self._last(connection)
        array[ROWS + 3] = 1
        connection.transaction_manager.get().note("one row")
        commit(connection)
        array[3 * ROWS : 3 * ROWS + 7, 1] = array[3 * ROWS : 3 * ROWS + 7, 1]  # the same bytes again
        array.append(np.ones((2, 8), "i8"))
        commit(connection)
        begin(connection)
        versions = array.history()
        assert [each.rows for each in versions] == [4 * ROWS + 2, 4 * ROWS, 4 * ROWS]
        assert versions[1].note == "one row"
        assert versions[1].changed is not None
        assert 0 < versions[1].changed <= 64
        assert versions[2].changed == 4 * ROWS * 64
        assert [each.tid for each in array.history(1)] == [versions[0].tid]
        assert list(array.diff(first, versions[1])) == [(ROWS + 3, ROWS + 4)]
        assert list(array.diff(versions[1])) == [(4 * ROWS, 4 * ROWS + 2)]
        assert list(array.diff(versions[0], first)) == [(ROWS + 3, ROWS + 4), (4 * ROWS, 4 * ROWS + 2)]
        assert list(array.diff(first, first)) == []

    def test_packing_keeps_exactly_what_a_tag_on_an_array_holds(self) -> None:
        self._need_times()
        connection = self.connect()
        tagged, other = self._array(connection, "tagged"), self._array(connection, "other")
        wanted, name = np.asarray(tagged).copy(), f"tag {uuid.uuid4().hex}"
        connection.tag(name, tagged, "for the auditors")
        commit(connection)
        kept, lost = (next(iter(each.extents.segments.values()))._p_oid for each in (tagged, other))
        for array in (tagged, other):
            array[...] = 1
            array.append(np.ones((5, 8), "i8"))
        del self.place(connection)["other"]
        commit(connection)
        self._pack(connection)
        db = self.other_db()
        load_current(db.storage, kept)
        refuses(POSKeyError, load_current, db.storage, lost)
        old = self._open_at(name, db)
        assert_same(old.root()[f"{self.name}/tagged"], wanted)
        assert not old.root()[f"{self.name}/tagged"][...].flags.writeable
        refuses(KeyError, old.root().__getitem__, f"{self.name}/other")
        assert list(tagged.diff(name)) == [(0, 4 * ROWS + 5)]
        begin(connection)
        assert [tag.note for tag in connection.tags() if tag.name == name] == ["for the auditors"]
        connection.untag(name)
        commit(connection)
        self._pack(connection)
        refuses(POSKeyError, load_current, self.other_db().storage, kept)

    def test_a_tag_on_the_database_and_open_snapshots_hold_packing_back(self) -> None:
        self._need_times()
        connection = self.connect()
        reader = self.connect(self.other_db() if self.blobs else self.db)  # others are seen in the folder of blobs
        array = self._array(connection, "a")
        wanted, name = np.asarray(array).copy(), f"tag {uuid.uuid4().hex}"
        connection.tag(name)
        commit(connection)
        array[...] = 1
        commit(connection)
        snapshot = self._open_at(self._last(connection))
        begin(reader)
        array[...] = 2
        commit(connection)
        self.db.pack()
        assert_same(self.place(self._open_at(name))["a"], wanted)
        assert_same(self.place(snapshot)["a"], np.full((4 * ROWS, 8), 1))
        assert_same(self.place(reader)["a"], np.full((4 * ROWS, 8), 1))
        connection.untag(name)
        commit(connection)
        self.db.pack()  # only the snapshots are left to be kept
        for old in (snapshot, reader):
            old.cacheMinimize()
            assert_same(self.place(old)["a"], np.full((4 * ROWS, 8), 1))
        refuses(MomentError, self._open_at, name)

    def test_an_undo_that_is_refused_names_what_stands_in_the_way(self) -> None:
        self._need_times()
        connection = self.connect()
        array = self._array(connection, "a")
        array[0] = 1
        commit(connection)
        earlier = self._last(connection)
        array[0] = 2
        connection.transaction_manager.get().note("in the way")
        commit(connection)
        assert "in the way" in refuses(UndoRefusedError, undo, connection, earlier)
        done = undo(connection, self._last(connection), "back again")
        assert done.note == "back again"
        undo(connection, earlier)
        begin(connection)
        assert_same(array, noise((4 * ROWS, 8), "i8"))

    # -- for the tests

    @functools.cached_property
    def _opened_at(self) -> list[Connection]:
        return []

    def _array(self, connection: Connection, name: str) -> ZBigArray:
        array = self.place(connection)[name] = ZBigArray((4 * ROWS, 8), "i8", blksize=BLOCK)
        array[...] = noise((4 * ROWS, 8), "i8")
        commit(connection)
        return array

    def _last(self, connection: Connection) -> Any:
        return history(connection, 1)[0]

    def _open_at(self, at: Any, db: DB | None = None) -> Connection:
        connection = open_at(self.db if db is None else db, at, TransactionManager())
        self._opened_at.append(connection)
        self._open.callback(_closed, connection)
        return connection

    def _pack(self, connection: Connection) -> None:
        """Pack all that is past, with nobody looking at it."""
        for old in self._opened_at:
            _closed(old)
        begin(connection)
        assert pack(self.db).holds == []

    def _need_times(self) -> None:
        if not self.keeps_history:
            raise unittest.SkipTest("this storage keeps no history")


def _closed(connection: Connection) -> None:
    if connection.opened:
        connection.close()


def refuses(kind: type[Exception], call: Callable[..., Any], *arguments: Any) -> str:
    """What the error says that `call` must raise."""
    try:
        call(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} with {arguments} was not refused")
