"""Activities without an engine: created in transactions, ordered, run exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.POSException import ConflictError

import wendelin
from tests.storage.activities.conftest import Worker
from wendelin import ActiveProcess, ZBigArray
from wendelin.storage.activities import create
from wendelin.storage.activities import message as messages
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.activities.run import Outcome, run
from wendelin.storage.activities.user import acting_as, current_user
from wendelin.storage.errors import ActivityError, NotStoredError, OptionError, UncommittedChangesError


def put(name: str, value: Any) -> None:
    """Leave a value in the root that the activity runs on."""
    _root()[name] = value


def _root() -> Any:
    from wendelin.storage.activities.create import _only_connection

    return _only_connection().root()


@pytest.fixture
def data(root: Any) -> ZBigArray:
    root["data"] = data = ZBigArray((100,), "i8")
    data[:] = np.arange(100)
    transaction.commit()
    return data


def fresh(root: Any) -> Any:
    transaction.begin()
    return root


def test_the_decks_line(data: ZBigArray, worker: Worker) -> None:
    for server in range(4):
        data.activate().process(server * 25, 25)
    transaction.commit()
    assert [outcome.kind for outcome in worker.work()] == ["ended"] * 4
    transaction.begin()
    assert data[:].tolist() == [2 * n for n in range(100)]


def test_it_exists_if_and_only_if_its_transaction_commits(data: ZBigArray, root: Any, worker: Worker) -> None:
    data.activate().process(0, 10)
    transaction.abort()
    assert worker.work() == []
    handle = data.activate().process(0, 10)
    assert handle.state == "not committed"
    assert not handle.done()
    assert worker.work() == []
    transaction.commit()
    assert handle.state == "pending"
    assert len(worker.work()) == 1
    assert (handle.state, handle.result(5)) == ("done", 0)


def test_a_method_a_function_and_what_is_neither(data: ZBigArray, root: Any, worker: Worker) -> None:
    data.activate().append([1, 2, 3])
    factor = 3
    handle = wendelin.activate(lambda x: x * factor, connection=root._p_jar)(14)
    transaction.commit()
    worker.work()
    transaction.begin()
    assert (len(data), handle.result(5)) == (103, 42)
    with pytest.raises(AttributeError, match=r"no method or operation 'apend'; did you mean append"):
        data.activate().apend(1)
    assert {"append", "process"} <= set(dir(data.activate()))
    with pytest.raises(OptionError, match=r"no option 'tga'; did you mean tag"):
        data.activate(tga="x")
    with pytest.raises(NotStoredError, match="in no database yet"):
        ZBigArray((3,)).activate()
    with pytest.raises(OptionError, match="give a function"):
        wendelin.activate(3)  # type: ignore[arg-type]


def test_operations_of_two_modules_with_one_name_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "_operations", {})

    def of(module: str) -> Callable[..., None]:
        def clean(data: ZBigArray) -> None: ...

        clean.__module__, clean.__qualname__ = module, "clean"
        clean.__code__ = clean.__code__.replace(co_filename=f"{module.rpartition('.')[2]}.py")
        return clean

    wendelin.operation(of("solar"))
    wendelin.operation(of("solar"))  # loaded again
    wendelin.operation(of("notebooks.solar"))  # the same file under another name
    wendelin.operation(of("__main__"))  # tried out in a notebook
    wendelin.operation(of("wind"))
    with pytest.warns(UserWarning, match="the operation 'clean' of wind is replaced by that of cars: give one"):
        wendelin.operation(of("cars"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"priority": 200}, "priority=200"),
        ({"delay": -1}, "delay=-1"),
        ({"tag": 3}, "tag=3"),
        ({"after_tag": [3]}, "after_tag"),
        ({"after_path_and_method_id": "x"}, "give a pair"),
        ({"group_method_cost": 2}, "group_method_cost=2"),
        ({"max_retry": -1}, "max_retry=-1"),
        ({"at_date": "soon"}, "at_date='soon'"),
        ({"after_path": object()}, "after_path"),
        ({"on_error_callback": "nobody"}, "'nobody' is no operation: register"),
        ({"group_method_id": "nobody"}, "'nobody' is no operation: register"),
    ],
)
def test_options_that_make_no_sense(data: ZBigArray, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        data.activate(**options).process(0, 1)


def test_views_go_by_reference_and_persistent_objects_live(data: ZBigArray, root: Any, worker: Worker) -> None:
    root["big"] = big = ZBigArray((1 << 20,), "f8")
    big[:] = 1
    transaction.commit()

    def total(view: np.ndarray, target: ZBigArray) -> float:
        target[0] = -7
        return float(view.sum())

    handle = wendelin.activate(total, connection=root._p_jar)(big[1000:], data)
    (message,) = queue_of(root._p_jar)  # type: ignore[misc]
    assert len(message.call) < 3000
    transaction.commit()
    worker.work()
    assert handle.result(5) == (1 << 20) - 1000
    transaction.begin()
    assert data[0] == -7
    view = big[:]
    view[3] = 8
    with pytest.raises(UncommittedChangesError):
        wendelin.activate(total, connection=root._p_jar)(big[:10], data)


def test_run_twice_at_once_has_effects_once(data: ZBigArray, worker: Worker, conn: Any) -> None:
    """The second one conflicts on the message's record, whatever else it wrote."""
    data.activate().append([7])
    transaction.commit()
    (message,) = queue_of(conn)  # type: ignore[misc]
    other = Worker(conn.url)
    try:
        manager = other.connection.transaction_manager
        manager.begin()
        theirs = other.connection.get(message._p_oid)
        theirs.end(theirs.run())
        assert [outcome.kind for outcome in run(worker.connection, [message._p_oid])] == ["ended"]
        with pytest.raises(ConflictError):
            manager.commit()
        manager.abort()
        assert run(other.connection, [message._p_oid])[0].kind == "ended"
    finally:
        other.connection.transaction_manager.abort()
        other.connection.close()
    transaction.begin()
    assert len(data) == 101


