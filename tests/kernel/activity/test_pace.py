"""How many activities go together, and what a dispatcher does not take in twice: no worker, no server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from ZODB.POSException import ConflictError

import wendelin
from wendelin import ZBigArray
from wendelin.kernel.activity import intake as module
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.intake import Intake
from wendelin.kernel.activity.local import LocalEngine
from wendelin.kernel.activity.pace import MOST, Pace
from wendelin.storage.activities import active
from wendelin.storage.activities.options import checked
from wendelin.storage.activities.order import Item, Order
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.activities.run import Outcome, run


def item(method: str = "short", **options: Any) -> Item:
    return Item("u", b"o", "p", method, checked(options))


def outcomes(count: int, seconds: float, *, shared: bool = True) -> list[Outcome]:
    return [Outcome("u", b"o", "ended", seconds=seconds, shared=shared)] * count


def test_short_ones_go_together_after_the_first() -> None:
    pace = Pace()
    assert pace.together(item()) == 1
    for _ in range(5):
        pace.learn([item()] * 2, outcomes(2, 1e-5))
    assert pace.together(item()) == MOST
    assert pace.together(item("other")) == 1
    assert pace.together(item(timeout=1)) == 1


def test_one_that_took_long_is_remembered_for_a_while() -> None:
    pace = Pace()
    for _ in range(5):
        pace.learn([item()] * 2, outcomes(2, 1e-5))
    pace.learn([item()], outcomes(1, 3.0))
    assert pace.together(item()) == 1
    for _ in range(100):
        pace.learn([item()], outcomes(1, 1e-5))
    assert pace.together(item()) == MOST


def test_what_has_effects_elsewhere_runs_alone_for_ever() -> None:
    pace = Pace()
    pace.learn([item()], outcomes(1, float("inf")))
    for _ in range(1000):
        pace.learn([item()], outcomes(1, 1e-5))
    assert pace.together(item()) == 1


def test_those_that_do_not_end_together_go_in_smaller_calls() -> None:
    pace = Pace()
    for _ in range(5):
        pace.learn([item()] * 2, outcomes(2, 1e-5))
    pace.learn([item()] * 2, outcomes(2, 1e-5, shared=False))
    assert pace.together(item()) == MOST // 4
    pace.learn([item()] * 2, [])  # nothing ended: nothing is known
    assert pace.together(item()) == MOST // 4


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


def seen(intake: Intake, conn: Any) -> ActivityQueue:
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    intake.see(queue)
    return queue


def test_what_is_known_by_its_ticket_is_not_loaded(conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = Intake(conn, Order())
    seen(intake, conn)
    looked: list[Any] = []
    look_at = Intake._look_at

    def noted(self: Intake, some: Any) -> None:
        looked.extend(some)
        look_at(self, some)

    monkeypatch.setattr(Intake, "_look_at", noted)
    data = conn.root()["data"]
    handle = data.activate(tag="a").append([1])
    transaction.commit()
    seen(intake, conn)
    assert [(it.uid, it.options.tag) for it in intake.order.items.values()] == [(handle.uid, "a")]
    assert looked == []
    unique = data.activate(unique=True).append([1])
    transaction.commit()
    seen(intake, conn)
    assert [message.uid for message in looked] == [unique.uid]


def test_a_successor_looks_at_what_its_predecessor_may_have_run(conn: Any) -> None:
    conn.root()["data"].activate().append([1])
    transaction.commit()
    first = Intake(conn, Order())
    queue = seen(first, conn)
    (uid,) = first.order.items
    run(conn, [first.order.items[uid].oid])
    second = Intake(conn, Order())
    second.load(queue)
    seen(second, conn)
    assert second.gone == {uid}
    assert not second.order.items


def test_what_has_ended_is_not_taken_in_again(conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 1)
    intake = Intake(conn, Order())
    seen(intake, conn)
    handle = conn.root()["data"].activate().append([1])
    transaction.commit()
    queue = seen(intake, conn)
    inbox = next(inbox for inbox in queue.inboxes if inbox)
    before = list(inbox.entries)
    assert not intake.is_stored
    intake.store(queue)
    assert list(queue.board) == [handle.uid]
    transaction.commit()
    intake.stored()
    intake.ended(handle.uid)
    queue = seen(intake, conn)
    inbox.entries = before  # as when its page was stored again
    transaction.commit()
    queue = seen(intake, conn)
    assert not intake.order.items
    intake.store(queue)
    assert not list(queue.board)
    assert not inbox
    intake.ended("another")  # more than it remembers: it is taken in again, and the worker will say that it has ended
    inbox.entries = before
    transaction.commit()
    seen(intake, conn)
    assert list(intake.order.items) == [handle.uid]


def test_who_lost_the_lease_within_a_round_stores_nothing(conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would move what is new to the board, where its successor, which has read that, never looks again."""
    store = Intake.store

    def overtaken(self: Intake, queue: ActivityQueue) -> None:
        transaction.begin()
        found = queue_of(conn)
        assert found is not None
        found.lease.take("another", 60.0)
        conn.root()["data"].activate().append([1])
        transaction.commit()
        store(self, queue)

    monkeypatch.setattr(Intake, "store", overtaken)
    monkeypatch.setattr(Intake, "is_due", True)
    with LocalEngine(1) as engine:
        dispatcher = Dispatcher(conn.url, engine)
        dispatcher._connection = wendelin.connect(conn.url, transaction_manager=transaction.TransactionManager())
        try:
            assert dispatcher._take_lease()
            with pytest.raises(ConflictError):
                dispatcher._round()
        finally:
            dispatcher._forget()
            dispatcher._connection.transaction_manager.abort()
            dispatcher._connection.close()
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    assert not list(queue.board)
    assert len(list(queue)) == 1
