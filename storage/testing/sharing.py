"""What several writers and readers of one array see of each other."""

from __future__ import annotations

import functools
import itertools
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from persistent.mapping import PersistentMapping
from transaction import TransactionManager
from ZODB.POSException import ConflictError

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.testing.base import Base, Opener, abort, begin, begin_all, commit, small_limits
from wendelin.storage.testing.contents import BLOCK, assert_same
from wendelin.storage.testing.processes import in_processes

PER_BLOCK = BLOCK // 8

#: Commits of each of several writers.
APPENDS, THREADS, PROCESSES = 12, 3, 2


class Append(NamedTuple):
    """An acknowledged append: the transaction, who it was from, which of theirs, and its rows."""

    tid: bytes
    writer: int
    turn: int
    rows: int


class Appender:
    """Appends batches of rows (writer, turn, number of the row, rows of the batch), each in a transaction."""

    def __init__(self, db: DB, name: str, writer: int) -> None:
        self._writer = writer
        self._connection = db.open(TransactionManager())
        begin(self._connection)
        self._place = self._connection.root()[name]

    def append(self, turn: int) -> Append:
        """One batch, some of a row, some larger than what lies in a database object; no conflict is expected."""
        begin(self._connection)
        rows = 6000 if turn % 6 == 5 else 1 + (7 * turn + self._writer) % 40
        batch = np.zeros((rows, 4), "i8")
        batch[:] = (self._writer, turn, 0, rows)
        batch[:, 2] = np.arange(rows)
        self._place["a"].append(batch)
        mark = self._place[f"mark {self._writer}"]
        mark["turn"] = turn
        commit(self._connection)
        return Append(mark._p_serial, self._writer, turn, rows)

    def run(self, turns: int = APPENDS) -> list[Append]:
        """So many of them; then the connection is closed."""
        done = [self.append(turn) for turn in range(turns)]
        self._connection.close()
        return done


def _appender(opener: Opener, name: str, writer: int) -> Appender:
    return Appender(opener(), name, writer)


def _append_all(appender: Appender) -> list[Append]:
    with small_limits():
        return appender.run()


def _write_blocks(opener: Opener, name: str, numbers: list[int]) -> Callable[[], None]:
    connection = opener().open(TransactionManager())
    return functools.partial(_write_each, connection, connection.root()[name]["a"], numbers)


def _write_each(connection: Connection, array: ZBigArray, numbers: list[int]) -> None:
    with small_limits():
        for number in numbers:
            begin(connection)
            array[number * PER_BLOCK + 5] = number
            commit(connection)


def _call(state: Callable[[], Any]) -> Any:
    return state()


