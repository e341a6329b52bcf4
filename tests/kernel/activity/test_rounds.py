"""What a dispatcher does in each round, with an engine that only takes down what it is given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from wendelin import ZBigArray
from wendelin.kernel.activity.dispatcher import AHEAD, Dispatcher
from wendelin.kernel.activity.engine import NodeStatus, Task
from wendelin.storage.activities import active
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.activities.run import Outcome, run


class Given(Task):
    """A call that nobody runs."""

    def __init__(self, oids: list[bytes]) -> None:
        super().__init__("given")
        self.oids = oids

    def cancel(self) -> None:
        self.end()


class Paper:
    """An engine on paper."""

    slots = 2

    def __init__(self) -> None:
        self.given: list[Given] = []

    def start(self, call: Any, *args: Any) -> Task:
        self.given.append(Given(args[1]))
        return self.given[-1]

    def wait(self, timeout: float) -> list[Task]:
        return []

    def wake(self) -> None: ...

    def nodes(self) -> dict[str, NodeStatus]:
        return {}

    def close(self) -> None: ...


@pytest.fixture
def conn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(active, "after_commit", [])
    connection = wendelin.connect(f"file://{tmp_path}/db")
    connection.root()["data"] = ZBigArray((0,), "i8")
    connection.root()["activities"] = ActivityQueue()
    transaction.commit()
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def data(conn: Any) -> Any:
    return conn.root()["data"]


@pytest.fixture
def made(conn: Any) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(conn.url, Paper(), "here")
    dispatcher._connection = wendelin.connect(conn.url, transaction_manager=transaction.TransactionManager())
    assert dispatcher._take_lease()
    yield dispatcher
    dispatcher._leave()
    dispatcher._election.close()
    dispatcher._connection.close()


def given(dispatcher: Dispatcher) -> list[Given]:
    found: list[Given] = dispatcher.engine.own.given  # type: ignore[attr-defined]
    return found


def test_a_date_that_has_come_is_not_looked_for_again_and_again_while_all_are_busy(data: Any, made: Dispatcher) -> None:
    for _ in range(Paper.slots * AHEAD):
        data.activate().append([1])
    transaction.commit()
    made._round()
    assert len(given(made)) == Paper.slots * AHEAD
    data.activate(at_date=time.time()).append([1])
    transaction.commit()
    made._round()
    assert made._patience() > 0.1


def test_a_time_out_counts_from_the_begin_of_the_run(data: Any, made: Dispatcher) -> None:
    handle = data.activate(timeout=1, max_retry=0).append([1])
    transaction.commit()
    made._round()
    (task,) = given(made)
    made._limits = dict.fromkeys(made._limits, 0.0)
    made._cancel_late()
    assert not task.ended, "no worker had time for it yet"
    task.began = time.time()
    made._cancel_late()
    assert task.cancelled
    made._take_back(task)
    assert handle.state == "failed"


def test_what_failed_once_more_before_a_persons_request_was_read_still_blocks(
    data: Any, conn: Any, made: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.activate(tag="a", max_retry=0).append([1])
    data.activate(after_tag="a").append([2])
    transaction.commit()

    def fail(self: Message) -> None:
        raise ValueError(self.uid)

    monkeypatch.setattr(Message, "run", fail)
    made._round()
    (task,) = given(made)
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    queue.retry(conn.get(task.oids[0]))
    transaction.commit()
    (outcome,) = run(conn, task.oids)
    assert outcome.kind == "failed"
    made._round()
    made._note(next(iter(made._tasks.values()))[0], outcome)
    made._round()
    made._round()
    assert made.state["failed"] == 1
    assert len(given(made)) == 1, "it blocks the other one"


def test_a_request_that_comes_after_its_answer_takes_nothing_from_the_next_worker(
    data: Any, conn: Any, made: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one of a serialization tag would run in two places."""
    monkeypatch.setattr(made._pace, "together", lambda item: 2)
    for _ in range(Paper.slots * 4):
        data.activate().append([1])
    transaction.commit()
    made._round()
    one, other = made._tasks.pop(given(made)[0])
    made._note(other, Outcome(other.uid, other.oid, "back", asked=True))
    assert [[other]] == [group for group in made._order.start(time.time(), 9) if other in group]
    again = made._tasks[Given([])] = [one, other]
    made._take_from_its_worker(other.uid)
    assert again == [one, other]
    made._take_from_its_worker(other.uid)
    assert again == [one], "the next request counts again"
