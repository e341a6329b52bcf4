"""`Monitor`: what activities of a database do now, for whoever shows it: people's tables, widgets, programs.

It puts together what the database knows, who waits and who failed, with what the dispatcher tells: what runs, where and
how far. Without a dispatcher the first half is there all the same. Knows no Jupyter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import transaction
from ZODB.POSException import POSKeyError

from wendelin.storage.activities.message import FAILED, PENDING, Message
from wendelin.storage.activities.progress import Progress
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.activities.report import Reporter

#: Failures that a picture has, with their tracebacks.
MOST_FAILURES = 100


@dataclass(frozen=True)
class Running:
    """One call of a worker: an activity, or a group of them. `since`: seconds since 1970."""

    uid: str
    what: str
    tag: str
    node: str
    since: float
    progress: Progress | None = None
    count: int = 1


@dataclass(frozen=True)
class Failure:
    """An activity that failed for good, and waits for a person."""

    uid: str
    what: str
    tag: str
    user: str
    runs: int
    when: float
    traceback: str


@dataclass(frozen=True)
class Node:
    """Workers that are there: `busy` of `slots`, calls that were `done` or `failed` since their engine began."""

    name: str
    slots: int
    busy: int
    done: int
    failed: int
    pids: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """All at one moment.

    `health`: "working", "idle" (nothing is left), "stalled" (something waits, and no dispatcher answers), "failing"
    (failures wait for a person, and nothing else is left), "empty" (nothing was ever activated). `counts`: running,
    waiting (without those), later (of those waiting: not before a date), failed. `totals`: since the
    dispatcher began, see `wendelin.kernel.activity.account.Account`. `rate`: ended activities a second.
    """

    health: str
    counts: dict[str, int]
    dispatcher: str = ""
    since: float = 0.0
    rate: float = 0.0
    totals: dict[str, int] = field(default_factory=dict)
    running: tuple[Running, ...] = ()
    failures: tuple[Failure, ...] = ()
    nodes: tuple[Node, ...] = ()
    at: float = 0.0


class Monitor:
    """Looks at the activities of one database. Safe in threads; stores nothing.

    `database`: its URL, or a connection to it. It has a connection of its own until `close`.
    """

    def __init__(self, database: Any = None) -> None:
        from wendelin.storage.database.connect import connect

        url = database if database is None or isinstance(database, str) else database.url
        self._lock = threading.Lock()
        self._reporter = Reporter()
        self._manager = transaction.TransactionManager()
        self.connection = connect(url, transaction_manager=self._manager, read_only=True)
        self.url: str = self.connection.url

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Give connection and line back."""
        self._reporter.close()
        with self._lock:
            self._manager.abort()
            self.connection.close()

    def look(self) -> Picture:
        """How it is now. Raises `UnavailableError` when the database does not answer."""
        with self._lock, self._manager:
            queue = queue_of(self.connection)
            if queue is None:
                return Picture("empty", _counts(), at=time.time())
            told = self._ask(queue)
            return _alone(queue) if told is None else self._together(told)

    def progress(self, uid: str) -> Progress | None:
        """What a running activity said last of itself."""
        with self._lock, self._manager:
            queue = queue_of(self.connection)
            told = None if queue is None else self._ask(queue)
        for each in (told or {}).get("running", ()):
            if uid in each["uids"] and each["said"] and each["said"][0] == uid:
                return Progress(*each["said"][1:])
        return None

    def tagged(self, tag: str) -> dict[str, str]:
        """The state of each activity with that tag that has not ended, by its uid."""
        with self._lock, self._manager:
            queue = queue_of(self.connection)
            return {message.uid: message.state for message in queue or () if message.options.tag == tag}

    def states(self, oids: Iterable[bytes]) -> dict[str, str]:
        """The state of each of some activities, by its uid; those that were not committed are left out."""
        found = {}
        with self._lock, self._manager:
            for oid in oids:
                try:
                    message = self.connection.get(oid)
                    found[message.uid] = message.state
                except POSKeyError:
                    continue
        return found

    def _ask(self, queue: ActivityQueue) -> dict[str, Any] | None:
        lease = queue.lease
        told = None if lease.is_free else self._reporter.ask(lease.address, lease.key)
        return told if told is not None and told["leads"] else None

    def _together(self, told: dict[str, Any]) -> Picture:
        counts, running = told["counts"], tuple(_running(each) for each in told["running"])
        return Picture(
            _health(counts),
            counts,
            dispatcher=f"{told['node']}:{told['pid']}",
            since=told["since"],
            rate=told["rate"],
            totals=told["totals"],
            running=running,
            failures=tuple(self._failures(told["failures"])),
            nodes=tuple(Node(**{**each, "pids": tuple(each["pids"])}) for each in told["nodes"]),
            at=time.time(),
        )

    def _failures(self, oids: list[str]) -> list[Failure]:
        found = []
        for oid in oids[:MOST_FAILURES]:
            try:
                message = self.connection.get(bytes.fromhex(oid))
                if message.state == FAILED:
                    found.append(_failure(message))
            except POSKeyError:
                continue
        return found


def _counts() -> dict[str, int]:
    return {"running": 0, "waiting": 0, "later": 0, "failed": 0}


def _alone(queue: ActivityQueue) -> Picture:
    """Without a dispatcher: what lies in the database."""
    counts, failures, now = _counts(), [], time.time()
    for message in queue:
        if message.state == PENDING:
            counts["waiting"] += 1
            counts["later"] += message.not_before > now
        else:
            counts["failed"] += 1
            failures.append(message)
    health = "stalled" if counts["waiting"] else _health(counts)
    return Picture(health, counts, failures=tuple(map(_failure, islice(failures, MOST_FAILURES))), at=now)


def _health(counts: dict[str, int]) -> str:
    if counts["running"] or counts["waiting"]:
        return "working"
    return "failing" if counts["failed"] else "idle"


def what(message: Message) -> str:
    """What a person calls an activity."""
    return message.options.progress or (f"{message.path}.{message.method_id}" if message.path else message.method_id)


def _failure(message: Message) -> Failure:
    return Failure(
        message.uid, what(message), message.options.tag, message.user, message.tries + 1, message.ended, message.error
    )


def _running(told: dict[str, Any]) -> Running:
    said = told["said"]
    uid = said[0] if said and said[0] in told["uids"] else told["uids"][0]
    progress = Progress(*said[1:]) if said else None
    return Running(
        uid, told["title"] or told["what"], told["tag"], told["node"], told["since"], progress, len(told["uids"])
    )
