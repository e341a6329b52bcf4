"""Who owns what: interrupts at any line of a commit, foreign threads, forks, undo, leaks and the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError, UndoError

from wendelin import ZBigArray
from wendelin.storage.arrays import memory as memory_module
from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.database.connection import Connection
from wendelin.storage.errors import ForeignThreadError, ForkedConnectionError

N = 1 << 16
BLOCK = 1 << 16


@pytest.fixture
def array(root: Any) -> ZBigArray:
    """Eight blocks of i8, stored."""
    root["a"] = array = ZBigArray((N,), "i8", blksize=BLOCK)
    array[:] = np.arange(N)
    transaction.commit()
    return array


class Interrupt:
    """Sends SIGINT to this process at the first place that was not interrupted yet, so commit by commit at each place.

    Places are all lines of this project: `times` 2 is each twice, since the second of two arrays may be in another
    state than the first. With `calls` also those where Python looks for signals in ZODB, transaction and other
    packages: where a function begins, and where one written in C returns. (At other lines there no interrupt can
    come; at some it would do harm.)
    """

    def __init__(self, *, times: int, calls: bool) -> None:
        self.times, self.calls = times, calls
        self.done: set[tuple[str, int, str, int]] = set()
        self.where = ""
        self._seen: Counter[tuple[str, int]] = Counter()
        self._line, self._call = self.line, self.call  # Python 3.11 does not keep alive what it is calling

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        self.where = ""
        self._seen.clear()
        sys.settrace(self._line)
        sys.setprofile(self._call if self.calls else None)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if "/wendelin/storage/" not in name:
            return None
        if event == "line":
            self._seen[name, frame.f_lineno] += 1
            count = self._seen[name, frame.f_lineno]
            if count <= self.times:
                self._at((name, frame.f_lineno, event, count))
        return self._line

    def call(self, frame: FrameType, event: str, arg: Any) -> None:
        name = frame.f_code.co_filename
        if event in ("call", "c_return") and ("/site-packages/" in name or "/wendelin/" in name):
            self._at((name, frame.f_lineno, event, 1))

    def _at(self, place: tuple[str, int, str, int]) -> None:
        if not self.where and place not in self.done:
            self.done.add(place)
            self.where = f"{place[2]} at {place[0]}:{place[1]}"
            sys.settrace(None)
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)


class Pair:
    """Two arrays and a number that always change together, seen by two connections through old and new views."""

    def __init__(self, conn: Any, other: Any, kind: str) -> None:
        self.root, self.theirs, self.kind = conn.root(), other.root(), kind
        self.begin = other.transaction_manager.begin
        for name in "ab":
            self.root[name] = ZBigArray((N,), "i8", blksize=BLOCK)
            self.root[name][:] = 0
        self.root["x"] = 0
        transaction.commit()
        self.begin()
        self.stop = 3 * BLOCK // 8 if kind == "large" else 10
        self.views = [self.root[name][:N] for name in "ab"]
        self.others = [self.theirs[name][:N] for name in "ab"]

    def write(self, value: int) -> None:
        for view in self.views:
            view[5 : self.stop] = value
        if self.kind == "append":
            for name in "ab":
                self.root[name].append([value])
        self.root["x"] = value

    @staticmethod
    def seen(root: Any, views: list[Any], stop: int) -> list[Any]:
        return [
            int(root["x"]),
            *(np.unique(view[5:stop]).tolist() for view in views),
            *(np.unique(root[name][5:stop]).tolist() for name in "ab"),
            *(int(root[name][-1]) if len(root[name]) > N else None for name in "ab"),
        ]

    def stored(self) -> int:
        """The number that everybody sees; fails when it is a mixture."""
        self.begin()
        transaction.begin()
        found = self.seen(self.theirs, self.others, self.stop)
        assert found[1:5] == [[found[0]]] * 4
        assert found[5] == found[6]
        assert found[5] in (None, found[0])
        assert self.seen(self.root, self.views, self.stop) == found
        return int(found[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python drops those in finalizers
@pytest.mark.parametrize("kind", ["small", "large", "append"])
def test_an_interrupt_at_every_line_of_a_commit_leaves_the_old_or_the_new_state(conn, other, kind, detector) -> None:
    """Real SIGINTs, wherever one can come in a commit; once also in the code of ZODB and other packages."""
    pair = Pair(conn, other, kind)
    interrupt = Interrupt(times=2 if kind == "small" else 1, calls=detector == "scan")
    value = before = raised = through = 0
    while through < 3:
        value += 1
        pair.write(value)
        finished = False
        with contextlib.suppress(KeyboardInterrupt), interrupt.armed():
            transaction.commit()
            finished = True
        through = 0 if interrupt.where else through + 1
        raised += not finished
        transaction.abort()
        found = pair.stored()
        assert found == value if finished else found in (before, value), interrupt.where
        before = found
        if through or len(interrupt.done) % 4 == 0:
            value = before = value + 1
            pair.write(value)
            transaction.commit()
            assert pair.stored() == value, interrupt.where
    assert len(interrupt.done) > 400
    assert raised > 0.9 * len(interrupt.done)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [("storage", "tpc_begin"), ("storage", "tpc_vote"), ("storage", "tpc_finish"), ("memory", "follow"),
     ("memory", "committed"), ("memory", "spill"), ("memory", "dirty"), ("addresses", "map_file"),
     ("file", "_finish_finish"), ("os", "fsync"), ("os", "writev")],
)  # fmt: skip
def test_an_exception_at_a_step_of_a_commit(conn, other, monkeypatch, owner, name, moment) -> None:
    pair = Pair(conn, other, "large")
    target = {
        "storage": conn._storage,
        "file": conn.db().storage,
        "memory": ArrayMemory,
        "addresses": Reservation,
        "os": os,
    }[owner]
    real = getattr(target, name)
    calls = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 or (calls == 1 and owner in ("storage", "file")):
            result = real(*arguments, **options) if moment == "after" else None
            signal.raise_signal(signal.SIGINT)
            if moment == "after":
                return result
        return real(*arguments, **options)

    pair.write(1)
    monkeypatch.setattr(target, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        transaction.commit()
    monkeypatch.setattr(target, name, real)
    transaction.abort()
    assert pair.stored() in (0, 1)
    pair.write(2)
    transaction.commit()
    assert pair.stored() == 2


def test_a_second_interrupt_while_an_interrupted_commit_is_given_up(conn, other, monkeypatch) -> None:
    """The transaction does not get to tell the storage, whose lock would stay taken."""
    pair = Pair(conn, other, "large")
    pair.write(1)
    with monkeypatch.context() as patched:
        patched.setattr(conn._storage, "tpc_vote", lambda *_: signal.raise_signal(signal.SIGINT))
        patched.setattr(conn, "abort", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            transaction.commit()
    transaction.abort()
    assert not conn.db().storage._commit_lock.locked()
    assert pair.stored() == 0
    pair.write(2)
    transaction.commit()
    assert pair.stored() == 2


def in_thread(work: Callable[[], Any]) -> Any:
    """What `work` returns, or the exception it raises, in another thread."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # noqa: BLE001 (the test asserts on it)
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_a_foreign_thread_is_refused_within_a_transaction_and_welcome_in_the_next(other, array) -> None:
    manager = other.transaction_manager
    theirs = manager.begin() and other.root()["a"]
    view = theirs[:]
    view[0] = -1
    attempts: list[Callable[[], Any]] = [
        lambda: theirs[0],
        lambda: theirs[:],
        lambda: theirs.__setitem__(0, 5),
        lambda: theirs.append([1]),
        lambda: theirs.resize(3),
        lambda: theirs.__iadd__(1),
        manager.commit,
    ]
    for attempt in attempts:
        assert isinstance(in_thread(attempt), ForeignThreadError), attempt
    assert theirs.shape == (N,)
    assert in_thread(lambda: view.__setitem__(slice(1, 3), -2)) is None  # NumPy on a view is anybody's
    manager.commit()

    def next_transaction() -> list[int]:
        theirs[3] = -3
        manager.commit()
        manager.begin()
        return list(theirs[:5].tolist())

    assert in_thread(next_transaction) == [-1, -2, -2, -3, 4]
    manager.begin()
    assert theirs[4] == 4


