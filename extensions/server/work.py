"""Work in the database: each request has one thread, one connection of the pool and one transaction.

- Views of arrays belong to their connection, and that to one thread at a time: nothing of a request leaves it.
- A conflict is tried again a few times, from the begin of a new transaction; then the caller is told to retry.
- The database opens with the first request. A connection of our own keeps it open, and its pool of connections with
  their caches, until nobody has asked for a minute: a `file://` database is then free for others.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import transaction
from ZODB.POSException import ConflictError

import wendelin
from wendelin.extensions.server.problems import RETRY_SECONDS, ProblemError
from wendelin.storage.activities.user import acting_as

T = TypeVar("T")

THREADS = 8
WAITING = 200
RETRIES = 4
IDLE_SECONDS = 60.0


class Session:
    """A connection with its transactions, in the thread of one request."""

    def __init__(self, url: str | None, user: str, note: str) -> None:
        self.manager = transaction.TransactionManager()
        self.user, self.note = user, note
        self.connection = wendelin.connect(url, transaction_manager=self.manager)

    def read(self, function: Callable[[Any], T], at: str = "") -> T:
        """Call `function(connection)` in a transaction that is taken back; `at`: on that earlier state."""
        if at:
            return self._read_past(at, function)
        self._begin()
        try:
            return function(self.connection)
        finally:
            self.manager.abort()

    def _read_past(self, at: str, function: Callable[[Any], T]) -> T:
        manager = transaction.TransactionManager()
        connection = wendelin.connect(self.connection.url, at=at, transaction_manager=manager)
        try:
            return function(connection)
        finally:
            manager.abort()
            connection.close()

    def write(self, function: Callable[[Any], T]) -> T:
        """Call it in a transaction that is committed; again when it conflicts. Raises the last `ConflictError`."""
        for left in reversed(range(RETRIES + 1)):
            self._begin()
            try:
                found = function(self.connection)
                self.manager.commit()
                return found
            except ConflictError:
                self.manager.abort()
                if not left:
                    raise
                time.sleep(random.uniform(0.01, 0.1))
            except BaseException:
                self.manager.abort()
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Give the connection back to the pool."""
        self.manager.abort()
        self.connection.close()

    def _begin(self) -> None:
        begun = self.manager.begin()
        begun.user = self.user
        begun.note(self.note)


class Workers:
    """The threads of a door, and the database that they share. `url` as `wendelin.connect` has it."""

    def __init__(self, url: str | None, threads: int = THREADS) -> None:
        self.url = url
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="wendelin REST")
        self._most = threads + WAITING
        self._lock = threading.Lock()
        self._anchor: Any = None
        self._used = 0.0
        self._running = 0

    async def do(self, user: str, note: str, function: Callable[[Session], T]) -> T:
        """Call `function(session)` in a thread and give what it gives. Raises 503 when too many wait already."""
        return await asyncio.get_running_loop().run_in_executor(self._admitted(), self._do, user, note, function)

    async def run(self, function: Callable[[], T]) -> T:
        """Call a function that brings its own connection in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def _admitted(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._running >= self._most:
                retry = {"Retry-After": str(RETRY_SECONDS)}
                raise ProblemError("busy", f"{self._running} requests wait already: retry", headers=retry)
            self._running += 1
        return self._threads

    def _do(self, user: str, note: str, function: Callable[[Session], T]) -> T:
        try:
            with acting_as(user):
                session = Session(self.url, user, note)
                try:
                    self._keep_open()
                    return function(session)
                finally:
                    session.close()
        finally:
            with self._lock:
                self._running -= 1
                self._used = time.monotonic()

    def _keep_open(self) -> None:
        """Hold the database open. The connection that does is a new one now and then: an old one gathers news."""
        with self._lock:
            anchor = self._anchor
            if anchor is not None and time.monotonic() - anchor.since < IDLE_SECONDS:
                return
            self._anchor = _Anchor(self.url)
        if anchor is not None:
            anchor.close()

    def rest(self) -> None:
        """Let the database go when nobody has asked for a minute. Called now and then, in a thread."""
        with self._lock:
            if self._anchor is None or self._running or time.monotonic() - self._used < IDLE_SECONDS:
                return
            anchor, self._anchor = self._anchor, None
        anchor.close()

    def close(self) -> None:
        """Wait for what is at work, and close the database."""
        self._threads.shutdown(cancel_futures=True)
        with self._lock:
            anchor, self._anchor = self._anchor, None
        if anchor is not None:
            anchor.close()


class _Anchor:
    """A connection that nobody uses."""

    def __init__(self, url: str | None) -> None:
        self.since = time.monotonic()
        self._connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())

    def close(self) -> None:
        self._connection.close()
