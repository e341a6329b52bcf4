"""What a dispatcher moves from the inboxes to the board and takes from there: seen at once, stored seldom.

Until it is stored, new messages are in the inboxes still, where a successor finds them, and those that ended are seen
to have ended. So while workers are busy it is stored a few times a second: commits compete with theirs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Sequence
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.POSException import POSKeyError

from wendelin.storage.activities.message import FAILED, MERGED, PENDING, Message, Ticket
from wendelin.storage.activities.options import Options
from wendelin.storage.activities.order import Item, Order
from wendelin.storage.activities.queue import ActivityQueue, entries

#: Seconds between two commits while workers are busy, and ended messages that make one due.
STORE_SECONDS, STORE_MESSAGES = 0.5, 5000

#: Messages that ended and are known as such, should they come again.
_REMEMBERED = 50_000

#: Records that are asked for together.
_FETCHED = 1000


class Intake:
    """One elected dispatcher's. One thread; `order` gets what is new, `gone` those that are found to have ended."""

    def __init__(self, connection: Any, order: Order) -> None:
        self.order = order
        self.gone: set[str] = set()
        self._connection = connection
        self._ended: set[str] = set()
        self._past: dict[str, None] = {}
        self._duplicates: list[Message] = []
        self._looked: dict[bytes, bytes] = {}
        self._trusts = False
        self._since = 0.0

    def load(self, queue: ActivityQueue) -> None:
        """All that the predecessor had."""
        self._look_at(list(queue.board.values()))

    def see(self, queue: ActivityQueue) -> None:
        """Let the order have what is new."""
        for inbox in queue.inboxes:
            if not inbox or self._looked.get(inbox._p_oid) == inbox._p_serial:
                continue
            self._looked[inbox._p_oid] = inbox._p_serial
            self._since = self._since or time.time()
            self._connection.prefetch(inbox.pages)
            new = [it for it in entries(inbox) if it[0] not in self.order.items and it[0] not in self._past]
            # What is in an inbox at the election may have been run, and failed, under the predecessor.
            self._look_at([message for _, message, ticket in new if ticket is None or not self._trusts])
            if self._trusts:
                committed = TimeStamp(inbox._p_serial).timeTime()
                for uid, message, ticket in new:
                    if ticket is not None:
                        self._add(_item(uid, message._p_oid, ticket), committed)
        self._trusts = True

    def look_at(self, queue: ActivityQueue, message: Message) -> None:
        """A message that a person wants to be run again, in a transaction that is committed."""
        self._past.pop(message.uid, None)
        self._ended.discard(message.uid)
        self._look_at([message])
        queue.board[message.uid] = message

    def ended(self, uid: str) -> None:
        """One has ended."""
        self.order.ended(uid)
        self._ended.add(uid)
        self._since = self._since or time.time()
        self._past[uid] = None
        if len(self._past) > _REMEMBERED:
            del self._past[next(iter(self._past))]

    @property
    def is_due(self) -> bool:
        """Whether to store although there is other work."""
        return bool(self._since) and (time.time() - self._since > STORE_SECONDS or len(self._ended) > STORE_MESSAGES)

    @property
    def is_stored(self) -> bool:
        """Whether there is nothing to store."""
        return not self._since

    def store(self, queue: ActivityQueue) -> None:
        """Move and remove, in the running transaction; `see` came before."""
        for inbox in queue.inboxes:
            if inbox:
                for uid, message, _ in entries(inbox):
                    if uid in self.order.items:
                        queue.board[uid] = message
                inbox.take()
        for uid in self._ended:
            if uid in queue.board:
                del queue.board[uid]
        for message in self._duplicates:
            if message.is_pending:
                message.stop(MERGED)

    def stored(self) -> None:
        """The transaction of `store` was committed."""
        self._ended, self._duplicates, self._since = set(), [], 0.0

    def _look_at(self, messages: Sequence[Message]) -> None:
        for first in range(0, len(messages), _FETCHED):
            some = messages[first : first + _FETCHED]
            self._connection.prefetch(some)
            self._add_messages(some)

    def _add_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            try:
                state, uid = message.state, message.uid
            except POSKeyError:
                continue
            if state not in (PENDING, FAILED):
                self.gone.add(uid)
                continue
            item = Item(uid, message._p_oid, message.path, message.method_id, message.options, message.not_before)
            item.failed = state == FAILED
            if not self._add(item, TimeStamp(message._p_serial).timeTime()):
                self._duplicates.append(message)

    def _add(self, item: Item, committed: float) -> bool:
        options = item.options
        if not (item.not_before or item.failed or options.waits or options.serialization_tag):
            item.committed = committed
        return self.order.add(item)


@functools.lru_cache(1024)
def _options(settings: tuple[tuple[str, Any], ...]) -> Options:
    return Options(**dict(settings))


def _item(uid: str, oid: bytes, ticket: Ticket) -> Item:
    path, method_id, settings, not_before = ticket
    return Item(uid, oid, path, method_id, _options(settings), not_before)
