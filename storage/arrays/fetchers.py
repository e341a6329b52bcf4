"""Fetchers: a few threads of this process that bring what is not on this node.

`ThreadPoolExecutor` would not do: the end of the interpreter waits for its threads, however long a server takes to
answer, and a forked child inherits a pool whose threads are gone. These threads are daemons; at the end they get
`GRACE` seconds to finish what they have begun. A forked child makes its own when it needs them.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Threads; background jobs that may wait; seconds that the end of the interpreter waits.
THREADS, WAITING, GRACE = 4, 64, 1.0


class Fetchers:
    """Threads that start when there is work, and do urgent jobs before those that are only ahead of their time."""

    def __init__(self, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._limit, self._waiting = threads, waiting
        self._changed = threading.Condition()
        self._urgent: deque[Callable[[], object]] = deque()
        self._ahead: deque[tuple[Hashable, Callable[[], object]]] = deque()
        self._known: set[Hashable] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._ending = False

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Do `call` soon. Who waits for the future may `cancel()` it and do the call itself while it has not begun."""
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001  it belongs to who waits
                    future.set_exception(error)

        with self._changed:
            self._urgent.append(job)
            self._wake()
        return future

    def ahead(self, name: Hashable, call: Callable[[], Any]) -> bool:
        """Do `call` when there is nothing urgent, its errors logged; False if it was dropped.

        It is dropped when as many wait as may, and at the end; when `name` waits or runs already, that one counts.
        """

        def job() -> None:
            try:
                call()
            except Exception:  # whoever needs it will fetch it, and see the error
                log.debug("fetching %s ahead", name, exc_info=True)
            finally:
                with self._changed:
                    self._known.discard(name)

        with self._changed:
            if name in self._known:
                return True
            if self._ending or len(self._ahead) >= self._waiting:
                return False
            self._known.add(name)
            self._ahead.append((name, job))
            self._wake()
        return True

    def end(self, grace: float = GRACE) -> None:
        """Forget what waits, and give what runs `grace` seconds. Urgent jobs submitted later are still done."""
        until = time.monotonic() + grace
        with self._changed:
            self._ending = True
            self._known.difference_update(name for name, _ in self._ahead)
            self._ahead.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _wake(self) -> None:
        """With the lock held: see that somebody takes what was added."""
        if self._idle < len(self._urgent) + len(self._ahead) and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name="wendelin-fetcher", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread more, or the interpreter ends: who waits does it
                thread.start()
                self._threads.append(thread)
        self._changed.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # a closure must not keep arrays alive while nothing happens

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not (self._urgent or self._ahead):
                if self._ending:
                    self._threads.remove(threading.current_thread())
                    return None
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return self._urgent.popleft() if self._urgent else self._ahead.popleft()[1]


_guard = threading.Lock()
_ours: list[Fetchers] = []


def fetchers() -> Fetchers:
    """The fetchers of this process."""
    with _guard:
        if not _ours:
            _ours.append(Fetchers())
        return _ours[0]


def _forked() -> None:
    global _guard, _ours
    _guard, _ours = threading.Lock(), []


def _end() -> None:
    for each in _ours:
        each.end()


os.register_at_fork(after_in_child=_forked)
atexit.register(_end)