def test_a_conflict_is_tried_again_uncounted(data: ZBigArray, worker: Worker, conn: Any, root: Any) -> None:
    root["times"] = 0
    transaction.commit()
    url = conn.url

    def clash(times: int) -> None:
        root = _root()
        seen = root["times"]
        if seen < times:
            manager = transaction.TransactionManager()
            theirs = wendelin.connect(url, transaction_manager=manager)
            theirs.root()["times"] = seen + 1
            manager.commit()
            theirs.close()
        root["times"] = 100 + seen

    clash.__module__ = "__main__"
    handle = wendelin.activate(clash, connection=conn)(3)
    transaction.commit()
    with _default_manager(worker):
        assert [outcome.kind for outcome in worker.work()] == ["ended"]
    assert fresh(root)["times"] == 103
    assert handle.done()


def test_errors_are_repeated_then_fail_and_a_person_helps(
    data: ZBigArray, worker: Worker, conn: Any, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "RETRY_SECONDS", 1.0)
    root["broken"] = True

    @wendelin.operation
    def tell_me(message: Message) -> None:
        message._p_jar.root()["told"] = [message.uid, message.state, current_user()]

    results = root["results"] = ActiveProcess()
    transaction.commit()

    @wendelin.operation
    def fragile(data: ZBigArray) -> str:
        data[0] = -1
        if data._p_jar.root()["broken"]:
            raise ValueError("the sensor is broken")
        return "fine"

    handle = data.activate(max_retry=2, on_error_callback="tell_me", active_process=results, tag="a").fragile()
    after = data.activate(after_tag="a").process(0, 1)
    transaction.commit()
    dates, outcome = [], Outcome("", b"", "")
    for _ in range(3):
        outcome, *callback = worker.work()
        assert len(callback) == (outcome.kind == "failed")
        dates.append(outcome.not_before - time.time())
        worker.now = outcome.not_before
    assert 0.9 < dates[0] < 1.2 < 1.9 < dates[1] < 2.4
    assert outcome.kind == "failed"
    assert "ValueError: the sensor is broken" in outcome.error
    assert worker.work() == [], "what waits for a failed one does not run"
    assert fresh(root)["told"] == [handle.uid, "failed", current_user()]
    with pytest.raises(ActivityError, match=r"failed after 3 runs(.|\n)*the sensor is broken"):
        handle.result(1)
    transaction.begin()
    assert data[0] == 0
    assert "broken" in results.errors()[0]
    queue = queue_of(conn)
    assert queue is not None
    assert {message.state for message in queue} == {"failed", "pending"}
    root["broken"] = False
    queue.retry(queue.find(handle.uid[:6]))
    transaction.commit()
    worker.order.again(handle.uid)
    assert [outcome.kind for outcome in worker.work()] == ["ended", "ended"]
    assert (handle.result(1), after.done()) == ("fine", True)
    transaction.begin()
    assert list(results) == ["fine"]
    with pytest.raises(KeyError, match="no activity"):
        queue.find(handle.uid)


def test_a_failed_one_can_be_skipped_or_cancelled(data: ZBigArray, worker: Worker, conn: Any) -> None:
    handle = data.activate(max_retry=0, tag="a").process("x", None)
    other = data.activate(tag="b").process(0, 1)
    transaction.commit()
    queue = queue_of(conn)
    assert queue is not None
    queue.cancel(queue.find(other.uid))
    transaction.commit()
    assert [outcome.kind for outcome in worker.work()] == ["failed"]
    transaction.begin()
    queue.skip(queue.find(handle.uid))
    transaction.commit()
    for one, state in ((handle, "skipped"), (other, "cancelled")):
        with pytest.raises(CancelledError, match=f"a person {state} it"):
            one.result(1)


