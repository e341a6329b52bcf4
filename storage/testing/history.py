"""Reading the past, taking it back, and packing it away; and connections that may only read."""

from __future__ import annotations

import gc
import itertools
import unittest
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ZODB.POSException import ConflictError, ReadOnlyError, UndoError

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.database.connection import Connection
from wendelin.storage.testing.base import Base, abort, begin, begin_all, commit, small_limits
from wendelin.storage.testing.contents import BLOCK, assert_same, noise

ROWS = BLOCK // 64

Values = npt.NDArray[Any]


class Change(NamedTuple):
    """A change of an array of eight columns, and the same of a plain one."""

    array: Callable[[ZBigArray], Any]
    plain: Callable[[Values], Values]


def _writing(start: int, stop: int, value: int) -> Change:
    def plain(values: Values) -> Values:
        out = values.copy()
        out[start:stop] = value
        return out

    return Change(lambda array: array.__setitem__(slice(start, stop), value), plain)


def _appending(rows: int, seed: int) -> Change:
    more = noise((rows, 8), "i8", seed)
    return Change(lambda array: array.append(more), lambda values: np.concatenate([values, more]))


def _shortening(rows: int) -> Change:
    return Change(lambda array: array.resize((rows, 8)), lambda values: values[:rows])


CHANGES = {
    "a value": _writing(5, 6, 1),
    "a value in another block": _writing(3 * ROWS, 3 * ROWS + 1, 2),
    "all": _writing(0, 4 * ROWS, 3),
    "a row appended": _appending(1, 1),
    "many rows appended": _appending(4000, 2),
    "shortened": _shortening(3 * ROWS + 7),
}

#: One change after another; a second one that finds its work done would store nothing.
PAIRS = [
    pair
    for pair in itertools.product(CHANGES.items(), CHANGES.items())
    if not (pair[0] == pair[1] and pair[0][0] == "shortened")
]


