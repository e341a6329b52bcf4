"""`ActivityHandle`: what the creator of an activity holds, to ask how it goes and to wait for its result."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from typing import Any

import transaction
from ZODB.POSException import POSKeyError

from wendelin.storage.activities.active import Shown, while_waiting
from wendelin.storage.activities.bar import QUIET_SECONDS, text_bar
from wendelin.storage.activities.message import CANCELLED, DONE, FAILED, MERGED, MISSING, PENDING, SKIPPED, Message
from wendelin.storage.activities.monitor import Monitor
from wendelin.storage.activities.progress import Progress
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.errors import ActivityError

_WHY = {
    CANCELLED: "a person cancelled it",
    SKIPPED: "a person skipped it",
    MERGED: "another one with the same object, method and tag waited already",
    MISSING: "its object does not exist any more",
}

_LOOK_SECONDS = 1.0  # a lost wake-up costs this much
_SHOW_SECONDS = 0.2
_ATTEMPTS = 20
_OPEN = (PENDING, "not committed")


class ActivityHandle:
    """One activity, as its creator sees it. Awaitable, like a Future; usable in any thread.

    It looks at the database through a connection of its own, so it sees what is committed, whatever transaction the
    caller is in: before the creating transaction has committed the state is "not committed". `uid`, `url` and
    `name` say which activity it is, of which database, and what it calls.
    """

    def __init__(self, url: str, oid: bytes, uid: str, name: str) -> None:
        self.url, self._oid, self.uid, self.name = url, oid, uid, name

    @property
    def oid(self) -> bytes:
        """The message's number in the database."""
        return self._oid

    @property
    def state(self) -> str:
        """`not committed`, or one of the states of a message."""
        return str(self._look(lambda message: message.state, "not committed"))

    def done(self) -> bool:
        """Whether it will not run any more."""
        return self.state not in _OPEN

    @property
    def progress(self) -> Progress | None:
        """What it said last of itself by `wendelin.progress`; None while it does not run, or says nothing."""
        with Monitor(self.url) as monitor:
            found = monitor.progress(self.uid)
        return None if self.done() else found  # the dispatcher hears of its end a moment after the database

    def cancel(self) -> bool:
        """Let it not run, or end it while it runs; False when it has ended already.

        Committed at once, whatever transaction the caller is in. When this returns True none of its effects in the
        database are there, and none will be: a run that goes on for a moment cannot commit any more. Those that wait
        for it go on. Raises `ActivityError` before the creating transaction has committed: abort that instead.
        """
        from wendelin.storage.database.connect import connect

        manager = transaction.TransactionManager()
        connection = connect(self.url, transaction_manager=manager)
        found = False
        try:
            for attempt in manager.attempts(_ATTEMPTS):
                with attempt:  # not left by `return`: that would hide a conflict
                    found = _cancelled(connection, self._oid)
        except POSKeyError:
            raise ActivityError(
                f"activity {self.uid[:8]} ({self.name}) is not committed yet, so there is nothing to cancel: abort "
                "the transaction that made it, transaction.abort(), or commit it first"
            ) from None
        finally:
            manager.abort()
            connection.close()
        return found

    def result(self, timeout: float | None = None) -> Any:
        """Wait for what the call returned.

        Raises `ActivityError` with the worker's traceback when it failed for good, `CancelledError` when a person
        stopped it, it was merged or its object is gone, and `TimeoutError`.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"activity {self.uid[:8]} ({self.name}) is {self.state} after {timeout} s")
        return self._look(_outcome, None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it will not run any more; False when `timeout` seconds were not enough.

        A notebook shows a bar meanwhile, and so does a terminal.
        """
        from wendelin.storage.database.connect import connect
        from wendelin.storage.database.watch import watch

        deadline = None if timeout is None else time.monotonic() + timeout
        changed = threading.Event()
        connection = connect(self.url, transaction_manager=transaction.TransactionManager())
        stop = watch(connection.db(), changed.set)
        with contextlib.closing(_Display(self.url, self.uid, self.name)) as display:
            try:
                while (state := self.state) in _OPEN:
                    left = display.patience if deadline is None else min(deadline - time.monotonic(), display.patience)
                    if left <= 0:
                        return False
                    display.show(state)
                    changed.wait(left)
                    changed.clear()
                display.state = state
                return True
            finally:
                stop()
                connection.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.to_thread(self.result).__await__()

    def _look(self, question: Callable[[Message], Any], otherwise: Any) -> Any:
        from wendelin.storage.database.connect import connect

        manager = transaction.TransactionManager()
        connection = connect(self.url, transaction_manager=manager)
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
        return f"<ActivityHandle {self.uid[:8]} {self.name}: {self.state}>"


def _cancelled(connection: Any, oid: bytes) -> bool:
    message = connection.get(oid)
    message._p_activate()
    queue = queue_of(connection)
    if message.state not in (PENDING, FAILED) or queue is None:
        return False
    queue.cancel(message)
    return True


class _Display:
    """Shows how far an activity is to somebody who waits for it, when that takes long and something can show it."""

    def __init__(self, url: str, uid: str, name: str) -> None:
        self._url, self._uid, self._name = url, uid, name
        self._begin = time.monotonic()
        self._shown: Shown | None = None
        self._monitor: Monitor | None = None
        self._is_decided = False
        self.state = ""

    @property
    def patience(self) -> float:
        """Seconds until it wants to be called again."""
        if self._is_decided:
            return _LOOK_SECONDS if self._shown is None else _SHOW_SECONDS
        return QUIET_SECONDS

    def show(self, state: str) -> None:
        """Show how far it is now."""
        if not self._is_decided and time.monotonic() - self._begin >= QUIET_SECONDS:
            self._is_decided = True
            found = (make(self._name) for make in (*while_waiting, text_bar))
            self._shown = next((each for each in found if each is not None), None)
            self._monitor = None if self._shown is None else Monitor(self._url)
        if self._shown is not None and self._monitor is not None:
            self._shown.show(state, self._monitor.progress(self._uid))

    def close(self) -> None:
        """The waiting is over."""
        if self._shown is not None:
            self._shown.end(self.state or "not waited for any more")
        if self._monitor is not None:
            self._monitor.close()


def _outcome(message: Message) -> Any:
    if message.state == DONE:
        return message.value()
    if message.state == FAILED:
        runs = f"{message.tries + 1} runs" if message.tries else "one run"
        raise ActivityError(f"{message!r} failed after {runs}; its last traceback:\n{message.error}")
    raise CancelledError(f"{message!r} will not run: {_WHY[message.state]}")
