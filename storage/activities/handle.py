"""`ActivityHandle`: what the creator of an activity holds, to ask how it goes and to wait for its result."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from typing import Any

import transaction
from ZODB.POSException import POSKeyError

from wendelin.storage.activities.message import CANCELLED, DONE, FAILED, MERGED, MISSING, PENDING, SKIPPED, Message
from wendelin.storage.errors import ActivityError

_WHY = {
    CANCELLED: "a person cancelled it",
    SKIPPED: "a person skipped it",
    MERGED: "another one with the same object, method and tag waited already",
    MISSING: "its object does not exist any more",
}

_LOOK_SECONDS = 1.0  # a lost wake-up costs this much


class ActivityHandle:
    """One activity, as its creator sees it. Awaitable, like a Future; usable in any thread.

    It looks at the database through a connection of its own, so it sees what is committed, whatever transaction the
    caller is in: before the creating transaction has committed the state is "not committed".
    """

    def __init__(self, url: str, oid: bytes, uid: str, name: str) -> None:
        self._url, self._oid, self.uid, self._name = url, oid, uid, name

    @property
    def state(self) -> str:
        """`not committed`, or one of the states of a message."""
        return str(self._look(lambda message: message.state, "not committed"))

    def done(self) -> bool:
        """Whether it will not run any more."""
        return self.state not in (PENDING, "not committed")

    def result(self, timeout: float | None = None) -> Any:
        """Wait for what the call returned.

        Raises `ActivityError` with the worker's traceback when it failed for good, `CancelledError` when a person
        stopped it, it was merged or its object is gone, and `TimeoutError`.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"activity {self.uid[:8]} ({self._name}) is {self.state} after {timeout} s")
        return self._look(_outcome, None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it will not run any more; False when `timeout` seconds were not enough."""
        from wendelin.storage.database.connect import connect
        from wendelin.storage.database.watch import watch

        deadline = None if timeout is None else time.monotonic() + timeout
        changed = threading.Event()
        connection = connect(self._url, transaction_manager=transaction.TransactionManager())
        stop = watch(connection.db(), changed.set)
        try:
            while not self.done():
                left = _LOOK_SECONDS if deadline is None else min(deadline - time.monotonic(), _LOOK_SECONDS)
                if left <= 0:
                    return False
                changed.wait(left)
                changed.clear()
            return True
        finally:
            stop()
            connection.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self.result).__await__()

    def _look(self, question: Callable[[Message], Any], otherwise: Any) -> Any:
        from wendelin.storage.database.connect import connect

        manager = transaction.TransactionManager()
        connection = connect(self._url, transaction_manager=manager)
        try:
            manager.begin()
            message = connection.get(self._oid)
            message._p_activate()
            return question(message)
        except POSKeyError:
            return otherwise
        finally:
            manager.abort()
            connection.close()

    def __repr__(self) -> str:
        return f"<ActivityHandle {self.uid[:8]} {self._name}: {self.state}>"


def _outcome(message: Message) -> Any:
    if message.state == DONE:
        return message.value()
    if message.state == FAILED:
        runs = f"{message.tries + 1} runs" if message.tries else "one run"
        raise ActivityError(f"{message!r} failed after {runs}; its last traceback:\n{message.error}")
    raise CancelledError(f"{message!r} will not run: {_WHY[message.state]}")