class Sharing(Base):
    """Several connections, in threads and in processes."""

    def test_living_views_follow_what_others_commit_at_the_next_boundary(self) -> None:
        connection, other = self.connect(), self.connect(self.other_db())
        self.place(connection)["a"] = array = ZBigArray((16 * PER_BLOCK,), "i8", blksize=BLOCK)
        commit(connection)
        begin(other)
        view = self.place(other)["a"][:]
        address = view.__array_interface__["data"]
        wanted = np.zeros(16 * PER_BLOCK, "i8")
        for value, size in enumerate((1, 1000, 5 * PER_BLOCK, 10, 16 * PER_BLOCK, 1), 1):
            array[:size] = value
            commit(connection)
            assert_same(view, wanted)
            wanted[:size] = value
            begin(other)
            assert_same(view, wanted)
        assert self.place(other)["a"][:].__array_interface__["data"] == address
        view[3] = 9  # and they are written to as before
        commit(other)
        begin(connection)
        assert array[3] == 9

    def test_writers_of_different_names_merge_and_of_one_name_conflict(self) -> None:
        connection, other = self.connect(), self.connect(self.other_db())
        self.place(connection)["x"] = 0
        commit(connection)
        begin(other)
        ours, theirs = self.place(connection), self.place(other)
        ours["ours"], theirs["theirs"] = 1, 2
        commit(other)
        commit(connection)
        begin(other)
        ours["x"], theirs["x"] = 3, 4
        commit(other)
        _must_conflict(connection)
        assert dict(ours.items()) == {"ours": 1, "theirs": 2, "x": 4}

    def test_writers_of_different_blocks_merge(self) -> None:
        first, second = self.connect(), self.connect(self.other_db())
        self.place(first)["a"] = ZBigArray((40 * PER_BLOCK,), "i8", blksize=BLOCK)
        wanted = np.zeros(40 * PER_BLOCK, "i8")
        commit(first)
        for size in (1, 10, PER_BLOCK, 5 * PER_BLOCK):  # tiny ones, and such as are too large for an object
            begin_all(first, second)
            wanted[:size] += 1
            wanted[20 * PER_BLOCK :][:size] += 2
            self.place(first)["a"][:size] += 1
            self.place(second)["a"][20 * PER_BLOCK : 20 * PER_BLOCK + size] += 2
            commit(second)
            commit(first)
            begin(second)
            for connection in (first, second):
                assert_same(self.place(connection)["a"], wanted)

    def test_writers_of_different_blocks_merge_while_the_map_is_reorganised(self) -> None:
        connections = [self.connect(), *(self.connect(db) for db in (self.other_db(), self.other_db()))]
        self.place(connections[0])["a"] = ZBigArray((90 * PER_BLOCK,), "i8", blksize=BLOCK)
        wanted = np.zeros(90 * PER_BLOCK, "i8")
        commit(connections[0])
        blocks = np.random.default_rng(1).permutation(90).tolist()
        with small_limits():
            for turn, some in enumerate(_in_threes(blocks)):
                for connection, block in zip(connections, some, strict=True):
                    begin(connection)
                    wanted[block * PER_BLOCK + turn] = turn + 1
                    self.place(connection)["a"][block * PER_BLOCK + turn] = turn + 1
                for connection in connections[turn % 3 :] + connections[: turn % 3]:
                    commit(connection)
        for connection in connections:
            begin(connection)
            array = self.place(connection)["a"]
            assert array.extents.base is not None
            assert_same(array, wanted)

    def test_a_writer_merges_with_many_commits_of_others(self) -> None:
        slow, quick = self.connect(), self.connect(self.other_db())
        self.place(slow)["a"] = ZBigArray((40 * PER_BLOCK,), "i8", blksize=BLOCK)
        wanted = np.zeros(40 * PER_BLOCK, "i8")
        commit(slow)
        begin(slow)
        self.place(slow)["a"][5] = wanted[5] = 5
        with small_limits():
            for block in range(1, 40):
                begin(quick)
                self.place(quick)["a"][block * PER_BLOCK] = wanted[block * PER_BLOCK] = block
                commit(quick)
            commit(slow)
        begin(quick)
        for connection in (slow, quick):
            assert_same(self.place(connection)["a"], wanted)

    def test_writers_of_one_block_conflict_and_a_retry_succeeds(self) -> None:
        first, second = self.connect(), self.connect(self.other_db())
        self.place(first)["a"] = ZBigArray((4 * PER_BLOCK,), "i8", blksize=BLOCK)
        commit(first)
        wanted = np.zeros(4 * PER_BLOCK, "i8")
        for turn, size in enumerate((1, PER_BLOCK // 2, 3 * PER_BLOCK), 1):
            begin_all(first, second)
            view = self.place(second)["a"][:]
            self.place(first)["a"][:size] = wanted[:size] = turn
            view[PER_BLOCK - 1] = -turn
            commit(first)
            _must_conflict(second)
            assert_same(view, wanted)
            view[PER_BLOCK - 1] = wanted[PER_BLOCK - 1] = -turn
            commit(second)
            begin(first)
            assert_same(self.place(first)["a"], wanted)

    def test_appends_and_writes_merge(self) -> None:
        writer, appender = self.connect(), self.connect(self.other_db())
        self.place(writer)["a"] = ZBigArray((4 * PER_BLOCK,), "i8", blksize=BLOCK)
        wanted = np.zeros(4 * PER_BLOCK, "i8")
        commit(writer)
        with small_limits():
            for turn in range(1, 13):
                begin_all(writer, appender)
                self.place(writer)["a"][turn] = wanted[turn] = turn
                self.place(appender)["a"].append(np.full(100, turn))
                wanted = np.concatenate([wanted, np.full(100, turn)])
                for connection in (writer, appender) if turn % 2 else (appender, writer):
                    commit(connection)
        for connection in (writer, appender):
            begin(connection)
            assert_same(self.place(connection)["a"], wanted)

    def test_appends_from_threads_merge_in_the_order_of_the_commits(self) -> None:
        self._prepare_appends(THREADS)
        with small_limits(), ThreadPoolExecutor(THREADS) as pool:
            running = [pool.submit(lambda n: Appender(self.db, self.name, n).run(), n) for n in range(THREADS)]
            done = [append for future in running for append in future.result()]
        self._check_appends(done, THREADS * APPENDS)

    def test_appends_from_processes_merge_in_the_order_of_the_commits(self) -> None:
        self._need_processes()
        self._prepare_appends(PROCESSES + 1)
        ours = Appender(self.db, self.name, PROCESSES)
        works = [(_appender, (self.open_db, self.name, n), _append_all) for n in range(PROCESSES)]
        mine, *theirs = in_processes(works, functools.partial(_append_all, ours))
        done = [*mine, *itertools.chain.from_iterable(theirs)]
        self._check_appends(done, (PROCESSES + 1) * APPENDS)

    def test_processes_write_different_blocks_at_the_same_time(self) -> None:
        self._need_processes()
        connection = self.connect()
        self.place(connection)["a"] = array = ZBigArray((30 * PER_BLOCK,), "i8", blksize=BLOCK)
        commit(connection)
        shares = [list(range(n, 30, 3)) for n in range(3)]
        works = [(_write_blocks, (self.open_db, self.name, share), _call) for share in shares[:2]]
        in_processes(works, lambda: _write_each(connection, array, shares[2]))
        begin(connection)
        wanted = np.zeros((30, PER_BLOCK), "i8")
        wanted[:, 5] = np.arange(30)
        assert_same(array, wanted.ravel())

    def _need_processes(self) -> None:
        if not self.several_processes:
            raise unittest.SkipTest("this storage is for one process")

    def _prepare_appends(self, writers: int) -> None:
        connection = self.connect()
        place = self.place(connection)
        place["a"] = ZBigArray((0, 4), "i8", blksize=BLOCK)
        for writer in range(writers):
            place[f"mark {writer}"] = PersistentMapping()
        commit(connection)

    def _check_appends(self, done: list[Append], count: int) -> None:
        """Every row is there, each append in one piece, and they lie in the order of their transactions."""
        assert len({append.tid for append in done}) == count
        wanted = [row for append in sorted(done) for row in _rows(append)]
        for db in (self.db, self.other_db()):
            assert_same(self.place(self.connect(db))["a"], np.array(wanted, "i8"))
        self.close_databases()
        assert_same(self.place(self.connect())["a"], np.array(wanted, "i8"))


def _rows(append: Append) -> npt.NDArray[Any]:
    rows = np.zeros((append.rows, 4), "i8")
    rows[:] = (append.writer, append.turn, 0, append.rows)
    rows[:, 2] = np.arange(append.rows)
    return rows


def _in_threes(values: list[int]) -> list[list[int]]:
    return [values[i : i + 3] for i in range(0, len(values), 3)]


def _must_conflict(connection: Connection) -> None:
    try:
        commit(connection)
    except ConflictError:
        abort(connection)
    else:
        raise AssertionError("two transactions changed the same thing, and both were stored")