def test_a_foreign_savepoint_is_refused_and_the_transaction_aborts(other, array) -> None:
    manager = other.transaction_manager
    manager.begin()
    view = other.root()["a"][:]
    view[0] = -1
    assert isinstance(in_thread(manager.savepoint), ForeignThreadError)
    manager.abort()  # the transaction package lets nothing else be done after a savepoint that failed
    assert view[0] == 0


@pytest.mark.parametrize("stop", [10, N])
def test_undo_shows_in_living_views(db, conn, other, array, stop) -> None:
    other.transaction_manager.begin()
    views = [array[:], other.root()["a"][:]]
    array[5:stop] = -1
    transaction.commit()
    newest = db.undoLog(0, 1)[0]["id"]
    other.transaction_manager.begin()
    assert views[1][5] == -1
    db.undo(newest)
    transaction.commit()
    other.transaction_manager.begin()
    transaction.begin()
    for view in views:
        np.testing.assert_array_equal(view, np.arange(N))
    array[7] = -7
    transaction.commit()
    other.transaction_manager.begin()
    assert [view[5:9].tolist() for view in views] == [[5, 6, -7, 8]] * 2


class Undone:
    """A change of an array, and one of another block behind it."""

    def __init__(self, db: Any, array: ZBigArray, change: str) -> None:
        self.db, self.array, self.view = db, array, array[:]
        if change == "write":
            array[5:10] = -1
        elif change == "fill":
            array[: BLOCK // 8] = -1
        elif change == "append":
            array.append([-1] * 10)
        else:
            array.resize(2 * N if change == "grow" else N // 2)
        transaction.commit()
        self.changed = array[:].copy()
        array[BLOCK // 4] = -9
        transaction.commit()
        self.later, self.change = (found["id"] for found in db.undoLog(0, 2))
        self.both = array[:].copy()

    def undo(self, identifier: bytes) -> None:
        self.db.undo(identifier)
        transaction.commit()
        transaction.begin()

    def shows(self, expected: np.ndarray) -> None:
        np.testing.assert_array_equal(self.array[:], expected)
        seen = min(N, len(expected))
        np.testing.assert_array_equal(self.view[:seen], expected[:seen])
        self.array._p_jar.cacheMinimize()
        np.testing.assert_array_equal(self.array[:], expected)


@pytest.mark.parametrize("change", ["write", "fill", "append", "cut"])
def test_an_undo_beneath_a_later_transaction_is_refused_and_changes_nothing(db, array, change) -> None:
    """Both changed the extent map, and a state that was left by an undo merges with nothing (note 0006)."""
    found = Undone(db, array, change)
    with pytest.raises(UndoError, match="modified by a later transaction"):
        found.undo(found.change)
    transaction.abort()
    found.shows(found.both)
    array[0] = found.both[0] = -2
    transaction.commit()
    found.shows(found.both)


def test_an_undo_of_growth_leaves_what_was_written_since(db, array) -> None:
    """Growing stores no pages: the later write stands, the length goes back."""
    found = Undone(db, array, "grow")
    found.undo(found.change)
    expected = np.arange(N)
    expected[BLOCK // 4] = -9
    found.shows(expected)


@pytest.mark.parametrize("change", ["write", "fill", "append", "cut", "grow"])
def test_undo_of_all_from_the_newest_on(db, array, change) -> None:
    found = Undone(db, array, change)
    found.undo(found.later)
    found.shows(found.changed)
    found.undo(found.change)
    found.shows(np.arange(N))
    array[3] = -3
    transaction.commit()
    found.undo(db.undoLog(0, 1)[0]["id"])
    found.shows(np.arange(N))


def resources(folder: Path) -> dict[str, int]:
    while gc.collect():  # what finalizers hold is garbage of the next round
        pass
    return {
        "mappings": len(Path("/proc/self/maps").read_text().splitlines()),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "memories": sum(isinstance(found, ArrayMemory | Reservation | Connection) for found in gc.get_objects()),
        "drafts": len(list(folder.rglob("segment-*"))),
    }


@pytest.mark.slow
def test_cycles_of_opening_writing_and_closing_leave_nothing(db, array, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(memory_module, "_WIDE", 512)  # comparing takes as long as what is mapped ahead is large

    def cycle(number: int) -> None:
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        found = connection.root()["a"]
        view = found[:]
        knot: list[Any] = [view]
        knot.append(knot)  # only the collector frees it
        view[: N if number % 2 else 5] = number
        unstored = ZBigArray((N,), "i8")
        unstored[:] = number
        if number % 3 == 0:
            manager.commit()
        else:
            manager.abort()
        if number % 5 == 0:
            connection.root()["new"] = unstored
            manager.abort()
        connection.close()
        if number % 10 == 0:
            db.pack()

    for number in range(30):
        cycle(number)
    before = resources(tmp_path)
    for number in range(30, 330):
        cycle(number)
    after = resources(tmp_path)
    assert after["drafts"] == 0
    assert after["descriptors"] <= before["descriptors"] + 2, (before, after)
    assert after["mappings"] <= before["mappings"] + 20, (before, after)
    assert after["memories"] <= before["memories"] + 2, (before, after)


def end_of_a_fork(work: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            work()
            status = 71
        except ForkedConnectionError:
            status = 0
        except SystemExit:
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_leaves_what_its_parent_has_spilled(root, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WENDELIN_MEMORY_BUDGET", "2MB")
    root["a"] = array = ZBigArray((1 << 20,), "i8", blksize=BLOCK)
    transaction.commit()
    array[:] = 7
    drafts = list(tmp_path.rglob("segment-*"))
    assert drafts

    def drop_everything() -> None:
        root._p_jar.arrays.release()
        for memory in (root._p_jar.arrays._memories, *[m for m in gc.get_objects() if isinstance(m, ArrayMemory)]):
            if isinstance(memory, ArrayMemory) and memory.draft is not None:
                memory.draft.drop()
        sys.exit(0)

    def write() -> None:
        array[:] = 8

    for work in (write, lambda: array.append([1]), drop_everything, lambda: sys.exit(1)):
        assert end_of_a_fork(work) == 0, work
        assert list(tmp_path.rglob("segment-*")) == drafts
    array[0] = 6
    transaction.commit()
    root._p_jar.cacheMinimize()
    assert root["a"][:3].tolist() == [6, 7, 7]
    assert root["a"][:].sum() == 7 * (1 << 20) - 1


def test_fresh_caches_leave_views_of_earlier_ones_alone(db, array) -> None:
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    view = connection.root()["a"][:]
    manager.abort()
    connection.close()
    resetCaches()
    connection = db.open(manager)
    found = connection.root()["a"]
    found[0] = -1
    manager.commit()
    assert view[0] == 0
    assert found[:][0] == -1
    manager.abort()
    connection.close()


def test_a_resize_elsewhere_meets_writes_here(array, other) -> None:
    """Either the writes are stored, or the transaction conflicts and a retry sees the new shape; views never dangle."""
    other.transaction_manager.begin()
    theirs = other.root()["a"]
    view = theirs[:]
    view[-1] = view[0] = -1
    array.resize(100)
    transaction.commit()
    try:
        other.transaction_manager.commit()
        stored = -1
    except ConflictError:
        other.transaction_manager.abort()
        stored = 0
    other.transaction_manager.begin()
    transaction.begin()
    assert theirs.shape == array.shape == (100,)
    assert theirs[0] == array[0] == view[0] == stored
    assert not view[100:].any()
    array.resize(N)
    assert not array[100:].any()
    transaction.abort()


def test_the_collector_may_run_at_any_time_of_a_commit(conn, other) -> None:
    before = gc.get_threshold()
    pair = Pair(conn, other, "large")
    gc.set_threshold(1)
    try:
        for value in range(1, 4):
            pair.write(value)
            transaction.commit()
            conn.cacheMinimize()
            assert pair.stored() == value
    finally:
        gc.set_threshold(*before)
