"""Logs that merge: pages, levels, and appenders that have not seen what was taken."""

from __future__ import annotations

from typing import Any

import transaction

import wendelin
from wendelin import ZBigArray
from wendelin.storage.activities.merging import PAGE_ENTRIES, LogPage, MergingLog
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.options import checked
from wendelin.storage.activities.queue import ActivityQueue, entries, queue_of


def depth(log: MergingLog) -> int:
    def of(found: list[Any]) -> int:
        return max((1 + of(value.entries) for _, value in found if isinstance(value, LogPage)), default=0)

    return of(log.entries)


def test_many_entries_keep_their_order_in_few_levels() -> None:
    log, value = MergingLog(), object()
    names = [f"{number:06}" for number in range(20_000)]
    for name in names:
        log.append(name, (value, name))
        assert len(log.entries) <= PAGE_ENTRIES
    assert [name for name, _ in log] == names
    assert depth(log) == 2
    assert [name for name, _ in log.take()] == names
    assert not log
    assert list(log) == []


def test_an_appender_that_has_not_seen_what_was_taken_does_not_store_all_of_it_again(conn: Any, root: Any) -> None:
    log = root["log"] = MergingLog()
    value = root["value"] = MergingLog()
    transaction.commit()
    manager = transaction.TransactionManager()
    other = wendelin.connect(conn.url, transaction_manager=manager)
    taken: list[str] = []
    theirs = other.root()["log"]
    try:
        for turn in range(10):
            for number in range(300):
                log.append(f"{turn} {number}", value)
            manager.begin()
            theirs = other.root()["log"]
            taken += [name for name, _ in theirs.take()]  # of the turn before, while this one is appended
            manager.commit()
            transaction.commit()  # they merge
        manager.begin()
        taken += [name for name, _ in theirs.take()]
        manager.commit()
    finally:
        other.close()
    assert len(set(taken)) == 3000
    assert len(taken) <= 3000 + 9 * PAGE_ENTRIES
    transaction.begin()
    assert depth(log) == 0


def test_what_earlier_versions_stored_is_read(conn: Any, root: Any) -> None:
    """Messages with all their attributes, in the inbox without tickets, pages within pages of one name."""
    root["data"] = ZBigArray((3,), "i8")
    root["activities"] = ActivityQueue()
    transaction.commit()
    messages = [
        Message(conn, root["data"], "fill", (None, (number,), {}), checked({"tag": f"{number}"})) for number in range(3)
    ]
    for message in messages:
        conn.add(message)
        old: dict[str, Any] = {
            "target": message.target, "path": message.path, "error": "", "node": "", "helpers": b"", "references": [],
            "settings": {}, "tries": 0, "not_before": 0.0, "ended": 0.0, "result": None, "process": None,
        }  # fmt: skip
        message.__setstate__({**old, **message.__getstate__()})
        assert message.__dict__["process"] is None
    first, second, third = messages
    inner = LogPage([(first.uid, first)])
    inbox = queue_of(conn).inboxes[0]  # type: ignore[union-attr]
    inbox.entries = [(f"page {second.uid}", LogPage([(f"page {first.uid}", inner), (second.uid, second)]))]
    inbox.append(third.uid, third)
    transaction.commit()
    conn.cacheMinimize()
    assert [(uid, ticket) for uid, _, ticket in entries(inbox)] == [(message.uid, None) for message in messages]
    assert [message.options.tag for message in queue_of(conn) or ()] == ["0", "1", "2"]
    assert [(message.tries, message.error, message.process) for message in messages] == [(0, "", None)] * 3


def test_the_inbox_says_what_the_dispatcher_must_know(conn: Any, root: Any) -> None:
    data = root["data"] = ZBigArray((3,), "i8")
    transaction.commit()
    data.activate(tag="a", priority=3).append([1])
    data.activate(unique=True).append([2])
    transaction.commit()
    queue = queue_of(conn)
    assert queue is not None
    found = [(message, ticket) for inbox in queue.inboxes for _, message, ticket in entries(inbox)]
    (one, ticket), (unique, none) = found
    assert ticket == (one.path, "append", (("tag", "a"), ("priority", 3)), 0.0)
    assert none is None
    assert unique.options.unique