class History(Base):
    """The database's past."""

    def test_the_past_is_read_and_cannot_be_written(self) -> None:
        self._need_history()
        connection = self.connect()
        self.place(connection)["a"] = array = ZBigArray((4 * ROWS, 8), "i8", blksize=BLOCK)
        array[...] = 1
        commit(connection)
        past = [(self._tid(array), np.asarray(array).copy())]
        for change in CHANGES.values():
            change.array(array)
            commit(connection)
            past.append((self._tid(array), np.asarray(array).copy()))
        for tid, wanted in past:
            old = self.connect(at=tid)
            found = self.place(old)["a"]
            view = found[...]
            assert_same(view, wanted)
            assert not view.flags.writeable
            _must_refuse(ValueError, setattr, view.flags, "writeable", True)
            _must_refuse(ValueError, view.__setitem__, (0, 0), 1)
            _must_refuse(ValueError, found.__setitem__, (0, 0), 1)
            _must_refuse(ValueError, found.append, np.zeros((1, 8)))
            _must_refuse(ValueError, found.resize, (1, 8))

    def test_a_read_only_connection_refuses_changes(self) -> None:
        connection = self.connect()
        self.place(connection)["a"] = array = ZBigArray((4 * ROWS, 8), "i8", blksize=BLOCK)
        array[...] = 1
        commit(connection)
        reader = self.connect(self.another_db(read_only=True))
        assert reader.isReadOnly()
        place = self.place(reader)
        assert (place["a"][...] == 1).all()
        for change in CHANGES.values():
            _must_refuse(ValueError, change.array, place["a"])
        _must_refuse(ValueError, place["a"][...].__setitem__, (0, 0), 2)
        abort(reader)
        place["b"] = 1
        _must_refuse(ReadOnlyError, commit, reader)
        abort(reader)
        begin(connection)
        assert list(self.place(connection)) == ["a"]
        assert (array[...] == 1).all()

    def test_packing_keeps_what_is_live(self) -> None:
        connection, other = self.connect(), self.connect(self.other_db())
        place = self.place(connection)
        wanted: dict[str, Values] = {}
        with small_limits():
            for name in ("kept", "deleted"):
                place[name] = ZBigArray((4 * ROWS, 8), "i8", blksize=BLOCK)
                wanted[name] = np.zeros((4 * ROWS, 8), "i8")
                for change in [*CHANGES.values(), CHANGES["a row appended"], CHANGES["a value"]]:
                    change.array(place[name])
                    wanted[name] = change.plain(wanted[name])
                    commit(connection)
        begin(other)
        view, doomed = self.place(other)["kept"][...], self.place(other)["deleted"][...]
        del place["deleted"]
        commit(connection)
        self.db.pack()
        assert_same(view, wanted["kept"])
        assert_same(doomed, wanted["deleted"])
        begin_all(connection, other)
        assert_same(doomed, wanted["deleted"])  # it has views, so it shows what it showed
        del view, doomed
        gc.collect()
        for found in (connection, other):
            found.cacheMinimize()
            assert_same(self.place(found)["kept"], wanted["kept"])
        self.place(connection)["kept"][9] = wanted["kept"][9] = 9
        self.place(connection)["kept"].append(wanted["kept"][:3])
        commit(connection)
        self.db.pack()
        self.close_databases()
        assert_same(self.place(self.connect())["kept"], np.concatenate([wanted["kept"], wanted["kept"][:3]]))

    def test_undoing_the_last_change_gives_the_earlier_state_back(self) -> None:
        self._need_history()
        connection, other = self.connect(), self.connect(self.other_db())
        for name, change in CHANGES.items():
            before = self._prepared(connection, name)
            begin(other)
            view = self.place(other)[name][...]
            change.array(self.place(connection)[name])
            commit(connection)
            begin(other)
            assert self._undone(connection, self._latest(connection))
            self._check({name: before}, connection, other, self.connect())
            assert_same(view, before, name)
            self.place(connection)[name].append(before[:2])  # and it goes on from there
            self.place(connection)[name][5] = before[5] = 5
            commit(connection)
            wanted = np.concatenate([before, before[:2]])
            wanted[len(before) :] = noise((4 * ROWS, 8), "i8")[:2]
            self._check({name: wanted}, connection, other, self.connect())

    def test_undoing_an_earlier_change_succeeds_or_fails_but_never_mixes(self) -> None:
        self._need_history()
        connection, other = self.connect(), self.connect(self.other_db())
        wanted: dict[str, Values] = {}
        for (first, earlier), (second, later) in PAIRS:
            name = f"{first}, then {second}"
            before = self._prepared(connection, name)
            earlier.array(self.place(connection)[name])
            commit(connection)
            number = self._latest(connection)
            later.array(self.place(connection)[name])
            commit(connection)
            undone = self._undone(connection, number)
            wanted[name] = later.plain(before if undone else earlier.plain(before))
            self._check({name: wanted[name]}, connection, other)
        self._check(wanted, self.connect())

    def test_an_undo_between_the_commits_of_another_never_mixes(self) -> None:
        self._need_history()
        connection, other = self.connect(), self.connect(self.other_db())
        wanted: dict[str, Values] = {}
        for (first, undone), (second, change) in PAIRS:
            name = f"{first}, then {second}"
            before = self._prepared(connection, name)
            undone.array(self.place(connection)[name])
            commit(connection)
            begin(other)
            change.array(self.place(other)[name])
            assert self._undone(connection, self._latest(connection))
            wanted[name] = before
            try:
                commit(other)
                wanted[name] = change.plain(before)
            except ConflictError:
                abort(other)
            self._check({name: wanted[name]}, connection, other)
        self._check(wanted, self.connect())

    def _prepared(self, connection: Connection, name: str) -> Values:
        self.place(connection)[name] = array = ZBigArray((4 * ROWS, 8), "i8", blksize=BLOCK)
        values = noise((4 * ROWS, 8), "i8").copy()
        array[...] = values
        commit(connection)
        array.append(values[:1])  # so that there is a tail and a log already
        array[2 * ROWS] = 4
        commit(connection)
        return np.asarray(array).copy()

    def _check(self, wanted: dict[str, Values], *connections: Connection) -> None:
        for connection in connections:
            begin(connection)
            for name, values in wanted.items():
                assert_same(self.place(connection)[name], values, name)

    def _tid(self, array: ZBigArray) -> bytes:
        """The transaction that changed it last."""
        array.extents._p_activate()
        return bytes(array.extents._p_serial)

    def _latest(self, connection: Connection) -> Any:
        return connection.db().undoLog(0, 1)[0]["id"]

    def _undone(self, connection: Connection, number: Any) -> bool:
        """Undo a transaction; False when the storage refuses."""
        manager = connection.transaction_manager
        manager.begin()
        connection.db().undo(number, manager.get())
        try:
            manager.commit()
        except (UndoError, ConflictError):
            manager.abort()
            return False
        return True

    def _need_history(self) -> None:
        if not self.keeps_history:
            raise unittest.SkipTest("this storage keeps no history")


def _must_refuse(kind: type[Exception], call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except kind:
        return
    raise AssertionError(f"{call} with {arguments} was not refused")
