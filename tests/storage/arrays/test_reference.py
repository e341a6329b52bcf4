"""Views sent by reference: no data travels, and what opens is the state that the sender saw."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import transaction

import wendelin
from tests.storage.database.children import children
from wendelin import ArrayRef, ZBigArray
from wendelin.storage.arrays import written
from wendelin.storage.arrays.dirty import DETECTORS, Detector
from wendelin.storage.arrays.known import memory_at
from wendelin.storage.database import past
from wendelin.storage.database.connection import DB
from wendelin.storage.errors import ForeignThreadError, NotStoredError, StateGoneError, UncommittedChangesError
from wendelin.storage.pickling import Pickler, dumps, hook, loads, reduce

LARGEST = 1000  # bytes of a pickle that carries one view
ROWS = 5000


@pytest.fixture(autouse=True)
def detector() -> None:
    """In place of the conftest's: most tests here do not depend on the way of finding written pages."""


@pytest.fixture(params=DETECTORS)
def each_detector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "_detector", [Detector(request.param)])


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    past.forget()


@pytest.fixture(params=["file", "local"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(url: str) -> Any:
    """A connection with a table of 40,000 numbers, each its place, and a structured array."""
    connection = wendelin.connect(url)
    root = connection.root()
    root["a"] = ZBigArray((ROWS, 8), "f8")
    root["a"][:] = np.arange(ROWS * 8).reshape(ROWS, 8)
    root["fortran"] = ZBigArray((8, 500), "i2", order="F")
    root["fortran"][:] = np.arange(4000).reshape(8, 500)
    root["records"] = ZBigArray((1000,), [("t", "M8[s]"), ("power", "f4"), ("flags", "u1", (3,))])
    root["records"]["power"] = np.arange(1000)
    transaction.commit()
    return connection


@pytest.fixture
def conn(wendelin_home: Path) -> Iterator[Any]:
    connection = opened(f"file://{wendelin_home}/plant")
    yield connection
    transaction.abort()
    connection.close()


def is_mapped(view: Any) -> bool:
    """Whether a view stands on mapped files, none of whose pages has become memory of this process."""
    found = memory_at(view.__array_interface__["data"][0])
    return found is not None and found.dirty() == []


def read_only(view: Any) -> Any:
    view.flags.writeable = False
    return view


VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda root: root["a"][...],
    "rows": lambda root: root["a"][2:5],
    "strided": lambda root: root["a"][10:4000:7, 1::3],
    "reversed": lambda root: root["a"][::-1, ::-2],
    "transposed": lambda root: root["a"][100:200].T,
    "array.T": lambda root: root["a"].T,
    "one element": lambda root: root["a"][5, 5, ...],
    "zero-size": lambda root: root["a"][7:7],
    "zero-size at the end": lambda root: root["a"][ROWS:],
    "new axis": lambda root: root["a"][None, 3],
    "fortran": lambda root: root["fortran"][1:3, ::2],
    "reinterpreted": lambda root: root["a"][3:9].view("u1"),
    "bytes from the middle of an element": lambda root: root["a"][3].view("u1")[3:14],
    "field": lambda root: root["records"]["power"],
    "field of a field": lambda root: root["records"][5:]["flags"][:, 1],
    "two fields": lambda root: root["records"][["t", "flags"]],
    "one record": lambda root: root["records"][7, ...],
    "read-only": lambda root: read_only(root["a"][4:6]),
    "asarray": lambda root: np.asarray(root["a"]),
    "reshaped": lambda root: root["a"][...].reshape(-1, 80)[3],
    "broadcast": lambda root: np.broadcast_to(root["a"][3], (1000, 8)),
    "windows": lambda root: np.lib.stride_tricks.sliding_window_view(root["a"][:, 2], 100),
    "record array": lambda root: root["records"][3:8].view(np.recarray),
    "other byte order": lambda root: root["a"][3].view(">f8"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_any_kind_opens_as_it_was(conn: Any, name: str) -> None:
    view = VIEWS[name](conn.root())
    data = dumps(view)
    assert len(data) < LARGEST
    received = loads(data)
    assert type(received) is type(view)
    assert (received.dtype, received.shape, received.strides) == (view.dtype, view.shape, view.strides)
    assert received.tobytes() == view.tobytes()
    assert is_mapped(received) or not view.size
    assert not np.shares_memory(received, view)
    with pytest.raises(ValueError, match="WRITEABLE"):
        received.flags.writeable = True


def test_a_matrix_stays_one(conn: Any) -> None:
    matrix = conn.root()["a"][:8].view(np.matrix)
    received = loads(dumps(matrix))
    assert type(received) is np.matrix
    assert is_mapped(received)
    assert received.tolist() == matrix.tolist()


def test_a_class_of_ones_own_stays_one(conn: Any) -> None:
    class Power(np.ndarray[Any, Any]):
        unit: str

    view = conn.root()["a"][:8].view(Power)
    received = loads(dumps(view, pickler=cloudpickle.Pickler))
    assert type(received).__name__ == "Power"
    assert is_mapped(received)
    view.unit = "kW"
    with pytest.raises(TypeError, match="a Power of a persistent array has more than its elements"):
        dumps(view, pickler=cloudpickle.Pickler)


def test_what_more_than_elements_is_is_refused(conn: Any) -> None:
    masked = np.ma.masked_greater(conn.root()["a"][:8], 5)  # a copy
    assert (loads(dumps(masked)) == masked).all()
    with pytest.raises(TypeError, match=r"MaskedArray .* send np\.asarray\(view\)"):
        dumps(conn.root()["a"][:8].view(np.ma.MaskedArray))


def test_other_arrays_are_pickled_as_numpy_does() -> None:
    for other in (np.arange(5), np.empty(0), np.float64(3), np.array("text"), np.arange(6)[::-2], {"a": [1]}):
        assert reduce(other) is NotImplemented
        assert dumps(other) == pickle.dumps(other)


def test_another_process_sees_the_state_that_was_sent(kind: str, wendelin_home: Path) -> None:
    @dataclass
    class Task:
        name: str
        window: Any
        more: dict[str, Any]

    conn = opened(f"{kind}://{wendelin_home}/plant")
    root = conn.root()
    table, part = root["a"], root["a"][100:200, ::-1]
    factor = root["fortran"][1]
    task = Task("sum", part, {"deep": [(table, {"rows": part[3:5]})], "function": lambda x: x.sum() + factor.sum()})
    data = dumps(task, pickler=cloudpickle.Pickler)
    without = Task("sum", None, {"deep": [(None, {"rows": None})], "function": lambda x: x.sum() + 1})
    assert len(data) - len(dumps(without, pickler=cloudpickle.Pickler)) < LARGEST
    was, was_factor = part.copy(), int(factor.sum())

    table[:] = -1
    table.append(np.zeros((3, 8)))
    root["fortran"][:] = -1
    transaction.commit()
    with children() as [child]:
        child.do(f"import pickle; task = pickle.loads(bytes.fromhex({data.hex()!r}))")
        assert child.do("", "task.window.tolist()") == was.tolist()
        assert child.do("", "task.more['deep'][0][1]['rows'].tolist()") == was[3:5].tolist()
        assert child.do("", "float(task.more['function'](task.window))") == was.sum() + was_factor
        child.do("array = task.more['deep'][0][0]")
        assert child.do("", "[type(array).__name__, len(array), float(array[100, 7])]") == [
            "ZBigArray",
            ROWS,
            was[0, 0],
        ]
        child.do("from wendelin.storage.arrays.known import memory_at as at")
        child.do("memory = at(task.window.__array_interface__['data'][0])")
        assert child.do("", "[memory is None, memory.dirty(), task.window.flags.writeable]") == [False, [], False]
        aliased = "__import__('numpy').shares_memory(task.window, task.more['deep'][0][1]['rows'])"
        assert child.do("", aliased) is True

        newer = dumps(table[0])  # file:// is opened again there
        assert child.do(f"b = pickle.loads(bytes.fromhex({newer.hex()!r}))", "b.tolist()") == [-1.0] * 8
        assert child.do("", "task.window.tolist()") == was.tolist()
        assert child.end() == 0
    conn.close()


def test_a_view_comes_back_by_reference(conn: Any) -> None:
    sent = conn.root()["a"][3:9]
    received = loads(dumps(sent))
    conn.root()["a"][:] = 0
    transaction.commit()
    part = received[2:4, 5]
    past.forget()  # its connection is closed; what it is is still known
    again = loads(dumps(part))
    assert is_mapped(again)
    assert again.tolist() == [45, 53]
    array = loads(dumps(conn.root()["a"]))
    conn.root()["a"][:] = 1
    transaction.commit()
    assert loads(dumps(loads(dumps(array))[1:3]))[0, 0] == 0


def test_what_was_committed_is_sent_before_the_next_transaction_begins(wendelin_home: Path) -> None:
    manager = transaction.TransactionManager(explicit=True)
    opened(f"file://{wendelin_home}/plant").close()
    conn = wendelin.connect(f"file://{wendelin_home}/plant", transaction_manager=manager)
    manager.begin()
    view = conn.root()["a"][...]
    view[:] = 7
    manager.commit()
    assert loads(dumps(view))[0, 0] == 7
    conn.close()


def test_an_array_that_was_received_is_sent_on_as_it_was(kind: str, wendelin_home: Path) -> None:
    conn = opened(f"{kind}://{wendelin_home}/plant")
    received = loads(dumps(conn.root()["a"]))
    conn.root()["a"][:] = 0
    transaction.commit()
    loads(dumps(conn.root()["fortran"][:]))  # now this process has seen the newer state
    for some in (received, received[1:3]):
        assert loads(dumps(some))[1, 0] in (8, 16)
    assert ArrayRef(received).tid == ArrayRef(received[0]).tid
    conn.close()


# -- what others could not see


@pytest.mark.usefixtures("each_detector")
def test_uncommitted_changes_are_refused_where_the_view_reaches(conn: Any) -> None:
    table = conn.root()["a"]
    view = table[100:110]
    view[3] = -1
    for changed in (view, view[::-1], table[...].T, table[103, 5, ...]):
        with pytest.raises(UncommittedChangesError, match=r"changed since the last commit.*transaction\.commit\(\)"):
            dumps([changed])
    assert loads(dumps(table[4000:]))[0, 0] == 32000  # other pages
    transaction.abort()
    assert loads(dumps(view))[3, 0] == 103 * 8
    view[3] = -1
    transaction.commit()
    assert loads(dumps(view))[3, 0] == -1


@pytest.mark.usefixtures("each_detector")
def test_changes_within_a_savepoint_are_not_committed(conn: Any) -> None:
    table = conn.root()["a"]
    table[3] = -1
    table.resize((ROWS + 10, 8))
    transaction.savepoint()
    for changed in (table[3], table[ROWS + 3 :]):
        with pytest.raises(UncommittedChangesError):
            ArrayRef(changed)
    with pytest.raises(UncommittedChangesError, match="ZBigArray"):
        ArrayRef(table)


@pytest.mark.usefixtures("each_detector")
@pytest.mark.parametrize("grow", [lambda a: a.append(np.zeros((600, 8))), lambda a: a.resize((ROWS + 600, 8))])
def test_new_rows_are_not_committed(conn: Any, grow: Callable[[Any], None]) -> None:
    table = conn.root()["a"]
    grow(table)
    with pytest.raises(UncommittedChangesError, match="the array grew"):
        ArrayRef(table[ROWS + 599])
    with pytest.raises(UncommittedChangesError, match="ZBigArray"):
        dumps(table)
    assert loads(dumps(table[:2]))[1, 1] == 9
    transaction.commit()
    assert loads(dumps(table[ROWS + 599])).tolist() == [0] * 8
    assert loads(dumps(table)).shape == (ROWS + 600, 8)


def test_what_was_cut_off_is_refused(conn: Any) -> None:
    table = conn.root()["a"]
    view = table[4000:]
    table.resize((100, 8))
    with pytest.raises((NotStoredError, UncommittedChangesError)):
        dumps(view)
    transaction.commit()
    with pytest.raises(NotStoredError, match="cut off the array"):
        dumps(view)


def test_who_is_in_no_database_is_refused(conn: Any) -> None:
    array = ZBigArray((5,))
    array[:] = 1
    for some in (array, array[1:]):
        with pytest.raises(NotStoredError, match=r"root\['name'\] = array"):
            dumps(some)
    conn.root()["new"] = array
    for some in (array, array[1:]):
        with pytest.raises(NotStoredError, match="commit"):
            dumps(some)
    transaction.savepoint()
    for some in (array, array[1:]):
        with pytest.raises(NotStoredError, match="commit"):
            dumps(some)
    transaction.commit()
    assert loads(dumps([array, array[1:]]))[1].tolist() == [1] * 4


def test_views_that_outlived_their_connection_are_refused(wendelin_home: Path) -> None:
    conn = opened(f"file://{wendelin_home}/plant")
    array, view = conn.root()["a"], conn.root()["a"][3:5]
    conn.close()
    for some in (array, view):
        with pytest.raises(NotStoredError, match="closed"):
            dumps(some)
    conn = wendelin.connect(f"file://{wendelin_home}/plant")
    conn.root()["a"][0, 0]  # the same array gets addresses anew
    with pytest.raises(NotStoredError, match=r"closed.*take the view again"):
        dumps(view)
    conn.close()


def test_a_database_without_a_url_is_refused(db: DB) -> None:
    conn = db.open()
    conn.root()["a"] = ZBigArray((5,))
    transaction.commit()
    with pytest.raises(NotStoredError, match=r"wendelin\.connect\(url\)"):
        dumps(conn.root()["a"][:])


def test_an_array_that_was_packed_away_says_so(conn: Any) -> None:
    view = conn.root()["a"][3:5]
    sent, changed = dumps(view), dumps(conn.root()["fortran"][:])
    del conn.root()["a"]
    conn.root()["fortran"][:] = 5
    transaction.commit()
    conn.db().pack()
    for data in (sent, changed, dumps(view)):
        with pytest.raises(StateGoneError, match=r"ArrayRef shape=.*deleted.*packed"):
            loads(data)
    assert loads(dumps(conn.root()["fortran"][:]))[0, 0] == 5


def test_another_database_says_so(conn: Any, wendelin_home: Path) -> None:
    other = opened(f"file://{wendelin_home}/other")
    ref = ArrayRef(conn.root()["a"][3:5])
    other.root()["x"] = 1
    transaction.commit()
    newer = ArrayRef(other.root()["a"][3:5])
    changed = pickle.loads(pickle.dumps(newer).replace(b"/other", b"/plant"))
    assert changed.url == ref.url
    with pytest.raises(StateGoneError, match="knows no transaction"):
        changed.deref()
    other.close()


# -- ArrayRef


def test_a_reference_is_plain_data(conn: Any) -> None:
    table = conn.root()["a"]
    view = table[10:20, ::-2]
    ref = ArrayRef(view)
    assert ref == ArrayRef(table[10:20, ::-2])
    assert hash(ref) == hash(ArrayRef(view))
    assert ref != ArrayRef(table[10:20, ::2])
    assert (ref.url, ref.oid, ref.tid) == (conn.url, table._p_oid, table._p_serial)
    data = pickle.dumps(ref)
    assert len(data) < LARGEST
    assert pickle.loads(data) == ref
    assert repr(ref).startswith("<ArrayRef shape=(10, 4) dtype=float64 bytes 648:1280 of array 0x")
    with pytest.raises(FrozenInstanceError):
        ref.offset = 5  # type: ignore[misc]
    for other in (np.arange(5), 5 * view):
        with pytest.raises(TypeError, match="no view of a persistent array"):
            ArrayRef(other)


def test_a_reference_says_what_one_of_wendelin_core_says(conn: Any) -> None:
    view = conn.root()["a"][10:20, ::-2]
    ref = ArrayRef(view)
    flat = ref.root[...].reshape(-1).view("u1")[ref.lo : ref.hi]
    again = np.ndarray(ref.shape, ref.dtype, flat, ref.z0, ref.strides)
    assert (again == view).all()
    assert (ref.deref() == view).all()
    assert (ArrayRef(conn.root()["a"]).deref() == conn.root()["a"][:]).all()


@pytest.mark.parametrize(
    "wrong", [{"offset": -8}, {"offset": ROWS * 64}, {"shape": (ROWS + 1, 8)}, {"strides": (-64, 8)}, {"dtype": "f16"}]
)
def test_a_range_that_the_array_does_not_have_is_refused(conn: Any, wrong: dict[str, Any]) -> None:
    ref = ArrayRef(conn.root()["a"][:])
    changed = pickle.loads(pickle.dumps(ref))
    changed.__dict__.update({name: np.dtype(value) if name == "dtype" else value for name, value in wrong.items()})
    with pytest.raises(StateGoneError, match="reaches beyond the 320,000 bytes"):
        changed.deref()


def test_a_reference_to_something_else_is_refused(conn: Any) -> None:
    changed = pickle.loads(pickle.dumps(ArrayRef(conn.root()["a"])))
    changed.__dict__["oid"] = conn.root()._p_oid
    with pytest.raises(StateGoneError, match="names a Folder"):
        changed.deref()


# -- picklers


def test_any_pickler_can_be_taught(conn: Any) -> None:
    class Own(pickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            return (str, ("a module",)) if obj is sys else NotImplemented

    view = conn.root()["a"][3:5]
    assert hook(Own).__name__ == "Own"
    received, other = loads(dumps([view, sys], pickler=Own))
    assert (received == view).all()
    assert other == "a module"
    for pickler in (pickle._Pickler, cloudpickle.Pickler, Pickler):
        for protocol in (2, pickle.HIGHEST_PROTOCOL):
            assert (loads(dumps({"x": view}, protocol, pickler=pickler))["x"] == view).all()


def test_a_message_opens_one_state(conn: Any) -> None:
    """Also of arrays that were changed last by different transactions."""
    conn.root()["fortran"][:] = 3
    transaction.commit()
    a, b = loads(dumps([conn.root()["a"][0], conn.root()["fortran"][0]]))
    assert (a[1], b[1]) == (1, 3)
    assert len(past._threads[threading.get_ident()]) == 1


# -- who receives


def test_many_threads_receive_at_once(conn: Any) -> None:
    data = [dumps(conn.root()["a"][row : row + 2]) for row in range(4)]
    start = threading.Barrier(4)

    def received(some: bytes) -> Any:
        start.wait()
        return [loads(some) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        views = list(pool.map(received, data))
    past.forget()  # closes what these threads have left
    assert not any(past._threads.values())
    assert [[float(view[1, 1]) for view in some] for some in views] == [[row * 8 + 9.0] * 5 for row in range(4)]


def test_a_view_is_sent_by_another_thread_than_its_connections(conn: Any) -> None:
    view = conn.root()["a"][3:5]
    conn.cacheMinimize()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: loads(dumps(view))[0, 0]).result() == 24
        array = pool.submit(lambda: loads(dumps(conn.root()["a"]))).result()
        assert pool.submit(lambda: array[1, 1]).result() == 9
    with pytest.raises(ForeignThreadError):
        array[1, 1]


def test_few_states_are_kept_open(conn: Any) -> None:
    table, received, arrays = conn.root()["a"], [], []
    for value in range(past.KEPT + 5):
        table[0] = value
        transaction.commit()
        received.append(loads(dumps(table[0])))
        if value == 1:
            arrays.append(loads(dumps(table)))
    kept = past._threads[threading.get_ident()]
    assert len(kept) == past.KEPT
    assert [float(view[3]) for view in received] == list(range(past.KEPT + 5))  # closed or not
    assert arrays[0][0, 0] == 1  # somebody holds it, so it was not closed
    arrays.clear()
    past.forget()
    assert not kept
    assert received[0].tolist() == [0.0] * 8


def test_a_closed_database_is_closed_whatever_was_received_from_it(wendelin_home: Path) -> None:
    conn = opened(f"file://{wendelin_home}/plant")
    view = loads(dumps(conn.root()["a"][3:5]))
    conn.close()
    with children() as [child]:  # file:// is for one process
        child.do(f"import wendelin, transaction; c = wendelin.connect({conn.url!r})")
        child.do("c.root()['a'][3] = 0; transaction.commit()")
        assert child.end() == 0
    assert view[0, 1] == 25


def test_a_forked_child_receives_by_itself(kind: str, wendelin_home: Path) -> None:
    conn = opened(f"{kind}://{wendelin_home}/plant")
    sent = conn.root()["a"][3:5]
    data = dumps(sent)
    assert loads(data)[0, 0] == 24
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            view = loads(data)
            again = loads(dumps(sent[1]))  # a view that the parent took
            os.write(writer, repr([float(view[0, 1]), is_mapped(view), float(again[0])]).encode())
            past._close_all()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "[25.0, True, 32.0]"
    assert os.waitpid(pid, 0)[1] == 0
    assert loads(data)[1, 0] == 32
    conn.close()


def test_replacing_fields_is_no_way_to_make_one(conn: Any) -> None:
    with pytest.raises(TypeError):
        replace(ArrayRef(conn.root()["a"]), offset=8)