@pytest.mark.parametrize("how", ["commit", "abort", "begin"])
def test_an_activity_leaves_its_transaction_alone(data: ZBigArray, worker: Worker, how: str) -> None:
    @wendelin.operation
    def meddle(data: ZBigArray, how: str) -> None:
        data[0] = -9
        getattr(data._p_jar.transaction_manager, how)()

    data.activate(max_retry=0).meddle(how)
    transaction.commit()
    (outcome,) = worker.work()
    assert outcome.kind == "failed"
    assert ("does not commit" if how == "commit" else "aborted its transaction") in outcome.error
    transaction.begin()
    assert data[0] == 0


def test_it_runs_as_its_creator_with_a_key_for_the_world_outside(data: ZBigArray, worker: Worker) -> None:
    @wendelin.operation
    def who(data: ZBigArray) -> tuple[str, str]:
        return current_user(), wendelin.activity_key()

    with acting_as("nina"):
        handle = data.activate().who()
    transaction.commit()
    worker.work()
    assert handle.result(1) == ("nina", handle.uid)
    assert current_user() != "nina"
    with pytest.raises(ActivityError, match="only within an activity"):
        wendelin.activity_key()


def test_what_an_activity_leaves_behind_counts_for_those_that_wait(data: ZBigArray, worker: Worker, root: Any) -> None:
    @wendelin.operation
    def spread(data: ZBigArray, depth: int) -> None:
        if depth:
            data.activate(tag="tree").spread(depth - 1)
            data.activate(tag="tree").spread(depth - 1)
        data[99] += 1

    @wendelin.operation
    def count(data: ZBigArray) -> int:
        return int(data[99])

    last = data.activate(after_tag="tree").count()
    data.activate(tag="tree").spread(3)
    data[99] = 0
    transaction.commit()
    worker.work()
    assert worker.ran[-1] == "count"
    assert last.result(1) == 15


def test_groups_run_in_one_transaction_and_one_by_one_when_one_fails(
    data: ZBigArray, worker: Worker, conn: Any
) -> None:
    @wendelin.operation
    def mark(data: ZBigArray, place: int) -> None:
        if place == 5:
            raise ValueError("five")
        data[place] = -place

    for place in range(20):
        data.activate(group_method_id="", group_method_cost=0.1, max_retry=0).mark(place)
    transaction.commit()
    outcomes = worker.work()
    assert worker.groups == [10, 10]
    assert [outcome.kind for outcome in outcomes].count("failed") == 1
    transaction.begin()
    assert data[:20].tolist() == [0, -1, -2, -3, -4, 5, *(-n for n in range(6, 20))]

    @wendelin.operation
    def add_all(some: list[Message]) -> None:
        assert some[0].target is not None
        data = some[0].target()
        data[0] = len(some)

    for place in range(30):
        data.activate(group_method_id="add_all", group_method_cost=1 / 30).mark(place)
    transaction.commit()
    worker.work()
    transaction.begin()
    assert data[0] == 30


def test_unique_ones_become_one(data: ZBigArray, worker: Worker, conn: Any) -> None:
    handles = [data.activate(unique=True, tag="x").process(0, 1) for _ in range(5)]
    data.activate(unique=True, tag="y").process(0, 1)
    transaction.commit()
    assert len(worker.work()) == 2
    assert sorted(handle.state for handle in handles) == ["done", *4 * ["merged"]]
    merged = next(handle for handle in handles if handle.state == "merged")
    with pytest.raises(CancelledError, match="same object, method and tag waited already"):
        merged.result(1)


def test_a_missing_object_deletes_its_messages(
    data: ZBigArray, worker: Worker, root: Any, conn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    handle = data.activate().process(0, 1)
    transaction.commit()
    del root["data"]
    transaction.commit()
    worker.connection.transaction_manager.begin()  # packing leaves the state that somebody looks at
    conn.db().pack()
    conn.cacheMinimize()
    (outcome,) = worker.work()
    assert outcome.kind == "ended"
    assert "does not exist any more; the activity is deleted" in caplog.text
    with pytest.raises(CancelledError, match="its object does not exist any more"):
        handle.result(1)
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    assert list(queue) == []


def test_thousands_in_one_transaction_and_in_many(data: ZBigArray, conn: Any) -> None:
    for place in range(1000):
        data.activate().process(place % 100, 1)
    transaction.commit()
    for place in range(300):
        data.activate().process(place % 100, 1)
        transaction.commit()
    queue = queue_of(conn)
    assert queue is not None
    assert len({message.uid for message in queue}) == 1300
    assert all(len(inbox.entries) < 200 for inbox in queue.inboxes)


class _default_manager:
    """Within it the worker's transactions are the thread's own, as in a worker process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def __enter__(self) -> None:
        import wendelin.storage.activities.create as module

        self.kept = module._only_connection
        module._only_connection = lambda: self.worker.connection

    def __exit__(self, *error: object) -> None:
        import wendelin.storage.activities.create as module

        module._only_connection = self.kept
