"""Short activities in one call: they share a commit, and what it does to none of them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import transaction
from ZODB.POSException import ConflictError

import wendelin
from tests.storage.activities.conftest import Worker
from wendelin import ZBigArray
from wendelin.storage.activities import turns
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.queue import GIVEN_BACK, queue_of
from wendelin.storage.activities.run import activity_key, run
from wendelin.storage.activities.user import acting_as


@pytest.fixture
def data(root: Any) -> ZBigArray:
    root["data"] = ZBigArray((0,), "i8")
    transaction.commit()
    return root["data"]


@wendelin.operation
def put_number(data: ZBigArray, number: int) -> None:
    if number < 0:
        raise ValueError(number)
    data.append([number])


@wendelin.operation
def add_elsewhere(data: ZBigArray, number: int) -> str:
    return activity_key()


asked = threading.Event()


@wendelin.operation
def wait(data: ZBigArray) -> None:
    assert asked.wait(60)


def created(data: ZBigArray, *numbers: int) -> list[Message]:
    return waiting(data, *[data.activate().put_number(number) for number in numbers])


def waiting(data: ZBigArray, *handles: Any) -> list[Message]:
    transaction.commit()
    queue = queue_of(data._p_jar)
    assert queue is not None
    return [queue.find(handle.uid) for handle in handles]


def oids(messages: list[Message]) -> list[bytes]:
    return [message._p_oid for message in messages]


def serials(messages: list[Message]) -> set[bytes]:
    transaction.begin()
    for message in messages:
        message._p_activate()
    return {message._p_serial for message in messages}


def numbers(data: ZBigArray) -> list[int]:
    transaction.begin()
    return data[:].tolist()


def test_they_end_in_one_commit(data: ZBigArray, worker: Worker) -> None:
    messages = created(data, 1, 2, 3)
    outcomes = run(worker.connection, oids(messages))
    assert [(it.kind, it.shared, it.oid) for it in outcomes] == [("ended", True, oid) for oid in oids(messages)]
    assert all(0 < it.seconds < 10 for it in outcomes)
    assert len(serials(messages)) == 1
    assert numbers(data) == [1, 2, 3]
    assert {message.state for message in messages} == {"done"}


def test_the_end_forgets_the_call_and_its_arguments(data: ZBigArray, worker: Worker, root: Any) -> None:
    root["other"] = ZBigArray((3,), "i8")
    data.activate().put_number(root["other"])
    (message,) = created(data, 5)
    assert message.call
    run(worker.connection, [message._p_oid])
    transaction.begin()
    assert (message.call, list(message.references), message.path, message.tries) == (b"", [], message.path, 0)
    assert "references" not in message.__getstate__()


def test_one_that_raises_takes_nobody_with_it(data: ZBigArray, worker: Worker) -> None:
    messages = created(data, 1, -1, 3)
    outcomes = run(worker.connection, oids(messages))
    assert [(it.kind, it.shared) for it in outcomes] == [("ended", False), ("later", False), ("ended", False)]
    assert numbers(data) == [1, 3]
    assert "ValueError: -1" in messages[1].error
    assert len(serials(messages)) == 3


def test_a_conflict_takes_nobody_with_it(data: ZBigArray, worker: Worker, conn: Any) -> None:
    messages = created(data, 1, 2, 3)
    other = Worker(conn.url)
    try:
        other.connection.transaction_manager.begin()
        theirs = other.connection.get(messages[1]._p_oid)
        theirs.end(theirs.run())
        assert {it.kind for it in run(worker.connection, oids(messages))} == {"ended"}
        with pytest.raises(ConflictError):
            other.connection.transaction_manager.commit()
        assert {it.kind for it in run(other.connection, oids(messages))} == {"ended"}
    finally:
        other.connection.transaction_manager.abort()
        other.connection.close()
    assert numbers(data) == [1, 2, 3]


def test_those_it_does_not_come_to_in_time_go_back(
    data: ZBigArray, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "CALL_SECONDS", 0.0)
    messages = created(data, 1, 2, 3)
    outcomes = run(worker.connection, oids(messages))
    assert [(it.kind, it.oid) for it in outcomes] == list(zip(["ended", "back", "back"], oids(messages), strict=True))
    outcomes = run(worker.connection, oids(messages))
    assert [it.kind for it in outcomes] == ["ended", "back", "back"]
    assert numbers(data) == [1]


def test_those_behind_one_that_takes_long_go_back_meanwhile(
    data: ZBigArray, worker: Worker, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    request = turns._request

    def told(db: Any, oids: list[bytes]) -> None:
        request(db, oids)
        asked.set()

    monkeypatch.setattr(turns, "_request", told)
    asked.clear()
    messages = [*waiting(data, data.activate().wait()), *created(data, 1, 2)]
    outcomes = run(worker.connection, oids(messages))
    assert [(it.kind, it.asked) for it in outcomes] == [("ended", False), ("back", True), ("back", True)]
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    assert [name.split()[:2] for name, _ in queue.requests] == [[GIVEN_BACK.strip(), it.uid] for it in messages[1:]]


def test_a_commit_is_one_users(data: ZBigArray, worker: Worker) -> None:
    messages: list[Message] = []
    for user in ("ann", "ann", "bob", "ann"):
        with acting_as(user):
            messages += created(data, len(messages))
    outcomes = run(worker.connection, oids(messages))
    assert [it.kind for it in outcomes] == ["ended"] * 4
    assert numbers(data) == [0, 1, 2, 3]
    ann, same, bob, last = messages
    assert len(serials([ann, same])) == 1
    assert len(serials([ann, bob, last])) == 3


def test_what_has_effects_elsewhere_says_so(data: ZBigArray, worker: Worker) -> None:
    messages = waiting(data, *[data.activate().add_elsewhere(number) for number in range(2)])
    outcomes = run(worker.connection, oids(messages))
    assert [it.seconds for it in outcomes] == [float("inf")] * 2
