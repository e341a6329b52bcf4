"""`ActivityQueue`: all activities of a database that have not ended, and who gives them out.

Creators append to one of several inboxes; the one elected dispatcher moves what it finds there to the board, a tree
that nobody else writes to, and takes from it what has ended. So creators, dispatcher and workers never conflict.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

from wendelin.storage.activities.merging import MergingLog
from wendelin.storage.activities.message import CANCELLED, FAILED, PENDING, SKIPPED, Message, Ticket

#: The name in the database's root folder.
NAME = "activities"

#: How requests of workers begin, not of persons.
GIVEN_BACK = "back "

_INBOXES = 8


class Lease(Persistent):
    """Who dispatches, and until when unless it says so again. Two that take it conflict on this record."""

    address: tuple[str, int] | None = None
    key = ""

    def __init__(self) -> None:
        self.holder, self.token, self.until = "", "", 0.0

    def take(self, holder: str, seconds: float, address: tuple[str, int] | None = None, key: str = "") -> str:
        """Take it; the token by which the holder knows that it still has it.

        `address` and `key`: where the holder answers those who know the key; see `report`.
        """
        self.holder, self.token, self.until = holder, secrets.token_hex(8), time.time() + seconds
        self.address, self.key = address, key
        return self.token

    def renew(self, seconds: float) -> None:
        """Hold it for longer."""
        self.until = time.time() + seconds

    def give_back(self) -> None:
        """Let the next one have it at once."""
        self.until = 0.0

    @property
    def is_free(self) -> bool:
        """Whether its holder has not been heard of in time."""
        return time.time() > self.until


class ActivityQueue(Persistent):
    """The activities of a database: `root["activities"]`."""

    def __init__(self) -> None:
        self.inboxes = [MergingLog() for _ in range(_INBOXES)]
        self.requests = MergingLog()
        self.board = OOBTree()
        self.lease = Lease()

    def add(self, message: Message) -> None:
        """Leave a message for the dispatcher, who sees it when this transaction commits."""
        inbox = self.inboxes[hash((os.getpid(), threading.get_ident())) % len(self.inboxes)]
        ticket = message.ticket
        inbox.append(message.uid, message if ticket is None else (message, ticket))

    def __iter__(self) -> Iterator[Message]:
        """All messages that have not ended, and failed ones; those not taken in yet come last."""
        seen = set()
        for uid, message in self._all():
            if uid not in seen:
                seen.add(uid)
                try:
                    state = message.state
                except POSKeyError:
                    continue
                if state in (PENDING, FAILED):
                    yield message

    def _all(self) -> Iterator[tuple[str, Message]]:
        yield from self.board.items()
        for inbox in self.inboxes:
            for uid, message, _ in entries(inbox):
                yield uid, message

    def find(self, uid: str) -> Message:
        """The message whose uid begins so. Raises KeyError when none or several do."""
        found = [message for message in self if message.uid.startswith(uid)]
        if len(found) != 1:
            raise KeyError(f"{uid!r} names {len(found) or 'no'} activit{'ies' if found else 'y'} that has not ended")
        return found[0]

    # -- for people

    def retry(self, message: Message) -> None:
        """Let a message be run again, now, with all its repetitions."""
        message.retry()
        self._look_at(message)

    def cancel(self, message: Message) -> None:
        """Let a message never run; those that wait for it go on."""
        self._stop(message, CANCELLED)

    def skip(self, message: Message) -> None:
        """Go on as if a failed message had done its work."""
        self._stop(message, SKIPPED)

    def give_back(self, message: Message) -> None:
        """Let another worker run what this one was given and will not begin."""
        self.requests.append(f"{GIVEN_BACK}{message.uid} {secrets.token_hex(4)}", message)

    def _stop(self, message: Message, state: str) -> None:
        message.stop(state)
        self._look_at(message)

    def _look_at(self, message: Message) -> None:
        self.requests.append(f"{message.uid} {secrets.token_hex(4)}", message)


def entries(inbox: MergingLog) -> Iterator[tuple[str, Message, Ticket | None]]:
    """What is in an inbox; messages without a ticket must be looked at."""
    for uid, value in inbox:
        if isinstance(value, tuple):
            yield uid, *value
        else:
            yield uid, value, None


def queue_of(connection: Any) -> ActivityQueue | None:
    """The queue of a connection's database; None when nothing was ever activated."""
    found = connection.root().get(NAME)
    return found if isinstance(found, ActivityQueue) else None


def made_queue(connection: Any) -> ActivityQueue:
    """The queue, made in the running transaction where there is none. The first two makers conflict: retry."""
    found = queue_of(connection)
    if found is None:
        found = connection.root()[NAME] = ActivityQueue()
    return found


for _class in (Lease, ActivityQueue):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
